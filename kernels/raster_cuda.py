"""Raster kernels for CUDA: a block composes a tile of one window's map in shared memory, then writes it out once.

A map is a run of bytes, cut into tiles of at most `TILE_BYTES`; block (b, i) owns tile i of window b. Blocks that run
side by side hold the same tile of neighbouring windows, so that the base stays in the first cache. Nothing here needs
an atomic for the sake of order: every byte of a tile belongs to one thread while discs are drawn.

    tile, 16 bytes a run      compose: thread t takes runs t, t + threads, ..       16-byte loads of the base
    +----+----+----+----+     draw: warp w takes rows w, w + warps, .. of the map,
    | r0 | r1 | r2 | .. |           lane l its bytes l, l + 32, ..: the same thread for every disc, in event order
    +----+----+----+----+     write: thread t takes 16 bytes of output, t + threads, ..     16-byte stores

Discs are drawn by rows because a row of a disc (27 bytes) then keeps a whole warp busy; were every thread to look
after its own run alone, a warp would blend 16 bytes for the two lanes that a disc touches. Which incidents reach the
tile is found by all threads at once and listed in event order: a bit for each, and the bits before it are counted.

Integers only. Shapes as in `kernels.plan_cuda`; B windows, T steps. Callers have checked every argument.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from hews_gpu.kernels._shim_cuda import cuda, device, kernel, load16, popcount, store16, types
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend, saturated_increment

__all__ = ["THREADS", "TILE_BYTES", "Output", "channels_kernel", "reference_kernel"]

THREADS = 256
"""Threads of a block: eight blocks fill a multiprocessor."""
TILE_BYTES = 16_384
"""Shared memory for a tile: eight of them and their lists stay within what one multiprocessor has since sm_80."""
LANES = 32


class Output(NamedTuple):
    """What is written: one kernel is compiled for each."""

    item: int = 1
    """Bytes of a value: 1, 2 or 4."""
    is_table: bool = False
    """Whether counts are looked up in a table; without, bytes are written as they are."""
    is_planes: bool = False
    """A plane per channel, [B, C, H, X], instead of channels-last."""
    is_whole: bool = True
    """Whether every tile is a whole number of aligned 16-byte stores."""

    @property
    def per_run(self) -> int:
        """Values in 16 bytes."""
        return 16 // self.item


@cache
def reference_kernel(output: Output, lit_bytes: int, is_rest: bool, threads: int, tile_bytes: int) -> Any:
    """The kernel of the reference style, for `lit_bytes` >= N; `is_rest` if some pixels are blended as they come."""
    write = _writer(output, threads)
    compose = _compose_with_rest if is_rest else _compose
    warps = threads // LANES

    def draw_reference(
        plan: Any,
        pairs: Any,  # int64 [B, 2]
        variants: Any,  # int32 [B]
        table: Any,  # uint8/uint16/uint32 [256]
        out: Any,
        sizes: Any,
    ) -> None:
        tile = cuda.shared.array(tile_bytes // 8, types.uint64)
        lit = cuda.shared.array(lit_bytes, types.uint8)
        kept = cuda.shared.array(warps, types.uint32)
        listed = cuda.shared.array((threads, 3), types.int32)
        codes = cuda.shared.array(256, table.dtype)
        tid = np.int32(cuda.threadIdx.x)
        b = np.int32(cuda.blockIdx.x)
        begin = np.int32(cuda.blockIdx.y) * sizes.tile
        end = min(begin + sizes.tile, sizes.size)
        variant = np.int32(variants[b])
        first, last = np.int32(pairs[b, 0]), np.int32(pairs[b, 1])
        _clear(tid, np.int32(threads), sizes.neighborhoods, lit, kept, table, codes)
        cuda.syncthreads()
        places = plan.places
        offset = variant * sizes.events
        _mark_lit(places, offset, tid, np.int32(threads), first, last, lit)
        bytes_ = tile.view(np.uint8)
        compose_now = True
        chunk = first
        while compose_now or chunk < last:
            reaches = _keep(places, offset, chunk, last, tid, begin, end, sizes, kept)
            cuda.syncthreads()
            if compose_now:
                compose(plan, variant, tid, np.int32(threads), begin, end, sizes, lit, tile, bytes_)
                compose_now = False
            count = _list(places, offset, chunk, tid, reaches, np.int32(warps), kept, listed)
            cuda.syncthreads()
            _draw_discs(plan, tid, np.int32(warps), begin, end, sizes, listed, count, bytes_)
            chunk += np.int32(threads)
            if chunk < last:
                cuda.syncthreads()
                if tid < warps:
                    kept[tid] = 0
                cuda.syncthreads()
        cuda.syncthreads()
        write(tile, bytes_, codes, tid, b, begin, end, sizes, out)

    return kernel(draw_reference)


@device
def _clear(tid: Any, threads: Any, neighborhoods: Any, lit: Any, kept: Any, table: Any, codes: Any) -> None:
    """No neighbourhood lit, no incident kept; the table where it is near."""
    for n in range(tid, neighborhoods, threads):
        lit[n] = 0
    if tid < kept.shape[0]:
        kept[tid] = 0
    for value in range(tid, table.shape[0], threads):
        codes[value] = table[value]


@device
def _mark_lit(places: Any, offset: Any, tid: Any, threads: Any, first: Any, last: Any, lit: Any) -> None:
    """Mark the neighbourhoods that hold an incident; threads that meet write the same."""
    for e in range(first + tid, last, threads):
        n = places[offset + e, 3]
        if n >= 0:
            lit[n] = 1


@device
def _compose(
    plan: Any,
    variant: Any,
    tid: Any,
    threads: Any,
    begin: Any,
    end: Any,
    sizes: Any,
    lit: Any,
    tile: Any,
    bytes_: Any,
) -> None:
    """The base and lit outlines of the tile, a run of 16 bytes at a time."""
    base, set_start, owners, change = plan.base, plan.set_start, plan.owners, plan.change
    first_run = variant * sizes.runs + (begin >> 4)
    for r in range(tid, (end - begin + 15) >> 4, threads):
        low, high = load16(base, np.int64(2 * (first_run + r)))
        for v in range(set_start[first_run + r], set_start[first_run + r + 1]):
            four = owners[v]
            is_one = lit[four & np.uint64(0xFFFF)] & lit[(four >> np.uint64(16)) & np.uint64(0xFFFF)]
            is_two = lit[(four >> np.uint64(32)) & np.uint64(0xFFFF)] & lit[four >> np.uint64(48)]
            if is_one & is_two:
                one, two = load16(change, np.int64(2 * v))
                low ^= one
                high ^= two
        tile[2 * r] = low
        tile[2 * r + 1] = high


@device
def _compose_with_rest(
    plan: Any,
    variant: Any,
    tid: Any,
    threads: Any,
    begin: Any,
    end: Any,
    sizes: Any,
    lit: Any,
    tile: Any,
    bytes_: Any,
) -> None:
    """The same, and then the pixels of the thread's own runs that have too many owners for a look prepared."""
    _compose(plan, variant, tid, threads, begin, end, sizes, lit, tile, bytes_)
    rest_start, rest, lit_color = plan.rest_start, plan.rest, plan.lit_color
    first_run = variant * sizes.runs + (begin >> 4)
    for r in range(tid, (end - begin + 15) >> 4, threads):
        for q in range(rest_start[first_run + r], rest_start[first_run + r + 1]):
            if lit[rest[q, 0]] != 0:
                for c in range(3):
                    byte = rest[q, 2] + c
                    if byte >= 0 and byte < 16:
                        below = np.int32(bytes_[16 * r + byte])
                        bytes_[16 * r + byte] = blend(below, np.int32(lit_color[c]), np.int32(rest[q, 1]))


