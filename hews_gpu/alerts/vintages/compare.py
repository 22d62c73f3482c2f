"""A delivery of a table beside what was known before: which rows are new, gone, moved, reclassified or revised.

Rows have no number of their own, and equal rows occur (129 burglaries of one minute and address): a table is a
multiset, of which the k-th copy of a row is the k-th copy known. What is left over on either side is paired, one to
one, by these rules in this order:

1. reclassified: same time and place, another category, or target where it was none;
2. moved: same time and category, another place, however far; several are paired from west to east;
3. revised: same place and category, at most `REVISED_S` apart in time; several are paired in order of time.

A row left over of the delivery is new, or returned if an equal one was known once and went. One left over of what was
known is withdrawn if it lies after the oldest row of the delivery and before the newest one; beyond, the delivery says
nothing of it.

Shapes: R rows, K known rows, D delivered rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.arrays import GOLDEN, Bool, Float64, Int64, UInt64, mix_bits
from hews_gpu.data.prepare.sort import NAME
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S

__all__ = ["END", "KINDS", "NEW", "ROWS", "Comparison", "Rows", "compare", "rows_of", "schema_of"]

ROWS = pa.schema(
    {
        "time_s": pa.int64(),
        "longitude": pa.float64(),
        "latitude": pa.float64(),
        "category": NAME,
        "neighborhood_id": pa.int16(),
        "is_target": pa.bool_(),
    }
)
"""What a forecast may see of a row, and what makes two rows equal; a table may add columns of numbers to them."""
END = "end_s"
KINDS = ("new", "returned", "reclassified", "moved", "revised")
NEW, RETURNED, RECLASSIFIED, MOVED, REVISED = range(len(KINDS))
REVISED_S = DAY_S
"""Four in ten shootings of a portal's table were dated anew by less; see `data.prepare.duplicates`."""
PLACE = ("longitude", "latitude", "neighborhood_id")
SAME: dict[int, tuple[str, ...]] = {
    RECLASSIFIED: ("time_s", *PLACE),
    MOVED: ("time_s", "category", "is_target"),
    REVISED: (*PLACE, "category", "is_target"),
}
"""Kind of change -> what stays."""


def rows_of(prepared: Path, *, with_ends: bool = False) -> pa.Table:
    """Read the rows of a PREPARED folder that a delivery consists of, without those of an earlier download.

    Args:
        prepared: the folder.
        with_ends: also `END`, until when each may have happened.

    Raises:
        UserError: the file is missing or not one that `hews prepare` wrote.
    """
    file = prepared / "incidents.parquet"
    try:
        table = pq.read_table(file, columns=[*ROWS.names, *([END] if with_ends else []), "is_overlap"])
        table = table.filter(pc.invert(table["is_overlap"]))
        rows = table.select(ROWS.names).cast(ROWS)
        return rows.append_column(END, pc.coalesce(table[END], table["time_s"])) if with_ends else rows
    except (OSError, KeyError, pa.ArrowException) as error:
        remedy = "Make it with 'hews prepare CITY.toml'"
        raise UserError(str(file), allowed=f"cannot be read ({error})", remedy=remedy) from None


def schema_of(table: pa.Table, *, without: Collection[str] = ()) -> pa.Schema:
    """Return `ROWS` and what columns a table has beside them."""
    more = (field for field in table.schema if field.name not in {*ROWS.names, *without})
    return pa.schema([*ROWS, *more])


@dataclass(frozen=True)
class Rows:
    """Rows as columns of numbers; a category as a number made from its name."""

    table: pa.Table
    """Of the schema `ROWS`, or with columns of numbers after them."""
    bits: Mapping[str, UInt64]
    """Column -> 64 bits a row [R]."""
    key: UInt64
    """[R] of all columns: equal for equal rows."""

    @classmethod
    def of(cls, table: pa.Table, schema: pa.Schema = ROWS) -> Rows:
        """Take the columns of a schema from a table.

        Raises:
            UserError: a column is missing, of another type, or has blanks.
        """
        try:
            table = table.select(schema.names).cast(schema).unify_dictionaries().combine_chunks()
        except (KeyError, pa.ArrowException) as error:
            raise UserError("delivery", allowed=f"must have the columns {', '.join(schema.names)} ({error})") from None
        blank = [name for name in schema.names if table[name].null_count]
        if blank:
            raise UserError("delivery", blank, allowed="must not be blank in any row")
        bits = {name: _bits(table[name]) for name in schema.names}
        return cls(table, bits, _key(bits, schema.names))

    def __len__(self) -> int:
        return len(self.key)

    def __getitem__(self, at: Int64) -> Rows:
        return Rows(self.table.take(at), {name: column[at] for name, column in self.bits.items()}, self.key[at])

    @property
    def time_s(self) -> Int64:
        """[R] local wall-clock seconds."""
        return self.bits["time_s"].view(np.int64)

    @property
    def longitude(self) -> Float64:
        """[R] degrees."""
        return self.bits["longitude"].view(np.float64)

    def digest(self) -> str:
        """Return a SHA-256 over the rows, whatever their order."""
        order = np.lexsort((self.key, self.time_s))
        digest = hashlib.sha256(f"{len(self)} rows".encode())
        for bits in self.bits.values():
            digest.update(bits[order].tobytes())
        return digest.hexdigest()


