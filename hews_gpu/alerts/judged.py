"""Warnings held against what happened, over every issue time that was due: what was not said counts, too.

A warning covers the target events of its place in its window, from the minimum lead after its issue on; one that was
withheld, reached nobody, was cancelled or came late covers none. An event that no warning of its kind of place covers
is a miss, whatever the system was doing then.

Shapes: S issue times that were due, N neighborhoods, E events, K warnings, M events that could have been warned of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.alerts.decide import CITY, Warning
from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.units import WEEK_S

__all__ = ["KINDS", "MODEL", "OUTCOMES", "TIERS", "Judged", "Timeline", "counts", "judge", "judge_all", "tier_cells"]

OUTCOMES = ("issued", "abstained", "refused", "stopped", "late", "missing")
KINDS = ("city", "neighborhoods")
MODEL = "p"
"""What the forecasts of the run's own model are called."""
TIERS = ("watch", "warning")
"""The lower one first: places in tables of tiers."""
TIER_SETS = {"watch": TIERS[:1], "warning": TIERS[1:], "any": TIERS}


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """All issue times that were due, what was forecast at each, and what happened."""

    windows: Windows  # [S]
    stride_s: int
    minimum_lead_s: int
    """An event counts as foreseen only so long after the issue."""
    outcome: NDArray[np.str_]
    """[S], each of `OUTCOMES`."""
    y: NDArray[np.int8]
    """[S] whether a target came; -1 where that is not settled."""
    p: Mapping[str, Float64]
    """[S] by forecast, `MODEL` and the references; nan where there is none."""
    areas: Float32 | Float64 | None
    """[S, N] of the model; rows of nan where there are none."""
    shares: Float64 | None
    """[N] of all events, that fell to each neighborhood in the long run; they spread the climatology."""
    thresholds: Mapping[str, Float64]
    """[S, 2] by kind of place: probabilities from which on watch and warning are given; infinite where never."""
    event_s: Int64
    """[E] times of target events, sorted."""
    event_place: Int64
    """[E] neighborhood of each, -1 outside of all."""
    minimum_leads_s: Int64 | None = None
    """[S] minimum leads, where the policy has changed."""

    @property
    def neighborhoods(self) -> int:
        """N; 0 of a model that does not say where."""
        return 0 if self.shares is None else len(self.shares)

    @cached_property
    def step_s(self) -> Int64:
        """[S] from each issue time to the next."""
        return np.diff(np.append(self.windows.issue_s, self.windows.issue_s[-1] + self.stride_s))

    @cached_property
    def foreseen_s(self) -> Int64:
        """[S] from when on an event counts as foreseen."""
        leads_s = self.minimum_lead_s if self.minimum_leads_s is None else self.minimum_leads_s
        return np.asarray(np.maximum(self.windows.begin_s, self.windows.issue_s + leads_s), dtype=np.int64)

    @cached_property
    def is_open(self) -> Bool:
        """[S] whether it is not yet known what happened."""
        return np.asarray(self.y < 0)

    @cached_property
    def is_made(self) -> Bool:
        """[S] whether a forecast was made in time."""
        return np.isin(self.outcome, ("issued", "abstained")) & np.isfinite(self.p[MODEL])

    @cached_property
    def last_chance(self) -> Int64:
        """[E] the last issue time whose window an event lies in; -1 where none that is settled could have warned."""
        windows = self.windows
        index = np.searchsorted(windows.begin_s, self.event_s, side="right") - 1
        lies_in = (self.event_s >= self.foreseen_s[0]) & (self.event_s < windows.end_s[index]) & ~self.is_open[index]
        return np.where(lies_in, index, -1)

    @cached_property
    def cells(self) -> tuple[Int64, Int64]:
        """Index of window and neighborhood of each cell that an event fell into, each once."""
        first = np.searchsorted(self.windows.end_s, self.event_s, side="right")
        last = np.searchsorted(self.windows.begin_s, self.event_s, side="right")
        inside = (self.event_place >= 0) & (last > first)
        s = _ranges(first[inside], last[inside])
        place = np.repeat(self.event_place[inside], (last - first)[inside])
        cell = np.unique(np.stack([s, place], axis=1), axis=0)
        return cell[:, 0], cell[:, 1]


