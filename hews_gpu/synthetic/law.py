"""What a city is made of: rates, categories of incidents, and what sets off its target events.

Every law is a marked, self- and cross-exciting point process (Hawkes, Biometrika 58, 1971; in space and for crime:
Mohler, Short, Brantingham, Schoenberg and Tita, J. Am. Stat. Assoc. 106, 2011). A mark is the category and the place.

- A target event sets off others near it (`Law.excited_by_targets`).
- A `Trigger` sets off target events: an incident of one category, or a pair of incidents of two categories close to
  each other in space and time; anywhere in the city or near itself; everywhere or only in hidden neighborhoods.
- An incident of the category with near repeats sets off others of its category nearby, and no targets.

Time runs on a grid of whole minutes, and so does the law itself: an event in minute m sets off a Poisson number of
others (mean: the kernel's `branching`), each after ceil(Exp(decay)) minutes, at least one. Nothing is rounded
afterwards, so the table of events, given to the minute, is all that the future depends on, and the truth computed from
it is exact. The clock is local wall-clock time in which every day has 24 hours; the city lies in a zone that never
changes its clock.

The presets are in `presets`. Shapes: H hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = [
    "MINUTES_PER_HOUR",
    "NOTHING",
    "SLOT_H",
    "Category",
    "Kernel",
    "Law",
    "LogOddsRhythm",
    "Rhythm",
    "Trigger",
    "Wave",
]

MINUTES_PER_HOUR = 60
HOURS_PER_WEEK = 168
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
YEAR_H = 8_766
SLOT_H = 2
"""Hours of a slot: the length of the windows in which a `LogOddsRhythm` is exact, and in which pairs are counted."""


def _calendar(begin_s: int, hours: int) -> tuple[Int64, Int64]:
    """Return the hour of the week (Monday 00:00 is 0) and the month (January is 0) of each hour, both [H]."""
    hour = begin_s // HOUR_S + np.arange(hours)
    month = hour.astype("datetime64[h]").astype("datetime64[M]").astype(np.int64) % 12
    return (hour + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK, month


def _is_weekend(hour_of_week: Int64) -> Bool:
    """Return whether an hour lies between Friday 18:00 and Monday 04:00."""
    return np.asarray((hour_of_week >= 4 * 24 + 18) | (hour_of_week < 4))


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How an event sets off others: how many, how soon, and how far away."""

    branching: float
    """Mean number of events that one event sets off directly."""
    decay_s: float
    """Time constant of the delay."""
    spread_m: float = 220.0
    """Standard deviation of the distance along each axis, in cities without addresses."""

    def __post_init__(self) -> None:
        assert self.branching >= 0
        assert self.decay_s > 0

    @property
    def keep(self) -> float:
        """Share of the excitation that outlives one minute: P(delay > d + 1 | delay > d)."""
        return float(np.exp(-MINUTE_S / self.decay_s))


NOTHING = Kernel(branching=0.0, decay_s=HOUR_S)
REPEATS = Kernel(branching=0.2, decay_s=96 * HOUR_S, spread_m=120.0)  # a mean distance of 150 m


