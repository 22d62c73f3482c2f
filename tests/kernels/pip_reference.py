"""The reference for points in polygons: every edge of every polygon, fractions where float64 leaves a doubt.

Slow, obvious, and sharing no code with the grid: a ray goes from the point along +x and counts the edges it crosses.

Shapes: P points, E edges of one polygon.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_by_rays"]

CHUNK = 2**22
"""Pairs of a point and an edge looked at together: 32 MiB per array."""
DOUBT = 2.0**-45
"""Far above the rounding error of a determinant relative to its two products."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def find_by_rays(vertex: Floats, ring_start: Ints, polygon_of_ring: Ints, x: Floats, y: Floats) -> NDArray[np.int32]:
    """int32[P]: the first polygon that covers each point, edges included, or -1; arguments as of `build_tables`."""
    found = np.full(len(x), -1, np.int32)
    for polygon in np.unique(polygon_of_ring):
        rings = np.flatnonzero(polygon_of_ring == polygon)
        a = np.concatenate([vertex[ring_start[r] : ring_start[r + 1] - 1] for r in rings])  # [E, 2]
        b = np.concatenate([vertex[ring_start[r] + 1 : ring_start[r + 1]] for r in rings])
        low, high = a.min(axis=0), a.max(axis=0)
        near = (found < 0) & (low[0] <= x) & (x <= high[0]) & (low[1] <= y) & (y <= high[1])
        points = np.flatnonzero(near)
        for part in np.array_split(points, len(points) * len(a) // CHUNK + 1):
            found[part[_is_covered(a, b, x[part], y[part])]] = polygon
    return found


def _is_covered(a: Floats, b: Floats, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """bool[P]: whether the closed rings of edges a [E, 2] to b [E, 2] cover each point."""
    ax, ay, bx, by = a[:, 0], a[:, 1], b[:, 0], b[:, 1]
    px, py = x[:, None], y[:, None]
    turn = _turn(ax, ay, bx, by, px, py)  # [P, E]
    level = (np.minimum(ay, by) <= py) & (py <= np.maximum(ay, by))
    upright = (np.minimum(ax, bx) <= px) & (px <= np.maximum(ax, bx))
    on_edge = (turn == 0) & level & upright
    upward = (ay <= py) & (py < by) & (turn > 0)
    downward = (by <= py) & (py < ay) & (turn < 0)
    covered: NDArray[np.bool_] = on_edge.any(axis=1) | ((upward | downward).sum(axis=1) % 2 == 1)
    return covered


def _turn(ax: Floats, ay: Floats, bx: Floats, by: Floats, px: Floats, py: Floats) -> NDArray[np.int8]:
    """int8[P, E]: 1 where the point lies to the left of its edge, -1 to the right, 0 on its line; exact."""
    one, other = (bx - ax) * (py - ay), (by - ay) * (px - ax)
    turn = np.sign(one - other).astype(np.int8)
    for p, e in np.argwhere(np.abs(one - other) <= DOUBT * (np.abs(one) + np.abs(other))):
        exact = [Fraction(float(value)) for value in (ax[e], ay[e], bx[e], by[e], px[p, 0], py[p, 0])]
        turn[p, e] = _exact_turn(*exact)
    return turn


def _exact_turn(ax: Fraction, ay: Fraction, bx: Fraction, by: Fraction, px: Fraction, py: Fraction) -> int:
    area = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    return (area > 0) - (area < 0)
