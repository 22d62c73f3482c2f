"""The first layers of the CNN on a CPU: from the cells of a map that hold something, as few do.

Up to the ReLU the network is linear in the logarithms of the counts. So an occupied cell of channel c adds its own,
times row c of one table, to the 3 x 3 cells around it: its footprint. A canvas has a margin of one cell, into which
footprints may reach, so that none is cut; a row of a footprint is 3 * K numbers that follow each other in both::

    table[c]   | row above: 3 K | its own row: 3 K | row below: 3 K |
    canvas     (H + 2) * (X + 2) cells of K numbers; all zero between two samples

Where no footprint reaches there is nothing to add up, and no gradient. One thread, in the order of samples and cells:
the same bits on any number of cores.

Shapes: B samples, C channels, H rows, X columns, K filters, P = (H + 2) * (X + 2) cells of a canvas, A areas, M
occupied cells of all samples, each of one channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled, inlined, scalar

__all__ = ["LINE_BYTES", "Canvas", "Occupied", "add_up_areas", "add_up_gradients", "list_occupied", "room"]

LINE_BYTES = 64
"""Maps are searched by so many bytes at a time: 8 words, one line of a cache."""

Float32 = NDArray[np.float32]
ZERO = np.float32(0)


class Occupied(NamedTuple):
    """The cells of B maps that are not zero, in the order of their memory."""

    first: NDArray[np.int64]  # [B + 1] those of sample b are [first[b], first[b + 1])
    corner: NDArray[np.int32]  # [M] cell of the canvas at which the footprint begins
    channel: NDArray[np.int32]  # [M]
    value: Float32  # [M]


class Canvas(NamedTuple):
    """One sample's cells, with what says where they belong."""

    cells: Float32  # [P * K]
    is_lit: NDArray[np.uint8]  # [P] 1 where a footprint reaches
    area: NDArray[np.int32]  # [P] -1 in the margin
    width: int  # X + 2


@compiled
def list_occupied(
    lines: NDArray[np.uint64],  # [L, 8] the memory of the maps, as far as it fills whole lines
    maps: NDArray[np.uint8],  # [B, H, X, C]
    values: Float32,  # [256] of each count
    occupied: Occupied,  # with room for `room`
    totals: Float32,  # [B, C] zeros
) -> int:
    """Fill `occupied`, and `totals` with the sums of values over the map; return M."""
    _, height, width, channels = maps.shape
    content, size, m, b = maps.reshape(-1), height * width * channels, 0, 0
    occupied.first[0] = 0
    for n in range((content.size + LINE_BYTES - 1) // LINE_BYTES):
        if n < lines.shape[0] and is_zero(lines, n):
            continue
        for p in range(n * LINE_BYTES, min((n + 1) * LINE_BYTES, content.size)):
            if content[p] == 0:
                continue
            while p >= (b + 1) * size:
                b += 1
                occupied.first[b] = m
            cell, c = (p - b * size) // channels, p % channels
            occupied.corner[m] = cell // width * (width + 2) + cell % width
            occupied.channel[m] = c
            occupied.value[m] = values[content[p]]
            totals[b, c] += values[content[p]]
            m += 1
    occupied.first[b + 1 :] = m
    return m


@inlined
def is_zero(lines: NDArray[np.uint64], n: int) -> bool:
    """Return whether a line of memory is."""
    joined = lines[n, 0]
    for i in range(1, 8):
        joined |= lines[n, i]
    return bool(joined == 0)


@compiled
def room(lines: NDArray[np.uint64]) -> int:
    """Return how many cells can be occupied at most: in lines that are not zero, and in one that is not whole."""
    count = 1
    for n in range(lines.shape[0]):
        count += not is_zero(lines, n)
    return count * LINE_BYTES


@scalar
def relu(x: np.float32) -> np.float32:
    """Return x, or 0 if it is below; what is no number stays none."""
    return ZERO if x <= ZERO else x


@inlined
def draw_footprints(occupied: Occupied, b: int, table: Float32, canvas: Canvas, filters: int) -> None:
    """Add the footprints of sample b to an empty canvas."""
    row = np.uint64(3 * filters)
    for m in range(occupied.first[b], occupied.first[b + 1]):
        value, weights = occupied.value[m], np.uint64(occupied.channel[m] * 9 * filters)
        for i in range(3):
            begin = occupied.corner[m] + i * canvas.width
            canvas.is_lit[begin] = canvas.is_lit[begin + 1] = canvas.is_lit[begin + 2] = 1
            to = np.uint64(begin * filters)
            for j in range(row):
                canvas.cells[to + j] += value * table[weights + j]
            weights += row


@compiled
def add_up_areas(
    occupied: Occupied,
    table: Float32,  # [C * 9 * K]
    bias: Float32,  # [K]
    canvas: Canvas,
    out: Float32,  # [B, A, K] zeros
) -> None:
    """Add up relu(cell + bias) - relu(bias) over the cells of each area."""
    filters = bias.size
    for b in range(out.shape[0]):
        draw_footprints(occupied, b, table, canvas, filters)
        for p in range(canvas.is_lit.size):
            if canvas.is_lit[p]:
                canvas.is_lit[p] = 0
                cell, a = np.uint64(p * filters), canvas.area[p]
                for k in range(np.uint64(filters)):
                    if a >= 0:
                        out[b, a, k] += relu(canvas.cells[cell + k] + bias[k]) - relu(bias[k])
                    canvas.cells[cell + k] = ZERO


@compiled
def add_up_gradients(
    occupied: Occupied,
    table: Float32,  # [C * 9 * K]
    bias: Float32,  # [K]
    canvas: Canvas,
    gradient: Float32,  # [B, A, K] of the sums
    of_table: Float32,  # [C * 9 * K] zeros
    of_bias: NDArray[np.float64],  # [K] zeros
) -> None:
    """Add up the gradients of table and bias; the canvas is drawn again, which is cheaper than to keep one a sample."""
    filters = bias.size
    row = np.uint64(3 * filters)
    for b in range(gradient.shape[0]):
        draw_footprints(occupied, b, table, canvas, filters)
        for p in range(canvas.is_lit.size):
            if canvas.is_lit[p]:
                canvas.is_lit[p] = 0
                cell, a = np.uint64(p * filters), canvas.area[p]
                for k in range(np.uint64(filters)):
                    of_area = gradient[b, a, k] if a >= 0 else ZERO
                    of_cell = ZERO if canvas.cells[cell + k] + bias[k] <= ZERO else of_area
                    of_bias[k] += of_cell - (ZERO if bias[k] <= ZERO else of_area)
                    canvas.cells[cell + k] = of_cell
        for m in range(occupied.first[b], occupied.first[b + 1]):
            value, weights = occupied.value[m], np.uint64(occupied.channel[m] * 9 * filters)
            for i in range(3):
                cell = np.uint64((occupied.corner[m] + i * canvas.width) * filters)
                for j in range(row):
                    of_table[weights + j] += value * canvas.cells[cell + j]
                weights += row
        for m in range(occupied.first[b], occupied.first[b + 1]):
            for i in range(3):
                cell = np.uint64((occupied.corner[m] + i * canvas.width) * filters)
                for j in range(row):
                    canvas.cells[cell + j] = ZERO
