"""The kernel of the channels style that draws a disc per incident, for CUDA: sums without atomics.

Built as those of `raster_cuda`: a block composes a tile of one window's map in shared memory. Each warp reads steps of
the window, 32 incidents at a time; those whose disc reaches the tile are put on a list, which all warps then draw from.

    read: warp w takes steps w, w + warps, .. (a part of one where warps are more than steps), lane l an incident
    draw: warp w takes rows w, w + warps, .. of the map, lane l columns l, l + 32, ..

So each byte of the tile belongs to one thread, which adds to it what the listed discs leave there, at most 255. Sums
that stop at 255 of numbers that are not negative are the same in any order: the list may have any.

Integers only, as in `raster_cuda`. Shapes as in `kernels.plan_cuda`; B windows, T steps.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hews_gpu.kernels._shim_cuda import cuda, device, kernel, types
from hews_gpu.kernels.raster_cuda import LANES
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, saturated_sum
from hews_gpu.kernels.tile_readers import copy_base, copy_table, place_of, variant_of, window_of
from hews_gpu.kernels.tile_writers import Output, tile_writer

__all__ = ["discs_kernel"]

i32, u32 = np.int32, np.uint32


@cache
def discs_kernel(output: Output, side: int, threads: int, tile_bytes: int) -> Any:
    """The kernel for stamps of `side` pixels: static layers copied, discs of each step added in their channels."""
    warps, tile_words, value_type = threads // LANES, tile_bytes // 8, output.value_type
    list_words, table_size = 3 * threads, 256 if output.is_table else 1
    write = tile_writer(output, threads)

    def draw_discs(
        plan: Any,
        pairs: Any,  # int64 [2 * T * B]
        variants: Any,  # int32 [B]
        table: Any,  # uint8/uint16/uint32 [256], or [1]
        out: Any,
        sizes: Any,
        bad: Any,  # int32 [1] 1 + a window that made no sense
    ) -> None:
        tile = cuda.shared.array(tile_words, types.uint64)
        codes = cuda.shared.array(table_size, value_type)
        listed = cuda.shared.array(list_words, types.int32)
        count = cuda.shared.array(1, types.int32)
        tid, b = u32(cuda.threadIdx.x), u32(cuda.blockIdx.x)
        begin = i32(i32(cuda.blockIdx.y) * sizes.tile)
        end = min(i32(begin + sizes.tile), sizes.size)
        variant = variant_of(variants, b, sizes)
        copy_base(plan.base, u32(variant * u32(sizes.runs)), tid, u32(threads), begin, end, tile)
        copy_table(tid, u32(threads), table, codes)
        if tid == 0:
            count[0] = 0
        cuda.syncthreads()
        bytes_, events = tile.view(np.uint8), u32(variant * u32(sizes.events))
        share, part = _bits_of_share(sizes.side, warps), _part(begin, end, sizes)
        job, e, last, channel = i32(tid >> u32(5)), i32(0), i32(0), i32(0)
        is_open: Any = True
        while is_open:
            while e >= last and job < i32(sizes.side << share):
                step = u32(u32(b * u32(sizes.side)) + u32(job >> share))
                e, last = window_of(pairs, step, variants, b, sizes, bad)
                e = i32(e + i32(LANES * (job & i32((1 << share) - 1))))
                channel = i32((job >> share) * sizes.neighborhoods)
                job = i32(job + warps)
            mine = i32(e + i32(tid & u32(31)))
            if mine < last:
                x, y, group, _ = place_of(plan.places, u32(events + u32(mine)))
                if _reaches(x, y, side, part):
                    slot = u32(cuda.atomic.add(count, 0, 1))
                    listed[u32(3 * slot)] = x
                    listed[u32(3 * slot + 1)] = y
                    listed[u32(3 * slot + 2)] = i32(channel + i32(group))
            e = i32(e + i32(LANES << share))
            is_open = cuda.syncthreads_or(i32(e < last or job < i32(sizes.side << share))) != 0
            _add_discs(plan.stamp, side, tid, i32(warps), begin, end, part, sizes, listed, u32(count[0]), bytes_)
            cuda.syncthreads()
            if tid == 0:
                count[0] = 0
            cuda.syncthreads()
        write(tile, bytes_, codes, tid, b, begin, end, sizes, out)

    return kernel(draw_discs)


@device
def _bits_of_share(steps: Any, warps: Any) -> Any:
    """So many bits that 1 << bits warps can have each step: none are without work where steps are few."""
    bits = i32(0)
    while i32(steps << i32(bits + 1)) <= warps:
        bits = i32(bits + 1)
    return bits


@device
def _part(begin: Any, end: Any, sizes: Any) -> Any:
    """The rows of the map [first, end) that lie in the tile, or begin or end in it; and X."""
    row = u32(sizes.row)
    return i32(u32(begin) // row), i32(u32(u32(end) + row - u32(1)) // row), i32(row // u32(sizes.channels))


@device
def _reaches(x: Any, y: Any, side: Any, part: Any) -> Any:
    """Whether some pixel of the disc may lie in the tile."""
    top, left = i32((y >> FIXED_BITS) - (side >> 1)), i32((x >> FIXED_BITS) - (side >> 1))
    return top < part[1] and i32(top + side) > part[0] and left < part[2] and i32(left + side) > 0


@device
def _add_discs(
    stamps: Any,
    side: Any,
    tid: Any,
    warps: Any,
    begin: Any,
    end: Any,
    part: Any,
    sizes: Any,
    listed: Any,
    count: Any,
    bytes_: Any,
) -> None:
    """Add the listed discs, each thread to the pixels that are its own."""
    warp, lane = i32(tid >> u32(5)), i32(tid & u32(31))
    i = u32(0)
    while i < count:
        x, y, channel = listed[u32(3 * i)], listed[u32(3 * i + 1)], listed[u32(3 * i + 2)]
        top, left = i32((y >> FIXED_BITS) - (side >> 1)), i32((x >> FIXED_BITS) - (side >> 1))
        placement = i32((y & (FIXED_ONE - 1)) * FIXED_ONE + (x & (FIXED_ONE - 1)))
        low, high = max(top, part[0]), min(i32(top + side), part[1])
        row = i32(low + (i32(warp - low) & i32(warps - 1)))
        while row < high:
            stamp = i32((placement * side + (row - top)) * side)
            j = i32(i32(lane - left) & 31)
            while j < side:
                column = i32(left + j)
                at = i32(row * sizes.row + column * sizes.channels + channel - begin)
                if column >= 0 and column < part[2] and at >= 0 and at < i32(end - begin):
                    more = i32(stamps[u32(stamp + j)])
                    bytes_[u32(at)] = saturated_sum(i32(bytes_[u32(at)]), more)
                j = i32(j + LANES)
            row = i32(row + warps)
        i = u32(i + u32(1))
