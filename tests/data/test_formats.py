"""Every known kind of table, found without being told, gives the same incidents; and events of two files count once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import load_events
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.propose import propose
from hews_gpu.data.readers import json_rows
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.formats import INCIDENTS, Incident
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]
KINDS: dict[str, tuple[str, bytes, str]] = {
    "portal": ("t.csv", formats.portal(), "portal"),
    "arcgis": ("t.csv.gz", formats.arcgis(), "arcgis"),
    "chicago": ("t.csv", formats.chicago(), "chicago"),
    "chicago api": ("t.csv", formats.chicago(api=True), "chicago"),
    "points": ("t.geojson", formats.geojson(), "arcgis"),
    "points, packed": ("t.geojson.gz", formats.geojson(), "arcgis"),
    "columns": ("t.geojson", formats.geojson(point=False, columns=True), "arcgis"),
    "columns and points": ("t.json", formats.geojson(columns=True), "arcgis"),
    "blank columns": ("t.geojson", formats.geojson(Longitude=None, Latitude=""), "arcgis"),
    "esri json": ("t.json", formats.esri_json(), "arcgis"),
    "0 and 0 in columns": ("t.geojson", formats.geojson(Longitude=0.0, Latitude=0), "arcgis"),
    "more after the list": ("t.geojson", formats.geojson()[:-1] + b',\n"more": {"a": [1, "]"]}}\n \n', "arcgis"),
    "records": ("t.json", formats.records(), "chicago"),
    "utf-16": ("t.csv", formats.arcgis().decode().encode("utf-16"), "arcgis"),
    "utf-8 mark": ("t.geojson", b"\xef\xbb\xbf" + formats.geojson(), "arcgis"),
}


def found(out: Path) -> list[tuple[str, str, float, float]]:
    rows = pq.read_table(out / "incidents.parquet").to_pylist()
    return [(str(np.datetime64(r["time_s"], "s")), r["category"], r["longitude"], r["latitude"]) for r in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_table_gives_the_same_incidents(toy: Toy, tmp_path: Path, kind: str) -> None:
    name, content, schema = KINDS[kind]
    quality = prepare(toy(files={name: content}), tmp_path / "out")
    assert found(tmp_path / "out") == list(INCIDENTS)
    assert quality["files"][0]["schema"] == schema
    assert quality["rows_read"] == quality["rows_kept"] == 3 and quality["targets_kept"] == 2


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("table", [formats.portal(), formats.arcgis(), formats.chicago(), formats.chicago(api=True)])
def test_parquet_of_text_or_of_numbers_and_times(toy: Toy, tmp_path: Path, table: bytes, text: bool) -> None:
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", table, text=text)
    prepare(city, tmp_path / "out")
    assert found(tmp_path / "out") == list(INCIDENTS)


def test_lines_and_charts_of_a_feed_are_those_of_the_portal(toy: Toy, tmp_path: Path) -> None:
    prepare(toy(files={"a.csv": formats.portal(), "b.geojson": formats.geojson()}), tmp_path / "out")
    charts = pq.read_table(tmp_path / "out/charts_only.parquet").to_pylist()
    assert charts == [{"row_id": i, "Inside/Outside": "I"} for i in range(6)]
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert sorted((r["source"], r["line"]) for r in rows) == [
        *(("a.csv", line) for line in (2, 3, 4)),
        *(("b.geojson", record) for record in (1, 2, 3)),
    ]


def test_milliseconds_are_wall_clock_time_on_both_sides_of_a_change_of_clocks(toy: Toy, tmp_path: Path) -> None:
    times = ["2014-03-09T01:59:00", "2014-03-09T02:30:00", "2014-11-02T01:30:00"]
    incidents = [(when, "SHOOTING", -76.605, 39.285) for when in times]
    prepare(toy(files={"t.geojson": formats.geojson(incidents)}), tmp_path / "out")
    assert [when for when, *_ in found(tmp_path / "out")] == times


def test_a_record_longer_than_what_is_read_at_once_and_many_records(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "READ_BYTES", 7)
    monkeypatch.setattr(json_rows, "LOOK_AHEAD", 2)
    incidents = [(f"2014-01-{1 + i // 24:02d}T{i % 24:02d}:00:00", "SHOOTING", -76.605, 39.285) for i in range(60)]
    quality = prepare(toy(files={"t.geojson": formats.geojson(incidents, Location="\u00e9" * 9)}), tmp_path / "out")
    assert found(tmp_path / "out") == incidents and quality["rows_read"] == 60


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


@pytest.mark.parametrize("keep", [0, 3, 100, -200, -5])
def test_a_damaged_parquet_file_is_refused_in_one_line(toy: Toy, tmp_path: Path, keep: int) -> None:
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", formats.portal())
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:keep])
    with pytest.raises(UserError, match=r"t\.parquet: is not a whole Parquet file") as caught:
        prepare(city, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_with_a_damaged_page_is_refused(toy: Toy, tmp_path: Path) -> None:
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", formats.portal(INCIDENTS * 500))
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[4:400] = b"\xff" * 396
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        prepare(city, tmp_path / "out")


def drop(table: bytes, *names: str) -> bytes:
    """A CSV table without some columns."""
    lines = [line.split(",") for line in table.decode().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if name not in names]
    return "\n".join(",".join(line[i] for i in keep) for line in lines).encode()


def test_a_table_without_coordinates_is_set_aside_with_that_reason(toy: Toy, tmp_path: Path) -> None:
    placeless = drop(formats.arcgis(), "Longitude", "Latitude")
    quality = prepare(toy(files={"a.csv": placeless, "b.csv": formats.portal()}), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"table has no coordinate columns": 3}
    assert quality["targets_quarantined_by_reason"] == {"table has no coordinate columns": 2}
    aside = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert [(r["source"], r["line"], r["category_text"]) for r in aside][1] == ("a.csv", 3, "SHOOTING")
    assert found(tmp_path / "out") == list(INCIDENTS)


def test_a_table_without_coordinates_alone_is_refused(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 3 rows can be used \(table has no coordinate columns: 3\)"):
        prepare(toy(files={"a.csv": drop(formats.chicago(), "Longitude", "Latitude")}), tmp_path / "out")


def test_names_of_older_vintages_become_one_and_stay_countable(toy: Toy, tmp_path: Path) -> None:
    lines = [row(category=name) for name in ("MURDER", "Homicide", "agg.  asslt.- gun", "AGG. ASSAULT", "1a-murder")]
    quality = prepare(toy(lines), tmp_path / "out")
    assert quality["categories"] == {"AGG. ASSAULT": 2, "HOMICIDE": 3} and quality["targets_kept"] == 3
    assert quality["renamed_categories"] == {
        "1A-MURDER": {"named": "HOMICIDE", "rows": 1},
        "AGG. ASSLT.- GUN": {"named": "AGG. ASSAULT", "rows": 1},
        "MURDER": {"named": "HOMICIDE", "rows": 1},
    }


def shifted(incidents: list[Incident], meters: float) -> list[Incident]:
    return [(when, what, x, y + meters / 111_000) for when, what, x, y in incidents]


def test_an_event_of_two_layouts_counts_once(toy: Toy, tmp_path: Path) -> None:
    """Geocoded anew by 60 m: repeats. By 120 m, at another minute, of another category: not."""
    base = [(f"2014-01-{day:02d}T12:00:00", "LARCENY", -76.605, 39.285) for day in range(1, 6)]
    other = shifted(base[:1], 60) + shifted(base[1:2], 120)
    other += [("2014-01-03T12:01:00", *base[2][1:]), (base[3][0], "HOMICIDE", *base[3][2:]), base[4]]
    out = tmp_path / "out"
    quality = prepare(toy(files={"old.csv": formats.portal(base), "new.csv": formats.arcgis(other)}), out)
    repeated = {
        (r["source"], r["line"]): r["duplicate_of"] for r in pq.read_table(out / "incidents.parquet").to_pylist()
    }
    assert {key: of for key, of in repeated.items() if of is not None} == {("new.csv", 2): 0, ("new.csv", 6): 4}
    assert quality["overlaps"] == quality["duplicates"] == 2 and quality["rows_kept"] == 10
    (pair,) = quality["overlapping_files"]
    assert pair["files"] == ["old.csv", "new.csv"] and pair["days"] == ["2014-01-01", "2014-01-05"]
    assert pair["rows"] == [5, 5] and pair["repeated"] == 2
    loaded = load_events(out)
    assert len(loaded) == 8 and loaded.is_target.sum() == 1
    assert not loaded.is_duplicate.any()


@pytest.mark.parametrize("bucket_rows", [1, 10**6])
def test_a_target_whose_time_was_revised_counts_once(toy: Toy, tmp_path: Path, bucket_rows: int) -> None:
    """Within 24 hours, midnight or not, and 200 m; one to one, nearest in time first; no other category."""
    base = [
        ("2014-01-02T23:50:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-05T12:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-05T14:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-10T12:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-15T12:00:00", "HOMICIDE", -76.605, 39.285),
        ("2014-01-20T12:00:00", "LARCENY", -76.605, 39.285),
    ]
    at = base[0][2:]
    other = [
        *shifted([("2014-01-03T10:00:00", "SHOOTING", *at)], 150),
        ("2014-01-05T13:30:00", "SHOOTING", *at),
        ("2014-01-05T13:45:00", "SHOOTING", *at),
        ("2014-01-11T12:01:00", "SHOOTING", *at),
        *shifted([("2014-01-15T13:00:00", "HOMICIDE", *at)], 220),
        ("2014-01-15T12:30:00", "SHOOTING", *at),
        ("2014-01-20T12:01:00", "LARCENY", *at),
    ]
    out = tmp_path / "out"
    files = {"old.csv": formats.portal(base), "new.csv": formats.arcgis(other)}
    quality = prepare(toy(files=files), out, cut=Cut(bucket_rows=bucket_rows))
    rows = {(r["source"], r["line"]): r for r in pq.read_table(out / "incidents.parquet").to_pylist()}
    repeated = {line: r["duplicate_of"] for (source, line), r in rows.items() if source == "new.csv"}
    assert repeated == {2: 0, 3: 1, 4: 2, 5: None, 6: None, 7: None, 8: None}
    assert all(r["is_overlap"] == (r["duplicate_of"] is not None) for r in rows.values())
    (pair,) = quality["overlapping_files"]
    assert pair["repeated"] == quality["overlaps"] == quality["target_overlaps"] == 3
    assert pair["targets"] == {
        "HOMICIDE": {"rows": [1, 1], "repeated": 0, "unmatched": 1},
        "SHOOTING": {"rows": [3, 5], "repeated": 3, "unmatched": 2},
    }
    (warning,) = [text for text in quality["warnings"] if "share" in text]
    assert "3 rows of the second repeat the first" in warning
    assert "HOMICIDE 0 matched, 1 unmatched, SHOOTING 3 matched, 2 unmatched" in warning
    assert warning.endswith("use one file per period")


MANY = [(f"2014-01-{day:02d}T10:10:00", "SHOOTING", -76.605, 39.285) for day in range(1, 31)]


@pytest.mark.parametrize("as_glob", [False, True])
@pytest.mark.parametrize(("first", "second"), [(MANY, MANY), (MANY[:20], MANY[10:]), (MANY[10:], MANY[:20])])
def test_two_downloads_of_one_feed_load_each_event_once(
    toy: Toy, tmp_path: Path, first: list[Incident], second: list[Incident], as_glob: bool
) -> None:
    city = toy(files={"a.csv": formats.portal(first), "b.csv": formats.portal(second)})
    if as_glob:
        city.path.write_text(city.path.read_text().replace('["a.csv", "b.csv"]', '["*.csv"]'))
    quality = prepare(load_city(city.path), tmp_path / "out")
    assert len(load_events(tmp_path / "out")) == 30
    shared = len(first) + len(second) - 30
    assert quality["overlaps"] == quality["overlapping_files"][0]["repeated"] == shared
    assert quality["rows_kept"] == quality["targets_kept"] == quality["rows_read"] == 30 + shared
    assert quality["rows_by_month"] == quality["targets_by_month"] == {"2014-01": 30}
    assert np.sum(quality["targets_by_weekday_and_hour"]) == 30
    assert not any("unmatched" in text for text in quality["warnings"])


def test_as_many_victims_stay_as_the_download_with_the_most_has(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {f"{name}.csv": formats.portal([one] * count) for name, count in {"a": 2, "b": 3, "c": 1, "d": 3}.items()}
    quality = prepare(toy(files=files), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["row_id"] for r in rows if not r["is_overlap"]] == [0, 1, 4]
    assert [r["duplicate_of"] for r in rows] == [None, *[0] * 8]
    assert len(load_events(tmp_path / "out")) == 3 and quality["overlaps"] == 6


def test_two_downloads_do_not_match_the_events_of_another_layout_twice(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {"a.csv": formats.portal([one]), "b.csv": formats.portal([one]), "c.csv": formats.arcgis([one] * 2)}
    prepare(toy(files=files), tmp_path / "out")
    assert len(load_events(tmp_path / "out")) == 2


def test_two_victims_stay_two_in_both_layouts(toy: Toy, tmp_path: Path) -> None:
    """Rows that differ in the portal's premise, and are three in the feed: the third is an event of its own."""
    one = INCIDENTS[1]
    portal = formats.portal([one, one]).replace(b",I\r\n", b",O\r\n", 1)
    feed = formats.geojson([one, one, one]).replace(b'"I"', b'"A"', 1).replace(b'"I"', b'"B"', 1)
    quality = prepare(toy(files={"a.csv": portal, "b.geojson": feed}), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, None, 0, 1, None]
    assert quality["overlaps"] == 2


