"""Points per second: the compiled grid against shapely, on one core, after checking that all agree.

Times are CPU seconds of the one thread that works, not seconds on the clock: a busy machine then slows nobody's count,
save that its caches are shared. What is timed is the search; points as shapely objects and the polygons' own tree or
grid are made before, what must be made anew for other points (a tree over them, their order) within. Shapely is asked
in the three ways that its manual offers, and in the fastest one that we found: coordinates sorted by latitude, so that
each prepared polygon looks at those in its own rectangle only.

    python -m benchmarks.pip [--quick] [--json] [--device cuda]

A full run also measures how time grows with points and with polygons. P points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numba
import shapely

from benchmarks.common import finish, parse_flags, processor_s, ratios, real_data, time_in_turn
from benchmarks.inputs.polygons import Rings, patchwork, random_points
from hews_gpu.arrays import Float64, Int64
from hews_gpu.data.geometry.point_in_polygon import find_in_grid, grid_of

Polygons = NDArray[np.object_]
GRID, TREE_OF_POLYGONS, TREE_OF_POINTS = "grid", "tree of polygons", "tree of points, prepared polygons"
SORTED = "sorted coordinates, prepared polygons"
VERTICES = 129_000
"""Of the 278 neighborhoods of a real city."""
SLOWER = 10
"""The tree of polygons is asked for the first tenth of the points, and its time counted ten times."""
POINTS = (1_000, 10_000, 100_000, 1_000_000)
POLYGONS = (10, 30, 100, 300, 1000)
AREAS, FEW = 278, 100_000
"""The series of growth over points has so many polygons, the one over polygons so many points."""


def by_tree_of_polygons(tree: shapely.STRtree, points: Polygons) -> Int64:
    """Return int64[P]: the first polygon that covers each point, or -1."""
    point, polygon = tree.query(points, predicate="intersects")
    return _first(polygon, point, len(points))


def by_tree_of_points(polygons: Polygons, points: Polygons) -> Int64:
    """Ask the other way round, which lets shapely use what it prepared for each polygon."""
    polygon, point = shapely.STRtree(points).query(polygons, predicate="intersects")
    return _first(polygon, point, len(points))


def by_sorted_coordinates(polygons: Polygons, bounds: Float64, x: Float64, y: Float64) -> Int64:
    """Ask without points as objects: of those in a polygon's rectangle, the prepared polygon is asked at once."""
    order = np.argsort(y)
    x, y = x[order], y[order]
    found = np.full(len(x), -1)
    for n in range(len(polygons))[::-1]:  # backwards, so that the first one stays
        begin, end = np.searchsorted(y, bounds[n, 1], "left"), np.searchsorted(y, bounds[n, 3], "right")
        near = begin + np.flatnonzero((x[begin:end] >= bounds[n, 0]) & (x[begin:end] <= bounds[n, 2]))
        found[order[near[shapely.intersects_xy(polygons[n], x[near], y[near])]]] = n
    return found


def _first(polygon: Int64, point: Int64, points: int) -> Int64:
    found = np.full(points, np.iinfo(np.int64).max)
    np.minimum.at(found, point, polygon)
    return np.where(found == np.iinfo(np.int64).max, -1, found)


def hard_points(polygons: Polygons, count: int) -> dict[str, tuple[Float64, Float64]]:
    """Return points on which searches go wrong: level with vertices, on them, on a lattice as rounded ones are."""
    x, y = random_points(shapely.get_coordinates(polygons), count)
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
    """Count points of each kind, those in several polygons (on edges), and those where grid and shapely differ."""
    grid, bounds = grid_of(polygons), shapely.bounds(polygons)
    shapely.prepare(polygons)
    counts = {}
    for kind, (x, y) in hard_points(polygons, count).items():
        expected = by_sorted_coordinates(polygons, bounds, x, y)
        several = expected != len(polygons) - 1 - by_sorted_coordinates(polygons[::-1], bounds[::-1], x, y)
        different = int((find_in_grid(grid, x, y) != expected).sum())
        counts[kind] = {"points": len(x), "in_several": int((several & (expected >= 0)).sum()), "different": different}
    return counts


