"""Gate 6, duplicates and twins: an event is asked for in one split only, and nowhere known before it is asked for.

An event may be reported in several rows: its victims, and the twin that reports a shooting as an aggravated assault.
Two scans. Across splits: no event whose row is a label of a judged split has a row among what an other split was fitted
on, and nothing is fitted on a label that nobody knew. Within samples: no event that is to be foretold has a row in the
same sample's input. The rows of one event give times up to half an hour apart, so a sample whose window follows its
input at once may hold the twin of the very shooting that it is asked for. Half an hour between the two makes sure that
it does not, without regard to what any row is.

Shapes: E rows, S samples, T history steps, P pairs of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hews_gpu.arrays import Bool, Int64
from hews_gpu.audit.edits import known_s
from hews_gpu.audit.gate_result import GateResult
from hews_gpu.data.events import Events
from hews_gpu.data.prepare.duplicates import NEAR_TWIN
from hews_gpu.data.windows import Samples
from hews_gpu.evaluation.folds import Experiment, Fold

__all__ = ["SplitRows", "folds_gate", "splits_gate", "straddling", "used"]

GATE = "6 duplicates and twins"
REMEDY = f"let [task] lead_s be {NEAR_TWIN.within_s} or more"


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """One side of a split, as rows of the table."""

    inputs: Bool  # [E] seen by some sample
    labels: Bool  # [E] target rows that some sample asks for

    @property
    def learned(self) -> Bool:
        """Everything that whoever is fitted on it gets to see."""
        return self.inputs | self.labels


def used(events: Events, samples: Samples, hidden: Bool | None = None) -> SplitRows:
    """Mark the rows that a split's samples see and ask for."""
    shown = np.ones(len(events), dtype=bool) if hidden is None else ~hidden
    pairs = samples.history.reshape(-1, 2)
    first, last = (np.searchsorted(events.time_s, edge) for edge in (samples.target_begin_s, samples.target_end_s))
    inputs = _covered(pairs[:, 0], pairs[:, 1], len(events)) & shown
    return SplitRows(inputs=inputs, labels=_covered(first, last, len(events)) & events.is_target)


