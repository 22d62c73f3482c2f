"""Excel files, read as the CSV text of their one sheet: line 7 of a table is row 7 of the sheet.

Dates and times of day are written out in full and to the second, whatever the sheet shows of them, and numbers with all
their digits and without a needless point; a line end within a cell becomes a space.
"""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from hews_gpu.data.readers.csv_rows import CsvTable, open_stream
from hews_gpu.data.readers.schemas import ReadSettings
from hews_gpu.errors import UserError
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = ["excel_text", "open_excel"]

MOST_UNPACKED = 4 << 30  # a sheet has a million rows at most
ROUNDING = timedelta(milliseconds=1)  # a moment is stored as a fraction of a day, to less than that


@contextmanager
def open_excel(path: Path, name: str, settings: ReadSettings) -> Iterator[CsvTable]:
    """Open an Excel file, whose name for messages is `name`, and read its header.

    Raises:
        UserError: it is none, is locked, or has no sheet with rows, or several.
    """
    with excel_text(path, name) as text:
        yield open_stream(text, name, settings)


@contextmanager
def excel_text(path: Path, name: str) -> Iterator[BinaryIO]:
    """Give the rows of the one sheet as CSV text.

    Raises:
        UserError: see `open_excel`.
    """
    from python_calamine import CalamineError, PasswordError, load_workbook

    with tempfile.TemporaryFile() as file:
        try:
            _require_size(path, name)
            with load_workbook(path) as book:
                _write(_only_sheet(book, name), file)
        except PasswordError:
            raise UserError(name, allowed="is locked with a password", remedy="Save it without one") from None
        except (CalamineError, zipfile.BadZipFile) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(
                name, allowed=f"is not a whole Excel file ({why})", remedy="Fetch or save it again"
            ) from None
        file.seek(0)
        yield cast(BinaryIO, file)


def _require_size(path: Path, name: str) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > MOST_UNPACKED:
            raise UserError(name, allowed=f"unpacks to more than {MOST_UNPACKED >> 30} GB", remedy="Save it as CSV")


def _only_sheet(book: Any, name: str) -> Any:
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    shown = [
        about.name
        for about in book.sheets_metadata
        if about.typ is SheetTypeEnum.WorkSheet and about.visible is SheetVisibleEnum.Visible
    ]
    sheets = [sheet for sheet in map(book.get_sheet_by_name, shown) if sheet.start is not None]
    if not sheets:
        raise UserError(name, allowed="has no sheet with rows", remedy="Remove it or fetch it again")
    if len(sheets) > 1:
        named = ", ".join(f"'{sheet.name}'" for sheet in sheets)
        allowed = f"has {len(sheets)} sheets with rows, {named}, of which only one can be read"
        raise UserError(name, allowed=allowed, remedy="Save each that is meant as a file of its own")
    return sheets[0]


def _write(sheet: Any, file: Any) -> None:
    """Write a sheet as CSV; the columns of moments, but not those of dates, get a time of day in every row."""
    moments = {i for row in sheet.iter_rows() for i, value in enumerate(row) if isinstance(value, datetime)}
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in sheet.iter_rows():
        cells = [_text(value, i in moments) for i, value in enumerate(row)]
        writer.writerow(cells) if any(cells) else text.write("\n")
    text.detach()  # or it would close the file


def _text(value: Any, is_moment: bool) -> str:
    """Return a cell as text."""
    if isinstance(value, str):
        return " ".join(value.splitlines()) if "\n" in value or "\r" in value else value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime):
        return (value + ROUNDING).isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return f"{value} 00:00:00" if is_moment else str(value)
    if isinstance(value, time):
        value = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    if isinstance(value, timedelta):
        seconds = int((value + ROUNDING).total_seconds())
        return f"{seconds // HOUR_S:02}:{seconds % HOUR_S // MINUTE_S:02}:{seconds % MINUTE_S:02}"
    return str(value)
