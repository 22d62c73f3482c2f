"""Raster kernels on the CPU: threads over windows, a few windows' maps stay in a core's cache while they are drawn.

A batch that fits into the caches is drawn where it belongs. A larger one would be read from memory before it is
written, as a processor does with every line that it means to change; so its maps are drawn in a scratch that stays in
the cache, and go from there to memory past all caches. Either way a few maps are begun at once (`COPIES`).

Shapes as in `kernels.tables` and `kernels.layout_cpu`; B windows of a batch, T steps. Callers have checked every
argument; nothing is allocated per window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled, current_thread, inlined, max_threads, prange, threads
from hews_gpu.kernels._shim_vectors import (
    BLEND_BYTES,
    COPIES,
    FLIP_BYTES,
    MOVE_BYTES,
    address,
    blend_lanes,
    flip,
    move_past_cache,
    settle,
    spread,
)
from hews_gpu.kernels.layout_cpu import ChannelsLayout, DiscsLayout, ReferenceLayout
from hews_gpu.kernels.scalars import blend, saturated_increment, saturated_sum

__all__ = ["draw", "encode"]

CHUNK = 16
"""Windows per iteration of a thread, at most: they share what it costs to set one up, and 256 still keep 16 cores busy.
Fewer where a batch is small, so that more threads have some."""
CACHED_BYTES = 64 * 2**20
"""Batches above this go past the caches: few cores share a cache as large."""

Bytes = NDArray[np.uint8]
Int32 = NDArray[np.int32]
UInt32 = NDArray[np.uint32]


@threads
def fill_reference(
    layout: ReferenceLayout,
    pairs: NDArray[np.int64],  # [B, 2]
    out: Bytes,  # [B * H * X * 3]
    is_past_cache: bool,
    chunk: int,
) -> None:
    """Draw one map per window: iteration k writes maps [k * chunk, (k + 1) * chunk) and nothing else."""
    for k in prange((pairs.shape[0] + chunk - 1) // chunk):
        end = min((k + 1) * chunk, pairs.shape[0])
        _draw_windows(layout, pairs, k * chunk, end, out, is_past_cache, current_thread())


@compiled
def _draw_windows(
    layout: ReferenceLayout,
    pairs: NDArray[np.int64],
    begin: int,
    end: int,
    out: Bytes,  # [B * H * X * 3]
    is_past_cache: bool,
    thread: int,
) -> None:
    """Draw base, lit outlines and discs of the windows [begin, end), one after another."""
    height, width, base = layout.base.shape[0], layout.base.shape[1], layout.base.reshape(-1)
    is_lit, listed, scratch = layout.is_lit[thread], layout.listed[thread], layout.scratch[thread]
    incident, set_start, sets = layout.incident, layout.set_start, layout.sets
    block, change = layout.block, layout.change
    rest_start, rest, stamp_row, color_row = layout.rest_start, layout.rest, layout.stamp_row, layout.color_row
    size, canvas = base.size, scratch if is_past_cache else out
    for b in range(begin, end):
        first, last = pairs[b, 0], pairs[b, 1]
        at = (b - begin) % COPIES * size if is_past_cache else b * size
        start(base, canvas, at, size, b - begin, end - begin)
        count = mark_lit(incident, first, last, is_lit, listed)
        for i in range(count):
            n = np.uint64(listed[np.uint64(i)])
            for s in range(set_start[n], set_start[n + np.uint64(1)]):
                if is_lit[sets[s, 0]] & is_lit[sets[s, 1]] & is_lit[sets[s, 2]]:
                    flip_blocks(block, change, sets[s, 3], sets[s + np.uint64(1), 3], canvas, at)
        if rest.shape[0] > 0:
            blend_rest(rest_start, rest, is_lit, canvas, at)
        for i in range(count):
            is_lit[listed[np.uint64(i)]] = 0
        for e in range(first, last):
            draw_disc(incident, e, stamp_row, color_row, height, width, canvas, at)
        if is_past_cache:
            copy_past_cache(scratch, at, out, b * size, size)
    if is_past_cache:
        settle()


@inlined
def start(base: Bytes, canvas: Bytes, at: int, size: int, k: int, count: int) -> None:
    """Copy the base of `size` bytes to where map k of `count` is to be drawn, and with it to the next `COPIES` - 1."""
    is_whole = k < count // COPIES * COPIES
    if k % COPIES == 0 or not is_whole:
        copy(base, canvas, at, size, size if is_whole else 0)


@inlined
def copy(source: Bytes, target: Bytes, to: int, size: int, apart: int) -> None:
    """Copy `size` bytes from the beginning of `source` to `COPIES` places, `apart` bytes from one to the next.

    The C library's copy would be an instruction (`rep movsb`) that takes 20 times as long on some processors if the
    target lies 1 to 31 bytes behind the source modulo 4096, as one map in 128 does.
    """
    if size < MOVE_BYTES:
        for i in range(size):
            for k in range(COPIES):
                target[to + k * apart + i] = source[i]
        return
    spread(source, 0, target, to, apart)
    for i in range(-address(target, to) % MOVE_BYTES, size - MOVE_BYTES, MOVE_BYTES):
        spread(source, i, target, to + i, apart)
    spread(source, size - MOVE_BYTES, target, to + size - MOVE_BYTES, apart)


@inlined
def copy_past_cache(source: Bytes, at: int, target: Bytes, to: int, size: int) -> None:
    """Copy `size` bytes, whole lines of the target past the cache."""
    head = min(size, -address(target, to) % MOVE_BYTES)
    tail = size - (size - head) % MOVE_BYTES
    for i in range(head):
        target[to + i] = source[at + i]
    for i in range(head, tail, MOVE_BYTES):
        move_past_cache(source, at + i, target, to + i)
    for i in range(tail, size):
        target[to + i] = source[at + i]


@inlined
def mark_lit(incident: Int32, first: int, last: int, is_lit: Bytes, listed: UInt32) -> int:
    """Mark and list the neighborhoods that hold an incident of [first, last); returns how many."""
    count = 0
    for e in range(first, last):
        n = incident[np.uint64(e), 0]
        if n >= 0 and is_lit[np.uint32(n)] == 0:
            is_lit[np.uint32(n)] = 1
            listed[np.uint64(count)] = np.uint32(n)
            count += 1
    return count


@inlined
def flip_blocks(block: UInt32, change: Bytes, begin: int, end: int, canvas: Bytes, at: int) -> None:
    """Flip the listed blocks of the map that begins at byte `at`."""
    for v in range(begin, end):
        flip(canvas, at + np.int64(block[v]), change, np.int64(v) * FLIP_BYTES)


@inlined
def blend_rest(rest_start: Int32, rest: Int32, is_lit: Bytes, canvas: Bytes, at: int) -> None:
    """Blend the pixels that have no look prepared, in ascending order of neighborhood."""
    for n in range(is_lit.shape[0]):
        if is_lit[n]:
            for q in range(rest_start[n], rest_start[n + 1]):
                for c in range(3):
                    byte = at + rest[q, 0] + c
                    canvas[byte] = blend(np.int32(canvas[byte]), rest[q, 2 + c], rest[q, 1])


@inlined
def draw_disc(
    incident: Int32,
    e: int,
    stamp_row: Bytes,  # [256, D, R]
    color_row: Bytes,  # [K, R]
    height: int,
    width: int,
    canvas: Bytes,
    at: int,
) -> None:
    """Blend the disc of incident e: in whole rows, or what the edges of the map leave of it."""
    side, row = stamp_row.shape[1], stamp_row.shape[2]
    top, left = int(incident[e, 1]), int(incident[e, 2])
    placement, color = int(incident[e, 3]) >> 8, int(incident[e, 3]) & 255
    begin, last = (top * width + left) * 3, ((top + side - 1) * width + left) * 3  # of the first row, of the last
    if top >= 0 and left >= 0 and left + side <= width and last + row <= height * width * 3:
        for j in range(0, row, BLEND_BYTES):
            for i in range(side):
                to = at + begin + i * width * 3 + j
                blend_lanes(canvas, to, color_row, color * row + j, stamp_row, (placement * side + i) * row + j)
    else:
        for i in range(max(0, -top), min(side, height - top)):
            for j in range(max(0, -left * 3), min(side * 3, (width - left) * 3)):
                to, alpha = at + begin + i * width * 3 + j, np.int32(stamp_row[placement, i, j])
                canvas[to] = blend(np.int32(canvas[to]), np.int32(color_row[color, j]), alpha)


@threads
def fill_channels(
    layout: ChannelsLayout,
    pairs: NDArray[np.int64],  # [B, T, 2]
    out: Bytes,  # [B * H * X * C]
    is_past_cache: bool,
    chunk: int,
) -> None:
    """Count one stack of steps per window: iteration k writes maps [k * chunk, (k + 1) * chunk) and nothing else."""
    for k in prange((pairs.shape[0] + chunk - 1) // chunk):
        end = min((k + 1) * chunk, pairs.shape[0])
        _count_windows(layout, pairs, k * chunk, end, out, is_past_cache, current_thread())


@compiled
def _count_windows(
    layout: ChannelsLayout, pairs: NDArray[np.int64], begin: int, end: int, out: Bytes, is_past_cache: bool, thread: int
) -> None:
    """Start each map from that of no incidents, then add each incident of each step."""
    base, counter, groups, scratch = layout.base.reshape(-1), layout.counter, layout.groups, layout.scratch[thread]
    size, canvas = base.size, scratch if is_past_cache else out
    for b in range(begin, end):
        at = (b - begin) % COPIES * size if is_past_cache else b * size
        start(base, canvas, at, size, b - begin, end - begin)
        for t in range(pairs.shape[1]):
            for e in range(pairs[b, t, 0], pairs[b, t, 1]):
                if counter[e] >= 0:
                    byte = at + t * groups + np.int64(counter[e])
                    canvas[byte] = saturated_increment(np.int32(canvas[byte]))
        if is_past_cache:
            copy_past_cache(scratch, at, out, b * size, size)
    if is_past_cache:
        settle()


@threads
def fill_discs(
    layout: DiscsLayout,
    pairs: NDArray[np.int64],  # [B, T, 2]
    out: Bytes,  # [B * H * X * C]
    is_past_cache: bool,
    chunk: int,
) -> None:
    """Add up one stack of steps per window: iteration k writes maps [k * chunk, (k + 1) * chunk) and nothing else."""
    for k in prange((pairs.shape[0] + chunk - 1) // chunk):
        end = min((k + 1) * chunk, pairs.shape[0])
        _add_windows(layout, pairs, k * chunk, end, out, is_past_cache, current_thread())


@compiled
def _add_windows(
    layout: DiscsLayout, pairs: NDArray[np.int64], begin: int, end: int, out: Bytes, is_past_cache: bool, thread: int
) -> None:
    """Start each map from that of no incidents, then add the disc of each incident of each step."""
    height, width, channels = layout.base.shape
    base = layout.base.reshape(-1)
    incident, stamp, groups, scratch = layout.incident, layout.stamp, layout.groups, layout.scratch[thread]
    size, canvas = base.size, scratch if is_past_cache else out
    for b in range(begin, end):
        at = (b - begin) % COPIES * size if is_past_cache else b * size
        start(base, canvas, at, size, b - begin, end - begin)
        for t in range(pairs.shape[1]):
            for e in range(pairs[b, t, 0], pairs[b, t, 1]):
                first = at + t * groups + int(incident[e, 0])
                add_disc(incident, e, stamp, height, width, channels, canvas, first)
        if is_past_cache:
            copy_past_cache(scratch, at, out, b * size, size)
    if is_past_cache:
        settle()


@inlined
def add_disc(
    incident: Int32, e: int, stamp: Bytes, height: int, width: int, channels: int, canvas: Bytes, first: int
) -> None:
    """Add what the edges of the map leave of incident e's disc to a channel, whose first pixel is byte `first`."""
    top, left, placement, side = int(incident[e, 1]), int(incident[e, 2]), int(incident[e, 3]), stamp.shape[1]
    for i in range(max(0, -top), min(side, height - top)):
        for j in range(max(0, -left), min(side, width - left)):
            byte = first + ((top + i) * width + left + j) * channels
            canvas[byte] = saturated_sum(np.int32(canvas[byte]), np.int32(stamp[placement, i, j]))


@threads
def encode(maps: Bytes, codes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write `codes` [256] of each value of `maps` [n, H * X * C] into `out` [n, H * X * C]."""
    for i in prange(maps.shape[0]):
        one, target = maps[i], out[i]
        for v in range(maps.shape[1]):
            target[v] = codes[one[v]]


FILL = {ReferenceLayout: fill_reference, ChannelsLayout: fill_channels, DiscsLayout: fill_discs}


def draw(layout: ReferenceLayout | ChannelsLayout | DiscsLayout, pairs: NDArray[np.int64], out: Bytes) -> None:
    """Draw the windows `pairs` ([B, 2], channels [B, T, 2]) into `out` [B, H, X, C], C-contiguous."""
    fill: Any = FILL[type(layout)]
    chunk = min(CHUNK, COPIES * max(1, -(-len(pairs) // (COPIES * max_threads()))))
    fill(layout, pairs, out.reshape(-1), out.size > CACHED_BYTES, chunk)
