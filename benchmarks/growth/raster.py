"""How the time of drawing grows with windows, incidents of a window, polygons and the size of a map.

Windows are drawn into a buffer of a quarter of all of them at most; the other series into one reused batch of 28.5 MB,
as training does, or of 64 maps where these are larger, so that there is work for all threads.
Curves show the fastest of the rounds: a turn takes a millisecond, mostly waiting for a core where a machine is busy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs.random_city import random_city
from benchmarks.inputs.windows import WindowedCity
from benchmarks.limits.copying import measure
from hews_gpu.config import MapConfig
from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["INCIDENTS", "MAP_SIZES", "POLYGONS", "TITLE", "WINDOWS", "growth"]

TITLE = "Reference maps, two threads, fastest of 15 rounds"
WINDOWS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 29_952)
INCIDENTS = (1, 3, 10, 30, 100, 300, 1000)
POLYGONS = (10, 30, 100, 300, 1000)
MAP_SIZES = ((54, 44), (108, 88), (216, 172), (432, 344), (864, 688))
"""Rows and columns: whole numbers of eight bytes, so that the floor copies words."""
BATCH_BYTES = 256 * 216 * 172 * 3
FEWEST = 64
TURNS = 4
"""Batches drawn per round."""
ROUNDS = 15
MICRO = 1e6


def growth(
    work: WindowedCity,
    *,
    windows: tuple[int, ...] = WINDOWS,
    incidents: tuple[int, ...] = INCIDENTS,
    polygons: tuple[int, ...] = POLYGONS,
    map_sizes: tuple[tuple[int, int], ...] = MAP_SIZES,
) -> list[dict[str, Any]]:
    """One series per question: `x`, `label`, and rows of x, ours and the floor."""
    rasterizer = work.rasterizer()
    return [
        _series("windows", "seconds", [_windows(rasterizer, work, n) for n in windows]),
        _series("incidents per window", "microseconds per map", [_incidents(rasterizer, n) for n in incidents]),
        _series("polygons", "microseconds per map", [_polygons(n, work) for n in polygons]),
        _series("rows of the map", "microseconds per map", [_map_size(work, *size) for size in map_sizes]),
    ]


def _series(x: str, y: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"x": x, "y": y, "rows": rows}


def _row(x: int, figures: dict[str, Any], *, per_map: bool = True) -> dict[str, Any]:
    scale = MICRO / figures["maps"] if per_map else 1.0
    ours, floor = figures["fastest_seconds"] * scale, figures["fastest_copy_seconds"] * scale
    return {"x": x, "ours": ours, "floor": floor, "share_of_copy_floor": figures["share_of_copy_floor"]}


def _windows(rasterizer: Rasterizer, work: WindowedCity, windows: int) -> dict[str, Any]:
    pairs = work.pairs[:windows]
    figures = measure(rasterizer, pairs, batch=min(len(pairs), max(256, len(work.pairs) // 4)), rounds=ROUNDS)
    return _row(figures["maps"], figures, per_map=False)


def _batch(rasterizer: Rasterizer) -> int:
    """As many maps as fit, or the fewest."""
    return max(FEWEST, BATCH_BYTES // int(np.prod(rasterizer.shape)))


def _random_windows(rasterizer: Rasterizer, incidents: int) -> NDArray[np.int64]:
    """Windows of so many incidents anywhere in the table."""
    first = np.random.default_rng(0).integers(0, rasterizer.events - incidents, TURNS * _batch(rasterizer))
    return np.stack([first, first + incidents], axis=1).astype(np.int64)


def _incidents(rasterizer: Rasterizer, incidents: int) -> dict[str, Any]:
    pairs = _random_windows(rasterizer, incidents)
    return _row(incidents, measure(rasterizer, pairs, batch=_batch(rasterizer), rounds=ROUNDS))


def _polygons(polygons: int, work: WindowedCity) -> dict[str, Any]:
    rasterizer = random_city(0, neighborhoods=polygons, events=20_000).reference(MapConfig())
    pairs = _random_windows(rasterizer, round(work.mean_incidents))
    return _row(polygons, measure(rasterizer, pairs, batch=_batch(rasterizer), rounds=ROUNDS))


def _map_size(work: WindowedCity, height: int, width: int) -> dict[str, Any]:
    rasterizer = work.rasterizer(config=MapConfig(height=height, width=width))
    pairs = np.resize(work.pairs, (TURNS * _batch(rasterizer), 2))
    return _row(height, measure(rasterizer, pairs, batch=_batch(rasterizer), rounds=ROUNDS))
