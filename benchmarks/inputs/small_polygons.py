"""Polygons and points that are hard to place, made with NumPy alone and from sums, products and roots alone.

So they have the same bits on any machine, and a GPU can be checked where there is no shapely. The hashes of the right
answers are kept in tests/kernels/golden_pip.json.

Shapes: V vertices, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["CASES", "Rings", "patchwork", "points_near", "random_points"]

Floats = NDArray[np.float64]
Rings = tuple[Floats, NDArray[np.int64], NDArray[np.int64]]
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

    def bent(a: Floats, b: Floats) -> Floats:
        return a + share * (b - a) + random.uniform(-1, 1, (per_side, 2)) * bend

    east = [[bent(corner[r, c], corner[r, c + 1]) for c in range(columns)] for r in range(rows + 1)]
    north = [[bent(corner[r, c], corner[r + 1, c]) for c in range(columns + 1)] for r in range(rows)]
    rings: list[tuple[int, Floats]] = []
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
    return _joined([(n, ring + CITY) for n, ring in rings if most is None or n < most])


def _joined(rings: Sequence[tuple[int, Floats]]) -> Rings:
    closed = [np.concatenate([ring, ring[:1]]) for _, ring in rings]
    starts = np.cumsum([0, *(len(ring) for ring in closed)])
    return np.concatenate(closed), starts.astype(np.int64), np.array([polygon for polygon, _ in rings], np.int64)


def _direction(t: Floats) -> Floats:
    """Points of the unit circle, from -180 to 180 degrees as t goes from -1 to 1, without a sine."""
    half = np.where(np.abs(t) <= 0.5, 2 * t, 0.5 / np.where(t == 0, 1.0, t))
    other = np.abs(t) > 0.5
    x, y = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    return np.stack([np.where(other, -x, x), y], axis=-1)


def _stars() -> Rings:
    """Spiked rings on top of one another."""
    random = np.random.default_rng(1)
    rings = []
    for polygon in range(9):
        t = np.sort(random.uniform(-1, 1, 24))
        radius = random.uniform(0.2, 1.0, 24)
        rings.append((polygon, _direction(t) * radius[:, None] + random.uniform(-1, 1, 2) + CITY))
    return _joined(rings)


def _slivers() -> Rings:
    """Needles, upright and level edges, a polygon one float64 step wide, corners on one another's edges."""
    x, y = CITY
    step = np.spacing(x)
    shapes = [
        [(x, y), (x + 1, y + 1e-9), (x + 1, y + 2e-9)],
        [(x, y), (x - step, y + 1), (x, y + 1)],
        [(x + 0.25, y + 0.25), (x + 0.5, y + 0.25), (x + 0.5, y + 0.75), (x + 0.25, y + 0.75)],
        [(x + 0.5, y + 0.25), (x + 0.75, y + 0.25), (x + 0.75, y + 0.5), (x + 0.5, y + 0.5)],
        [(x + 0.5, y + 0.5), (x + 0.75, y + 0.5), (x + 0.625, y + 0.75)],
        [(x + 0.1, y + 0.1), (x + 0.9, y + 0.1 + 1e-15), (x + 0.5, y + 0.9)],
    ]
    return _joined([(n, np.array(shape)) for n, shape in enumerate(shapes)])


def _tiny() -> Rings:
    """Two triangles in a box of 4 x 4 float64 steps."""
    (x, y), (dx, dy) = CITY, 4 * np.spacing(np.abs(CITY))
    shapes = [[(x, y), (x + dx, y), (x + dx, y + dy)], [(x, y), (x + dx, y + dy), (x, y + dy)]]
    return _joined([(n, np.array(shape)) for n, shape in enumerate(shapes)])


CASES: dict[str, Callable[[], Rings]] = {
    "patchwork": lambda: patchwork(5, 6, 9),
    "plain lattice": lambda: patchwork(12, 12, 0, seed=2),
    "overlapping stars": _stars,
    "slivers": _slivers,
    "tiny": _tiny,
}


def random_points(rings: Rings, count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Anywhere in the bounds of the polygons."""
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    x, y = np.random.default_rng(seed).uniform(low, high, (count, 2)).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def points_near(rings: Rings, seed: int = 0) -> tuple[Floats, Floats]:
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
