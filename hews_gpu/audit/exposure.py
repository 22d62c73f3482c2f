"""Who is warned of, and how rightly: the measures of a fairness audit by group of neighborhoods.

Every measure is a ratio of two sums over windows, so that its interval, and that of a ratio or a difference of two
groups, comes from the slowest waves of one linearized series (`evaluation.mean_interval`): neighboring windows and
neighborhoods of one evening are anything but independent, which is why resampling single cases would not do.

Where groups differ in how often targets happen, no forecast that is worth anything equals all measures at once
(Kleinberg, Mullainathan & Raghavan, 2016, arXiv:1609.05807; Chouldechova, 2017, Big Data 5). So only those are gates
that need not differ: that a probability means the same in each group, and that hours under warning and caught events
follow the events. The rest is shown.

Shapes: S windows in time order, N neighborhoods, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.audit.gate_result import GateResult, Verdict
from hews_gpu.evaluation.mean_interval import LEVEL_95, cosines, holm, mean_interval
from hews_gpu.units import HOUR_S, WEEK_S

__all__ = ["GATES", "Cells", "Gate", "Grouping", "equal_hours", "gates", "likeliest", "measures"]

FEWEST_EVENTS = 30
"""Of one group, to be judged by."""
LEVEL = 0.025
"""One-sided, corrected."""
GOLDEN_RATIO = (5**0.5 - 1) / 2
MIXES = np.linspace(0, 1, 11)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Windows and neighborhoods: what was said of each, and what happened."""

    p: Float64  # [S, N]
    is_warned: Bool  # [S, N]
    events: Int64  # [S, N]
    stride_s: int
    """From one window to the next."""
    horizon_s: int
    """Length of a window."""

    @property
    def warned_hours(self) -> float:
        """Hours of one window."""
        return self.horizon_s / HOUR_S

    @property
    def weeks(self) -> float:
        """All windows together."""
        return len(self.p) * self.stride_s / WEEK_S


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Neighborhoods by what the census says of them."""

    by: str
    """Of what, in the user's words."""
    group: Int64  # [N]; -1: in none
    names: Sequence[str]  # [G], in order
    edges: Sequence[tuple[float, float]]  # [G] the lowest and highest value in each


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A measure of a group that may differ from the city's only so far."""

    measure: str
    kind: str
    """ratio or difference."""
    bounds: tuple[float, float]
    asks: str


GATES = (
    Gate(measure="calibration", kind="ratio", bounds=(0.8, 1.25), asks="a probability means the same"),
    Gate(measure="hours_per_event", kind="ratio", bounds=(0.8, 1.25), asks="hours under warning follow the events"),
    Gate(measure="caught", kind="difference", bounds=(-0.1, 0.1), asks="events are foreseen as often"),
)


def likeliest(p: Float64, count: int) -> Bool:
    """Return the given number of cells [S, N] with the highest probabilities; equal ones are spread over the time.

    A rate that never changes has only equal ones in each neighborhood: the earliest would be those of one month.
    """
    turn = np.arange(1, len(p) + 1) * GOLDEN_RATIO % 1  # any first ones of this order are nearly even over time
    chosen = np.zeros(p.size, dtype=bool)
    chosen[np.lexsort((np.repeat(turn, p.shape[1]), -p.ravel()))[:count]] = True
    return chosen.reshape(p.shape)


def _sums(cells: Cells, which: Bool, residents: float) -> dict[str, tuple[Float64, Float64]]:
    """Return the two series [S] of each measure, for some neighborhoods [N]; their sums make the ratio."""
    p, warned, events = cells.p[:, which], cells.is_warned[:, which], cells.events[:, which]
    ones, happened, hours = np.ones(len(p)), events > 0, warned.sum(axis=1) * cells.warned_hours
    all_events = events.sum(axis=1).astype(np.float64)
    people = ones * residents / 1000 * cells.weeks / len(p)

    def count(cases: Bool) -> Float64:
        return np.asarray(cases.sum(axis=1), dtype=np.float64)

    return {
        "warned": (count(warned), ones * which.sum()),
        "hours_per_1000_residents_a_week": (hours, people),
        "hours_per_event": (hours, all_events),
        "caught": ((events * warned).sum(axis=1).astype(np.float64), all_events),
        "came_true": (count(warned & happened), count(warned)),
        "false_alarms_of_quiet": (count(warned & ~happened), count(~happened)),
        "calibration": (count(happened), p.sum(axis=1)),
    }


def measures(cells: Cells, grouping: Grouping, residents: Float64) -> list[dict[str, Any]]:
    """Return each measure of each group, and its ``ratio`` and ``difference`` to all groups together.

    Each is {value, interval} or None: a ratio to nothing.
    """
    city = _sums(cells, grouping.group >= 0, float(residents[grouping.group >= 0].sum()))
    rows = []
    for g, (label, (low, high)) in enumerate(zip(grouping.names, grouping.edges, strict=True)):
        which = grouping.group == g
        row: dict[str, Any] = {"group": label, "from": low, "to": high, "neighborhoods": int(which.sum())}
        people = float(residents[which].sum())
        row |= {"residents": people, "events": int(cells.events[:, which].sum())}
        sums = _sums(cells, which, people)
        rows.append({**row, **{name: _measure(sums[name], city[name], cells.stride_s) for name in sums}})
    return rows


