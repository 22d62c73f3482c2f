"""Blocks of text: every line of every file is in one of them, numbered, whatever is on it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.readers.files import IncidentFile, incident_files
from hews_gpu.data.readers.records import PROBLEMS
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.formats import INCIDENTS
from tests.data.toy import HEADER, TOML, read_all, row

Toy = Callable[..., CityConfig]


def read(city: CityConfig, **cut: int) -> tuple[pa.Table, list[IncidentFile]]:
    """All blocks as one table of plain text with source and row_id, and the files."""
    blocks, files = read_all(city, **cut)
    table = pa.concat_tables([block.table for block in blocks])
    texts = {
        n: table[n].cast(pa.string()) if pa.types.is_dictionary(table[n].type) else table[n] for n in table.column_names
    }
    source = [block.file for block in blocks for _ in range(len(block))]
    row_id = np.concatenate([block.row_id for block in blocks])
    return pa.table({"source": source, "row_id": row_id, **texts}), files


def test_chosen_columns_as_text_with_true_line_numbers(toy: Toy) -> None:
    lines = [row(), row(category='"LARC\nENY"'), "", row(rest="A,B"), row(latitude="not a number"), "x" * 50]
    table, (source,) = read(toy(lines))
    assert table["line"].to_pylist() == [2, 3, 5, 6, 7, 8]
    assert table["row_id"].to_pylist() == list(range(6))
    problems = [PROBLEMS[code] for code in table["problem"].to_pylist()]
    assert problems == ["", "", "blank line", "wrong number of fields", "", "wrong number of fields"]
    assert table["category"].to_pylist() == ["LARCENY", "LARC\nENY", None, None, "LARCENY", None]
    assert table["latitude"].to_pylist() == ["39.285", "39.285", None, None, "not a number", None]
    assert source.rows == 6 and source.columns.schema == "portal"


def test_gzip_whatever_the_name_and_plain_give_the_same(toy: Toy) -> None:
    text = f"{HEADER}\n{row()}\n{row(date='02/01/2014')}\n".encode()
    plain, (source,) = read(toy(files={"a.csv": text}))
    assert source.sha256 == hashlib.sha256(text).hexdigest() and source.bytes == len(text)
    assert read(toy(files={"a.csv.gz": text}))[0] == plain
    assert read(toy(files={"a.csv": gzip.compress(text)}))[0] == plain


def test_byte_order_mark_carriage_returns_and_wrong_bytes(toy: Toy) -> None:
    lines = [HEADER, row(category="CAF\xc9"), "\xff\xfe", row()]
    text = b"\xef\xbb\xbf" + "\r\n".join(lines).encode("latin-1")
    table, _ = read(toy(files={"a.csv": text}))
    assert table["line"].to_pylist() == [2, 3, 4]
    assert table["category"].to_pylist() == ["CAF\xc9", None, "LARCENY"]


def test_several_files_in_order_each_once(toy: Toy) -> None:
    city = toy(files={name: f"{HEADER}\n{row()}\n".encode() for name in ("b.csv", "a.csv.gz", "c.csv")})
    city.path.write_text(city.path.read_text().replace('["b.csv", "a.csv.gz", "c.csv"]', '["b.csv", "*.csv*"]'))
    table, sources = read(load_city(city.path))
    assert [source.name for source in sources] == ["b.csv", "a.csv.gz", "c.csv"]
    assert table["source"].to_pylist() == [0, 1, 2] and table["row_id"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": b""}, "a.csv: is empty"),
        ({"a.csv": b"\n  \n"}, "a.csv: is empty"),
        ({"a.csv.gz": b""}, "a.csv.gz: is empty"),
        ({"a.csv": HEADER.encode()}, "a.csv: has a header but no rows"),
        ({"a.csv": HEADER.encode() + b"\n"}, "a.csv: has a header but no rows"),
        ({"a.csv": b"CrimeDate,Foo\n1,2\n"}, "lacks 'CrimeTime'.*it has 'CrimeDate', 'Foo'"),
        ({"a.csv": HEADER.encode("utf-16-le")}, "holds zero bytes, as UTF-16 without a byte order mark does"),
        ({"a.csv": HEADER.encode("utf-16")}, "has a header but no rows"),
        ({"a.csv": b'a,"b\n1,2\n'}, "a quote that is not closed"),
        ({"a.csv": b"x" * (1 << 21)}, "has no header line"),
        ({"a.doc": b"x"}, "must be of a kind that can be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(toy: Toy, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(toy(files=files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [3, 15, 40, 2_000, -4])
def test_a_cut_off_gzip_file_is_refused(toy: Toy, keep: int) -> None:
    text = "\n".join([HEADER, *(row(rest=f"{i},{i * i},{i**3},X") for i in range(5_000))]).encode()
    city = toy(files={"a.csv.gz": text})
    path = city.path.parent / "a.csv.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"a\.csv\.gz: is not a whole gzip file"):
        read(city, chunk_bytes=10_000)


@pytest.mark.parametrize(("folder", "sibling"), [("*", "other"), ("[x]", "x"), ("a?", "ab")])
def test_a_glob_reads_no_sibling_of_a_folder_with_a_strange_name(tmp_path: Path, folder: str, sibling: str) -> None:
    for name in (folder, sibling):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.csv").write_text("")
        (tmp_path / name / "toy.toml").write_text(TOML.format(files='["*.csv"]', incidents=""))
    (file,) = incident_files(load_city(tmp_path / folder / "toy.toml"))
    assert file.path == tmp_path / folder / "table.csv"


def test_a_file_of_that_very_name_goes_before_a_glob(tmp_path: Path) -> None:
    for name in ("[ab].csv", "a.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "toy.toml").write_text(TOML.format(files='["[ab].csv"]', incidents=""))
    (file,) = incident_files(load_city(tmp_path / "toy.toml"))
    assert file.name == "[ab].csv"


def test_a_glob_that_matches_nothing_is_refused(toy: Toy) -> None:
    city = toy([row()])
    (city.path.parent / "table.csv").unlink()
    with pytest.raises(UserError, match=r"\[incidents\] files = 'table\.csv': matches no file"):
        read(city)


SCRAPS = [
    row(),
    row(time="112"),
    '"a\nb",',
    "",
    "a,b",
    '"',
    ",,,,,,,,",
    row(rest='"x, y",,"Q ""q""",6C'),
    "\r",
    "é\x00",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(SCRAPS), min_size=1, max_size=12),
    st.sampled_from([1, 3, 1000]),
    st.integers(20, 400),
    st.integers(1, 400),
)
def test_dirt_is_never_lost_and_the_cut_does_not_matter(
    toy: Toy, scraps: list[str], block_rows: int, chunk_bytes: int, partition_bytes: int
) -> None:
    city = toy(files={"a.csv": "\n".join([HEADER, *scraps, ""]).encode()})
    whole, _ = read(city)
    cut, _ = read(city, block_rows=block_rows, chunk_bytes=chunk_bytes, partition_bytes=partition_bytes)
    assert cut == whole
    assert whole["row_id"].to_pylist() == list(range(len(whole)))
    assert sum(code == 0 for code in whole["problem"].to_pylist()) >= sum(scrap == row() for scrap in scraps)


