"""How a CUDA block starts a tile: which incidents its window has, where one lies, the base and the table where near.

Indices are unsigned and of 32 bits, as in `raster_cuda`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hews_gpu.kernels._shim_cuda import device, load16

__all__ = ["copy_base", "copy_table", "place_of", "variant_of", "window_of"]

i32, u32, u64 = np.int32, np.uint32, np.uint64


@device
def variant_of(variants: Any, b: Any, sizes: Any) -> Any:
    """Which variant window b is drawn as: one that there is."""
    return min(u32(variants[b]), u32(sizes.variants - i32(1)))


@device
def window_of(pairs: Any, at: Any, variants: Any, b: Any, sizes: Any, bad: Any) -> Any:
    """First and last of pair `at`, which is window b's; a negative number is a large one when it is unsigned."""
    first, last = u64(pairs[u32(2 * at)]), u64(pairs[u32(2 * at + 1)])
    if first > last or last > u64(sizes.events) or u32(variants[b]) >= u32(sizes.variants):
        bad[0] = i32(b + u32(1))
        first = last = u64(0)
    return i32(first), i32(last)


@device
def copy_table(tid: Any, threads: Any, table: Any, codes: Any) -> None:
    """The table where it is near."""
    value = tid
    while value < table.shape[0]:
        codes[value] = table[value]
        value = u32(value + threads)


@device
def place_of(places: Any, e: Any) -> Any:
    """x, y, color, neighborhood of an incident: 16 bytes."""
    low, high = load16(places, np.int64(2 * e))
    return i32(u32(low)), i32(u32(low >> u64(32))), u32(high), i32(u32(high >> u64(32)))


@device
def copy_base(base: Any, first_run: Any, tid: Any, threads: Any, begin: Any, end: Any, tile: Any) -> None:
    """The tile of a window without incidents."""
    run, runs = tid, u32((i32(end - begin) + 15) >> 4)
    first = u32(first_run + u32(begin >> 4))
    while run < runs:
        low, high = load16(base, np.int64(2 * u32(first + run)))
        tile[u32(2 * run)] = low
        tile[u32(2 * run + 1)] = high
        run = u32(run + threads)
