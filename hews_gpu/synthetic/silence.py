"""What the closed forms of the truth share: how likely an event leaves a window without descendants, minute by minute.

The derivation is in `truth`. Shapes: S forecasts, H hours, E events, L minutes from issue to the window's end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hews_gpu.synthetic.process import MINUTES_PER_HOUR, Float64, Int64, Kernel

__all__ = ["Silence", "excitation", "expected", "silence"]


class Silence(NamedTuple):
    """By minute after the issue time; ``A`` and ``N`` as in `truth`."""

    some_target: Float64  # [L] 1 - N(m): a target event of minute m, or a descendant of it, is in the window
    reach: Float64  # [L] A_p(m): of a trigger in minute m, per child: the chance that it puts something there
    from_targets: float  # A_s(t - 1)
    from_triggers: float  # A_p(t - 1)


def silence(targets: Kernel, triggers: Kernel, lead: int, horizon: int) -> Silence:
    """One pass backwards over the minutes from the window's end to the issue time."""
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
    """[S] sum over the L minutes after each issue minute of a rate, constant in each hour, times a weight.

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
    """[S] sum of ``keep^(issue - 1 - minute)`` over the events before each issue minute.

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
