"""Points per second: the compiled grid against shapely's trees, on one core, after checking that all agree.

Times are CPU seconds of the one thread that works, not seconds on the clock: a busy machine then slows nobody's count,
save that its caches are shared. What is timed is the search; points as shapely objects and the polygons' own tree or
grid are made before, a tree over points (which is made anew for other points) within.

    python -m benchmarks.pip [--quick] [--json] [--device cuda]

P points.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba
import shapely

from benchmarks.common import Timing, parse_flags, ratios, save_result
from benchmarks.inputs.baltimore import load_polygons
from benchmarks.inputs.random_city import random_city
from hews_gpu.data.grid import find_in_grid, grid_of

Polygons = NDArray[np.object_]
Floats = NDArray[np.float64]
GRID, TREE_OF_POLYGONS, TREE_OF_POINTS = "grid", "tree of polygons", "tree of points, prepared polygons"
VERTICES = 129_000
"""Of the 278 neighbourhoods of a real city."""


SHORTEST_S = 0.2
"""An alternative is repeated within its turn for at least so long: the clock of a process is coarse."""


def cpu_seconds(alternatives: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Timing]:
    """CPU seconds of each alternative, in turn, round by round, after one round of warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for k in range(-1, rounds):
        for name, run in alternatives.items():
            begin, repeats, spent = time.process_time(), 0, 0.0
            while spent < SHORTEST_S:
                run()
                repeats, spent = repeats + 1, time.process_time() - begin
            if k >= 0:
                seconds[name].append(spent / repeats)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def by_tree_of_polygons(tree: shapely.STRtree, points: Polygons) -> NDArray[np.int64]:
    """int64[P]: the first polygon that covers each point, or -1."""
    point, polygon = tree.query(points, predicate="intersects")
    return _first(polygon, point, len(points))


def by_tree_of_points(polygons: Polygons, points: Polygons) -> NDArray[np.int64]:
    """The same, asking the other way round, which lets shapely use what it prepared for each polygon."""
    polygon, point = shapely.STRtree(points).query(polygons, predicate="intersects")
    return _first(polygon, point, len(points))


def _first(polygon: NDArray[np.int64], point: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    found = np.full(points, np.iinfo(np.int64).max)
    np.minimum.at(found, point, polygon)
    return np.where(found == np.iinfo(np.int64).max, -1, found)


def bench_polygons(name: str, polygons: Polygons, *, quick: bool) -> dict[str, Any]:
    """Check that the three agree on random points, then time them in turn."""
    count, rounds = (100_000, 3) if quick else (500_000, 5)
    x, y = random_points(polygons, count)
    points = shapely.points(x, y)
    shapely.prepare(polygons)
    tree, built = shapely.STRtree(polygons), cpu_seconds({GRID: lambda: grid_of(polygons)}, rounds=3)[GRID]
    grid = grid_of(polygons)
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        GRID: lambda: find_in_grid(grid, x, y),
        TREE_OF_POLYGONS: lambda: by_tree_of_polygons(tree, points),
        TREE_OF_POINTS: lambda: by_tree_of_points(polygons, points),
    }
    found = ways[GRID]()
    for way in (TREE_OF_POLYGONS, TREE_OF_POINTS):
        assert np.array_equal(found, ways[way]()), f"the grid and shapely's {way} differ"
    timings = cpu_seconds(ways, rounds=rounds)
    against = {way: ratios(timings, way)[GRID] for way in (TREE_OF_POLYGONS, TREE_OF_POINTS)}
    return {
        "work": name,
        "polygons": len(polygons),
        "vertices": len(grid.vertex),
        "points": count,
        "grid_build_s": built.median_s,
        "grid_bytes": sum(array.nbytes for array in grid),
        "points_per_s": count / timings[GRID].median_s,
        "shapely_points_per_s": count / timings[TREE_OF_POINTS].median_s,
        "ratio_to_shapely": against[TREE_OF_POINTS]["median"],
        "ratio_lowest_highest": [against[TREE_OF_POINTS]["low"], against[TREE_OF_POINTS]["high"]],
        "ratio_to_shapely_tree_of_polygons": against[TREE_OF_POLYGONS]["median"],
        "same": True,
    }


