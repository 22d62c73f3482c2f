"""Polygons on which searches go wrong; the hashes of the right answers are kept in tests/kernels/golden_pip.json.

Made from sums, products and roots alone, so that they have the same bits on any machine.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.inputs.polygons import CITY, Rings, joined, patchwork
from hews_gpu.arrays import Float64


def _direction(t: Float64) -> Float64:
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
    return joined(rings)


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
    return joined([(n, np.array(shape)) for n, shape in enumerate(shapes)])


def _tiny() -> Rings:
    """Two triangles in a box of 4 x 4 float64 steps."""
    (x, y), (dx, dy) = CITY, 4 * np.spacing(np.abs(CITY))
    shapes = [[(x, y), (x + dx, y), (x + dx, y + dy)], [(x, y), (x + dx, y + dy), (x, y + dy)]]
    return joined([(n, np.array(shape)) for n, shape in enumerate(shapes)])


CASES: dict[str, Callable[[], Rings]] = {
    "patchwork": lambda: patchwork(5, 6, 9),
    "plain lattice": lambda: patchwork(12, 12, 0, seed=2),
    "overlapping stars": _stars,
    "slivers": _slivers,
    "tiny": _tiny,
}
