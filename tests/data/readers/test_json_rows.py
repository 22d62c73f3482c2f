"""Feeds in JSON: read one record at a time, with the digits they are written with, or refused in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

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
        (b'{"features": [{"properties": "a"}]}', "a feature whose properties are no record"),
        (b'{"features": [{"attributes": [1]}]}', "a feature whose properties are no record"),
        (b'[{"foo": 1}]', "lacks 'CrimeDate'.*it has 'foo'.*hews init"),
    ],
)
def test_a_damaged_feed_is_refused_in_one_line(toy: Toy, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepare(toy(files={"t.geojson": content}), tmp_path / "out")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("t.geojson")


def test_numbers_keep_the_digits_they_are_written_with() -> None:
    stream = io.BytesIO(b'[{"a": 39.297090000000004000, "b": 1e400, "c": NaN, "d": true, "e": [1]}]')
    (found_row,) = json_rows.read_rows(stream, "t.json")
    texts = {"a": "39.297090000000004000", "b": "1e400", "c": "NaN", "d": "true", "e": json.dumps(["1"])}
    assert {name: found_row[name] for name in texts} == texts
