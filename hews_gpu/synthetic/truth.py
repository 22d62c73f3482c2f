"""The true probability that a target event follows, given everything that happened before: the best forecast there is.

The law (see `law`), minute by minute. Given the past, the number of target events in minute m and neighborhood n is
Poisson with mean

    base[m] w[n] + sum over past targets i in n    a_s (1 - q_s) q_s^(m - m_i - 1)
                 + sum over past triggers j        a_p g_j[n] (1 - q_p) q_p^(m - m_j - 1),

with branching a and share q = exp(-60 s / decay) kept per minute. w is each neighborhood's share of the base, and g_j
what share of a trigger's children falls into each: w if they fall anywhere in the city; otherwise 1 in the trigger's
own and 0 elsewhere, or 0 everywhere where its neighborhood is not one of the hidden ones. Triggers are Poisson with
mean tri[m] and are themselves not excited by anything. "Past" means earlier minutes, so events of one minute do not act
on each other. A city without addresses is one area: w = g = 1.

Derivation, for one area. We want P(no target in the minutes [b, e) | all events before minute t), t <= b < e. Such a
process is a superposition of independent clusters: one for each arrival after t, and one for each past event, which
continues to set off children. No target falls in [b, e) exactly if no cluster puts one there. Let N(m) be the
probability that a target event in minute m, t <= m < e, has neither itself nor any descendant in [b, e). In the window
N = 0. Before it, the direct children of the event are Poisson in each later minute, with mean
a_s (1 - q_s) q_s^(k - m - 1) in minute k, and each must in turn have no descendant in [b, e); a Poisson number of
independent trials with failure chance 1 - N(k) has no failure with probability exp(-mean (1 - N(k))). Hence, with

    A_x(m) = sum over k = m+1 .. e-1 of (1 - q_x) q_x^(k - m - 1) (1 - N(k)),    x = s or p,

N(m) = exp(-a_s A_s(m)) for t <= m < b, and a trigger in minute m, t <= m < e, has no target descendant in the window
with probability M(m) = exp(-a_p A_p(m)). A obeys A(e-1) = 0, A(m-1) = (1 - q)(1 - N(m)) + q A(m): one pass backwards.
By the same argument, for the arrivals after t and the future children of past events (of which a share q outlives each
minute),

    -log P = sum over m = t .. e-1 of base[m] (1 - N(m)) + tri[m] (1 - M(m))
             + a_s A_s(t-1) sum over past targets i of q_s^(t - 1 - m_i)
             + a_p A_p(t-1) sum over past triggers j of q_p^(t - 1 - m_j).

This is exact for every lead b - t and horizon e - b: finite sums, no simulation. Without a lead (b = t) it reads
1 - N = 1 and A(m) = 1 - q^(e - 1 - m): the base, the integrated kernels of the past, and the triggers that are still to
come within the window, tri[m] (1 - exp(-a_p (1 - q_p^(e - 1 - m)))). Self-excitation within the window drops out: all
of it starts from a target in the window. (Poisson cluster processes and the Hawkes process among them: Daley &
Vere-Jones, An Introduction to the Theory of Point Processes, vol. I, 2nd ed., 2003, section 6.3.)

It holds for each neighborhood by itself, because what a target event sets off stays in its neighborhood: N(m) is the
same everywhere, and a trigger to come leaves neighborhood n silent with probability exp(-a_p g[n] A_p(m)).

**Pairs** to come are no Poisson process. A pair acts from the end of its window on, so that only windows that end after
the issue time and before the target window's end matter. If there are none, as for an issue on the even hour and a
target window of the two hours that follow, the closed form is exact. If there are, their part is simulated (`pairs`).

**Reporting delay.** If every row is known `delay_s` after it happened, then what is known at t is all that happened
before t - delay, and the truth at t is the truth at t - delay with so much more lead: as exact as without a delay.
Before the simulation begins nothing happened, which is known. If the delay differs from row to row, the truth lies
between those of the shortest and the longest delay; no closed form is known.

**Under-reporting.** The truth knows all incidents, reported or not: where rows are left out, it is more than anybody
can know from the table, an upper bound.

Shapes: S forecasts, H hours, E events, N areas, L minutes from issue to the window's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hews_gpu.arrays import Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.synthetic.law import MINUTES_PER_HOUR, Kernel
from hews_gpu.synthetic.pairs import SLOT_MIN, PairLaw
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = [
    "ForecastGroup",
    "Truth",
    "excitation",
    "expected",
    "forecasts_by_lead",
]


# ---------------------------------------------------------------- forecasts in minutes


class ForecastGroup(NamedTuple):
    """Forecasts of one lead and horizon; all in minutes."""

    which: Int64  # [S] their positions in the call
    issue: Int64  # [S] since the begin of the simulation: all that happened before is known
    lead: int
    horizon: int

    @property
    def length(self) -> int:
        """L."""
        return self.lead + self.horizon


def forecasts_by_lead(
    truth: Truth, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, delay_s: int = 0
) -> Iterator[ForecastGroup]:
    """Group forecasts by lead and horizon. What is known late is a longer lead: the issue moves back by the delay.

    Arguments and errors are those of `Truth.probability`.
    """
    if delay_s < 0 or delay_s % MINUTE_S:
        raise UserError("reporting delay", delay_s, allowed="must be 0 or more seconds, a whole number of minutes")
    times = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (issue_s, begin_s, end_s)))
    issue, begin, end = (_as_minutes(truth, name, x) for name, x in zip(("issue", "begin", "end"), times, strict=True))
    if np.any((begin < issue) | (end <= begin)):
        raise UserError("target window", allowed="must begin at or after the issue time and end after it begins")
    known = np.maximum(issue - delay_s // MINUTE_S, 0)
    kinds, kind = np.unique(np.stack([begin - known, end - begin], axis=1), axis=0, return_inverse=True)
    for number, (lead, horizon) in enumerate(kinds):
        mine = np.flatnonzero(kind.reshape(-1) == number)
        yield ForecastGroup(mine, known[mine], int(lead), int(horizon))


def _as_minutes(truth: Truth, name: str, time_s: Int64) -> Int64:
    """Return seconds as minutes since the begin of the simulation; refuse those outside."""
    if np.any(time_s % MINUTE_S != truth.begin_s % MINUTE_S):
        raise UserError(f"{name} time", allowed="must be a whole minute", remedy="The truth knows time by the minute")
    outside = time_s[(time_s < truth.begin_s) | (time_s > truth.end_s)]
    if len(outside):
        allowed = f"must be {truth.begin_s}..{truth.end_s}, as simulated"
        raise UserError(f"{name} time", int(outside[0]), allowed=allowed)
    return np.asarray((time_s - truth.begin_s) // MINUTE_S, dtype=np.int64)


# ---------------------------------------------------------------- parts of the closed form


class Silence(NamedTuple):
    """How likely an event leaves a window without descendants, by minute after the issue time; A and N as above."""

    some_target: Float64  # [L] 1 - N(m): a target event of minute m, or a descendant of it, is in the window
    reach: Float64  # [L] A_p(m): of a trigger in minute m, per child: the chance that it puts something there
    from_targets: float  # A_s(t - 1)
    from_triggers: float  # A_p(t - 1)


def silence(targets: Kernel, triggers: Kernel, lead: int, horizon: int) -> Silence:
    """Compute A and N in one pass backwards over the minutes from the window's end to the issue time."""
    some_target, reach = np.ones(lead + horizon), np.empty(lead + horizon)
    by_target = by_trigger = 0.0  # A_s, A_p
    for m in range(lead + horizon - 1, -1, -1):
        if m < lead:
            some_target[m] = -np.expm1(-targets.branching * by_target)
        reach[m] = by_trigger
        by_target = (1 - targets.keep) * some_target[m] + targets.keep * by_target
        by_trigger = (1 - triggers.keep) * some_target[m] + triggers.keep * by_trigger
    return Silence(some_target, reach, by_target, by_trigger)


