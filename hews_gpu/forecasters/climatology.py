"""The forecasts that every model has to beat: the base rate and the climatology.

The climatology is the log-odds of a target in a window as a smooth function of the calendar: harmonics of the day (a
shooting is several times as likely at midnight as at nine in the morning), harmonics of the week on top of them, two
harmonics of the year, what the season does to the day (evenings shift with dusk, and summer nights are long), and what
public holidays and the days before them add. All effects are drawn towards 0 by normal priors, higher harmonics more
than low ones, which keeps a rarely seen hour near its neighbors and the whole well calibrated. How far the week, the
year, the day within the year and holidays may bend the curve at all is chosen by the evidence: the probability of the
training windows under each width, with the effects integrated out (Laplace's approximation; MacKay, 1992, Neural
Computation 4).

Shapes: S samples, C cells of the calendar, P effects, H dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.logistic import expit, fit_with_offset, log_evidence
from hews_gpu.units import DAY_S, HOUR_S

__all__ = [
    "BaseRate",
    "Climatology",
    "Days",
    "HourOfWeekMonth",
    "base_rate",
    "fit_climatology",
    "hour_of_week",
    "month_of_year",
]

WEEK_H = 168
MONTHS = 12
EPOCH_HOUR_OF_WEEK = 72  # 1970-01-01T00 was a Thursday; weeks here start on Monday at 0 h

WEEKLY, YEARLY = 21, 2  # harmonics; every seventh of the week is one of the day
PRIOR_DAILY = 0.7  # standard deviation of the first daily harmonic, in log-odds; others fall off with their number
SEASONAL = 3  # harmonics of the day that the season may change
WEEKLY_WIDTHS, YEARLY_WIDTHS = (0.03, 0.1, 0.3), (0.1, 0.3)
SEASONAL_WIDTHS, HOLIDAY_WIDTHS = (0.03, 0.1, 0.3), (0.03, 0.3)
AHEAD_DAYS = 3653  # a fit is used for no longer
PRIOR_LEVEL = 1e-6  # precision of the intercept: none to speak of

Widths = tuple[float, float, float, float]  # of the priors: week, year, day within the year, holidays

Days = Mapping[str, Int64]
"""Dates by name of the holiday, as days since 1970."""


def hour_of_week(time_s: Int64) -> Int64:
    """Return the hour of the week of local times, 0 = Monday 00:00 .. 167 = Sunday 23:00; int64 [S] to int64 [S]."""
    return (np.asarray(time_s, dtype=np.int64) // HOUR_S + EPOCH_HOUR_OF_WEEK) % WEEK_H


def month_of_year(time_s: Int64) -> Int64:
    """Return the month of local times, 0 = January; int64 [S] to int64 [S]."""
    return np.asarray(time_s, dtype=np.int64).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % MONTHS


def _no_dates() -> Int64:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Climatology:
    """Log-odds of a target in a window, from the time of its start alone."""

    intercept: float
    """Log-odds of the average window."""
    week_hour: Float64
    """[168], added by hour of the week."""
    hour_month: Float64
    """[24, 12], added by hour of the day and month."""
    date: Int64 = field(default_factory=_no_dates)
    """[H], sorted: holidays and the days before them, as days since 1970."""
    date_effect: Float64 = field(default_factory=lambda: np.zeros(0))
    """[H], added on these."""

    @property
    def table(self) -> Float64:
        """What hour of the week and month add together, [168, 12]."""
        return self.week_hour[:, None] + np.tile(self.hour_month, (WEEK_H // 24, 1))

    def logit(self, begin_s: Int64) -> Float64:
        """Return log-odds for target windows that start at local times `begin_s`; int64 [S] to float64 [S]."""
        begin_s = np.asarray(begin_s, dtype=np.int64)
        log_odds = self.intercept + self.table[hour_of_week(begin_s), month_of_year(begin_s)]
        if not len(self.date):
            return log_odds
        place = np.minimum(np.searchsorted(self.date, begin_s // DAY_S), len(self.date) - 1)
        return log_odds + np.where(self.date[place] == begin_s // DAY_S, self.date_effect[place], 0.0)

    def probability(self, begin_s: Int64) -> Float64:
        """Return probabilities for target windows that start at `begin_s`; int64 [S] to float64 [S]."""
        return expit(self.logit(begin_s))


def fit_climatology(begin_s: Int64, y: Bool | Float64, days: Days | None = None) -> Climatology:
    """Fit the climatology; the same windows in any order give the same result.

    Args:
        begin_s: local start of each target window, int64 [S].
        y: whether it held a target incident, bool [S]; or the chance that it held one of a kind, 0..1 [S].
        days: the holidays, in these and in later years.

    Raises:
        ValueError: no windows, or all of them with or all without a target.
    """
    begin_s, y = np.asarray(begin_s, dtype=np.int64), np.asarray(y, dtype=np.float64)
    if not 0 < y.sum() < len(y):
        raise ValueError(f"climatology needs windows with and without a target, got {int(y.sum())} of {len(y)} with")
    first, last = int(begin_s.min()) // DAY_S, int(begin_s.max()) // DAY_S + AHEAD_DAYS
    date, kind, kinds = _dates({name: each[(first <= each) & (each <= last)] for name, each in (days or {}).items()})
    hour, month, special = hour_of_week(begin_s), month_of_year(begin_s), _kind_of(begin_s // DAY_S, date, kind)
    code, which = np.unique((hour * MONTHS + month) * (kinds + 1) + special, return_inverse=True)
    count: Float64 = np.bincount(which).astype(np.float64)  # windows in each cell
    positives: Float64 = np.bincount(which, weights=y).astype(np.float64)
    hours, months, specials = code // (kinds + 1) // MONTHS, code // (kinds + 1) % MONTHS, code % (kinds + 1)
    clock = _clock(hours, months)
    x = np.hstack([np.ones((len(code), 1)), clock, _holidays(specials, kinds)])

    def fit(widths: Widths) -> tuple[float, Float64]:
        ridge = np.concatenate([[PRIOR_LEVEL], _precisions(widths, kinds)])
        effects = fit_with_offset(x, positives, 0.0, ridge, count)
        return log_evidence(x, positives, effects, ridge, count), effects

    narrow = (SEASONAL_WIDTHS[:1], HOLIDAY_WIDTHS[:1])
    tried = {widths: fit(widths) for widths in product(WEEKLY_WIDTHS, YEARLY_WIDTHS, *narrow)}
    week, year, _, holiday = max(tried, key=lambda widths: tried[widths][0])
    tried |= {(week, year, wide, holiday): fit((week, year, wide, holiday)) for wide in SEASONAL_WIDTHS[1:]}
    if kinds:
        week, year, season, _ = max(tried, key=lambda widths: tried[widths][0])
        tried |= {(week, year, season, wide): fit((week, year, season, wide)) for wide in HOLIDAY_WIDTHS[1:]}
    _, effects = max(tried.values(), key=lambda fitted: fitted[0])
    of_week, of_months, of_holidays = np.split(effects[1:], [2 * WEEKLY, clock.shape[1]])
    hours, months = (each.ravel() for each in np.indices((24, MONTHS)))
    return Climatology(
        intercept=float(effects[0]),
        week_hour=(_harmonics(np.arange(WEEK_H) / WEEK_H, WEEKLY) * of_week).sum(axis=1),
        hour_month=(_clock(hours, months)[:, 2 * WEEKLY :] * of_months).sum(axis=1).reshape(24, MONTHS),
        date=date,
        date_effect=(_holidays(kind, kinds) * of_holidays).sum(axis=1),
    )


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
    """The forecaster that gives the climatology, of a calendar with these holidays."""

    fitted: Climatology

    def __init__(self, days: Days | None = None) -> None:
        self._days = days

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        begin_s = np.concatenate([train.windows.begin_s, calibration.windows.begin_s])
        self.fitted = fit_climatology(begin_s, np.concatenate([train.y, calibration.y]), self._days)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.fitted.probability(windows.begin_s)

    def log_odds(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the log-odds [S]."""
        return self.fitted.logit(windows.begin_s)


