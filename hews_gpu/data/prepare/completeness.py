"""Whether the files of a table are all there is: what is not known to be complete is never passed on as complete.

A file that was cut off in the middle of a record is refused by its reader, where its format tells. What no reader sees
is looked for here: pages of a fetch that did not end or of which some are missing, an answer of a feed that says that
there is more, a number of rows at which feeds and programs cut off, a last line that is cut off. `quality.json` keeps
what was found, and whatever is made of the table carries it along.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hews_gpu.data.readers.csv_rows import is_plain, open_bytes, open_csv
from hews_gpu.data.readers.fetched import FETCH_AGAIN, RECORD, fetch_record
from hews_gpu.data.readers.files import IncidentFile, kind_of
from hews_gpu.data.readers.json_rows import A_PART, MORE
from hews_gpu.errors import UserError

__all__ = ["CUT_OFF", "doubts_of_fetches", "doubts_of_files"]

CUT_OFF_AT = {1000, 2000, 5000, 10_000, 20_000, 32_000, 50_000, 100_000, 500_000, 1_000_000}
"""Rows at which feeds cut off an answer: 1,000 and 50,000 (Socrata), 1,000 and 2,000 (ArcGIS), 32,000 (CKAN), ..."""
SHEET_ROWS = {65_535: "older spreadsheets", 1_048_575: "spreadsheets"}
"""Rows below a header at which programs cut off a table."""
EDGE_BYTES = 1 << 16
CUT_OFF = "ends in the middle of a row"


def doubts_of_fetches(files: Sequence[IncidentFile], neighborhoods: Path) -> list[str]:
    """Return why what a fetch got is not known to be all there is, in words.

    Args:
        files: of incidents, with their digests.
        neighborhoods: the file of the polygons.

    Raises:
        UserError: pages of a fetch are missing, changed, or of one that did not end.
    """
    doubts: list[str] = []
    for folder in dict.fromkeys(file.path.parent for file in files):
        used = {file.path.name: file.sha256 for file in files if file.path.parent == folder}
        doubts += _of_fetch(folder, "incidents", used)
    if neighborhoods.is_file():
        used = {neighborhoods.name: hashlib.sha256(neighborhoods.read_bytes()).hexdigest()}
        doubts += _of_fetch(neighborhoods.parent, "neighborhoods", used)
    return list(dict.fromkeys(doubts))


def _of_fetch(folder: Path, table: str, used: Mapping[str, str]) -> list[str]:
    """Return what a fetch says of itself, if the files used are the pages that it got, all of them."""
    record = fetch_record(folder)
    pages = _pages(record, table)
    if not used.keys() & pages.keys():
        return []
    if "finished" not in record:
        raise _not_whole(folder, "says that the fetch did not end")
    if missing := sorted(pages.keys() - used.keys()):
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise _not_whole(folder, f"names {missing[0]}{more}, which [incidents] files does not find")
    for name in sorted(pages):
        if used[name] != pages[name]:
            raise _not_whole(folder, f"knows {name} with other bytes than it has now")
    return list(record.get("doubts") or ())


def doubts_of_files(
    files: Sequence[IncidentFile], texts: Mapping[int, Path], noticed: Counter[tuple[int, str]]
) -> list[str]:
    """Return why files that somebody put there, and not a fetch, may be the begin of longer ones, in words.

    Args:
        files: of incidents, read.
        texts: number of a file -> the file, or its unpacked text.
        noticed: number of a file, what its reader noticed -> rows; what says that it is a part is taken out: each page
            of a fetch but the last is one.
    """
    doubts: list[str] = []
    for file in files:
        parts = {what: noticed.pop((file.number, what), 0) for what in (MORE, A_PART)}
        if file.columns is None:
            doubts.append(f"{file.name} could not be read and was left out")
        elif file.path.name not in _pages(fetch_record(file.path.parent), "incidents"):
            doubts += [f"{file.name}: {n:,} {what}" for what, n in parts.items() if n]
            doubts += _of_file(file, texts[file.number])
    return doubts


def _pages(record: Mapping[str, Any], table: str) -> dict[str, str]:
    """Return the files of a fetched table with their digests."""
    pages = record["tables"].get(table, {}).get("pages", []) if record else []
    return {page["file"]: page["sha256"] for page in pages}


def _not_whole(folder: Path, what: str) -> UserError:
    return UserError(str(folder / RECORD), allowed=what, remedy=FETCH_AGAIN)


def _of_file(file: IncidentFile, text: Path) -> list[str]:
    """Return why a file that somebody put there may be the begin of a longer one."""
    doubts = []
    if program := SHEET_ROWS.get(file.rows):
        doubts.append(f"{file.name} has {file.rows:,} rows, at which {program} cut off a table")
    elif file.rows in CUT_OFF_AT:
        doubts.append(f"{file.name} has exactly {file.rows:,} rows, at which feeds cut off an answer")
    if kind_of(file.path) is open_csv and _ends_within_a_row(text, file):
        doubts.append(f"{file.name} {CUT_OFF}")
    return doubts


def _ends_within_a_row(path: Path, file: IncidentFile) -> bool:
    """Return whether the last line of a CSV file has neither an end nor all its fields."""
    assert file.columns is not None
    edge = b""
    with open_bytes(path) as text:
        if is_plain(path):
            text.seek(max(0, path.stat().st_size - EDGE_BYTES))
        while chunk := text.read(EDGE_BYTES):
            edge = (edge + chunk)[-EDGE_BYTES:]
    _, _, last = edge.rpartition(b"\n")
    if not last.strip() or len(last) >= EDGE_BYTES:
        return False
    try:
        fields = next(csv.reader([last.decode("utf-8", errors="replace")]), [])
    except csv.Error:
        return True
    return len(fields) < len(file.columns.names)
