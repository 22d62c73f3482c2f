"""Raster kernels on the CPU: threads over windows, one window's map stays in a core's cache while it is drawn.

Shapes as in `kernels.tables`, B windows of a batch, T steps. Callers have checked every argument; nothing is
allocated here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import current_thread, max_threads, prange, scalar, threads
from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend, saturated_increment
from hews_gpu.kernels.tables import ChannelsTables, ReferenceTables

__all__ = ["ReferencePlan", "draw_reference", "fill_channels", "fill_reference", "plan_reference"]


class ReferencePlan(NamedTuple):
    """The reference tables once more, laid out for CPU threads that draw one window after another."""

    start: NDArray[np.int32]  # [N + 1] neighbourhood n's outline is [start[n], start[n + 1])
    pixel: NDArray[np.int32]  # [Q] row * X + column
    coverage: NDArray[np.uint8]  # [Q] how much of the pixel it covers
    base_words: NDArray[np.uint64]  # [words] the base; empty where a map is no whole number of words
    lit: NDArray[np.uint8]  # [threads, N] scratch: zeros before and after every call


def plan_reference(tables: ReferenceTables, neighborhoods: int) -> ReferencePlan:
    """Lay out the tables for `draw_reference`."""
    order = np.argsort(tables.owner, kind="stable")
    counts = np.bincount(tables.owner, minlength=neighborhoods)
    whole = tables.base.size % 8 == 0
    words = tables.base.reshape(-1).view(np.uint64) if whole else np.empty(0, np.uint64)
    return ReferencePlan(
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        pixel=np.repeat(tables.pixel, np.diff(tables.start))[order],
        coverage=tables.coverage[order],
        base_words=words,
        lit=np.zeros((max_threads(), neighborhoods), np.uint8),
    )


def draw_reference(
    tables: ReferenceTables, plan: ReferencePlan, pairs: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Draw the windows `pairs` [B, 2] into `out` [B, H, X, 3]."""
    batch, words = len(pairs), len(plan.base_words)
    flat = out.reshape(batch, tables.base.size)
    out_words = flat.view(np.uint64) if words else np.empty((batch, 0), np.uint64)
    fill_reference(tables, plan, pairs, flat.reshape(batch, tables.base.size // 3, 3), out_words)


@threads
def fill_reference(
    tables: ReferenceTables,
    plan: ReferencePlan,
    pairs: NDArray[np.int64],  # [B, 2]
    out: NDArray[np.uint8],  # [B, H * X, 3]
    out_words: NDArray[np.uint64],  # [B, words] the same memory
) -> None:
    """Draw one map per window: iteration b writes out[b] and nothing else."""
    height, width = tables.base.shape[0], tables.base.shape[1]
    for b in prange(pairs.shape[0]):
        lit = plan.lit[current_thread()]
        if plan.base_words.shape[0] > 0:
            for i in range(plan.base_words.shape[0]):
                out_words[b, i] = plan.base_words[i]
        else:
            out[b] = tables.base.reshape(height * width, 3)
        _light(tables, pairs[b, 0], pairs[b, 1], lit)
        for n in range(lit.shape[0]):
            if lit[n]:
                lit[n] = 0
                _draw_outline(tables, plan, n, out[b])
        for e in range(pairs[b, 0], pairs[b, 1]):
            _draw_disc(tables, e, out[b], height, width)


@scalar
def _draw_outline(tables: ReferenceTables, plan: ReferencePlan, n: int, one: NDArray[np.uint8]) -> None:
    """Blend the outline of neighbourhood n over the map `one` [H * X, 3]."""
    for q in range(plan.start[n], plan.start[n + 1]):
        p, alpha = plan.pixel[q], np.int32(plan.coverage[q])
        for c in range(3):
            one[p, c] = blend(np.int32(one[p, c]), np.int32(tables.lit_color[c]), alpha)


@scalar
def _light(tables: ReferenceTables, first: int, last: int, lit: NDArray[np.uint8]) -> None:
    """Mark the neighbourhoods that hold an incident of [first, last)."""
    for e in range(first, last):
        n = tables.neighborhood[e]
        if n >= 0:
            lit[n] = 1


@scalar
def _draw_disc(tables: ReferenceTables, e: int, one: NDArray[np.uint8], height: int, width: int) -> None:
    """Blend the stamp of incident e over the map `one` [H * X, 3], cut at the map's edges."""
    side = tables.stamp.shape[3]
    top = (tables.y[e] >> FIXED_BITS) - side // 2
    left = (tables.x[e] >> FIXED_BITS) - side // 2
    fraction_y, fraction_x = tables.y[e] & (FIXED_ONE - 1), tables.x[e] & (FIXED_ONE - 1)
    color = tables.palette[tables.color[e]]
    for i in range(max(0, -top), min(side, height - top)):
        for j in range(max(0, -left), min(side, width - left)):
            alpha = np.int32(tables.stamp[fraction_y, fraction_x, i, j])
            p = (top + i) * width + left + j
            for c in range(3):
                one[p, c] = blend(np.int32(one[p, c]), np.int32(color[c]), alpha)


@threads
def fill_channels(
    tables: ChannelsTables,
    pairs: NDArray[np.int64],  # [B, T, 2]
    out: NDArray[np.uint8],  # [B, H * X, T * G]
) -> None:
    """Count one stack of steps per window: iteration b writes out[b] and nothing else."""
    for b in prange(pairs.shape[0]):
        out[b] = 0
        for t in range(pairs.shape[1]):
            for e in range(pairs[b, t, 0], pairs[b, t, 1]):
                cell = tables.cell[e]
                if cell >= 0:
                    channel = t * tables.groups + np.int64(tables.group[e])
                    out[b, cell, channel] = saturated_increment(np.int32(out[b, cell, channel]))