def expected(rate_per_h: Float64, weight: Float64, issue: Int64) -> Float64:
    """Sum a rate, constant in each hour, times a weight over the L minutes after each issue minute [S].

    Args:
        rate_per_h: [H]
        weight: [L] by minute after the issue.
        issue: [S] minutes; none reaches past the end of the rates.
    """
    total = np.zeros(len(issue))
    for offset in np.unique(issue % MINUTES_PER_HOUR):  # the hours' shares are the same for all issues of one offset
        mine = np.flatnonzero(issue % MINUTES_PER_HOUR == offset)
        padded = np.concatenate([np.zeros(offset), weight])
        by_hour = np.add.reduceat(padded, np.arange(0, len(padded), MINUTES_PER_HOUR)) / MINUTES_PER_HOUR
        hour = issue[mine] // MINUTES_PER_HOUR
        for ahead, share in enumerate(by_hour):
            total[mine] += rate_per_h[hour + ahead] * share
    return total


def excitation(minute: Int64, issue: Int64, keep: float) -> Float64:
    """Sum ``keep^(issue - 1 - minute)`` over the events before each issue minute [S].

    Args:
        minute: [E] sorted event minutes.
        issue: [S] issue minutes; an event in the issue minute itself is not past yet.
        keep: share that outlives one minute.
    """
    level = np.zeros(len(minute) + 1)  # just after each event; the first is for "none yet"
    fade = (keep ** np.diff(minute, prepend=minute[:1]).astype(np.float64)).tolist()
    now = 0.0
    for k, share in enumerate(fade, start=1):
        level[k] = now = 1.0 + now * share
    last = np.searchsorted(minute, issue, side="left")  # number of events before each issue
    age = issue - 1 - np.concatenate([[0], minute])[last]
    return np.where(last > 0, level[last] * keep ** np.maximum(age, 0).astype(np.float64), 0.0)


