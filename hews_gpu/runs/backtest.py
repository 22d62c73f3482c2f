"""`hews backtest`: the rolling origin on a prepared table or a generated city, in a folder that can be filled in parts.

The folder holds one file per fit, `fits/`. One process fills it, several side by side, or the tasks of an array on a
cluster, each its share; what comes last puts the fits together into the results, which do not depend on who made them.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.environment.device import choose_device
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import fits_of, gather_fits, judge_experiment, open_experiment, run_fits
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged, headline
from hews_gpu.files import MANIFEST, disk_full_is_a_user_error, manifest, require_free, write_json
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.registry import BASELINES, require_known
from hews_gpu.runs.evaluate import BY_NEIGHBORHOOD, FORECASTS, areas_with_counts, window_columns, write_results
from hews_gpu.runs.resumable import OfProblem, begin, is_begun, notes_of

__all__ = ["DEFAULT_MODELS", "KIND", "Settings", "backtest"]

KIND = "backtest"
FITS = "fits"
LOCK_S = 300
"""As long as one task waits for another to make the folder."""
DEFAULT_MODELS = (*BASELINES, "stack", "hewsnet")


@dataclass(frozen=True, kw_only=True)
class Settings(OfProblem):
    """What decides the result of a backtest."""

    models: tuple[str, ...] = DEFAULT_MODELS
    """The headline is about the first that is no baseline; of baselines alone, about the last."""
    blocks: int | None = None
    """Test blocks, each with fits of its own; 4, or about one a year of a generated city, unless given."""
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for name in self.models:
            require_known(name, "--models")
        if self.blocks is not None and not 1 <= self.blocks <= 100:
            raise UserError("--blocks", self.blocks, allowed="must be 1..100")

    @property
    def every(self) -> tuple[str, ...]:
        """The models, and what they are measured against."""
        return tuple(dict.fromkeys(("base_rate", CLIMATOLOGY, LEVEL, *self.models)))

    @property
    def model(self) -> str:
        """The one that the headline is about."""
        return next((name for name in self.models if name not in BASELINES), self.models[-1])

    @property
    def plan(self) -> Plan:
        """The rolling origin, by the task of the city file or the default one of a generated city."""
        blocks = self.blocks or self.problem.default_blocks
        if self.problem.prepared is None:
            return Plan(blocks=blocks, seeds=self.seeds)
        task = Task.of_city(open_prepared(self.problem.prepared).city)
        return Plan(task=task, blocks=blocks, seeds=self.seeds)


def backtest(
    settings: Settings,
    out: Path | None = None,
    *,
    jobs: int = 1,
    device: str = "cpu",
    share: tuple[int, int] | None = None,
    force: bool = False,
    resume: bool = False,
) -> dict[str, Any]:
    """Fit, forecast and judge every model on every block.

    Args:
        settings: what is backtested.
        out: folder for ``metrics.json``, ``forecasts.parquet`` and ``forecasts_by_neighborhood.parquet``; nothing is
            kept unless given.
        jobs: fits at a time, each in a process of its own.
        device: of networks.
        share: (i, n): make only every n-th fit from the i-th on, and no results; for the tasks of an array.
        force: replace an older backtest.
        resume: use the fits that are there.

    Returns:
        What ``metrics.json`` holds; a flat summary of a share.

    Raises:
        UserError: the table is too short for the plan, a model cannot be fitted, or `out` may not be written.
    """
    if out is None:
        if force or resume or share is not None:
            raise UserError("--out", allowed="is needed with --force, --resume and --share", remedy="Name a folder")
        with tempfile.TemporaryDirectory(prefix="hews-backtest-") as scratch:
            return backtest(settings, Path(scratch) / KIND, jobs=jobs, device=device)
    if jobs < 1:
        raise UserError("--jobs", jobs, allowed="must be 1 or more")
    device = choose_device(device).device
    problem, plan = settings.problem, settings.plan
    fits = fits_of(settings.every, plan, plan.blocks)
    mine = fits if share is None else fits[share[0] :: share[1]]
    goes_on = resume or share is not None
    if not is_begun(settings, out, kind=KIND, force=force, goes_on=goes_on):
        require_free(out, kind=KIND, force=force)
    experiment = open_experiment(problem, plan)
    with nullcontext() if share is None else _in_turn(out):
        begin(settings, out, kind=KIND, parts=FITS, force=force, goes_on=goes_on)
    try:
        run_fits(problem, plan, mine, out / FITS, jobs=jobs, device=device)
    except KeyboardInterrupt:
        kept = f"{out} keeps the fits that were made"
        raise KeyboardInterrupt(f"stopped; {kept}. Give the same command with --resume to go on.") from None
    if share is not None:
        return {"out": str(out), "fits": len(mine), "of": len(fits)}
    judged = gather_fits(experiment, settings.every, out / FITS)
    result = judge_experiment(experiment, judged)
    metrics = {"kind": KIND, "model": settings.model, **headline(result, settings.model), **result}
    tables = {FORECASTS: _table(experiment, judged)}
    areas = judged[settings.model].areas
    if areas is not None:
        tables[BY_NEIGHBORHOOD] = areas_with_counts(experiment, areas, _names(settings, areas.shape[1]))
    write_results(out, tables, metrics)
    write_json(out / MANIFEST, manifest(KIND, {**notes_of(settings), "state": "done"}))
    return metrics


def _in_turn(out: Path) -> FileLock:
    """Return a lock under which the tasks of an array, which begin together, look for the folder or make it."""
    with disk_full_is_a_user_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(out.with_name(f".{out.name}.lock"), timeout=LOCK_S)


def _table(experiment: Experiment, judged: dict[str, Judged]) -> pa.Table:
    """Return the rows of forecasts.parquet: each forecaster's probabilities, of the first seed."""
    test = experiment.test
    block = np.repeat(np.arange(len(experiment.folds)), [len(fold.test) for fold in experiment.folds])
    columns: dict[str, Any] = {
        **window_columns(test.windows),
        "split": pa.array(["test"] * len(test)),
        "block": block.astype(np.int16),
        **{f"p_{name}": one.p[0] for name, one in judged.items()},
        "y": test.y.astype(np.int8),
    }
    oracle = experiment.oracle()
    return pa.table(columns if oracle is None else {**columns, "p_oracle": oracle})


def _names(settings: Settings, count: int) -> list[str]:
    """Return the neighborhoods' names; those of a generated city are numbers."""
    if settings.problem.prepared is None:
        return [str(n) for n in range(count)]
    return open_prepared(settings.problem.prepared).names
