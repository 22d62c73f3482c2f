"""The NumPy reference of every raster kernel: slow, obvious, and sharing no code with the compiled ones.

It defines what a map is; the kernels must equal it to the bit. Tables (`kernels.tables`) are data and are shared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables

__all__ = ["draw", "fill_channels", "fill_discs", "fill_reference"]


def fill_reference(tables: ReferenceTables, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Draw the windows `pairs` [B, 2] of incidents [first, last) into `out` [B, H, X, 3]."""
    for one, (first, last) in zip(out, pairs, strict=True):
        one[:] = tables.base
        _light_outlines(tables, np.unique(tables.neighborhood[first:last]), one)
        _draw_discs(tables, np.arange(first, last), one)


def _over(below: NDArray[np.uint8], above: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend `above` over `below`, widened so that no product wraps, rounded to nearest."""
    a = alpha.astype(np.int64)
    v = below.astype(np.int64) * (255 - a) + above.astype(np.int64) * a
    return ((v + 127) // 255).astype(np.uint8)


def _light_outlines(tables: ReferenceTables, lit: NDArray[np.int16], one: NDArray[np.uint8]) -> None:
    """Blend the outline of each lit neighborhood over the map, in ascending order."""
    pixel_of_pair = np.repeat(tables.pixel, np.diff(tables.start))
    flat = one.reshape(-1, 3)  # [H * X, 3], a view
    for neighborhood in lit[lit >= 0]:
        mine = tables.owner == neighborhood
        pixels = pixel_of_pair[mine]
        flat[pixels] = _over(flat[pixels], tables.lit_color, tables.coverage[mine][:, None])


def _draw_discs(tables: ReferenceTables, incidents: NDArray[np.int64], one: NDArray[np.uint8]) -> None:
    """Blend a disc per incident, in order, on a canvas that is wider by a stamp on every side, then cut it."""
    height, width, _ = one.shape
    side = tables.stamp.shape[-1]
    reach = side // 2
    canvas = np.zeros((height + 2 * side, width + 2 * side, 3), np.uint8)
    canvas[side:-side, side:-side] = one
    for incident in incidents:
        row, fraction_y = divmod(int(tables.y[incident]), 16)
        column, fraction_x = divmod(int(tables.x[incident]), 16)
        if not (-reach <= row < height + reach and -reach <= column < width + reach):
            continue
        top, left = row - reach + side, column - reach + side
        part = canvas[top : top + side, left : left + side]
        alpha = tables.stamp[fraction_y, fraction_x][..., None]
        part[:] = _over(part, tables.palette[tables.color[incident]], alpha)
    one[:] = canvas[side:-side, side:-side]


def fill_channels(tables: ChannelsTables, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Count the incidents of `pairs` [B, T, 2] into the first T * G channels of `out` [B, H, X, C], at most 255 each.

    Channels are step-major; those behind them are the base's.
    """
    _, height, width, _ = out.shape
    channels = pairs.shape[1] * tables.groups
    for one, steps in zip(out, pairs, strict=True):
        counts = np.zeros((height * width, channels), np.int64)
        for t, (first, last) in enumerate(steps):
            cell, group = tables.cell[first:last], tables.group[first:last].astype(np.int64)
            inside = cell >= 0
            np.add.at(counts, (cell[inside], t * tables.groups + group[inside]), 1)
        one[:] = tables.base
        one[..., :channels] = np.minimum(counts, 255).reshape(height, width, channels)


def fill_discs(tables: DiscsTables, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Add a disc per incident: whole sums on a canvas that is wider on every side, then cut, at most 255."""
    _, height, width, _ = out.shape
    side, channels = tables.stamp.shape[-1], pairs.shape[1] * tables.groups
    reach = side // 2
    for one, steps in zip(out, pairs, strict=True):
        sums = np.zeros((height + 2 * side, width + 2 * side, channels), np.int64)
        for t, (first, last) in enumerate(steps):
            for incident in range(first, last):
                row, fraction_y = divmod(int(tables.y[incident]), 16)
                column, fraction_x = divmod(int(tables.x[incident]), 16)
                if -reach <= row < height + reach and -reach <= column < width + reach:
                    top, left = row - reach + side, column - reach + side
                    channel = t * tables.groups + int(tables.group[incident])
                    sums[top : top + side, left : left + side, channel] += tables.stamp[fraction_y, fraction_x]
        one[:] = tables.base
        one[..., :channels] = np.minimum(sums[side:-side, side:-side], 255)


FILL = {ReferenceTables: fill_reference, ChannelsTables: fill_channels, DiscsTables: fill_discs}


def draw(
    tables: ReferenceTables | ChannelsTables | DiscsTables, pairs: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Draw the windows `pairs` into `out` [B, H, X, C] in the style of the tables."""
    fill: Any = FILL[type(tables)]
    fill(tables, pairs, out)
