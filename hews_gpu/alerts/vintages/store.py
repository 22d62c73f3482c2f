"""The vintage store: all deliveries of a city's table in one folder, and the table as it was known at any moment.

Files of rows are only ever added. Each row has a number, and is written when it becomes known and again when it goes;
of equal numbers the last one counts. `index.json` names the files with their SHA-256 and tells of each delivery,
chained: each entry holds the hash of the one before. A delivery counts once the index, which is renamed into place,
tells of it; a process killed before leaves a file that nothing names, and the next delivery removes it. Many small
files become one when there are `MOST_FILES`; nothing of what was known at any moment changes by that.

A row is known at t if ``known_from < t`` and it was not gone before t: one that went later was known then.

Shapes: R versions of rows, E rows known at one moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.alerts.vintages.compare import END, KINDS, ROWS, Comparison, Rows, compare, schema_of
from hews_gpu.alerts.vintages.versions import STILL, Versions, rows_schema, stored_schema
from hews_gpu.arrays import Int64
from hews_gpu.data.events import Events
from hews_gpu.data.prepare.duplicates import NEAR_TWIN, NONE, TWIN, Places, nearest_target
from hews_gpu.data.prepare.sort import write_parquet
from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file, disk_full_is_a_user_error, locked, write_json
from hews_gpu.own_files import read_json
from hews_gpu.units import HOUR_S

__all__ = ["VINTAGES", "Change", "Delivery", "Store", "open_store"]

VINTAGES = "vintages"  # the folder in a run's
INDEX, LOCK = "index.json", "lock"
MOST_FILES = 32
"""Reading a small file costs about a millisecond."""
CLOCK_BACK_S = HOUR_S
"""In an autumn night the wall-clock goes back so far: what is delivered then counts from the last delivery on."""
REMEDY = "Restore it from a copy, or move the folder away: the store then begins anew"
ENTRY = {
    **dict.fromkeys(("known_s", "rows", "oldest_s", "newest_s", *KINDS, "withdrawn"), int),
    **dict.fromkeys(("file", "sha256", "digest", "previous", "hash"), str),
    "lost_share": float,
    "goes_back": bool,
}
SCHEMA = {
    "kind": str,
    "delay_s": int,
    "files": [{"name": str, "sha256": str}],
    "deliveries": [ENTRY],
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a delivery changed: numbers of rows, told apart as `compare` says."""

    new: int
    returned: int
    """Known once, gone, and here again."""
    withdrawn: int
    moved: int
    reclassified: int
    revised: int
    lost_share: float
    """Withdrawn rows, of those known before that lie within the time of the delivery."""
    goes_back: bool
    """Its newest row is older than that of the delivery before."""
    digest: str
    """SHA-256 over its rows, whatever their order."""


@dataclass(frozen=True, kw_only=True)
class Change(Counts):
    """What a delivery would change or has changed."""

    is_same: bool
    """It equals the delivery before row by row, and adds nothing."""


@dataclass(frozen=True, kw_only=True)
class Delivery(Counts):
    """What the index tells of a delivery."""

    known_s: int
    """From when on it is known: a forecast issued later sees it."""
    rows: int
    oldest_s: int
    newest_s: int
    file: str
    """What it was read from, and the SHA-256 of that."""
    sha256: str
    previous: str
    """Hash of the entry before."""
    hash: str
    """SHA-256 over all else of this entry."""


