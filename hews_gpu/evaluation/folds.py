"""Folds in time: what each fit may learn from, and which windows it is judged on.

A rolling origin has one fold per test block: fitted on the past, calibrated on the block before, judged on the block. A
city file's fixed splits are a rolling origin with one fold. Between two parts lies a gap of history, delay, lead and
horizon, so that no row is in the inputs or labels of both. Labels count only as far as they were known.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Task, Windows, issue_windows
from hews_gpu.errors import UserError
from hews_gpu.forecasters.catalog import Catalog, Outcomes, label_known_s, outcomes, settling_s
from hews_gpu.forecasters.city import City
from hews_gpu.units import DAY_S

__all__ = ["PARTS", "Experiment", "Fold", "Plan", "rolling_origin", "split_fold"]

PARTS = ("train", "calibration", "test")
"""The parts of a fold; what a city file calls validation calibrates."""
TIMES = ("history", "lead", "horizon", "stride", "delay", "gap")
"""Of a task, as results tell them."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One test block with what may be used for it: positions of windows, in order of time."""

    train: Int64
    calibration: Int64
    test: Int64
    train_until_s: int
    """A training window's label is what was known before this moment: a history before the first calibration issue."""
    known_until_s: int
    """A fit may see the rows known before this moment; a calibration window's label is what was known then."""


def rolling_origin(
    windows: Windows, task: Task, *, first_test_s: int, blocks: int, calibration_s: int, end_s: int
) -> list[Fold]:
    """Return test blocks of equal length from `first_test_s` to `end_s`, each with training and calibration windows.

    Args:
        windows: all windows, in order of time.
        task: tells the purge gap.
        first_test_s: where the first test block begins.
        blocks: how many.
        calibration_s: how long the block before each test block is.
        end_s: no window of a test block reaches past it.

    Raises:
        ValueError: a part of some fold holds no window.
    """
    edges = np.linspace(first_test_s, end_s, blocks + 1).astype(np.int64)
    return [_fold(windows, task, begin_s, stop_s, calibration_s) for begin_s, stop_s in pairwise(edges.tolist())]


def _fold(windows: Windows, task: Task, begin_s: int, stop_s: int, calibration_s: int) -> Fold:
    """Return the windows that begin in [begin, stop), and those that may be learned from before."""
    is_test = (windows.begin_s >= begin_s) & (windows.end_s <= stop_s)
    until_s = _purged(windows, is_test, task)
    is_calibration = (windows.issue_s <= until_s) & (windows.begin_s >= begin_s - calibration_s)
    is_train = windows.issue_s <= _purged(windows, is_calibration, task)
    return _of_masks(windows, task, begin_s, train=is_train, calibration=is_calibration, test=is_test)


def split_fold(windows: Windows, task: Task, spans_s: Mapping[str, tuple[int, int]]) -> Fold:
    """Return the one fold of fixed splits: each holds the windows whose history and target lie within its span.

    Args:
        windows: all windows, in order of time.
        task: tells how far back histories reach.
        spans_s: begin and end by part.

    Raises:
        ValueError: a part holds no window.
    """
    oldest_s = windows.begin_s - task.reach_s
    masks = {name: (oldest_s >= begin_s) & (windows.end_s <= end_s) for name, (begin_s, end_s) in spans_s.items()}
    return _of_masks(windows, task, spans_s["test"][0], **masks)


def _of_masks(windows: Windows, task: Task, begin_s: int, **masks: Bool) -> Fold:
    """Return the fold whose parts are marked, with the moments at which its labels and rows are taken."""
    empty = [name for name in PARTS if not masks[name].any()]
    if empty:
        raise ValueError(f"no windows in {' and '.join(empty)} of the block from {np.datetime64(begin_s, 's')}")
    indices = {name: np.flatnonzero(masks[name]) for name in PARTS}
    train_s, fit_s = (int(windows.issue_s[indices[name][0]]) - task.history_s for name in ("calibration", "test"))
    return Fold(**indices, train_until_s=train_s, known_until_s=fit_s)