@device
def _keep(
    places: Any, offset: Any, chunk: Any, last: Any, tid: Any, begin: Any, end: Any, sizes: Any, kept: Any
) -> bool:
    """Whether this thread's incident of the chunk reaches the tile; if so its bit is set."""
    e = chunk + tid
    reaches = False
    if e < last:
        reach = sizes.side >> 1
        left = 3 * ((places[offset + e, 0] >> FIXED_BITS) - reach)
        top = (places[offset + e, 1] >> FIXED_BITS) - reach
        is_row = top * sizes.row < end and (top + sizes.side) * sizes.row > begin
        reaches = is_row and left < sizes.row and left + 3 * sizes.side > 0
    if reaches:
        cuda.atomic.or_(kept, tid >> 5, np.uint32(1) << np.uint32(tid & 31))
    return reaches


@device
def _list(
    places: Any, offset: Any, chunk: Any, tid: Any, reaches: Any, warps: Any, kept: Any, listed: Any
) -> Any:
    """Put the kept incidents into the list, in event order; returns how many there are."""
    count, rank = np.int32(0), np.int32(0)
    for w in range(warps):
        before = kept[w]
        if w == tid >> 5:
            before &= (np.uint32(1) << np.uint32(tid & 31)) - np.uint32(1)
        if w <= tid >> 5:
            rank += np.int32(popcount(before))
        count += np.int32(popcount(kept[w]))
    if reaches:
        for column in range(3):
            listed[rank, column] = places[offset + chunk + tid, column]
    return count


