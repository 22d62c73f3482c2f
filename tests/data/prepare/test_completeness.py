"""What is not known to be all there is is never passed on as complete: fetches, answers of feeds, cut-off files."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import DOUBTS, open_prepared
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from hews_gpu.forecasters.city import whole_city
from tests.data import formats
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]
SHOT = row(category="SHOOTING")


def csv_of(*lines: str, end: str = "\n") -> bytes:
    return ("\n".join((HEADER, *lines)) + end).encode()


def page(name: str, sha256: str) -> dict[str, Any]:
    return {"file": name, "url": "u", "time": "t", "rows": 1, "first": 1, "last": 1, "sha256": sha256}


def fetched(folder: Path, names: list[str], **record: Any) -> None:
    """The record of a fetch of these pages, as it is once all is there."""
    pages = [page(name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in names]
    content = {"kind": "fetch", "query": {}, "tables": {"incidents": {"whole": True, "pages": pages}}}
    content |= {"finished": "now", "doubts": []}
    (folder / "fetch.json").write_text(json.dumps({**content, **record}))


@pytest.fixture
def pages(toy: Toy, tmp_path: Path) -> CityConfig:
    """Two pages of a fetch, one row each."""
    city = toy(files={"incidents-00001.csv": csv_of(SHOT), "incidents-00002.csv": csv_of(row())})
    fetched(tmp_path, ["incidents-00001.csv", "incidents-00002.csv"])
    return city


def test_a_fetch_that_is_whole_leaves_no_doubt(pages: CityConfig, tmp_path: Path) -> None:
    quality = prepare(pages, tmp_path / "out")
    assert quality[DOUBTS] == [] and not any("complete" in text for text in quality["warnings"])
    assert DOUBTS not in whole_city(open_prepared(tmp_path / "out")).notes


def test_what_a_fetch_doubts_goes_along_to_the_results(pages: CityConfig, tmp_path: Path) -> None:
    why = "1,999 incidents were fetched, but the feed counts 2,000"
    fetched(tmp_path, ["incidents-00001.csv", "incidents-00002.csv"], doubts=[why])
    quality = prepare(pages, tmp_path / "out")
    assert quality[DOUBTS] == [why] and f"the table is not known to be complete: {why}" in quality["warnings"]
    assert whole_city(open_prepared(tmp_path / "out")).notes[DOUBTS] == [why]


@pytest.mark.parametrize("what", ["unfinished", "missing", "changed", "damaged"])
def test_pages_of_a_fetch_that_is_not_whole_are_refused(pages: CityConfig, tmp_path: Path, what: str) -> None:
    names, message = ["incidents-00001.csv", "incidents-00002.csv"], ""
    record = json.loads((tmp_path / "fetch.json").read_text())
    if what == "unfinished":
        del record["finished"]
        message = r"fetch\.json: says that the fetch did not end\. Give 'hews fetch' again"
    elif what == "missing":
        record["tables"]["incidents"]["pages"].append(page("incidents-00003.csv", ""))
        message = r"names incidents-00003\.csv, which \[incidents\] files does not find"
    elif what == "changed":
        (tmp_path / names[1]).write_bytes(csv_of(row(), row()))
        message = r"knows incidents-00002\.csv with other bytes"
    (tmp_path / "fetch.json").write_text("{" if what == "damaged" else json.dumps(record))
    with pytest.raises(UserError, match=message or r"fetch\.json: is not JSON"):
        prepare(pages, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_beside_a_fetch_are_none_of_its_pages(toy: Toy, tmp_path: Path) -> None:
    city = toy([SHOT])
    (tmp_path / "incidents-00001.csv").write_bytes(csv_of(row()))
    fetched(tmp_path, ["incidents-00001.csv"], finished=None)
    assert prepare(city, tmp_path / "out")[DOUBTS] == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("end", "is_cut"),
    [("\n", False), ("", False), ("\n01/31/2014,23:30:00,LAR", True), ('\n01/31/2014,23:30:00,"LAR', True)],
)
def test_a_csv_file_that_ends_within_a_row_is_told(
    toy: Toy, tmp_path: Path, end: str, is_cut: bool, packed: bool
) -> None:
    name = "t.csv.gz" if packed else "t.csv"
    quality = prepare(toy(files={name: csv_of(SHOT, row(), end=end)}), tmp_path / "out")
    assert quality[DOUBTS] == ([f"{name} ends in the middle of a row"] if is_cut else [])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", ["before", "after"])
def test_an_answer_that_says_there_is_more_is_told(toy: Toy, tmp_path: Path, where: str, packed: bool) -> None:
    content = json.loads(formats.geojson())
    more = {"properties": {"exceededTransferLimit": True}}
    name = "t.geojson.gz" if packed else "t.geojson"
    text = json.dumps({**more, **content} if where == "before" else {**content, **more})
    quality = prepare(toy(files={name: text.encode()}), tmp_path / "out")
    (doubt,) = quality[DOUBTS]
    assert doubt.startswith(f"{name}: 3 rows are not all, by what the file itself says")
    assert sum("a part of the table" in text for text in quality["warnings"]) == 1
    fetched(tmp_path, [name])  # each page of a fetch but the last says so
    quality = prepare(load_city(tmp_path / "toy.toml"), tmp_path / "again")
    assert quality[DOUBTS] == [] and not any("a part of the table" in text for text in quality["warnings"])


@pytest.mark.parametrize(("rows", "is_told"), [(999, False), (1000, True), (1001, False), (2000, True)])
def test_a_number_of_rows_at_which_feeds_cut_off_is_told(toy: Toy, tmp_path: Path, rows: int, is_told: bool) -> None:
    lines = [
        row(category="SHOOTING", longitude="-76.615"),
        *(row(time=f"{i // 60 % 24:02d}:{i % 60:02d}:00") for i in range(rows - 1)),
    ]
    doubts = prepare(toy(lines), tmp_path / "out")[DOUBTS]
    assert doubts == ([f"table.csv has exactly {rows:,} rows, at which feeds cut off an answer"] if is_told else [])


def test_a_file_that_was_left_out_is_told(toy: Toy, tmp_path: Path) -> None:
    files = {"a.csv": csv_of(SHOT), "b.csv.gz": csv_of(row())}
    city = toy(files=files, incidents='damaged_files = "quarantine"')
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(csv_of(row()))[:-9])
    assert prepare(city, tmp_path / "out")[DOUBTS] == ["b.csv.gz could not be read and was left out"]
