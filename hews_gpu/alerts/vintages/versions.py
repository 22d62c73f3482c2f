"""All rows of a vintage store that ever were known, and when: from its first version on, an entry may change often.

Shapes: R versions of rows, A rows that a delivery added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from hews_gpu.alerts.vintages.compare import RETURNED, ROWS, Comparison, Rows, schema_of
from hews_gpu.arrays import Int64

__all__ = ["STILL", "Versions", "rows_schema", "stored_schema"]

STILL = np.iinfo(np.int64).max
"""`known_to` of a row that is still known."""
NUMBER, TIMES = "row", ("known_from", "known_to", "first_known")


def stored_schema(rows: pa.Schema = ROWS) -> pa.Schema:
    """Return the columns in which rows of a schema are stored."""
    return pa.schema([(NUMBER, pa.int64()), *rows, *((name, pa.int64()) for name in TIMES)])


def rows_schema(stored: pa.Table) -> pa.Schema:
    """Return the columns of rows as they are stored, without their number and times."""
    return schema_of(stored, without=(NUMBER, *TIMES))


@dataclass(frozen=True)
class Versions:
    """All rows that ever were known, by number, and when."""

    rows: Rows
    known_from: Int64  # [R]
    known_to: Int64  # [R] STILL of those still known
    first_known: Int64  # [R] known_from of its first version: moved, revised or reclassified, it is the same entry

    @classmethod
    def of(cls, table: pa.Table) -> Versions:
        """Take them from rows as they are stored; of equal numbers the last one counts."""
        number = table["row"].to_numpy()
        last = np.empty(number.max(initial=-1) + 1, np.int64)
        last[number] = np.arange(len(number))
        table = table.unify_dictionaries().combine_chunks().take(last)
        known_to, first = (table[name].fill_null(STILL).to_numpy() for name in ("known_to", "first_known"))
        known_from = table["known_from"].to_numpy()
        rows = Rows.of(table, rows_schema(table))
        return cls(rows, known_from, known_to, np.where(first == STILL, known_from, first))

    def stored(self, at: Int64) -> pa.Table:
        """Return some of them as they are stored."""
        table = self.rows.table.take(at).add_column(0, "row", pa.array(at))
        first = self.first_known[at]
        times = {
            "known_from": (self.known_from[at], None),
            "known_to": (self.known_to[at], self.known_to[at] == STILL),
            "first_known": (first, first == self.known_from[at]),
        }
        for name, (values, is_blank) in times.items():
            table = table.append_column(name, pa.array(values, mask=is_blank))
        return table.cast(stored_schema(self.rows.table.schema))

    def known_at(self, when_s: int) -> Int64:
        """Return the numbers of the rows that a forecast sees, sorted by time and then by what they hold."""
        at = np.flatnonzero((self.known_from < when_s) & (self.known_to >= when_s))
        return at[np.lexsort((self.rows.key[at], self.rows.time_s[at]))]

    def after(self, delivered: Rows, result: Comparison, at: Int64, known_s: int, known_from: Int64) -> Versions:
        """Return them after a delivery.

        Args:
            delivered: its rows.
            result: how they compare with the rows that were known before.
            at: the numbers of these.
            known_s: from when on the delivery is known.
            known_from: [A] from when on each added row counts as known.
        """
        known_to, is_replaced = self.known_to.copy(), result.origin >= 0
        origin = at[result.origin[is_replaced]]
        known_to[origin] = known_to[at[result.withdrawn]] = known_s
        added = delivered[result.added]
        first_known = known_from.copy()
        stays = self.rows.bits["is_target"][origin] == added.bits["is_target"][is_replaced]
        first_known[is_replaced] = np.where(stays, self.first_known[origin], first_known[is_replaced])
        former = np.flatnonzero(self.known_to != STILL)
        since = pd.Series(self.first_known[former]).groupby(self.rows.key[former]).min()
        returned = result.kind == RETURNED
        first_known[returned] = since.loc[added.key[returned]]
        return Versions(
            Rows.of(pa.concat_tables([self.rows.table, added.table]), added.table.schema),
            np.concatenate([self.known_from, known_from]),
            np.concatenate([known_to, np.full(len(added), STILL)]),
            np.concatenate([self.first_known, first_known]),
        )
