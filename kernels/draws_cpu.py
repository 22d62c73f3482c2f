"""Scores of series drawn anew from blocks of one, by how often each window comes up.

Shapes: S windows, D draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled

__all__ = ["score_draws"]


@compiled
def score_draws(
    starts: NDArray[np.int64],
    size: int,
    order: NDArray[np.int64],
    is_last: NDArray[np.bool_],
    y: NDArray[np.bool_],
    aucs: NDArray[np.float64],
) -> None:
    """Write the AUC of each drawn series; nan where it holds only one kind of window.

    Args:
        starts: [D, blocks] of the blocks laid end to end.
        size: windows of a block; of the last one only as many as fill the series.
        order: [S] the windows by rising forecast.
        is_last: [S] whether the next forecast in that order is higher.
        y: [S] outcomes.
        aucs: [D] written.
    """
    length = len(order)
    for draw in range(len(starts)):
        times = np.zeros(length, np.int64)
        for block in range(starts.shape[1]):
            first = starts[draw, block]
            for window in range(first, first + min(size, length - block * size)):
                times[window] += 1
        hits, misses, all_hits, below, won = 0, 0, 0, 0, 0  # of equal forecasts, and of all so far; twice the pairs won
        for i in range(length):
            if y[order[i]]:
                hits += times[order[i]]
            else:
                misses += times[order[i]]
            if is_last[i]:
                won += hits * (2 * below + misses)
                all_hits, below, hits, misses = all_hits + hits, below + misses, 0, 0
        aucs[draw] = won / (2.0 * all_hits * below) if all_hits and below else np.nan
