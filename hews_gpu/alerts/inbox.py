"""Deliveries of a city's table: which of a folder are not known yet, and their rows as `hews prepare` reads them.

A delivery is the whole table as it is now, or its newest years. A folder holds one in each file or subfolder, named so
that they sort by time; the folder of one `hews fetch`, its link `latest`, or files named one by one are one delivery.
What is still being written is left alone: hidden and temporary names, an empty subfolder, a fetch that did not end.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from hews_gpu.alerts.vintages.compare import rows_of
from hews_gpu.alerts.vintages.store import Store
from hews_gpu.data.events import DOUBTS, NEIGHBORHOODS, Prepared
from hews_gpu.data.readers.fetched import fetch_record
from hews_gpu.data.readers.files import KINDS
from hews_gpu.errors import UserError

__all__ = ["Parcel", "new_parcels", "read_parcel"]

TEMPORARY = (".partial", ".part", ".tmp", ".crdownload", "~")
TABLE = "incidents"  # in the record of a fetch


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A delivery that has not been read yet."""

    name: str
    files: tuple[Path, ...]

    def sha256(self) -> str:
        """Return the digest of its bytes: that of its file, or of the digests of several."""
        digests = []
        for path in self.files:
            with path.open("rb") as content:
                digests.append(hashlib.file_digest(content, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def new_parcels(incidents: Sequence[Path], store: Store) -> list[tuple[Parcel, str]]:
    """Return the deliveries that the store does not hold, each with the digest of its bytes, in order of their names.

    Of a folder those that come before the last one known are left alone: they were overtaken.

    Raises:
        UserError: a file or folder does not exist or cannot be read.
    """
    parcels = list(_parcels(incidents))
    names = [parcel.name for parcel in parcels]
    if store.deliveries and (last := store.deliveries[-1].file) in names:
        parcels = parcels[names.index(last) :]
    known, last_digest = (
        {one.sha256 for one in store.deliveries},
        store.deliveries[-1].sha256 if store.deliveries else "",
    )
    try:
        with_digests = [(parcel, parcel.sha256()) for parcel in parcels]
    except OSError as error:
        raise UserError("--incidents", error.filename, allowed=f"cannot be read ({error.strerror})") from None
    newest = with_digests[-1:]  # one that was known before the last is looked at: the feed goes back
    return [one for one in with_digests if one[1] not in known or (one in newest and one[1] != last_digest)]


def _parcels(incidents: Sequence[Path]) -> Iterator[Parcel]:
    """Yield what files or a folder hold."""
    for path in incidents:
        if not path.exists():
            raise UserError("--incidents", path, allowed="does not exist", remedy="Give files, or a folder of them")
    if len(incidents) != 1 or not incidents[0].is_dir():
        if folders := [path for path in incidents if path.is_dir()]:
            raise UserError("--incidents", folders[0], allowed="is a folder", remedy="Give it alone, or files")
        yield Parcel(name=", ".join(path.name for path in incidents), files=tuple(incidents))
        return
    folder = incidents[0].resolve()
    if fetch_record(folder):
        entries = [folder]
    else:
        entries = sorted(one for one in folder.iterdir() if not one.is_symlink() and _is_whole(one))
    for entry in entries:
        files = _files(entry) if entry.is_dir() else (entry,)
        if files:
            yield Parcel(name=entry.name, files=files)


def _is_whole(path: Path) -> bool:
    """Return whether a name is one that is used once a file is whole, and of a kind that is read."""
    named = not path.name.startswith(".") and not path.name.endswith(TEMPORARY)
    return named and (path.is_dir() or path.name.casefold().endswith(tuple(KINDS)))


def _files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a delivery that is a folder; none of one that is not whole."""
    record = fetch_record(folder)
    if record:
        pages = record["tables"].get(TABLE, {}).get("pages", []) if "finished" in record else []
        return tuple(folder / page["file"] for page in pages)
    return tuple(sorted(path for path in folder.iterdir() if path.is_file() and _is_whole(path)))


def read_parcel(parcel: Parcel, digest: str, prepared: Prepared) -> pa.Table:
    """Read a delivery by the city file and the polygons of a run: rows with the columns of `compare.ROWS`.

    Raises:
        UserError: it is damaged, cut off, empty, or of another city; or no longer what the digest is of.
    """
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.data.prepare.completeness import CUT_OFF

    city = prepared.city
    polygons = replace(city.neighborhoods, file=str(prepared.folder / NEIGHBORHOODS), name="name", layer=())
    files = replace(city.incidents, files=tuple(str(path.absolute()) for path in parcel.files))
    city = replace(city, incidents=files, neighborhoods=polygons, synthetic=None)
    with tempfile.TemporaryDirectory(prefix="hews-warn-") as scratch, redirect_stderr(io.StringIO()):
        quality = prepare(city, Path(scratch) / "prepared", score_only=True)
        rows = rows_of(Path(scratch) / "prepared")
    if parcel.sha256() != digest:
        remedy = "Give a delivery its name once it is whole"
        raise UserError(parcel.name, allowed="was changed while it was read", remedy=remedy)
    for doubt in quality[DOUBTS]:
        if doubt.endswith(CUT_OFF):
            raise UserError(parcel.name, allowed=doubt, remedy="Deliver it whole")
    return rows
