"""How the time of finding each point's polygon grows with points and with polygons, on one core, in CPU seconds."""

from __future__ import annotations

from typing import Any

import shapely

from benchmarks.pip import Polygons, by_sorted_coordinates, cpu_seconds, drawn_finely, random_points
from hews_gpu.data.geometry.areas import find_in_grid, grid_of

__all__ = ["POINTS", "POLYGONS", "TITLE", "growth"]

TITLE = "Point in polygon, one core"
POINTS = (1_000, 10_000, 100_000, 1_000_000)
POLYGONS = (10, 30, 100, 300, 1000)
AREAS = 278
FEW = 100_000
ROUNDS = 3
NANO = 1e9


def growth(*, points: tuple[int, ...] = POINTS, polygons: tuple[int, ...] = POLYGONS) -> list[dict[str, Any]]:
    """Two series: over points in 278 polygons, over polygons of 129,000 vertices in all."""
    city = drawn_finely(AREAS)
    return [
        {"x": "points", "y": "nanoseconds per point", "rows": [_row(count, city, count) for count in points]},
        {"x": "polygons", "y": "nanoseconds per point", "rows": [_row(n, drawn_finely(n), FEW) for n in polygons]},
    ]


def _row(x: int, polygons: Polygons, count: int) -> dict[str, Any]:
    east, north = random_points(polygons, count)
    grid, bounds = grid_of(polygons), shapely.bounds(polygons)
    shapely.prepare(polygons)
    ways = {
        "ours": lambda: find_in_grid(grid, east, north),
        "shapely": lambda: by_sorted_coordinates(polygons, bounds, east, north),
    }
    timings = cpu_seconds(ways, rounds=ROUNDS)
    return {"x": x, **{name: timing.median_s / count * NANO for name, timing in timings.items()}}
