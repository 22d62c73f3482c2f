"""The t-interval of a mean whose errors remember for months, and Holm's correction for several models tried.

How far the mean of a series may be off is read from its slowest waves: from its projections on the first K cosines, of
periods from two test spans down to 2/K of one. Errors that remember much less long than the last of them make the
projections as large as the mean's own error, independent and normal, so that mean over error has a t-distribution with
K degrees of freedom, however few months there are. (Equal-weighted cosines: Lazarus, Lewis, Stock and Watson, 2018,
Journal of Business & Economic Statistics 36.) Percentiles of resampled blocks do not know how little a few blocks tell:
``studies/verdicts.py`` measures both.

Shapes: S windows in time order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.fft import dct
from scipy.special import stdtr, stdtrit

from hews_gpu.arrays import Float64
from hews_gpu.units import DAY_S

__all__ = ["LEVEL_95", "cosines", "holm", "mean_interval", "ratio_interval"]

LEVEL_95 = 0.95
FEWEST_COSINES, YEAR_S = 2, 365.25 * DAY_S


def cosines(length: int, stride_s: int) -> int:
    """Return K for a series of S windows: two, and one more per year.

    More would tell a gain of a given size more often, but errors that remember 26 weeks are taken for gains then.
    """
    return FEWEST_COSINES + round(length * stride_s / YEAR_S)


def mean_interval(values: Float64, stride_s: int, count: int | None = None) -> dict[str, Any]:
    """Return the mean of a series [S], ``value``, its 95 % ``interval``, and ``p``, two-sided, of a mean of zero.

    Args:
        values: [S].
        stride_s: from one window to the next.
        count: K, where it is known how long errors remember; else as of `cosines`.
    """
    count, value = count or cosines(len(values), stride_s), float(np.mean(values))
    waves = dct(values, type=2)[1 : count + 1] / len(values) / np.sqrt(2)
    error = float(np.sqrt(np.mean(waves**2))) if len(waves) else 0.0  # of one window nothing can be said
    half = error * float(stdtrit(count, (1 + LEVEL_95) / 2))
    p = 2 * float(stdtr(count, -abs(value) / error)) if error else float(value == 0)
    return {"value": value, "interval": [value - half, value + half], "p": p}


def ratio_interval(top: Float64, bottom: Float64, stride_s: int, count: int | None = None) -> dict[str, Any]:
    """Return the ratio of two series' means [S], ``value``, and its 95 % ``interval``, by linearization.

    Args:
        top: [S].
        bottom: [S].
        stride_s: as of `mean_interval`, like the next.
        count: likewise.
    """
    value = float(np.mean(top) / np.mean(bottom))
    low, high = mean_interval((top - value * bottom) / np.mean(bottom), stride_s, count)["interval"]
    return {"value": value, "interval": [value + low, value + high]}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return p values corrected for their number, by name (Holm, 1979, Scandinavian Journal of Statistics 6)."""
    corrected, least = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        least = max(least, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = least
    return corrected
