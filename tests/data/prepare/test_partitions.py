"""One damaged file among forty: named and stopped at, or left out whole, as the city's file says."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.errors import UserError
from hews_gpu.workers import Opener, in_this_process
from tests.data.toy import HEADER, TOML, TWO_SQUARES, geojson, row

Toy = Callable[..., CityConfig]
FILES = 40


def parquet_of(rows: int) -> bytes:
    names = HEADER.split(",")
    values = row(category="SHOOTING").split(",")
    table = pa.table({name: pa.array([value] * rows) for name, value in zip(names, values, strict=True)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=4, use_dictionary=False, compression="none")
    return sink.getvalue()


def spoilt_parquet() -> bytes:
    """Whole at its end, which lists all row groups, and overwritten in the middle of the third."""
    data = bytearray(parquet_of(40))
    at = pq.read_metadata(io.BytesIO(bytes(data))).row_group(2).column(0).data_page_offset
    data[at : at + 60] = b"\xff" * 60
    return bytes(data)


RECORDS = json.dumps([dict(zip(HEADER.split(","), row().split(","), strict=True)) for _ in range(5)]).encode()
DAMAGE = {
    "cut gzip": ("x.csv.gz", lambda: gzip.compress("\n".join([HEADER, *[row()] * 50]).encode())[:-20], "whole gzip"),
    "empty": ("x.csv", lambda: b"", "is empty"),
    "no table": ("x.csv", lambda: b"\x00\x01\x02\n\x00\n", "zero bytes"),
    "other columns": ("x.csv", lambda: b"a,b\n1,2\n", "lacks 'CrimeDate'"),
    "cut parquet": ("x.parquet", lambda: parquet_of(40)[:-9], "whole Parquet file"),
    "spoilt parquet": ("x.parquet", spoilt_parquet, "whole Parquet file"),
    "cut json": ("x.json", lambda: RECORDS[:-40], "cut off"),
}


def forty(folder: Path, name: str, content: bytes | None, *, setting: str) -> CityConfig:
    """A city of 40 files, of which the 38th is the given one (or is not there)."""
    names = [f"f-{i:05d}.csv" for i in range(FILES)]  # pages of one download
    for i, other in enumerate(names):
        lines = [HEADER, row(date=f"01/{1 + i % 28:02d}/2014", category="SHOOTING" if i % 3 else "LARCENY"), "oops"]
        (folder / other).write_text("\n".join(lines))
    names[37:38] = [name] if content is not None else []
    if content is not None:
        (folder / name).write_bytes(content)
    path = folder / "toy.toml"
    text = path.read_text()
    old = next(line for line in text.splitlines() if line.startswith("files = "))
    path.write_text(text.replace(old, f"files = {json.dumps(names)}\ndamaged_files = {json.dumps(setting)}"))
    return load_city(path)


@pytest.fixture(params=["threads", "workers"])
def workers(request: pytest.FixtureRequest) -> Opener:
    if request.param == "threads":
        return in_this_process
    from hews_gpu.cluster.dask_workers import Cluster

    return Cluster(kind="address", where=request.getfixturevalue("two_workers").scheduler_address)


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_of_forty_is_named_and_left_out_whole(
    toy: Toy, tmp_path: Path, without: tuple[Path, dict[str, Any]], damage: str
) -> None:
    name, content, why = DAMAGE[damage]
    toy([row()])
    quality = prepare(forty(tmp_path, name, content(), setting="quarantine"), tmp_path / "out")
    (aside,) = quality["files_quarantined"]
    assert aside["name"] == name and why in aside["why"] and len(aside["sha256"]) == 64
    assert aside["bytes"] == len(content())
    assert len(quality["files"]) == FILES - 1 and name not in {about["name"] for about in quality["files"]}
    assert quality["rows_read"] == sum(about["rows"] for about in quality["files"]) == 2 * (FILES - 1)
    assert quality["rows_read"] == quality["rows_kept"] + quality["rows_quarantined"]
    assert sum(quality["quarantined_by_reason"].values()) == quality["rows_quarantined"] == FILES - 1
    assert any(name in text and "left out" in text for text in quality["warnings"])
    assert_as_without_it(tmp_path / "out", quality, without)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the 39 others give."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "areas.geojson").write_text(geojson(TWO_SQUARES))
    (folder / "toy.toml").write_text(TOML.format(files="[]", incidents=""))
    return folder / "out", prepare(forty(folder, "", None, setting="stop"), folder / "out", score_only=True)


def assert_as_without_it(out: Path, quality: dict[str, Any], without: tuple[Path, dict[str, Any]]) -> None:
    folder, expected = without
    for table in ("incidents", "quarantine", "charts_only"):
        one, other = (pq.read_table(path / f"{table}.parquet") for path in (out, folder))
        assert one.to_pylist() == other.to_pylist(), table
    for key in ("rows_read", "targets_kept", "rows_by_month", "duplicates", "missing", "label_information"):
        assert quality[key] == expected[key], key


@pytest.mark.parametrize("damage", ["cut gzip", "spoilt parquet", "cut json"])
def test_or_stopped_at_and_named(toy: Toy, tmp_path: Path, workers: Opener, damage: str) -> None:
    name, content, why = DAMAGE[damage]
    toy([row()])
    with pytest.raises(UserError, match=f"^{name}: .*{why}") as caught:
        prepare(forty(tmp_path, name, content(), setting="stop"), tmp_path / "out", workers=workers)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_file_damaged_in_a_late_piece_takes_its_earlier_pieces_along(
    toy: Toy, tmp_path: Path, two_workers: Any, without: tuple[Path, dict[str, Any]]
) -> None:
    from hews_gpu.cluster.dask_workers import Cluster

    toy([row()])
    name, content, _ = DAMAGE["spoilt parquet"]
    city = forty(tmp_path, name, content(), setting="quarantine")
    where = Cluster(kind="address", where=two_workers.scheduler_address)
    quality = prepare(city, tmp_path / "out", cut=Cut(partition_bytes=500), workers=where)
    assert [about["name"] for about in quality["files_quarantined"]] == [name]
    assert quality["rows_read"] == 2 * (FILES - 1)
    assert_as_without_it(tmp_path / "out", quality, without)


def test_nothing_but_damaged_files_is_a_mistake(toy: Toy, tmp_path: Path) -> None:
    city = toy(files={"a.csv": b"", "b.csv": b""}, incidents='damaged_files = "quarantine"')
    with pytest.raises(UserError, match=r"a\.csv: is empty; no other file can be read either"):
        prepare(city, tmp_path / "out")
