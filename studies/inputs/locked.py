"""The locked block: the last years of a table, looked at once, and never by accident.

What is evaluated day by day (`prepared_city`) does not hold the block's rows at all, so nothing short of
`open_locked` can reach them. Opening writes a line to a ledger first, and to disk, before a single row is handed out:
who, when, by which command, why, and a fingerprint of the rows. A block that the ledger knows is refused; who insists
must say why again, and the ledger keeps the count, which belongs into whatever is reported.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.files import NOT_A_PLACE, disk_full_is_a_user_error
from hews_gpu.forecasters.city import City, prepared_city
from hews_gpu.progress import log

KEYS = {"when", "who", "why", "city", "begin_s", "end_s", "fingerprint"}
COLUMNS = ("time_s", "longitude", "latitude", "category", "is_target")


def open_locked(
    prepared: Prepared, *, begin_s: int, locked_s: int, end_s: int, ledger: Path, why: str, again: bool = False
) -> tuple[City, dict[str, Any]]:
    """Return the whole table, the locked block included, after its opening has been written down.

    Args:
        prepared: the folder.
        begin_s: begin of what is evaluated.
        locked_s: begin of the locked block.
        end_s: its end.
        ledger: file of all openings, one JSON object a line; it is only ever added to.
        why: the reason, in words.
        again: open a block that was opened before; loudly.

    Returns:
        The source, and the ledger's line for the results.

    Raises:
        UserError: no reason, nothing in the block, a ledger that cannot be read or written, or an open block.
    """
    block, before = _earlier(prepared, locked_s, end_s, ledger, why)
    if before and not again:
        raise _is_open(before[0], ledger)
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": getpass.getuser(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "why": why.strip(),
        "city": prepared.city.city.name,
        "begin_s": locked_s,
        "end_s": end_s,
        "fingerprint": block,
        "opening": len(before) + 1,
    }
    _append(ledger, line)
    if before:
        log(f"THE LOCKED BLOCK WAS OPENED BEFORE: this is opening {len(before) + 1}. Its scores are no longer blind.")
    return prepared_city(prepared, begin_s=begin_s, end_s=end_s), line


def require_closed(prepared: Prepared, *, locked_s: int, end_s: int, ledger: Path, why: str) -> None:
    """Require that a locked block may be opened, without opening it: to be asked before hours of work.

    Raises:
        UserError: no reason, nothing in the block, a ledger that cannot be read, or an open block.
    """
    _, before = _earlier(prepared, locked_s, end_s, ledger, why)
    if before:
        raise _is_open(before[0], ledger)


def _earlier(prepared: Prepared, begin_s: int, end_s: int, ledger: Path, why: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the block's fingerprint, and its openings so far."""
    if not why.strip():
        allowed = "must say why the locked block is opened"
        raise UserError("--open-locked-block", why, allowed=allowed, remedy="It is kept for good")
    block = _fingerprint(prepared, begin_s, end_s)
    return block, [line for line in openings(ledger) if _same(line, prepared, begin_s, end_s, block)]


def _is_open(line: dict[str, Any], ledger: Path) -> UserError:
    allowed = f"was opened on {line['when']} by {line['who']} ('{line['why']}') and opens only once"
    remedy = f"Report the result of that opening, which {ledger.name} has on record"
    return UserError("locked block", None, allowed=allowed, remedy=remedy)


def openings(ledger: Path) -> list[dict[str, Any]]:
    """Return all openings so far, oldest first; none where there is no ledger.

    Raises:
        UserError: the file is damaged: then nobody knows what was opened.
    """
    if not ledger.exists():
        return []
    try:
        lines = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines() if line.strip()]
        if any(not KEYS <= set(line) for line in lines):
            raise ValueError(f"a line lacks one of {', '.join(sorted(KEYS))}")
        return lines
    except (OSError, TypeError, ValueError) as error:
        remedy = "Restore it; do not delete it"
        raise UserError("ledger of openings", ledger, allowed=f"cannot be read ({error})", remedy=remedy) from None


def _same(line: dict[str, Any], prepared: Prepared, begin_s: int, end_s: int, block: str) -> bool:
    """Return whether a line is about the same rows, or the same city in an overlapping stretch of time."""
    overlaps = line["begin_s"] < end_s and begin_s < line["end_s"]
    return bool(line["fingerprint"] == block or (line["city"] == prepared.city.city.name and overlaps))


def _fingerprint(prepared: Prepared, begin_s: int, end_s: int) -> str:
    """Return a digest of the block's rows."""
    times = prepared.events.time_s
    inside = (times >= begin_s) & (times < end_s)
    if not inside.any():
        raise UserError("locked block", None, allowed="holds no row of the table", remedy="Move it into the table")
    digest = hashlib.sha256("\n".join(prepared.events.categories).encode())
    for name in COLUMNS:
        digest.update(getattr(prepared.events, name)[inside].tobytes())
    return digest.hexdigest()


def _append(ledger: Path, line: dict[str, Any]) -> None:
    """Add one line and see that it is on disk."""
    with disk_full_is_a_user_error(ledger, NOT_A_PLACE):
        ledger.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, (json.dumps(line, ensure_ascii=False) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)
