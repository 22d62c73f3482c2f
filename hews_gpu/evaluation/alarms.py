"""Warnings under an alarm budget: what fraction comes true, how many events they cover, how often they are false.

A threshold is set on a block of time that lies before the one it is used in, so that nobody knows beforehand exactly
how many warnings will be given: both the budget and the number given are reported.

Shapes: S windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hews_gpu.arrays import Bool

__all__ = ["BUDGETS_PER_WEEK", "alarm_scores", "threshold_for"]

BUDGETS_PER_WEEK = (3, 7, 14)


def threshold_for(p: ArrayLike, weeks: float, budget_per_week: float) -> float:
    """Return the lowest threshold by which the forecasts of some weeks give no more warnings than the budget.

    A warning is given where a forecast is at least as high. Equal forecasts are warned of together or not at all; where
    even the highest are too many, the threshold is infinite.

    Args:
        p: forecasts [S] of the weeks before those that the threshold is for.
        weeks: how many they are.
        budget_per_week: warnings.
    """
    ordered = np.sort(np.asarray(p, dtype=np.float64))[::-1]
    allowed = int(np.floor(budget_per_week * weeks + 1e-9))
    if allowed >= len(ordered):
        return float(ordered[-1]) if len(ordered) else float("inf")
    above = ordered[ordered > ordered[allowed]]
    return float(above[-1]) if len(above) else float("inf")


def alarm_scores(y: ArrayLike, warned: Bool, weeks: float, budget_per_week: float) -> dict[str, float | None]:
    """Score the warnings given; None where there is nothing to divide by.

    Args:
        y: outcomes [S].
        warned: [S].
        weeks: that the windows span.
        budget_per_week: what the thresholds were set for.
    """
    y = np.asarray(y, dtype=bool)
    hits, given, events = int((y & warned).sum()), int(warned.sum()), int(y.sum())
    return {
        "budget_per_week": budget_per_week,
        "warnings_per_week": given / weeks,
        "precision": hits / given if given else None,
        "recall": hits / events if events else None,
        "false_alarms_per_week": (given - hits) / weeks,
    }
