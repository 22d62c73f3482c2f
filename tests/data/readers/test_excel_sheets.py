"""Excel files: the same rows as the CSV of their one sheet, moments exact, and whatever is no such file in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.propose import propose
from hews_gpu.data.readers.excel_sheets import excel_text
from hews_gpu.errors import UserError
from tests.data import formats

Toy = Callable[..., CityConfig]
PORTAL = ("CrimeDate", "CrimeTime", "Description", "Longitude", "Latitude")


def rows(split: bool = True) -> list[list[Any]]:
    """The incidents of `formats` with real moments: a date and a time of day, or both in one."""
    moments = [(datetime.fromisoformat(when), *rest) for when, *rest in formats.INCIDENTS]
    if not split:
        return [["CrimeDateTime", *PORTAL[2:]], *([when, *rest] for when, *rest in moments)]
    return [list(PORTAL), *([when.date(), when.time(), *rest] for when, *rest in moments)]


def texts(path: Path, content: Sequence[Sequence[Any]]) -> list[str]:
    path.write_bytes(formats.excel(Sheet=content))
    with excel_text(path, path.name) as text:
        return text.read().decode().splitlines()


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("cut", [Cut(), Cut(chunk_bytes=40, partition_bytes=60)])
def test_a_sheet_gives_the_incidents(toy: Toy, tmp_path: Path, split: bool, cut: Cut) -> None:
    quality = prepare(toy(files={"t.xlsx": formats.excel(Crime=rows(split), Empty=[])}), tmp_path / "out", cut=cut)
    assert formats.read_incidents(tmp_path / "out") == list(formats.INCIDENTS)
    assert quality["files"][0]["name"] == "t.xlsx" and quality["rows_read"] == 3


def test_lines_are_rows_of_the_sheet(toy: Toy, tmp_path: Path) -> None:
    header, first, *rest = rows()
    first[2] = "LAR\nCENY\r\n"
    content = [[], header, first, [], rest[0], ["oops"]]
    prepare(toy(files={"t.xlsx": formats.excel(Crime=content)}), tmp_path / "out")
    kept = pq.read_table(tmp_path / "out" / "incidents.parquet").to_pylist()
    assert [(row["line"], row["category"]) for row in kept] == [(3, "LAR CENY"), (5, "SHOOTING")]
    aside = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert [(row["line"], row["reason"]) for row in aside] == [(4, "blank line"), (6, "unparsable time")]


def test_init_and_prepare_read_the_same(toy: Toy, tmp_path: Path) -> None:
    toy(files={"t.xlsx": formats.excel(Crime=rows(split=False))})
    proposal = propose(tmp_path / "t.xlsx")
    assert [row[0].replace(" ", "T") for row in proposal.preview] == [when for when, *_ in formats.INCIDENTS]


def test_every_second_of_a_day_is_exact(tmp_path: Path) -> None:
    moments = [datetime(2020, 2, 28, 12) + timedelta(seconds=s) for s in range(86_400)]
    lines = texts(tmp_path / "t.xlsx", [[moment, moment.time(), moment.date()] for moment in moments])
    assert lines == [f"{moment},{moment:%H:%M:%S},{moment:%Y-%m-%d}" for moment in moments]


def test_cells_as_text(tmp_path: Path) -> None:
    cells = [1730.0, 1730, 39.297090000000004, -1e20, True, "0012", ' a "b", c ', "", date(2020, 1, 1), time(7, 5)]
    (line,) = texts(tmp_path / "t.xlsx", [cells])
    assert line == '1730,1730,39.297090000000004,-1e+20,TRUE,0012," a ""b"", c ",,2020-01-01,07:05:00'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (formats.excel(Y2019=rows(), Y2020=rows()), "has 2 sheets with rows, 'Y2019', 'Y2020', of which only one"),
        (formats.excel(Empty=[]), "has no sheet with rows"),
        (formats.excel(hidden=["Crime"], Crime=rows(), Empty=[]), "has no sheet with rows"),
        (formats.excel(Crime=rows()[:1]), "has a header but no rows"),
        (formats.excel(Crime=[["a", "b"], [1, 2]]), "lacks 'CrimeDate'"),
        (formats.excel(Crime=rows())[:900], "is not a whole Excel file"),
        (formats.portal(), "is not a whole Excel file"),
        (b"", "is not a whole Excel file"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(toy: Toy, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepare(toy(files={"t.xlsx": content}), tmp_path / "out")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("t.xlsx")


def test_a_sheet_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hews_gpu.data.readers.excel_sheets.MOST_UNPACKED", 1000)
    with pytest.raises(UserError, match="unpacks to more than"):
        texts(tmp_path / "t.xlsx", rows())
