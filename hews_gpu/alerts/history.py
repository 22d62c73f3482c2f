"""What a record says, as arrays: every issue time that was due, and every warning.

One outcome counts per issue time, the first; one that came late stands for nothing that was said in time. What comes
after the label is as good as none, be it an outcome, a delivery or a cancellation: it would change what was scored.

Shapes: S issue times that were due, N neighborhoods, E events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hews_gpu.alerts.decide import Warning
from hews_gpu.alerts.judged import KINDS, MODEL, TIERS, Timeline
from hews_gpu.alerts.references import NAMES
from hews_gpu.alerts.settle import due, seconds
from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.errors import UserError
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.own_files import check
from hews_gpu.units import WEEK_S

__all__ = ["Compact", "History", "read_history"]

OUTCOME = {
    **dict.fromkeys(("issue_time", "window_start", "window_end", "outcome"), str),
    **{"reason?": str, "late?": bool, "policy": {"stride_s": int, "minimum_lead_s": int}, "probability?": float},
    **{"baselines?": {"*?": float}, "thresholds?": {"*?": float}, "warnings": [{"id": str}]},
}
"""What the record must hold of an outcome, as `own_files.check` takes it."""
LABEL = {"issue_time": str, "y": bool, "events": [list]}


@dataclass(frozen=True, kw_only=True)
class History:
    """A record, read."""

    timeline: Timeline
    reason: Sequence[str]
    """[S] why nothing was issued; empty where it was."""
    warnings: Sequence[Warning]
    notes: Mapping[str, frozenset[str]]
    """Ids of warnings that were ``undelivered`` and ``cancelled``."""
    policies: Sequence[tuple[int, Mapping[str, Any]]]
    """Each policy, whole, with the index of the issue time from which on it was in force."""


def read_history(entries: Sequence[Mapping[str, Any]], zone: ZoneInfo, shares: Float64 | None) -> History:
    """Read the entries of a record.

    Args:
        entries: of ``read_record``.
        zone: of the city, which tells which local times there never were.
        shares: [N] of the events in the long run; None of a model that does not say where.

    Raises:
        UserError: it holds no outcome, or one that lacks what it must hold.
    """
    outcomes, labels, notes = _sorted_out(entries)
    if not outcomes:
        raise UserError("record", allowed="holds no outcome", remedy="'hews warn RUN' writes one")
    issue_s = due(list(outcomes.values()), zone)
    told = [outcomes.get(t, {}) for t in issue_s.tolist()]
    last = outcomes[int(issue_s[-1])]
    begin_s = issue_s + seconds(last["window_start"]) - int(issue_s[-1])
    events = {(seconds(time), -1 if at is None else int(at)) for one in labels.values() for time, at in one["events"]}
    event_s, event_place = np.array(sorted(events), dtype=np.int64).reshape(-1, 2).T
    policies = [(k, one["policy"]) for k, one in enumerate(told) if one]
    timeline = Timeline(
        windows=Windows(
            issue_s=issue_s,
            begin_s=begin_s,
            end_s=begin_s + seconds(last["window_end"]) - seconds(last["window_start"]),
        ),
        stride_s=last["policy"]["stride_s"],
        minimum_lead_s=last["policy"]["minimum_lead_s"],
        outcome=np.array(["missing" if not one else "late" if one.get("late") else one["outcome"] for one in told]),
        y=np.array([labels[t]["y"] if t in labels else -1 for t in issue_s.tolist()], dtype=np.int8),
        p=_probabilities(issue_s, told),
        areas=_areas(told),
        shares=shares,
        thresholds=_thresholds(told),
        event_s=event_s,
        event_place=event_place,
        minimum_leads_s=_minimum_leads(told),
    )
    return History(
        timeline=timeline,
        reason=[one.get("reason") or "" for one in told],
        warnings=[
            Warning(**{f.name: w[f.name] for f in fields(Warning)}) for one in told if one for w in one["warnings"]
        ],
        notes=notes,
        policies=[new for old, new in pairwise([(-1, None), *policies]) if new[1] is not old[1] and new[1] != old[1]],
    )


Entry = Mapping[str, Any]


class Compact:
    """Holds entries of a long record in an eighth of the memory: numbers as arrays, equal policies as one."""

    def __init__(self) -> None:
        self._policy: Any = None

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the entry, compact.

        Raises:
            UserError: probabilities by neighborhood are no numbers.
        """
        if entry.get("neighborhoods"):
            try:
                entry["neighborhoods"] = np.array(entry["neighborhoods"], dtype=np.float32)
            except (TypeError, ValueError):
                name = f"record, entry {entry['n']}: neighborhoods"
                raise UserError(name, allowed="must be a list of numbers") from None
        if "policy" in entry:
            self._policy = entry["policy"] = self._policy if entry["policy"] == self._policy else entry["policy"]
        return entry


