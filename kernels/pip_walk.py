"""The polygon of a point, found in its cell of the grid: one walk for every compiler, and the loop over points on a CPU.

From the point to the cell's anchor goes a line. An edge is crossed if its ends lie on different sides of that line and
the line's ends on different sides of the edge; an end that lies on the line counts as to its right, so that a line
through a vertex crosses one of its two edges or both or none, as a line beside it would. All sides are exact, so
nothing is ever nearly crossed. A point on an edge is found before, by its own test.

Shapes as in `kernels.pip_tables`; P points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import prange, scalar, threads
from hews_gpu.kernels.pip_scalars import side
from hews_gpu.kernels.pip_tables import PipTables

__all__ = ["find", "find_all"]

OUTSIDE = np.int32(-1)
CHUNK = 1024
"""Points per iteration of a thread."""


@scalar
def find(tables: PipTables, x: float, y: float) -> np.int32:
    """The first polygon that covers (x, y), its edges included, or OUTSIDE, also where x or y is no number."""
    bounds = tables.bounds
    if not (bounds[0] <= x <= bounds[2] and bounds[1] <= y <= bounds[3]):
        return OUTSIDE
    rows, columns = tables.shape[0], tables.shape[1]
    column = min(np.int32((x - bounds[0]) * tables.cells_per_unit[0]), columns - 1)
    row = min(np.int32((y - bounds[1]) * tables.cells_per_unit[1]), rows - 1)
    answer = tables.cell[row * columns + column]
    if answer >= OUTSIDE:
        return answer
    return find_among_edges(tables, -2 - answer, x, y)


@scalar
def find_among_edges(tables: PipTables, k: int, x: float, y: float) -> np.int32:
    """The same in the k-th cell with edges."""
    run, vertex, around = tables.run, tables.vertex, tables.around[k]
    anchor_x, anchor_y = tables.anchor[k, 0], tables.anchor[k, 1]
    polygon, is_inside = OUTSIDE, False
    for r in range(tables.run_start[k], tables.run_start[k + 1]):
        if run[r, 0] != polygon:
            if is_inside:
                return polygon
            polygon, is_inside = run[r, 0], False
            if OUTSIDE < around < polygon:
                return around
        if run[r, 1] == 1:
            is_inside = not is_inside
        first, last = run[r, 2], run[r, 3]
        ax, ay = vertex[first, 0], vertex[first, 1]
        a_is_left = side(x, y, anchor_x, anchor_y, ax, ay) > 0.0
        for v in range(first + 1, last + 1):
            bx, by = vertex[v, 0], vertex[v, 1]
            b_is_left = side(x, y, anchor_x, anchor_y, bx, by) > 0.0
            is_near = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
            if is_near or a_is_left != b_is_left:
                from_edge = side(ax, ay, bx, by, x, y)
                if is_near and from_edge == 0.0:
                    return polygon
                if a_is_left != b_is_left and (from_edge > 0.0) != (side(ax, ay, bx, by, anchor_x, anchor_y) > 0.0):
                    is_inside = not is_inside
            ax, ay, a_is_left = bx, by, b_is_left
    return polygon if is_inside else around


@threads
def find_all(tables: PipTables, x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.int32]) -> None:
    """Write the polygon of each point (x[P], y[P]) into out[P]: iteration k does CHUNK points."""
    for k in prange((x.shape[0] + CHUNK - 1) // CHUNK):
        for i in range(k * CHUNK, min((k + 1) * CHUNK, x.shape[0])):
            out[i] = find(tables, x[i], y[i])
