"""The whole of `prepare` on toy tables: what it writes, that no row is lost, and how bad input ends."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.audit.columns import read_all
from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import load_events, open_prepared
from hews_gpu.data.prepare import sort as tables
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from tests.data.toy import HEADER, TWO_SQUARES, geojson, row, square

Toy = Callable[..., CityConfig]
LINES = [  # line 2 onwards
    row(time="23:59:30", category="AGG. ASSAULT", longitude="-76.6055"),  # 2: twin of line 4, by 43 m and the minute
    row(),  # 3
    row(time="23:59:10", category="Shooting"),  # 4: the target
    row(),  # 5: repeats line 3
    row(time=""),  # 6
    row(date="02/01/2014", time="15", longitude="-76.6035"),  # 7: near twin across midnight, by 129 m and 16 minutes
    row(longitude="-76.6221", latitude="39.281"),  # 8: 180 m west of West
    row(latitude=""),  # 9
    row(longitude="-77"),  # 10
    "oops",  # 11
    row(date="01/01/2014", time="2400", category="HOMICIDE", longitude="-76.61"),  # 12: on the shared edge
]


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def test_what_is_written_for_a_small_table(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quality = prepare(toy(LINES), out)
    assert quality == json.loads((out / "quality.json").read_text())
    found = table(out, "incidents")
    assert [r["line"] for r in found] == [12, 3, 5, 8, 4, 2, 7]
    assert [r["row_id"] for r in found] == [10, 1, 3, 6, 2, 0, 5]
    assert [r["duplicate_of"] for r in found] == [None, None, 1, None, None, None, None]
    assert [r["twin_of"] for r in found] == [None, None, None, None, None, 2, None]
    assert [r["near_twin_of"] for r in found] == [None, 2, 2, None, None, 2, 2]
    assert [r["neighborhood"] for r in found] == ["West", "East", "East", "West", "East", "East", "East"]
    assert [r["is_nearest"] for r in found] == [False, False, False, True, False, False, False]
    assert [r["category"] for r in found][:2] == ["HOMICIDE", "LARCENY"] and found[0]["is_target"]
    assert found[0]["time_s"] == np.datetime64("2014-01-02", "s").astype(int)
    assert {r["source"] for r in found} == {"table.csv"}
    aside = table(out, "quarantine")
    assert [(r["line"], r["reason"]) for r in aside] == [
        (6, "unparsable time"),
        (9, "no coordinates"),
        (10, "outside the study area"),
        (11, "wrong number of fields"),
    ]
    assert aside[2] | {"row_id": 0} == {
        "source": "table.csv",
        "line": 10,
        "row_id": 0,
        "reason": "outside the study area",
        "time_text": "01/31/2014 23:30:00",
        "longitude_text": "-77",
        "latitude_text": "39.285",
        "category_text": "LARCENY",
    }
    assert aside[3]["time_text"] == aside[3]["category_text"] == ""


def test_the_summary_adds_up(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy(LINES), tmp_path / "out")
    assert (quality["rows_read"], quality["rows_kept"], quality["rows_quarantined"]) == (11, 7, 4)
    assert sum(quality["quarantined_by_reason"].values()) == 4
    assert (quality["targets_kept"], quality["duplicates"], quality["twins"], quality["near_twins"]) == (2, 1, 1, 4)
    assert quality["nearest"] == 1 and quality["neighborhoods_used"] == 2
    assert quality["categories"] == {"AGG. ASSAULT": 1, "HOMICIDE": 1, "LARCENY": 4, "SHOOTING": 1}
    assert quality["rows_by_month"] == {"2014-01": 6, "2014-02": 1}
    assert quality["targets_by_month"] == {"2014-01": 2}
    assert quality["span"] == ["2014-01-02T00:00:00", "2014-02-01T00:15:00"]
    hours = np.array(quality["targets_by_weekday_and_hour"])
    assert hours.shape == (7, 24) and hours[3, 0] == 1 and hours[4, 23] == 1 and hours.sum() == 2  # Thursday, Friday
    assert quality["missing"]["latitude"] == 2 and quality["missing"]["Weapon"] == 11
    assert quality["files"][0]["rows"] == 11
    assert quality["minute_zero_share"] == {"targets": 0.5, "others": 0.0}


def test_every_table_has_the_agreed_columns(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy(LINES), out)
    assert pq.read_schema(out / "incidents.parquet").equals(tables.INCIDENTS)
    assert pq.read_schema(out / "quarantine.parquet").equals(tables.QUARANTINE)
    charts = pq.read_table(out / "charts_only.parquet")
    assert charts.column_names == ["row_id", "Premise", "Weapon", "Location"]
    assert charts["row_id"].to_pylist() == [0, 1, 2, 3, 5, 6, 10]
    areas = geopandas.read_parquet(out / "neighborhoods.parquet")
    assert list(areas.columns) == ["name", "geometry", "was_repaired"] and areas.crs == "EPSG:4326"
    tables_written = {"incidents.parquet", "quarantine.parquet", "charts_only.parquet", "neighborhoods.parquet"}
    assert {path.name for path in out.iterdir()} == tables_written | {"quality.json", "city.toml", "hews.json"}
    assert open_prepared(out).city.city.name == "Toy" and len(load_events(out)) == 7


def test_two_files_are_one_table(toy: Toy, tmp_path: Path) -> None:
    halves = [LINES[:6], LINES[6:]]
    files = {f"{i}.csv": "\n".join([HEADER, *half]).encode() for i, half in enumerate(halves)}
    quality = prepare(toy(files=files), tmp_path / "out")
    assert [about["rows"] for about in quality["files"]] == [6, 5]
    found = table(tmp_path / "out", "incidents")
    assert [(r["source"], r["line"]) for r in found][:2] == [("1.csv", 6), ("0.csv", 3)]


def test_columns_that_describe_a_person_reach_no_output(toy: Toy, tmp_path: Path) -> None:
    marker = "qqpersonqq"
    lines = [f"{line},{marker}1,{marker}2,{marker}3" if "," in line else line for line in LINES]
    text = "\n".join([f"{HEADER},VictimAge,Sex,RACE", *lines]).encode()
    areas = geojson([{**f, "properties": {**f["properties"], "share": f"{marker}4"}} for f in TWO_SQUARES])
    out = tmp_path / "out"
    quality = prepare(toy(files={"a.csv": text}, areas=areas), out)
    assert quality["files"][0]["person_level_columns_dropped"] == 3
    for path in out.iterdir():
        assert marker.encode() not in path.read_bytes()
        if path.suffix == ".parquet":
            content = pq.read_table(path)
            assert not {"VictimAge", "Sex", "RACE", "share", "Population"} & set(content.column_names)
            texts = [c for c in content.column_names if not pa.types.is_binary(content[c].type)]
            assert marker not in str(content.select(texts).to_pylist())


def test_columns_for_charts_only_are_nowhere_else(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(
        toy([row(category="SHOOTING", rest="QQPREMISE,QQWEAPON,QQSTREET,QQCODE"), row(rest="QQA,QQB,QQC,QQD,")]), out
    )
    for path in out.glob("*.parquet"):
        content = str(pq.read_table(path).to_pylist())
        assert ("QQPREMISE" in content) == (path.name == "charts_only.parquet")
        assert "QQCODE" not in content and "QQD" not in content


MARKED = """
[[incidents.target]]
column = "Shot"
values = ["y", "Yes, fatal"]
"""
MARKS = ["Y", "N", "", "yes,  FATAL", "QQMARK"]
FLAGGED = "\n".join(
    [
        f"{HEADER},Shot",
        *(f'{row(date=f"01/{day:02}/2014", category="AGG. ASSAULT")},"{mark}"' for day, mark in enumerate(MARKS, 1)),
        f"{row(date='01/30/2014', category='HOMICIDE')},N",
    ]
).encode()


def test_targets_are_those_of_a_category_and_those_that_a_column_marks(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quality = prepare(toy(files={"a.csv": FLAGGED}, incidents=MARKED), out)
    events = load_events(out)
    assert events.is_target.tolist() == [True, False, False, True, False, True]
    assert [events.categories[i] for i in events.category] == ["AGG. ASSAULT"] * 5 + ["HOMICIDE"]
    assert quality["targets_kept"] == 3 and quality["minute_zero_share"] == {"targets": 0.0, "others": 0.0}
    assert quality["target_columns"] == {"Shot": {"N": 2, "Y": 1, "": 1, "YES, FATAL": 1, "QQMARK": 1}}
    assert quality["categories"] == {"AGG. ASSAULT": 5, "HOMICIDE": 1}
    assert open_prepared(out).city.incidents.target_names == ("HOMICIDE", "SHOOTING", "Shot = Y or YES, FATAL")


def test_what_marks_targets_reaches_labels_and_nothing_that_a_model_sees(toy: Toy, tmp_path: Path) -> None:
    marked, others = tmp_path / "marked", tmp_path / "others"
    prepare(toy(files={"a.csv": FLAGGED}, incidents=MARKED), marked)
    prepare(toy(files={"a.csv": FLAGGED}), others)
    for path in marked.glob("*.parquet"):
        assert "QQMARK" not in str(pq.read_table(path).to_pylist())
    one, other = read_all(marked), read_all(others)
    assert one["is_target"].sum() == 3 and other["is_target"].sum() == 1 and one["channel maps"].any()
    assert [name for name in one if not np.array_equal(one[name], other[name])] == ["is_target"]


def test_a_column_that_marks_targets_may_be_all_there_is_and_may_be_missing_in_a_file(toy: Toy, tmp_path: Path) -> None:
    older = f"{HEADER}\n{row(date='12/01/2013', category='AGG. ASSAULT')}\n".encode()
    city = toy(files={"a.csv": older, "b.csv": FLAGGED}, incidents=MARKED)
    city.path.write_text(city.path.read_text().replace('targets = ["Homicide", "SHOOTING"]', ""))
    prepare(load_city(city.path), tmp_path / "out")
    assert load_events(tmp_path / "out").is_target.tolist() == [False, True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Shot", "Shoot", r"\[\[incidents\.target\]\] column = 'Shoot': is a column of no file.*Did you mean 'Shot'\?"),
        ("Shot", "Victim Sex", r"\[\[incidents\.target\]\] column = 'Victim Sex': .*describes a person"),
        ('["y", "Yes, fatal"]', "[]", r"\[\[incidents\.target\]\] values = \(\): must name at least one value"),
        ('["y", "Yes, fatal"]', '["y", " "]', "and no blank one"),
        ('["y", "Yes, fatal"]', "[1]", r"\[incidents\.target\] values = 1: must be text in quotes"),
        ("values", "value", r"\[incidents\.target\] value: is not a known key\. Did you mean 'values'\?"),
        ('["y", "Yes, fatal"]', '["1"]', r"values = \['Shot = 1'\]: no row is such a target\. The column holds 'N', "),
        ("[[incidents.target]]", f"{MARKED}\n[[incidents.target]]", "must be another in each"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_mistaken_rule_for_targets_is_refused_in_one_line(
    toy: Toy, tmp_path: Path, old: str, new: str, message: str, form: str
) -> None:
    content = FLAGGED
    if form == "json":  # whose columns are known only once it is read
        content = json.dumps(list(csv.DictReader(FLAGGED.decode().splitlines()))).encode()
    city = toy(files={f"a.{form}": content})
    text = city.path.read_text().replace('targets = ["Homicide", "SHOOTING"]', MARKED.replace(old, new, 1))
    city.path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        prepare(load_city(city.path), tmp_path / "outs" / "out")
    assert "\n" not in str(caught.value)


AREAS_ELSEWHERE = geojson([square("There", 10.0, 50.0, 10.1, 50.1)])
SHOT = row(category="SHOOTING")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"files": {"a.csv": b""}}, "is empty"),
        ({"files": {"a.csv": HEADER.encode()}}, "has a header but no rows"),
        ({"files": {"a.csv": b"a,b\n1,2\n"}}, "lacks 'CrimeDate'"),
        ({"areas": geojson([])}, "holds no polygons"),
        ({"areas": AREAS_ELSEWHERE}, r"no incident lies in any polygon: 1 rows.*longitude 10\.0000.*same city"),
        ({"lines": [row(category="SHOOTING", longitude="39.285", latitude="-76.605")]}, "seem to be swapped"),
        ({"lines": [SHOT] * 1000}, "all 1000 rows lie at one point, longitude -76.605, latitude 39.285"),
        ({"lines": [row(category="SHOOTING", longitude="1430000", latitude="590000")]}, "seem to be meters or feet"),
        (
            {"lines": [row(category="SHOOTING", time="noon")]},
            r"none of the 1 rows can be used \(unparsable time: 1\)\.",
        ),
        (
            {"lines": [row(category="SHOOTING", date="01/31/14")]},
            r"unparsable time: 1\): the date column holds years of two digits, such as 01/31/14, whose century",
        ),
        ({"lines": [row(category="SHOTING")]}, r"targets.*no row is such a target\. Did you mean|Known"),
        ({"incidents": 'schema = "portl"'}, "is not a known schema"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(
    toy: Toy, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    city = toy(**({"lines": [SHOT]} | more))
    with pytest.raises(UserError, match=message) as caught:
        prepare(city, tmp_path / "outs" / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "outs").exists()


def test_an_existing_folder_is_replaced_only_by_force(toy: Toy, tmp_path: Path) -> None:
    city, out = toy([SHOT]), tmp_path / "out"
    prepare(city, out)
    with pytest.raises(UserError, match="exists already"):
        prepare(city, out)
    city = toy([SHOT, row()])
    assert prepare(city, out, force=True)["rows_read"] == 2
    assert len(table(out, "incidents")) == 2


@pytest.mark.parametrize("writer", ["charts", "events", "sorted", "incidents.parquet"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def refuse(where: Path | str) -> None:
        if Path(where).name.lstrip(".").startswith(writer):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new_file, parquet = pa.ipc.new_file, pq.ParquetWriter
    monkeypatch.setattr(pa.ipc, "new_file", lambda path, *args: refuse(path) or new_file(path, *args))
    monkeypatch.setattr(pq, "ParquetWriter", lambda path, *args, **kw: refuse(path) or parquet(path, *args, **kw))
    with pytest.raises(UserError, match="the disk is full"):
        prepare(toy([SHOT]), tmp_path / "outs" / "out")
    assert not (tmp_path / "outs").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import Cut, prepare
print("go", flush=True)
prepare(load_city(Path(sys.argv[1])), Path(sys.argv[2]), cut=Cut(block_rows=20, chunk_bytes=2000))
"""


