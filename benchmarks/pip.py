"""Points per second: the compiled grid against shapely, on one core, after checking that all agree.

Times are CPU seconds of the one thread that works, not seconds on the clock: a busy machine then slows nobody's count,
save that its caches are shared. What is timed is the search; points as shapely objects and the polygons' own tree or
grid are made before, what must be made anew for other points (a tree over them, their order) within. Shapely is asked
in the three ways that its manual offers, and in the fastest one that we found: coordinates sorted by latitude, so that
each prepared polygon looks at those in its own rectangle only.

    python -m benchmarks.pip [--quick] [--json] [--device cuda]

A full run also writes how time grows as an SVG beside its JSON file. P points.
"""

from __future__ import annotations

import argparse
import json
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

from benchmarks.common import Timing, parse_flags, ratios, real_data, save_result
from benchmarks.inputs.baltimore import load_polygons
from benchmarks.inputs.random_city import random_city
from hews_gpu.data.geometry.areas import find_in_grid, grid_of

Polygons = NDArray[np.object_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
GRID, TREE_OF_POLYGONS, TREE_OF_POINTS = "grid", "tree of polygons", "tree of points, prepared polygons"
SORTED = "sorted coordinates, prepared polygons"
VERTICES = 129_000
"""Of the 278 neighborhoods of a real city."""
SLOWER = 10
"""The tree of polygons is asked for the first tenth of the points, and its time counted ten times."""


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


def by_sorted_coordinates(polygons: Polygons, bounds: Floats, x: Floats, y: Floats) -> Ints:
    """The same without points as objects: of those in a polygon's rectangle, the prepared polygon is asked at once."""
    order = np.argsort(y)
    x, y = x[order], y[order]
    found = np.full(len(x), -1)
    for n in range(len(polygons))[::-1]:  # backwards, so that the first one stays
        begin, end = np.searchsorted(y, bounds[n, 1], "left"), np.searchsorted(y, bounds[n, 3], "right")
        near = begin + np.flatnonzero((x[begin:end] >= bounds[n, 0]) & (x[begin:end] <= bounds[n, 2]))
        found[order[near[shapely.intersects_xy(polygons[n], x[near], y[near])]]] = n
    return found


def _first(polygon: Ints, point: Ints, points: int) -> Ints:
    found = np.full(points, np.iinfo(np.int64).max)
    np.minimum.at(found, point, polygon)
    return np.where(found == np.iinfo(np.int64).max, -1, found)


def hard_points(polygons: Polygons, count: int) -> dict[str, tuple[Floats, Floats]]:
    """Points on which searches go wrong: level with vertices, on them, and on a lattice as rounded coordinates are."""
    x, y = random_points(polygons, count)
    corner = shapely.get_coordinates(polygons)
    corners = np.ascontiguousarray(corner[:, 0]), np.ascontiguousarray(corner[:, 1])
    chosen = np.random.default_rng(1).integers(0, len(corner), (2, count))
    return {
        "random": (x, y),
        "lattice of 4 decimals": (np.round(x, 4), np.round(y, 4)),
        "lattice of 3 decimals": (np.round(x, 3), np.round(y, 3)),
        "on vertices": corners,
        "level with vertices": (x, corners[1][chosen[0]]),
        "above vertices": (corners[0][chosen[1]], y),
    }


def exactness(polygons: Polygons, count: int) -> dict[str, dict[str, int]]:
    """Points of each kind, how many lie in several polygons (on edges), and for how many grid and shapely differ."""
    grid, bounds = grid_of(polygons), shapely.bounds(polygons)
    shapely.prepare(polygons)
    found = {}
    for kind, (x, y) in hard_points(polygons, count).items():
        expected = by_sorted_coordinates(polygons, bounds, x, y)
        several = expected != len(polygons) - 1 - by_sorted_coordinates(polygons[::-1], bounds[::-1], x, y)
        different = int((find_in_grid(grid, x, y) != expected).sum())
        found[kind] = {"points": len(x), "in_several": int((several & (expected >= 0)).sum()), "different": different}
    return found


def require_exact(found: Mapping[str, Mapping[str, int]]) -> None:
    """Raise AssertionError where a point was given to another polygon than shapely's first."""
    for kind, row in found.items():
        assert row["different"] == 0, (
            f"{kind}: grid and shapely differ for {row['different']} of {row['points']} points"
        )


def bench_polygons(name: str, polygons: Polygons, *, quick: bool) -> dict[str, Any]:
    """Check that all agree on random and on hard points, then time them in turn."""
    count, rounds = (100_000, 3) if quick else (1_000_000, 5)
    exact = exactness(polygons, 100_000 if quick else 1_000_000)
    require_exact(exact)
    x, y = random_points(polygons, count)
    points, few, bounds = shapely.points(x, y), count // SLOWER, shapely.bounds(polygons)
    shapely.prepare(polygons)
    tree, built = shapely.STRtree(polygons), cpu_seconds({GRID: lambda: grid_of(polygons)}, rounds=3)[GRID]
    grid = grid_of(polygons)
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        GRID: lambda: find_in_grid(grid, x, y),
        TREE_OF_POLYGONS: lambda: by_tree_of_polygons(tree, points[:few]),
        TREE_OF_POINTS: lambda: by_tree_of_points(polygons, points),
        SORTED: lambda: by_sorted_coordinates(polygons, bounds, x, y),
    }
    found = ways[GRID]()
    for way in (TREE_OF_POLYGONS, TREE_OF_POINTS, SORTED):
        answer = ways[way]()
        assert np.array_equal(found[: len(answer)], answer), f"the grid and shapely's {way} differ"
    timings = cpu_seconds(ways, rounds=rounds)
    timings[TREE_OF_POLYGONS] = Timing(tuple(s * SLOWER for s in timings[TREE_OF_POLYGONS].seconds))
    against = {way: ratios(timings, way)[GRID] for way in ways if way != GRID}
    fastest = min(against, key=lambda way: timings[way].median_s)
    return {
        "work": name,
        "polygons": len(polygons),
        "vertices": len(grid.vertex),
        "points": count,
        "grid_build_s": built.median_s,
        "grid_bytes": sum(array.nbytes for array in grid),
        "points_per_s": count / timings[GRID].median_s,
        "shapely_points_per_s": {way: count / timings[way].median_s for way in against},
        "ratio_to_shapely": against[TREE_OF_POLYGONS]["median"],
        "ratio_lowest_highest": [against[TREE_OF_POLYGONS]["low"], against[TREE_OF_POLYGONS]["high"]],
        "ratio_to_fastest_shapely": against[fastest]["median"],
        "fastest_shapely": fastest,
        "ratios": against,
        "exactness": exact,
        "same": True,
    }