def _clock(hour: Int64, month: Int64) -> Float64:
    """Return the columns [C, P] of hours of the week and months: week, year, and the day's by the year's first."""
    week, year = _harmonics(hour / WEEK_H, WEEKLY), _harmonics(month / MONTHS, YEARLY)
    day, season = _harmonics(hour % 24 / 24, SEASONAL), _harmonics(month / MONTHS, 1)
    return np.hstack([week, year, (day[:, :, None] * season[:, None, :]).reshape(len(hour), -1)])


def _harmonics(turn: Float64, count: int) -> Float64:
    """Return cosine and sine [C, 2 * count] of each harmonic at each part of a turn."""
    angle = 2 * np.pi * turn[:, None] * np.arange(1, count + 1)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def _holidays(kind: Int64, kinds: int) -> Float64:
    """Return one-hot columns [C, kinds + 2] of each kind of date, of all holidays, and of all days before one."""
    if not kinds:
        return np.zeros((len(kind), 0))
    is_holiday, is_eve = (kind > 0) & (kind <= kinds // 2), kind > kinds // 2
    return np.concatenate([np.eye(kinds + 1)[kind][:, 1:], np.stack([is_holiday, is_eve], axis=1)], axis=1)


def _precisions(widths: Widths, kinds: int) -> Float64:
    """Return the precision [P] of each effect's prior, the intercept's left out."""
    weekly, yearly, seasonal, holiday = widths
    number, of_day = np.arange(1, WEEKLY + 1), seasonal / np.arange(1, SEASONAL + 1)
    of_week = np.where(number % 7, weekly / np.maximum(number / 7, 1), PRIOR_DAILY / (number / 7))
    of_year, of_season = yearly / np.arange(1, YEARLY + 1), np.repeat(np.tile(of_day, 2), 2)
    each = [of_week, of_week, of_year, of_year, of_season, np.full(kinds + 2 if kinds else 0, holiday)]
    return np.asarray(np.concatenate(each) ** -2.0, dtype=np.float64)


def _dates(days: Days) -> tuple[Int64, Int64, int]:
    """Return dates [H] in order with the kind of each, and how many kinds there are: holidays, and days before them.

    A date that is both is the holiday; one of two names has the first.
    """
    kind: dict[int, int] = {}
    for eve in (False, True):
        for i, dates in enumerate(days.values(), start=1 + eve * len(days)):
            for date in (dates - eve).tolist():
                kind.setdefault(date, i)
    date = sorted(kind)
    return np.array(date, dtype=np.int64), np.array([kind[day] for day in date], dtype=np.int64), 2 * len(days)


def _kind_of(day: Int64, date: Int64, kind: Int64) -> Int64:
    """Return the kind [S] of each day; 0 of most."""
    if not len(date):
        return np.zeros(len(day), dtype=np.int64)
    place = np.minimum(np.searchsorted(date, day), len(date) - 1)
    return np.where(date[place] == day, kind[place], 0)
