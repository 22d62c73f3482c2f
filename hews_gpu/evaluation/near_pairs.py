"""Whether events come in near pairs at all, without any model of risk: the Knox test of space-time interaction.

Of all pairs of events near each other in space it counts those that are near in time too, and compares with the counts
after the times have been exchanged among the events, which leaves both the places and the times as they are. (Knox,
1964, Applied Statistics 13; for near repeats: Johnson et al., 2007, Journal of Quantitative Criminology 23.) It says
how much a near-repeat forecast could gain at most, and tells a kernel with no weight from one that was fitted badly.
What the exchange cannot keep apart is a slow shift of crime from one part of a city to another: over months it makes
pairs, too.

Shapes: E events, P pairs near in space, D bands of distance, T bands of time, X exchanges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64, Int64
from hews_gpu.evaluation.aoristic import band_chances
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["EDGES_S", "EXCHANGES", "KnoxTable", "knox"]

EDGES_S = (HOUR_S, DAY_S, 3 * DAY_S, 14 * DAY_S, 60 * DAY_S)
"""Pairs within an hour are left out: most of them are victims of one event whose rows give different minutes."""
EDGES_M = (0.0, 200.0)
EXCHANGES = 999
Counts = NDArray[Any]
"""Of pairs: whole, or of chances."""


@dataclass(frozen=True, kw_only=True)
class KnoxTable:
    """Counts of pairs by how far apart they are in space and time, as seen and after each exchange."""

    edges_m: Sequence[float]  # [D + 1]; a band holds its upper end, the first its lower one, too
    edges_s: Sequence[int]  # [T + 1]; a band holds its lower end
    seen: Counts  # [D, T]; no whole numbers where incidents have spans
    drawn: Counts  # [X, D, T]

    def p(self) -> Float64:
        """Return how often [D, T] chance gives as many pairs, each cell by itself."""
        return np.asarray((1 + (self.drawn >= self.seen).sum(axis=0)) / (len(self.drawn) + 1), dtype=np.float64)

    def p_corrected(self) -> Float64:
        """Return how often [D, T] chance gives a cell that stands out as much anywhere in the table.

        Cells are compared by how many standard deviations they lie above their mean; the probability that any is
        called significant where there is nothing is the level, whatever their number. (The single-step maximum:
        Westfall & Young, 1993, Resampling-Based Multiple Testing.)
        """
        every = np.concatenate([self.seen[None], self.drawn]).astype(np.float64)
        spread = every.std(axis=0)
        above = np.divide(every - every.mean(axis=0), spread, out=np.zeros_like(every), where=spread > 0)
        most = above[1:].max(axis=(1, 2))
        as_far = (most[:, None, None] >= above[0]).sum(axis=0)
        return np.asarray((1 + as_far) / (len(self.drawn) + 1), dtype=np.float64)

    def ratio(self, bands: int, band: int) -> dict[str, Any]:
        """Return how many pairs there are in the first `bands` of distance and one of time, and the ratio to chance."""
        return _ratio(self.seen[:bands, band].sum().item(), self.drawn[:, :bands, band].sum(axis=1))

    def cells(self) -> list[dict[str, Any]]:
        """Return each cell as JSON can hold it, by distance and then by time."""
        p, corrected = self.p(), self.p_corrected()
        return [
            {
                "from_s": self.edges_s[t],
                "to_s": self.edges_s[t + 1],
                "from_m": self.edges_m[d],
                "within_m": self.edges_m[d + 1],
                **_ratio(self.seen[d, t].item(), self.drawn[:, d, t]),
                "p": float(p[d, t]),
                "p_corrected": float(corrected[d, t]),
            }
            for d, t in np.ndindex(*self.seen.shape)
        ]


def knox(
    time_s: Int64,
    xy_m: Float64,
    *,
    span_s: Int64 | None = None,
    edges_m: Sequence[float] = EDGES_M,
    edges_s: Sequence[int] = EDGES_S,
    exchanges: int = EXCHANGES,
    seed: int = 0,
) -> KnoxTable:
    """Count pairs near in space, by how far apart they are in time, against what chance gives.

    Args:
        time_s: [E].
        xy_m: [E, 2].
        span_s: how long after its time each may have happened [E]; a pair counts in each band as much as it is likely
            to be in it, and spans are exchanged with their times.
        edges_m: of the bands of distance, ascending [D + 1].
        edges_s: of the bands of time, ascending [T + 1].
        exchanges: of the times.
        seed: of these.
    """
    from scipy.spatial import cKDTree

    pairs = cKDTree(xy_m).query_pairs(edges_m[-1], output_type="ndarray")
    apart_m = np.sqrt(((xy_m[pairs[:, 0]] - xy_m[pairs[:, 1]]) ** 2).sum(axis=1))
    pairs, apart_m = pairs[apart_m >= edges_m[0]], apart_m[apart_m >= edges_m[0]]
    far = np.minimum(np.searchsorted(edges_m[1:], apart_m, side="left"), len(edges_m) - 2)
    rng = np.random.default_rng(seed)
    times, shape = np.asarray(edges_s), (len(edges_m) - 1, len(edges_s) + 1)
    spans = span_s is not None and span_s.any()

    def counted(order: Int64) -> Counts:
        one, other = order[pairs[:, 0]], order[pairs[:, 1]]
        apart_s, within = time_s[one] - time_s[other], far
        if span_s is not None and spans:
            longest_s = span_s[one] + span_s[other]
            rows = np.flatnonzero((longest_s > 0) & (np.abs(apart_s) < times[-1] + longest_s))
            likely = band_chances(apart_s[rows], span_s[one[rows]], span_s[other[rows]], edges_s)
            apart_s, within = apart_s[longest_s == 0], far[longest_s == 0]
        late = np.searchsorted(times, np.abs(apart_s), side="right")
        flat = np.bincount(within * shape[1] + late, minlength=shape[0] * shape[1])
        whole = np.asarray(flat.reshape(shape)[:, 1:-1], dtype=np.int64)
        if not spans:
            return whole
        return whole + np.stack([np.bincount(far[rows], chance, shape[0]) for chance in likely.T], axis=-1)

    every = np.arange(len(time_s))
    seen = counted(every)
    drawn = np.stack([counted(rng.permutation(every)) for _ in range(exchanges)])
    return KnoxTable(edges_m=edges_m, edges_s=edges_s, seen=seen, drawn=drawn)


def _ratio(seen: float, drawn: Counts) -> dict[str, Any]:
    """Return the pairs seen and expected, and their ratio with its 95 % interval.

    The interval holds the factors by which chance [X] would have to be multiplied for what is seen to lie in its
    middle 95 %; without an upper end where chance may give no pair at all, and without a ratio where it never does.
    """
    low, high = np.quantile(drawn, [0.025, 0.975])
    expected = float(drawn.mean())
    return {
        "pairs": seen,
        "expected": expected,
        "ratio": seen / expected if expected else None,
        "ratio_interval": [seen / end if end else None for end in (high, low)],
    }
