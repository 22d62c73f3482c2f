"""How late rows come, and how many of a day are still missing: from the deliveries of a vintage store.

A row shows its delay only if that is shorter than the time since: the delays seen so far are too short. The estimator
for such right-truncated data runs backward in time (Lagakos, Barraj & De Gruttola, 1988, Biometrika 75, 515-523;
Kalbfleisch & Lawless, 1989, J. Am. Stat. Assoc. 84, 360-372): of the rows that could have come at age u and had come by
then, the share that came just at u is a hazard, and the share known by an age is the product of one minus the hazards
of all greater ages. Of a row that was there when its time was first delivered only a bound is known: it counts at
greater ages, not at its own. Deliveries come on a grid, and so do ages: they are counted from the first delivery after
the event, and how long an event waits for that is added afterwards; for the numbers of a day, from its midnight.

The number of a day's rows is that known, and a negative binomial number of missing ones (Lawless, 1994, Can. J. Stat.
22, 15-31): days differ as a gamma law says, fitted to the days that are settled.

Shapes: R rows, G ages, D days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.alerts.vintages.store import Store
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["DelayCurve", "Nowcast", "Schedule", "Triangle", "delays", "nowcast", "triangle"]

STEP_S = HOUR_S
"""Ages are rounded to it: deliveries come some minutes early or late."""
QUANTILES = (np.arange(48) + 0.5) / 48
"""At which a law of times is kept."""
SETTLED, LOOK_BACK_D, FEWEST_D = 0.9, 365, 28
"""Days of which this share is known say how days differ: the last so many before those asked for, or all if fewer."""
LEVEL = 0.9
FEWEST_LATE, SLOW = 100, 0.99
"""Of fewer rows the age by which this share is known cannot be told."""
FEWEST_AT_RISK = 10
"""Of fewer that could have come at an age, or if all did, the share says nothing of the many that came before it."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The deliveries: when each came, and the time that it begins at."""

    delivered_s: Int64  # [K] in order
    oldest_s: Int64  # [K]

    def after_s(self, time_s: Int64) -> Int64:
        """Return the first delivery after each time before the last one; before the first one, as if so often, too."""
        first_s = self.delivered_s[0]
        every_s = int(np.median(np.diff(self.delivered_s))) if len(self.delivered_s) > 1 else DAY_S
        earlier = first_s - (first_s - time_s - 1) // max(1, every_s) * max(1, every_s)
        later = np.searchsorted(self.delivered_s, time_s, side="right")
        return np.where(time_s < first_s, earlier, self.delivered_s[np.minimum(later, len(self.delivered_s) - 1)])

    def first_covering(self, time_s: Int64) -> Int64:
        """Return the number of the first delivery after each time that covers it."""
        begins = np.minimum.accumulate(self.oldest_s)[::-1]
        covers = len(begins) - np.searchsorted(begins, time_s, side="right")
        later = np.searchsorted(self.delivered_s, time_s, side="right")
        return np.minimum(np.maximum(covers, later), len(begins) - 1)

    def last_covering_s(self, time_s: Int64) -> Int64:
        """Return the last delivery that covers each time."""
        begins = np.minimum.accumulate(self.oldest_s[::-1])[::-1]
        return self.delivered_s[np.maximum(np.searchsorted(begins, time_s, side="right") - 1, 0)]


