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

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.logistic import expit
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


def hour_of_week(time_s: Int64) -> Int64:
    """Return the hour of the week of local times, 0 = Monday 00:00 .. 167 = Sunday 23:00; int64 [S] to int64 [S]."""
    return (np.asarray(time_s, dtype=np.int64) // HOUR_S + EPOCH_HOUR_OF_WEEK) % WEEK_H


def month_of_year(time_s: Int64) -> Int64:
    """Return the month of local times, 0 = January; int64 [S] to int64 [S]."""
    return np.asarray(time_s, dtype=np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % MONTHS


@dataclass(frozen=True, kw_only=True)
class Climatology:
    """Log-odds of a target in a window, from the time of its start alone."""

    intercept: float
    """Log-odds of the average window."""
    week_hour: Float64
    """[168], added by hour of the week."""
    month: Float64
    """[12], added by month."""

    def logit(self, begin_s: Int64) -> Float64:
        """Return log-odds for target windows that start at local times `begin_s`; int64 [S] to float64 [S]."""
        return self.intercept + self.week_hour[hour_of_week(begin_s)] + self.month[month_of_year(begin_s)]

    def probability(self, begin_s: Int64) -> Float64:
        """Return probabilities for target windows that start at `begin_s`; int64 [S] to float64 [S]."""
        return expit(self.logit(begin_s))


def fit_climatology(begin_s: Int64, y: Bool | Float64) -> Climatology:
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
    code, which = np.unique(hour_of_week(begin_s) * MONTHS + month_of_year(begin_s), return_inverse=True)
    count, positives = np.bincount(which), np.bincount(which, weights=y)  # windows in each cell that occurs
    design = _design(np.stack(np.divmod(code, MONTHS), axis=1))
    labels = np.repeat([True, False], len(code))
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


def base_rate(y: Bool) -> float:
    """Return the share of windows with a target; half a window more on each side (Jeffreys), so never 0 or 1."""
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


def _design(cells: Int64) -> Float64:
    """Return one-hot columns of hour of day, day of week, hour of week and month, scaled by their priors' widths."""
    hour, month = cells[:, 0], cells[:, 1]
    groups = ((hour % 24, 24, PRIOR_HOUR), (hour // 24, 7, PRIOR_WEEKDAY), (hour, WEEK_H, PRIOR_WEEK_HOUR))
    return np.hstack([np.eye(n)[index] * width for index, n, width in (*groups, (month, MONTHS, PRIOR_MONTH))])