@dataclass(frozen=True, kw_only=True)
class Wave:
    """A slow rise and fall over years: the trend of a rate."""

    swing: float = 0.0
    """Half the log ratio between the highest and the lowest rate."""
    period_y: float = 9.0
    """Years from one high to the next."""
    phase: float = 0.0
    """Radians at the begin."""

    def hourly(self, hours: int) -> Float64:
        """Return the relative rate of each hour [H]."""
        angle = 2 * np.pi * np.arange(hours) / (self.period_y * YEAR_H) + self.phase
        return np.asarray(np.exp(self.swing * np.sin(angle)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How a rate rises and falls with the hour of the day, the weekend and the season; its mean is 1."""

    peak_hour: float = 18.0
    """Hour of the day of the daily maximum."""
    swing: float = 0.5
    """Half the log ratio between the daily maximum and minimum."""
    weekend: float = 0.0
    """Log ratio of Friday 18:00 to Monday 04:00 against the rest of the week."""
    peak_month: float = 7.0
    """Month (1..12) of the yearly maximum."""
    season: float = 0.1
    """Half the log ratio between the yearly maximum and minimum."""

    def hourly(self, begin_s: int, hours: int) -> Float64:
        """Return the relative rate of each of `hours` hours from `begin_s` [H], a product of hour of week and month."""
        of_week = np.arange(HOURS_PER_WEEK)
        weekly = np.exp(
            self.swing * np.cos(2 * np.pi * (of_week - self.peak_hour) / 24) + self.weekend * _is_weekend(of_week)
        )
        monthly = np.exp(self.season * np.cos(2 * np.pi * (np.arange(1, 13) - self.peak_month) / 12))
        hour_of_week, month = _calendar(begin_s, hours)
        return np.asarray((weekly / weekly.mean())[hour_of_week] * (monthly / monthly.mean())[month])


@dataclass(frozen=True, kw_only=True)
class Category:
    """One category of incidents, as it arrives when nothing sets it off."""

    name: str
    per_day: float
    """Mean number of arrivals."""
    rhythm: Rhythm
    hot_share: float = 0.6
    """Share that falls on hot spots; the rest is spread evenly over the city."""
    trend: Wave = Wave()

    def hourly(self, begin_s: int, hours: int) -> Float64:
        """Return the arrivals expected in each hour [H]."""
        return self.per_day / 24 * self.rhythm.hourly(begin_s, hours) * self.trend.hourly(hours)


@dataclass(frozen=True, kw_only=True)
class LogOddsRhythm:
    """A rate whose windows of two hours, on even hours, have log-odds that add up from hour of week and month.

    Of a Poisson process with this rate and nothing else, the chance of an event in such a window is
    ``expit(level + slot of the week + month)``, to the last bit what an additive climatology can express.
    """

    p: float
    """Mean chance of an event in a window, over all slots of the week and months."""
    peak_hour: float = 23.0
    swing: float = 1.0
    """Amplitude over the day, in log-odds."""
    weekend: float = 0.5
    """What Friday 18:00 to Monday 04:00 adds."""
    peak_month: float = 7.0
    season: float = 0.2
    """Amplitude over the year."""

    def hourly(self, begin_s: int, hours: int) -> Float64:
        """Return the events expected in each of `hours` hours from `begin_s` [H]."""
        hour_of_week, month = _calendar(begin_s, hours)
        log_odds = self.log_odds()[hour_of_week // SLOT_H, month]
        return np.asarray(np.logaddexp(0.0, log_odds) / SLOT_H, dtype=np.float64)

    def log_odds(self) -> Float64:
        """Return the log-odds of a window [84, 12], by slot of the week and month."""
        hour = np.arange(0, HOURS_PER_WEEK, SLOT_H)
        of_day = self.swing * np.cos(2 * np.pi * (hour + SLOT_H / 2 - self.peak_hour) / 24)
        of_year = self.season * np.cos(2 * np.pi * (np.arange(1, 13) - self.peak_month) / 12)
        effects = (of_day + self.weekend * _is_weekend(hour))[:, None] + of_year
        low, high = -20.0, 20.0
        while high - low > 1e-13:  # the mean rises with the level: halve the stretch that holds it
            middle = (low + high) / 2
            low, high = (middle, high) if expit(middle + effects).mean() < self.p else (low, middle)
        return np.asarray(low + effects, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What sets off target events besides the target events themselves."""

    sources: tuple[str, ...]
    """One category, each incident of which counts; or two, of which pairs count."""
    kernel: Kernel
    """How many target events one incident or pair sets off, and how soon."""
    in_city: bool = False
    """Whether they fall anywhere in the city, as target events do, instead of near their cause, in its neighborhood."""
    hidden_areas: int | None = None
    """How many neighborhoods have a cause set off anything; None: all of them."""
    hidden_share: float = 1.0
    """Share of the category's incidents that falls into them, as nearly as a choice of areas allows."""
    within_m: float = 500.0
    """Of pairs: how far apart the two may be at most. Both fall into one window of SLOT_H hours on even hours."""
    pairs_per_day: float = 0.0
    """Of pairs: how many to expect; the rates of both categories are scaled to it."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """The law of one city."""

    name: str
    target: str = "SHOOTING"
    base: LogOddsRhythm | Category
    """Target events that nothing set off."""
    base_trend: Wave = Wave()
    target_hot_share: float = 0.75
    excited_by_targets: Kernel = NOTHING
    """Target events set off by a target event."""
    trigger: Trigger | None = None
    categories: tuple[Category, ...]
    near_repeat: str = "BURGLARY"
    excited_by_repeats: Kernel = REPEATS
    has_addresses: bool = True
    """Whether everything happens at addresses, so that what an event sets off stays in its neighborhood and the truth
    is known for each neighborhood; otherwise anywhere, and the truth is known for the whole city only."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Categories that the truth depends on."""
        return self.trigger.sources if self.trigger is not None else ()
