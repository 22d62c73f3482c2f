"""How good a forecast is: discrimination, calibration, skill, and how sure we may be of it.

Scores are proper (Brier, logarithmic) and are reported for each window at true prevalence; skill is improvement over
a stated reference forecast of the same windows. Uncertainty comes from resampling whole blocks of consecutive windows,
because neighboring windows are not independent.

Shapes: S samples in time order, D bootstrap draws.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ReliabilityBin",
    "Scores",
    "average_precision",
    "block_bootstrap_interval",
    "brier",
    "log_loss_each_bits",
    "reliability",
    "roc_auc",
    "scores",
    "wilson_interval",
]

EPSILON = 1e-12  # a forecast of exactly 0 or 1 that fails costs 40 bits, not infinitely many
Z_95 = 1.959963984540054  # normal quantile of a two-sided 95 % interval
DRAWS = 2000
FEWEST_BLOCKS = 4  # a block longer than a quarter of the series would hide its spread


class Scores(TypedDict):
    """What `scores` finds; the last two against the reference forecast."""

    auc: float
    average_precision: float
    brier: float
    log_loss_bits: float
    brier_skill: float
    log_skill_bits: float


class ReliabilityBin(TypedDict):
    """Windows with similar forecasts: what was said, what happened, and a 95 % band for the latter."""

    p_mean: float
    y_rate: float
    low: float
    high: float
    count: int


def roc_auc(y: ArrayLike, p: ArrayLike) -> float:
    """Chance that a positive window has a higher forecast than a negative one, ties counting half (scikit-learn)."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, p))


def average_precision(y: ArrayLike, p: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation (scikit-learn)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, p))


def brier(y: ArrayLike, p: ArrayLike) -> float:
    """Mean squared difference of forecast and outcome (Brier, 1950, Monthly Weather Review 78)."""
    y, p = _pair(y, p)
    return float(np.mean((p - y) ** 2))


def log_loss_each_bits(y: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Surprise of each outcome in bits, -log2 of the probability it was given (Good, 1952); float64 [S]."""
    y, p = _pair(y, p)
    given = np.where(y == 1, p, 1 - p)
    return -np.log2(np.maximum(given, EPSILON))


def scores(y: ArrayLike, p: ArrayLike, p_reference: ArrayLike) -> Scores:
    """All scores of one forecast.

    Args:
        y: outcomes, 0 or 1 [S], with at least one of each.
        p: forecast probabilities [S].
        p_reference: the forecast that skill is measured against [S].

    Raises:
        ValueError: lengths differ, no windows, one class only, or a probability outside 0..1.
    """
    y, p = _pair(y, p)
    if not 0 < y.sum() < len(y):
        raise ValueError(f"scores need windows with and without a target, got {int(y.sum())} of {len(y)} with")
    loss, reference = log_loss_each_bits(y, p), log_loss_each_bits(y, p_reference)
    squared, squared_reference = brier(y, p), brier(y, p_reference)
    return Scores(
        auc=roc_auc(y, p),
        average_precision=average_precision(y, p),
        brier=squared,
        log_loss_bits=float(loss.mean()),
        brier_skill=1 - squared / squared_reference if squared_reference > 0 else 0.0,
        log_skill_bits=float(np.mean(reference - loss)),
    )


def wilson_interval(successes: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of a proportion that behaves near 0 and 1 (Wilson, 1927, JASA 22); `count` is 1 or more."""
    rate = successes / count
    scale = 1 + z**2 / count
    middle = (rate + z**2 / (2 * count)) / scale
    half = z / scale * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def reliability(y: ArrayLike, p: ArrayLike, bins: int = 10) -> list[ReliabilityBin]:
    """Reliability diagram over bins of about equally many windows; equal forecasts always share a bin.

    Args:
        y: outcomes, 0 or 1 [S].
        p: forecast probabilities [S].
        bins: at most this many.
    """
    y, p = _pair(y, p)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    index = np.searchsorted(edges, p, side="left")  # bin i holds edges[i-1] < p <= edges[i]
    rows: list[ReliabilityBin] = []
    for one in np.unique(index):
        inside = index == one
        count, hits = int(inside.sum()), int(y[inside].sum())
        low, high = wilson_interval(hits, count)
        p_mean = float(p[inside].mean())
        rows.append(ReliabilityBin(p_mean=p_mean, y_rate=hits / count, low=low, high=high, count=count))
    return rows


def block_bootstrap_interval(
    difference: ArrayLike, *, block: int, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Interval of a mean score difference by the paired moving-block bootstrap.

    Each draw lays blocks of consecutive windows, with random starts, end to end until the series is full, and takes
    the mean; the interval holds the middle `level` of the draws. Pairing is in the difference: both forecasts of a
    window are drawn together. (Kuensch, 1989, Annals of Statistics 17.)

    Args:
        difference: score of one forecast minus that of the other, in time order, float64 [S].
        block: windows per block, such as a week's worth; shortened so that the series holds at least 4 blocks.
        draws: D, how many series to draw.
        seed: of the draws.
        level: share of the draws inside the interval.

    Raises:
        ValueError: no windows or `block` below 1.
    """
    values = np.asarray(difference, dtype=np.float64)
    if len(values) < 1 or block < 1:
        raise ValueError(f"bootstrap needs windows and a block of 1 or more, got {len(values)} and {block}")
    size = min(block, max(1, len(values) // FEWEST_BLOCKS))
    blocks, rest = -(-len(values) // size), len(values) % size
    starts = np.random.default_rng(seed).integers(0, len(values) - size + 1, size=(draws, blocks))
    total = np.concatenate([[0.0], np.cumsum(values)])
    sums = total[starts + size] - total[starts]
    if rest:
        sums[:, -1] = total[starts[:, -1] + rest] - total[starts[:, -1]]
    means = sums.sum(axis=1) / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pair(y: ArrayLike, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outcomes and forecasts as float64 [S], checked."""
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or len(y) == 0:
        raise ValueError(f"outcomes and forecasts must be equally long, got {y.shape} and {p.shape}")
    if not np.all((y == 0) | (y == 1)):
        raise ValueError("outcomes must be 0 or 1")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"forecasts must be probabilities, got {np.nanmin(p)}..{np.nanmax(p)}")
    return y, p
