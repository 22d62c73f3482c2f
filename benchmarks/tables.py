"""`prepare` and its growth with rows: processor seconds, seconds and peak memory, beside scripts that do part of it.

The table is generated (one in fifty rows dirty, 278 areas of 129,000 vertices) and every alternative reads the same
file, each in a process of its own. Memory is that of the process and all it started, sampled: their resident pages are
added up, so that what they share, and what they have mapped of files, counts several times; `peak_without_files_gb`
leaves out what the system can take back at any time. Where all of it runs in a control group with a limit (version 1,
which counts cached files too), `memory_limit_gb` says so. On a machine that does other work, processor seconds and
their ratios say more than seconds. Sizes, who runs at which, and what was left out are in the result. Compiled kernels
are there from an earlier run, as they are for anybody but the first time.

Rasterizing is timed on two workers against writing the same bytes to a memory map.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, ROOT, save_result
from benchmarks.inputs.tiled_city import areas, geojson, write_table
from hews_gpu.workers import Opener, Workers

__all__ = ["main", "measure", "slope"]

SIZES = {"276k": 276_529, "2.7M": 2_765_290, "27M": 27_652_900, "100M": 100_000_000}
DAYS = {"276k": 2_000, "2.7M": 20_000, "27M": 70_000, "100M": 70_000}
RIVALS_UP_TO = 30_000_000
"""Rows; of more, nobody need try what takes more than MOST_MEMORY_GB of fewer."""
MOST_MEMORY_GB = 16.0
"""What takes more is stopped, and the result says so: the scripts hold the whole table, several times over."""
BARE_READS = 5
"""Before all others and after each of them; the median counts, as one read takes half as long again as another."""
MAP_WINDOWS = 8192
SAMPLE_S = 0.2
TOML = """
[city]
name = "Tiled"
timezone = "UTC"
[incidents]
files = ["table.csv"]
targets = ["SHOOTING"]
[neighborhoods]
file = "areas.geojson"
name = "name"
tolerance_m = 0
[splits]
train = ["1905-01-01", "1906-01-01"]
validation = ["1906-01-01", "1906-06-01"]
test = ["1906-06-01", "1907-01-01"]
"""


def write_city(folder: Path, rows: int, days: int) -> int:
    """Write the table and its areas; returns the table's bytes."""
    rings = areas()
    write_table(folder / "table.csv", rows, days=days, rings=rings)
    (folder / "areas.geojson").write_text(json.dumps(geojson(rings)))
    (folder / "city.toml").write_text(TOML)
    return (folder / "table.csv").stat().st_size


