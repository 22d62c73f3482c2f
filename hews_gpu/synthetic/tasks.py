"""Forecast times as the truth knows them: whole minutes, sorted by lead and horizon.

Shapes: S forecasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hews_gpu.errors import UserError
from hews_gpu.synthetic.process import MINUTE_S, Int64

__all__ = ["Simulated", "Task", "as_minutes", "tasks_of"]


class Simulated(Protocol):
    """A stretch of simulated time."""

    @property
    def begin_s(self) -> int:
        """Begin."""

    @property
    def end_s(self) -> int:
        """End."""


class Task(NamedTuple):
    """Forecasts of one lead and horizon; all in minutes."""

    which: Int64  # [S] their positions in the call
    issue: Int64  # [S] since the begin of the simulation: all that happened before is known
    lead: int
    horizon: int

    @property
    def length(self) -> int:
        """From the issue to the end of the target window."""
        return self.lead + self.horizon


def tasks_of(
    truth: Simulated, issue_s: npt.ArrayLike, begin_s: npt.ArrayLike, end_s: npt.ArrayLike, delay_s: int = 0
) -> Iterator[Task]:
    """Forecasts by lead and horizon. What is known late is a longer lead: the issue moves back by the delay.

    Args:
        truth: whose times are meant.
        issue_s: [S] or scalar issue times.
        begin_s: [S] or scalar begins of the target windows.
        end_s: [S] or scalar ends of the target windows, not included.
        delay_s: how long after it happened anything is known.

    Raises:
        UserError: a time is not a whole minute, or out of order, or outside the simulation.
    """
    if delay_s < 0 or delay_s % MINUTE_S:
        raise UserError("reporting delay", delay_s, allowed="must be 0 or more seconds, a whole number of minutes")
    times = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (issue_s, begin_s, end_s)))
    issue, begin, end = (as_minutes(truth, name, x) for name, x in zip(("issue", "begin", "end"), times, strict=True))
    if np.any((begin < issue) | (end <= begin)):
        raise UserError("target window", allowed="must begin at or after the issue time and end after it begins")
    known = np.maximum(issue - delay_s // MINUTE_S, 0)
    tasks, which = np.unique(np.stack([begin - known, end - begin], axis=1), axis=0, return_inverse=True)
    for number, (lead, horizon) in enumerate(tasks):
        mine = np.flatnonzero(which.reshape(-1) == number)
        yield Task(mine, known[mine], int(lead), int(horizon))


def as_minutes(truth: Simulated, name: str, time_s: Int64) -> Int64:
    """Seconds as minutes since the begin of the simulation.

    Raises:
        UserError: not a whole minute, or outside.
    """
    if np.any(time_s % MINUTE_S != truth.begin_s % MINUTE_S):
        raise UserError(f"{name} time", allowed="must be a whole minute", remedy="The truth knows time by the minute")
    outside = time_s[(time_s < truth.begin_s) | (time_s > truth.end_s)]
    if len(outside):
        allowed = f"must be {truth.begin_s}..{truth.end_s}, as simulated"
        raise UserError(f"{name} time", int(outside[0]), allowed=allowed)
    return np.asarray((time_s - truth.begin_s) // MINUTE_S, dtype=np.int64)
