"""`prepare` and its growth with rows: processor seconds, seconds and peak memory, beside scripts that do part of it.

The table is generated (one in fifty rows dirty, 278 areas of 129,000 vertices) and every alternative reads the same
file, each in a process of its own. Memory is that of the process and all it started, sampled: their resident pages are
added up, so that what they share, and what they have mapped of files, counts several times; `peak_without_files_gb`
leaves out what the system can take back at any time. On a machine that does other work, processor seconds and their
ratios say more than seconds. Sizes, who runs at which, and what was left out are in the result. Compiled kernels are
there from an earlier run, as they are for anybody but the first time.

Rasterizing is timed on two workers against writing the same bytes to a memory map.
"""

from __future__ import annotations

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

from benchmarks.common import ROOT, finish, parse_flags, time_in_turn
from benchmarks.inputs.tiled_city import areas, geojson, write_table
from hews_gpu.cli.printing import print_table
from hews_gpu.data.geometry.point_in_polygon import find_in_grid
from hews_gpu.kernels.pip_tables import build_tables
from hews_gpu.workers import Workers

SIZES = {"276k": 276_529, "2.7M": 2_765_290, "27M": 27_652_900, "100M": 100_000_000}
DAYS = {"276k": 2_000, "2.7M": 20_000, "27M": 70_000, "100M": 70_000}
RIVALS_UP_TO = 30_000_000
"""Rows; of more, nobody need try what takes more than MOST_MEMORY_GB of fewer."""
MOST_MEMORY_GB = 16.0
"""What takes more is stopped, and the result says so: the scripts hold the whole table, several times over."""
BARE_READS = 5
"""Before all others and after each of them; the median counts, as one read takes half as long again as another."""
MAP_WINDOWS = 8192
FILE_WINDOWS = 256  # of a file of maps
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
    """Write the table, its areas and a city file; return the table's bytes."""
    rings = areas()
    write_table(folder / "table.csv", rows, days=days, rings=rings)
    (folder / "areas.geojson").write_text(json.dumps(geojson(rings)))
    (folder / "city.toml").write_text(TOML)
    return (folder / "table.csv").stat().st_size


def cost_of(command: Sequence[str], cwd: Path = ROOT) -> dict[str, Any]:
    """Run a command; return what it printed, its seconds, processor seconds of it and all it started, peak memory.

    One that takes more than MOST_MEMORY_GB is ended, and has `stopped` instead of what it printed.
    """
    before = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=cwd
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
    """Return the command of everybody who is measured on a table of so many rows."""
    ours = [sys.executable, "-m", "hews_gpu", "prepare", str(folder / "city.toml"), "--json", "--force", "--out"]
    result = {}
    if 0 in workers:
        result["ours, one process"] = [*ours, str(folder / "one")]
    for count in workers:
        if count and rows >= 1_000_000:
            result[f"ours, workers: {count}"] = [*ours, str(folder / f"of-{count}"), "--cluster", f"local:{count}"]
    if rows <= RIVALS_UP_TO:
        result |= {f"{name} script": _rival(folder, name) for name in ("pandas", "polars")}
    return result


def _rival(folder: Path, name: str) -> list[str]:
    """Return the command of another way to read a folder's table."""
    files = [str(folder / file) for file in ("table.csv", "areas.geojson", "rival.parquet")]
    return [sys.executable, "-m", "benchmarks.rivals.tables", name, *files]