def _purged(windows: Windows, part: Bool, task: Task) -> int:
    """Return the last issue time that lies a gap before the first of a part; long ago where the part is empty."""
    return int(windows.issue_s[part][0]) - task.gap_s if part.any() else int(np.iinfo(np.int64).min)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a city is evaluated."""

    task: Task = field(default_factory=Task)
    splits_s: Mapping[str, tuple[int, int]] | None = None
    """Begin and end of each part of one fold; a rolling origin, as the following describe it, unless given."""
    first_test_s: int | None = None
    """Where the first test block begins; three fifths into the city's time unless given."""
    blocks: int = 4
    calibration_s: int = 120 * DAY_S
    seeds: tuple[int, ...] = (0, 1, 2)
    """For forecasters in which chance has a part."""
    in_turn: bool = False
    """The first block is fitted with the first seed, the next with the next, and not every block with all of them."""
    as_reported: bool = False
    """Rows, and with them labels, are known from when they were reported, where the city says so."""

    def with_task(self, **changes: int) -> Plan:
        """Return the same plan for another lead or delay."""
        return replace(self, task=replace(self.task, **changes))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A city cut into windows and folds under one plan."""

    city: City
    plan: Plan
    """With the city's embargo in its task."""
    catalog: Catalog
    all: Outcomes
    folds: Sequence[Fold]
    label_known_s: Int64
    """[S] when the label of each window became known."""

    @classmethod
    def open(cls, city: City, plan: Plan) -> Experiment:
        """Cut a city into windows and folds.

        Raises:
            UserError: it is too short for the plan, or a part of it has only windows with, or without, a target.
        """
        plan = replace(plan, task=plan.task.apart(city.embargo_s))
        catalog = city.catalog(plan.task.delay_s, as_reported=plan.as_reported)
        windows = issue_windows(city.begin_s, city.end_s, plan.task)
        remedy = "Take more years, fewer blocks, or a shorter history, lead and delay"
        try:
            folds = _folds(city, plan, windows)
            if plan.as_reported:
                folds = [_settled(catalog, windows, fold) for fold in folds]
        except ValueError as error:
            raise UserError(city.name, None, allowed=f"is too short for the plan: {error}", remedy=remedy) from None
        every, known_s = outcomes(catalog, windows), label_known_s(catalog, windows)
        experiment = cls(city=city, plan=plan, catalog=catalog, all=every, folds=folds, label_known_s=known_s)
        for fold in folds:
            for y in (experiment.learned(fold, "train").y, every.y[fold.test]):
                if not 0 < y.sum() < len(y):
                    allowed = "has a block in which every window, or none, holds a target"
                    raise UserError(city.name, None, allowed=allowed, remedy=remedy)
        return experiment

    def part(self, index: Int64) -> Outcomes:
        """Return some of the windows with what happened in them."""
        return Outcomes(windows=self.all.windows.select(index), y=self.all.y[index])

    def learned(self, fold: Fold, name: Literal["train", "calibration"]) -> Outcomes:
        """Return what a fit may learn from: windows with their labels as known when the part's labels are taken."""
        index, until_s = {
            "train": (fold.train, fold.train_until_s),
            "calibration": (fold.calibration, fold.known_until_s),
        }[name]
        whole = self.part(index)
        return replace(whole, y=whole.y & (self.label_known_s[index] < until_s))

    @property
    def test(self) -> Outcomes:
        """All test windows, in order of time."""
        return self.part(np.concatenate([fold.test for fold in self.folds]))

    def oracle(self) -> Float64 | None:
        """Return the true probabilities [S] of the test windows, where they are known."""
        return self.city.oracle(self.test.windows, self.plan.task.delay_s)

    def described(self) -> dict[str, Any]:
        """Return where each part of each fold begins and ends, and how many windows it has."""
        task = self.plan.task
        times = {f"{key}_s": getattr(task, f"{key}_s") for key in TIMES}
        folds = [
            {
                "train": _span(self.learned(fold, "train")),
                "calibration": _span(self.learned(fold, "calibration")),
                "test": _span(self.part(fold.test)),
            }
            for fold in self.folds
        ]
        return {**times, "embargo_s": self.city.embargo_s, "as_reported": self.plan.as_reported, "folds": folds}


def _folds(city: City, plan: Plan, windows: Windows) -> list[Fold]:
    if plan.splits_s is not None:
        return [split_fold(windows, plan.task, plan.splits_s)]
    begin_s, end_s = city.begin_s, city.end_s
    first_s = plan.first_test_s if plan.first_test_s is not None else begin_s + (end_s - begin_s) * 3 // 5
    spans = {"calibration_s": plan.calibration_s, "end_s": end_s}
    return rolling_origin(windows, plan.task, first_test_s=first_s, blocks=plan.blocks, **spans)


def _settled(catalog: Catalog, windows: Windows, fold: Fold) -> Fold:
    """Leave out windows of which too many reports may be missing, by how long reports had taken until then."""
    train_s, calibration_s = (settling_s(catalog, until_s) for until_s in (fold.train_until_s, fold.known_until_s))
    train = fold.train[windows.end_s[fold.train] <= fold.train_until_s - train_s]
    calibration = fold.calibration[windows.end_s[fold.calibration] <= fold.known_until_s - calibration_s]
    if not len(train) or not len(calibration):
        raise ValueError(f"no window is older than the {max(train_s, calibration_s)} s that reports take")
    return replace(fold, train=train, calibration=calibration)


def _span(part: Outcomes) -> dict[str, Any]:
    """Return begin, end, windows and positives of a part."""
    windows: Windows = part.windows
    begin, end = (str(np.datetime64(int(edge), "s"))[:16] for edge in (windows.begin_s[0], windows.end_s[-1]))
    return {"begin": begin, "end": end, "windows": len(part), "positives": int(part.y.sum())}