def _measure(own: tuple[Float64, Float64], city: tuple[Float64, Float64], stride_s: int) -> dict[str, Any] | None:
    """Return a ratio of two sums with its interval, and the same of its ratio and difference to the city's."""
    if not own[1].any():
        return None
    (value, influence), (whole, its) = _linear(own), _linear(city)

    def told(value: float, influence: Float64) -> dict[str, Any]:
        low, high = mean_interval(influence, stride_s)["interval"]
        return {"value": value, "interval": [value + low, value + high]}

    ratio = told(value / whole, (influence - value / whole * its) / whole) if whole else None
    return {**told(value, influence), "ratio": ratio, "difference": told(value - whole, influence - its)}


def _linear(sums: tuple[Float64, Float64]) -> tuple[float, Float64]:
    """Return the ratio of two sums, and by how much each window moves it [S]."""
    top, bottom = sums
    value = float(top.sum() / bottom.sum())
    return value, (top - value * bottom) / bottom.mean()


def gates(cells: Cells, groupings: Sequence[Grouping], residents: Float64, tested: str) -> list[GateResult]:
    """Return what each gate says of the first and the last group of each grouping, held against all groups together.

    A gate fails where the disparity lies beyond its bounds and chance does not explain it, corrected for the number of
    gates (Holm); it warns where it lies beyond them but chance may explain it, or where a group has too few events.
    """
    asked = []
    for grouping in groupings:
        rows = measures(cells, grouping, residents)
        asked += [(gate, grouping.by, row) for row in (rows[0], rows[-1]) for gate in GATES]
    degrees = cosines(len(cells.p), cells.stride_s)
    chance = {k: p for k, (gate, _, row) in enumerate(asked) if (p := _beyond(gate, row, degrees)) is not None}
    corrected = holm({str(k): p for k, p in chance.items()})
    results = []
    for k, (gate, by, row) in enumerate(asked):
        p = corrected.get(str(k))
        verdict, words = _verdict(gate, row, p)
        disparity = (row[gate.measure] or {}).get(gate.kind)
        figures = {"measure": gate.measure, "by": by, "group": row["group"], "kind": gate.kind, "disparity": disparity}
        results.append(
            GateResult(
                gate=gate.asks,
                tested=f"{tested}, {row['group']} by {by}",
                verdict=verdict,
                summary=words,
                figures={**figures, "bounds": list(gate.bounds), "p_corrected": p},
            )
        )
    return results


def _beyond(gate: Gate, row: Mapping[str, Any], degrees: int) -> float | None:
    """Return how likely chance alone puts a disparity so far beyond its bounds; None where that cannot be told."""
    disparity = (row[gate.measure] or {}).get(gate.kind)
    if disparity is None or row["events"] < FEWEST_EVENTS:
        return None
    value, (low, high) = disparity["value"], disparity["interval"]
    error = (high - low) / 2 / float(stdtrit(degrees, (1 + LEVEL_95) / 2))
    past = max(gate.bounds[0] - value, value - gate.bounds[1])
    return float(stdtr(degrees, -past / error)) if error else float(past <= 0)


def _verdict(gate: Gate, row: Mapping[str, Any], p: float | None) -> tuple[Verdict, str]:
    """Return what a gate says, and in words."""
    name = gate.measure.replace("_", " ")
    if p is None:
        return "warning", f"{name}: too little to judge, {row['events']} events; at least {FEWEST_EVENTS} are needed"
    disparity, (low, high) = row[gate.measure][gate.kind], gate.bounds
    ends = " to ".join(f"{end:.2f}" for end in disparity["interval"])
    words = (
        f"{name}: {gate.kind} to the city {disparity['value']:.2f}, 95 % interval {ends}; may be {low:g} to {high:g}"
    )
    if low <= disparity["value"] <= high:
        return "pass", words
    return ("fail" if p <= LEVEL else "warning"), f"{words}; p {p:.3f}, corrected"


def equal_hours(cells: Cells, grouping: Grouping) -> list[dict[str, Any]]:
    """Return what it costs to give every group hours under warning in proportion to its events.

    Of the hours that were given, each group gets a mix of what the likeliest cells of all would give it and of its
    share of the events, from the first alone to the second alone; within its group the likeliest cells are taken.
    """
    inside = grouping.group >= 0
    p, events, group = cells.p[:, inside], cells.events[:, inside], grouping.group[inside]
    budget, groups = int(cells.is_warned[:, inside].sum()), range(len(grouping.names))
    free = likeliest(p, budget)
    drawn = np.array([free[:, group == g].sum() for g in groups], dtype=np.float64)
    fair = np.array([events[:, group == g].sum() for g in groups]) / max(1, events.sum()) * budget
    rows = []
    for mix in MIXES:
        counts = _whole((1 - mix) * drawn + mix * fair)
        chosen = np.zeros_like(free)
        for g in groups:
            chosen[:, group == g] = likeliest(p[:, group == g], int(counts[g]))
        hits, all_events = (events * chosen).sum(axis=1).astype(np.float64), events.sum(axis=1).astype(np.float64)
        caught, influence = _linear((hits, all_events))
        low, high = mean_interval(influence, cells.stride_s)["interval"]
        hours = [chosen[:, group == g].sum() * cells.warned_hours for g in groups]
        each = [int(events[:, group == g].sum()) for g in groups]
        per_event = [float(h / e) if e else None for h, e in zip(hours, each, strict=True)]
        row = {"mix": float(mix), "caught": {"value": caught, "interval": [caught + low, caught + high]}}
        rows.append({**row, "hours_per_event": per_event})
    return rows


def _whole(parts: Float64) -> Int64:
    """Round parts to whole numbers of the same sum."""
    down = np.floor(parts).astype(np.int64)
    left = round(float(parts.sum())) - int(down.sum())
    down[np.argsort(-(parts - down), kind="stable")[:left]] += 1
    return down