def test_a_repeat_of_a_repeat_names_the_first_row(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {
        "a.csv": formats.portal([one]),
        "b.csv": formats.arcgis([one] * 2),
        "c.geojson": formats.geojson([one] * 2),
    }
    prepare(toy(files=files), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("names", "overlaps"),
    [
        (("incidents-00001.geojson", "incidents-00002.geojson"), 0),
        (("p1.geojson", "p2.geojson"), 1),
        (("incidents-00001.geojson", "other-00002.geojson"), 1),
        (("incidents-2016.geojson", "incidents-2017.geojson"), 1),
    ],
)
def test_equal_rows_on_two_pages_of_one_download_are_two_victims(
    toy: Toy, tmp_path: Path, names: tuple[str, str], overlaps: int
) -> None:
    """Pages are told by names as `hews fetch` gives them; of other files, each is a download of its own."""
    one = INCIDENTS[1]
    contents = formats.geojson([one]), formats.geojson([one, one]).replace(b'"I"', b'"O"', 1)
    quality = prepare(toy(files=dict(zip(names, contents, strict=True))), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, None, 0]
    assert quality["overlaps"] == overlaps and len(load_events(tmp_path / "out")) == 3 - overlaps
    assert sum(pair["repeated"] for pair in quality["overlapping_files"]) == overlaps


def test_a_whole_mapping_is_for_the_files_that_have_its_columns(toy: Toy, tmp_path: Path) -> None:
    mapped = b"when,x,y,what\n2014-01-31T23:30:00,-76.605,39.285,LARCENY\n"
    roles = '[incidents.columns]\ntime = "when"\nlongitude = "x"\nlatitude = "y"\ncategory = "what"\n'
    files = {"a.csv": mapped, "b.csv": formats.chicago(INCIDENTS[1:])}
    quality = prepare(toy(files=files, incidents=roles), tmp_path / "out")
    assert found(tmp_path / "out") == list(INCIDENTS)
    assert [about["schema"] for about in quality["files"]] == ["mapped", "chicago"]


def test_a_header_repeated_in_the_middle_is_set_aside_as_such(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy([row(), HEADER, row(category="SHOOTING")]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"header repeated": 1}
    (aside,) = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert aside["line"] == 3 and quality["missing"]["Premise"] == 1


def test_numbers_keep_the_digits_they_are_written_with() -> None:
    stream = io.BytesIO(b'[{"a": 39.297090000000004000, "b": 1e400, "c": NaN, "d": true, "e": [1]}]')
    (found_row,) = json_rows.read_rows(stream, "t.json")
    texts = {"a": "39.297090000000004000", "b": "1e400", "c": "NaN", "d": "true", "e": json.dumps(["1"])}
    assert {name: found_row[name] for name in texts} == texts


def test_parquet_columns_of_one_name_are_told_apart_by_position(toy: Toy, tmp_path: Path) -> None:
    """As in a CSV file, the first one counts, also beside nested columns."""
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", formats.portal())
    table = pq.read_table(tmp_path / "t.parquet")
    nested = pa.array([{"a": 1, "b": [1.5]}] * len(table))
    table = table.add_column(0, "Nested", nested).append_column("Description", pa.array(["WRONG"] * len(table)))
    pq.write_table(table, tmp_path / "t.parquet")
    assert prepare(city, tmp_path / "out")["rows_kept"] == 3
    assert found(tmp_path / "out") == list(INCIDENTS)


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64()])
def test_milliseconds_in_a_parquet_column_of_floats(toy: Toy, tmp_path: Path, kind: pa.DataType) -> None:
    """Pandas makes floats of whole numbers as soon as one is missing."""
    moments = [formats.milliseconds(when) for when, *_ in INCIDENTS]
    columns = {
        "CrimeDateTime": pa.array([*moments, None]).cast(kind),
        "Description": [*(what for _, what, *_ in INCIDENTS), "SHOOTING"],
        "Longitude": [*(x for _, _, x, _ in INCIDENTS), -76.605],
        "Latitude": [*(y for *_, y in INCIDENTS), 39.285],
    }
    city = toy(files={"t.parquet": b""})
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert prepare(city, tmp_path / "out")["quarantined_by_reason"] == {"unparsable time": 1}
    assert found(tmp_path / "out") == list(INCIDENTS)


def test_parquet_text_that_is_not_utf_8_is_refused_in_one_line(toy: Toy, tmp_path: Path) -> None:
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", formats.portal())
    table = pq.read_table(tmp_path / "t.parquet")
    bad = pa.array([b"LARC\xff"] * len(table)).view(pa.string())
    at = table.column_names.index("Description")
    pq.write_table(table.set_column(at, "Description", bad), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"^t\.parquet: .*UTF-?8") as caught:
        prepare(city, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_named(toy: Toy, tmp_path: Path, delimiter: str, name: str) -> None:
    content = formats.portal().replace(b",", delimiter.encode())
    for attempt in (
        lambda: prepare(toy(files={"t.csv": content}), tmp_path / "out"),
        lambda: propose(tmp_path / "t.csv"),
    ):
        with pytest.raises(UserError, match=f"^t.csv: separates its fields with {name}.*, where commas are needed"):
            attempt()


def test_a_header_that_cannot_be_read_is_refused_in_one_line(toy: Toy, tmp_path: Path) -> None:
    content = b"a," + b"x" * 140_000 + b"\n1,2\n"
    with pytest.raises(UserError, match=r"^t\.csv: has a header line that cannot be read"):
        prepare(toy(files={"t.csv": content}), tmp_path / "out")
