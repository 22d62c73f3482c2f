"""Feeds in JSON: read one record at a time, with the digits they are written with, or refused in one line."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.readers import json_rows
from hews_gpu.errors import UserError
from tests.data import formats

Toy = Callable[..., CityConfig]


def test_milliseconds_are_wall_clock_time_on_both_sides_of_a_change_of_clocks(toy: Toy, tmp_path: Path) -> None:
    times = ["2014-03-09T01:59:00", "2014-03-09T02:30:00", "2014-11-02T01:30:00"]
    incidents = [(when, "SHOOTING", -76.605, 39.285) for when in times]
    prepare(toy(files={"t.geojson": formats.geojson(incidents)}), tmp_path / "out")
    assert [when for when, *_ in formats.read_incidents(tmp_path / "out")] == times


def test_a_record_longer_than_what_is_read_at_once_and_many_records(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "READ_BYTES", 7)
    monkeypatch.setattr(json_rows, "LOOK_AHEAD", 2)
    incidents = [(f"2014-01-{1 + i // 24:02d}T{i % 24:02d}:00:00", "SHOOTING", -76.605, 39.285) for i in range(60)]
    quality = prepare(toy(files={"t.geojson": formats.geojson(incidents, Location="\u00e9" * 9)}), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == incidents and quality["rows_read"] == 60


PAGE = formats.geojson()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.geojson: is empty"),
        (b"{}", "holds no list of records"),
        (b'{"type": "FeatureCollection", "features": []}', "holds no records"),
        (PAGE[: len(PAGE) // 2], "is cut off or damaged"),
        (PAGE[:-2], "is cut off or damaged"),
        (PAGE[:20], "is cut off or holds no list"),
        (PAGE.replace(b'"Feature"', b"Feature", 1), "is cut off or damaged"),
        (b'{"features": [1, 2]}', "holds something that is no record"),
        (b'{"features": [' + b"[" * 100_000, "is nested too deeply|is cut off"),
        (PAGE.replace(b"LARCENY", b"LARC\xff"), "is not UTF-8 text"),
        (b'{"features": [{"a": "' + b"x" * (5 << 20), "a record of more than 4 MB"),
        (b"<html>", "holds no list of records"),
        (PAGE + b"\n" + PAGE, "holds something after the list"),
        (PAGE + PAGE, "holds something after the list"),
        (b'[{"a": 1}]\n[{"a": 2}]', "holds something after the list"),
        (b'[{"a": 1}], "b": 2}', "holds something after the list"),
        (b'{"features": [{"a": 1}], "b": }', "holds something after the list"),
        (b'{"features": [{"a": 1}], "b": "' + b"x" * (5 << 20) + b'"}', "holds something after the list"),
        (PAGE[:-1], "is cut off: the object around the list"),
        (b'{"a": 1}\n{"a": 2}\n', r"one record a line \(NDJSON\)"),
        (b'{"type": "Feature", "properties": {"a": 1}}\r\n{"type": "Feature"}', r"one record a line \(NDJSON\)"),
        (b'{"meta": {"view": {}}, "data": [[1, "a"]]}', r"without column names, as the whole export of a Socrata feed"),
        (b'{"items": [{"a": 1}], "features": [{"a": 2}]}', "holds more than one list, such as 'features'"),
        (
            b'{"a": {"rows": [{"a": 1}]}, "b": {"result": {"data": [{"a": 2}]}}}',
            "holds more than one list, such as 'data'",
        ),
        (b'{"features": [{"properties": "a"}]}', "a feature whose properties are no record"),
        (b'{"features": [{"attributes": [1]}]}', "a feature whose properties are no record"),
        (b'[{"foo": 1}]', "lacks 'CrimeDate'.*it has 'foo'.*hews init"),
    ],
)
def test_a_damaged_feed_is_refused_in_one_line(toy: Toy, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepare(toy(files={"t.geojson": content}), tmp_path / "out")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("t.geojson")


RECORDS = list(csv.DictReader(io.StringIO(formats.portal().decode())))
FIELDS = [{"id": name, "type": "text"} for name in RECORDS[0]]
ANSWERS: dict[str, dict[str, Any]] = {
    "CKAN": {"help": "x", "success": True, "result": {"fields": FIELDS, "records": RECORDS, "total": 3}},
    "Carto": {"rows": RECORDS, "time": 0.1, "fields": {"x": {"type": "string"}}, "total_rows": 3},
    "Opendatasoft 1": {"nhits": 3, "records": [{"recordid": "a", "fields": r} for r in RECORDS]},
    "Opendatasoft 2": {"total_count": 3, "results": RECORDS},
    "ArcGIS": {"features": [{"attributes": r} for r in RECORDS], "exceededTransferLimit": False},
    "OData": {"@odata.context": "x", "value": RECORDS},
}  # fmt: skip


@pytest.mark.parametrize("feed", ANSWERS)
def test_the_whole_answer_of_a_feed_is_read(toy: Toy, tmp_path: Path, feed: str) -> None:
    quality = prepare(toy(files={"t.json": json.dumps(ANSWERS[feed]).encode()}), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == list(formats.INCIDENTS)
    assert not any("part of the table" in warning for warning in quality["warnings"])


@pytest.mark.parametrize(
    ("feed", "old", "new", "warning"),
    [
        ("CKAN", '"total": 3', '"total": 32000', "t.json: 31,997 rows more are in the feed"),
        ("Carto", '"total_rows": 3', '"total_rows": 4', "t.json: 1 rows more are in the feed"),
        ("Opendatasoft 1", '"nhits": 3', '"nhits": 10', "t.json: 7 rows more are in the feed"),
        ("Opendatasoft 2", '"total_count": 3', '"total_count": 10', "t.json: 7 rows more are in the feed"),
        ("ArcGIS", "false", "true", "t.json: 3 rows are not all, by what the file itself says"),
        (
            "ArcGIS",
            '"exceededTransferLimit": false',
            '"properties": {"exceededTransferLimit": true}',
            "3 rows are not all",
        ),
    ],
)
def test_an_answer_that_says_that_there_is_more_is_no_whole_table(
    toy: Toy, tmp_path: Path, feed: str, old: str, new: str, warning: str
) -> None:
    content = json.dumps(ANSWERS[feed])
    assert old in content
    quality = prepare(toy(files={"t.json": content.replace(old, new).encode()}), tmp_path / "out")
    (told,) = [text for text in quality["warnings"] if "part of the table" in text]
    assert warning in told
    page = {"t-00001.json": content.replace(old, new).encode()}  # of a download: the other pages are there
    assert not any("part of the table" in text for text in prepare(toy(files=page), tmp_path / "two")["warnings"])


def test_numbers_keep_the_digits_they_are_written_with() -> None:
    stream = io.BytesIO(b'[{"a": 39.297090000000004000, "b": 1e400, "c": NaN, "d": true, "e": [1]}]')
    ((_, found_row),) = json_rows.read_rows(stream, "t.json", Counter())
    texts = {"a": "39.297090000000004000", "b": "1e400", "c": "NaN", "d": "true", "e": json.dumps(["1"])}
    assert {name: found_row[name] for name in texts} == texts
