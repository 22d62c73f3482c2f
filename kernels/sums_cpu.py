"""Sums of many rows, each row of the result added up in order and by itself.

Shapes: S rows of the result, R rows added, L summands, K columns; a grid of U by V cells, of which C are taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled, inlined

__all__ = ["add_grids", "add_rows", "add_weighted_rows", "multiply_matrices"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@inlined
def _fade(before: Float64, lately: Float64, keep: float) -> None:
    """Let all that was added fade by a factor."""
    for k in range(len(before)):
        before[k] = (before[k] + lately[k]) * keep
        lately[k] = 0.0


@compiled
def add_rows(rows: Int64, column: Int64, value: Float64, keep: Float64, sums: Float64) -> None:
    """Write what the first rows add up to in each column.

    Args:
        rows: [S] how many, rising.
        column: [R] of each row, 0..K-1.
        value: [R] that it adds.
        keep: [R] what becomes of all that was added before the row; a factor, 1 for nothing.
        sums: [S, K] written.
    """
    before, lately = np.zeros(sums.shape[1]), np.zeros(sums.shape[1])
    row = 0
    for s in range(len(rows)):
        while row < rows[s]:
            if keep[row] != 1.0:
                _fade(before, lately, keep[row])
            lately[column[row]] += value[row]
            row += 1
        for k in range(len(before)):
            sums[s, k] = before[k] + lately[k]


@compiled
def add_weighted_rows(rows: Int64, weight: Float64, value: Float64, keep: Float64, sums: Float64) -> None:
    """Write the same of rows that add to every column, each by its weights [R, K]."""
    before, lately = np.zeros(sums.shape[1]), np.zeros(sums.shape[1])
    row = 0
    for s in range(len(rows)):
        while row < rows[s]:
            if keep[row] != 1.0:
                _fade(before, lately, keep[row])
            for k in range(len(before)):
                lately[k] += value[row] * weight[row, k]
            row += 1
        for k in range(len(before)):
            sums[s, k] = before[k] + lately[k]


@compiled
def multiply_matrices(a: Float64, b: Float64, out: Float64) -> None:
    """Add the product of [S, L] and [L, K] to `out` [S, K]."""
    for s in range(a.shape[0]):
        for inner in range(a.shape[1]):
            for k in range(b.shape[1]):
                out[s, k] += a[s, inner] * b[inner, k]


@compiled
def add_grids(x: Float64, y: Float64, place: Int64, column: Int64, sums: Float64) -> None:
    """Add the product of a grid's column and row at each cell to `sums` [S, K].

    Args:
        x: [S, U].
        y: [S, V].
        place: [C, 2] of each cell in the grid.
        column: [C] to which it is added.
        sums: [S, K] added to.
    """
    for s in range(sums.shape[0]):
        for c in range(place.shape[0]):
            sums[s, column[c]] += x[s, place[c, 0]] * y[s, place[c, 1]]
