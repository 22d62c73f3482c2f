"""Forecasters put through the rolling origin: fitted anew for each test block, thresholds set on the block before it.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK, threshold_for
from hews_gpu.evaluation.folds import Fold, Task, issue_windows, rolling_origin
from hews_gpu.evaluation.judge import Judged
from hews_gpu.evaluation.sources import Source
from hews_gpu.forecasters.base import Entry
from hews_gpu.forecasters.catalog import Catalog, Outcomes, Windows, label_known_s, outcomes, settling_s
from hews_gpu.progress import Step
from hews_gpu.units import DAY_S, WEEK_S

__all__ = ["Plan", "Rolling", "forecast_blocks"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a source is evaluated."""

    task: Task = field(default_factory=Task)
    first_test_s: int | None = None
    """Where the first test block begins; three fifths into the source unless given."""
    blocks: int = 4
    calibration_s: int = 120 * DAY_S
    seeds: tuple[int, ...] = (0, 1, 2)
    """For forecasters in which chance has a part."""
    in_turn: bool = False
    """The first block is fitted with the first seed, the next with the next, and not every block with all of them."""
    as_reported: bool = False
    """Rows, and with them labels, are known from when they were reported, where the source says so."""

    def with_task(self, **changes: int) -> Plan:
        """The same plan for another lead or delay."""
        return replace(self, task=replace(self.task, **changes))


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """A source cut into windows and folds under one plan."""

    source: Source
    plan: Plan
    """With the source's embargo in its task."""
    catalog: Catalog
    all: Outcomes
    folds: Sequence[Fold]
    label_known_s: Int64
    """[S] when the label of each window became known."""

    @classmethod
    def opened(cls, source: Source, plan: Plan) -> Rolling:
        """Cut a source.

        Raises:
            UserError: it is too short for the plan, or a part of it has only windows with, or without, a target.
        """
        plan = replace(plan, task=plan.task.apart(source.embargo_s))
        catalog = source.catalog(plan.task.delay_s, as_reported=plan.as_reported)
        begin_s, end_s = source.begin_s, source.end_s
        first_s = plan.first_test_s if plan.first_test_s is not None else begin_s + (end_s - begin_s) * 3 // 5
        windows = issue_windows(begin_s, end_s, plan.task)
        spans = {"calibration_s": plan.calibration_s, "end_s": end_s}
        remedy = "Take more years, fewer blocks, or a shorter history, lead and delay"
        try:
            folds = rolling_origin(windows, plan.task, first_test_s=first_s, blocks=plan.blocks, **spans)
            if plan.as_reported:
                folds = [_settled(catalog, windows, fold) for fold in folds]
        except ValueError as error:
            raise UserError(source.name, None, allowed=f"is too short for the plan: {error}", remedy=remedy) from None
        every, known_s = outcomes(catalog, windows), label_known_s(catalog, windows)
        found = cls(source=source, plan=plan, catalog=catalog, all=every, folds=folds, label_known_s=known_s)
        for fold in folds:
            for y in (found.learned(fold, "train").y, every.y[fold.test]):
                if not 0 < y.sum() < len(y):
                    allowed = "has a block in which every window, or none, holds a target"
                    raise UserError(source.name, None, allowed=allowed, remedy=remedy)
        return found

    def part(self, index: NDArray[np.int64]) -> Outcomes:
        """Some of the windows with what happened in them."""
        return Outcomes(windows=self.all.windows.select(index), y=self.all.y[index])

    def learned(self, fold: Fold, name: Literal["train", "calibration"]) -> Outcomes:
        """What a fit may learn from: windows with their labels as known when the part's labels are taken."""
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
        """[S] true probabilities of the test windows."""
        return self.source.oracle(self.test.windows, self.plan.task.delay_s)

    def described(self) -> dict[str, Any]:
        """Where each part of each fold begins and ends, and how many windows it has."""
        task = self.plan.task
        folds = [
            {
                "train": _span(self.learned(fold, "train")),
                "calibration": _span(self.learned(fold, "calibration")),
                "test": _span(self.part(fold.test)),
            }
            for fold in self.folds
        ]
        return {
            **{
                f"{key}_s": getattr(task, f"{key}_s")
                for key in ("history", "lead", "horizon", "stride", "delay", "gap")
            },
            "embargo_s": self.source.embargo_s,
            "as_reported": self.plan.as_reported,
            "folds": folds,
        }


def forecast_blocks(rolling: Rolling, entries: Mapping[str, Entry], bar: Step) -> dict[str, Judged]:
    """Fit every forecaster for every block, set its thresholds, and forecast the block.

    Args:
        rolling: the source, cut.
        entries: forecasters by name.
        bar: told of every fit.
    """
    found = {}
    for name, entry in entries.items():
        series = 1 if rolling.plan.in_turn or not entry.is_random else len(rolling.plan.seeds)
        said: list[list[Float64]] = [[] for _ in range(series)]
        warned: dict[float, list[list[NDArray[np.bool_]]]] = {b: [[] for _ in said] for b in BUDGETS_PER_WEEK}
        for block, fold in enumerate(rolling.folds):
            for k, seed in enumerate(_seeds(rolling.plan, entry, block)):
                before, p = _one_block(rolling, fold, entry, seed)
                said[k].append(p)
                for budget, rows in warned.items():
                    rows[k].append(p >= threshold_for(before, _weeks(rolling, len(before)), budget))
                bar.advance(1, name)
        together = {budget: [np.concatenate(blocks) for blocks in rows] for budget, rows in warned.items()}
        found[name] = Judged(p=[np.concatenate(blocks) for blocks in said], warned=together)
    return found


def _seeds(plan: Plan, entry: Entry, block: int) -> tuple[int, ...]:
    """Of the fits for one block."""
    if not entry.is_random:
        return plan.seeds[:1]
    return (plan.seeds[block % len(plan.seeds)],) if plan.in_turn else plan.seeds


def _one_block(rolling: Rolling, fold: Fold, entry: Entry, seed: int) -> tuple[Float64, Float64]:
    """Forecasts of the calibration and of the test block by one fit."""
    forecaster = entry.make(seed)
    past = rolling.catalog.until(fold.known_until_s)
    both = rolling.all.windows.select(np.concatenate([fold.calibration, fold.test]))
    forecaster.fit(past, rolling.learned(fold, "train"), rolling.learned(fold, "calibration"))
    p = forecaster.predict(rolling.catalog, both)
    return p[: len(fold.calibration)], p[len(fold.calibration) :]


def _settled(catalog: Catalog, windows: Windows, fold: Fold) -> Fold:
    """The fold without windows of which too many reports may be missing, by how long reports had taken until then."""
    return fold.settled(windows, settling_s(catalog, fold.train_until_s), settling_s(catalog, fold.known_until_s))


def _weeks(rolling: Rolling, windows: int) -> float:
    return windows * rolling.plan.task.stride_s / WEEK_S


def _span(part: Outcomes) -> dict[str, Any]:
    """Begin, end, windows and positives of a part, in words."""
    windows: Windows = part.windows
    begin, end = (str(np.datetime64(int(edge), "s"))[:16] for edge in (windows.begin_s[0], windows.end_s[-1]))
    return {"begin": begin, "end": end, "windows": len(part), "positives": int(part.y.sum())}