def _sorted_out(entries: Sequence[Entry]) -> tuple[dict[int, Entry], dict[int, Entry], dict[str, frozenset[str]]]:
    """Return outcomes and labels by issue time, and the ids of warnings with something to note."""
    outcomes: dict[int, Entry] = {}
    labels: dict[int, Entry] = {}
    ids: dict[str, set[str]] = {kind: set() for kind in ("sending", "sent", "failed", "cancel")}
    issued: dict[str, int] = {}  # by id of the warning
    for entry in entries:
        kind, name = entry["kind"], f"record, entry {entry['n']}"
        if kind == "outcome":
            check(entry, OUTCOME, name)
            moment = seconds(entry["issue_time"])
            if moment not in outcomes and moment not in labels:
                outcomes[moment] = entry
                issued |= {one["id"]: moment for one in entry["warnings"]}
        elif kind == "label":
            check(entry, LABEL, name)
            labels.setdefault(seconds(entry["issue_time"]), entry)
        elif kind in ids:
            check(entry, {"warning": str, "act?": str}, name)
            if issued.get(entry["warning"]) not in labels and entry.get("act", "warning") == "warning":
                ids[kind].add(entry["warning"])
    undelivered = (ids["sending"] | ids["failed"]) - ids["sent"]
    return outcomes, labels, {"undelivered": frozenset(undelivered), "cancelled": frozenset(ids["cancel"])}


def _minimum_leads(told: Sequence[Entry]) -> Int64:
    """Return the minimum lead [S] of each issue time's policy, or of the one before."""
    leads_s = [one["policy"]["minimum_lead_s"] if one else None for one in told]
    at = np.maximum.accumulate([k if lead_s is not None else 0 for k, lead_s in enumerate(leads_s)])
    return np.array([leads_s[k] for k in at.tolist()], dtype=np.int64)


def _probabilities(issue_s: Int64, told: Sequence[Entry]) -> dict[str, Float64]:
    """Return the probabilities [S] of each forecast; the calendar's everywhere, nan where there was no other."""
    p = {MODEL: _numbers([one.get("probability") for one in told])}
    for name in NAMES:
        p[name] = _numbers([(one.get("baselines") or {}).get(name) for one in told])
    p[CLIMATOLOGY] = _filled(issue_s, p[CLIMATOLOGY])
    return {name: values for name, values in p.items() if name in (MODEL, CLIMATOLOGY) or np.isfinite(values).any()}


def _numbers(values: Sequence[float | None]) -> Float64:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _filled(issue_s: Int64, p: Float64) -> Float64:
    """Return a calendar's probabilities with those that were not recorded: of the same hour of an earlier week.

    Where there is none, the one before; where the record begins without one, the first. None but the last knows what
    was recorded later.
    """
    hour_s = issue_s % WEEK_S
    for group, order in ((hour_s, np.lexsort((issue_s, hour_s))), (np.zeros_like(hour_s), np.arange(len(p)))):
        ordered = p[order]
        at = np.maximum.accumulate(np.where(np.isfinite(ordered), np.arange(len(p)), -1))
        same = (at >= 0) & (group[order][at] == group[order])
        p = p.copy()
        p[order] = np.where(same, ordered[at], ordered)
    known = np.flatnonzero(np.isfinite(p))
    return np.where(np.isfinite(p), p, p[known[0]]) if len(known) else p


def _areas(told: Sequence[Entry]) -> Float32 | None:
    """Return the probabilities [S, N] by neighborhood; rows of nan where there are none."""
    known = {k: one["neighborhoods"] for k, one in enumerate(told) if one.get("neighborhoods") is not None}
    if not known:
        return None
    areas = np.full((len(told), len(next(iter(known.values())))), np.nan, dtype=np.float32)
    for k, row in known.items():
        areas[k] = row
    return areas


def _thresholds(told: Sequence[Entry]) -> dict[str, Float64]:
    """Return the thresholds [S, 2] by kind of place; those before where there are none."""
    rows: list[list[float]] = []
    names = [f"{kind}_{tier}" for kind in KINDS for tier in TIERS]
    for one in told:
        known = one.get("thresholds")
        held = rows[-1] if rows else [np.inf] * 4
        rows.append(held if not known else [np.inf if known.get(name) is None else known[name] for name in names])
    table = np.array(rows, dtype=np.float64)
    return {kind: table[:, 2 * k : 2 * k + 2] for k, kind in enumerate(KINDS)}
