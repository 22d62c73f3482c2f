"""`prepare` with cuDF on a `LocalCUDACluster` against pandas in one process: the same tables, and rows per second.

The table and its areas are made here, with NumPy and PyArrow alone; files of polygons are not read, so that neither
shapely nor geopandas is needed. What is: numpy, pandas, pyarrow, numba with numba-cuda, cupy, cudf, dask, distributed
and dask-cuda. It runs in a process of its own, because RAPIDS and torch fight over a GPU's memory in one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import ROOT

if TYPE_CHECKING:
    from benchmarks.inputs.small_polygons import Rings
    from hews_gpu.workers import Opener

__all__ = ["measure", "prepared", "run"]

NEEDED = ("pandas", "pyarrow", "numba", "cupy", "cudf", "dask", "distributed", "dask_cuda")
ROWS, DAYS = 3_000_000, 2_000
MOST_S = 200
TABLES = ("incidents", "quarantine", "charts_only")


def run(machine: object) -> dict[str, Any]:
    """The measurement, or which library is missing."""
    del machine
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return {"skipped": f"not installed: {', '.join(missing)}"}
    command = [sys.executable, "-m", "benchmarks.gpu.prepare"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=MOST_S)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"failed": " / ".join(lines[-3:])[-600:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def prepared(table: Path, rings: Rings, folder: Path, workers: Opener) -> dict[str, Any]:
    """All that `prepare` does to a table once its polygons are read: seconds and a digest of each of its tables."""
    from benchmarks.inputs.table_hash import table_hash
    from hews_gpu.data.clean import Rules
    from hews_gpu.data.geometry.areas import Areas
    from hews_gpu.data.geometry.point_in_polygon import Engine
    from hews_gpu.data.prepare.partitions import plan_partitions
    from hews_gpu.data.prepare.pipeline import BUCKET_ROWS, CleanJob, clean_table, sort_table
    from hews_gpu.data.readers.files import IncidentFile
    from hews_gpu.data.readers.schemas import ReadSettings

    work = folder / "work"
    work.mkdir(parents=True)
    west, south = (float(side) for side in rings[0].min(axis=0))
    east, north = (float(side) for side in rings[0].max(axis=0))
    areas = Areas(rings=rings, bounds=(west, south, east, north))
    settings = ReadSettings()
    begin = time.perf_counter()
    plan = plan_partitions([IncidentFile(path=table, name=table.name, number=0)], settings, work)
    planned_s = time.perf_counter() - begin
    with workers(plan.rows, work) as team:
        engine: Engine = "cuda" if team.backend == "cudf" else "numba"
        job = CleanJob(
            plan=plan,
            settings=settings,
            rules=Rules(areas=areas, tolerance_m=0.0, targets=frozenset({"SHOOTING"}), known=None, engine=engine),
            backend=team.backend,
            leave_out_damaged=False,
        )
        names = [f"Area {number}" for number in range(int(rings[2].max()) + 1)]
        begin = time.perf_counter()
        made = clean_table(work, job, team)
        duplicates, _ = sort_table(folder, work, made, names, team, BUCKET_ROWS)
        seconds = planned_s + time.perf_counter() - begin
        backend = team.backend
    rows = made.tally.rows
    return {
        "backend": backend,
        "engine": engine,
        "partitions": len(plan.partitions),
        "rows": rows,
        "kept": made.tally.kept,
        "duplicates": sum(n for (_, _, is_repeat, _), n in duplicates.months.items() if is_repeat),
        "twins": duplicates.twins,
        "near_twins": duplicates.near_twins,
        "seconds": seconds,
        "rows_per_s": rows / seconds,
        "hashes": {name: table_hash(folder / f"{name}.parquet") for name in TABLES},
    }


def measure(workers: Opener, *, rows: int = ROWS, days: int = DAYS) -> dict[str, Any]:
    """The same table by threads of this process and by some workers.

    Raises:
        AssertionError: the tables differ.
    """
    from benchmarks.inputs.tiled_city import areas, write_table
    from hews_gpu.workers import in_this_process

    rings = areas()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "table.csv", rows, days=days, rings=rings)
        host = prepared(folder / "table.csv", rings, folder / "host", in_this_process)
        other = prepared(folder / "table.csv", rings, folder / "other", workers)
        table_bytes = (folder / "table.csv").stat().st_size
    differing = [
        key for key in host if key not in ("backend", "engine", "seconds", "rows_per_s") and host[key] != other[key]
    ]
    assert not differing, f"{other['backend']} and pandas differ in {differing}"
    return {
        "work": "prepare, 278 areas, polygons not read",
        "rows": rows,
        "table_bytes": table_bytes,
        "same_tables": True,
        "pandas_in_this_process": host,
        f"{other['backend']}_on_workers": other,
        "ratio_of_rows_per_s": other["rows_per_s"] / host["rows_per_s"],
    }


if __name__ == "__main__":
    from hews_gpu.cluster.dask_workers import Cluster

    print(json.dumps(measure(Cluster(kind="cuda", least_rows=0))))