def _covered(first: Int64, last: Int64, length: int) -> Bool:
    """Mark the rows within at least one of the ranges [first, last) [E]."""
    change = np.zeros(length + 1, dtype=np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    return np.asarray(np.cumsum(change[:-1]) > 0)


def splits_gate(
    events: Events, group: Int64, splits: Mapping[str, Samples], hidden: Bool | None = None, *, name: str = "the city"
) -> GateResult:
    """Scan the three splits of a prepared city, in the order in which they are fitted on and judged.

    `group` [E] numbers the event that each row reports; `hidden` [E] rows are shown on no map.
    """
    parts = {key: used(events, samples, hidden) for key, samples in splits.items()}
    crossing = {
        f"{fitted} > {judged}": _shared(group, parts[fitted].learned, parts[judged].labels)
        for i, judged in enumerate(parts)
        for fitted in list(parts)[:i]
    }
    inside = {key: straddling(events, group, samples, hidden) for key, samples in splits.items()}
    positives = sum(int(samples.y.sum()) for samples in splits.values())
    seen = sum(inside.values())
    crossed = sum(crossing.values())
    summary = f"{crossed} events cross a split; {seen} of {positives} samples with a target see a row of it"
    return GateResult(
        gate=GATE,
        tested=f"maps of {name}: {', '.join(parts)}",
        verdict="fail" if seen or crossed else "pass",
        summary=summary + (f"; {REMEDY}" if seen else ""),
        figures={"crossing": crossing, "straddling": inside, "positives": positives},
    )


def folds_gate(experiment: Experiment) -> GateResult:
    """Scan the folds of the rolling origin: what fits could see against the labels of the blocks."""
    city, task = experiment.city, experiment.plan.task
    events = city.events
    group = np.arange(len(events)) if city.group is None else city.group
    known = known_s(city, task.delay_s, as_reported=experiment.plan.as_reported)
    crossing: dict[str, int] = {}
    order = np.flatnonzero(events.is_target)
    for i, fold in enumerate(experiment.folds):
        labels = {}
        for key in ("train", "calibration", "test"):
            windows = experiment.all.windows.select(getattr(fold, key))
            first, last = (np.searchsorted(events.time_s[order], edge) for edge in (windows.begin_s, windows.end_s))
            labels[key] = np.zeros(len(events), dtype=bool)
            labels[key][order[_covered(first, last, len(order))]] = True
        past = known < fold.known_until_s
        pairs = {
            "past > test": _shared(group, past, labels["test"]),
            "train > test": _shared(group, labels["train"], labels["test"]),
            "calibration > test": _shared(group, labels["calibration"], labels["test"]),
            "train > calibration": _shared(group, labels["train"], labels["calibration"]),
            "train labels not known": _not_known(experiment, fold, "train", known),
            "calibration labels not known": _not_known(experiment, fold, "calibration", known),
            **{f"{key}, seen before": _seen(experiment, getattr(fold, key), known, group) for key in labels},
        }
        crossing |= {f"block {i + 1}, {key}": count for key, count in pairs.items()}
    total = sum(crossing.values())
    return GateResult(
        gate=GATE,
        tested=f"rolling origin on {city.name}, {len(experiment.folds)} blocks",
        verdict="fail" if total else "pass",
        summary=f"{total} events cross a split or an issue time, of {len(np.unique(group)):,}",
        figures={"crossing": crossing},
    )


def _not_known(experiment: Experiment, fold: Fold, name: Literal["train", "calibration"], known: Int64) -> int:
    """Count windows learned as having a target of which nothing was known when the next part's inputs begin."""
    following = fold.calibration if name == "train" else fold.test
    until_s = int(experiment.all.windows.issue_s[following[0]]) - experiment.plan.task.history_s
    events, learned = experiment.city.events, experiment.learned(fold, name)
    known_targets_s = np.sort(events.time_s[events.is_target & (known < until_s)])
    first, last = (np.searchsorted(known_targets_s, edge) for edge in (learned.windows.begin_s, learned.windows.end_s))
    return int((learned.y & (last == first)).sum())


def _seen(experiment: Experiment, which: Int64, known: Int64, group: Int64) -> int:
    """Count windows with a target of whose event a row is known when the forecast is issued."""
    events, windows = experiment.city.events, experiment.all.windows.select(which)
    _, member = np.unique(group, return_inverse=True)
    first_s = np.full(len(events), np.iinfo(np.int64).max)  # of events, of which there are no more than rows
    np.minimum.at(first_s, member, known)
    rows = np.flatnonzero(events.is_target)
    window = np.searchsorted(windows.begin_s, events.time_s[rows], side="right") - 1
    inside = (window >= 0) & (events.time_s[rows] < windows.end_s[np.maximum(window, 0)])
    rows, window = rows[inside], window[inside]
    return len(np.unique(window[first_s[member[rows]] < windows.issue_s[window]]))


def straddling(events: Events, group: Int64, samples: Samples, hidden: Bool | None = None) -> int:
    """Count samples with a target of which another row, or the row itself, is in their own input."""
    rows = np.flatnonzero(events.is_target)
    count = 0
    low, high = samples.history[..., 0].min(axis=1), samples.history[..., 1].max(axis=1)
    first = np.searchsorted(events.time_s[rows], samples.target_begin_s)
    last = np.searchsorted(events.time_s[rows], samples.target_end_s)
    for s in np.flatnonzero(last > first).tolist():
        asked = group[rows[first[s] : last[s]]]
        seen = np.arange(low[s], high[s])
        if hidden is not None:
            seen = seen[~hidden[seen]]
        count += bool(np.isin(asked, group[seen]).any())
    return count


def _shared(group: Int64, seen: Bool, asked: Bool) -> int:
    """Count events with a row on either side."""
    return len(np.intersect1d(group[seen], group[asked]))