def _bits(column: pa.ChunkedArray) -> UInt64:
    """Return a column as 64 bits a row [R]."""
    if column.type != NAME:
        values = column.to_numpy()
        return np.asarray(values.view(np.uint64) if values.itemsize == 8 else values.astype(np.uint64), np.uint64)
    coded = column.combine_chunks()
    names = [hashlib.sha256(text.encode()).digest()[:8] for text in coded.dictionary.to_pylist()]
    return np.asarray(np.frombuffer(b"".join(names), np.uint64)[coded.indices.to_numpy()])


def _key(bits: Mapping[str, UInt64], names: Iterable[str]) -> UInt64:
    """Return a number [R] made of some columns: equal for rows that agree in them."""
    key = np.zeros(len(bits["time_s"]), np.uint64)
    for name in names:
        key = mix_bits((key + GOLDEN) ^ bits[name])
    return key


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a delivery changes."""

    added: Int64  # [A] rows of the delivery that were not known so
    kind: npt.NDArray[np.int8]  # [A] index into KINDS
    origin: Int64  # [A] the known row that it replaces, or -1
    withdrawn: Int64  # known rows that are gone
    in_span: int
    """Known rows within the time of the delivery."""


def compare(known: Rows, delivered: Rows, former: UInt64) -> Comparison:
    """Compare a delivery of at least one row with the rows known before; the module says by which rules.

    Args:
        known: before.
        delivered: at least one row.
        former: keys of the rows that were known once and went.
    """
    oldest_s, newest_s = int(delivered.time_s.min()), int(delivered.time_s.max())
    same_known, same_delivered = _equal(known, delivered)
    gone, added = _rest(len(known), same_known), _rest(len(delivered), same_delivered)
    gone = gone[known.time_s[gone] >= oldest_s]
    added = added[np.argsort(delivered.time_s[added], kind="stable")]  # so stored they take less space
    kind, origin = np.full(len(added), NEW, np.int8), np.full(len(added), -1, np.int64)
    is_gone = np.ones(len(gone), bool)
    old_rows, new_rows = known[gone], delivered[added]
    for rule, names in SAME.items():
        old, new = np.flatnonzero(is_gone), np.flatnonzero(kind == NEW)
        reach = REVISED_S if rule == REVISED else np.inf
        values = [rows.time_s if rule == REVISED else rows.longitude for rows in (old_rows, new_rows)]
        keys = [_key(rows.bits, names) for rows in (old_rows, new_rows)]
        a, b = _pairs((keys[0][old], values[0][old]), (keys[1][new], values[1][new]), reach)
        is_gone[old[a]] = False
        kind[new[b]], origin[new[b]] = rule, gone[old[a]]
    kind[(kind == NEW) & np.isin(new_rows.key, former)] = RETURNED
    inside = (known.time_s > oldest_s) & (known.time_s < newest_s)
    left = gone[is_gone]
    return Comparison(added=added, kind=kind, origin=origin, withdrawn=left[inside[left]], in_span=int(inside.sum()))


def _rest(count: int, taken: Int64) -> Int64:
    """Return the indices below `count` that are not taken."""
    left = np.ones(count, bool)
    left[taken] = False
    return np.flatnonzero(left)


def _equal(known: Rows, delivered: Rows) -> tuple[Int64, Int64]:
    """Return pairs of a known and a delivered row that are equal, one to one: the k-th copy with the k-th."""
    _, a, b = np.intersect1d(_by_copy(known.key), _by_copy(delivered.key), return_indices=True)
    is_equal: Bool = np.ones(len(a), bool)
    for name, bits in known.bits.items():  # should two rows ever share a key, they are taken as different
        is_equal &= bits[a] == delivered.bits[name][b]
    return a[is_equal], b[is_equal]


def _by_copy(key: UInt64) -> UInt64:
    """Return keys that differ between the copies of a row."""
    shared = np.flatnonzero(pd.Series(key).duplicated(keep=False))
    copy = np.zeros(len(key), np.uint64)
    copy[shared] = pd.Series(shared).groupby(key[shared]).cumcount()
    return mix_bits(key + copy * GOLDEN)


def _pairs(
    old: tuple[UInt64, npt.NDArray[np.number]], new: tuple[UInt64, npt.NDArray[np.number]], reach: float
) -> tuple[Int64, Int64]:
    """Return pairs of the same key, one to one, whose values are at most `reach` apart.

    Among those of one key without a gap above `reach`, the k-th old one goes with the k-th new one in order of values.
    """
    key, value = (np.concatenate(both) for both in zip(old, new, strict=True))
    is_new = np.arange(len(key)) >= len(old[0])
    order = np.lexsort((is_new, value, key))
    key, value, is_new = key[order], value[order], is_new[order]
    begins = np.ones(len(key), bool)
    begins[1:] = (key[1:] != key[:-1]) | (value[1:] - value[:-1] > reach)
    group = np.cumsum(begins)
    rank = pd.Series(group).groupby([group, is_new]).cumcount().to_numpy()
    first, second = np.flatnonzero(~is_new), np.flatnonzero(is_new)
    _, a, b = np.intersect1d(
        group[first] * len(key) + rank[first],
        group[second] * len(key) + rank[second],
        assume_unique=True,
        return_indices=True,
    )
    a, b = first[a], second[b]
    near = np.abs(value[a] - value[b]) <= reach
    return order[a[near]], order[b[near]] - len(old[0])
