"""The true probability of a target event under a foreign law: what the rows say, and a filter for what they hide.

Given the hidden states, all counts of window k are independent and Poisson, with means that earlier rows tell. The
hidden state is therefore that of a hidden Markov model, and its law given all rows known at issue follows from the
forward recursion (Rabiner, Proc. IEEE 77, 1989; Baum and Petrie, Ann. Math. Stat. 37, 1966)

    a[k + 1](z') = sum over z of a[k](z) L[k](z) T(z, z') / sum over z of a[k](z) L[k](z),

a[k] being the law of the state in window k given the rows before it and L[k](z) the chance of the rows of window k.
Chains of different neighborhoods are independent given the rows. Then

    P(no target in window k) = sum over z of a[k](z) exp(-mean[k](z)),

a product over neighborhoods where each has a chain of its own. If the rows of the last d minutes are not known, L of
the window before is that of its first 120 - d minutes: rows are spread evenly within a window. All of it is exact: no
simulation, no approximation. What a city is drawn with once, such as its clock and its wave, the truth knows.

The truth is known for windows of the grid, with at most LATE_MIN from the last row known to the window: beyond, the
chance would depend on rows still to come.

Shapes: S forecasts, K windows, N neighborhoods, C categories, E events, Z hidden states, G chains: N or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.synthetic.foreign_law import LATE_MIN, ForeignLaw, Hidden, Past, Rows
from hews_gpu.synthetic.pairs import SLOT_MIN
from hews_gpu.units import MINUTE_S

__all__ = ["ForeignTruth", "forward"]

SLOT_S = SLOT_MIN * MINUTE_S


def forward(likelihood: Float64, is_move: Bool, hidden: Hidden) -> Float64:
    """Return the law of the hidden state in each window given what was seen in earlier ones [K, G, Z].

    Args:
        likelihood: [K, G, Z] chance of what was seen in a window, in each state, up to a factor.
        is_move: [K] whether the chain moves at the begin of a window.
        hidden: its law.
    """
    law = np.empty_like(likelihood)
    state = np.broadcast_to(hidden.stationary, likelihood.shape[1:])
    for window, move in enumerate(is_move.tolist()):
        law[window] = state = state @ hidden.moves if move else state
        state = state * likelihood[window]
        state /= state.sum(axis=1, keepdims=True)
    return law


@dataclass(frozen=True, kw_only=True)
class ForeignTruth:
    """The law of one simulated city's target events, and the rows that it depends on.

    Times are local wall-clock seconds. `probability` and `by_area` are all that a user needs.
    """

    law: ForeignLaw
    begin_s: int
    """Begin of the simulation, a midnight; nothing happened before."""
    base: Float64  # [K] target events expected in each window, before anything acts on them
    area_share: Float64  # [N]
    past: Past
    category_means: Float64  # [C, K] of the observed categories: rows expected in each window where the value is 0 ...
    category_shares: Float64  # [C, N] ... and the share of each neighborhood in them
    target_s: Int64  # [E] sorted
    target_area: Int64  # [E]

    @property
    def preset(self) -> str:
        """Name of the law."""
        return self.law.name

    @property
    def end_s(self) -> int:
        """End of the simulation."""
        return self.begin_s + len(self.base) * SLOT_S

    @property
    def areas(self) -> int:
        """N."""
        return len(self.area_share)

    @cached_property
    def targets(self) -> Rows:
        """The target events."""
        return Rows((self.target_s - self.begin_s) // MINUTE_S, self.target_area)

    def probability(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """Return P(at least one target event in [begin, end) | all rows before the issue time less the delay).

        Args:
            issue_s: [S] or scalar issue times.
            begin_s: [S] or scalar begins of the target windows, on even hours.
            end_s: [S] or scalar ends of the target windows, two hours later.
            delay_s: how long after it happened a row is known, the same for all; whole minutes.

        Returns:
            [S] float64 probabilities.

        Raises:
            UserError: a window is not on the grid or outside the simulation, or its rows are known too late.
        """
        return 1 - self._silence(*self._windows(issue_s, begin_s, end_s, delay_s), by_area=False)[:, 0]

    def by_area(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """Return the probability for each neighborhood [S, N]; arguments and errors as for `probability`."""
        return 1 - self._silence(*self._windows(issue_s, begin_s, end_s, delay_s), by_area=True)

    def _windows(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, delay_s: int
    ) -> tuple[Int64, Int64]:
        """Return the number [S] of each target window, and how many minutes before it the last known row lies [S]."""
        times = (np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (issue_s, begin_s, end_s))
        issue, begin, end = np.broadcast_arrays(*times)
        window, off = np.divmod(begin - self.begin_s, SLOT_S)
        if off.any() or np.any(end - begin != SLOT_S) or np.any((begin < self.begin_s) | (end > self.end_s)):
            allowed = "must be of two hours, begin on an even hour, and lie in the simulation"
            raise UserError("target window", allowed=allowed, remedy=f"The truth of '{self.preset}' knows no other")
        late_s = begin - issue + delay_s
        if np.any((late_s < 0) | (late_s > LATE_MIN * MINUTE_S) | (late_s % MINUTE_S != 0)) or delay_s < 0:
            allowed = f"must be 0..{LATE_MIN} whole minutes together"
            raise UserError("lead and delay", allowed=allowed, remedy=f"The truth of '{self.preset}' knows no other")
        return np.asarray(window, dtype=np.int64), np.asarray(late_s // MINUTE_S, dtype=np.int64)

    # ------------------------------------------------------------ means given the hidden state

    @cached_property
    def _log_factor(self) -> Float64:
        """[K, N] what the effects add."""
        total = np.zeros((self.past.windows, self.areas))
        for effect in self.law.effects:
            total += effect.log_factor(self.past)
        return total

    @cached_property
    def _renewal(self) -> Float64:
        """[K, N] what the time since the last target event does; of those up to half an hour before the window."""
        assert self.law.renewal is not None
        minute, area = self.targets
        known = np.arange(self.past.windows) * SLOT_MIN - LATE_MIN
        age = np.full((len(known), self.areas), np.inf)
        for n in range(self.areas):
            mine = np.append(-np.inf, minute[area == n])
            age[:, n] = known - mine[np.searchsorted(mine, known, side="left") - 1]
        return self.law.renewal.factor(age)

    def mean(self, value: float = 0.0) -> Float64:
        """Return the target events expected in each window and neighborhood [K, N], given the hidden value."""
        base = self.base[:, None] * self.area_share
        lift = self._log_factor + (self.law.hidden.strength * value if self.law.hidden is not None else 0.0)
        result = np.log1p(np.expm1(base) * np.exp(lift)) if self.law.on_odds else base * np.exp(lift)
        return np.asarray(result * self._renewal if self.law.renewal is not None else result)

    # ------------------------------------------------------------ the hidden state

    def _log_likelihood(self, hidden: Hidden, until: int) -> Float64:
        """Return log P(rows of the first `until` minutes of each window | state) [K, G, Z], up to a constant."""
        share, shape = until / SLOT_MIN, (self.past.windows, self.areas)
        targets = self.targets.per(SLOT_MIN, *shape, until)
        counts = [self.past.rows[name].per(SLOT_MIN, *shape, until) for name in self.law.observed]
        by_state = []
        for value in hidden.values:
            mean = self.mean(value)
            total = xlogy(targets, mean) - share * mean
            for (_, gain), count, means, shares in zip(
                hidden.categories, counts, self.category_means, self.category_shares, strict=True
            ):
                total += count * (gain * value) - share * np.exp(gain * value) * means[:, None] * shares
            by_state.append(total if hidden.by_area else total.sum(axis=1, keepdims=True))
        return np.stack(by_state, axis=2)

    @cached_property
    def _filtered(self) -> Float64:
        """[K, G, Z] law of the state given all rows before each window."""
        assert self.law.hidden is not None
        likelihood = _scaled(self._log_likelihood(self.law.hidden, SLOT_MIN))
        return forward(likelihood, self.law.hidden.is_move(self.past.windows), self.law.hidden)

    def _state(self, window: Int64, late_min: int) -> Float64:
        """Return the law of the state in each window [S, G, Z], given the rows up to so many minutes before it."""
        hidden = self.law.hidden
        if hidden is None:
            return np.ones((len(window), 1, 1))
        if late_min == 0:
            return self._filtered[window]
        state = self._filtered * _scaled(self._log_likelihood(hidden, SLOT_MIN - late_min))
        state /= state.sum(axis=2, keepdims=True)
        is_move = hidden.is_move(self.past.windows)
        moved = np.flatnonzero(is_move[1:])
        state[moved] = state[moved] @ hidden.moves
        before = state[np.maximum(window - 1, 0)]
        before[window == 0] = self._filtered[0]
        return before

    def _silence(self, window: Int64, late_min: Int64, *, by_area: bool) -> Float64:
        """Return P(no target event) of each window [S], by neighborhood [S, N] or in all of them [S, 1]."""
        hidden = self.law.hidden
        apart = by_area or (hidden is not None and hidden.by_area)  # neighborhoods that share their state: a sum first
        silent = np.zeros((len(window), self.areas if apart else 1))
        for minutes in np.unique(late_min):
            mine = np.flatnonzero(late_min == minutes)
            state = self._state(window[mine], int(minutes))
            for z, value in enumerate(hidden.values if hidden is not None else (0.0,)):
                mean = self.mean(value)[window[mine]]
                silent[mine] += state[:, :, z] * np.exp(-(mean if apart else mean.sum(axis=1, keepdims=True)))
        return silent if by_area else silent.prod(axis=1, keepdims=True)


def _scaled(log_likelihood: Float64) -> Float64:
    """Return likelihoods [K, G, Z] whose largest is 1 in each window and chain."""
    return np.asarray(np.exp(log_likelihood - log_likelihood.max(axis=2, keepdims=True)))