def _hash_of(entry: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in entry.items() if k != "hash"}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The deliveries of one city; made by `open_store`.

    Args:
        folder: where they lie; made by the first one.
        delay_s: the stated delay, until the first delivery fixes it: so long after they happened its rows were known.

    Raises:
        UserError: the index is damaged.
    """

    def __init__(self, folder: Path, delay_s: int = 0) -> None:
        self.folder, self.delay_s = folder, delay_s
        self._take([])
        self._files: list[dict[str, str]] = []
        self._versions: Versions | None = None
        self._read_index()

    def _read_index(self) -> None:
        """Read the index, unless there is none yet, and forget the rows of another state."""
        path = self.folder / INDEX
        if not path.exists():
            return
        index = read_json(path, SCHEMA, remedy=REMEDY)
        previous = ""
        for n, entry in enumerate(index["deliveries"]):
            if entry["previous"] != previous or entry["hash"] != _hash_of(entry):
                raise UserError(f"{path}: deliveries.{n}", allowed="is not what was written", remedy=REMEDY)
            previous = entry["hash"]
        if index["files"] != self._files:
            self._versions = None
        self.delay_s, self._files = index["delay_s"], index["files"]
        self._take(index["deliveries"])

    def _take(self, entries: list[dict[str, Any]]) -> None:
        """Keep the entries of the index; of what a newer version may have added to them nothing is lost."""
        self._entries, names = entries, [spec.name for spec in fields(Delivery)]
        self.deliveries = tuple(Delivery(**{name: entry[name] for name in names}) for entry in entries)

    @property
    def versions(self) -> Versions:
        """All rows that ever were known.

        Raises:
            UserError: a file that the index names is missing or damaged.
        """
        if self._versions is None:
            try:
                tables = [self._read(file) for file in self._files]
            except UserError:  # another process may have put the files together meanwhile
                before = self._files
                self._read_index()
                if self._files == before:
                    raise
                tables = [self._read(file) for file in self._files]
            tables = tables or [stored_schema().empty_table()]
            schema = stored_schema(rows_schema(tables[0]))
            self._versions = Versions.of(pa.concat_tables([one.cast(schema) for one in tables]))
        return self._versions

    def _read(self, file: dict[str, str]) -> pa.Table:
        """Read one file of rows."""
        path = self.folder / file["name"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(str(path), allowed=f"cannot be read ({error.strerror})", remedy=REMEDY) from None
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise UserError(str(path), allowed="is not what was written", remedy=REMEDY)
        return pq.read_table(pa.BufferReader(content))

    def as_of(self, when_s: int) -> pa.Table:
        """Return the rows that a forecast issued at `when_s` may see, sorted by time.

        The columns are those of the first delivery, known_from and first_known. The order does not depend on which
        deliveries brought the rows.
        """
        versions = self.versions
        at = versions.known_at(when_s)
        table = versions.rows.table.take(at)
        for name in ("known_from", "first_known"):
            table = table.append_column(name, pa.array(getattr(versions, name)[at]))
        return table

    def events(self, when_s: int) -> tuple[Events, Int64]:
        """Return the rows that a forecast issued at `when_s` may see, and since when each entry was known, int64[E].

        An entry that was moved, revised or reclassified is known since its first version, so that no event lacks in
        the past that a forecaster learns from; one that became a target, since then. Duplicates are rows equal in all
        that is stored; twins are those among the rows known at that moment.
        """
        versions = self.versions
        at = versions.known_at(when_s)
        rows = versions.rows[at]
        names = rows.table["category"].cast(pa.string())
        categories = sorted(names.unique().to_pylist())
        column = {name: np.ascontiguousarray(rows.table[name].to_numpy()) for name in ROWS.names if name != "category"}
        places = Places(column["time_s"], column["longitude"], column["latitude"], np.arange(len(at)))
        others, targets = np.flatnonzero(~column["is_target"]), places.at(column["is_target"])
        is_twin = np.zeros(len(at), bool)
        for reach in (TWIN, NEAR_TWIN):
            is_twin[others] |= nearest_target(places.at(others), targets, reach) != NONE
        events = Events(
            time_s=column["time_s"],
            longitude=column["longitude"],
            latitude=column["latitude"],
            category=pc.index_in(names, pa.array(categories, pa.string())).to_numpy().astype(np.int16),
            neighborhood=column["neighborhood_id"],
            is_target=column["is_target"],
            is_duplicate=pd.Series(rows.key).duplicated().to_numpy(),
            is_twin=is_twin,
            categories=tuple(categories),
            span_s=rows.table[END].to_numpy() - column["time_s"] if END in rows.table.column_names else None,
        )
        return events, versions.first_known[at]

    def _compared(self, delivered: Rows, known_s: int) -> tuple[Change, Comparison, Int64]:
        """Return what changes, in numbers and by row, and the numbers of the rows known now."""
        if not len(delivered):
            raise UserError("delivery", allowed="holds no row")
        last = self.deliveries[-1] if self.deliveries else None
        if last and known_s < last.known_s - CLOCK_BACK_S:
            value, before = (str(np.datetime64(moment, "s")) for moment in (known_s, last.known_s))
            raise UserError("time of delivery", value, allowed=f"is before {before}, that of the last delivery")
        versions = self.versions
        at = np.flatnonzero(versions.known_to == STILL)
        result = compare(versions.rows[at], delivered, versions.rows.key[versions.known_to != STILL])
        digest = delivered.digest()
        change = Change(
            **{name: int((result.kind == kind).sum()) for kind, name in enumerate(KINDS)},
            withdrawn=len(result.withdrawn),
            lost_share=len(result.withdrawn) / max(1, result.in_span),
            goes_back=bool(last and delivered.time_s.max() < last.newest_s),
            is_same=bool(last and digest == last.digest),
            digest=digest,
        )
        return change, result, at

    def add(
        self,
        rows: pa.Table,
        known_s: int,
        source: Mapping[str, str],
        *,
        accept: Callable[[Change], bool] = lambda change: True,
    ) -> Change:
        """Add a delivery, whole or not at all; one that equals the delivery before adds nothing.

        Args:
            rows: with the columns of `compare.ROWS`, as `rows_of` reads them, and what further ones the first delivery
                had; in any order.
            known_s: from when on it is known, local wall-clock seconds.
            source: ``file`` that it was read from, and ``sha256`` of that.
            accept: whether to add it, by what it would change.

        Raises:
            UserError: it is empty, lacks a column, or is older than the one before; the disk is full, or another
                process adds one.
        """
        refusal = UserError(str(self.folder), allowed="is being written by another process", remedy="Wait for it")
        with disk_full_is_a_user_error(self.folder), locked(self.folder / LOCK, refusal):
            self._read_index()
            if not self._files:
                self._versions = Versions.of(stored_schema(schema_of(rows)).empty_table())
            delivered = Rows.of(rows, self.versions.rows.table.schema)
            change, result, at = self._compared(delivered, known_s)
            if change.is_same or not accept(change):
                return change
            last = self.deliveries[-1] if self.deliveries else None
            known_s = max(known_s, last.known_s) if last else known_s
            time_s = delivered.time_s[result.added]
            known_from = np.full(len(time_s), known_s) if last else np.minimum(time_s + self.delay_s, known_s)
            entry = {
                **{spec.name: getattr(change, spec.name) for spec in fields(Counts)},
                "known_s": known_s,
                "rows": len(delivered),
                "oldest_s": int(delivered.time_s.min()),
                "newest_s": int(delivered.time_s.max()),
                **{name: source[name] for name in ("file", "sha256")},
                "previous": last.hash if last else "",
            }
            self._write(self.versions.after(delivered, result, at, known_s, known_from), entry)
        return change

    def _write(self, after: Versions, entry: dict[str, Any]) -> None:
        """Write the rows that a delivery changed, and then the index that tells of it; remove what none names."""
        number, before = len(self.deliveries), self.versions.known_to
        told = np.arange(len(after.known_to))
        if not (is_whole := len(self._files) + 1 >= MOST_FILES):
            told = told[np.append(after.known_to[: len(before)] != before, np.ones(len(told) - len(before), bool))]
        name = f"rows-{number:06d}.parquet"
        with atomic_file(self.folder / name) as partial:
            write_parquet(partial, stored_schema(after.rows.table.schema), [after.stored(told)])
            file = {"name": name, "sha256": hashlib.sha256(partial.read_bytes()).hexdigest()}
        files = [file] if is_whole else [*self._files, file]
        entries = [*self._entries, {**entry, "hash": _hash_of(entry)}]
        write_json(
            self.folder / INDEX,
            {"kind": "vintages", "delay_s": self.delay_s, "files": files, "deliveries": entries},
        )
        self._files, self._versions = files, after
        self._take(entries)
        for path in self.folder.glob("rows-*.parquet"):
            if path.name not in {one["name"] for one in files}:
                path.unlink()


def open_store(folder: Path, *, delay_s: int = 0) -> Store:
    """Open the store of a folder, which the first delivery makes.

    Args:
        folder: of the store.
        delay_s: so long after they happened the rows of the first delivery were known, if that was before it; once
            there is one, what was stated then stays.

    Raises:
        UserError: its index is damaged.
    """
    return Store(folder, delay_s)
