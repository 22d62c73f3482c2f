"""What the readers of all kinds of file have in common: how a block of text rows looks, and how it is made.

A reader yields blocks: line (int64), problem (uint8, index into `records.PROBLEMS`) and one dictionary-encoded text
column per column that is read, named by role or by column; null where the row has a problem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.data.readers.records import GOOD, REPEATED_HEADER
from hews_gpu.data.readers.schemas import Columns

__all__ = ["TEXT", "Chooser", "Job", "Texts", "spread", "without_headers"]

TEXT = pa.dictionary(pa.int32(), pa.string())

Chooser = Callable[[tuple[str, ...]], Columns]
Texts = Iterator[pa.Table]


@dataclass(kw_only=True)
class Job:
    """One file to read: how, and what is noticed on the way."""

    name: str
    """Of the file, for messages."""
    choose: Chooser
    """Decides from the column names what is read."""
    block_rows: int
    """Rows of a block, at most."""
    chunk_bytes: int
    """How much is read at a time."""
    noticed: Counter[str] = field(default_factory=Counter)
    """What a user may want to know of the file -> rows."""


def spread(column: pa.Array, good: npt.NDArray[np.bool_]) -> pa.Array:
    """A column of the good rows, with nulls in between for the others."""
    if good.all():
        return column
    return column.take(pa.array(np.cumsum(good) - 1, mask=~good))


def without_headers(table: pa.Table, columns: Columns) -> pa.Table:
    """The same with rows that repeat the header, as files glued together have them, turned into a problem."""
    is_header = np.full(len(table), bool(columns.roles))
    for role, position in columns.roles.items():
        texts = table[role].combine_chunks()
        same = pc.index(texts.dictionary, columns.found[position]).as_py()
        if same < 0:
            return table
        is_header &= texts.indices.fill_null(-1).to_numpy() == same
    if not is_header.any():
        return table
    problem = np.where(is_header, np.uint8(REPEATED_HEADER), table["problem"].to_numpy())
    good = pa.array(problem == GOOD)
    for i, name in enumerate(table.column_names):
        if name == "problem":
            table = table.set_column(i, name, pa.array(problem, pa.uint8()))
        elif name != "line":
            column = table[name].combine_chunks()
            indices = pa.array(column.indices.to_numpy(zero_copy_only=False), pa.int32(), mask=~good.to_numpy(False))
            table = table.set_column(i, name, pa.DictionaryArray.from_arrays(indices, column.dictionary))
    return table
