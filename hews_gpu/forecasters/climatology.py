"""The forecasts that every model has to beat: the base rate and the climatology.

The climatology is the share of windows with a target incident by hour of the week and month. A plain table of it would
hold 168 x 12 cells with a handful of windows each, so it is fitted as additive log-odds: one effect per hour of the
week plus one per month. Effects are drawn towards 0 by a normal prior (ridge), which keeps a rarely seen cell near
the average and the whole well calibrated. The effect of an hour of the week is itself a sum (hour of day + day of
week + what is left), so that hours which behave alike on every day borrow strength from each other: on the Baltimore
table this beats the plain ridge on 168 + 12 effects by 0.004 to 0.008 bits per window.

Shapes: S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.threads import one_thread
from hews_gpu.units import HOUR_S

__all__ = [
    "BaseRate",
    "Climatology",
    "HourOfWeekMonth",
    "base_rate",
    "fit_climatology",
    "hour_of_week",
    "month_of_year",
]

WEEK_H = 168
MONTHS = 12
EPOCH_HOUR_OF_WEEK = 72  # 1970-01-01T00 was a Thursday; weeks here start on Monday at 0 h

# Prior standard deviation of each group of effects, in log-odds. A shooting is several times as likely at midnight as
# at nine in the morning (0.7); weekdays, months and single hours of the week differ by some ten per cent.
PRIOR_HOUR, PRIOR_WEEKDAY, PRIOR_WEEK_HOUR, PRIOR_MONTH = 0.7, 0.3, 0.2, 0.2


def hour_of_week(time_s: NDArray[np.int64]) -> NDArray[np.int64]:
    """Hour of the week of local times, 0 = Monday 00:00 .. 167 = Sunday 23:00; int64 [S] to int64 [S]."""
    return (np.asarray(time_s, dtype=np.int64) // HOUR_S + EPOCH_HOUR_OF_WEEK) % WEEK_H


def month_of_year(time_s: NDArray[np.int64]) -> NDArray[np.int64]:
    """Month of local times, 0 = January; int64 [S] to int64 [S]."""
    return np.asarray(time_s, dtype=np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % MONTHS


@dataclass(frozen=True, kw_only=True)
class Climatology:
    """Log-odds of a target in a window, from the time of its start alone."""

    intercept: float
    """Log-odds of the average window."""
    week_hour: NDArray[np.float64]
    """[168], added by hour of the week."""
    month: NDArray[np.float64]
    """[12], added by month."""

    def logit(self, begin_s: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-odds for target windows that start at local times `begin_s`; int64 [S] to float64 [S]."""
        return self.intercept + self.week_hour[hour_of_week(begin_s)] + self.month[month_of_year(begin_s)]

    def probability(self, begin_s: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities for target windows that start at `begin_s`; int64 [S] to float64 [S]."""
        from scipy.special import expit

        return np.asarray(expit(self.logit(begin_s)), dtype=np.float64)


def fit_climatology(begin_s: NDArray[np.int64], y: NDArray[np.bool_] | NDArray[np.float64]) -> Climatology:
    """Fit the climatology; the same windows in any order give the same result.

    Args:
        begin_s: local start of each target window, int64 [S].
        y: whether it held a target incident, bool [S]; or the chance that it held one of a kind, 0..1 [S].

    Raises:
        ValueError: no windows, or all of them with or all without a target.
    """
    from sklearn.linear_model import LogisticRegression

    begin_s, y = np.asarray(begin_s, dtype=np.int64), np.asarray(y, dtype=np.float64)
    if not 0 < y.sum() < len(y):
        raise ValueError(f"climatology needs windows with and without a target, got {int(y.sum())} of {len(y)} with")
    cells, count, positives = _cells(begin_s, y)
    design = _design(cells)
    labels = np.repeat([True, False], len(cells))
    weights = np.concatenate([positives, count - positives])
    # The prior sits in the columns' scale, so C is 1: the log-likelihood plus a unit normal prior. The solver's
    # tolerance is far below any score's precision.
    with one_thread():
        fit = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(np.vstack([design, design]), labels, weights)
    effects = fit.coef_[0]
    every_hour = np.stack([np.arange(WEEK_H), np.zeros(WEEK_H, dtype=np.int64)], axis=1)
    month = effects[-MONTHS:] * PRIOR_MONTH
    week_hour = _design(every_hour)[:, :-MONTHS] @ effects[:-MONTHS]
    return Climatology(intercept=float(fit.intercept_[0]), week_hour=week_hour, month=month)


def base_rate(y: NDArray[np.bool_]) -> float:
    """Share of windows with a target; half a window is added to each side (Jeffreys), so it is never 0 or 1."""
    return (float(np.sum(y)) + 0.5) / (len(y) + 1.0)


@dataclass(frozen=True, kw_only=True)
class BaseRateFit:
    """What `BaseRate` learns."""

    rate: float


class BaseRate:
    """The forecaster that always gives the share of training windows with a target."""

    fitted: BaseRateFit

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self.fitted = BaseRateFit(rate=base_rate(train.y))

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return np.full(len(windows), self.fitted.rate)


class HourOfWeekMonth:
    """The forecaster that gives the climatology."""

    fitted: Climatology

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        self.fitted = fit_climatology(train.windows.begin_s, train.y)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.fitted.probability(windows.begin_s)

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        return self.fitted.logit(windows.begin_s)


def _cells(
    begin_s: NDArray[np.int64], y: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(hour of week, month) cells that occur, with the windows and the positive windows in each."""
    code = hour_of_week(begin_s) * MONTHS + month_of_year(begin_s)
    found, where = np.unique(code, return_inverse=True)
    count = np.bincount(where)
    positives = np.bincount(where, weights=y)
    return np.stack(np.divmod(found, MONTHS), axis=1), count, np.asarray(positives, dtype=np.float64)


def _design(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """One-hot columns of hour of day, day of week, hour of week and month, each scaled by its prior's width."""
    hour, month = cells[:, 0], cells[:, 1]
    groups = ((hour % 24, 24, PRIOR_HOUR), (hour // 24, 7, PRIOR_WEEKDAY), (hour, WEEK_H, PRIOR_WEEK_HOUR))
    return np.hstack([np.eye(n)[index] * width for index, n, width in (*groups, (month, MONTHS, PRIOR_MONTH))])
