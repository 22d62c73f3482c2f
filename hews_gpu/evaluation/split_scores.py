"""The verdict on a set of forecasts: every score of every split, and the test split against each baseline.

It needs nothing but forecasts and outcomes, so anybody can repeat it from the table of forecasts.

Shapes: S samples of one split, in time order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.evaluation.metrics import block_bootstrap_interval, log_loss_each_bits, reliability, scores
from hews_gpu.units import WEEK_S

__all__ = ["Forecasts", "judge", "verdict"]


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """One split: what was said and what happened."""

    y: NDArray[np.bool_]  # [S]
    p: Float64  # [S] the model
    p_climatology: Float64  # [S] what skill is measured against
    others: Mapping[str, Float64]  # further forecasts [S] by name: base_rate, oracle


def judge(splits: Mapping[str, Forecasts], *, judged: str, stride_s: int, seed: int = 0) -> dict[str, Any]:
    """All scores, as JSON can hold them.

    Args:
        splits: forecasts by split.
        judged: the split whose scores are the result; the others are listed beside it.
        stride_s: from one issue time to the next; tells how many windows a one-week block holds.
        seed: of the bootstrap.

    Returns:
        The judged split's scores at the top level, with the interval of its log skill and a verdict in words, its
        reliability and baselines, and the scores of every split under ``splits``.
    """
    block = max(1, round(WEEK_S / stride_s))
    found = {name: _scored(forecasts) for name, forecasts in splits.items()}
    result, test = found[judged], splits[judged]
    low, high = _interval(test, test.p, block, seed)
    keys = ("auc", "average_precision", "brier_skill", "log_skill_bits", "base_rate", "windows", "positives")
    return {
        **{key: result[key] for key in keys},
        "log_skill_bits_interval": [low, high],
        "verdict": verdict(result["log_skill_bits"], low, high),
        "splits": found,
        "reliability": reliability(test.y, test.p),
        "baselines": _baselines(test, block, seed),
    }


def verdict(skill_bits: float, low: float, high: float) -> str:
    """One sentence on a log skill against climatology, in bits per window, and its 95 % interval."""
    if skill_bits == low == high == 0:
        return "No significant skill: the model stayed the climatology, which nothing it learned could beat."
    said = f"{skill_bits:+.4f} bits per window against climatology, 95 % interval {low:+.4f} to {high:+.4f}"
    if low <= 0 <= high:
        return f"No significant skill: {said}, which includes 0."
    return f"Significant skill: {said}." if low > 0 else f"Worse than climatology: {said}."


def _scored(forecasts: Forecasts) -> dict[str, Any]:
    """Counts and scores of the model on one split."""
    positives, windows = int(forecasts.y.sum()), len(forecasts.y)
    counts = {"windows": windows, "positives": positives, "base_rate": positives / windows}
    return {**counts, **scores(forecasts.y, forecasts.p, forecasts.p_climatology)}


def _interval(forecasts: Forecasts, p: Float64, block: int, seed: int) -> tuple[float, float]:
    """95 % interval of a forecast's log skill against climatology, bits per window."""
    gained = log_loss_each_bits(forecasts.y, forecasts.p_climatology) - log_loss_each_bits(forecasts.y, p)
    return block_bootstrap_interval(gained, block=block, seed=seed)


def _baselines(forecasts: Forecasts, block: int, seed: int) -> dict[str, Any]:
    """Scores of the climatology and the other forecasts, each with the interval of its log skill."""
    found: dict[str, Any] = {}
    for name, p in {**forecasts.others, "climatology": forecasts.p_climatology}.items():
        interval = list(_interval(forecasts, p, block, seed))
        found[name] = {**scores(forecasts.y, p, forecasts.p_climatology), "log_skill_bits_interval": interval}
    return found
