"""A run, opened: the city it was trained on, its splits, and its forecaster, ready to forecast.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu.config import SPLITS, parse_local_time
from hews_gpu.data.coverage import coverage_of_events, require_covered
from hews_gpu.data.events import Prepared, open_data_of, open_prepared
from hews_gpu.data.resolution import count_minutes, require_windows
from hews_gpu.data.windows import Task, Windows, split_windows, targets_within
from hews_gpu.errors import UserError
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.base import DrawsMaps, Forecaster, Setting, predictions
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City, prepared_city, whole_city
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs import folder
from hews_gpu.training.recipe import Recipe
from hews_gpu.units import DAY_S

__all__ = ["Forecast", "Run", "given", "on_city", "open_run", "run_experiment"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run says of one window."""

    issue_time: np.datetime64
    window_start: np.datetime64
    window_end: np.datetime64
    probability: float
    """Of a target anywhere in the city."""
    by_neighborhood: dict[str, float] | None
    """Of a target in each, highest first; None where the model does not say where."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained run."""

    folder: Path
    recipe: Recipe
    prepared: Prepared
    """What it was trained on, with the city file as it was then."""
    forecaster: Forecaster

    @cached_property
    def experiment(self) -> Experiment:
        """The run's splits."""
        return run_experiment(self.prepared)

    def forecast(self, at: str | datetime | np.datetime64 | int, data: Path | None = None) -> Forecast:
        """Forecast the window that begins one lead after an issue time, from the rows known then.

        Args:
            at: local issue time, such as "2017-06-01T20:00", or seconds since 1970.
            data: a prepared folder of the same city that reaches further; the run's own unless given.

        Raises:
            UserError: the time lies outside the table, or `data` is not a prepared folder of this city.
        """
        issue_s = _seconds(at)
        prepared = self.prepared if data is None else self.table(data)
        times, task = prepared.events.time_s, Task.of_city(prepared.city)
        first_s, last_s = coverage_of_events(prepared.events).first_and_last(times)
        if not first_s + task.history_s <= issue_s <= last_s + DAY_S:
            first, last = (np.datetime64(t, "s") for t in (first_s + task.history_s, last_s + DAY_S))
            raise UserError(
                "at", str(at), allowed=f"must be an issue time from {first} to {last}, which the table covers"
            )
        city = prepared_city(prepared, begin_s=int(times[0]), end_s=issue_s)
        task = task.apart(city.embargo_s)
        begin_s = np.array([issue_s + task.lead_s], dtype=np.int64)
        windows = Windows(issue_s=begin_s - task.lead_s, begin_s=begin_s, end_s=begin_s + task.horizon_s)
        forecaster, catalog = on_city(self.forecaster, city), city.catalog(task.delay_s)
        p, areas = predictions(forecaster, catalog, windows)
        names = prepared.names
        where = None if areas is None else dict(sorted(zip(names, areas[0].tolist(), strict=True), key=lambda x: -x[1]))
        issue, start, end = (np.datetime64(int(edge[0]), "s") for edge in vars(windows).values())
        return Forecast(
            issue_time=issue, window_start=start, window_end=end, probability=float(p[0]), by_neighborhood=where
        )

    def table(self, data: Path) -> Prepared:
        """Open another prepared folder of the run's city, with the city file as it was in training.

        Raises:
            UserError: it is none, of other targets, neighborhoods or maps, or of times that know less than the windows.
        """
        mine = self.prepared
        prepared = mine if Path(data).absolute() == mine.folder else open_prepared(Path(data))
        require_windows(mine.city, count_minutes(prepared.events.time_s, prepared.events.is_target))
        targets = [{*one.city.incidents.target_names} for one in (mine, prepared)]
        differing = {
            "other [incidents] targets": targets[0] != targets[1],
            "times of another [city] timezone": prepared.city.city.timezone != mine.city.city.timezone,
            "other neighborhoods": prepared.names != mine.names,
            "another area": mine.city.map.bounds == "auto" and prepared.outlines.extent != mine.outlines.extent,
        }
        for what, differs in differing.items():
            if differs:
                remedy = "Prepare it with the city file and the polygons of the run's city"
                raise UserError("data folder", data, allowed=f"shows {what} than in training", remedy=remedy)
        return replace(prepared, city=mine.city)

    def evaluate(self, **options: Any) -> dict[str, Any]:
        """Judge the run as ``hews evaluate`` does; `options` as of `runs.evaluate.evaluate`."""
        from hews_gpu.runs.evaluate import evaluate

        return evaluate(self.folder, **options)


