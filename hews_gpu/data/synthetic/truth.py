"""The true probability that a target event follows, given everything that happened before: the best forecast there is.

The law (see `process`), minute by minute. Given the past, the number of target events in minute m is Poisson with mean

    base[m] + sum over past targets i     a_s (1 - q_s) q_s^(m - m_i - 1)
            + sum over past precursors j  a_p (1 - q_p) q_p^(m - m_j - 1),

with branching a and share q = exp(-60 s / decay) kept per minute; precursors are Poisson with mean pre[m] and are
themselves not excited by anything. "Past" means earlier minutes, so events of one minute do not act on each other.

Derivation. We want P(no target in the minutes [b, e) | all events before minute t), t <= b < e. Such a process is a
superposition of independent clusters: one for each arrival after t, and one for each past event, which continues to
set off children. No target falls in [b, e) exactly if no cluster puts one there. Let N(m) be the probability that
a target event in minute m, t <= m < e, has neither itself nor any descendant in [b, e). In the window N = 0. Before it,
the direct children of the event are Poisson in each later minute, with mean a_s (1 - q_s) q_s^(k - m - 1) in minute k,
and each must in turn have no descendant in [b, e); a Poisson number of independent trials with failure chance
1 - N(k) has no failure with probability exp(-mean (1 - N(k))). Hence, with

    A_x(m) = sum over k = m+1 .. e-1 of (1 - q_x) q_x^(k - m - 1) (1 - N(k)),    x = s or p,

N(m) = exp(-a_s A_s(m)) for t <= m < b, and a precursor in minute m, t <= m < e, has no target descendant in the window
with probability M(m) = exp(-a_p A_p(m)). A obeys A(e-1) = 0, A(m-1) = (1 - q)(1 - N(m)) + q A(m): one pass backwards.
By the same argument, for the arrivals after t and the future children of past events (of which a share q outlives each
minute),

    -log P = sum over m = t .. e-1 of base[m] (1 - N(m)) + pre[m] (1 - M(m))
             + a_s A_s(t-1) sum over past targets i of q_s^(t - 1 - m_i)
             + a_p A_p(t-1) sum over past precursors j of q_p^(t - 1 - m_j).

This is exact for every lead b - t and horizon e - b: finite sums, no simulation. Without a lead (b = t) it reads
1 - N = 1 and A(m) = 1 - q^(e - 1 - m): the base, the integrated kernels of the past, and the precursors that are still
to come within the window, pre[m] (1 - exp(-a_p (1 - q_p^(e - 1 - m)))). Self-excitation within the window drops out:
all of it starts from a target in the window. (Poisson cluster processes and the Hawkes process
among them: Daley & Vere-Jones, An Introduction to the Theory of Point Processes, vol. I, 2nd ed., 2003, section 6.3.)

Shapes: S forecasts, H hours, E events, L minutes from issue to the window's end.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hews_gpu.data.synthetic.process import HOUR_S, MINUTE_S, MINUTES_PER_HOUR, Float64, Int64, Kernel
from hews_gpu.errors import UserError

__all__ = ["Truth", "load_truth", "save_truth"]

FORMAT = 1  # raised when the file's content changes its meaning
KEYS = frozenset(
    (
        *("format", "begin_s", "base_per_h", "precursor_per_h", "excited_by_targets", "excited_by_precursors"),
        *("target_s", "precursor_s", "precursor"),
    )
)
CHUNK = 1 << 20  # minutes of rates that are gathered at once: 8 MB a table


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The law of one simulated city's target events, and the events that happened.

    Times are local wall-clock seconds and whole minutes. `probability` is all that a user needs.
    """

    begin_s: int
    """Begin of the simulation, a whole hour; nothing happened before."""
    base_per_h: Float64  # [H]
    """Target events that nothing set off, expected in each hour."""
    precursor_per_h: Float64  # [H]
    """Precursor incidents expected in each hour."""
    excited_by_targets: Kernel
    """Targets set off by a target event."""
    excited_by_precursors: Kernel
    """Targets set off by a precursor incident."""
    target_s: Int64  # [E] sorted
    """Times of the target events; an event with several victims is one."""
    precursor_s: Int64  # [E'] sorted
    """Times of the precursor incidents."""
    precursor: str
    """The precursor's category."""

    @property
    def end_s(self) -> int:
        """End of the simulation."""
        return self.begin_s + len(self.base_per_h) * HOUR_S

    def probability(self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike) -> Float64:
        """P(at least one target event in [begin, end) | all events before the issue time), exactly.

        Args:
            issue_s: [S] or scalar issue times.
            begin_s: [S] or scalar begins of the target windows, not before the issue.
            end_s: [S] or scalar ends of the target windows, not included.

        Returns:
            [S] float64 probabilities.

        Raises:
            UserError: a time is not a whole minute, or out of order, or outside the simulation.
        """
        times = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (issue_s, begin_s, end_s)))
        issue, begin, end = (self._minutes(name, x) for name, x in zip(("issue", "begin", "end"), times, strict=True))
        if np.any((begin < issue) | (end <= begin)):
            raise UserError("target window", allowed="must begin at or after the issue time and end after it begins")
        tasks, which = np.unique(np.stack([begin - issue, end - begin], axis=1), axis=0, return_inverse=True)
        probability = np.empty(len(issue))
        for task, (lead, horizon) in enumerate(tasks):
            mine = np.flatnonzero(which.reshape(-1) == task)
            probability[mine] = -np.expm1(-self._log_silence(issue[mine], int(lead), int(horizon)))
        return probability

    def _minutes(self, name: str, time_s: Int64) -> Int64:
        if np.any(time_s % MINUTE_S != self.begin_s % MINUTE_S):
            raise UserError(
                f"{name} time", allowed="must be a whole minute", remedy="The truth knows time by the minute"
            )
        if np.any((time_s < self.begin_s) | (time_s > self.end_s)):
            outside = time_s[(time_s < self.begin_s) | (time_s > self.end_s)][0]
            raise UserError(f"{name} time", int(outside), allowed=f"must be {self.begin_s}..{self.end_s}, as simulated")
        return np.asarray((time_s - self.begin_s) // MINUTE_S, dtype=np.int64)

    def _log_silence(self, issue: Int64, lead: int, horizon: int) -> Float64:
        """[S] -log P(no target in the window), for issue minutes with one lead and horizon in minutes."""
        base_weight, precursor_weight, from_targets, from_precursors = self._weights(lead, horizon)
        by_targets, by_precursors = self.excited_by_targets, self.excited_by_precursors
        total = from_targets * excitation(self._minutes("target", self.target_s), issue, by_targets.keep)
        total += from_precursors * excitation(self._minutes("precursor", self.precursor_s), issue, by_precursors.keep)
        ahead = np.arange(lead + horizon)  # [L]
        rows = max(1, CHUNK // len(ahead))
        for first in range(0, len(issue), rows):
            part = slice(first, first + rows)
            hour = (issue[part, None] + ahead) // MINUTES_PER_HOUR  # [rows, L]
            total[part] += self.base_per_h[hour] @ base_weight / MINUTES_PER_HOUR
            total[part] += self.precursor_per_h[hour] @ precursor_weight / MINUTES_PER_HOUR
        return total

    def _weights(self, lead: int, horizon: int) -> tuple[Float64, Float64, float, float]:
        """``1 - N`` [L], ``1 - M`` [L], ``a_s A_s(t-1)`` and ``a_p A_p(t-1)`` of the derivation above."""
        targets, precursors = self.excited_by_targets, self.excited_by_precursors
        some_target = np.ones(lead + horizon)  # 1 - N: the event or a descendant is in the window
        some_child = np.empty(lead + horizon)  # 1 - M
        by_target = by_precursor = 0.0  # A_s, A_p
        for m in range(lead + horizon - 1, -1, -1):
            if m < lead:
                some_target[m] = -np.expm1(-targets.branching * by_target)
            some_child[m] = -np.expm1(-precursors.branching * by_precursor)
            by_target = (1 - targets.keep) * some_target[m] + targets.keep * by_target
            by_precursor = (1 - precursors.keep) * some_target[m] + precursors.keep * by_precursor
        return some_target, some_child, targets.branching * by_target, precursors.branching * by_precursor


def excitation(minute: Int64, issue: Int64, keep: float) -> Float64:
    """[S] sum of ``keep^(issue - 1 - minute)`` over the events before each issue minute.

    Args:
        minute: [E] sorted event minutes.
        issue: [S] issue minutes; an event in the issue minute itself is not past yet.
        keep: share that outlives one minute.
    """
    level = np.zeros(len(minute) + 1)  # just after each event; the first is for "none yet"
    fade = keep ** np.diff(minute, prepend=minute[:1]).astype(np.float64)
    for k, share in enumerate(fade):
        level[k + 1] = 1.0 + level[k] * share
    last = np.searchsorted(minute, issue, side="left")  # number of events before each issue
    age = issue - 1 - np.concatenate([[0], minute])[last]
    return np.where(last > 0, level[last] * keep ** np.maximum(age, 0).astype(np.float64), 0.0)


def save_truth(truth: Truth, path: Path) -> None:
    """Write a truth as one .npz file; the same truth gives the same bytes."""
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "begin_s": truth.begin_s,
        "base_per_h": truth.base_per_h,
        "precursor_per_h": truth.precursor_per_h,
        "excited_by_targets": [truth.excited_by_targets.branching, truth.excited_by_targets.decay_s],
        "excited_by_precursors": [truth.excited_by_precursors.branching, truth.excited_by_precursors.decay_s],
        "target_s": truth.target_s,
        "precursor_s": truth.precursor_s,
        "precursor": truth.precursor,
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_truth(path: Path) -> Truth:
    """Read a truth that `save_truth` wrote.

    Raises:
        UserError: the file is missing, damaged, or not a truth of this format.
    """
    remedy = "Generate the city again"
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            found = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {}
    except FileNotFoundError:
        raise UserError("[synthetic] truth", path, allowed="does not exist", remedy=remedy) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError("[synthetic] truth", path, allowed=f"cannot be read ({error})", remedy=remedy) from None
    if int(found.get("format", -1)) != FORMAT or not found.keys() >= KEYS:
        raise UserError("[synthetic] truth", path, allowed=f"is not a truth of format {FORMAT}", remedy=remedy)
    return Truth(
        begin_s=int(found["begin_s"]),
        base_per_h=found["base_per_h"],
        precursor_per_h=found["precursor_per_h"],
        excited_by_targets=_kernel(found["excited_by_targets"]),
        excited_by_precursors=_kernel(found["excited_by_precursors"]),
        target_s=found["target_s"],
        precursor_s=found["precursor_s"],
        precursor=str(found["precursor"]),
    )


def _kernel(pair: Float64) -> Kernel:
    return Kernel(branching=float(pair[0]), decay_s=float(pair[1]))
