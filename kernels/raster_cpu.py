"""Raster kernels on the CPU: threads over windows, one window's map stays in a core's cache while it is drawn.

Shapes as in `kernels.tables` and `kernels.plan_cpu`; B windows of a batch, T steps. Callers have checked every
argument; nothing is allocated per window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled, current_thread, inlined, prange, threads
from hews_gpu.kernels.plan_cpu import ReferencePlan
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend, saturated_increment
from hews_gpu.kernels.tables import ChannelsTables, ReferenceTables

__all__ = ["draw_channels", "draw_reference", "encode"]

CHUNK = 16
"""Windows per iteration of a thread: they share what it costs to set one up, and 256 still keep 16 cores busy."""


def draw_reference(
    tables: ReferenceTables, plan: ReferencePlan, pairs: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Draw the windows `pairs` [B, 2] into `out` [B, H, X, 3]."""
    batch, size = len(pairs), tables.base.size
    flat = out.reshape(batch, size)
    words = flat.view(np.uint64) if len(plan.base_words) else np.empty((batch, 0), np.uint64)
    fill_reference(tables, plan, pairs, flat, words)


@threads
def fill_reference(
    tables: ReferenceTables,
    plan: ReferencePlan,
    pairs: NDArray[np.int64],  # [B, 2]
    out: NDArray[np.uint8],  # [B, H * X * 3]
    words: NDArray[np.uint64],  # [B, words] the same memory, or empty
) -> None:
    """Draw one map per window: iteration k writes out[k * CHUNK : (k + 1) * CHUNK] and nothing else."""
    for k in prange((pairs.shape[0] + CHUNK - 1) // CHUNK):
        begin, end = k * CHUNK, min((k + 1) * CHUNK, pairs.shape[0])
        _draw_windows(tables, plan, pairs[begin:end], out[begin:end], words[begin:end], current_thread())


@compiled
def _draw_windows(
    tables: ReferenceTables,
    plan: ReferencePlan,
    pairs: NDArray[np.int64],
    out: NDArray[np.uint8],
    words: NDArray[np.uint64],
    thread: int,
) -> None:
    """Base, lit outlines and discs of some windows, one after another."""
    base_words, base_bytes, is_lit, lit = plan.base_words, plan.base_bytes, plan.is_lit[thread], plan.lit[thread]
    set_start, member, list_start, word, change = (
        plan.set_start,
        plan.member,
        plan.list_start,
        plan.word,
        plan.change,
    )
    rest_start, rest_pixel, rest_coverage = plan.rest_start, plan.rest_pixel, plan.rest_coverage
    neighborhood, lit_color, stamp = tables.neighborhood, tables.lit_color, tables.stamp
    x, y, color, palette = tables.x, tables.y, tables.color, tables.palette
    stamp_row, color_row = plan.stamp_row, plan.color_row
    height, width, side = tables.base.shape[0], tables.base.shape[1], stamp.shape[3]
    for b in range(pairs.shape[0]):
        first, last = pairs[b, 0], pairs[b, 1]
        one, eights = out[b], words[b]
        copy(base_words, eights)
        if eights.shape[0] == 0:
            copy(base_bytes, one)
        count = mark_lit(neighborhood, first, last, is_lit, lit)
        for i in range(count):
            for s in range(set_start[lit[i]], set_start[lit[i] + 1]):
                if is_lit[member[s, 0]] & is_lit[member[s, 1]] & is_lit[member[s, 2]]:
                    flip_words(word, change, list_start[s], list_start[s + 1], eights)
        if rest_pixel.shape[0] > 0:
            blend_rest(rest_start, rest_pixel, rest_coverage, lit_color, is_lit, one)
        for i in range(count):
            is_lit[lit[i]] = 0
        for e in range(first, last):
            top = (y[e] >> FIXED_BITS) - side // 2
            left = (x[e] >> FIXED_BITS) - side // 2
            fraction_y, fraction_x = y[e] & (FIXED_ONE - 1), x[e] & (FIXED_ONE - 1)
            if top >= 0 and top + side <= height and left >= 0 and left + side <= width:
                placement, byte = fraction_y * FIXED_ONE + fraction_x, (top * width + left) * 3
                draw_whole_disc(stamp_row[placement], color_row[color[e]], byte, width * 3, one)
            else:
                draw_cut_disc(stamp[fraction_y, fraction_x], palette[color[e]], top, left, height, width, one)


@inlined
def copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy element by element: in words of eight bytes, as slices of bytes take seven times as long."""
    for i in range(target.shape[0]):
        target[i] = source[i]


@inlined
def mark_lit(
    neighborhood: NDArray[np.int16], first: int, last: int, is_lit: NDArray[np.uint8], lit: NDArray[np.int32]
) -> int:
    """Mark and list the neighbourhoods that hold an incident of [first, last); returns how many."""
    count = 0
    for e in range(first, last):
        n = neighborhood[e]
        if n >= 0 and is_lit[n] == 0:
            is_lit[n] = 1
            lit[count] = n
            count += 1
    return count


@inlined
def flip_words(
    word: NDArray[np.uint32],
    change: NDArray[np.uint64],
    begin: np.uint64,
    end: np.uint64,
    eights: NDArray[np.uint64],
) -> None:
    """Flip the listed words. All indices are unsigned: signed ones would be tested for being negative."""
    for v in range(begin, end):
        eights[np.uint64(word[v])] ^= change[v]


@inlined
def blend_rest(
    rest_start: NDArray[np.int32],
    rest_pixel: NDArray[np.int32],
    rest_coverage: NDArray[np.uint8],
    lit_color: NDArray[np.uint8],
    is_lit: NDArray[np.uint8],
    one: NDArray[np.uint8],
) -> None:
    """Blend the pixels that have no look prepared, in ascending order of neighbourhood."""
    for n in range(is_lit.shape[0]):
        if is_lit[n]:
            for q in range(rest_start[n], rest_start[n + 1]):
                for c in range(3):
                    byte = rest_pixel[q] * 3 + c
                    one[byte] = blend(np.int32(one[byte]), np.int32(lit_color[c]), np.int32(rest_coverage[q]))


@inlined
def draw_whole_disc(
    stamp_row: NDArray[np.uint8], color_row: NDArray[np.uint8], byte: int, stride: int, one: NDArray[np.uint8]
) -> None:
    """Blend a disc that lies in the map, row by row; `byte` is where its first row begins.

    The padding of the last row may reach beyond the map; the slice then ends with the map, and so does the loop.
    """
    for i in range(stamp_row.shape[0]):
        row = one[byte + i * stride : byte + i * stride + stamp_row.shape[1]]
        for j in range(row.shape[0]):
            row[j] = blend(np.int32(row[j]), np.int32(color_row[j]), np.int32(stamp_row[i, j]))


@inlined
def draw_cut_disc(
    stamp: NDArray[np.uint8],
    color: NDArray[np.uint8],
    top: int,
    left: int,
    height: int,
    width: int,
    one: NDArray[np.uint8],
) -> None:
    """Blend what the map's edges leave of a disc whose stamp begins at row `top`, column `left`."""
    for i in range(max(0, -top), min(stamp.shape[0], height - top)):
        for j in range(max(0, -left), min(stamp.shape[1], width - left)):
            for c in range(3):
                byte = ((top + i) * width + left + j) * 3 + c
                one[byte] = blend(np.int32(one[byte]), np.int32(color[c]), np.int32(stamp[i, j]))


def draw_channels(tables: ChannelsTables, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Count the steps `pairs` [B, T, 2] into `out` [B, H, X, C]."""
    batch, size = len(pairs), tables.base.size
    flat, base = out.reshape(batch, size), tables.base.reshape(-1)
    if size % 8 == 0:
        fill_channels(tables, pairs, base.view(np.uint64), flat.view(np.uint64), flat)
    else:
        fill_channels(tables, pairs, base, flat, flat)


@threads
def fill_channels(
    tables: ChannelsTables,
    pairs: NDArray[np.int64],  # [B, T, 2]
    base: NDArray[Any],  # [words] or [H * X * C]
    words: NDArray[Any],  # [B, words] the same memory as `out`, or `out`
    out: NDArray[np.uint8],  # [B, H * X * C]
) -> None:
    """Count one stack of steps per window: iteration b writes out[b] and nothing else."""
    channels = tables.base.shape[2]
    for b in prange(pairs.shape[0]):
        _count_window(tables, channels, pairs[b], base, words[b], out[b])


@compiled
def _count_window(
    tables: ChannelsTables,
    channels: int,
    steps: NDArray[np.int64],
    base: NDArray[Any],
    words: NDArray[Any],
    one: NDArray[np.uint8],
) -> None:
    """Begin with the map of no incidents, then add each incident of each step."""
    copy(base, words)
    for t in range(steps.shape[0]):
        for e in range(steps[t, 0], steps[t, 1]):
            cell = tables.cell[e]
            if cell >= 0:
                at = np.int64(cell) * channels + t * tables.groups + np.int64(tables.group[e])
                one[at] = saturated_increment(np.int32(one[at]))


@threads
def encode(
    maps: NDArray[np.uint8],  # [n, H * X * C]
    rows: NDArray[np.int64],  # [n]
    codes: NDArray[Any],  # [256]
    channels: int,
    is_planes: bool,
    out: NDArray[Any],  # [B, H * X * C]
) -> None:
    """Write the codes of each value: map i into row rows[i], with `is_planes` channel by channel."""
    size = maps.shape[1]
    for i in prange(maps.shape[0]):
        one, target = maps[i], out[rows[i]]
        if is_planes:
            pixels = size // channels
            for c in range(channels):
                for p in range(pixels):
                    target[c * pixels + p] = codes[one[p * channels + c]]
        else:
            for v in range(size):
                target[v] = codes[one[v]]
