"""Parquet files: every column that is read is text as in other files; what is damaged is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.formats import INCIDENTS

Toy = Callable[..., CityConfig]


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("table", [formats.portal(), formats.arcgis(), formats.chicago(), formats.chicago(api=True)])
def test_parquet_of_text_or_of_numbers_and_times(toy: Toy, tmp_path: Path, table: bytes, text: bool) -> None:
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", table, text=text)
    prepare(city, tmp_path / "out")
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)


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


def test_parquet_columns_of_one_name_are_told_apart_by_position(toy: Toy, tmp_path: Path) -> None:
    """As in a CSV file, the first one counts, also beside nested columns; unless it is needed: then none does."""
    city = toy(files={"t.parquet": b""})
    formats.write_parquet(tmp_path / "t.parquet", formats.portal())
    table = pq.read_table(tmp_path / "t.parquet")
    nested = pa.array([{"a": 1, "b": [1.5]}] * len(table))
    table = table.add_column(0, "Nested", nested).append_column("Inside/Outside", pa.array(["WRONG"] * len(table)))
    pq.write_table(table, tmp_path / "t.parquet")
    assert prepare(city, tmp_path / "out")["rows_kept"] == 3
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)
    assert pq.read_table(tmp_path / "out" / "charts_only.parquet")["Inside/Outside"].to_pylist() == ["I"] * 3
    pq.write_table(table.append_column("Description", pa.array(["WRONG"] * len(table))), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: has 2 columns of the name 'Description'"):
        prepare(city, tmp_path / "two")


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
    assert formats.read_incidents(tmp_path / "out") == list(INCIDENTS)


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
