"""Forecasters put through the rolling origin: fitted anew for each test block, thresholds set on the block before it.

Shapes: S windows, N neighbourhoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.errors import UserError
from hews_gpu.evaluation.sources import Source
from hews_gpu.forecast.alarms import BUDGETS_PER_WEEK, threshold_for
from hews_gpu.forecast.catalog import Catalog, Outcomes, Windows, outcomes
from hews_gpu.forecast.comparison import WEEK_S, Judged
from hews_gpu.forecast.forecasters import Entry
from hews_gpu.forecast.protocol import Fold, Task, issue_windows, rolling_origin
from hews_gpu.progress import Step

__all__ = ["Plan", "Rolling", "forecast_blocks"]

Float64 = NDArray[np.float64]
DAY_S = 86_400


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
    as_reported: bool = False
    """Rows are known from when they were reported, where the source says so."""

    def with_task(self, **changes: int) -> Plan:
        """The same plan for another lead or delay."""
        return replace(self, task=replace(self.task, **changes))


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """A source cut into windows and folds under one plan."""

    source: Source
    plan: Plan
    catalog: Catalog
    all: Outcomes
    folds: Sequence[Fold]

    @classmethod
    def opened(cls, source: Source, plan: Plan) -> Rolling:
        """Cut a source.

        Raises:
            UserError: it is too short for the plan, or a part of it has only windows with, or without, a target.
        """
        catalog = source.catalog(plan.task.delay_s, as_reported=plan.as_reported)
        begin_s, end_s = source.begin_s, source.end_s
        first_s = plan.first_test_s if plan.first_test_s is not None else begin_s + (end_s - begin_s) * 3 // 5
        windows = issue_windows(begin_s, end_s, plan.task)
        spans = {"calibration_s": plan.calibration_s, "end_s": end_s}
        remedy = "Take more years, fewer blocks, or a shorter history, lead and delay"
        try:
            folds = rolling_origin(windows, plan.task, first_test_s=first_s, blocks=plan.blocks, **spans)
        except ValueError as error:
            raise UserError(source.name, None, allowed=f"is too short for the plan: {error}", remedy=remedy) from None
        every = outcomes(catalog, windows)
        for fold in folds:
            for part in (fold.train, fold.test):
                if not 0 < every.y[part].sum() < len(part):
                    allowed = "has a block in which every window, or none, holds a target"
                    raise UserError(source.name, None, allowed=allowed, remedy=remedy)
        return cls(source=source, plan=plan, catalog=catalog, all=every, folds=folds)

    def part(self, index: NDArray[np.int64]) -> Outcomes:
        """Some of the windows with what happened in them."""
        return Outcomes(windows=self.all.windows.select(index), y=self.all.y[index])

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
        parts = ("train", "calibration", "test")
        return {
            **{
                f"{key}_s": getattr(task, f"{key}_s")
                for key in ("history", "lead", "horizon", "stride", "delay", "gap")
            },
            "as_reported": self.plan.as_reported,
            "folds": [{name: _span(self.part(getattr(fold, name))) for name in parts} for fold in self.folds],
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
        seeds = rolling.plan.seeds if entry.is_random else rolling.plan.seeds[:1]
        said: list[list[Float64]] = [[] for _ in seeds]
        warned: dict[float, list[list[NDArray[np.bool_]]]] = {b: [[] for _ in seeds] for b in BUDGETS_PER_WEEK}
        for fold in rolling.folds:
            for k, seed in enumerate(seeds):
                before, p = _one_block(rolling, fold, entry, seed)
                said[k].append(p)
                for budget, rows in warned.items():
                    rows[k].append(p >= threshold_for(before, _weeks(rolling, len(before)), budget))
                bar.advance(1, name)
        together = {budget: [np.concatenate(blocks) for blocks in rows] for budget, rows in warned.items()}
        found[name] = Judged(p=[np.concatenate(blocks) for blocks in said], warned=together)
    return found


def _one_block(rolling: Rolling, fold: Fold, entry: Entry, seed: int) -> tuple[Float64, Float64]:
    """Forecasts of the calibration and of the test block by one fit."""
    forecaster = entry.make(seed)
    past = rolling.catalog.until(fold.known_until_s)
    both = rolling.all.windows.select(np.concatenate([fold.calibration, fold.test]))
    forecaster.fit(past, rolling.part(fold.train), rolling.part(fold.calibration))
    p = forecaster.predict(rolling.catalog, both)
    return p[: len(fold.calibration)], p[len(fold.calibration) :]


def _weeks(rolling: Rolling, windows: int) -> float:
    return windows * rolling.plan.task.stride_s / WEEK_S


def _span(part: Outcomes) -> dict[str, Any]:
    """Begin, end, windows and positives of a part, in words."""
    windows: Windows = part.windows
    begin, end = (str(np.datetime64(int(edge), "s"))[:16] for edge in (windows.begin_s[0], windows.end_s[-1]))
    return {"begin": begin, "end": end, "windows": len(part), "positives": int(part.y.sum())}