def cost_of(command: Sequence[str]) -> dict[str, Any]:
    """Run a command: what it printed last, its seconds, processor seconds of it and all it started, peak memory.

    One that takes more than MOST_MEMORY_GB is ended, and has `stopped` instead of what it printed.
    """
    before = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=ROOT
    )
    peak = _Peak(process.pid)
    peak.start()
    assert process.stdout is not None
    with process.stdout:
        printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak.stop.set()
    cost = {
        "seconds": round(time.perf_counter() - before, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_gb": round(peak.bytes / 1e9, 3),
        "peak_without_files_gb": round(peak.without_files / 1e9, 3),
    }
    if peak.is_too_much:
        return cost | {"stopped": f"took more than {MOST_MEMORY_GB} GB"}
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return cost | {"printed": printed}


class _Peak(threading.Thread):
    """Watches the resident memory of a process and all below it; ends it where that is too much."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.bytes, self.stop = pid, 0, threading.Event()
        self.without_files = 0
        self.is_too_much = False

    def run(self) -> None:
        while not self.stop.wait(SAMPLE_S):
            total = without_files = 0
            try:
                root = psutil.Process(self.pid)
                for process in (root, *root.children(recursive=True)):
                    try:
                        memory = process.memory_info()
                        total += memory.rss
                        without_files += memory.rss - memory.shared
                    except psutil.Error:
                        continue  # it has just ended
            except psutil.Error:
                return
            self.bytes, self.without_files = max(self.bytes, total), max(self.without_files, without_files)
            if total > MOST_MEMORY_GB * 1e9 and not self.is_too_much:
                self.is_too_much = True
                root.kill()


def commands(folder: Path, rows: int, *, workers: Sequence[int]) -> dict[str, list[str]]:
    """Who is measured on a table of so many rows."""
    python = sys.executable
    ours = [python, "-m", "hews_gpu", "prepare", str(folder / "city.toml"), "--json", "--force", "--out"]
    rival = [python, "-m", "benchmarks.rivals.tables"]
    files = [str(folder / name) for name in ("table.csv", "areas.geojson", "rival.parquet")]
    found = {}
    if 0 in workers:
        found["ours, one process"] = [*ours, str(folder / "one")]
    for count in workers:
        if count and rows >= 1_000_000:
            found[f"ours, workers: {count}"] = [*ours, str(folder / f"of-{count}"), "--cluster", f"local:{count}"]
    if rows <= RIVALS_UP_TO:
        found |= {"pandas script": [*rival, "pandas", *files], "polars script": [*rival, "polars", *files]}
    return found


def keep_kernels() -> None:
    """Have the kernels of the point search compiled and kept, as they are after anybody's first large table."""
    lines = (
        "import numpy as np",
        "from hews_gpu.data.geometry.areas import find_in_grid",
        "from hews_gpu.kernels.pip_tables import build_tables",
        "from benchmarks.inputs.tiled_city import areas",
        "find_in_grid(build_tables(*areas()), np.zeros(9), np.zeros(9))",
    )
    cost_of([sys.executable, "-c", "\n".join(lines)])


def measure(rows: int, days: int, *, workers: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """Everybody on one table; all must keep the same number of rows.

    Raises:
        AssertionError: they do not.
    """
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        folder = Path(name)
        table_bytes = write_city(folder, rows, days)
        costs, kept = {"bare": _bare_read(folder, rows)}, {}
        reads = [costs["bare"]]
        for who, command in commands(folder, rows, workers=workers).items():
            costs[who] = cost = cost_of(command)
            printed = cost.pop("printed", None)
            print(f"{rows:,} rows, {who}: {cost}", file=sys.stderr, flush=True)
            if printed is not None:
                kept[who] = json.loads(printed)["rows_kept"] if who.startswith("ours") else int(printed.split()[0])
            reads.append(_bare_read(folder, rows))
        while len(reads) < BARE_READS:
            reads.append(_bare_read(folder, rows))
    assert len(set(kept.values())) == 1, f"they keep different rows: {kept}"
    every = [read["processor_seconds"] for read in reads]
    bare = round(median(every), 3)
    costs["bare"] |= {"processor_seconds": bare, "every_processor_seconds": every}
    for cost in costs.values():
        if "stopped" in cost:
            continue
        cost["microseconds_per_row"] = round(1e6 * cost["processor_seconds"] / rows, 3)
        cost["times_bare_read"] = round(cost["processor_seconds"] / bare, 2)
        cost["rows_per_s"] = round(rows / cost["seconds"])
    return {"rows": rows, "days": days, "table_bytes": table_bytes, "kept": set(kept.values()).pop(), "costs": costs}


def _bare_read(folder: Path, rows: int) -> dict[str, Any]:
    """PyArrow's reader alone; its processor seconds are without the start of Python."""
    names = ("table.csv", "areas.geojson", "rival.parquet")
    cost = cost_of([sys.executable, "-m", "benchmarks.rivals.tables", "bare", *(str(folder / name) for name in names)])
    read, seconds = cost.pop("printed").split()
    assert int(read) == rows
    return cost | {"processor_seconds": round(float(seconds), 3)}


def memory_limit_gb() -> float | None:
    """Of the control group that this process is in; None: none that we can see."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kinds, group = line.split(":", 2)
        limit = Path(f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes")
        if kinds == "memory" and limit.is_file() and int(limit.read_text()) < psutil.virtual_memory().total:
            return round(int(limit.read_text()) / 1e9, 3)
    return None


def slope(results: dict[str, Any], who: str) -> float | None:
    """Of the logarithm of processor seconds with that of rows, by least squares; None of fewer than two sizes."""
    pairs = [
        (result["rows"], result["costs"][who]["processor_seconds"])
        for result in results.values()
        if "rows_per_s" in result["costs"].get(who, ())
    ]
    if len(pairs) < 2:
        return None
    x, y = (np.log([pair[i] for pair in pairs]) for i in (0, 1))
    return round(float(np.polyfit(x, y, 1)[0]), 3)


def of_more_rows(results: dict[str, Any], who: str) -> dict[str, float] | None:
    """What a row costs once everything has started: of the largest table against the smallest, for each row more."""
    costs = [
        (result["rows"], result["costs"]) for result in results.values() if "rows_per_s" in result["costs"].get(who, ())
    ]
    if len(costs) < 2:
        return None
    (few, low), (many, high) = costs[0], costs[-1]
    more = [high[name]["processor_seconds"] - low[name]["processor_seconds"] for name in (who, "bare")]
    return {
        "microseconds_per_row": round(1e6 * more[0] / (many - few), 3),
        "times_bare_read": round(more[0] / more[1], 2),
    }


class _Timed:
    """Workers whose work is timed from the first partitions on, at which each of them loads its kernels."""

    def __init__(self, team: Workers, first: int) -> None:
        self.team, self.backend, self.first = team, team.backend, first
        self.seconds, self.partitions = 0.0, 0

    def run(self, job: Callable[..., Any], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        yield from self.team.run(job, folder, numbers[: self.first])
        begin = time.perf_counter()
        yield from self.team.run(job, folder, numbers[self.first :])
        self.seconds += time.perf_counter() - begin
        self.partitions += len(numbers[self.first :])


def measure_maps(windows: int, workers: int) -> dict[str, Any]:
    """Bytes per second of maps drawn into Zarr by some workers, and of the same bytes written to a memory map."""
    import zarr

    from hews_gpu.cluster.dask_workers import Cluster
    from hews_gpu.config import load_city
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.feed.maps import rasterize

    timed: list[_Timed] = []

    def opener(of: Opener) -> Opener:
        @contextmanager
        def opened(rows: int, folder: Path) -> Iterator[Workers]:
            with of(rows, folder) as team:
                timed.append(_Timed(team, 2 * workers))
                yield timed[-1]

        return opened

    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        folder = Path(name)
        days = 730
        write_city(folder, windows * 10, days)
        prepare(load_city(folder / "city.toml"), folder / "prepared")
        of = opener(Cluster(kind="local", workers=workers, least_rows=0))
        made = rasterize(folder / "prepared", folder / "maps", style="reference", workers=of)
        maps = zarr.open_array(folder / "maps" / "maps.zarr" / "maps", mode="r")
        count = int(made["bytes"])
        some = np.asarray(maps[:256])
        memmap_s = []
        for _ in range(3):
            target = np.memmap(folder / "memmap", np.uint8, "w+", shape=maps.shape)
            begin = time.perf_counter()
            for first in range(0, maps.shape[0], len(some)):
                part = target[first : first + len(some)]
                part[:] = some[: len(part)]
            target.flush()
            memmap_s.append(time.perf_counter() - begin)
            del target
            (folder / "memmap").unlink()
    zarr_s, middle = timed[0].seconds, sorted(memmap_s)[1]
    share = timed[0].partitions * 256 / maps.shape[0]  # of the bytes, in files of 256 windows
    return {
        "windows": int(made["windows"]),
        "bytes": count,
        "bytes_stored": int(made["bytes_stored"]),
        "workers": workers,
        "zarr_s": round(zarr_s, 3),
        "zarr_gb_per_s": round(share * count / zarr_s / 1e9, 3),
        "memmap_s": [round(seconds, 3) for seconds in memmap_s],
        "memmap_gb_per_s": round(count / middle / 1e9, 3),
        "share_of_memmap": round(share * middle / zarr_s, 3),
        "files_timed": timed[0].partitions,
        "note": "drawing, compressing and writing; not the first files, at which the workers load their kernels",
    }


def main() -> None:
    """Measure what the flags ask for, save and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small table only; under a minute")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    parser.add_argument("--sizes", default="276k,2.7M", help=f"of {', '.join(SIZES)}, or none; each is several minutes")
    parser.add_argument("--workers", default="0,1,2", help="0 is one process without a cluster")
    parser.add_argument("--no-maps", action="store_true", help="leave rasterizing out")
    flags = parser.parse_args()
    (ROOT / "runs").mkdir(exist_ok=True)
    workers = [int(word) for word in flags.workers.split(",")]
    keep_kernels()
    if flags.quick:
        results = {"20k": measure(20_000, 200, workers=[0])}
        made: dict[str, Any] = {"sizes": results}
    else:
        sizes = [size for size in flags.sizes.split(",") if size != "none"]
        name = "tables" if len(sizes) > 1 else f"tables_{'_'.join(sizes) or 'maps'}"
        results = {size: measure(SIZES[size], DAYS[size], workers=workers) for size in sizes}
        made = {
            "sizes": results,
            "slopes": {who: slope(results, who) for who in _all(results)},
            "more_rows": {who: of_more_rows(results, who) for who in _all(results)},
        }
        if (limit := memory_limit_gb()) is not None:
            made["memory_limit_gb"] = limit
        if not flags.no_maps:
            made["maps"] = measure_maps(MAP_WINDOWS, 2)
        print(f"saved {save_result(name, made, RESULTS, ['polars', 'distributed', 'xarray'])}", file=sys.stderr)
    if flags.json:
        print(json.dumps(made, indent=2))
    else:
        show(made)


def _all(results: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(who for result in results.values() for who in result["costs"]))


def show(made: dict[str, Any]) -> None:
    """Print the costs as a table."""
    stopped: list[str] = []
    table = Table(title="prepare", title_justify="left")
    for heading in ("rows", "who", "seconds", "processor s", "us a row", "times bare read", "peak, GB"):
        table.add_column(heading, justify="left" if heading == "who" else "right")
    for result in made["sizes"].values():
        for who, cost in result["costs"].items():
            if "stopped" in cost:
                stopped.append(f"{result['rows']:,} rows, {who}: {cost['stopped']}")
                continue
            keys = ("seconds", "processor_seconds", "microseconds_per_row", "times_bare_read", "peak_memory_gb")
            table.add_row(f"{result['rows']:,}", who, *(f"{cost[key]:,.2f}" for key in keys))
    Console().print(table)
    print(*stopped, sep="\n", end="\n" if stopped else "")
    if "maps" in made:
        maps = made["maps"]
        print(
            f"maps: {maps['zarr_gb_per_s']:.2f} GB/s into Zarr on {maps['workers']} workers, "
            f"{maps['share_of_memmap']:.2f} of writing them to a memory map"
        )


if __name__ == "__main__":
    main()
