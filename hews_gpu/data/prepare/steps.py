"""Steps in the monthly volume of a table: months at which a category's count changes for good.

A step says that something other than crime changed: a category was split, a file ends and another one with other rules
begins, a feed drops rows. Rule: month t is a step if the mean of the 12 months from t on and that of the 12 before it
differ by a factor of at least MIN_RATIO, and the mean of the 12 differences between equal calendar months (so that
seasons cancel) is at least MIN_Z of its standard errors from 0. The variance of these differences is taken from them,
but as no less than that of Poisson counts. Of months within a year of each other the one with the largest change is
reported. Months that the table covers only in part, at its two ends, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["volume_steps"]

YEAR = 12
MIN_RATIO = 1.15
MIN_Z = 5.0
MIN_MEAN = 5.0  # rows a month on the larger side; below, counts say little
RULE = (
    "12 months from the month on against the 12 before: means differ by a factor of 1.15 or more, and the differences "
    "of equal calendar months have a mean of 5 or more standard errors (at least Poisson's)"
)

Floats = npt.NDArray[np.float64]


def volume_steps(months: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Steps of each series, largest change first.

    Args:
        months: names of whole months, without gaps.
        counts: rows per month of each category.
    """
    found = []
    for name, series in counts.items():
        for t, ratio, z, means in _steps_of(np.asarray(series, np.float64)):
            entry = {
                "category": name,
                "month": months[t],
                "before": means[0],
                "after": means[1],
                "ratio": ratio,
                "z": z,
            }
            found.append(entry)
    return sorted(found, key=lambda entry: (-abs(entry["z"]), entry["category"], entry["month"]))


def _steps_of(series: Floats) -> list[tuple[int, float | None, float, tuple[float, float]]]:
    candidates = []
    for t in range(YEAR, len(series) - YEAR + 1):
        before, after = series[t - YEAR : t], series[t : t + YEAR]
        means = (float(before.mean()), float(after.mean()))
        if max(means) < MIN_MEAN or max(means) < MIN_RATIO * min(means):
            continue
        apart = after - before
        variance = max(float(apart.var(ddof=1)), sum(means))
        z = float(apart.mean() / np.sqrt(variance / YEAR))
        if abs(z) >= MIN_Z:
            candidates.append((t, means[1] / means[0] if means[0] else None, z, means))
    chosen: list[tuple[int, float | None, float, tuple[float, float]]] = []
    for step in sorted(candidates, key=lambda found: (-abs(found[3][1] - found[3][0]), found[0])):
        if all(abs(step[0] - other[0]) >= YEAR for other in chosen):
            chosen.append(step)
    return chosen