# ---------------------------------------------------------------- the truth


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The law of one simulated city's target events, and the events that happened; one area without addresses.

    Times are local wall-clock seconds and whole minutes. `probability` is all that a user needs.
    """

    preset: str
    begin_s: int
    """Begin of the simulation, a whole even hour; nothing happened before."""
    base_per_h: Float64  # [H]
    """Target events that nothing set off, expected in each hour."""
    area_share: Float64  # [N]
    """Share of them in each area: w."""
    excited_by_targets: Kernel
    excited_by_triggers: Kernel
    """Its branching is 0 where there are no triggers."""
    in_city: bool
    """Whether the children of a trigger fall anywhere, by w, instead of into its own area."""
    gain: Float64  # [N]
    """1, or 0 where triggers set off nothing."""
    trigger_per_h: Float64  # [H]
    """Triggers expected in each hour; 0 for pairs."""
    trigger_share: Float64  # [N]
    """Share of them in each area."""
    target_s: Int64  # [E] sorted
    """Times of the target events; an event with several victims is one."""
    target_area: Int64  # [E]
    incident_s: Int64  # [E'] sorted
    """Times of the incidents of the trigger's category; of pairs, see `pairs`."""
    incident_area: Int64  # [E']
    pairs: PairLaw | None = None

    @property
    def end_s(self) -> int:
        """End of the simulation."""
        return self.begin_s + len(self.base_per_h) * HOUR_S

    @property
    def areas(self) -> int:
        """N."""
        return len(self.area_share)

    @cached_property
    def targets(self) -> tuple[Int64, Int64]:
        """Minute [E] and area [E] of the target events, in order of time."""
        return _as_minutes(self, "target", self.target_s), self.target_area

    @cached_property
    def triggers(self) -> tuple[Int64, Int64]:
        """Minute and area of what sets off target events: those that set off nothing are left out."""
        if self.pairs is not None:
            minute, area = self.pairs.pairs
        else:
            minute, area = _as_minutes(self, "incident", self.incident_s), self.incident_area
        return minute[self.gain[area] > 0], area[self.gain[area] > 0]

    def probability(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """Return P(at least one target event in [begin, end) | all events before the issue time less the delay).

        Args:
            issue_s: [S] or scalar issue times.
            begin_s: [S] or scalar begins of the target windows, not before the issue.
            end_s: [S] or scalar ends of the target windows, not included.
            delay_s: how long after it happened a row is known, the same for all; whole minutes.

        Returns:
            [S] float64 probabilities.

        Raises:
            UserError: a time is not a whole minute, or out of order, or outside the simulation.
        """
        return self._probability(forecasts_by_lead(self, issue_s, begin_s, end_s, delay_s), by_area=False)[:, 0]

    def by_area(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """Return the probability for each area [S, N]; arguments and errors as for `probability`."""
        return self._probability(forecasts_by_lead(self, issue_s, begin_s, end_s, delay_s), by_area=True)

    def _probability(self, groups: Iterator[ForecastGroup], *, by_area: bool) -> Float64:
        done = [(group.which, self._log_silence(group, by_area=by_area)) for group in groups]
        result = np.empty((sum(len(which) for which, _ in done), self.areas if by_area else 1))
        for which, total in done:
            result[which] = -np.expm1(-total)
        return result

    def _log_silence(self, group: ForecastGroup, *, by_area: bool) -> Float64:
        """Return -log P(no target in the window) of each forecast, [S, N] or [S, 1]."""
        law = silence(self.excited_by_targets, self.excited_by_triggers, group.lead, group.horizon)
        share = self.area_share if by_area else np.ones(1)
        terms = [expected(self.base_per_h, law.some_target, group.issue)[:, None] * share]
        for kernel, reach, (minute, area), in_city in (
            (self.excited_by_targets, law.from_targets, self.targets, False),
            (self.excited_by_triggers, law.from_triggers, self.triggers, self.in_city),
        ):
            if kernel.branching:
                level = self._levels(minute, area, group.issue, kernel, by_area=by_area and not in_city)
                terms.append(kernel.branching * reach * level * (share if in_city else 1.0))
        if self.areas == 1:  # the base comes last: another order of the sum would change last bits of known results
            terms = [*terms[1:], terms[0]]
        if self.excited_by_triggers.branching:
            terms.append(self._from_triggers_to_come(law, group, by_area=by_area))
        return np.asarray(sum(terms))

    def _levels(self, minute: Int64, area: Int64, issue: Int64, kernel: Kernel, *, by_area: bool) -> Float64:
        """Return the excitation left over from past events, [S, N] or [S, 1]."""
        if not by_area:
            return excitation(minute, issue, kernel.keep)[:, None]
        return np.stack([excitation(minute[area == n], issue, kernel.keep) for n in range(self.areas)], axis=1)

    def _from_triggers_to_come(self, law: Silence, group: ForecastGroup, *, by_area: bool) -> Float64:
        """Return what triggers of the minutes after the issue time may still set off, [S, N] or [S, 1]."""
        branching = self.excited_by_triggers.branching
        if self.pairs is not None:
            return self._from_pairs_to_come(self.pairs, branching * law.reach, group, by_area=by_area)
        if self.in_city:
            shares = self.area_share if by_area else np.ones(1)
            parts = [expected(self.trigger_per_h, -np.expm1(-branching * w * law.reach), group.issue) for w in shares]
            return np.stack(parts, axis=1)
        share = self.trigger_share * self.gain
        once = expected(self.trigger_per_h, -np.expm1(-branching * law.reach), group.issue)
        return once[:, None] * (share if by_area else share.sum())

    def _from_pairs_to_come(self, pairs: PairLaw, cost: Float64, group: ForecastGroup, *, by_area: bool) -> Float64:
        """Return the same where triggers are pairs; `cost` [L] is that of one whose window ends at a minute."""
        columns: list[int | None] = list(range(self.areas)) if by_area else [None]
        total = np.zeros((len(group.issue), len(columns)))
        offsets = group.issue % SLOT_MIN
        for offset in np.unique(offsets):
            mine = np.flatnonzero(offsets == offset)
            issue = group.issue[mine]
            for ahead, last in enumerate(range(SLOT_MIN - 1 - offset, group.length - 1, SLOT_MIN)):
                if ahead == 0 and offset > 0:
                    total[mine] += pairs.log_partial(issue, cost[last], by_area=by_area)
                    continue
                window = issue // SLOT_MIN + ahead
                total[mine] += np.stack([pairs.log_factor(window, cost[last], n) for n in columns], axis=1)
        return total
