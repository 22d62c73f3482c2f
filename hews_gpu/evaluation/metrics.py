"""How good a forecast is: discrimination, calibration, skill, and how sure we may be of it.

Scores are proper (Brier, logarithmic) and are reported for each window at true prevalence; skill is improvement over
a stated reference forecast of the same windows. Uncertainty comes from resampling whole blocks of consecutive windows,
because neighboring windows are not independent.

Shapes: S samples in time order, D bootstrap draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Bool, Float64
from hews_gpu.forecasters.logistic import require_pair

__all__ = [
    "average_precision",
    "brier",
    "reliability",
    "roc_auc",
    "wilson_interval",
]

Z_95 = 1.959963984540054  # normal quantile of a two-sided 95 % interval
DRAWS = 2000
FEWEST_BLOCKS = 4  # a block longer than a quarter of the series would hide its spread


def roc_auc(y: ArrayLike, p: ArrayLike) -> float:
    """Return the chance that a positive window has a higher forecast than a negative one, ties counting half.

    nan where all windows are of one kind.
    """
    y, p = _numbers(y, p)
    negatives = np.sort(p[~y])
    below, not_above = (np.searchsorted(negatives, p[y], side=side) for side in ("left", "right"))
    pairs = len(below) * len(negatives)
    return float(below.sum() + not_above.sum()) / (2 * pairs) if pairs else float("nan")


def average_precision(y: ArrayLike, p: ArrayLike) -> float:
    """Return the precision averaged over the steps of recall, without interpolation; nan without a positive window."""
    y, p = _numbers(y, p)
    every, hits = np.sort(p), np.sort(p[y])
    warned, right = (len(each) - np.searchsorted(each, hits, side="left") for each in (every, hits))
    return float(np.mean(right / warned)) if len(hits) else float("nan")


def _numbers(y: ArrayLike, p: ArrayLike) -> tuple[Bool, Float64]:
    """Return outcomes and forecasts, which may be any numbers that rank windows."""
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    if np.isnan(p).any():
        raise ValueError("forecasts must be numbers, one is nan")  # it would be ranked the highest
    return y, p


def brier(y: ArrayLike, p: ArrayLike) -> float:
    """Return the mean squared difference of forecast and outcome (Brier, 1950, Monthly Weather Review 78)."""
    y, p = require_pair(y, p)
    return float(np.mean((p - y) ** 2))


def wilson_interval(successes: float, count: float) -> tuple[float, float]:
    """Return the interval of a proportion that behaves near 0 and 1 (Wilson, 1927, JASA 22); `count` is above 0."""
    z, rate = Z_95, successes / count
    scale = 1 + z**2 / count
    middle = (rate + z**2 / (2 * count)) / scale
    half = z / scale * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, min(rate, float(middle - half))), min(1.0, max(rate, float(middle + half)))  # never past the rate


def reliability(y: ArrayLike, p: ArrayLike, bins: int = 10) -> list[dict[str, float]]:
    """Return a reliability diagram over bins of about equally many windows; equal forecasts always share a bin.

    Each has the mean forecast, the share that came true with its 95 % band, and the number of windows.

    Args:
        y: outcomes, 0 or 1 [S].
        p: forecast probabilities [S].
        bins: at most this many.
    """
    y, p = require_pair(y, p)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    index = np.searchsorted(edges, p, side="left")  # bin i holds edges[i-1] < p <= edges[i]
    rows = []
    for one in np.unique(index):
        inside = index == one
        count, hits = int(inside.sum()), int(y[inside].sum())
        low, high = wilson_interval(hits, count)
        rows.append(
            {"p_mean": float(p[inside].mean()), "y_rate": hits / count, "low": low, "high": high, "count": count}
        )
    return rows
