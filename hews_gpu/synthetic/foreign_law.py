"""Laws that are no Hawkes processes: what each makes of the rows of the past, on a grid of two-hour windows.

`law` holds one family: excitations that add up and fade exponentially. A forecaster that is built around that idea
looks good on it, whatever it is worth elsewhere. The laws here are of other families (see `foreign_presets`), all put
together from the same few parts. In window k and neighborhood n, the target events are Poisson with mean

    base[k] w[n] exp(sum of effects[k, n] + strength * hidden value) * renewal factor[k, n],

or, where a law acts `on_odds`, their chance has the odds ``(exp(base[k] w[n]) - 1) exp(...)``. Minutes within a window
are uniform, for every category. An effect depends on rows up to half an hour before the window begins (LATE_MIN), so
that whoever leaves the last half hour alone knows all that a window's chance depends on, save for the hidden state.

Shapes: K windows, N neighborhoods, E rows, H hours, Z hidden states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.synthetic.law import MINUTES_PER_HOUR, SLOT_H, Category, LogOddsRhythm
from hews_gpu.synthetic.pairs import SLOT_MIN

__all__ = [
    "LATE_MIN",
    "NEAR_PAIR",
    "Field",
    "ForeignLaw",
    "Hidden",
    "Past",
    "Recent",
    "Renewal",
    "Rows",
    "autoregressive",
]

LATE_MIN = 30
"""From the last row that an effect counts to the begin of the window, at least."""
NEAR_PAIR = "NEAR PAIR"
"""Name under which an effect finds pairs of rows; each happens with the later of its two rows."""


class Rows(NamedTuple):
    """E rows of one category, in order of time."""

    minute: Int64  # [E] since the begin of the simulation
    area: Int64  # [E]

    def per(self, minutes: int, periods: int, areas: int, until: int | None = None) -> Int64:
        """Count rows by period of so many minutes and neighborhood [periods, N]; only the first `until` of them."""
        kept = self.minute % minutes < (minutes if until is None else until)
        cell = self.minute[kept] // minutes * areas + self.area[kept]
        return np.bincount(cell, minlength=periods * areas).reshape(periods, areas)


@dataclass(frozen=True, kw_only=True)
class Past:
    """The rows that effects depend on, and where neighborhoods lie."""

    windows: int  # K
    neighbors: Float64  # [N, N] share of what leaves a neighborhood (row) that goes to each that borders on it
    origin: int
    """The one neighborhood whose rows act on the whole city, where a law has one."""
    rows: Mapping[str, Rows]

    @property
    def areas(self) -> int:
        """N."""
        return len(self.neighbors)

    def counted(self, name: str, since_min: int, until_min: int) -> Int64:
        """Count rows [K, N] from `since_min` until `until_min` before each window; the latter is not included."""
        minute, area = self.rows[name]
        day = self.windows * SLOT_MIN + 1  # so far apart that keys of two neighborhoods never meet
        key = np.sort(area * day + minute)
        begin = np.arange(self.windows)[:, None] * SLOT_MIN
        ends = (np.arange(self.areas) * day + np.maximum(begin - ago, 0) for ago in (since_min, until_min))
        first, last = (np.searchsorted(key, end) for end in ends)
        return np.asarray(last - first, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Recent:
    """An effect of how many rows of a category fell into a stretch of time before the window."""

    source: str
    gain: float
    """What each row that counts adds to the log of the rate, or of the odds; negative: it inhibits."""
    since_h: float
    until_h: float = LATE_MIN / MINUTES_PER_HOUR
    """Rows count from so long before the window until so long before it."""
    threshold: int = 1
    """The first row that counts: fewer do nothing."""
    most: int = 1_000
    """How many count: more add nothing."""
    where: str = "area"
    """Which rows: of the neighborhood itself ("area"), of the whole city ("city"), or of one for all ("origin")."""

    def log_factor(self, past: Past) -> Float64:
        """Return what it adds in each window and neighborhood [K, N]."""
        since, until = (round(hours * MINUTES_PER_HOUR) for hours in (self.since_h, self.until_h))
        count = past.counted(self.source, since, until)
        if self.where != "area":
            count = count.sum(axis=1, keepdims=True) if self.where == "city" else count[:, [past.origin]]
        effect = self.gain * np.clip(count - self.threshold + 1, 0, self.most)
        return np.asarray(np.broadcast_to(effect, (past.windows, past.areas)))


@dataclass(frozen=True, kw_only=True)
class Field:
    """Risk that rows leave behind: it fades, and moves on to the neighborhoods around hour by hour."""

    source: str
    gain: float
    """The rate is multiplied by ``1 + gain * level``; a row adds 1 to the level."""
    decay_h: float
    moving: float
    """Share that moves on to the neighborhoods around in each hour."""
    is_displaced: bool = False
    """Whether a row adds to the neighborhoods around instead of its own."""

    def log_factor(self, past: Past) -> Float64:
        """Return what it adds in each window and neighborhood [K, N], as the field was an hour before the window."""
        hours = past.windows * SLOT_H
        fed = past.rows[self.source].per(MINUTES_PER_HOUR, hours, past.areas).astype(np.float64)
        if self.is_displaced:
            fed = fed @ past.neighbors
        kept = np.exp(-1 / self.decay_h) * ((1 - self.moving) * np.eye(past.areas) + self.moving * past.neighbors)
        level = np.zeros((hours, past.areas))  # at the end of each hour
        level[0] = fed[0]
        for hour in range(1, hours):
            level[hour] = level[hour - 1] @ kept + fed[hour]
        seen = np.vstack([np.zeros(past.areas), level[: hours - SLOT_H : SLOT_H]])
        return np.asarray(np.log1p(self.gain * seen))


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A rate that depends on the time since the last target event of the neighborhood, and on no earlier one."""

    refractory_h: float
    """How long it takes the risk to come back after a target event."""
    peak_h: float = 48.0
    boost: float = 0.0
    """How far the risk rises above the usual, at most, and so long after the event."""

    def factor(self, age_min: Float64) -> Float64:
        """Return what the rate is multiplied by, so long after the last target event; infinity where there is none."""
        age_h = np.minimum(age_min / MINUTES_PER_HOUR, 1e6)
        back = -np.expm1(-((age_h / self.refractory_h) ** 2))
        rise = age_h / self.peak_h
        return np.asarray(back * (1 + self.boost * rise * np.exp(1 - rise)))


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """A Markov chain that no row shows, but that rows depend on."""

    values: tuple[float, ...]  # [Z]
    transition: tuple[tuple[float, ...], ...]  # [Z, Z]
    every_h: int = SLOT_H
    """Hours from one move to the next, counted from the begin."""
    by_area: bool
    """Whether each neighborhood has a chain of its own, all with the same law."""
    strength: float
    """What a value of 1 adds to the log of the targets' rate, or of their odds."""
    categories: tuple[tuple[str, float], ...] = ()
    """Other categories whose rates rise, too, and what a value of 1 adds to the log of each."""

    @cached_property
    def moves(self) -> Float64:
        """[Z, Z]."""
        return np.array(self.transition)

    @cached_property
    def stationary(self) -> Float64:
        """[Z] how often it is in each state in the long run, and so at the begin."""
        states = len(self.values)
        equations = np.vstack([self.moves.T - np.eye(states), np.ones(states)])
        return np.asarray(np.linalg.lstsq(equations, np.append(np.zeros(states), 1.0), rcond=None)[0])

    def is_move(self, windows: int) -> Bool:
        """Return whether it moves at the begin of each window [K]; at the first one it is drawn."""
        return np.asarray(np.arange(windows) * SLOT_H % self.every_h == 0)


