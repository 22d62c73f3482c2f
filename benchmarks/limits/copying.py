"""The limit of whoever writes maps: the time that as many threads take to write the same bytes, eight at a time.

The source is one map, which stays in a core's cache, and the target the very buffer that is drawn into. It was written
before: first touch costs more than drawing. A city's maps are some gigabytes, so all windows are drawn into a buffer
of a quarter of them, four times over: far larger than any cache, as all of them at once would be, and held by machines
of 4 GB. B maps of a buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import ratios, time_in_turn
from hews_gpu.kernels._shim import prange, threads
from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["copy_floor", "measure"]

Pairs = NDArray[np.int64]


@threads
def copy_floor(source: NDArray[np.uint64], target: NDArray[np.uint64]) -> None:
    """Write the one-map source [words] into every map of target [B, words]."""
    for b in prange(target.shape[0]):
        for i in range(source.shape[0]):
            target[b, i] = source[i]


def measure(rasterizer: Rasterizer, pairs: Pairs, *, batch: int, rounds: int) -> dict[str, Any]:
    """Drawing all `pairs` in batches of `batch` into one buffer, in turn with copying as many maps into it."""
    out = np.ones((batch, *rasterizer.shape), np.uint8)
    words = out.reshape(batch, -1).view(np.uint64)
    source = words[0].copy()
    starts = range(0, len(pairs) - batch + 1, batch)

    def draw() -> None:
        for begin in starts:
            rasterizer.fill(pairs[begin : begin + batch], out)

    def copy() -> None:
        for _ in starts:
            copy_floor(source, words)

    timings = time_in_turn({"draw": draw, "copy": copy}, rounds=rounds)
    maps = len(starts) * batch
    share = ratios(timings, "copy")["draw"]
    return {
        "maps": maps,
        "batch": batch,
        "seconds": timings["draw"].median_s,
        "copy_seconds": timings["copy"].median_s,
        "fastest_seconds": min(timings["draw"].seconds),
        "fastest_copy_seconds": min(timings["copy"].seconds),
        "maps_per_s": maps / timings["draw"].median_s,
        "copies_per_s": maps / timings["copy"].median_s,
        "gib_per_s": maps * words.shape[1] * 8 / timings["draw"].median_s / 2**30,
        "share_of_copy_floor": share["median"],
        "share_lowest_highest": [share["low"], share["high"]],
    }
