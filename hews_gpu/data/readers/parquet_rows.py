"""Parquet files, a batch of rows at a time; every column that is read becomes text, as in the other kinds of file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.data.readers.blocks import TEXT, Job, Texts
from hews_gpu.data.readers.schemas import Columns
from hews_gpu.errors import UserError

__all__ = ["Groups", "read_parquet", "scan_parquet"]

LEAST_INEXACT = 2.0**53  # from here on a float64 may stand for several whole numbers


@dataclass(frozen=True)
class Groups:
    """Some row groups of a Parquet file that follow each other."""

    begin: int
    """First group."""
    end: int
    """First group beyond."""
    first: int
    """Number of the first row, from 1."""
    rows: int


def read_parquet(path: Path, job: Job, groups: Groups | None = None) -> Texts:
    """Blocks of a Parquet file, or of some of its row groups; `line` is the number of the row, from 1.

    Raises:
        UserError: not a whole Parquet file, or a column that has no text.
    """
    with _whole(job.name), pq.ParquetFile(path) as file:
        yield from _blocks(file, groups or _all_groups(file), job)


def scan_parquet(path: Path, job: Job, group_rows: int) -> list[Groups]:
    """Row groups in runs of at least so many rows, from the file's own index; tells `job.choose` the column names."""
    with _whole(job.name), pq.ParquetFile(path) as file:
        _choose(file, job)
        found, begin, first, rows = [], 0, 1, 0
        for group in range(file.num_row_groups):
            rows += file.metadata.row_group(group).num_rows
            if rows >= group_rows or group == file.num_row_groups - 1:
                found.append(Groups(begin, group + 1, first, rows))
                begin, first, rows = group + 1, first + rows, 0
    return [groups for groups in found if groups.rows]


@contextmanager
def _whole(name: str) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into one line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split())[:200]
        raise UserError(name, allowed=f"is not a whole Parquet file ({why})", remedy="Fetch or copy it again") from None


def _all_groups(file: pq.ParquetFile) -> Groups:
    return Groups(0, file.num_row_groups, 1, file.metadata.num_rows)


def _choose(file: pq.ParquetFile, job: Job) -> Columns:
    """What is read of a file; refuses a column that has no text."""
    columns = job.choose(tuple(file.schema_arrow.names))
    for position in sorted(set(columns.read.values())):
        field = file.schema_arrow.field(position)
        _require_text(job.name, field.name, field.type)
    return columns


def _blocks(file: pq.ParquetFile, groups: Groups, job: Job) -> Texts:
    columns = _choose(file, job)
    chosen = sorted(set(columns.read.values()))
    fields = [file.schema_arrow.field(position) for position in range(len(columns.found))]
    first = groups.first
    leaf = np.cumsum([0, *(_leaves(field.type) for field in fields)])
    # by position: of two columns of one name, the name would give the last one, the schema means the first
    batches = file.reader.iter_batches(
        job.block_rows, range(groups.begin, groups.end), column_indices=leaf[chosen].tolist(), use_threads=True
    )
    for batch in batches:
        lines = np.arange(first, first + len(batch))
        table = pa.table({"line": lines, "problem": np.zeros(len(batch), np.uint8)})
        for name, position in columns.read.items():
            table = table.append_column(name, _text_of(batch, chosen.index(position), job.name))
        yield table
        first += len(batch)


def _leaves(kind: pa.DataType) -> int:
    """How many columns of the file make up one column of the table."""
    return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields)) if pa.types.is_nested(kind) else 1


def _require_text(file: str, name: str, kind: pa.DataType) -> None:
    if pa.types.is_nested(kind):
        allowed = f"the column '{name}' holds {kind}, which is no text, number or time"
        raise UserError(file, allowed=allowed, remedy="Write it as text")


def _text_of(batch: pa.RecordBatch, position: int, file: str) -> pa.Array:
    """A column as text, of which every value is UTF-8: a file may call bytes text that are none."""
    try:
        encoded = _text(batch.column(position))
        encoded.dictionary.validate(full=True)
    except pa.ArrowInvalid as error:
        if "utf8" not in str(error).casefold():
            raise
        allowed = f"the column '{batch.schema.field(position).name}' holds text that is not UTF-8"
        raise UserError(file, allowed=allowed, remedy="Write it as UTF-8") from None
    return encoded


def _text(column: pa.Array) -> pa.Array:
    """A column as dictionary-encoded text; null becomes the empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        texts = pc.coalesce(_digits(column), texts)
    return texts.fill_null("").dictionary_encode().cast(TEXT)


def _digits(column: pa.Array) -> pa.Array:
    """Whole numbers of a column of floats as digits without an exponent, value by value; null for any other."""
    values = column.cast(pa.float64())
    is_whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), LEAST_INEXACT))
    return pc.if_else(is_whole, values, None).cast(pa.int64()).cast(pa.string())
