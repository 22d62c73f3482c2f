"""CSV files of any encoding, cut anywhere, with anything in them: each line is in one row, and none is misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.propose import propose
from hews_gpu.data.readers.csv_rows import CsvTable
from hews_gpu.data.readers.files import open_table
from hews_gpu.data.readers.schemas import ReadSettings
from hews_gpu.errors import UserError
from tests.data import formats
from tests.data.toy import HEADER, row

Toy = Callable[..., CityConfig]
SHOT = row(category="SHOOTING")
LINES = [SHOT, row(category='"LARCENY\nFROM AUTO"'), row(rest='"A, B",,"9 ""X"" ST",6C'), row(time="112")]
TEXT = "\n".join([HEADER, *LINES, ""])


def incidents(out: Path) -> pd.DataFrame:
    return pq.read_table(out / "incidents.parquet").to_pandas()


ENCODINGS = {
    "utf-8 with mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf-16, little end first": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "utf-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "latin-1": TEXT.encode("latin-1"),
    "crlf": TEXT.replace("\n", "\r\n").encode(),
    "cr": TEXT.replace("\n", "\r").encode(),
    "blank lines first": b"\n\n" + TEXT.encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("chunk_bytes", [50, 1 << 20])
def test_the_same_table_in_any_encoding(toy: Toy, tmp_path: Path, name: str, chunk_bytes: int) -> None:
    quality = prepare(toy(files={"t.csv": ENCODINGS[name]}), tmp_path / "out", cut=Cut(chunk_bytes=chunk_bytes))
    assert quality["rows_read"] == quality["rows_kept"] == 4
    found = incidents(tmp_path / "out")
    shift = 2 if name == "blank lines first" else 0
    assert found["line"].tolist() == [6 + shift, 2 + shift, 3 + shift, 5 + shift]
    assert found["category"].tolist() == ["LARCENY", "SHOOTING", "LARCENY FROM AUTO", "LARCENY"]


def test_latin_1_rows_among_utf_8_rows_are_read_and_counted(toy: Toy, tmp_path: Path) -> None:
    lines = [row(category="CAF\xc9").encode(), row(category="CAF\xc9").encode("latin-1"), SHOT.encode()]
    content = b"\n".join([HEADER.encode(), *lines])
    for cut in (Cut(), Cut(block_rows=1, chunk_bytes=30)):
        quality = prepare(toy(files={"t.csv": content}), tmp_path / "out", force=True, cut=cut)
        assert quality["categories"] == {"CAF\xc9": 2, "SHOOTING": 1}
        assert "t.csv: 1 rows that are not UTF-8, read as Windows-1252" in quality["warnings"]


@pytest.mark.parametrize("seed", range(4))
def test_one_percent_random_bytes_cost_only_the_lines_they_hit(toy: Toy, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [row(time=f"{i % 24:02d}:{i % 60:02d}:00", rest=f"P,,{i} X ST,6C") for i in range(400)] + [SHOT]
    content = bytearray("\n".join([HEADER, *lines]).encode())
    hit = len(HEADER) + 1 + rng.choice(len(content) - len(HEADER) - 1, len(content) // 100, replace=False)
    for at in hit:
        content[at] = rng.integers(256)
    quality = prepare(toy(files={"t.csv": bytes(content)}), tmp_path / "out", cut=Cut(block_rows=50, chunk_bytes=3000))
    assert quality["rows_read"] == quality["rows_kept"] + sum(quality["quarantined_by_reason"].values())
    aside = pq.read_table(tmp_path / "out/quarantine.parquet").to_pandas()
    found = incidents(tmp_path / "out")
    assert len(found) + len(aside) == quality["rows_read"]
    # a line is whole if neither it nor the line ends around it were hit
    begins = np.cumsum([0, *(len(line) + 1 for line in [HEADER, *lines])])
    whole = {lines[i] for i in range(400) if not ((begins[i + 1] - 1 <= hit) & (hit < begins[i + 2])).any()}
    charts = pq.read_table(tmp_path / "out/charts_only.parquet").to_pandas().merge(found, on="row_id")
    second = charts["time_s"] % 86_400
    clock = (second // 3600).map("{:02d}".format) + ":" + (second // 60 % 60).map("{:02d}".format) + ":00"
    read = {row(time=time, rest=f"P,,{where},6C") for time, where in zip(clock, charts["Location"], strict=True)}
    assert whole <= read and len(whole) > 100
    assert (second < 86_400).all() and found["longitude"].between(-76.63, -76.59).all()


def test_a_header_repeated_in_the_middle_is_set_aside_as_such(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy([row(), HEADER, row(category="SHOOTING")]), tmp_path / "out")
    assert quality["quarantined_by_reason"] == {"header repeated": 1}
    (aside,) = pq.read_table(tmp_path / "out/quarantine.parquet").to_pylist()
    assert aside["line"] == 3 and quality["missing"]["Premise"] == 1


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_named(toy: Toy, tmp_path: Path, delimiter: str, name: str) -> None:
    content = formats.portal().replace(b",", delimiter.encode())
    for attempt in (
        lambda: prepare(toy(files={"t.csv": content}), tmp_path / "out"),
        lambda: propose(tmp_path / "t.csv"),
    ):
        with pytest.raises(UserError, match=f"^t.csv: separates its fields with {name}.*, where commas are needed"):
            attempt()


@pytest.mark.parametrize("chunk_bytes", [7, 100, 1 << 20])
def test_a_comma_at_the_end_of_rows_only_is_no_field(toy: Toy, tmp_path: Path, chunk_bytes: int) -> None:
    lines = [f"{row(category='SHOOTING')},", "", *(f"{row(rest=f'A,B,{i},D')}," for i in range(30)), row()]
    quality = prepare(toy(lines), tmp_path / "out", cut=Cut(chunk_bytes=chunk_bytes))
    assert quality["rows_kept"] == 31
    assert quality["quarantined_by_reason"] == {"blank line": 1, "wrong number of fields": 1}


def test_one_row_with_a_comma_too_many_costs_only_itself(toy: Toy, tmp_path: Path) -> None:
    quality = prepare(toy([f"{row()},", row(category="SHOOTING"), row()]), tmp_path / "out")
    assert quality["rows_kept"] == 2 and quality["quarantined_by_reason"] == {"wrong number of fields": 1}


def test_a_header_that_cannot_be_read_is_refused_in_one_line(toy: Toy, tmp_path: Path) -> None:
    content = b"a," + b"x" * 140_000 + b"\n1,2\n"
    with pytest.raises(UserError, match=r"^t\.csv: has a header line that cannot be read"):
        prepare(toy(files={"t.csv": content}), tmp_path / "out")


def test_a_stretch_whose_lines_are_all_records_says_so_and_one_with_a_stray_quote_does_not(toy: Toy) -> None:
    """A stretch that says so is not looked through again; one stray quote in the middle of many chunks is enough."""
    plain = [row(rest=f'"{i}, x",,y,6C') for i in range(100)]
    stray = [[*plain, row(rest=f"{field},,y,6C"), *plain] for field in ('a"b"c', '"a"b')]
    for lines, expected in ((plain, True), ([row()] * 100, True), *((lines, False) for lines in stray)):
        path = toy(files={"a.csv": "\n".join([HEADER, *lines, ""]).encode()}).path.parent / "a.csv"
        cuts = []
        for stretch_bytes in (1 << 20, 500):
            with open_table(path, "a.csv", ReadSettings(chunk_bytes=300)) as opened:
                assert isinstance(opened, CsvTable)
                cuts.append(list(opened.cut(stretch_bytes)))
        ((stretch,), cut) = cuts
        assert stretch.is_simple == expected and stretch.rows == len(lines)
        assert len(cut) > 3 and sum(not part.is_simple for part in cut) == (not expected)
