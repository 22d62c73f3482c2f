"""What a run's model says at its issue times: the one path by which replay and live warnings forecast.

What is forecast at an issue time follows from the rows known then and from nothing else: not from the other issue times
that are asked about with it. So a replay in chunks of any length, and a live forecast, are the same to the bit, where a
forecaster is not a network; networks round differently in other company (by less than 1e-6 of a probability).

Shapes: S issue times, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Task, Windows
from hews_gpu.forecasters.base import Forecaster, predictions
from hews_gpu.forecasters.catalog import Catalog

__all__ = ["Said", "forecast", "forecast_in_chunks", "issue_times", "were", "windows_at"]

VALUES_AT_ONCE = 1 << 21
"""Probabilities by neighborhood made at once: 16 MB, and some ten times that on the way."""
MOST_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model said at some issue times, in order."""

    windows: Windows  # [S]
    p: Float64  # [S] of a target anywhere in the city
    areas: Float64 | None
    """[S, N] of a target in each neighborhood; None of a model that does not say where."""

    def __len__(self) -> int:
        return len(self.windows)


def issue_times(begin_s: int, end_s: int, stride_s: int, zone: ZoneInfo) -> Int64:
    """Return the issue times [S] in [begin, end): the multiples of the stride, from midnight, that clocks showed."""
    every = np.arange(-(-begin_s // stride_s) * stride_s, end_s, stride_s, dtype=np.int64)
    return every[were(every, zone)]


def were(time_s: Int64, zone: ZoneInfo) -> Bool:
    """Return whether [S] a zone's clocks ever showed each local time: one hour of a spring night they leave out."""
    import pandas as pd

    local = pd.DatetimeIndex(time_s.astype("datetime64[s]"))
    there = local.tz_localize(zone, nonexistent="NaT", ambiguous=np.zeros(len(local), dtype=bool)).notna()
    return np.asarray(there, dtype=bool)


def windows_at(issue_s: Int64, task: Task) -> Windows:
    """Return the windows [S] that are forecast at some issue times."""
    begin_s = issue_s + task.lead_s
    return Windows(issue_s=issue_s, begin_s=begin_s, end_s=begin_s + task.horizon_s)


def forecast(forecaster: Forecaster, seen: Catalog, task: Task, issue_s: Int64) -> Said:
    """Forecast the windows of some issue times, each from the rows known before it.

    Args:
        forecaster: fitted.
        seen: rows, each with the moment from which it was known; later ones do no harm.
        task: as the city file has it; tells lead and horizon.
        issue_s: int64 [S], sorted.
    """
    windows = windows_at(issue_s, task)
    p, areas = predictions(forecaster, seen, windows)
    return Said(windows=windows, p=p, areas=areas)


def forecast_in_chunks(
    forecaster: Forecaster, seen: Catalog, task: Task, issue_s: Int64, at_once: int | None = None
) -> Iterator[Said]:
    """Yield what `forecast` returns, some issue times at a time, in order.

    Args:
        forecaster: as of `forecast`, like the rest.
        seen: likewise.
        task: likewise.
        issue_s: likewise.
        at_once: issue times; as many as fit into some 100 MB unless given.
    """
    at_once = at_once or max(1, min(MOST_AT_ONCE, VALUES_AT_ONCE // seen.areas))
    for first in range(0, len(issue_s), at_once):
        yield forecast(forecaster, seen, task, issue_s[first : first + at_once])