@device
def _draw_discs(
    plan: Any, tid: Any, warps: Any, begin: Any, end: Any, sizes: Any, listed: Any, count: Any, bytes_: Any
) -> None:
    """Blend the listed discs, each thread the bytes that are its own."""
    stamp_row, color_row = plan.stamp_row, plan.color_row
    warp, lane = tid >> 5, tid & 31
    first_row, end_row = begin // sizes.row, (end + sizes.row - 1) // sizes.row
    for i in range(count):
        x, y, color = listed[i, 0], listed[i, 1], listed[i, 2]
        top = (y >> FIXED_BITS) - (sizes.side >> 1)
        left = 3 * ((x >> FIXED_BITS) - (sizes.side >> 1))
        placement = (y & (FIXED_ONE - 1)) * FIXED_ONE + (x & (FIXED_ONE - 1))
        low, high = max(top, first_row), min(top + sizes.side, end_row)
        for row in range(low + ((warp - low) & (warps - 1)), high, warps):
            for byte in range((lane - left) & 31, 3 * sizes.side, LANES):
                at = row * sizes.row + left + byte - begin
                is_inside = left + byte >= 0 and left + byte < sizes.row
                if is_inside and at >= 0 and at < end - begin:
                    alpha = np.int32(stamp_row[placement, row - top, byte])
                    bytes_[at] = blend(np.int32(bytes_[at]), np.int32(color_row[color, byte]), alpha)


