"""One dated folder of a fetch: its pages, the record of each, and what is still missing.

`fetch.json` names for every page the file, the request, the time, the rows, the first and last key and the sha256. It
is rewritten after each page, once the page's own file is safe on disk, so that a run that is cut off at any moment
resumes after its last whole page. `latest` points at a folder only once all pages that the feed gave are in it; whether
these are all that there are, `complete` and `doubts` say, and `hews prepare` reads them.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from hews_gpu import __version__
from hews_gpu.data.readers.fetched import RECORD, fetch_record
from hews_gpu.errors import UserError
from hews_gpu.fetch.pages import TablePage
from hews_gpu.files import atomic_file, atomic_link, disk_full_is_a_user_error, locked, write_json
from hews_gpu.progress import log

__all__ = ["LATEST", "RECORD", "Snapshot", "locked_folder", "open_snapshot"]

LATEST = "latest"
DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-\d{1,2})?")
LEFT_OVER = re.compile(r"incidents-\d{5}\.(csv|geojson)|\..+\.partial-[0-9a-f-]+")
MAX_A_DAY = 99  # snapshots with different settings on one day


class Snapshot:
    """A dated folder and its record.

    Args:
        folder: the folder; made when the first file is written.
        record: the content of `fetch.json`.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder, self.record = folder, record
        self.added = 0

    def table(self, name: str) -> dict[str, Any]:
        """Return the record of one table; empty before its first page."""
        entry: dict[str, Any] = self.record["tables"].setdefault(name, {"whole": False, "pages": []})
        return entry

    def drop_damaged_pages(self, name: str) -> int:
        """Drop the record of the first missing or damaged page and of all after it; return how many were dropped."""
        entry = self.table(name)
        pages = entry["pages"]
        intact = next((i for i, page in enumerate(pages) if not self._is_intact(page)), len(pages))
        dropped = len(pages) - intact
        if dropped:
            entry["pages"], entry["whole"] = pages[:intact], False
            self._reopen()
        return dropped

    def restart(self, name: str) -> None:
        """Drop all pages of a table."""
        self.record["tables"][name] = {"whole": False, "pages": []}
        self._reopen()

    def _reopen(self) -> None:
        self.record["complete"] = False
        self.record.pop("finished", None)

    def add(self, name: str, file: str, page: TablePage) -> None:
        """Write a page and its record."""
        path = self.folder / file
        entry = {
            "file": file,
            "url": page.url,
            "time": _now(),
            "rows": page.rows,
            "first": page.keys[0],
            "last": page.keys[-1],
            "bytes": len(page.body),
            "sha256": hashlib.sha256(page.body).hexdigest(),
        }
        try:
            with disk_full_is_a_user_error(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                partial.write_bytes(page.body)
            self.table(name)["pages"].append(entry)
            self.added += 1
            self.save()
        except UserError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
                raise
            remedy = "Free some space and run the same command again: finished pages are kept"
            raise UserError(str(path), allowed="the disk is full", remedy=remedy) from error.__cause__

    def save(self) -> None:
        """Write the record."""
        write_json(self.folder / RECORD, self.record)

    def finish(self, doubts: Sequence[str] = ()) -> None:
        """Remove what no record names, record that all was fetched, and point `latest` here.

        Args:
            doubts: why what was fetched is not known to be all there is, in words.
        """
        link = self.folder.parent / LATEST
        if link.exists() and not link.is_symlink():
            raise UserError(str(link), allowed="must be a link that 'hews fetch' made", remedy="Move it away")
        named = {RECORD, *(page["file"] for table in self.record["tables"].values() for page in table["pages"])}
        for left_over in self.folder.iterdir():
            if left_over.name not in named and LEFT_OVER.fullmatch(left_over.name):
                left_over.unlink()
        if "finished" not in self.record or self.record.get("doubts") != list(doubts):
            self.record.update(complete=not doubts, doubts=list(doubts), finished=_now())
            self.save()
        atomic_link(link, self.folder.name)

    def _is_intact(self, page: dict[str, Any]) -> bool:
        try:
            body = (self.folder / page["file"]).read_bytes()
        except OSError:
            return False
        return hashlib.sha256(body).hexdigest() == str(page["sha256"])


def open_snapshot(root: Path, city: str, query: dict[str, Any], today: date) -> Snapshot:
    """Choose the folder to write to: the newest with the same query that is unfinished or of today, or else a new one.

    `query` is everything that decides what is fetched.
    """
    dated = [path for path in root.glob("*") if DATED.fullmatch(path.name) and path.is_dir()]
    # by date, then number within the day
    for folder in sorted(dated, key=lambda folder: (folder.name[:10], int(folder.name[11:] or 1)), reverse=True):
        record = _read_record(folder)
        if record.get("query") == query:
            if "finished" not in record or folder.name.startswith(today.isoformat()):
                return Snapshot(folder, record)
            break  # what is older was followed by a whole one: not worth going on with
    names = (today.isoformat() + (f"-{n}" if n > 1 else "") for n in range(1, MAX_A_DAY + 1))
    free = next((root / name for name in names if not (root / name).exists()), None)
    if free is None:
        raise UserError(str(root), allowed=f"holds {MAX_A_DAY} snapshots of today", remedy="Remove some of them")
    record = {"kind": "fetch", "version": __version__, "city": city, "started": _now(), "query": query}
    return Snapshot(free, {**record, "complete": False, "tables": {}})


@contextmanager
def locked_folder(root: Path) -> Iterator[None]:
    """Let one fetch at a time write to the city's folder.

    Raises:
        UserError: another one runs, or the folder cannot be made.
    """
    if root.exists() and not root.is_dir():
        raise UserError("--out", root, allowed="is a file", remedy="Give a folder")
    refusal = UserError(str(root), allowed="another 'hews fetch' writes here", remedy="Let it end")
    with ExitStack() as stack:
        with disk_full_is_a_user_error(root):
            stack.enter_context(locked(root / ".lock", refusal))
        yield


def _read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a folder; empty if there is none that can be gone on with."""
    try:
        return fetch_record(folder)
    except UserError as error:
        log(f"{error.field}: {error.allowed}; its tables are fetched anew, into another folder")
        return {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