def on_city(forecaster: Forecaster, city: City) -> Forecaster:
    """Return a fitted forecaster that draws its maps from another table of its city."""
    return forecaster.on_city(city) if isinstance(forecaster, DrawsMaps) else forecaster


def open_run(run: Path, *, data: Path | None = None, device: str = "cpu") -> Run:
    """Open a trained run.

    Args:
        run: folder made by ``hews train`` with a recipe of protocol forecast.
        data: the prepared folder, where it has moved since training.
        device: of networks: cpu, cuda or cuda:1.

    Raises:
        UserError: the run is not trained to its end or makes no forecasts, or its data is gone or another.
    """
    recipe = folder.run_recipe(run)
    if recipe.is_leaky:
        remedy = "Train with a recipe of protocol forecast"
        raise UserError("run folder", run, allowed="is of a leaky recipe, which makes no forecasts", remedy=remedy)
    prepared = open_data_of(run, data)
    setting = Setting(city=whole_city(prepared), device=device, recipe=recipe)
    forecaster = FORECASTERS[recipe.model].make(setting)
    folder.load_fitted(run / folder.WEIGHTS, forecaster, remedy=folder.UNFINISHED)
    return Run(folder=run, recipe=recipe, prepared=prepared, forecaster=forecaster)


def given(experiment: Experiment) -> tuple[Catalog, Outcomes, Outcomes]:
    """Return what a fit on the splits may look at: rows, training windows, calibration windows."""
    fold = experiment.folds[0]
    past = experiment.catalog.until(fold.known_until_s)
    return past, experiment.learned(fold, "train"), experiment.learned(fold, "calibration")


def run_experiment(prepared: Prepared, *, is_edited: bool = False) -> Experiment:
    """Cut a prepared city into its fixed splits, and see that each can be learned from or judged on.

    An audit edits rows, and asks nothing of the table that it edited.

    Raises:
        UserError: a split is empty, reaches beyond the table, or has no window with (or none without) a target; windows
            are finer than the times.
    """
    task = Task.of_city(prepared.city)
    city = whole_city(prepared)
    if not is_edited:
        require_windows(prepared.city, count_minutes(prepared.events.time_s, prepared.events.is_target))
        require_covered(prepared.city.splits, coverage_of_events(prepared.events))
    for name in SPLITS:
        _require_both(prepared, name, city.embargo_s)
    spans_s = {part: prepared.city.splits.span_s(name) for part, name in PARTS_OF.items()}
    return Experiment.open(city, Plan(task=task, splits_s=spans_s, seeds=(0,)))


PARTS_OF = {"train": "train", "calibration": "validation", "test": "test"}
"""The city file's split of each part of the fold."""


def _require_both(prepared: Prepared, name: str, embargo_s: int) -> None:
    """Refuse a split without windows, or one in which every window has the same outcome."""
    span = list(getattr(prepared.city.splits, name))
    windows = split_windows(prepared.city, name, embargo_s)
    positives = int((targets_within(prepared.events, windows.begin_s, windows.end_s) > 0).sum())
    if 0 < positives < len(windows):
        return
    targets = ", ".join(prepared.city.incidents.target_names)
    which = "no window with" if positives == 0 else "no window without"
    allowed = f"holds {which} a target ({targets}) among {len(windows)}"
    remedy = "Lengthen the split, or see [incidents] targets" if positives == 0 else "Shorten [task] horizon_s"
    raise UserError(f"[splits] {name}", span, allowed=allowed, remedy=remedy)


def _seconds(at: str | datetime | np.datetime64 | int) -> int:
    """Return a local time as seconds since 1970."""
    if isinstance(at, np.datetime64):
        return int(at.astype("datetime64[s]").astype(np.int64))
    if isinstance(at, str | datetime):
        return parse_local_time("at", at if isinstance(at, str) else at.isoformat())
    if isinstance(at, int | np.integer):
        return int(at)
    raise UserError("at", at, allowed="must be a local time such as '2017-06-01T20:00', or seconds since 1970")
