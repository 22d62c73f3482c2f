"""Points per second on a GPU: as many polygons and vertices as a real city's 278 neighborhoods, made with NumPy alone.

Sameness with the CPU's search is checked on points anywhere and on those that are hard to place; times are events on
the device, of the search alone. The device's part of the limit is what reading a point (16 bytes) and writing its
answer (4) would take at the bandwidth of copying, measured in the same run.

P points.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import ratios, time_in_turn
from benchmarks.gpu.raster import Gpu, Machine, Simulated
from benchmarks.inputs.polygons import Rings, patchwork, points_near, random_points
from hews_gpu.kernels import pip_cuda
from hews_gpu.kernels.pip_tables import build_tables
from hews_gpu.kernels.pip_walk import find_all

POINTS, CHECKED = 100_000_000, 1_000_000
POINT_BYTES = 20


def city() -> Rings:
    """Return 278 polygons of 129,000 vertices in all; sides are shared, some polygons lie in a hole of another."""
    return patchwork(16, 16, 130, most=278)


def measure(
    machine: Machine, rings: Rings, points: int, *, checked: int, rounds: int, every: int = 1
) -> dict[str, Any]:
    """Check a part against the CPU, then time all, in turn with copying as many bytes.

    Args:
        machine: what searches.
        rings: the polygons.
        points: how many.
        checked: of them, beside one in `every` of those that are hard to place.
        rounds: of timing.
        every: see `checked`.

    Raises:
        AssertionError: GPU and CPU differ.
    """
    tables = build_tables(*rings)
    on_device = type(tables)(*(machine.to_device(array) for array in tables))

    def place(x: Any, y: Any, out: Any) -> None:
        machine.launch(pip_cuda.find_all, pip_cuda.blocks_for(len(out)), pip_cuda.THREADS, (on_device, x, y, out))

    x, y = random_points(rings[0], points)
    hard_x, hard_y = (column[::every] for column in points_near(rings))
    some_x, some_y = np.concatenate([x[:checked], hard_x]), np.concatenate([y[:checked], hard_y])
    found = machine.to_device(np.full(len(some_x), 7, np.int32))
    place(machine.to_device(some_x), machine.to_device(some_y), found)
    expected = np.full(len(some_x), 7, np.int32)
    find_all(tables, some_x, some_y, expected)
    assert np.array_equal(machine.to_host(found), expected), "GPU and CPU differ"
    on_x, on_y = machine.to_device(x), machine.to_device(y)
    out = machine.to_device(np.zeros(points, np.int32))
    copied = [machine.to_device(np.zeros(points * POINT_BYTES // 16, np.float64)) for _ in range(2)]
    works = {"place": lambda: place(on_x, on_y, out), "copy": lambda: machine.copy(*copied)}
    timings = time_in_turn(works, rounds=rounds, clock=lambda work: machine.device_s(work, 3))
    placed, share = timings["place"], ratios(timings, "copy")["place"]
    return {
        "polygons": int(rings[2].max()) + 1,
        "vertices": len(rings[0]),
        "points": points,
        "same_as_cpu": True,
        "checked_points": len(expected),
        "device_ms": placed.median_s * 1e3,
        "points_per_s": points / placed.median_s,
        "points_per_s_lowest_highest": [points / max(placed.seconds), points / min(placed.seconds)],
        "share_of_copy": share["median"],
        "share_lowest_highest": [share["low"], share["high"]],
    }


def run(*, tiny: bool, rounds: int = 9) -> list[dict[str, Any]]:
    """Measure the city, or a few polygons, if tiny."""
    if tiny:
        row = measure(Simulated(), patchwork(3, 3, 2), 20, checked=10, rounds=3, every=120)
    else:
        row = measure(Gpu(), city(), POINTS, checked=CHECKED, rounds=rounds)
    return [{"work": f"point in polygon, {row['polygons']} areas", **row}]