def measure(rows: int, days: int, *, workers: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """Measure everybody on one table; all must keep the same number of rows.

    Raises:
        AssertionError: they do not.
    """
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        folder = Path(name)
        table_bytes = write_city(folder, rows, days)
        reads, costs, kept = [_bare_read(folder, rows)], {}, {}
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
    costs = {"bare": reads[0] | {"processor_seconds": bare, "every_processor_seconds": every}, **costs}
    for cost in (cost for cost in costs.values() if "stopped" not in cost):
        cost["microseconds_per_row"] = round(1e6 * cost["processor_seconds"] / rows, 3)
        cost["times_bare_read"] = round(cost["processor_seconds"] / bare, 2)
        cost["rows_per_s"] = round(rows / cost["seconds"])
    return {"rows": rows, "days": days, "table_bytes": table_bytes, "kept": set(kept.values()).pop(), "costs": costs}


def _bare_read(folder: Path, rows: int) -> dict[str, Any]:
    """Measure PyArrow's reader alone; its processor seconds are without the start of Python."""
    cost = cost_of(_rival(folder, "bare"))
    read, seconds = cost.pop("printed").split()
    assert int(read) == rows
    return cost | {"processor_seconds": round(float(seconds), 3)}


def _sizes(results: dict[str, Any], who: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows, and the costs of everybody, of the tables that somebody has come through."""
    return [(r["rows"], r["costs"]) for r in results.values() if "rows_per_s" in r["costs"].get(who, ())]


def slope(results: dict[str, Any], who: str) -> float | None:
    """Fit the logarithm of processor seconds to that of rows by least squares; None for fewer than two sizes."""
    pairs = [(rows, costs[who]["processor_seconds"]) for rows, costs in _sizes(results, who)]
    if len(pairs) < 2:
        return None
    x, y = np.log(pairs).T
    return round(float(np.polyfit(x, y, 1)[0]), 3)


def of_more_rows(results: dict[str, Any], who: str) -> dict[str, float] | None:
    """Return what a row costs once everything has started: of the largest table against the smallest, each row more."""
    sizes = _sizes(results, who)
    if len(sizes) < 2:
        return None
    (few, low), (many, high) = sizes[0], sizes[-1]
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
    """Measure bytes per second of maps drawn into Zarr by some workers, and of the same bytes in a memory map."""
    import zarr

    from hews_gpu.cluster.dask_workers import Cluster
    from hews_gpu.config import load_city
    from hews_gpu.data.prepare.command import prepare
    from hews_gpu.feed.maps import rasterize

    cluster, timed = Cluster(kind="local", workers=workers, least_rows=0), []

    @contextmanager
    def opened(rows: int, folder: Path) -> Iterator[Workers]:
        with cluster(rows, folder) as team:
            timed.append(_Timed(team, 2 * workers))
            yield timed[-1]

    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        folder = Path(name)
        write_city(folder, windows * 10, 730)
        prepare(load_city(folder / "city.toml"), folder / "prepared")
        made = rasterize(folder / "prepared", folder / "maps", style="reference", workers=opened)
        maps = zarr.open_array(folder / "maps" / "maps.zarr" / "maps", mode="r")
        some = np.asarray(maps[:FILE_WINDOWS])

        def write_memmap() -> None:
            target = np.memmap(folder / "memmap", np.uint8, "w+", shape=maps.shape)
            for first in range(0, maps.shape[0], len(some)):
                part = target[first : first + len(some)]
                part[:] = some[: len(part)]
            target.flush()
            del target
            (folder / "memmap").unlink()

        memmap_s = time_in_turn({"memmap": write_memmap}, rounds=3, warm_up=0)["memmap"].median_s
    zarr_s = timed[0].seconds
    share = timed[0].partitions * FILE_WINDOWS / maps.shape[0]  # of the bytes
    return {
        "windows": int(made["windows"]),
        "bytes": int(made["bytes"]),
        "bytes_stored": int(made["bytes_stored"]),
        "workers": workers,
        "zarr_s": round(zarr_s, 3),
        "zarr_gb_per_s": round(share * int(made["bytes"]) / zarr_s / 1e9, 3),
        "memmap_gb_per_s": round(int(made["bytes"]) / memmap_s / 1e9, 3),
        "share_of_memmap": round(share * memmap_s / zarr_s, 3),
        "files_timed": timed[0].partitions,
        "note": "drawing, compressing and writing; not the first files, at which the workers load their kernels",
    }


def main() -> None:
    """Measure what the flags ask for, save and print."""
    sizes_help = f"of {', '.join(SIZES)}, or none; each is several minutes"
    flags = parse_flags(
        __doc__ or "",
        sizes={"default": "276k,2.7M", "help": sizes_help},
        workers={"default": "0,1,2", "help": "0 is one process without a cluster"},
        no_maps={"action": "store_true", "help": "leave rasterizing out"},
    )
    (ROOT / "runs").mkdir(exist_ok=True)
    workers = [int(word) for word in flags.workers.split(",")]
    find_in_grid(build_tables(*areas()), np.zeros(9), np.zeros(9))  # compiles the kernels, which are kept
    if flags.quick:
        finish("tables", {"sizes": {"20k": measure(20_000, 200, workers=[0])}}, flags, show)
        return
    sizes = [size for size in flags.sizes.split(",") if size != "none"]
    results = {size: measure(SIZES[size], DAYS[size], workers=workers) for size in sizes}
    everybody = list(dict.fromkeys(who for result in results.values() for who in result["costs"]))
    made: dict[str, Any] = {
        "sizes": results,
        "slopes": {who: slope(results, who) for who in everybody},
        "more_rows": {who: of_more_rows(results, who) for who in everybody},
    }
    if not flags.no_maps:
        made["maps"] = measure_maps(MAP_WINDOWS, 2)
    name = "tables" if len(sizes) > 1 else f"tables_{'_'.join(sizes) or 'maps'}"
    finish(name, made, flags, show, ["polars", "distributed"])


def show(made: dict[str, Any]) -> None:
    """Print the costs as a table."""
    keys = ("seconds", "processor_seconds", "microseconds_per_row", "times_bare_read", "peak_memory_gb")
    costs = [(f"{r['rows']:,}", who, cost) for r in made["sizes"].values() for who, cost in r["costs"].items()]
    rows = [[n, who, *(f"{cost[key]:,.2f}" for key in keys)] for n, who, cost in costs if "stopped" not in cost]
    print_table("prepare", [["rows", "who", *(key.replace("_", " ") for key in keys)], *rows])
    for n, who, cost in costs:
        if "stopped" in cost:
            print(f"{n} rows, {who}: {cost['stopped']}")
    if "maps" in made:
        maps = made["maps"]
        print(f"maps: {maps['zarr_gb_per_s']:.2f} GB/s into Zarr on {maps['workers']} workers, ", end="")
        print(f"{maps['share_of_memmap']:.2f} of writing them to a memory map")


if __name__ == "__main__":
    main()