def random_points(polygons: Polygons, count: int) -> tuple[Floats, Floats]:
    """Anywhere in the bounds of the polygons."""
    west, south, east, north = shapely.total_bounds(polygons)
    x, y = np.random.default_rng(0).uniform([west, south], [east, north], (count, 2)).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def drawn_finely(areas: int) -> Polygons:
    """The areas of a random city, with as many vertices as a real one has."""
    polygons: Polygons = random_city(0, neighborhoods=areas, events=1).neighborhoods.geometry.to_numpy()
    made: Polygons = shapely.segmentize(polygons, shapely.length(polygons).sum() / VERTICES)
    return made


def cities(*, quick: bool) -> dict[str, Polygons]:
    """A random city as finely drawn as a real one, and real ones where HEWS_REAL_DATA names their folder."""
    folder = real_data()
    made: dict[str, Polygons] = {"random, 278 areas": drawn_finely(278)}
    if folder:
        made["Baltimore, 278 areas"] = load_polygons(folder, 278).geometry.to_numpy()
    if folder and not quick:
        made["Baltimore, 55 areas"] = load_polygons(folder, 55).geometry.to_numpy()
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
    """One line per city and way of shapely."""
    print("one core, CPU seconds; every way gives each point to the same polygon")
    print(f"{'work':<22}{'vertices':>9}{'build ms':>10}  {'way':<46}{'M points/s':>11}  grid faster by")
    for row in rows:
        about = f"{row['work']:<22}{row['vertices']:>9,}{row['grid_build_s'] * 1e3:>10.0f}"
        print(f"{about}  {GRID:<46}{row['points_per_s'] / 1e6:>11.2f}")
        for way, ratio in row["ratios"].items():
            rate = row["shapely_points_per_s"][way] / 1e6
            faster = f"{ratio['median']:,.1f} [{ratio['low']:,.1f}, {ratio['high']:,.1f}]"
            print(f"{'':<41}  {'shapely: ' + way:<46}{rate:>11.2f}  {faster}")
    checked = sum(kind["points"] for row in rows for kind in row["exactness"].values())
    print(f"the same as shapely for {checked:,} random and hard points")


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
    elif not flags.quick:
        from benchmarks.growth.pip import growth

        result["growth"] = growth()
    if flags.json or on_device:
        print(json.dumps(result, indent=2))
    else:
        print_table(rows)
    if not flags.quick:
        save("pip-cuda" if on_device else "pip", result)


def save(name: str, result: dict[str, Any]) -> None:
    """The dated JSON file, and the curves if they were measured."""
    path = save_result(name, result)
    print(f"saved {path}", file=sys.stderr)
    if "growth" in result:
        from benchmarks.growth.pip import TITLE
        from benchmarks.growth.plot import save_curves

        curves = path.with_name(path.stem.replace("pip-", "pip-growth-") + ".svg")
        print(f"saved {save_curves(result['growth'], TITLE, curves)}", file=sys.stderr)


if __name__ == "__main__":
    main()
