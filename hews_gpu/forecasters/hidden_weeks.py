"""Weeks in which a neighborhood is hot, which no row shows, but more rows of some categories than usual tell of.

In each week, which begins on the same weekday everywhere, a neighborhood is hot or not, and mostly stays so: a Markov
chain that all neighborhoods share. In a hot week the rows of each category are some factor more than otherwise, and
otherwise as many as the neighborhood usually has. Chances of change, factors and usual rates are those that make the
rows likeliest (Baum et al., 1970, Annals of Mathematical Statistics 41), the weekday is the one that gains most by it.
What is known at some moment then gives the chance that this week is hot: Bayes' rule, from week to week.

Shapes: S windows, N neighborhoods, W weeks, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, Catalog
from hews_gpu.forecasters.logistic import expit, logit
from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["HiddenWeeks"]

FEWEST_WEEKS, MOST_WEEKS = 52, 208  # learned from, the last ones
ROUNDS, MORE_ROUNDS = 8, 20  # of expectation maximization: for each weekday, and more for the best
TO_HOT, TO_QUIET, FACTOR = 0.1, 0.3, 2.0  # chances of change and factor at first
PRIOR_ROWS = 5.0  # of each category: its factor is drawn towards 1 as if so many rows had confirmed that
PRIOR_USUAL = 0.5  # rows of a category that each neighborhood is taken to have beside its own
PRIOR_CHANGES = 2.0
EXACT = 1 << 16  # logs of factors are multiples of one part in so many, so that sums are exact in any order


@dataclass(frozen=True, kw_only=True)
class HiddenWeeks:
    """What was learned."""

    begin_s: int
    """Of the first week."""
    streams: tuple[str, ...]
    """The C categories."""
    log_factor: Float64  # [C] of the rows of a hot week
    usual: Float64  # [N, C] rows of a week that is not hot
    to_hot: float
    """Chance that the week after a quiet one is hot."""
    to_quiet: float
    """Chance that the week after a hot one is not."""

    @classmethod
    def fitted(cls, past: Catalog, windows: Windows, streams: tuple[str, ...]) -> HiddenWeeks | None:
        """Learn from the rows known in the time of some windows; None where that is short or targets are not more."""
        end_s, weeks = int(windows.end_s[-1]), int((windows.end_s[-1] - windows.begin_s[0]) // WEEK_S) - 2
        weeks = min(weeks, MOST_WEEKS)  # two less than there are: on whatever weekday it begins, each is whole
        if weeks < FEWEST_WEEKS or TARGETS not in streams:
            return None
        best, most = None, -np.inf
        for day in range(7):
            begin_s = end_s - end_s % DAY_S - weeks * WEEK_S - day * DAY_S
            rows = _weekly(past, streams, begin_s, weeks)
            one = cls._at_first(rows, begin_s, streams)
            for _ in range(ROUNDS):
                one, gain = one._better(rows)
            if gain > most:
                best, most, of_best = one, gain, rows
        assert best is not None
        for _ in range(MORE_ROUNDS):
            best, _ = best._better(of_best)
        return best if best.log_factor[streams.index(TARGETS)] > 0 else None

    @classmethod
    def _at_first(cls, rows: Float64, begin_s: int, streams: tuple[str, ...]) -> HiddenWeeks:
        log_factor = np.where([name == TARGETS for name in streams], np.log(FACTOR), 0.0)
        hot = np.full(rows.shape[:2], TO_HOT / (TO_HOT + TO_QUIET))
        usual = _usual(rows, hot, log_factor)
        return cls(
            begin_s=begin_s, streams=streams, log_factor=log_factor, usual=usual, to_hot=TO_HOT, to_quiet=TO_QUIET
        )

    def _better(self, rows: Float64) -> tuple[HiddenWeeks, float]:
        """Return the next step of expectation maximization, and the nats gained over no hot weeks by what was before.

        Args:
            rows: [W, N, C].
        """
        hot, changes, value = self._smoothed(rows @ self.log_factor - self._taken)
        total, usual = rows.sum(axis=(0, 1)), self.usual
        log_usual = np.log(usual * len(rows) / np.maximum(rows.sum(axis=0), 1e-9))
        value += float((rows.sum(axis=0) * log_usual).sum() - len(rows) * usual.sum() + total.sum())
        in_hot = hot.ravel() @ rows.reshape(-1, rows.shape[2])
        log_factor = np.log((in_hot + PRIOR_ROWS) / (hot.sum(axis=0) @ usual + PRIOR_ROWS))
        log_factor = np.round(log_factor * EXACT) / EXACT
        change = changes + PRIOR_CHANGES * np.array([[1 - TO_HOT, TO_HOT], [TO_QUIET, 1 - TO_QUIET]])
        change /= change.sum(axis=1, keepdims=True)
        better = HiddenWeeks(
            begin_s=self.begin_s,
            streams=self.streams,
            log_factor=log_factor,
            usual=_usual(rows, hot, log_factor),
            to_hot=float(change[0, 1]),
            to_quiet=float(change[1, 0]),
        )
        return better, value

    @property
    def _taken(self) -> Float64:
        """Evidence [N] that a week without any row would be against its being hot."""
        return np.asarray((self.usual * np.expm1(self.log_factor)).sum(axis=1), dtype=np.float64)

    def _smoothed(self, evidence: Float64) -> tuple[Float64, Float64, float]:
        """Return the chance [W, N] that each week was hot, expected changes [2, 2], and the log likelihood.

        Args:
            evidence: [W, N] log likelihood ratio of each week's rows, hot against not.
        """
        moves = np.array([[1 - self.to_hot, self.to_hot], [self.to_quiet, 1 - self.to_quiet]])
        top = np.maximum(evidence, 0.0)
        likely = np.exp(np.stack([-top, evidence - top], axis=-1))
        forward, scale = np.empty_like(likely), np.empty(evidence.shape)
        state = np.broadcast_to([self.to_quiet, self.to_hot], likely.shape[1:]) / (self.to_hot + self.to_quiet)
        for week, each in enumerate(likely):
            state = (state @ moves if week else state) * each
            scale[week] = state.sum(axis=1)
            forward[week] = state = state / scale[week][:, None]
        hot, changes, back = np.empty(evidence.shape), np.zeros((2, 2)), np.ones(likely.shape[1:])
        for week in reversed(range(len(likely))):
            hot[week] = forward[week, :, 1] * back[:, 1]
            if week:
                ahead = likely[week] * back / scale[week][:, None]
                changes += forward[week - 1].T @ ahead * moves
                back = ahead @ moves.T
        return hot, changes, float(np.log(scale).sum() + top.sum())

    def log_rate(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return by how much [S, N] the log of the targets' rate is above that of a week that is not hot.

        It depends on no row known at the issue time or later, and on no other issue time.
        """
        week = (issue_s - self.begin_s) // WEEK_S
        edges_s = self.begin_s + np.arange(max(int(week.max()), 0) + 1) * WEEK_S
        seen = seen.since(self.begin_s)
        column = seen.columns(self.streams)
        mine = np.flatnonzero(column >= 0)
        weight, cell = self.log_factor[column[mine]], seen.area[mine].astype(np.int64)
        taken = self._taken
        until_week, until_now = (
            _running(seen.known_s[mine], cell, weight, when_s, seen.areas) for when_s in (edges_s, issue_s)
        )
        before = np.empty(until_week.shape)  # log-odds of its being hot, before any row of the week
        state = np.full(seen.areas, self.to_hot / (self.to_hot + self.to_quiet))
        for k in range(len(edges_s)):
            before[k] = logit(state)
            if k + 1 < len(edges_s):
                known = expit(before[k] + until_week[k + 1] - until_week[k] - taken)
                state = self.to_hot + (1 - self.to_hot - self.to_quiet) * known
        week, over = np.maximum(week, 0), np.maximum(issue_s - self.begin_s, 0) % WEEK_S / WEEK_S
        hot = expit(before[week] + until_now - until_week[week] - over[:, None] * taken)
        factor = self.log_factor[self.streams.index(TARGETS)]
        return np.asarray(np.log1p(np.expm1(factor) * hot), dtype=np.float64)


