"""Time cut into half-open windows: what is forecast, from which history, and which rows lie in each.

A window [t, t + length) holds an incident at exactly t; one at exactly t + length belongs to the next. Windows that are
forecast lie on the grid ``anchor + k * stride`` whatever the lead, so that forecasts of different leads are compared on
the same windows; a forecast is issued `lead` before its window. Rows are ranges [first, last) of indices into the table
sorted by time; nothing is copied. Empty windows are kept: they are the most common outcome and part of the truth.

Shapes: E incidents, W map windows, S forecast windows, T history steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import CityConfig
from hews_gpu.data.events import Events
from hews_gpu.errors import UserError

__all__ = [
    "MapWindows",
    "Samples",
    "Task",
    "Windows",
    "issue_windows",
    "make_samples",
    "make_windows",
    "split_windows",
    "targets_within",
]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is forecast: issued at t, from what became known in time, for [t + lead, t + lead + horizon)."""

    history_s: int = 86_400
    """How far back a model's input may reach; baselines may keep counts for longer."""
    lead_s: int = 0
    horizon_s: int = 7200
    stride_s: int = 7200
    """From one target window to the next."""
    anchor_s: int = 0
    """A time at which some target window begins."""
    delay_s: int = 0
    """A row is known so long after it happened."""

    def __post_init__(self) -> None:
        sizes = (self.history_s, self.horizon_s, self.stride_s)
        if min(sizes) <= 0 or min(self.lead_s, self.delay_s) < 0:
            raise ValueError(f"history, horizon and stride must be positive, lead and delay not negative: {self}")

    @classmethod
    def of_city(cls, city: CityConfig) -> Task:
        """Return the task that a city file's `[task]` and `[windows]` sections describe."""
        return cls(
            history_s=city.task.history_s,
            lead_s=city.task.lead_s,
            horizon_s=city.task.horizon_s,
            stride_s=city.windows.stride_s,
            anchor_s=city.windows.anchor_s,
        )

    def apart(self, embargo_s: int) -> Task:
        """Return the task with at least so much time between the last row that is looked at and the window.

        The rows of one event do not agree on when it happened: the assault by which a shooting is reported a second
        time may be dated half an hour before it. A forecast that sees the one is not made before the other, and nobody
        can tell in time which assaults these are: so all rows of the last half hour are left alone, whatever they are.
        A lead or a delay that is long enough does that by itself; what is missing is added to the delay.
        """
        return replace(self, delay_s=max(self.delay_s, embargo_s - self.lead_s))

    @property
    def reach_s(self) -> int:
        """From the oldest row that a model's input may hold to the begin of the target window."""
        return self.history_s + self.delay_s + self.lead_s

    @property
    def gap_s(self) -> int:
        """From the last issue time of one part to the first of the next, at least."""
        return self.reach_s + self.horizon_s