@cache
def channels_kernel(output: Output, threads: int, tile_bytes: int) -> Any:
    """The kernel of the channels style: static layers copied, incidents of each step counted into their cells."""
    write = _writer(output, threads)
    warps = threads // LANES

    def draw_channels(
        plan: Any,
        pairs: Any,  # int64 [B, T, 2]
        variants: Any,  # int32 [B]
        table: Any,  # uint8/uint16/uint32 [256]
        out: Any,
        sizes: Any,
    ) -> None:
        tile = cuda.shared.array(tile_bytes // 8, types.uint64)
        codes = cuda.shared.array(256, table.dtype)
        tid = np.int32(cuda.threadIdx.x)
        b = np.int32(cuda.blockIdx.x)
        begin = np.int32(cuda.blockIdx.y) * sizes.tile
        end = min(begin + sizes.tile, sizes.size)
        variant = np.int32(variants[b])
        base, places = plan.base, plan.places
        first_run = variant * sizes.runs + (begin >> 4)
        for r in range(tid, (end - begin + 15) >> 4, np.int32(threads)):
            low, high = load16(base, np.int64(2 * (first_run + r)))
            tile[2 * r] = low
            tile[2 * r + 1] = high
        for value in range(tid, table.shape[0], np.int32(threads)):
            codes[value] = table[value]
        cuda.syncthreads()
        words = tile.view(np.uint32)
        for t in range(tid >> 5, sizes.side, np.int32(warps)):
            first, last = np.int32(pairs[b, t, 0]), np.int32(pairs[b, t, 1])
            for e in range(first + (tid & 31), last, np.int32(LANES)):
                cell = places[variant * sizes.events + e, 0]
                at = cell * sizes.channels + t * sizes.neighborhoods + places[variant * sizes.events + e, 1] - begin
                if cell >= 0 and at >= 0 and at < end - begin:
                    _count(words, at)
        cuda.syncthreads()
        write(tile, tile.view(np.uint8), codes, tid, b, begin, end, sizes, out)

    return kernel(draw_channels)


@device
def _count(words: Any, at: Any) -> None:
    """One more in byte `at`, at most 255: tried again while another thread changed the word. Order does not matter."""
    shift = np.uint32((at & 3) << 3)
    is_open = True
    while is_open:
        word = words[at >> 2]
        count = np.int32((word >> shift) & np.uint32(255))
        more = np.uint32(saturated_increment(count))
        changed = (word & ~(np.uint32(255) << shift)) | (more << shift)
        is_open = changed != word and cuda.atomic.cas(words, at >> 2, word, changed) != word


def _writer(output: Output, threads: int) -> Callable[..., None]:
    """The part of a kernel that writes a finished tile as `output` says."""
    value = _look_up if output.is_table else _as_it_is
    per_run, is_planes = output.per_run, output.is_planes
    step_of = 16 // output.item
    item = output.item

    @device
    def place(sizes: Any, begin: Any, end: Any, v: Any) -> Any:
        """Where values v, v + 1, .. of the tile come from (first byte, step) and go to in the map."""
        if is_planes:
            pixels = (end - begin) // sizes.channels
            c, p = v // pixels, v % pixels
            return p * sizes.channels + c, sizes.channels, c * sizes.pixels + begin // sizes.channels + p
        return v, np.int32(1), begin + v

    @device
    def pack(bytes_: Any, codes: Any, source: Any, step: Any) -> Any:
        """Eight bytes of output."""
        word = np.uint64(0)
        for j in range(8 // item):
            word |= np.uint64(value(codes, bytes_[source + j * step])) << np.uint64(8 * item * j)
        return word

    @device
    def write_runs(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        start = np.int64(b) * (sizes.size // per_run)
        for r in range(tid, (end - begin) // step_of, np.int32(threads)):
            source, step, target = place(sizes, begin, end, r * per_run)
            low = pack(bytes_, codes, source, step)
            high = pack(bytes_, codes, source + (per_run // 2) * step, step)
            store16(out, 2 * (start + target // per_run), low, high)

    @device
    def write_bytes(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        start = np.int64(b) * (sizes.size // 16)
        for r in range(tid, (end - begin) >> 4, np.int32(threads)):
            store16(out, 2 * (start + (begin >> 4) + r), tile[2 * r], tile[2 * r + 1])

    @device
    def write_values(
        tile: Any, bytes_: Any, codes: Any, tid: Any, b: Any, begin: Any, end: Any, sizes: Any, out: Any
    ) -> None:
        for v in range(tid, end - begin, np.int32(threads)):
            source, _, target = place(sizes, begin, end, v)
            out[np.int64(b) * sizes.size + target] = value(codes, bytes_[source])

    if not output.is_whole:
        return write_values
    return write_bytes if output.item == 1 and not output.is_table and not is_planes else write_runs


@device
def _look_up(codes: Any, byte: Any) -> Any:
    return codes[byte]


@device
def _as_it_is(codes: Any, byte: Any) -> Any:
    return byte
