"""Text columns of a block as distinct texts and codes, and what is asked of each distinct text once.

A column of an incident table repeats itself (dates, times, addresses), but seldom so much within one block that Python
could look at each distinct text: what is asked of all of them goes through Arrow and NumPy, whole columns at once.

Shapes: R rows of a block, D distinct texts of a column, B bytes of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import GOLDEN, Bool, Int64, UInt8, UInt64, mix_bits

__all__ = ["TEXT", "Block", "DictionaryColumn", "digits_hidden", "distinct", "hashes_of"]

TEXT = pa.dictionary(pa.int32(), pa.string())
BLANK = pa.array([""])
FIRST_TEXT = 2  # of a block's columns, after line and problem
SLICE_BYTES = 4 << 20
HIDDEN_DIGITS = np.arange(256, dtype=np.uint8)
HIDDEN_DIGITS[ord("0") : ord("9") + 1] = ord("0")


@dataclass(frozen=True, eq=False)
class DictionaryColumn:
    """A text column; null is the empty text."""

    values: pa.Array  # string[D], distinct
    codes: Int64  # [R] index into them

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> DictionaryColumn:
        """Make one of a column of type TEXT."""
        if not len(column):
            return cls(pa.array([], pa.string()), np.zeros(0, np.int64))
        array = column.combine_chunks()
        values, indices = array.dictionary, array.indices
        if not (indices.null_count or values.null_count):
            return cls(values, indices.to_numpy().astype(np.int64))
        codes = indices.fill_null(len(values)).to_numpy().astype(np.int64)
        values, moved = distinct(pa.concat_arrays([values.fill_null(""), BLANK]))
        return cls(values, moved[codes])

    @cached_property
    def is_blank(self) -> Bool:
        """bool[D], whether a text is empty or all spaces, as Python knows them."""
        is_empty = pc.equal(pc.binary_length(self.values), 0)
        blank: Bool = pc.or_(is_empty, pc.utf8_is_space(self.values)).to_numpy(zero_copy_only=False)
        return blank

    @cached_property
    def texts(self) -> list[str]:
        """The distinct texts for Python."""
        texts: list[str] = self.values.to_pylist()
        return texts

    def take(self, rows: Bool) -> pa.DictionaryArray:
        """Return some rows of the column, over the texts that occur in them."""
        codes = self.codes[rows]
        occurs = np.bincount(codes, minlength=len(self.values)) > 0
        if occurs.all():
            return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), self.values)
        place = np.cumsum(occurs) - 1
        return pa.DictionaryArray.from_arrays(pa.array(place[codes], pa.int32()), self.values.filter(pa.array(occurs)))


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of one file."""

    table: pa.Table
    """line and problem of each row, then the texts that are read."""
    file: int = 0
    """Number of the file."""
    first_row: int = 0
    """Row id of the first row; the others follow."""

    def __len__(self) -> int:
        """Return the number of rows, R."""
        return len(self.table)

    @property
    def row_id(self) -> Int64:
        """int64[R]."""
        return np.arange(self.first_row, self.first_row + len(self))

    @cached_property
    def texts(self) -> dict[str, DictionaryColumn]:
        """The text columns by name, in the order of the table."""
        return {name: DictionaryColumn.of(self.table[name]) for name in self.table.column_names[FIRST_TEXT:]}

    def text(self, name: str) -> DictionaryColumn:
        """Return one of them; blank in every row where the table has no such column."""
        return self.texts.get(name) or DictionaryColumn(BLANK, np.zeros(len(self), np.int64))


def distinct(texts: pa.Array) -> tuple[pa.Array, Int64]:
    """Return the distinct texts in the order of their first occurrence, and which of them each text is."""
    encoded = texts.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def hashes_of(texts: pa.Array, seeds: tuple[int, ...]) -> list[UInt64]:
    """Return uint64[D], one array per seed: equal texts have equal hashes.

    The bytes times random numbers of their positions, added up, and the length, mixed. Such a sum of two different
    texts of one length is equal with odds of at most 2**-56 over the seeds (Carter and Wegman, "Universal classes of
    hash functions", 1979), so that two seeds together clash with odds of 1e-33 for any pair of texts.
    """
    parts = [_hashes_of(part, seeds) for part in _slices(texts)]
    return [np.concatenate(of_seed) for of_seed in zip(*parts, strict=True)]


def _slices(texts: pa.Array) -> Iterator[pa.Array]:
    """Cut the texts into slices of about SLICE_BYTES, a longer text alone: a hash takes several times their bytes."""
    _, lengths, _ = _bytes_of(texts)
    number = (np.cumsum(lengths) - lengths) // SLICE_BYTES
    begins = np.flatnonzero(np.diff(number, prepend=-1)) if len(number) else np.zeros(1, np.int64)
    for begin, end in zip(begins, [*begins[1:], len(texts)], strict=True):
        yield texts.slice(begin, end - begin)


def _hashes_of(texts: pa.Array, seeds: tuple[int, ...]) -> list[UInt64]:
    starts, lengths, data = _bytes_of(texts)
    sums = [np.zeros(len(texts), np.uint64) for _ in seeds]
    there = np.flatnonzero(lengths)
    if len(there):
        position = np.arange(len(data)) - np.repeat(starts[there], lengths[there])  # [B] within its text
        steps = np.arange(1, int(lengths.max()) + 1, dtype=np.uint64) * GOLDEN
        wide = data.astype(np.uint64)
        for seed, total in zip(seeds, sums, strict=True):
            factor = mix_bits(steps + np.uint64(seed))
            total[there] = np.add.reduceat(wide * factor[position], starts[there])
    sizes = lengths.astype(np.uint64) * GOLDEN
    return [mix_bits(total ^ mix_bits(sizes + np.uint64(seed))) for seed, total in zip(seeds, sums, strict=True)]


def _bytes_of(texts: pa.Array) -> tuple[Int64, Int64, UInt8]:
    """Return where each text starts, how many bytes of UTF-8 it has, and all bytes."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    raw = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    return ends[:-1] - ends[0], np.diff(ends), raw


def digits_hidden(texts: pa.Array) -> pa.Array:
    """Return the texts with 0 for every digit of ASCII."""
    starts, _, data = _bytes_of(texts)
    offsets = np.append(starts, len(data)).astype(np.int32)
    hidden = pa.py_buffer(HIDDEN_DIGITS[data])
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(offsets), hidden])