def test_columns_that_describe_a_person_are_not_read(toy: Toy, tmp_path: Path) -> None:
    text = f"{HEADER},Age,Sex,victim_race\n{row()},QQ17,QQ18,QQ19\n".encode()
    table, (source,) = read(toy(files={"a.csv": text}))
    assert source.columns.person_level == 3
    assert not {"Age", "Sex", "victim_race"} & set(table.column_names)
    assert not any(b"QQ1" in path.read_bytes() for path in tmp_path.glob("*.arrow"))


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


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_table_gives_the_same_incidents(toy: Toy, tmp_path: Path, kind: str) -> None:
    name, content, schema = KINDS[kind]
    quality = prepare(toy(files={name: content}), tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)
    assert quality["files"][0]["schema"] == schema
    assert quality["rows_read"] == quality["rows_kept"] == 3 and quality["targets_kept"] == 2


def test_lines_and_charts_of_a_feed_are_those_of_the_portal(toy: Toy, tmp_path: Path) -> None:
    prepare(toy(files={"a.csv": formats.portal(), "b.geojson": formats.geojson()}), tmp_path / "out")
    charts = pq.read_table(tmp_path / "out/charts_only.parquet").to_pylist()
    assert charts == [{"row_id": i, "Inside/Outside": "I"} for i in range(6)]
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert sorted((r["source"], r["line"]) for r in rows) == [
        *(("a.csv", line) for line in (2, 3, 4)),
        *(("b.geojson", record) for record in (1, 2, 3)),
    ]
