"""What happened, written into the record once it is known: one label for each issue time that was due.

A window is settled when the last delivery came so long after its end that it holds nearly all rows of it, as the delay
curve of the vintage store says, and when a delivery reaches beyond it: while none comes, nothing more is settled. Its
label is never written again: later rows change nothing that was scored. Times at which nothing was issued have labels,
too: what came then was missed.

Shapes: E target events, D issue times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu.alerts.forecasts import were
from hews_gpu.alerts.record import Record
from hews_gpu.alerts.vintages.delays import delays
from hews_gpu.alerts.vintages.store import Store
from hews_gpu.arrays import Int64
from hews_gpu.data.events import Events
from hews_gpu.forecasters.catalog import SETTLED
from hews_gpu.units import MINUTE_S

__all__ = ["due", "seconds", "settle", "target_events", "text"]

AT_ONCE = 1024  # outcomes read at first: a week at ten minutes


def settle(record: Record, store: Store, now_s: int, zone: ZoneInfo) -> int:
    """Append the labels of all windows that are settled and have none; return how many.

    Args:
        record: open, as of ``open_record``.
        store: the deliveries.
        now_s: local time: what became known later is not looked at.
        zone: of the city, which tells which local times there never were.
    """
    deliveries = [one for one in store.deliveries if one.known_s < now_s]
    if not deliveries:
        return 0
    known_s, reached_s = deliveries[-1].known_s, max(one.newest_s for one in deliveries)
    delay_s = delays(store, now_s, targets=True).settled_s(SETTLED)
    labels = record.entries("label", last=1)
    after_s = seconds(labels[0]["issue_time"]) if labels else None
    outcomes = _outcomes_since(record, after_s)
    if not outcomes:
        return 0
    lead_s, length_s = (
        seconds(outcomes[-1][edge]) - seconds(outcomes[-1][before])
        for edge, before in (("window_start", "issue_time"), ("window_end", "window_start"))
    )
    issue_s = due(outcomes, zone)
    issue_s = issue_s[issue_s + lead_s + length_s <= min(known_s - delay_s, reached_s)]
    issue_s = issue_s if after_s is None else issue_s[issue_s > after_s]
    if not len(issue_s):
        return 0
    time_s, place = target_events(store.events(now_s)[0])
    for moment in issue_s.tolist():
        begin_s = moment + lead_s
        first, last = np.searchsorted(time_s, [begin_s, begin_s + length_s])
        inside = zip(time_s[first:last].tolist(), place[first:last].tolist(), strict=True)
        body = {"events": [[text(at), where] for at, where in inside], "y": bool(last > first)}
        record.append("label", {"issue_time": text(moment), **body, "known_until": text(now_s)})
    return len(issue_s)


def _outcomes_since(record: Record, after_s: int | None) -> list[dict[str, Any]]:
    """Return the outcomes from an issue time on, and some before; of a long record only its end is read."""
    last = AT_ONCE
    while True:
        outcomes = record.entries("outcome", last=None if after_s is None else last)
        if after_s is None or len(outcomes) < last or seconds(outcomes[0]["issue_time"]) <= after_s:
            return outcomes
        last *= 4


def due(outcomes: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Int64:
    """Return the issue times that were due [D]: from each outcome to the next at the stride of its policy.

    Of times that the clocks of `zone` never showed only those that have an outcome all the same.
    """
    stride_s = {seconds(one["issue_time"]): int(one["policy"]["stride_s"]) for one in outcomes}
    issue_s = sorted(stride_s)
    between = [np.arange(a, b, stride_s[a]) for a, b in zip(issue_s, [*issue_s[1:], issue_s[-1] + 1], strict=True)]
    every = np.concatenate(between).astype(np.int64)
    return every[np.isin(every, issue_s) | were(every, zone)]


def target_events(events: Events) -> tuple[Int64, Int64]:
    """Return times and neighborhoods of the target events [E], in order of time.

    The victims of one minute and neighborhood are one event, as for the forecasters.
    """
    is_event = events.is_target & ~events.is_duplicate
    time_s, place = events.time_s[is_event], events.neighborhood[is_event].astype(np.int64)
    minute_and_place = np.stack([time_s // MINUTE_S, place], axis=1)
    first = np.sort(np.unique(minute_and_place, axis=0, return_index=True)[1])
    return time_s[first], place[first]


def text(time_s: int) -> str:
    """Return a local time as the record holds it."""
    return str(np.datetime64(int(time_s), "s"))


def seconds(time: str) -> int:
    """Return a local time of the record in seconds."""
    return int(np.datetime64(time, "s").astype(np.int64))
