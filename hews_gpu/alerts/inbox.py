"""Deliveries of a table: which of a folder are not known yet, and their rows as `hews prepare` reads them.

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
from typing import TypeVar

import pyarrow as pa

from hews_gpu.alerts.vintages.compare import rows_of
from hews_gpu.alerts.vintages.layer_rows import table_of
from hews_gpu.alerts.vintages.store import Store
from hews_gpu.config import CityConfig, IncidentsConfig, LayerConfig
from hews_gpu.data.events import DOUBTS, LAYERS, NEIGHBORHOODS, QUALITY, Prepared, layer_resolution_s, load_layer
from hews_gpu.data.readers.fetched import fetch_record
from hews_gpu.data.readers.files import KINDS
from hews_gpu.errors import UserError
from hews_gpu.own_files import read_json

__all__ = ["Parcel", "new_parcels", "read_parcel"]

Table = TypeVar("Table", bound=IncidentsConfig)

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


def new_parcels(given: Sequence[Path], store: Store, option: str = "--incidents") -> list[tuple[Parcel, str]]:
    """Return the deliveries that the store does not hold, each with the digest of its bytes, in order of their names.

    Of a folder those that come before the last one known are left alone: they were overtaken.

    Args:
        given: files of one delivery, or a folder of deliveries.
        store: of the table.
        option: by which they were given, for errors.

    Raises:
        UserError: a file or folder does not exist or cannot be read.
    """
    parcels = list(_parcels(given, option))
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
        raise UserError(option, error.filename, allowed=f"cannot be read ({error.strerror})") from None
    newest = with_digests[-1:]  # one that was known before the last is looked at: the feed goes back
    return [one for one in with_digests if one[1] not in known or (one in newest and one[1] != last_digest)]


def _parcels(given: Sequence[Path], option: str) -> Iterator[Parcel]:
    """Yield what files or a folder hold."""
    for path in given:
        if not path.exists():
            raise UserError(option, path, allowed="does not exist", remedy="Give files, or a folder of them")
    if len(given) != 1 or not given[0].is_dir():
        if folders := [path for path in given if path.is_dir()]:
            raise UserError(option, folders[0], allowed="is a folder", remedy="Give it alone, or files")
        yield Parcel(name=", ".join(path.name for path in given), files=tuple(given))
        return
    folder = given[0].resolve()
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


def read_parcel(parcel: Parcel, digest: str, prepared: Prepared, layer: LayerConfig | None = None) -> pa.Table:
    """Read a delivery by the city file and the polygons of a run.

    Args:
        parcel: the delivery.
        digest: of its bytes.
        prepared: what the run was trained on.
        layer: whose rows it holds; those of incidents unless given.

    Returns:
        Rows with the columns of `compare.ROWS`, and their end where the city file names a column for it; of a layer
        those of `layer_rows.table_of`.

    Raises:
        UserError: it is damaged, cut off, empty, or of another city; or no longer what the digest is of.
    """
    from hews_gpu.data.prepare.completeness import CUT_OFF

    polygons = replace(prepared.city.neighborhoods, file=str(prepared.folder / NEIGHBORHOODS), name="name", layer=())
    city = replace(prepared.city, neighborhoods=polygons, synthetic=None, layers=())
    with tempfile.TemporaryDirectory(prefix="hews-warn-") as scratch, redirect_stderr(io.StringIO()):
        out = Path(scratch) / "prepared"
        if layer is None:
            rows, doubts = _incidents(replace(city, incidents=_of_files(city.incidents, parcel)), out)
        else:
            resolution_s = layer_resolution_s(prepared.folder, layer)
            rows, doubts = _layer(city, _of_files(layer, parcel), out, resolution_s)
    if parcel.sha256() != digest:
        remedy = "Give a delivery its name once it is whole"
        raise UserError(parcel.name, allowed="was changed while it was read", remedy=remedy)
    for doubt in doubts:
        if doubt.endswith(CUT_OFF):
            raise UserError(parcel.name, allowed=doubt, remedy="Deliver it whole")
    return rows


def _of_files(table: Table, parcel: Parcel) -> Table:
    return replace(table, files=tuple(str(path.absolute()) for path in parcel.files))


def _incidents(city: CityConfig, out: Path) -> tuple[pa.Table, Sequence[str]]:
    """Prepare incidents; return their rows, and why they may be incomplete."""
    from hews_gpu.data.prepare.command import prepare

    doubts: list[str] = prepare(city, out, score_only=True)[DOUBTS]
    return rows_of(out, with_ends="end" in city.incidents.columns), doubts


def _layer(city: CityConfig, layer: LayerConfig, out: Path, resolution_s: int) -> tuple[pa.Table, Sequence[str]]:
    """Prepare a layer; return its rows, each with when it is known, and why they may be incomplete."""
    from hews_gpu.data.prepare.command import prepare_layer

    prepare_layer(city, layer, out)
    quality = read_json(out / LAYERS / layer.name / QUALITY, {f"{DOUBTS}?": [str]})
    return table_of(load_layer(out, layer, resolution_s=resolution_s)), quality.get(DOUBTS, ())
