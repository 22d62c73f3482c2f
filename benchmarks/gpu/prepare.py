"""`prepare` with cuDF on a `LocalCUDACluster` against pandas in one process: the same tables, and rows per second.

In a process without torch, as RAPIDS and torch fight over a GPU's memory in one. It needs cupy, cudf and dask-cuda
besides what the project itself asks for.
"""

from __future__ import annotations

import hashlib
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import wall_s

if TYPE_CHECKING:
    from hews_gpu.workers import Opener


HOST, GPU = ("geopandas", "pandas", "pyarrow", "dask", "distributed"), ("cupy", "cudf", "dask_cuda")
ROWS, DAYS = 3_000_000, 2_000
TABLES = ("incidents", "quarantine", "charts_only")


def run(*, tiny: bool) -> dict[str, Any]:
    """Measure, or say which library is missing; a small table on one worker and pandas, if tiny."""
    missing = [name for name in (HOST if tiny else HOST + GPU) if find_spec(name) is None]
    if missing:
        return {"skipped": f"not installed: {', '.join(missing)}"}
    from hews_gpu.cluster.dask_workers import Cluster

    if tiny:
        return measure(Cluster(kind="local", workers=1, least_rows=0), rows=20_000, days=50)
    return measure(Cluster(kind="cuda", least_rows=0))


def table_hash(path: Path) -> str:
    """Return SHA-256 of the names of a Parquet file's columns and of a 64-bit hash of each row, in order of the rows.

    Dictionaries count as the texts they stand for, so that the order of their entries does not matter.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        digest = hashlib.sha256("\n".join(file.schema_arrow.names).encode())
        for batch in file.iter_batches(250_000):
            columns = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                text = pa.types.is_dictionary(column.type)
                columns[name] = pd.Series((column.cast(pa.string()) if text else column).to_pandas())
            digest.update(pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy().tobytes())
    return digest.hexdigest()


def measure(workers: Opener, *, rows: int = ROWS, days: int = DAYS) -> dict[str, Any]:
    """Prepare the same table by threads of this process and by some workers.

    Raises:
        AssertionError: the tables differ.
    """
    from benchmarks.tables import write_city
    from hews_gpu.config import load_city
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.workers import in_this_process

    seconds, quality, hashes = {}, {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table_bytes = write_city(folder, rows, days)
        city = load_city(folder / "city.toml")
        for who, opener in (("host", in_this_process), ("workers", workers)):

            def one(out: Path = folder / who, opener: Opener = opener, who: str = who) -> None:
                quality[who] = prepare(city, out, workers=opener, score_only=True)

            seconds[who] = wall_s(one)
            hashes[who] = {table: table_hash(folder / who / f"{table}.parquet") for table in TABLES}
    differing = [table for table in TABLES if hashes["host"][table] != hashes["workers"][table]]
    assert not differing, f"workers and one process differ in {differing}"
    kept = {key: quality["host"][key] for key in ("rows_read", "rows_kept")}
    rate = {who: rows / seconds[who] for who in seconds}
    return {
        "work": "prepare, 278 areas",
        "rows": rows,
        "table_bytes": table_bytes,
        "same_tables": True,
        **kept,
        "rows_per_s": rate,
        "ratio_of_rows_per_s": rate["workers"] / rate["host"],
    }
