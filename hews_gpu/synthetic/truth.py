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

Shapes: S forecasts, H hours, E events.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hews_gpu.errors import UserError
from hews_gpu.synthetic import areal_file
from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.process import HOUR_S, Float64, Int64, Kernel
from hews_gpu.synthetic.silence import excitation, expected, silence
from hews_gpu.synthetic.tasks import as_minutes, tasks_of

__all__ = ["Truth", "load_truth", "save_truth"]

FORMAT = 1  # raised when the file's content changes its meaning
KEYS = frozenset(
    (
        *("format", "begin_s", "base_per_h", "precursor_per_h", "excited_by_targets", "excited_by_precursors"),
        *("target_s", "precursor_s", "precursor"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The law of one simulated city's target events, and the events that happened.

    Times are local wall-clock seconds and whole minutes. `probability` is all that a user needs.
    """

    preset: ClassVar[str] = "demo"
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

    def probability(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> Float64:
        """P(at least one target event in [begin, end) | all events before the issue time less the delay), exactly.

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
        tasks = list(tasks_of(self, issue_s, begin_s, end_s, delay_s))
        probability = np.empty(sum(len(task.which) for task in tasks))
        for task in tasks:
            probability[task.which] = -np.expm1(-self._log_silence(task.issue, task.lead, task.horizon))
        return probability

    def is_exact(
        self, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, *, delay_s: int = 0
    ) -> npt.NDArray[np.bool_]:
        """[S] whether these probabilities come from the closed form alone: always."""
        tasks = tasks_of(self, issue_s, begin_s, end_s, delay_s)
        return np.ones(sum(len(task.which) for task in tasks), dtype=np.bool_)

    def happened(self, begin_s: npt.ArrayLike, end_s: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """[S] whether a target event falls in [begin, end)."""
        first, last = (np.searchsorted(self.target_s, np.atleast_1d(time_s)) for time_s in (begin_s, end_s))
        return np.asarray(last > first)

    def _log_silence(self, issue: Int64, lead: int, horizon: int) -> Float64:
        """[S] -log P(no target in the window), for issue minutes with one lead and horizon in minutes."""
        targets, precursors = self.excited_by_targets, self.excited_by_precursors
        law = silence(targets, precursors, lead, horizon)
        past_targets = excitation(as_minutes(self, "target", self.target_s), issue, targets.keep)
        past_precursors = excitation(as_minutes(self, "precursor", self.precursor_s), issue, precursors.keep)
        some_child = -np.expm1(-precursors.branching * law.reach)  # 1 - M
        return (
            targets.branching * law.from_targets * past_targets
            + precursors.branching * law.from_triggers * past_precursors
            + expected(self.base_per_h, law.some_target, issue)
            + expected(self.precursor_per_h, some_child, issue)
        )


def save_truth(truth: Truth | AreaTruth, path: Path) -> None:
    """Write a truth as one .npz file; the same truth gives the same bytes."""
    if isinstance(truth, AreaTruth):
        with path.open("wb") as file:
            np.savez_compressed(file, **areal_file.arrays_of(truth))
        return
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


def load_truth(path: Path) -> Truth | AreaTruth:
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
    if int(found.get("format", -1)) == areal_file.FORMAT and found.keys() >= areal_file.KEYS:
        return areal_file.truth_of(found)
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