@pytest.mark.parametrize("delay_s", [0.1, 1.5])
def test_ctrl_c_leaves_nothing(toy: Toy, tmp_path: Path, delay_s: float) -> None:
    city = toy([row(time=f"{i % 24}:{i % 60:02d}", rest=f"{i},,X,6C") for i in range(12_000)])
    (tmp_path / "outs").mkdir()
    command = [sys.executable, "-c", INTERRUPTED, str(city.path), str(tmp_path / "outs" / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"go\n"
        while not list((tmp_path / "outs").iterdir()):
            time.sleep(0.01)
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) != 0
    assert not list((tmp_path / "outs").iterdir())


def test_the_truth_of_a_synthetic_city_goes_along(toy: Toy, tmp_path: Path) -> None:
    city = toy([SHOT])
    city.path.write_text(city.path.read_text() + '[synthetic]\ntruth = "t.npz"\n')
    city = load_city(city.path)
    with pytest.raises(UserError, match=r"\[synthetic\] truth"):
        prepare(city, tmp_path / "out")
    (tmp_path / "t.npz").write_bytes(b"truth")
    prepare(city, tmp_path / "out")
    assert (tmp_path / "out" / "truth.npz").read_bytes() == b"truth"


def exchanged(areas: str) -> str:
    """The polygons with latitude first."""
    content = json.loads(areas)
    for feature in content["features"]:
        feature["geometry"]["coordinates"] = [[[y, x] for x, y in ring] for ring in feature["geometry"]["coordinates"]]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("zone", "x", "y", "is_polygon", "remedy"),
    [
        ("America/New_York", -76.605, 39.285, True, r"its coordinates seem to be latitude, longitude.*longitude first"),
        ("America/New_York", -76.605, 39.285, False, r"exchange them under \[incidents\.columns\]"),
        ("Europe/Madrid", -3.7, 40.4, True, "The polygons seem to be in the order latitude, longitude: save them"),
        ("Europe/Madrid", -3.7, 40.4, False, r"exchange them under \[incidents\.columns\]"),
        ("America/Los_Angeles", -118.2, 34.0, True, r"not degrees \(x 33\.9.*Save the polygons with longitude first"),
        ("UTC", -76.605, 39.285, True, "seem to be swapped, either in the polygons or in the incidents' columns"),
    ],
)
def test_of_exchanged_coordinates_it_is_said_whose_they_are(
    toy: Toy, tmp_path: Path, zone: str, x: float, y: float, is_polygon: bool, remedy: str
) -> None:
    areas = geojson([square("Here", x - 0.1, y - 0.1, x + 0.1, y + 0.1)])
    place = (x, y) if is_polygon else (y, x)
    city = toy(
        [row(category="SHOOTING", longitude=str(place[0]), latitude=str(place[1]))],
        areas=exchanged(areas) if is_polygon else areas,
    )
    city.path.write_text(city.path.read_text().replace("America/New_York", zone))
    with pytest.raises(UserError, match=remedy):
        prepare(load_city(city.path), tmp_path / "out")