def _ranges(first: Int64, last: Int64) -> Int64:
    """Return the whole numbers of all ranges [first, last), one range after the other."""
    size = last - first
    begins = np.cumsum(size) - size
    return np.asarray(np.arange(int(size.sum())) + np.repeat(first - begins, size), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Warnings of one kind of place, and the events that they are held against."""

    kind: str
    warnings: Sequence[Warning]  # K
    index: Int64  # [K] of the issue time
    is_given: Bool  # [K] whether anybody could act on it
    notes: Mapping[str, Bool]  # [K] why not, and whether it was cancelled
    outcome: NDArray[np.str_]  # [K] hit, false_alarm or open
    first_event_s: Int64  # [K] of the events in its window, -1 without one
    events: Int64  # [K] in its window
    chance: Int64  # [M] events that could have been warned of, as indices of the timeline's
    caught: Mapping[str, Bool]  # [M] whether a warning of the tier covers it

    @property
    def missed(self) -> Int64:
        """The events that nothing covers, as indices of the timeline's."""
        return self.chance[~(self.caught["watch"] | self.caught["warning"])]


def judge(
    timeline: Timeline,
    warnings: Sequence[Warning],
    kind: str,
    *,
    undelivered: Set[str] = frozenset(),
    cancelled: Set[str] = frozenset(),
) -> Judged:
    """Hold the warnings of one kind of place against the events.

    Args:
        timeline: what was due, and what happened.
        warnings: of any kind, each issued at a time that was due.
        kind: ``city`` or ``neighborhoods``.
        undelivered: ids of warnings that reached nobody.
        cancelled: ids of warnings that were taken back: given they were, but they cover nothing.
    """
    own = [one for one in warnings if (one.place == CITY) == (kind == "city")]
    columns = [[getattr(one, name) for one in own] for name in ("issue_s", "end_s", "place")]
    issue_s, end_s, place = np.array(columns, dtype=np.int64).reshape(3, len(own))
    index = np.searchsorted(timeline.windows.issue_s, issue_s)
    order, first, last = _ranges_of_events(timeline, kind, place, timeline.foreseen_s[index], end_s)
    notes = {
        "withheld": np.array([one.withheld for one in own], dtype=bool),
        "late": timeline.outcome[index] == "late",
        "undelivered": np.array([one.id in undelivered for one in own], dtype=bool),
        "cancelled": np.array([one.id in cancelled for one in own], dtype=bool),
    }
    is_given = ~(notes["withheld"] | notes["late"] | notes["undelivered"])
    is_hit = (last > first) & ~notes["cancelled"]
    could = timeline.last_chance[order] >= 0
    tier = np.array([one.tier for one in own], dtype=np.str_)
    return Judged(
        kind=kind,
        warnings=own,
        index=index,
        is_given=is_given,
        notes=notes,
        outcome=np.where(timeline.is_open[index], "open", np.where(is_hit, "hit", "false_alarm")),
        first_event_s=np.where(last > first, np.append(timeline.event_s[order], -1)[first], -1),
        events=last - first,
        chance=order[could],
        caught={name: _covered(first, last, is_given & is_hit & (tier == name), len(order))[could] for name in TIERS},
    )


def judge_all(timeline: Timeline, given: Mapping[str, Sequence[Warning]], **notes: Set[str]) -> dict[str, Any]:
    """Judge the warnings of each forecast, by its name, for each kind of place: {kind: {name: `Judged`}}.

    Args:
        timeline: what was due.
        given: warnings by forecast.
        notes: as `judge` takes them.
    """
    kinds = KINDS if timeline.areas is not None else KINDS[:1]
    return {kind: {name: judge(timeline, own, kind, **notes) for name, own in given.items()} for kind in kinds}


def _ranges_of_events(
    timeline: Timeline, kind: str, place: Int64, from_s: Int64, until_s: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return the events of a kind in order of place and time, and of each warning the range in it that it is about."""
    event = np.flatnonzero((timeline.event_place >= 0) | (kind == "city"))
    time_s = timeline.event_s[event]
    of = np.full(len(event), CITY) if kind == "city" else timeline.event_place[event]
    ends = np.concatenate([time_s, from_s, until_s, [0]])
    zero_s, span_s = int(ends.min()), int(np.ptp(ends)) + 1
    key = of * span_s + (time_s - zero_s)
    order = np.argsort(key, kind="stable")
    first, last = (np.searchsorted(key[order], place * span_s + (edge - zero_s)) for edge in (from_s, until_s))
    return event[order], first, np.maximum(first, last)


def _covered(first: Int64, last: Int64, which: Bool, length: int) -> Bool:
    """Return which of so many places in a row lie in any of some ranges."""
    edges = np.zeros(length + 1, dtype=np.int64)
    np.add.at(edges, first[which], 1)
    np.add.at(edges, last[which], -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def counts(timeline: Timeline, judged: Judged, which: Bool) -> dict[str, dict[str, Any]]:
    """Return how many warnings were given, how many came true and what they missed, by tier and of both together."""
    weeks = float(timeline.step_s[which & ~timeline.is_open].sum() / WEEK_S)
    own, chance = which[judged.index], which[timeline.last_chance[judged.chance]]
    tier = np.array([one.tier for one in judged.warnings], dtype=np.str_)
    lead_s = judged.first_event_s - timeline.windows.issue_s[judged.index]
    is_open = judged.outcome == "open"
    rows = {}
    for name, tiers in TIER_SETS.items():
        mine = own & np.isin(tier, tiers)
        given = mine & judged.is_given & ~is_open
        hit, false = given & (judged.outcome == "hit"), given & (judged.outcome == "false_alarm")
        caught = int(np.any([judged.caught[one] for one in tiers], axis=0)[chance].sum())
        rows[name] = {
            "given": int(given.sum()),
            "per_week": int(given.sum()) / weeks if weeks else None,
            "hits": int(hit.sum()),
            "false_alarms": int(false.sum()),
            "open": int((mine & judged.is_given & is_open).sum()),
            "events": int(chance.sum()),
            "caught": caught,
            **_share("pod", caught, int(chance.sum())),
            **_share("far", int(false.sum()), int(given.sum())),
            "median_lead_s": float(np.median(lead_s[hit])) if hit.any() else None,
            **{note: int((mine & is_so).sum()) for note, is_so in judged.notes.items()},
        }
    return rows


def _share(name: str, part: int, whole: int) -> dict[str, Any]:
    """Return a share and its 95 % interval; None of nothing."""
    interval = list(wilson_interval(part, whole)) if whole else None
    return {name: part / whole if whole else None, f"{name}_interval": interval}


def tier_cells(timeline: Timeline, judged: Judged, settled: Bool, group: Int64, groups: int) -> Int64:
    """Count windows and places, [groups, 3, 2], by the tier in force (none, watch, warning) and whether a target came.

    A warning is in force from its issue time to the end of its window.
    """
    places, came = 1, np.flatnonzero(timeline.y == 1)
    if judged.kind != "city":
        places = timeline.neighborhoods
        came = timeline.cells[0] * places + timeline.cells[1]
    of = np.full(len(settled), -1)
    of[settled] = group
    acting = judged.is_given & ~judged.notes["cancelled"]
    columns = [(one.end_s, max(one.place, 0), 1 + TIERS.index(one.tier)) for one in judged.warnings]
    until_s, place, rank = np.array(columns, dtype=np.int64).reshape(-1, 3)[acting].T
    first, last = judged.index[acting], np.searchsorted(timeline.windows.issue_s, until_s)
    place, rank = np.repeat(place, last - first), np.repeat(rank, last - first)
    forced = _ranges(first, last) * places + place
    highest = np.lexsort((-rank, forced))
    forced, at = np.unique(forced[highest], return_index=True)
    rank = rank[highest][at]
    cells = np.zeros((groups, 3, 2), dtype=np.int64)
    alone = np.setdiff1d(came, forced)
    for code, tier, y in ((forced, rank, np.isin(forced, came)), (alone, np.zeros_like(alone), np.isin(alone, came))):
        inside = of[code // places] >= 0
        np.add.at(cells, (of[code // places][inside], tier[inside], y[inside].astype(np.int64)), 1)
    cells[:, 0, 0] = np.bincount(group, minlength=groups) * places - cells.sum(axis=(1, 2))
    return cells
