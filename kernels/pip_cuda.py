"""The search for points' polygons on CUDA: one thread per point, the same walk as on a CPU.

Shapes as in `kernels.pip_tables`; P points.
"""

from __future__ import annotations

from typing import Any

from hews_gpu.kernels._shim_cuda import cuda, kernel
from hews_gpu.kernels.pip_walk import OUTSIDE, cell_of, find_among_edges

__all__ = ["THREADS", "blocks_for", "find_all"]

THREADS = 256
"""Threads of a block: few enough that one slow point holds up few others."""


def blocks_for(points: int) -> int:
    """Return how many blocks hold a thread for each point; at least one."""
    return max(1, -(-points // THREADS))


@kernel
def find_all(tables: Any, x: Any, y: Any, out: Any) -> None:
    """Write the polygon of each point (x[P], y[P]) into out[P]: thread t of block b does point b * THREADS + t."""
    i = cuda.grid(1)
    if i >= out.shape[0]:
        return
    bounds, cells_per_unit, shape = tables.bounds, tables.cells_per_unit, tables.shape
    at = cell_of(
        x[i], y[i], bounds[0], bounds[1], bounds[2], bounds[3], cells_per_unit[0], cells_per_unit[1], shape[1], shape[0]
    )
    answer = tables.cell[at] if at >= 0 else OUTSIDE
    if answer < OUTSIDE:
        answer = find_among_edges(
            -2 - answer, x[i], y[i], tables.run_start, tables.around, tables.anchor, tables.run, tables.vertex
        )
    out[i] = answer
