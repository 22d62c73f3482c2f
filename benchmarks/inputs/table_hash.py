"""A digest of what a table says, whatever file, chunks or dictionaries say it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["table_hash"]


def table_hash(path: Path) -> str:
    """SHA-256 of the names of a Parquet file's columns and of a 64-bit hash of each row, in order of the rows.

    Dictionaries count as the texts they stand for, so that the order of their entries does not matter.
    """
    with pq.ParquetFile(path) as file:
        digest = hashlib.sha256("\n".join(file.schema_arrow.names).encode())
        for batch in file.iter_batches(250_000):
            columns = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                text = pa.types.is_dictionary(column.type)
                columns[name] = pd.Series((column.cast(pa.string()) if text else column).to_pandas())
            digest.update(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy().tobytes())
    return digest.hexdigest()
