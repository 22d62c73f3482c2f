"""Polygons and points that are hard to place, made with NumPy alone and from sums, products and roots alone.

So they have the same bits on any machine, and a GPU can be checked where there is no shapely.

Shapes: V vertices, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hews_gpu.arrays import Float64, Int64

Rings = tuple[Float64, Int64, Int64]
"""float64[V, 2] vertices ring after ring, int64[rings + 1] where each starts, int64[rings] its polygon."""

CITY = np.array([-76.71, 39.20])


def patchwork(rows: int, columns: int, per_side: int, *, seed: int = 0, most: int | None = None) -> Rings:
    """Crooked quadrangles on a lattice of one degree, each side shared and bent at `per_side` places.

    Every seventh has a hole that is a polygon of its own; of all, the first `most` are kept.
    """
    random = np.random.default_rng(seed)
    row, column = np.mgrid[0 : rows + 1, 0 : columns + 1]
    step = np.array([1 / columns, 1 / rows])
    corner = np.stack([column, row], axis=-1) * step + random.uniform(-0.3, 0.3, (rows + 1, columns + 1, 2)) * step
    share = np.arange(1, per_side + 1)[:, None] / (per_side + 1)
    bend = step * 0.3 / (per_side + 1)

    def bent(a: Float64, b: Float64) -> Float64:
        return a + share * (b - a) + random.uniform(-1, 1, (per_side, 2)) * bend

    east = [[bent(corner[r, c], corner[r, c + 1]) for c in range(columns)] for r in range(rows + 1)]
    north = [[bent(corner[r, c], corner[r + 1, c]) for c in range(columns + 1)] for r in range(rows)]
    rings: list[tuple[int, Float64]] = []
    polygon = 0
    for r in range(rows):
        for c in range(columns):
            sides = [
                *(corner[r, c][None], east[r][c], corner[r, c + 1][None], north[r][c + 1], corner[r + 1, c + 1][None]),
                *(east[r + 1][c][::-1], corner[r + 1, c][None], north[r][c][::-1]),
            ]
            rings.append((polygon, np.concatenate(sides)))
            if (r * columns + c) % 7 == 3:
                middle = (corner[r, c] + corner[r + 1, c + 1] + corner[r, c + 1] + corner[r + 1, c]) / 4
                hole = middle + np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * step * 0.05
                rings += [(polygon, hole), (polygon + 1, hole)]
                polygon += 1
            polygon += 1
    return joined([(n, ring + CITY) for n, ring in rings if most is None or n < most])


def joined(rings: Sequence[tuple[int, Float64]]) -> Rings:
    """Close rings, each with the number of its polygon, and put them one after another."""
    closed = [np.concatenate([ring, ring[:1]]) for _, ring in rings]
    starts = np.cumsum([0, *(len(ring) for ring in closed)])
    return np.concatenate(closed), starts.astype(np.int64), np.array([polygon for polygon, _ in rings], np.int64)


def random_points(vertices: Float64, count: int, seed: int = 0) -> tuple[Float64, Float64]:
    """Return points anywhere in the bounds of the polygons' vertices [V, 2]."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    x, y = np.random.default_rng(seed).uniform(low, high, (count, 2)).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def points_near(rings: Rings, seed: int = 0) -> tuple[Float64, Float64]:
    """(x[P], y[P]): anywhere, corners, middles of edges and beside them, level with corners, lattices, no numbers."""
    random, corners = np.random.default_rng(seed), rings[0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = (high - low) * 0.05
    anywhere = random.uniform(low - margin, high + margin, (1500, 2))
    picked = random.integers(0, len(corners) - 1, 400)
    middle = (corners[picked] + corners[picked + 1]) / 2
    level = np.stack([anywhere[:400, 0], corners[picked, 1]], axis=1)
    above = np.stack([corners[picked, 0], anywhere[:400, 1]], axis=1)
    exact = np.concatenate([corners[:600], middle, level, above])
    nudged = exact + random.integers(-2, 3, exact.shape) * np.spacing(np.abs(exact))
    lattice = [np.rint(anywhere * scale) / scale for scale in (1e3, 1e4)]
    strange = np.array([[np.nan, 39.2], [-76.7, np.nan], [np.inf, 39.2], [-np.inf, 39.2], [-76.7, np.inf], [1e300, 0]])
    xy = np.concatenate([anywhere, exact, nudged, *lattice, strange, [low, high]])
    return np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1])