def require_exact(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Raise AssertionError where a point was given to another polygon than shapely's first."""
    for kind, row in counts.items():
        assert row["different"] == 0, (
            f"{kind}: grid and shapely differ for {row['different']} of {row['points']} points"
        )


def bench_polygons(name: str, polygons: Polygons, *, quick: bool) -> dict[str, Any]:
    """Check that all agree on random and on hard points, then time them in turn."""
    count, rounds = (100_000, 3) if quick else (1_000_000, 5)
    exact = exactness(polygons, count)
    require_exact(exact)
    x, y = random_points(shapely.get_coordinates(polygons), count)
    points, few, bounds = shapely.points(x, y), count // SLOWER, shapely.bounds(polygons)
    shapely.prepare(polygons)
    tree, grid = shapely.STRtree(polygons), grid_of(polygons)
    built = time_in_turn({GRID: lambda: grid_of(polygons)}, rounds=3, clock=processor_s)[GRID]
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        GRID: lambda: find_in_grid(grid, x, y),
        TREE_OF_POLYGONS: lambda: by_tree_of_polygons(tree, points[:few]),
        TREE_OF_POINTS: lambda: by_tree_of_points(polygons, points),
        SORTED: lambda: by_sorted_coordinates(polygons, bounds, x, y),
    }
    timings = time_in_turn(ways, rounds=rounds, clock=processor_s, same=_agree)
    timings[TREE_OF_POLYGONS] = timings[TREE_OF_POLYGONS].per(1 / SLOWER)
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


def _agree(found: Int64, other: Int64) -> bool:
    """Return whether `other` is the same for as many points as it holds."""
    return np.array_equal(found[: len(other)], other)


def growth(*, points: tuple[int, ...] = POINTS, polygons: tuple[int, ...] = POLYGONS) -> list[dict[str, Any]]:
    """Measure two series: over points in 278 polygons, and over polygons of as many vertices in all."""
    city = drawn_finely(AREAS)
    return [
        {"x": "points", "y": "nanoseconds per point", "rows": [_point(n, city, n) for n in points]},
        {"x": "polygons", "y": "nanoseconds per point", "rows": [_point(n, drawn_finely(n), FEW) for n in polygons]},
    ]


def _point(x: int, polygons: Polygons, count: int) -> dict[str, Any]:
    east, north = random_points(shapely.get_coordinates(polygons), count)
    shapely.prepare(polygons)
    ways: dict[str, Callable[[], NDArray[Any]]] = {
        "ours": partial(find_in_grid, grid_of(polygons), east, north),
        "shapely": partial(by_sorted_coordinates, polygons, shapely.bounds(polygons), east, north),
    }
    timings = time_in_turn(ways, rounds=3, clock=processor_s, same=np.array_equal)
    return {"x": x, **{name: timing.median_s / count * 1e9 for name, timing in timings.items()}}


def drawn_finely(areas: int) -> Polygons:
    """Return so many areas with as many vertices in all as a real city has."""
    side = ceil(sqrt(areas))
    plain = shapes_of(patchwork(side, side, 0, most=areas))
    fine: Polygons = shapely.segmentize(plain, shapely.length(plain).sum() / VERTICES)
    return fine


def shapes_of(rings: Rings) -> Polygons:
    """Return the polygons as objects of shapely; of each, the first ring is the shell and others are holes."""
    vertex, start, polygon = rings
    loops = [shapely.linearrings(vertex[i:j]) for i, j in pairwise(start)]
    own = [[loops[ring] for ring in np.flatnonzero(polygon == n)] for n in range(int(polygon.max()) + 1)]
    return np.array([shapely.polygons(shell, holes or None) for shell, *holes in own])


def cities(*, quick: bool) -> dict[str, Polygons]:
    """Return areas as finely drawn as a real city's, and real ones where HEWS_REAL_DATA names their folder."""
    made = {f"patchwork, {AREAS} areas": drawn_finely(AREAS)}
    data = None if quick else real_data()
    if data:
        from benchmarks.inputs.cities import load_polygons

        made |= {f"Baltimore, {n} areas": load_polygons(data, n).geometry.to_numpy() for n in (278, 55)}
    return made


def show(result: dict[str, Any]) -> None:
    """Print one line per city and way of shapely."""
    rows = result["rows"]
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
    flags = parse_flags(__doc__ or "", devices=("cpu", "cuda"))
    if flags.device == "cuda":
        from benchmarks.gpu import pip

        finish("pip-cuda", {"device": "cuda", "rows": pip.run(tiny=False, rounds=3 if flags.quick else 9)}, flags)
        return
    numba.set_num_threads(1)
    rows = [bench_polygons(name, polygons, quick=flags.quick) for name, polygons in cities(quick=flags.quick).items()]
    result = {"device": "cpu", "threads": 1, "clock": "CPU seconds", "rows": rows}
    finish("pip", result if flags.quick else {**result, "growth": growth()}, flags, show)


if __name__ == "__main__":
    main()
