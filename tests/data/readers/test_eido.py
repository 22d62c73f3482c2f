"""EIDO-JSON: objects made after the published schema (NENA-STA-021.1, version 1.0), and broken ones beside them.

Three incidents of New York's clock in the toy city's two squares, in winter and in summer::

    1  SHOOTING  2014-01-31T23:59-05:00   West    by the location that the incident refers to
    2  SHOOTING  2014-07-01T04:00:00.0Z   East    the caller's location, of the earlier of two calls
    3  ALARM     2014-02-01T05:00:00Z     East    without a call: when the incident was told; type in the internal text
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, LayerConfig
from hews_gpu.data.events import load_layer
from hews_gpu.data.prepare.command import prepare, prepare_layer
from hews_gpu.data.propose_city import propose_layer
from hews_gpu.data.readers import json_rows
from hews_gpu.data.readers.eido import eido_row
from hews_gpu.data.readers.schemas import ReadSettings, choose_columns
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]


def pidf(inner: str, srs: str = "urn:ogc:def:crs:EPSG::4326") -> str:
    """A PIDF-LO, with a shape of some kind."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" '
        'xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:gml="http://www.opengis.net/gml"><gp:geopriv>'
        f'<gp:location-info><gml:Point srsName="{srs}">{inner}</gml:Point></gp:location-info></gp:geopriv></presence>'
    )


WEST, EAST = (pidf(f"<gml:pos>\n39.285 {lon} 12.5</gml:pos>") for lon in ("-76.615", "-76.605"))
CIVIC = "<civicAddress><A1>MD</A1><A3>Baltimore</A3><RD>Calvert</RD><HNO>42</HNO></civicAddress>"


def eido(number: int, *, calls: list[str] = [], places: dict[str, str], **incident: Any) -> dict[str, Any]:  # noqa: B006
    locations = [
        {"$id": key, "locationTypeDescriptionRegistryText": "Caller", "locationByValue": text}
        for key, text in places.items()
    ]
    return {
        "$id": f"urn:emergency:uid:incidentid:{number}:psap.example",
        "lastUpdateTimeStamp": "2014-07-02T00:00:00Z",
        "eidoVersion": "1.0",
        "issuingElementIdentification": "psap.example",
        "agencyComponent": [{"$id": "psap.example"}],
        "callComponent": [{"$id": str(k), "callStartTimestamp": when} for k, when in enumerate(calls)],
        "incidentComponent": {"$id": "i", "lastUpdateTimeStamp": "2014-02-01T05:00:00Z", **incident},
        "locationComponent": locations,
        "personComponent": [{"$id": "p", "personIncidentRoleRegistryText": ["Caller"]}],
    }


SHOTS = {"incidentTypeCommonRegistryText": "SHOOTING", "incidentTypeInternalText": "10-71"}
REFERS = {"locationReference": [{"$ref": "a"}]}
ONE = eido(1, calls=["2014-01-31T23:59:00-05:00"], places={"b": EAST, "a": WEST}, **SHOTS, **REFERS)
TWO = eido(2, calls=["2014-07-01T05:00:00Z", "2014-07-01T04:00:00.0Z"], places={"b": CIVIC, "a": EAST}, **SHOTS)
THREE = eido(3, places={"a": EAST}, incidentTypeInternalText="Alarm")
ROWS = [
    ("2014-01-31T23:59:00", "SHOOTING", -76.615, 39.285),
    ("2014-02-01T00:00:00", "ALARM", -76.605, 39.285),
    ("2014-07-01T00:00:00", "SHOOTING", -76.605, 39.285),
]
LATER = eido(1, calls=["2014-01-31T23:59:00-05:00"], places={"a": WEST}, incidentTypeCommonRegistryText="HOMICIDE")
ASIDE = {
    "no zone": (eido(5, calls=["2014-01-05T12:00:00"], places={"a": EAST}, **SHOTS), None),
    "civic alone": (eido(6, places={"a": CIVIC}, **SHOTS), "no coordinates"),
    "another system": (eido(7, places={"a": pidf("<pos>1 2</pos>", "EPSG:26918")}, **SHOTS), "no coordinates"),
    "an area": (eido(8, places={"a": WEST + EAST}, **SHOTS), "no coordinates"),
    "no type": (eido(9, places={"a": EAST}), "no category"),
    "no time": (
        {**eido(10, places={"a": EAST}), "incidentComponent": {"incidentTypeInternalText": "x"}},
        "unparsable time",
    ),
}