@dataclass(frozen=True, kw_only=True)
class Windows:
    """S target windows [begin, end), each with the time at which its forecast is issued; in order of time."""

    issue_s: Int64  # [S]
    begin_s: Int64  # [S]
    end_s: Int64  # [S]

    def __len__(self) -> int:
        return len(self.issue_s)

    def select(self, which: Bool | Int64) -> Windows:
        """Return the windows at the given positions or where the mask is true."""
        return Windows(issue_s=self.issue_s[which], begin_s=self.begin_s[which], end_s=self.end_s[which])

    def followed_by(self, later: Windows) -> Windows:
        """Return these windows and later ones."""
        return Windows(
            **{f.name: np.concatenate([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)}
        )

    @property
    def lead_s(self) -> int:
        """From issue to window; the same for all."""
        return int(self.begin_s[0] - self.issue_s[0])

    @property
    def horizon_s(self) -> int:
        """Length of the windows; the same for all."""
        return int(self.end_s[0] - self.begin_s[0])


def issue_windows(begin_s: int, end_s: int, task: Task) -> Windows:
    """Return all target windows on the task's grid whose history (as known at issue) and target lie in [begin, end)."""
    target_s = _grid(begin_s + task.reach_s, end_s - task.horizon_s, task.stride_s, task.anchor_s)
    return Windows(issue_s=target_s - task.lead_s, begin_s=target_s, end_s=target_s + task.horizon_s)


def split_windows(city: CityConfig, name: str, embargo_s: int) -> Windows:
    """Return the target windows of a city file's split.

    Raises:
        UserError: it is too short for one.
    """
    task = Task.of_city(city).apart(embargo_s)
    windows = issue_windows(*city.splits.span_s(name), task)
    if len(windows) == 0:
        span = list(getattr(city.splits, name))
        allowed = f"is too short: history, lead and horizon together take {task.gap_s} seconds"
        raise UserError(f"[splits] {name}", span, allowed=allowed, remedy="Lengthen the split")
    return windows


def _grid(begin_s: int, last_s: int, stride_s: int, anchor_s: int) -> Int64:
    """Return the times ``anchor + k * stride`` in [begin, last], both ends included."""
    first = anchor_s + -((anchor_s - begin_s) // stride_s) * stride_s
    return np.arange(first, last_s + 1, stride_s, dtype=np.int64)


def targets_within(events: Events, begin_s: Int64, end_s: Int64) -> Int64:
    """Count the target incidents in each stretch [begin, end); int64 [S] each."""
    times = events.time_s[events.is_target]
    return np.searchsorted(times, end_s, side="left") - np.searchsorted(times, begin_s, side="left")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """S forecast windows with the rows of their history and what came after."""

    issue_s: Int64  # [S] when the forecast is made
    history: Int64  # [S, T, 2] index pairs [first, last) of the steps of history, oldest first
    target_begin_s: Int64  # [S]
    target_end_s: Int64  # [S]
    y: Bool  # [S] whether a target incident falls in [target_begin, target_end)

    def __len__(self) -> int:
        return len(self.issue_s)

    def select(self, which: Bool | Int64) -> Samples:
        """Return the samples at the given positions or where the mask is true."""
        return Samples(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def make_samples(
    events: Events,
    windows: Windows,
    city: CityConfig,
    delay_s: int = 0,
    y: Bool | None = None,
    shown_s: Int64 | None = None,
) -> Samples:
    """Return the windows as samples of a network: the history ends where knowledge does, `delay_s` before issue.

    `y` has the labels [S] as they were known, what the table says unless given; `shown_s` the times of the rows that
    the history is of, the incidents unless given.
    """
    known_s = windows.issue_s - delay_s
    edges_s = known_s[:, None] + np.arange(-city.steps, 1, dtype=np.int64) * city.windows.length_s  # [S, T + 1]
    edges = np.searchsorted(events.time_s if shown_s is None else shown_s, edges_s, side="left")
    return Samples(
        issue_s=windows.issue_s,
        history=np.stack([edges[:, :-1], edges[:, 1:]], axis=2),
        target_begin_s=windows.begin_s,
        target_end_s=windows.end_s,
        y=targets_within(events, windows.begin_s, windows.end_s) > 0 if y is None else y,
    )


@dataclass(frozen=True, kw_only=True)
class MapWindows:
    """W windows of one length with the rows that a map of each shows, in order of time."""

    start_s: Int64  # [W]
    length_s: int
    first: Int64  # [W] index of the first incident at or after the start
    last: Int64  # [W] index of the first incident at or after the end

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def pairs(self) -> Int64:
        """[W, 2] index pairs [first, last)."""
        return np.stack([self.first, self.last], axis=1)


def make_windows(
    time_s: Int64, *, begin_s: int, end_s: int, length_s: int, stride_s: int, anchor_s: int = 0
) -> MapWindows:
    """Return all windows on the grid ``anchor + k * stride`` that lie within [begin, end), given sorted times [E].

    The stride, from one start to the next, may be shorter or longer than a window.
    """
    start_s = _grid(begin_s, end_s - length_s, stride_s, anchor_s)
    return MapWindows(
        start_s=start_s,
        length_s=length_s,
        first=np.searchsorted(time_s, start_s, side="left"),
        last=np.searchsorted(time_s, start_s + length_s, side="left"),
    )
