"""The rolling origin: every forecaster fitted anew for each test block, thresholds set on the block before it.

One fit (a forecaster, a block, a seed) depends on no other, so fits run one after the other, side by side in processes,
or as the tasks of an array on a cluster, with the same result: each leaves a file, and whoever comes last puts them
together. A run that was cut off goes on with the fits that are missing.

Shapes: S test windows, C calibration windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hews_gpu.arrays import Bool, Float64
from hews_gpu.data.coverage import coverage_of_events, require_covered
from hews_gpu.data.events import open_prepared
from hews_gpu.data.resolution import count_minutes, require_windows
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK, threshold_for
from hews_gpu.evaluation.folds import Experiment, Fold, Plan
from hews_gpu.evaluation.judge import Judged, compare
from hews_gpu.evaluation.mean_interval import LEVEL_95, cosines
from hews_gpu.evaluation.metrics import DRAWS
from hews_gpu.evaluation.places import judge_places
from hews_gpu.files import atomic_file
from hews_gpu.forecasters.base import Entry, SaysWhere, Setting
from hews_gpu.forecasters.city import City, generated_city, whole_city
from hews_gpu.forecasters.registry import FORECASTERS, require_known
from hews_gpu.progress import SILENT, Step, log, step
from hews_gpu.units import WEEK_S
from hews_gpu.workers import processes

__all__ = [
    "MOST_YEARS",
    "Fit",
    "Forecasts",
    "Problem",
    "fits_of",
    "forecast_blocks",
    "gather_fits",
    "judge_experiment",
    "open_experiment",
    "run_fits",
    "with_thresholds",
]

MOST_YEARS = 40
DEFAULT_BLOCKS = 4


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is backtested: a prepared folder, or a generated city."""

    prepared: Path | None = None
    preset: str | None = None
    years: int = 10
    seed: int = 0
    """Of the generated city."""

    def __post_init__(self) -> None:
        if (self.prepared is None) == (self.preset is None):
            got = "neither" if self.prepared is None else "both"
            raise UserError("DIR or --preset", got, allowed="give one of them", remedy="See 'hews backtest --help'")
        if self.preset is None:
            return
        from hews_gpu.synthetic import PRESETS

        if self.preset not in PRESETS:
            allowed, remedy = "is not a preset", did_you_mean(self.preset, PRESETS)
            raise UserError("--preset", self.preset, allowed=allowed, remedy=remedy)
        if not 2 <= self.years <= MOST_YEARS:
            raise UserError("--years", self.years, allowed=f"must be 2..{MOST_YEARS}")

    def open(self) -> City:
        """Read the folder, or generate the city.

        Raises:
            UserError: rows thin out within the folder's splits, or windows are finer than its times.
        """
        if self.prepared is not None:
            prepared = open_prepared(self.prepared)
            require_windows(prepared.city, count_minutes(prepared.events.time_s, prepared.events.is_target))
            require_covered(prepared.city.splits, coverage_of_events(prepared.events))
            return whole_city(prepared)
        assert self.preset is not None
        return generated_city(self.preset, years=self.years, seed=self.seed)

    @property
    def default_blocks(self) -> int:
        """About one a year of a generated city's test years."""
        return DEFAULT_BLOCKS if self.preset is None else max(1, min(DEFAULT_BLOCKS, self.years * 2 // 5))


@dataclass(frozen=True)
class Fit:
    """One fit of one forecaster."""

    name: str
    block: int
    seed: int

    def path(self, folder: Path) -> Path:
        """Return the file that holds its forecasts."""
        return folder / f"{self.name}-{self.block}-{self.seed}.npz"


def fits_of(names: Iterable[str], plan: Plan, blocks: int, entries: Mapping[str, Entry] = FORECASTERS) -> list[Fit]:
    """Return every fit that a plan asks for, by forecaster, block and seed."""
    return [
        Fit(name, block, seed)
        for name in names
        for block in range(blocks)
        for seed in _seeds(plan, entries[name], block)
    ]


def _seeds(plan: Plan, entry: Entry, block: int) -> tuple[int, ...]:
    """Return the seeds of the fits for one block."""
    if not entry.is_random:
        return plan.seeds[:1]
    return (plan.seeds[block % len(plan.seeds)],) if plan.in_turn else plan.seeds


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What one fit says of its calibration and test windows."""

    calibration: Float64  # [C]
    test: Float64  # [S]
    areas: Float64 | None = None  # [S, N] of the test windows, where the forecaster says where


def forecast_block(
    experiment: Experiment, entry: Entry, block: int, seed: int, *, device: str = "cpu", where: bool = False
) -> Forecasts:
    """Fit one forecaster for one block and forecast it.

    Args:
        experiment: the city, cut.
        entry: the forecaster.
        block: index of the fold.
        seed: of the fit.
        device: of networks.
        where: forecast the neighborhoods, too, if the forecaster can.
    """
    fold = experiment.folds[block]
    forecaster = entry.make(Setting(city=experiment.city, seed=seed, device=device))
    past = experiment.catalog.until(fold.known_until_s)
    both = experiment.all.windows.select(np.concatenate([fold.calibration, fold.test]))
    forecaster.fit(past, experiment.learned(fold, "train"), experiment.learned(fold, "calibration"))
    p = forecaster.predict(experiment.catalog, both)
    areas = None
    if where and isinstance(forecaster, SaysWhere):
        areas = forecaster.predict_areas(experiment.catalog, experiment.all.windows.select(fold.test))
    return Forecasts(calibration=p[: len(fold.calibration)], test=p[len(fold.calibration) :], areas=areas)


def forecast_blocks(
    experiment: Experiment,
    entries: Mapping[str, Entry],
    bar: Step = SILENT,
    *,
    where: bool = False,
    device: str = "cpu",
) -> dict[str, Judged]:
    """Fit every forecaster for every block in this process, set its thresholds, and forecast the block.

    Args:
        experiment: the city, cut.
        entries: forecasters by name.
        bar: told of every fit.
        where: forecast the neighborhoods, too.
        device: of networks.
    """
    made = {}
    for fit in fits_of(entries, experiment.plan, len(experiment.folds), entries):
        made[fit] = forecast_block(experiment, entries[fit.name], fit.block, fit.seed, where=where, device=device)
        bar.advance(1, fit.name)
    return {name: _judged(experiment, entry, name, made) for name, entry in entries.items()}


def _judged(experiment: Experiment, entry: Entry, name: str, made: Mapping[Fit, Forecasts]) -> Judged:
    """Put the blocks of one forecaster together; a series per seed."""
    plan, blocks = experiment.plan, range(len(experiment.folds))
    seeds = [_seeds(plan, entry, block) for block in blocks]
    return with_thresholds(
        plan, [[made[Fit(name, block, seeds[block][k])] for block in blocks] for k in range(len(seeds[0]))]
    )


def with_thresholds(plan: Plan, series: Sequence[Sequence[Forecasts]]) -> Judged:
    """Set the warning thresholds of each block on its calibration windows, and put the blocks together.

    Args:
        plan: tells how many windows a week has.
        series: forecasts by seed and block.
    """
    warned: dict[float, list[Bool]] = {}
    for budget in BUDGETS_PER_WEEK:
        warned[budget] = [
            np.concatenate([one.test >= threshold_for(one.calibration, _weeks(plan, one), budget) for one in each])
            for each in series
        ]
    areas = [one.areas for one in series[0] if one.areas is not None]
    return Judged(
        p=[np.concatenate([one.test for one in each]) for each in series],
        warned=warned,
        areas=np.concatenate(areas) if len(areas) == len(series[0]) else None,
    )


def _weeks(plan: Plan, one: Forecasts) -> float:
    return len(one.calibration) * plan.task.stride_s / WEEK_S


def judge_experiment(experiment: Experiment, judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Return the result of an experiment as JSON can hold it: what it was, its protocol, and every score.

    Neighborhoods are judged, too, where some forecaster says where.

    Args:
        experiment: the city, cut.
        judged: forecasts of its test windows by name, the climatology among them.
    """
    test, plan = experiment.test, experiment.plan
    scores = compare(test.y, test.windows.begin_s, plan.task.stride_s, judged, experiment.oracle())
    counts = {"windows": len(test), "positives": int(test.y.sum()), "base_rate": float(test.y.mean())}
    intervals = {
        "level": LEVEL_95,
        "skill": {"method": "t of cosines", "cosines": cosines(len(test), plan.task.stride_s)},
        "other scores": {"method": "resampled blocks", "draws": DRAWS, "block_weeks": 1},
    }
    protocol = {**experiment.described(), "seeds": list(plan.seeds), "intervals": intervals}
    result = {**experiment.city.notes, "protocol": protocol, **counts, "forecasts": scores}
    areas = {name: one.areas for name, one in judged.items() if one.areas is not None}
    if areas:
        result["places"] = judge_places(experiment, areas)
    return result


# ------------------------------------------------------------ side by side


_OPEN: dict[tuple[Problem, Plan], Experiment] = {}
"""What this process has opened last."""


def open_experiment(problem: Problem, plan: Plan) -> Experiment:
    """Read or generate a city and cut it; the fits that this process makes from then on start from it.

    Raises:
        UserError: the city is too short for the plan.
    """
    _OPEN.clear()
    return _OPEN.setdefault((problem, plan), Experiment.open(problem.open(), plan))


def run_fits(
    problem: Problem, plan: Plan, fits: Sequence[Fit], folder: Path, *, jobs: int = 1, device: str = "cpu"
) -> None:
    """Make the fits that have no file yet.

    Args:
        problem: what is backtested.
        plan: how.
        fits: which.
        folder: of their files.
        jobs: how many at a time, each in a process of its own; 1: one after the other in this one.
        device: of networks.

    Raises:
        UserError: the city is too short for the plan, or a model cannot be fitted on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [fit for fit in fits if not fit.path(folder).is_file()]
    if len(missing) < len(fits):
        log(f"backtest: {len(fits) - len(missing)} of {len(fits)} fits are there already")
    with step("backtest", len(missing), "fits") as bar, processes(min(jobs, len(missing))) as run:
        for fit in run(_make_fit, [(problem, plan, fit, folder, device) for fit in missing]):
            bar.advance(1, f"{fit.name}, block {fit.block + 1}")


def _make_fit(given: tuple[Problem, Plan, Fit, Path, str]) -> Fit:
    """Make one fit and write its file."""
    problem, plan, fit, folder, device = given
    experiment = _OPEN.get((problem, plan)) or open_experiment(problem, plan)
    made = forecast_block(experiment, require_known(fit.name), fit.block, fit.seed, device=device, where=True)
    columns = {name: value for name, value in vars(made).items() if value is not None}
    with atomic_file(fit.path(folder)) as partial, partial.open("wb") as file:
        np.savez(file, **columns)
    return fit


def gather_fits(experiment: Experiment, names: Sequence[str], folder: Path) -> dict[str, Judged]:
    """Put the forecasts of all fits together, by name.

    Raises:
        UserError: the file of a fit is missing or damaged.
    """
    fits = fits_of(names, experiment.plan, len(experiment.folds))
    made = {fit: _read_fit(fit.path(folder), experiment.folds[fit.block]) for fit in fits}
    return {name: _judged(experiment, FORECASTERS[name], name, made) for name in names}


def _read_fit(path: Path, fold: Fold) -> Forecasts:
    try:
        with path.open("rb") as file, np.load(file) as content:
            fit = Forecasts(**dict(content))
        if (len(fit.calibration), len(fit.test)) != (len(fold.calibration), len(fold.test)):
            raise ValueError("it is of other windows")
        return fit
    except (OSError, EOFError, BadZipFile, ValueError, TypeError) as error:
        remedy = "Remove it and give the same command with --resume"
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=remedy) from None
