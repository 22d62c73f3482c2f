"""What came of each warning, as a table: hit, false alarm or open, how early, who was near; and what was missed.

A hit is a warning with a target event of its place in its window, from the minimum lead after its issue on. A miss is
an event that a warning could have covered and none of its kind of place did: one row for the city, one for its
neighborhood. What was withheld covers nothing.

Shapes: K warnings, M events missed, E events, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hews_gpu.alerts.decide import CITY
from hews_gpu.alerts.judged import Judged, Timeline
from hews_gpu.arrays import Bool, Float64
from hews_gpu.forecasters.city import City

__all__ = ["warning_table"]

TOUCHING_M = 10.0
"""Neighborhoods that are no further apart are adjacent: the borders of one file do not always meet."""
TIME = pa.timestamp("ms")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("place", pa.string()),
        ("tier", pa.string()),
        ("issue_time", TIME),
        ("window_start", TIME),
        ("window_end", TIME),
        ("probability", pa.float64()),
        ("threshold", pa.float64()),
        ("replaces", pa.string()),
        ("withheld", pa.bool_()),
        ("outcome", pa.string()),
        ("event_time", TIME),
        ("lead_s", pa.int64()),
        ("events", pa.int64()),
        ("near_events", pa.int64()),
        ("nearest_m", pa.float64()),
    ]
)


def warning_table(
    timeline: Timeline, judged: Mapping[str, Judged], city: City, names: Sequence[str], event_xy_m: Float64
) -> pa.Table:
    """Return a row for each warning and each miss, in order of time.

    Args:
        timeline: what was due, and what happened.
        judged: the warnings, by kind of place.
        city: its polygons.
        names: [N] of the neighborhoods.
        event_xy_m: [E, 2] where the timeline's events happened.
    """
    rows: list[dict[str, Any]] = []
    for kind, one in judged.items():
        near = _near(timeline, one, city, event_xy_m) if kind != "city" else [{}] * len(one.warnings)
        rows += [_row(one, k, names) | near[k] for k in range(len(one.warnings))]
        for event in one.missed.tolist():
            place = None if kind == "city" else names[timeline.event_place[event]]
            rows.append({"place": place, "outcome": "miss", "event_time": _ms(int(timeline.event_s[event]))})
    rows.sort(key=lambda row: (row.get("issue_time", row.get("event_time")), row.get("id") or ""))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(judged: Judged, k: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the row of a warning, without who was near."""
    warning, first_s = judged.warnings[k], int(judged.first_event_s[k])
    return {
        "id": warning.id,
        "place": None if warning.place == CITY else names[warning.place],
        "tier": warning.tier,
        "issue_time": _ms(warning.issue_s),
        "window_start": _ms(warning.begin_s),
        "window_end": _ms(warning.end_s),
        "probability": warning.probability,
        "threshold": warning.threshold,
        "replaces": warning.replaces,
        "withheld": warning.withheld,
        "outcome": str(judged.outcome[k]),
        "event_time": None if first_s < 0 else _ms(first_s),
        "lead_s": None if first_s < 0 else first_s - warning.issue_s,
        "events": int(judged.events[k]),
    }


def _ms(time_s: int) -> int:
    """Return a time as the milliseconds that a time stamp is stored as."""
    return 1000 * time_s


def _near(timeline: Timeline, judged: Judged, city: City, event_xy_m: Float64) -> list[dict[str, Any]]:
    """Return of each warning of a neighborhood the events next to it, and how far away the nearest one was."""
    import shapely

    metric = shapely.transform(np.array(city.polygons), lambda xy: city.meters(xy[:, 0], xy[:, 1]))
    adjacent = _adjacent(metric)
    near = []
    for warning in judged.warnings:
        from_s = max(warning.begin_s, warning.issue_s + timeline.minimum_lead_s)
        inside = slice(*np.searchsorted(timeline.event_s, [from_s, max(from_s, warning.end_s)]).tolist())
        apart_m = shapely.distance(metric[warning.place], shapely.points(event_xy_m[inside]))
        beside = adjacent[warning.place][timeline.event_place[inside]] & (timeline.event_place[inside] >= 0)
        near.append({"near_events": int(beside.sum()), "nearest_m": float(apart_m.min()) if len(apart_m) else None})
    return near


def _adjacent(metric: Any) -> Bool:
    """Return which neighborhoods [N, N] lie next to each other; none next to itself."""
    import shapely

    one, other = shapely.STRtree(metric).query(metric, predicate="dwithin", distance=TOUCHING_M)
    adjacent = np.zeros((len(metric), len(metric)), dtype=bool)
    adjacent[one, other] = one != other
    return adjacent