def autoregressive(states: int, memory_h: float) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Return values and transition of a chain like an AR(1) with variance 1, which forgets with a time constant.

    By Rouwenhorst's method (Frontiers of Business Cycle Research, 1995): variance and autocorrelation are exact.
    """
    stay = (1 + np.exp(-SLOT_H / memory_h)) / 2
    step = np.array([[stay, 1 - stay], [1 - stay, stay]])
    moves = step
    for size in range(3, states + 1):
        wider = np.zeros((size, size))
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            wider[row : row + size - 1, column : column + size - 1] += step[row, column] * moves
        wider[1:-1] /= 2
        moves = wider
    values = np.linspace(-1, 1, states) * np.sqrt(states - 1)
    return tuple(values.tolist()), tuple(tuple(row) for row in moves.tolist())


@dataclass(frozen=True, kw_only=True)
class ForeignLaw:
    """The law of one city."""

    has_addresses: ClassVar[bool] = True

    name: str
    target: str = "SHOOTING"
    base: LogOddsRhythm
    """Level of the targets' clock; peaks and swings are drawn for each city."""
    wave_swing: float = 0.0
    """Half the log ratio between highest and lowest level of a wave over months; its period and phase are drawn."""
    target_hot_share: float = 0.6
    areas: int = 24
    categories: tuple[Category, ...]
    effects: tuple[Recent | Field, ...] = ()
    on_odds: bool = False
    pair: tuple[str, str] | None = None
    """Two categories of which a row each in one window, within `within_m`, is a NEAR_PAIR."""
    within_m: float = 300.0
    origin_share: float = 0.0
    """Share of the first effect's category that falls into the `origin`, as nearly as a choice of one area allows."""
    hidden: Hidden | None = None
    renewal: Renewal | None = None

    @property
    def observed(self) -> tuple[str, ...]:
        """Categories whose rates tell of the hidden state."""
        return tuple(name for name, _ in self.hidden.categories) if self.hidden is not None else ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Categories that the truth depends on."""
        effects = {effect.source for effect in self.effects} - {NEAR_PAIR}
        return tuple(sorted(effects | set(self.observed) | set(self.pair or ())))
