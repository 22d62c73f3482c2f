"""The search for a point's polygon in its cell of the grid: one walk for every compiler, and the CPU loop over points.

From the point to the cell's anchor goes a line. An edge is crossed if its ends lie on different sides of that line and
the line's ends on different sides of the edge; an end that lies on the line counts as to its right, so that a line
through a vertex crosses one of its two edges or both or none, as a line beside it would. All sides are exact, so
nothing is ever nearly crossed. A point on an edge is recognized before, by its own test.

Shapes as in `kernels.pip_tables`; P points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import inlined, prange, scalar, threads
from hews_gpu.kernels.pip_scalars import side
from hews_gpu.kernels.pip_tables import PipTables

__all__ = ["cell_of", "find_all", "find_among_edges"]

OUTSIDE = -1
CHUNK = 1024
"""Points per iteration of a thread."""


@scalar
def cell_of(
    x: float,
    y: float,
    west: float,
    south: float,
    east: float,
    north: float,
    columns_per_unit: float,
    rows_per_unit: float,
    columns: int,
    rows: int,
) -> int:
    """Return the row by row number of the cell of (x, y); -1 outside the bounds and where x or y is no number."""
    if not (west <= x <= east and south <= y <= north):
        return -1
    column = min(int((x - west) * columns_per_unit), columns - 1)
    row = min(int((y - south) * rows_per_unit), rows - 1)
    return row * columns + column


@inlined
def find_among_edges(
    k: int,
    x: float,
    y: float,
    run_start: NDArray[np.int32],
    around: NDArray[np.int32],
    anchor: NDArray[np.float64],
    run: NDArray[np.int32],
    vertex: NDArray[np.float64],
) -> int:
    """Return the first polygon that covers (x, y), edges included, in the k-th cell with edges; or OUTSIDE."""
    anchor_x, anchor_y, cover = anchor[k, 0], anchor[k, 1], around[k]
    polygon, is_inside = OUTSIDE, False
    for r in range(run_start[k], run_start[k + 1]):
        if run[r, 0] != polygon:
            if is_inside or OUTSIDE < cover < run[r, 0]:
                break
            polygon = run[r, 0]
        is_inside ^= run[r, 1] == 1
        ax, ay = vertex[run[r, 2], 0], vertex[run[r, 2], 1]
        a_is_left = side(x, y, anchor_x, anchor_y, ax, ay) > 0.0
        is_on_edge = False
        for v in range(run[r, 2] + 1, run[r, 3] + 1):
            bx, by = vertex[v, 0], vertex[v, 1]
            b_is_left = side(x, y, anchor_x, anchor_y, bx, by) > 0.0
            is_near = (min(ax, bx) <= x <= max(ax, bx)) & (min(ay, by) <= y <= max(ay, by))
            if is_near | (a_is_left != b_is_left):
                from_edge = side(ax, ay, bx, by, x, y)
                is_on_edge |= is_near & (from_edge == 0.0)
                if a_is_left != b_is_left:
                    is_inside ^= (from_edge > 0.0) != (side(ax, ay, bx, by, anchor_x, anchor_y) > 0.0)
            ax, ay, a_is_left = bx, by, b_is_left
        if is_on_edge:
            is_inside = True
            break
    return int(polygon if is_inside else cover)


@threads
def find_all(tables: PipTables, x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.int32]) -> None:
    """Write the polygon of each point (x[P], y[P]) into out[P]: iteration k does CHUNK points."""
    west, south, east, north = tables.bounds[0], tables.bounds[1], tables.bounds[2], tables.bounds[3]
    columns_per_unit, rows_per_unit = tables.cells_per_unit[0], tables.cells_per_unit[1]
    rows, columns = tables.shape[0], tables.shape[1]
    cell, run_start, around = tables.cell, tables.run_start, tables.around
    anchor, run, vertex = tables.anchor, tables.run, tables.vertex
    for k in prange((x.shape[0] + CHUNK - 1) // CHUNK):
        for i in range(k * CHUNK, min((k + 1) * CHUNK, x.shape[0])):
            at = cell_of(x[i], y[i], west, south, east, north, columns_per_unit, rows_per_unit, columns, rows)
            answer = int(cell[at]) if at >= 0 else OUTSIDE
            if answer < OUTSIDE:
                answer = find_among_edges(-2 - answer, x[i], y[i], run_start, around, anchor, run, vertex)
            out[i] = answer
