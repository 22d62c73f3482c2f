"""Time cut into half-open windows, as index ranges into the sorted table; nothing is copied.

A window [t, t + length) is a pair [first, last) of indices: an incident at exactly t belongs to it, one at exactly
t + length to the next. Empty windows are kept: they are the most common outcome of a quiet night and part of the truth.

Shapes: E incidents, W windows, S samples (issue times), T history steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from hews_gpu.arrays import Int64
from hews_gpu.config import CityConfig
from hews_gpu.data.events import Events, Prepared
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S

__all__ = ["Samples", "Windows", "make_samples", "make_split", "make_windows", "targets_within"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """W windows of one length, in order of time."""

    start_s: Int64  # [W]
    length_s: int
    first: Int64  # [W] index of the first incident at or after the start
    last: Int64  # [W] index of the first incident at or after the end
    exposure_s: (
        Int64  # [W] real seconds: an hour more where the clock is set back, an hour less where it is set forward
    )

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def pairs(self) -> Int64:
        """[W, 2] index pairs [first, last)."""
        return np.stack([self.first, self.last], axis=1)


def make_windows(
    time_s: Int64,
    *,
    begin_s: int,
    end_s: int,
    length_s: int,
    stride_s: int,
    anchor_s: int = 0,
    timezone: str = "UTC",
) -> Windows:
    """All windows on the grid ``anchor + k * stride`` that lie within [begin, end).

    Args:
        time_s: [E] sorted local wall-clock seconds.
        begin_s: no window starts before it.
        end_s: no window ends after it.
        length_s: of each window.
        stride_s: from one start to the next; may be shorter or longer than the window.
        anchor_s: a time at which some window starts.
        timezone: IANA zone, for the exposure of windows in which the clock changes.
    """
    start_s = _grid(begin_s, end_s - length_s, stride_s, anchor_s)
    return Windows(
        start_s=start_s,
        length_s=length_s,
        first=np.searchsorted(time_s, start_s, side="left"),
        last=np.searchsorted(time_s, start_s + length_s, side="left"),
        exposure_s=_exposure_s(start_s, length_s, timezone),
    )


def _grid(begin_s: int, last_s: int, stride_s: int, anchor_s: int) -> Int64:
    """The times ``anchor + k * stride`` in [begin, last], both ends included."""
    first = anchor_s + -((anchor_s - begin_s) // stride_s) * stride_s
    return np.arange(first, last_s + 1, stride_s, dtype=np.int64)


def _exposure_s(start_s: Int64, length_s: int, timezone: str) -> Int64:
    """Real seconds that pass in each wall-clock window: a repeated hour counts twice, a skipped one not at all."""
    exposure = np.full(len(start_s), length_s, dtype=np.int64)
    if len(start_s) == 0:
        return exposure
    for low_s, high_s, sign in _clock_changes(int(start_s[0]), int(start_s[-1]) + length_s, ZoneInfo(timezone)):
        overlap = np.minimum(start_s + length_s, high_s) - np.maximum(start_s, low_s)
        exposure += sign * np.maximum(overlap, 0)
    return exposure


def _clock_changes(begin_s: int, end_s: int, zone: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """Stretches of local time [low, high) that happened twice (+1) or never (-1), between two local times."""
    begin_s, end_s = begin_s - 2 * DAY_S, end_s + 2 * DAY_S  # no zone is further than a day from UTC
    for utc_s in range(begin_s, end_s, DAY_S):
        before, after = _offset_s(utc_s, zone), _offset_s(utc_s + DAY_S, zone)
        if before == after:
            continue
        low, high = utc_s, utc_s + DAY_S  # the change is in (low, high]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset_s(middle, zone) == before else (low, middle)
        yield (high + min(before, after), high + max(before, after), 1 if after < before else -1)


def _offset_s(utc_s: int, zone: ZoneInfo) -> int:
    """The zone's offset at a moment given as seconds of UTC."""
    offset = (EPOCH + timedelta(seconds=utc_s)).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def targets_within(events: Events, begin_s: Int64, end_s: Int64) -> Int64:
    """Number of target incidents in each stretch [begin, end).

    Args:
        events: the table.
        begin_s: [S] begin of each stretch.
        end_s: [S] its end, not included.
    """
    times = events.time_s[events.is_target]
    return np.searchsorted(times, end_s, side="left") - np.searchsorted(times, begin_s, side="left")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """S issue times with what is known at each and what came after it."""

    issue_s: Int64  # [S] when the forecast is made; it sees only incidents before this
    history: Int64  # [S, T, 2] index pairs [first, last) of the steps before the issue time, oldest first
    target_begin_s: Int64  # [S]
    target_end_s: Int64  # [S]
    y: npt.NDArray[np.bool_]  # [S] whether a target incident falls in [target_begin, target_end)

    def __len__(self) -> int:
        return len(self.issue_s)

    def select(self, which: npt.NDArray[np.bool_] | Int64) -> Samples:
        """The samples at the given positions or where the mask is true."""
        return Samples(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def make_samples(events: Events, city: CityConfig, begin_s: int, end_s: int) -> Samples:
    """All issue times whose history and target window both lie within [begin, end).

    Two stretches of time without overlap therefore share no incident: the gap of history + lead + horizon between
    their issue times is the purge gap.

    Args:
        events: the table.
        city: windows and task.
        begin_s: no history reaches before it.
        end_s: no target window reaches past it.
    """
    windows, task = city.windows, city.task
    ahead_s = task.lead_s + task.horizon_s
    issue_s = _grid(begin_s + task.history_s, end_s - ahead_s, windows.stride_s, windows.anchor_s)
    edges_s = issue_s[:, None] + np.arange(-city.steps, 1, dtype=np.int64) * windows.length_s  # [S, T + 1]
    edges = np.searchsorted(events.time_s, edges_s, side="left")
    target_begin_s = issue_s + task.lead_s
    target_end_s = target_begin_s + task.horizon_s
    return Samples(
        issue_s=issue_s,
        history=np.stack([edges[:, :-1], edges[:, 1:]], axis=2),
        target_begin_s=target_begin_s,
        target_end_s=target_end_s,
        y=targets_within(events, target_begin_s, target_end_s) > 0,
    )


def make_split(prepared: Prepared, name: str) -> Samples:
    """The samples of one split: ``train``, ``validation`` or ``test``.

    Raises:
        UserError: the split holds no issue time, or reaches beyond the table.
    """
    begin_s, end_s = prepared.city.splits.span_s(name)
    key, span = f"[splits] {name}", getattr(prepared.city.splits, name)
    times = prepared.events.time_s
    if len(times) == 0 or end_s <= times[0] or begin_s > times[-1]:
        covered = "nothing" if len(times) == 0 else f"{_day(times[0])} to {_day(times[-1])}"
        raise UserError(key, span, allowed=f"lies outside the table, which covers {covered}", remedy="Move the split")
    samples = make_samples(prepared.events, prepared.city, begin_s, end_s)
    if len(samples) == 0:
        task = prepared.city.task
        need_s = task.history_s + task.lead_s + task.horizon_s
        allowed = f"is too short: history, lead and horizon together take {need_s} seconds"
        raise UserError(key, span, allowed=allowed, remedy="Lengthen the split")
    return samples


def _day(time_s: int) -> str:
    return (EPOCH + timedelta(seconds=int(time_s))).strftime("%Y-%m-%d")