def _weekly(past: Catalog, streams: tuple[str, ...], begin_s: int, weeks: int) -> Float64:
    """Return the rows [W, N, C] that became known in each week."""
    past = past.since(begin_s).until(begin_s + weeks * WEEK_S)
    column = past.columns(streams)
    mine = np.flatnonzero(column >= 0)
    cell = ((past.known_s[mine] - begin_s) // WEEK_S * past.areas + past.area[mine]) * len(streams) + column[mine]
    shape = (weeks, past.areas, len(streams))
    return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _usual(rows: Float64, hot: Float64, log_factor: Float64) -> Float64:
    """Return the rows [N, C] of a week that is not hot, from the rows [W, N, C] and how likely [W, N] each was hot."""
    total = rows.sum(axis=0)
    filled = total + PRIOR_USUAL * total.sum(axis=0) / max(1.0, total.sum())
    weeks = hot.sum(axis=0)[:, None]
    return np.asarray(filled / (len(rows) - weeks + weeks * np.exp(log_factor)), dtype=np.float64)


def _running(known_s: Int64, area: Int64, weight: Float64, when_s: Int64, areas: int) -> Float64:
    """Return the weights [S, N] of the rows known before each moment."""
    cell = np.searchsorted(when_s, known_s, side="right") * areas + area
    return np.bincount(cell, weight, (len(when_s) + 1) * areas).reshape(-1, areas)[:-1].cumsum(axis=0)
