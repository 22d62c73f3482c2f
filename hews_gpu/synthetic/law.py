"""What a city with neighborhoods is made of: rhythms, categories, and the one thing that sets off its target events.

Every law is a marked, self- and cross-exciting point process (Hawkes, Biometrika 58, 1971; in space and for crime:
Mohler, Short, Brantingham, Schoenberg and Tita, J. Am. Stat. Assoc. 106, 2011). A mark is the neighborhood, the
address in it and the category. What a law can set off:

- a target event sets off others in its own neighborhood (`Law.excited_by_targets`);
- a `Trigger`: an incident of one category, or a pair of incidents of two categories close to each other in space and
  time, sets off target events, anywhere in the city or in its own neighborhood, everywhere or only in hidden ones;
- an incident of the category with near repeats sets off others nearby, which sets off no targets.

The presets and how far each can be foreseen are in `presets`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from hews_gpu.synthetic.process import EPOCH_WEEKDAY, HOUR_S, HOURS_PER_WEEK, Float64, Kernel, Rhythm

__all__ = ["NOTHING", "SLOT_H", "Category", "Law", "LogOddsRhythm", "Trigger", "Wave"]

SLOT_H = 2
"""Hours of a slot: the length of the windows in which a rhythm is exact, and in which pairs are counted."""
YEAR_H = 8_766
NOTHING = Kernel(branching=0.0, decay_s=HOUR_S)
REPEATS = Kernel(branching=0.2, decay_s=96 * HOUR_S)


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
        """[H] relative rate."""
        angle = 2 * np.pi * np.arange(hours) / (self.period_y * YEAR_H) + self.phase
        return np.asarray(np.exp(self.swing * np.sin(angle)), dtype=np.float64)


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
        """[H] events expected in each of `hours` hours from `begin_s`."""
        hour = begin_s // HOUR_S + np.arange(hours)
        month = hour.astype("datetime64[h]").astype("datetime64[M]").astype(np.int64) % 12
        slot = (hour + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK // SLOT_H
        log_odds = self.log_odds()[slot, month]
        return np.asarray(np.logaddexp(0.0, log_odds) / SLOT_H, dtype=np.float64)

    def log_odds(self) -> Float64:
        """[84, 12] of a window, by slot of the week and month."""
        hour = np.arange(0, HOURS_PER_WEEK, SLOT_H)
        is_weekend = (hour >= 4 * 24 + 18) | (hour < 4)
        of_week = self.swing * np.cos(2 * np.pi * (hour + SLOT_H / 2 - self.peak_hour) / 24) + self.weekend * is_weekend
        of_year = self.season * np.cos(2 * np.pi * (np.arange(1, 13) - self.peak_month) / 12)
        effects = of_week[:, None] + of_year
        low, high = -20.0, 20.0
        while high - low > 1e-13:  # the mean rises with the level: halve the stretch that holds it
            middle = (low + high) / 2
            low, high = (middle, high) if expit(middle + effects).mean() < self.p else (low, middle)
        return np.asarray(low + effects, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Category:
    """One category of incidents, as it arrives when nothing sets it off."""

    name: str
    per_day: float
    """Mean number of arrivals."""
    rhythm: Rhythm
    hot_share: float = 0.6
    """Share that falls on hot spots; the rest is spread evenly over the city's addresses."""
    trend: Wave = Wave()

    def hourly(self, begin_s: int, hours: int) -> Float64:
        """[H] arrivals expected in each hour."""
        return self.per_day / 24 * self.rhythm.hourly(begin_s, hours) * self.trend.hourly(hours)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What sets off target events besides the target events themselves."""

    sources: tuple[str, ...]
    """One category, each incident of which counts; or two, of which pairs count."""
    kernel: Kernel
    """How many target events one incident or pair sets off, and how soon."""
    in_city: bool = False
    """Whether they fall anywhere in the city, as target events do, instead of near their cause, in its area."""
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
    """The law of one city with neighborhoods."""

    name: str
    target: str = "SHOOTING"
    base: LogOddsRhythm
    """Target events that nothing set off."""
    base_trend: Wave = Wave()
    target_hot_share: float = 0.75
    excited_by_targets: Kernel = NOTHING
    """Target events set off by a target event, in its neighborhood."""
    trigger: Trigger | None = None
    categories: tuple[Category, ...]
    near_repeat: str = "BURGLARY"
    excited_by_repeats: Kernel = REPEATS
