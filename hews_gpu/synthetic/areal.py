"""The truth of a city with neighborhoods: the chance of a target event, city-wide and in each of them.

The law is that of `law`: given the past, the number of target events in minute m and neighborhood n is Poisson with
mean

    base[m] w[n] + sum over past targets i in n    a_s (1 - q_s) q_s^(m - m_i - 1)
                 + sum over past triggers j        a_p g_j[n] (1 - q_p) q_p^(m - m_j - 1),

where ``g_j`` is what share of a trigger's children falls into each neighborhood: w if they fall anywhere in the city;
otherwise 1 in the trigger's own and 0 elsewhere, or 0 everywhere where its neighborhood is not one of the hidden ones.
The derivation in `truth` holds for each neighborhood by itself, because what a target event sets off stays in its
neighborhood: the chance N(m) that it leaves the window silent is the same everywhere, and a trigger to come leaves
neighborhood n silent with probability exp(-a_p g[n] A(m)). So the probabilities are exact, for every lead and
horizon, city-wide and by neighborhood, with one exception:

**Pairs** to come are no Poisson process. A pair acts from the end of its window on, so that only windows that end after
the issue time and before the target window's end matter. If there are none, as for an issue on the even hour and a
target window of the two hours that follow, the closed form is exact. If there are, their part is simulated (see
`pairs`), and `AreaTruth.is_exact` says so.

**Reporting delay.** If every row is known `delay_s` after it happened, then what is known at t is all that happened
before t - delay, and the truth at t is the truth at t - delay with so much more lead: as exact as without a delay.
Before the simulation begins nothing happened, which is known. If the delay differs from row to row, the truth lies
between those of the shortest and the longest delay; no closed form is known.

**Under-reporting.** The truth knows all incidents, reported or not: where rows are left out, it is more than anybody
can know from the table, an upper bound.

Shapes: S forecasts, H hours, E events, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hews_gpu.arrays import Bool
from hews_gpu.synthetic.pairs import SLOT_MIN, PairLaw
from hews_gpu.synthetic.process import HOUR_S, Float64, Int64, Kernel
from hews_gpu.synthetic.silence import Silence, excitation, expected, silence
from hews_gpu.synthetic.tasks import Task, as_minutes, tasks_of

__all__ = ["AreaTruth"]


@dataclass(frozen=True, kw_only=True)
class AreaTruth:
    """The law of one simulated city's target events, and the events that happened.

    Times are local wall-clock seconds and whole minutes.
    """

    preset: str
    begin_s: int
    """Begin of the simulation, a whole even hour; nothing happened before."""
    base_per_h: Float64  # [H]
    """Target events that nothing set off, expected in each hour."""
    area_share: Float64  # [N]
    """Share of them in each neighborhood: w."""
    excited_by_targets: Kernel
    excited_by_triggers: Kernel
    """Its branching is 0 where there are no triggers."""
    in_city: bool
    """Whether the children of a trigger fall anywhere, by w, instead of into its own neighborhood."""
    gain: Float64  # [N]
    """1, or 0 where triggers set off nothing."""
    trigger_per_h: Float64  # [H]
    """Triggers expected in each hour; 0 for pairs."""
    trigger_share: Float64  # [N]
    """Share of them in each neighborhood."""
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

    # ------------------------------------------------------------ what happened

    @cached_property
    def targets(self) -> tuple[Int64, Int64]:
        """Minute [E] and neighborhood [E] of the target events, in order of time."""
        return as_minutes(self, "target", self.target_s), self.target_area

    @cached_property
    def triggers(self) -> tuple[Int64, Int64]:
        """Minute and neighborhood of what sets off target events: those that set off nothing are left out."""
        if self.pairs is not None:
            minute, area = self.pairs.pairs
        else:
            minute, area = as_minutes(self, "incident", self.incident_s), self.incident_area
        return minute[self.gain[area] > 0], area[self.gain[area] > 0]

    def happened(self, begin_s: npt.ArrayLike, end_s: npt.ArrayLike) -> Bool:
        """[S] whether a target event falls in [begin, end)."""
        first, last = (np.searchsorted(self.target_s, np.atleast_1d(time_s)) for time_s in (begin_s, end_s))
        return np.asarray(last > first)

    def happened_by_area(self, begin_s: npt.ArrayLike, end_s: npt.ArrayLike) -> Bool:
        """[S, N] the same for each neighborhood."""
        begin, end = np.atleast_1d(begin_s), np.atleast_1d(end_s)
        by_area = [self.target_s[self.target_area == area] for area in range(self.areas)]
        return np.stack([np.searchsorted(t, end) > np.searchsorted(t, begin) for t in by_area], axis=1)

    # ------------------------------------------------------------ what was to be expected

    def probability(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """P(at least one target event in [begin, end) | all events before the issue time less the delay).

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
        return self._probability(tasks_of(self, issue_s, begin_s, end_s, delay_s), by_area=False)[:, 0]

    def by_area(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """[S, N] the same for each neighborhood; arguments and errors as for `probability`."""
        return self._probability(tasks_of(self, issue_s, begin_s, end_s, delay_s), by_area=True)

    def is_exact(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Bool:
        """[S] whether these probabilities come from the closed form alone, without simulation."""
        tasks = list(tasks_of(self, issue_s, begin_s, end_s, delay_s))
        exact = np.ones(sum(len(task.which) for task in tasks), dtype=np.bool_)
        for task in tasks:
            if self.pairs is not None:
                exact[task.which] = (task.issue // SLOT_MIN + 1) * SLOT_MIN >= task.issue + task.length
        return exact

    def _probability(self, tasks: Iterator[Task], *, by_area: bool) -> Float64:
        done = [(task.which, self._log_silence(task, by_area=by_area)) for task in tasks]
        result = np.empty((sum(len(which) for which, _ in done), self.areas if by_area else 1))
        for which, total in done:
            result[which] = -np.expm1(-total)
        return result

    def _log_silence(self, task: Task, *, by_area: bool) -> Float64:
        """[S, N] or [S, 1] -log P(no target in the window), for issue times of one lead and horizon."""
        law = silence(self.excited_by_targets, self.excited_by_triggers, task.lead, task.horizon)
        share = self.area_share if by_area else np.ones(1)
        total = expected(self.base_per_h, law.some_target, task.issue)[:, None] * share
        for kernel, reach, (minute, area), in_city in (
            (self.excited_by_targets, law.from_targets, self.targets, False),
            (self.excited_by_triggers, law.from_triggers, self.triggers, self.in_city),
        ):
            if kernel.branching:
                level = self._levels(minute, area, task.issue, kernel, by_area=by_area and not in_city)
                total += kernel.branching * reach * level * (share if in_city else 1.0)
        if self.excited_by_triggers.branching:
            total += self._from_triggers_to_come(law, task, by_area=by_area)
        return total

    def _levels(self, minute: Int64, area: Int64, issue: Int64, kernel: Kernel, *, by_area: bool) -> Float64:
        """[S, N] or [S, 1] excitation left over from past events."""
        if not by_area:
            return excitation(minute, issue, kernel.keep)[:, None]
        return np.stack([excitation(minute[area == n], issue, kernel.keep) for n in range(self.areas)], axis=1)

    def _from_triggers_to_come(self, law: Silence, task: Task, *, by_area: bool) -> Float64:
        """[S, N] or [S, 1] what triggers of the minutes after the issue time may still set off."""
        branching = self.excited_by_triggers.branching
        if self.pairs is not None:
            return self._from_pairs_to_come(self.pairs, branching * law.reach, task, by_area=by_area)
        if self.in_city:
            shares = self.area_share if by_area else np.ones(1)
            parts = [expected(self.trigger_per_h, -np.expm1(-branching * w * law.reach), task.issue) for w in shares]
            return np.stack(parts, axis=1)
        share = self.trigger_share * self.gain
        once = expected(self.trigger_per_h, -np.expm1(-branching * law.reach), task.issue)
        return once[:, None] * (share if by_area else share.sum())

    def _from_pairs_to_come(self, pairs: PairLaw, cost: Float64, task: Task, *, by_area: bool) -> Float64:
        """[S, N] or [S, 1] the same where the triggers are pairs; `cost` [L] of one whose window ends at a minute."""
        columns: list[int | None] = list(range(self.areas)) if by_area else [None]
        total = np.zeros((len(task.issue), len(columns)))
        offsets = task.issue % SLOT_MIN
        for offset in np.unique(offsets):
            mine = np.flatnonzero(offsets == offset)
            issue = task.issue[mine]
            for ahead, last in enumerate(range(SLOT_MIN - 1 - offset, task.length - 1, SLOT_MIN)):
                if ahead == 0 and offset > 0:
                    total[mine] += pairs.log_partial(issue, cost[last], by_area=by_area)
                    continue
                window = issue // SLOT_MIN + ahead
                total[mine] += np.stack([pairs.log_factor(window, cost[last], n) for n in columns], axis=1)
        return total
