"""How fine the times of a table are: windows below that would hold an artifact of how the times are written.

Many tables know only the day, or the hour, of most of their rows. Cut into windows of two hours, all of a day then lies
in the one window that holds midnight: any model foresees that, and none foresees a crime. A step of time is the table's
resolution if MOST of the rows of a day, or NEARLY_ALL within shorter steps, differ by whole steps.

Shapes: 2 labels (others, targets), 1440 minutes of the day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import CityConfig
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = ["DAILY", "MINUTES", "Resolution", "count_minutes", "require_windows", "resolution_of", "share_at_one_time"]

MINUTES = DAY_S // MINUTE_S
STEPS = (MINUTES, 720, 480, 360, 240, 180, 120, 60, 30, 20, 15, 10, 5)
"""In minutes, each a part of the day."""
MOST, NEARLY_ALL = 0.5, 0.9
LEAST_ROWS = 150  # fewer, all or targets, may lie at one clock time by chance, and are too few to learn from
DAILY = {"length_s": DAY_S, "stride_s": DAY_S, "history_s": 7 * DAY_S, "lead_s": DAY_S, "horizon_s": DAY_S}
"""Windows of whole days. A row may have happened at the end of its day: the day before a window is left alone."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The coarsest step of the times of a table, of all rows or of its targets."""

    step_s: int
    phase_s: int
    """Times are whole steps from midnight, and so much."""
    share: float
    rows: int
    of: str
    """What the rows are: rows, or target rows."""

    def __str__(self) -> str:
        """Return it as part of a sentence."""
        if self.step_s == DAY_S:
            return f"{self.share:.0%} of {self.rows:,} {self.of} are at {clock(self.phase_s)}, at no time of the day"
        return f"{self.share:.0%} of {self.rows:,} {self.of} are at multiples of {self.step_s // MINUTE_S} minutes"


def count_minutes(time_s: Int64, is_target: Bool) -> Int64:
    """Return int64[2, 1440] rows by label and minute of the day."""
    minute = time_s % DAY_S // MINUTE_S
    return np.bincount(is_target * MINUTES + minute, minlength=2 * MINUTES).reshape(2, MINUTES)


def resolution_of(counts: Int64) -> Resolution | None:
    """Return the coarsest resolution among that of all rows and that of targets; None if times are minutes."""
    steps = [step for rows, of in _kinds(counts) if (step := _coarsest(rows, of))]
    return max(steps, key=lambda step: step.step_s, default=None)


def _kinds(counts: Int64) -> list[tuple[Int64, str]]:
    return [(counts.sum(axis=0), "rows"), (counts[1], "target rows")]


def _coarsest(rows: Int64, of: str) -> Resolution | None:
    total = int(rows.sum())
    if total < LEAST_ROWS:
        return None
    for step in STEPS:
        phases = rows.reshape(-1, step).sum(axis=0)
        phase = int(phases.argmax())
        share = float(phases[phase] / total)
        if share >= (MOST if step == MINUTES else NEARLY_ALL):
            return Resolution(step_s=step * MINUTE_S, phase_s=phase * MINUTE_S, share=share, rows=total, of=of)
    return None


def share_at_one_time(counts: Int64) -> tuple[float, str, str]:
    """Return the largest share of all rows, or of target rows, at one clock time; that time; and which rows."""
    shares = [
        (float(rows.max() / rows.sum()), clock(int(rows.argmax()) * MINUTE_S), of)
        for rows, of in _kinds(counts)
        if rows.sum() >= LEAST_ROWS
    ]
    return max(shares, default=(0.0, "00:00", "rows"))


def clock(second: int) -> str:
    """Return a second of the day as HH:MM."""
    return f"{second // HOUR_S:02d}:{second % HOUR_S // MINUTE_S:02d}"


def require_windows(city: CityConfig, counts: Int64) -> None:
    """Refuse windows that are not whole steps of the resolution of the times.

    Raises:
        UserError: names the key, the share of rows and what can be forecast instead.
    """
    resolution = resolution_of(counts)
    if resolution is None:
        return
    step = resolution.step_s
    remedy = f"Make it a multiple of {step} seconds"
    if step == DAY_S:
        remedy = (
            "Name a column with the time under [incidents.columns], or forecast whole days: [windows] length_s = "
            f"{DAY_S}, stride_s = {DAY_S}; [task] history_s = {7 * DAY_S}, lead_s = {DAY_S}, horizon_s = {DAY_S}"
        )
    lengths = {
        "[windows] length_s": city.windows.length_s,
        "[windows] stride_s": city.windows.stride_s,
        "[task] horizon_s": city.task.horizon_s,
    }
    for key, length in lengths.items():
        if length % step:
            raise UserError(key, length, allowed=f"is finer than the times: {resolution}", remedy=remedy)
    if city.windows.anchor_s % step and (step == DAY_S or not resolution.phase_s):
        allowed = f"cuts through the times: {resolution}"
        raise UserError("[windows] anchor", city.windows.anchor, allowed=allowed, remedy="Name a midnight")
