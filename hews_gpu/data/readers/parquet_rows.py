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

from hews_gpu.data.readers.dictionary_column import TEXT
from hews_gpu.data.readers.schemas import ROW_BYTES, Columns, OpenTable, ReadSettings, Stretch
from hews_gpu.errors import UserError

__all__ = ["ParquetTable", "open_parquet"]

LEAST_INEXACT = 2.0**53  # from here on a float64 may stand for several whole numbers


@contextmanager
def open_parquet(path: Path, name: str, settings: ReadSettings) -> Iterator[ParquetTable]:
    """Open a Parquet file."""
    with _whole(name):
        file = pq.ParquetFile(path)
    with file:
        yield ParquetTable(name=name, settings=settings, names=tuple(file.schema_arrow.names), file=file)


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


@dataclass(kw_only=True)
class ParquetTable(OpenTable):
    """An open Parquet file; `line` of a row is its number, from 1."""

    file: pq.ParquetFile

    def cut(self, most_bytes: int) -> list[Stretch]:
        """Return row groups in runs of at least as many rows as so many bytes of text, from the file's own index."""
        group_rows = max(1, most_bytes // ROW_BYTES)
        runs, begin, first, rows = [], 0, 1, 0
        for group in range(self.file.num_row_groups):
            rows += self.file.metadata.row_group(group).num_rows
            if rows >= group_rows or group == self.file.num_row_groups - 1:
                runs.append(Stretch(begin, group + 1, first, rows))
                begin, first, rows = group + 1, first + rows, 0
        return [run for run in runs if run.rows]

    def blocks(self, columns: Columns, part: Stretch | None = None) -> Iterator[pa.Table]:
        """Read the file, or some of its row groups."""
        groups = part or Stretch(0, self.file.num_row_groups, 1, self.file.metadata.num_rows)
        chosen = sorted(set(columns.read.values()))
        fields = list(self.file.schema_arrow)
        for position in chosen:
            if pa.types.is_nested(fields[position].type):
                what = f"the column '{fields[position].name}' holds {fields[position].type}"
                raise UserError(
                    self.name, allowed=f"{what}, which is no text, number or time", remedy="Write it as text"
                )
        leaf, first = np.cumsum([0, *(_leaves(column.type) for column in fields)]), groups.first
        with _whole(self.name):
            # by position: of two columns of one name, the name would give the last one, the schema means the first
            for batch in self.file.reader.iter_batches(
                self.settings.block_rows, range(groups.begin, groups.end), leaf[chosen].tolist(), use_threads=True
            ):
                content = {"line": np.arange(first, first + len(batch)), "problem": np.zeros(len(batch), np.uint8)}
                texts = {
                    name: _text_of(batch, chosen.index(position), self.name) for name, position in columns.read.items()
                }
                yield pa.table({**content, **texts})
                first += len(batch)


def _leaves(kind: pa.DataType) -> int:
    """Return how many columns of the file make up one column of the table."""
    return sum(_leaves(kind.field(i).type) for i in range(kind.num_fields)) if pa.types.is_nested(kind) else 1


def _text_of(batch: pa.RecordBatch, position: int, file: str) -> pa.Array:
    """Return a column as dictionary-encoded text; null becomes the empty text.

    Every value is UTF-8: a file may call bytes text that are none.
    """
    column = batch.column(position)
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        texts = column.cast(pa.string())
        if pa.types.is_floating(column.type):
            texts = pc.coalesce(_digits(column), texts)
        encoded = texts.fill_null("").dictionary_encode().cast(TEXT)
        encoded.dictionary.validate(full=True)
    except pa.ArrowInvalid as error:
        if "utf8" not in str(error).casefold():
            raise
        allowed = f"the column '{batch.schema.field(position).name}' holds text that is not UTF-8"
        raise UserError(file, allowed=allowed, remedy="Write it as UTF-8") from None
    return encoded


def _digits(column: pa.Array) -> pa.Array:
    """Return whole numbers of a column of floats as digits without an exponent; null for any other value."""
    values = column.cast(pa.float64())
    is_whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), LEAST_INEXACT))
    return pc.if_else(is_whole, values, None).cast(pa.int64()).cast(pa.string())
