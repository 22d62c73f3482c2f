"""The paired moving-block bootstrap, for many quantities at once: means, ratios, and fits that have sums to start from.

Each draw lays blocks of consecutive windows, with random starts, end to end until the series is full. All series handed
over are drawn with the same blocks: that is what pairs the forecasts of a window. Sums over blocks come from cumulative
sums, so 2,000 draws of ten years cost milliseconds. (Kuensch, 1989, Annals of Statistics 17.)

Shapes: S windows in time order, Q quantities, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Float64, Int64
from hews_gpu.evaluation.mean_interval import LEVEL_95
from hews_gpu.evaluation.metrics import DRAWS, FEWEST_BLOCKS
from hews_gpu.units import WEEK_S

__all__ = ["Blocks", "interval"]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """D drawn series of S windows, as the starts of their blocks."""

    starts: Int64  # [D, blocks]
    size: int
    length: int  # S

    @classmethod
    def drawn(cls, length: int, block: int, *, draws: int = DRAWS, seed: int = 0) -> Blocks:
        """Draw the starts.

        Args:
            length: S.
            block: windows per block; shortened so that the series holds at least 4 blocks.
            draws: D.
            seed: of the draws.

        Raises:
            ValueError: no windows or `block` below 1.
        """
        if length < 1 or block < 1:
            raise ValueError(f"bootstrap needs windows and a block of 1 or more, got {length} and {block}")
        size = min(block, max(1, length // FEWEST_BLOCKS))
        count = -(-length // size)
        starts = np.random.default_rng(seed).integers(0, length - size + 1, size=(draws, count))
        return cls(starts=starts, size=size, length=length)

    @classmethod
    def by_weeks(cls, length: int, stride_s: int, *, weeks: int = 1, draws: int = DRAWS) -> Blocks:
        """Draw blocks of some weeks, from windows that begin `stride_s` after one another."""
        return cls.drawn(length, max(1, round(weeks * WEEK_S / stride_s)), draws=draws)

    def sums(self, values: ArrayLike) -> Float64:
        """Return the sum [D, Q] (or [D]) of each quantity over each drawn series.

        Args:
            values: [S, Q] or [S].
        """
        values = np.asarray(values, dtype=np.float64)
        flat = values.reshape(self.length, -1)
        total = np.vstack([np.zeros((1, flat.shape[1])), np.cumsum(flat, axis=0)])
        rest = self.length % self.size
        whole, last = (self.starts, None) if not rest else (self.starts[:, :-1], self.starts[:, -1])
        sums = np.empty((len(self.starts), flat.shape[1]))
        for q in range(flat.shape[1]):
            column = total[:, q]
            sums[:, q] = (column[whole + self.size] - column[whole]).sum(axis=1)
            if last is not None:
                sums[:, q] += column[last + rest] - column[last]
        return sums.reshape(len(self.starts), *values.shape[1:])

    def means(self, values: ArrayLike) -> Float64:
        """Return the mean [D, Q] (or [D]) of each quantity over each drawn series."""
        return self.sums(values) / self.length


def interval(drawn: ArrayLike) -> list[float]:
    """Return the middle 95 % of drawn values [D], as [low, high]; draws that are not a number are left out."""
    low, high = np.nanquantile(np.asarray(drawn, dtype=np.float64), [(1 - LEVEL_95) / 2, (1 + LEVEL_95) / 2])
    return [float(low), float(high)]