@dataclass(frozen=True, kw_only=True)
class Triangle:
    """The reporting triangle by row: when it happened, and at which delivery it was first seen."""

    schedule: Schedule
    time_s: Int64  # [R]
    seen: Int64  # [R] number of the delivery that it was first in
    covered: Int64  # [R] number of the first delivery that covers its time
    last_s: Int64  # [R] the last delivery that covers its time

    @classmethod
    def of(cls, time_s: Int64, first_known: Int64, schedule: Schedule) -> Triangle:
        """Make it of the rows of a store: when each happened [R] and since when it is known [R]."""
        happened = time_s < schedule.delivered_s[-1]  # a row of the future has no age
        time_s, first_known = time_s[happened], first_known[happened]
        covered = schedule.first_covering(time_s)
        return cls(
            schedule=schedule,
            time_s=time_s,
            seen=np.maximum(np.searchsorted(schedule.delivered_s, first_known, side="left"), covered),
            covered=covered,
            last_s=schedule.last_covering_s(time_s),
        )

    @property
    def is_late(self) -> Bool:
        """[R] whether an earlier delivery covers its time without it."""
        return self.seen > self.covered

    def known_by(self, begin_s: Int64) -> tuple[Int64, Float64]:
        """Return ages in steps, from 0 on [G], and the share of rows known at each, counted from some moments [R]."""
        delivered_s = self.schedule.delivered_s
        follows = (self.covered > 0) & (delivered_s[np.maximum(self.covered - 1, 0)] <= self.time_s)
        is_exact = self.is_late | follows  # else it may have been there before: its age is only a bound
        age = _steps(delivered_s[self.seen] - begin_s)
        ages, came = np.unique(age[is_exact], return_counts=True)
        began = np.searchsorted(np.sort(age), ages, side="left")
        unseen = np.searchsorted(np.sort(np.maximum(age, _steps(self.last_s - begin_s))), ages, side="left")
        at_risk = began - unseen + came
        is_told = (began == 0) | ((at_risk > came) & (at_risk >= FEWEST_AT_RISK))
        kept = np.cumprod(np.where(is_told, 1 - came / at_risk, 1.0)[::-1])[::-1]
        return np.append(-1, ages), np.append(kept, 1.0)