def random_points(polygons: Polygons, count: int) -> tuple[Floats, Floats]:
    """Anywhere in the bounds of the polygons."""
    west, south, east, north = shapely.total_bounds(polygons)
    x, y = np.random.default_rng(0).uniform([west, south], [east, north], (count, 2)).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def cities(*, quick: bool) -> dict[str, Polygons]:
    """A random city as finely drawn as a real one, and real ones where HEWS_REAL_DATA names their folder."""
    polygons = random_city(0, neighborhoods=278, events=1).neighborhoods.geometry.to_numpy()
    finer = shapely.length(polygons).sum() / VERTICES
    made: dict[str, Polygons] = {"random, 278 areas": shapely.segmentize(polygons, finer)}
    folder = os.environ.get("HEWS_REAL_DATA")
    if folder:
        made["Baltimore, 278 areas"] = load_polygons(Path(folder), 278).geometry.to_numpy()
    if folder and not quick:
        made["Baltimore, 55 areas"] = load_polygons(Path(folder), 55).geometry.to_numpy()
    return made


def bench_on_device(name: str, polygons: Polygons, *, quick: bool) -> dict[str, Any]:
    """Check that the GPU agrees with the CPU, then time its kernel by events on its own clock."""
    from hews_gpu.kernels import pip_cuda
    from hews_gpu.kernels._shim_cuda import cuda

    if not cuda.is_available():
        sys.exit("pip: no NVIDIA GPU can be used here")
    count, rounds = (10_000_000, 5) if quick else (100_000_000, 9)
    x, y = random_points(polygons, count)
    grid = grid_of(polygons)
    tables, on_x, on_y = type(grid)(*map(cuda.to_device, grid)), cuda.to_device(x), cuda.to_device(y)
    out = cuda.to_device(np.empty(count, np.int32))
    find = pip_cuda.find_all[pip_cuda.blocks_for(count), pip_cuda.THREADS]
    find(tables, on_x, on_y, out)
    assert np.array_equal(out.copy_to_host(), find_in_grid(grid, x, y)), "GPU and CPU differ"
    seconds = []
    for _ in range(rounds):
        begin, end = cuda.event(), cuda.event()
        begin.record()
        find(tables, on_x, on_y, out)
        end.record()
        end.synchronize()
        seconds.append(cuda.event_elapsed_time(begin, end) / 1000)
    timing = Timing(tuple(seconds))
    return {"work": name, "points": count, "points_per_s": count / timing.median_s, "same": True, **timing.as_json()}


def print_table(rows: list[dict[str, Any]]) -> None:
    """One line per city."""
    print("one core, CPU seconds; x shapely: times its fastest way (a tree of points, prepared polygons), median")
    print("[lowest, highest]; x polygons: times a tree of polygons asked for each point")
    print(f"{'work':<22}{'vertices':>9}{'build ms':>10}{'M points/s':>12}{'x shapely':>20}{'x polygons':>12}")
    for row in rows:
        low, high = row["ratio_lowest_highest"]
        ratio = f"{row['ratio_to_shapely']:.0f} [{low:.0f}, {high:.0f}]"
        numbers = f"{row['vertices']:>9,}{row['grid_build_s'] * 1e3:>10.0f}{row['points_per_s'] / 1e6:>12.1f}"
        print(f"{row['work']:<22}{numbers}{ratio:>20}{row['ratio_to_shapely_tree_of_polygons']:>12.0f}")


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    device, sys.argv[1:] = parser.parse_known_args()
    flags = parse_flags(__doc__ or "")
    on_device = device.device == "cuda"
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS if on_device else 1)
    bench = bench_on_device if on_device else bench_polygons
    rows = [bench(name, polygons, quick=flags.quick) for name, polygons in cities(quick=flags.quick).items()]
    result = {"device": device.device, "threads": numba.get_num_threads(), "clock": "CPU seconds", "rows": rows}
    if on_device:
        result["clock"] = "events on the device"
    if flags.json or on_device:
        print(json.dumps(result, indent=2))
    else:
        print_table(rows)
    if not flags.quick:
        print(f"saved {save_result('pip-cuda' if on_device else 'pip', result)}", file=sys.stderr)


if __name__ == "__main__":
    main()
