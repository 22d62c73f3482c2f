"""Sums that fade: what is left at some moments of rows that came before, each fading from when it happened.

The sums of all columns are kept as of one moment, `base`, at which a row counts ``exp((time - base) / decay)``; what is
left at t is that times ``exp((base - t) / decay)``. The base moves on with the rows, and never with the moments asked
about: what is left at one moment has the same bits whatever others are asked about with it.

Shapes: S moments, R rows, K columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled

__all__ = ["decay", "decay_weighted"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FAR = 32.0
"""Decays after which the base moves: until then a row counts at most exp(32) times what one at the base does."""


@compiled
def decay(when_s: Int64, known_s: Int64, time_s: Int64, column: Int64, decay_s: float, sums: Float64) -> None:
    """Write what is left of the rows of each column that are known before each moment.

    Args:
        when_s: [S], sorted.
        known_s: [R], sorted, from when on each row counts.
        time_s: [R] from when on it fades, no later.
        column: [R] 0..K-1.
        decay_s: may be infinite: then rows are counted.
        sums: [S, K] written.
    """
    moments, columns = sums.shape
    left = np.zeros(columns)
    base_s = known_s[0] if len(known_s) else 0
    row = 0
    for s in range(moments):
        while row < len(known_s) and known_s[row] < when_s[s]:
            if (known_s[row] - base_s) / decay_s > FAR:
                left *= np.exp((base_s - known_s[row]) / decay_s)
                base_s = known_s[row]
            left[column[row]] += np.exp((time_s[row] - base_s) / decay_s)
            row += 1
        fade = np.exp((base_s - when_s[s]) / decay_s) if row else 0.0
        for k in range(columns):
            sums[s, k] = left[k] * fade


@compiled
def decay_weighted(
    when_s: Int64, known_s: Int64, time_s: Int64, weight: Float64, decay_s: float, sums: Float64
) -> None:
    """Write the same of rows that count in every column, each with its weights [R, K]."""
    moments, columns = sums.shape
    left = np.zeros(columns)
    base_s = known_s[0] if len(known_s) else 0
    row = 0
    for s in range(moments):
        while row < len(known_s) and known_s[row] < when_s[s]:
            if (known_s[row] - base_s) / decay_s > FAR:
                left *= np.exp((base_s - known_s[row]) / decay_s)
                base_s = known_s[row]
            value = np.exp((time_s[row] - base_s) / decay_s)
            for k in range(columns):
                left[k] += value * weight[row, k]
            row += 1
        fade = np.exp((base_s - when_s[s]) / decay_s) if row else 0.0
        for k in range(columns):
            sums[s, k] = left[k] * fade
