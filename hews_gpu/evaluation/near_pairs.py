"""Whether events come in near pairs at all, without any model of risk: the Knox test of space-time interaction.

Of all pairs of events near each other in space it counts those that are near in time too, and compares with the counts
after the times have been exchanged among the events, which leaves both the places and the times as they are. (Knox,
1964, Applied Statistics 13; for near repeats: Johnson et al., 2007, Journal of Quantitative Criminology 23.) It says
how much a near-repeat forecast could gain at most, and tells a kernel with no weight from one that was fitted badly.

Shapes: E events, P pairs near in space.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["BANDS_S", "knox"]

BANDS_S = ((HOUR_S, DAY_S), (DAY_S, 3 * DAY_S), (3 * DAY_S, 14 * DAY_S), (14 * DAY_S, 60 * DAY_S))
"""Pairs within an hour are left out: most of them are victims of one event whose rows give different minutes."""
WITHIN_M = 200.0
EXCHANGES = 999


def knox(
    time_s: Int64,
    xy_m: Float64,
    *,
    within_m: float = WITHIN_M,
    exchanges: int = EXCHANGES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Count pairs near in space, by how far apart they are in time, against what chance gives.

    Args:
        time_s: [E].
        xy_m: [E, 2].
        within_m: how near in space.
        exchanges: of the times.
        seed: of these.

    Returns:
        For each band of time: its edges, the pairs, the mean number under exchange, and how often exchange gave as
        many.
    """
    from scipy.spatial import cKDTree

    pairs = cKDTree(xy_m).query_pairs(within_m, output_type="ndarray")
    rng = np.random.default_rng(seed)
    seen = _counts(time_s, pairs)
    drawn = np.stack([_counts(rng.permutation(time_s), pairs) for _ in range(exchanges)])
    chance = (1 + (drawn >= seen).sum(axis=0)) / (exchanges + 1)
    return [
        {
            "from_s": band[0],
            "to_s": band[1],
            "within_m": within_m,
            "pairs": int(seen[i]),
            "expected": float(drawn[:, i].mean()),
            "p": float(chance[i]),
        }
        for i, band in enumerate(BANDS_S)
    ]


def _counts(time_s: Int64, pairs: Int64) -> Int64:
    """Return the pairs in each band of time."""
    apart = np.abs(time_s[pairs[:, 0]] - time_s[pairs[:, 1]])
    return np.array([((apart >= low) & (apart < high)).sum() for low, high in BANDS_S])