def test_polygons_and_incidents_that_are_both_exchanged_are_refused(toy: Toy, tmp_path: Path) -> None:
    city = toy(
        [row(category="SHOOTING", longitude="39.285", latitude="-76.605")], areas=exchanged(geojson(TWO_SQUARES))
    )
    with pytest.raises(UserError, match=r"\[neighborhoods\] file.*by \[city\] timezone = 'America/New_York'"):
        prepare(city, tmp_path / "out")


def test_what_cannot_be_seen_makes_no_other_category(toy: Toy, tmp_path: Path) -> None:
    odd = ["HOMICIDE\0", "\0\0homicide", "HOMI\u200bCIDE", "\ufeffHOMICIDE", "HOMICIDE\u00a0"]
    lines = [row(date=f"01/{day:02}/2014", category=name) for day, name in enumerate(odd, 1)]
    quality = prepare(toy([*lines, row(date="01/09/2014", longitude="-76.6\x0005")]), tmp_path / "out")
    assert quality["categories"] == {"HOMICIDE": 5, "LARCENY": 1} and quality["rows_quarantined"] == 0
    assert "table.csv: 4 zero bytes in rows, left out" in quality["warnings"]


def test_one_missing_target_of_two_is_a_warning(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(toy([SHOT]), tmp_path / "out")
    assert "warning: no row has the target HOMICIDE" in capsys.readouterr().err


def cut_off_after_cleaning(city: CityConfig, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a work folder with all partitions cleaned."""

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("hews_gpu.data.prepare.command.sort_table", stop)
        prepare(city, out, resume=True)
    assert (out.parent / f".{out.name}.work" / "cleaned-000000").is_file()


@pytest.mark.parametrize("changed", ["nothing", "table", "polygons", "code"])
def test_what_was_left_is_used_for_the_same_bytes_and_code_alone(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    """Another content of the same size and date was once mixed with what was left of the old one."""
    city = toy(LINES)
    cut_off_after_cleaning(city, tmp_path / "out", monkeypatch)
    path = tmp_path / {"table": "table.csv", "polygons": "areas.geojson"}.get(changed, "toy.toml")
    before = path.stat()
    text = path.read_text().replace("Shooting", "HOMICIDE").replace('"West"', '"Wets"')
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    if changed == "code":
        monkeypatch.setattr("hews_gpu.data.prepare.command.code_digest", lambda: "another")
    capsys.readouterr()
    resumed = prepare(city, tmp_path / "out", resume=True)
    told = capsys.readouterr().err
    assert ("1 of 1 partitions are there already" in told) == (changed == "nothing")
    assert ("have changed since; everything is done anew" in told) == (changed != "nothing")
    fresh = prepare(city, tmp_path / "fresh")
    assert table(tmp_path / "out", "incidents") == table(tmp_path / "fresh", "incidents")
    assert (
        resumed["categories"] == fresh["categories"]
        and resumed["rows_by_neighborhood"] == fresh["rows_by_neighborhood"]
    )


def test_a_file_that_grows_while_it_is_read_is_refused(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = toy(LINES)
    sort_table = sys.modules["hews_gpu.data.prepare.command"].sort_table

    def grow(*given: Any, **named: Any) -> Any:
        with (tmp_path / "table.csv").open("a") as file:
            file.write(row() + "\n")
        return sort_table(*given, **named)

    monkeypatch.setattr("hews_gpu.data.prepare.command.sort_table", grow)
    with pytest.raises(UserError, match=r"^table\.csv: was changed while it was read\. Wait"):
        prepare(city, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