def lines(*objects: Any) -> bytes:
    return "\n".join(one if isinstance(one, str) else json.dumps(one) for one in objects).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.jsonl", lines(ONE, TWO, THREE)),
        ("t.ndjson.gz", lines("", ONE, "", TWO, THREE) + b"\r\n"),
        ("t.json", json.dumps([ONE, TWO, THREE]).encode()),
        ("t.json", b"".join(json.dumps(one, indent=1).encode() for one in (ONE, TWO, THREE))),
        ("t.json", json.dumps({"value": [ONE, TWO, THREE]}).encode()),
    ],
    ids=["lines", "packed lines", "list", "objects", "answer"],
)
def test_incidents_are_read_by_the_clock_and_the_place_of_the_city(toy: Toy, tmp_path: Path, name, content) -> None:
    quality = prepare(toy(files={name: content}), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == ROWS and quality["rows_read"] == 3


def test_what_is_broken_costs_itself_only(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "READ_BYTES", 11)
    broken = [json.dumps(TWO)[:-40], "{", '{"a": ' + "[" * 30_000, json.dumps(TWO) + "}"]
    content = lines(ONE, broken[0], TWO, broken[1], THREE, broken[2], *(one for one, why in ASIDE.values() if why))
    prepare(toy(files={"t.json": content}), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == ROWS
    aside = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    whole = ["no whole JSON object"] * 3
    assert [one["reason"] for one in aside] == [*whole, *(why for _, why in ASIDE.values() if why)]
    assert [one["line"] for one in aside[:4]] == [2, 4, 6, 7]


NEWER, NEWEST = ({**LATER, "lastUpdateTimeStamp": f"2014-07-0{day}T00:00:00Z"} for day in (3, 4))
SEALED = {**eido(1, places={"a": CIVIC}, **SHOTS), "lastUpdateTimeStamp": "2014-07-05T00:00:00Z"}


@pytest.mark.parametrize(
    "files",
    [
        {"a.jsonl": lines(ONE, TWO, THREE), "b.jsonl": lines(NEWEST)},
        {"a.jsonl": lines(NEWEST, NEWER), "b.jsonl": lines(ONE, TWO, THREE, NEWEST)},
        {"a.jsonl": lines(ONE, NEWEST, NEWER, TWO), "b.jsonl": lines(NEWER, THREE, ONE, SEALED)},
    ],
)
def test_of_the_messages_on_an_incident_the_newest_counts_whatever_the_files(toy: Toy, tmp_path: Path, files) -> None:
    quality = prepare(toy(files=files), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "incidents.parquet").to_pylist()
    left = [one for one in table if not one["is_overlap"]]
    assert [one["category"] for one in left] == ["HOMICIDE", "ALARM", "SHOOTING"]
    assert {one["duplicate_of"] for one in table if one["is_overlap"]} == {left[0]["row_id"]}
    assert quality["overlaps"] == len(table) - 3


CSV_ROW = f"{HEADER}\n{row('01/31/2014', '23:59:00', 'SHOOTING', '-76.615', rest='STREET,,1 A ST,9S')}\n".encode()
RESENT = {**ONE, "lastUpdateTimeStamp": "2014-07-03T00:00:00Z"}
OTHERWISE = {**RESENT, "incidentComponent": {**ONE["incidentComponent"], "incidentTypeCommonRegistryText": "ASSAULT"}}


@pytest.mark.parametrize("newest", [RESENT, OTHERWISE], ids=["resent", "no target any more"])
@pytest.mark.parametrize("names", [("a.jsonl", "t.csv"), ("t.csv", "a.jsonl")])
def test_a_message_that_does_not_count_repeats_no_row_of_another_table(toy: Toy, tmp_path: Path, names, newest) -> None:
    content = {"a.jsonl": lines(ONE, newest), "t.csv": CSV_ROW}
    prepare(toy(files={name: content[name] for name in names}), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "incidents.parquet").to_pylist()
    assert [one["category"] for one in table if not one["is_overlap"] and one["is_target"]] == ["SHOOTING"]
    assert len(table) == 3


def test_of_messages_sent_at_once_the_first_counts(toy: Toy, tmp_path: Path) -> None:
    prepare(toy(files={"a.jsonl": lines(ONE, TWO), "b.jsonl": lines(LATER, THREE)}), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "incidents.parquet").to_pylist()
    left = [one["category"] for one in table if not one["is_overlap"]]
    assert left == ["SHOOTING", "ALARM", "SHOOTING"]


def test_of_the_messages_on_an_incident_a_layer_takes_the_first(toy: Toy, tmp_path: Path) -> None:
    """What an incident turned out to be was not known when it was called in."""
    city = toy(files={"a.jsonl": lines(NEWEST, TWO, THREE), "b.jsonl": lines(ONE, NEWER)})
    columns = {"known": "lastUpdateTimeStamp"}
    layer = LayerConfig(name="calls", files=city.incidents.files, columns=columns)
    prepare_layer(city, layer, tmp_path / "out")
    rows = load_layer(tmp_path / "out", layer)
    assert [rows.categories[code] for code in rows.category] == ["SHOOTING", "ALARM", "SHOOTING"]
    first = np.datetime64("2014-07-01T20:00", "s").astype(np.int64)
    assert rows.known_s[0] == first


def test_a_time_without_its_offset_is_none_and_the_incident_is_when_it_was_told() -> None:
    row = eido_row(ASIDE["no zone"][0])
    assert row["incidentTime"] == "2014-02-01T05:00:00Z" and row["lastUpdateTimeStamp"] == "2014-07-02T00:00:00Z"
    assert set(row) == {*"incidentId incidentTime incidentType lastUpdateTimeStamp".split()} | {
        *"beatOrDispatchGroupText Longitude Latitude".split()
    }
    for nonsense in ({"incidentComponent": 5}, {"eidoVersion": None, "locationComponent": "x", "callComponent": [1]}):
        assert set(eido_row(nonsense).values()) == {""}


def test_lines_of_anything_else_are_refused_as_before(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NDJSON"):
        prepare(toy(files={"t.jsonl": lines({"a": 1}, {"a": 2})}), tmp_path / "out")


def test_a_layer_needs_no_mapping_and_may_say_when_it_was_known(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_bytes(lines(ONE, TWO, THREE))
    section = tomllib.loads(propose_layer("calls", tmp_path / "calls.jsonl"))["layers"][0]
    assert section["times"] == "auto" and "columns" not in section
    mapped = {"known": "lastUpdateTimeStamp", "area": "beatOrDispatchGroupText"}
    columns = choose_columns(tuple(eido_row(ONE)), file="t", settings=ReadSettings(mapped=mapped))
    assert columns.schema == "eido" and columns.reading.zone == "UTC" and {*mapped} < {*columns.roles}


def test_the_csv_of_a_dispatch_system_is_proposed(tmp_path: Path) -> None:
    head = "Incident Number,Call Received,Dispatched,On Scene,Call Closed,Nature,Address,Latitude,Longitude"
    rows = [
        f"2014-{i:04},{1 + i % 12:02}/{1 + i % 28:02}/2014 {i % 24:02}:{i % 60:02}:07,01/02/2014 03:04:05,,"
        f"12/31/2014 00:00:00,{('SHOTS FIRED', 'WELFARE CHECK', 'TRAFFIC STOP')[i % 3]},"
        f"{i} CALVERT ST,39.28{i:03},-76.61{i:03}"
        for i in range(300)
    ]
    (tmp_path / "cad.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    columns = tomllib.loads(propose_layer("cad", tmp_path / "cad.csv"))["layers"][0]["columns"]
    assert columns == {"time": "Call Received", "category": "Nature", "longitude": "Longitude", "latitude": "Latitude"}
