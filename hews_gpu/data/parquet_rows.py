"""Parquet files, a batch of rows at a time; every column that is read becomes text, as in the other kinds of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.data.rows import TEXT, Job, Texts
from hews_gpu.errors import UserError

__all__ = ["read_parquet"]


def read_parquet(path: Path, job: Job) -> Texts:
    """Blocks of a Parquet file; `line` is the number of the row, from 1.

    Raises:
        UserError: not a whole Parquet file, or a column that has no text.
    """
    try:
        yield from _blocks(path, job)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split())[:200]
        raise UserError(
            job.name, allowed=f"is not a whole Parquet file ({why})", remedy="Fetch or copy it again"
        ) from None


def _blocks(path: Path, job: Job) -> Texts:
    with pq.ParquetFile(path) as file:
        columns = job.choose(tuple(file.schema_arrow.names))
        chosen = [columns.found[position] for position in dict.fromkeys(columns.read.values())]
        for name in chosen:
            _require_text(job.name, name, file.schema_arrow.field(name).type)
        first = 1
        for batch in file.iter_batches(batch_size=job.block_rows, columns=chosen):
            lines = np.arange(first, first + len(batch))
            table = pa.table({"line": lines, "problem": np.zeros(len(batch), np.uint8)})
            for name, position in columns.read.items():
                table = table.append_column(name, _text(batch.column(columns.found[position])))
            yield table
            first += len(batch)


def _require_text(file: str, name: str, kind: pa.DataType) -> None:
    if pa.types.is_nested(kind):
        allowed = f"the column '{name}' holds {kind}, which is no text, number or time"
        raise UserError(file, allowed=allowed, remedy="Write it as text")


def _text(column: pa.Array) -> pa.Array:
    """A column as dictionary-encoded text; null becomes the empty text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()).fill_null("").dictionary_encode().cast(TEXT)
