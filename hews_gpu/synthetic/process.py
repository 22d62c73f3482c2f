"""The point process behind the synthetic city: rhythms, Poisson arrivals, and events that set off others.

Time runs on a grid of whole minutes, and so does the law itself: an event in minute m sets off a Poisson number of
others (mean: the kernel's `branching`), each after a delay of ceil(Exp(decay)) minutes, at least one. Nothing is
rounded afterwards, so the table of events, given to the minute, is all that the future depends on, and the truth
computed from it is exact. Simulation goes by generations of offspring, which is exact too: no step size, no thinning.

The clock is local wall-clock time in which every day has 24 hours; the city lies in a zone that never changes its
clock. Shapes: E events, H hours. Places are meters east and north of the city's center.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = [
    "HOUR_S",
    "MINUTES_PER_HOUR",
    "MINUTE_S",
    "Float64",
    "Int64",
    "Kernel",
    "Points",
    "Rhythm",
    "arrivals",
    "children",
    "cluster",
    "joined",
]

Near = Callable[[np.random.Generator, Float64], Float64]
"""Places near the given ones: (generator, [E, 2] meters) -> [E, 2] meters."""

MINUTES_PER_HOUR = 60
HOURS_PER_WEEK = 168
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """How an event sets off others: how many, and how soon."""

    branching: float
    """Mean number of events that one event sets off directly."""
    decay_s: float
    """Time constant of the delay."""

    def __post_init__(self) -> None:
        assert self.branching >= 0
        assert self.decay_s > 0

    @property
    def keep(self) -> float:
        """Share of the excitation that outlives one minute: P(delay > d + 1 | delay > d)."""
        return float(np.exp(-MINUTE_S / self.decay_s))


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
        """[H] relative rate of each of `hours` hours from `begin_s`, a product of hour of week and month."""
        hour = begin_s // HOUR_S + np.arange(hours)
        month = hour.astype("datetime64[h]").astype("datetime64[M]").astype(np.int64) % 12
        return self._weekly()[(hour + 24 * EPOCH_WEEKDAY) % HOURS_PER_WEEK] * self._monthly()[month]

    def _weekly(self) -> Float64:
        """[168] relative rate by hour of the week, Monday 00:00 first."""
        hour = np.arange(HOURS_PER_WEEK)
        is_weekend = (hour >= 4 * 24 + 18) | (hour < 4)
        rate = np.exp(self.swing * np.cos(2 * np.pi * (hour - self.peak_hour) / 24) + self.weekend * is_weekend)
        return np.asarray(rate / rate.mean(), dtype=np.float64)

    def _monthly(self) -> Float64:
        """[12] relative rate by month, January first."""
        rate = np.exp(self.season * np.cos(2 * np.pi * (np.arange(1, 13) - self.peak_month) / 12))
        return np.asarray(rate / rate.mean(), dtype=np.float64)


class Points(NamedTuple):
    """E events in order of time."""

    minute: Int64  # [E] since the begin of the simulation
    xy_m: Float64  # [E, 2]


def arrivals(rng: np.random.Generator, rate_per_h: Float64) -> Int64:
    """Minutes of an inhomogeneous Poisson process, sorted.

    Args:
        rng: where the randomness comes from.
        rate_per_h: [H] expected events in each hour.
    """
    hour = np.repeat(np.arange(len(rate_per_h), dtype=np.int64), rng.poisson(rate_per_h))
    return np.sort(hour * MINUTES_PER_HOUR + rng.integers(0, MINUTES_PER_HOUR, size=len(hour)))


def children(rng: np.random.Generator, parents: Points, kernel: Kernel, end_minute: int, near: Near) -> Points:
    """The events that `parents` set off directly, before `end_minute`.

    Args:
        rng: where the randomness comes from.
        parents: events of any kind.
        kernel: how many and how soon.
        end_minute: later offspring is dropped.
        near: draws the place of a child from its parent's.
    """
    parent = np.repeat(np.arange(len(parents.minute)), rng.poisson(kernel.branching, size=len(parents.minute)))
    delay = np.ceil(rng.exponential(kernel.decay_s / MINUTE_S, size=len(parent))).astype(np.int64)
    minute = parents.minute[parent] + np.maximum(delay, 1)
    inside = minute < end_minute
    return joined(Points(minute[inside], near(rng, parents.xy_m[parent[inside]])))


def cluster(rng: np.random.Generator, first: Points, kernel: Kernel, end_minute: int, near: Near) -> Points:
    """`first` and all their descendants, where each event sets off others of its own kind.

    Args:
        rng: where the randomness comes from.
        first: events that were not set off by one of their own kind.
        kernel: how many and how soon; its branching must be below 1 or the cascade may never end.
        end_minute: later offspring is dropped.
        near: draws the place of a child from its parent's.
    """
    assert kernel.branching < 1
    generations = [first]
    while len(generations[-1].minute):
        generations.append(children(rng, generations[-1], kernel, end_minute, near))
    return joined(*generations)


def joined(*parts: Points) -> Points:
    """All points of all parts, in order of time."""
    minute = np.concatenate([part.minute for part in parts])
    order = np.argsort(minute, kind="stable")
    return Points(minute[order], np.concatenate([part.xy_m for part in parts])[order])