def _steps(seconds: Int64) -> Int64:
    return (seconds + STEP_S // 2) // STEP_S


@dataclass(frozen=True, kw_only=True)
class DelayCurve:
    """How late rows are known."""

    ages: Int64  # [G] steps after the first delivery since the event
    shares: Float64  # [G] of all rows, those known from that age on
    waits_s: Float64  # quantiles of the time from an event to the first delivery after it
    late: int
    """Rows that came later than the first delivery that covers them: what the curve is made from."""
    stated_s: int
    """The delay that was stated when the store began."""

    @classmethod
    def of(cls, triangle: Triangle, stated_s: int = 0) -> DelayCurve:
        """Estimate it; the module says how."""
        time_s, schedule = triangle.time_s, triangle.schedule
        after_s = schedule.after_s(time_s)
        ages, shares = triangle.known_by(after_s)
        recent = time_s >= schedule.delivered_s[0]
        wait_s = (after_s - time_s)[recent if recent.any() else slice(None)]
        return cls(
            ages=ages,
            shares=shares,
            waits_s=np.quantile(wait_s, QUANTILES) if len(wait_s) else np.zeros(1),
            late=int(triangle.is_late.sum()),
            stated_s=stated_s,
        )

    def known_by(self, age_s: float) -> float:
        """Return the share of rows known so long after they happened."""
        since_s = age_s - self.waits_s
        shares = _at(self.ages, self.shares, np.floor(since_s / STEP_S))
        return float(np.where(since_s < 0, 0.0, shares).mean())

    def settled_s(self, share: float) -> int:
        """Return how soon after it happened a row is known with a given probability; at least the stated delay."""
        low, high = -1, (int(self.ages[-1]) + 1) * STEP_S + int(np.ceil(self.waits_s.max()))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.known_by(middle) >= share else (middle, high)
        return max(high, self.stated_s)


def _at(ages: Int64, shares: Float64, age: Float64) -> Float64:
    """Return the share known at some ages."""
    return shares[np.maximum(np.searchsorted(ages, age, side="right") - 1, 0)]


@dataclass(frozen=True, kw_only=True)
class Nowcast:
    """How many rows each day will have once all are known."""

    day_s: Int64  # [D] midnight
    known: Int64  # [D] rows known
    share: Float64  # [D] of a day's rows, those that are known by now on average
    expected: Float64  # [D] rows, the missing ones included
    low: Float64  # [D] of the interval that holds the number with 90 % probability
    high: Float64  # [D]

    @classmethod
    def of(cls, triangle: Triangle, when_s: int, days: int) -> Nowcast:
        """Estimate it for the last so many whole days before a moment; the module says how."""
        time_s, end_s = triangle.time_s, when_s // DAY_S * DAY_S
        day_s = end_s - np.arange(LOOK_BACK_D + days, 0, -1) * DAY_S
        day_s = day_s[day_s >= min(end_s - days * DAY_S, time_s.min(initial=end_s) // DAY_S * DAY_S)]
        place = (time_s[(time_s >= day_s[0]) & (time_s < end_s)] - day_s[0]) // DAY_S
        known = np.bincount(place, minlength=len(day_s))
        age = _steps(triangle.schedule.last_covering_s(day_s) - day_s)
        share = _at(*triangle.known_by(time_s - time_s % DAY_S), age.astype(np.float64))
        share = np.where(age < 0, 0.0, share)
        settled = (share >= SETTLED) & (np.arange(len(day_s)) < len(day_s) - days)
        if settled.sum() < FEWEST_D:
            settled = share >= SETTLED
        shape, rate = _gamma_law(known[settled] / share[settled])
        day_s, known, share = day_s[-days:], known[-days:], share[-days:]
        from scipy.stats import nbinom  # it takes half a second to load

        missing = nbinom(shape + known, (rate + share) / (rate + 1))
        return cls(
            day_s=day_s,
            known=known,
            share=share,
            expected=known + missing.mean(),
            low=known + missing.ppf((1 - LEVEL) / 2),
            high=known + missing.ppf((1 + LEVEL) / 2),
        )


def _gamma_law(numbers: Float64) -> tuple[float, float]:
    """Return shape and rate of the gamma law that the rates behind some Poisson numbers seem to follow."""
    mean = max(float(numbers.mean()), 0.5 / len(numbers)) if len(numbers) else 1.0
    spread = max(float(numbers.var()) - mean, 0.001 * mean**2) if len(numbers) else 1.0
    return mean**2 / spread, mean / spread


def triangle(store: Store, when_s: int, *, targets: bool | None = None) -> Triangle:
    """Return the reporting triangle of the rows that a forecast issued at `when_s` sees.

    Args:
        store: with at least one delivery before.
        when_s: deliveries and rows known later are not looked at.
        targets: only target rows, or only others; a row that became a target was first seen then.

    Raises:
        UserError: there was no delivery before.
    """
    before = [one for one in store.deliveries if one.known_s < when_s]
    if not before:
        raise UserError(str(store.folder), allowed=f"holds no delivery before {np.datetime64(when_s, 's')}")
    schedule = Schedule(
        delivered_s=np.array([one.known_s for one in before], np.int64),
        oldest_s=np.array([one.oldest_s for one in before], np.int64),
    )
    rows = store.as_of(when_s)
    time_s, first_known, is_target = (rows[name].to_numpy() for name in ("time_s", "first_known", "is_target"))
    chosen = np.ones(len(rows), bool) if targets is None else is_target == targets
    return Triangle.of(time_s[chosen], first_known[chosen], schedule)


def delays(store: Store, when_s: int, *, targets: bool | None = None) -> DelayCurve:
    """Return how late rows are known, as far as the deliveries before `when_s` tell; the arguments of `triangle`.

    As long as few targets came late, their curve is that of all rows if this one is slower: the first deliveries may
    well hold no late target, and labels would be taken for settled that are not.
    """
    curve = DelayCurve.of(triangle(store, when_s, targets=targets), store.delay_s)
    if not targets or curve.late >= FEWEST_LATE:
        return curve
    everyone = DelayCurve.of(triangle(store, when_s), store.delay_s)
    return max(curve, everyone, key=lambda one: one.settled_s(SLOW))


def nowcast(store: Store, when_s: int, *, days: int = 28, targets: bool | None = None) -> Nowcast:
    """Return how many rows the last so many whole days will have; the other arguments of `triangle`."""
    return Nowcast.of(triangle(store, when_s, targets=targets), when_s, days)
