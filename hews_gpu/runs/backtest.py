"""`hews backtest`: the rolling origin on a prepared table or a generated city, in a folder that can be filled in parts.

The folder holds one file per fit, `fits/`. One process fills it, several side by side, or the tasks of an array on a
cluster, each its share; what comes last puts the fits together into the results, which do not depend on who made them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem, fits_of, gather_fits, judge_experiment, run_fits
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged, headline
from hews_gpu.files import (
    MANIFEST,
    atomic_file,
    disk_full_is_a_user_error,
    manifest,
    read_manifest,
    require_free,
    write_json,
    write_together,
)
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.registry import BASELINES, require_known
from hews_gpu.runs.evaluate import BY_NEIGHBORHOOD, FORECASTS, METRICS, areas_with_counts, window_columns, write_table
from hews_gpu.runs.folder import CITY

__all__ = ["DEFAULT_MODELS", "KIND", "Settings", "backtest"]

KIND = "backtest"
FITS = "fits"
LOCK_S = 300
"""As long as one task waits for another to make the folder."""
DEFAULT_MODELS = (*BASELINES, "hewsnet")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the result of a backtest."""

    problem: Problem
    models: tuple[str, ...] = DEFAULT_MODELS
    """The first is the one that the headline is about, unless it is among the baselines: then the last."""
    blocks: int | None = None
    """Test blocks, each with fits of its own; 4, or about one a year of a generated city, unless given."""
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for name in self.models:
            require_known(name)
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
        with tempfile.TemporaryDirectory(prefix="hews-backtest-") as scratch:
            return backtest(settings, Path(scratch) / KIND, jobs=jobs, device=device)
    plan = settings.plan
    fits = fits_of(settings.every, plan, plan.blocks)
    with nullcontext() if share is None else _in_turn(out):
        _claim(settings, out, force=force, resume=resume or share is not None)
    if share is not None:
        mine = fits[share[0] :: share[1]]
        run_fits(settings.problem, plan, mine, out / FITS, jobs=jobs, device=device)
        return {"out": str(out), "fits": len(mine), "of": len(fits)}
    run_fits(settings.problem, plan, fits, out / FITS, jobs=jobs, device=device)
    experiment, judged = gather_fits(settings.problem, plan, settings.every, out / FITS)
    result = judge_experiment(experiment, judged)
    metrics = {"kind": KIND, "model": settings.model, **headline(result["forecasts"][settings.model]), **result}
    tables = {FORECASTS: _table(experiment, judged)}
    areas = judged[settings.model].areas
    if areas is not None:
        tables[BY_NEIGHBORHOOD] = areas_with_counts(experiment, areas, _names(settings, areas.shape[1]))
    writers = {name: (lambda path, table=table: write_table(table, path)) for name, table in tables.items()}
    write_together(out, {**writers, METRICS: lambda path: write_json(path, metrics)})
    write_json(out / MANIFEST, manifest(KIND, {**_notes(settings), "state": "done"}))
    return metrics


def _in_turn(out: Path) -> FileLock:
    """Return a lock under which the tasks of an array, which begin together, look for the folder or make it."""
    with disk_full_is_a_user_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(out.with_name(f".{out.name}.lock"), timeout=LOCK_S)


def _claim(settings: Settings, out: Path, *, force: bool, resume: bool) -> None:
    """Make the folder, or see that one that is there was begun with the same settings.

    Raises:
        UserError: it exists and may not be used.
    """
    notes = _notes(settings)
    there = read_manifest(out) if out.is_dir() else {}
    if resume and there.get("kind") == KIND:
        if there.get("settings_digest") != notes["settings_digest"]:
            allowed = "was begun with other settings, data or models"
            raise UserError("--out", out, allowed=allowed, remedy="Give another folder, or --force to replace it")
        return
    require_free(out, kind=KIND, force=force)
    with disk_full_is_a_user_error(out):
        shutil.rmtree(out, ignore_errors=True)
        (out / FITS).mkdir(parents=True)
        if settings.problem.prepared is not None:
            with atomic_file(out / CITY) as partial:
                shutil.copyfile(settings.problem.prepared / CITY, partial)
        write_json(out / MANIFEST, manifest(KIND, {**notes, "state": "running"}))


def _notes(settings: Settings) -> dict[str, Any]:
    """Return what the manifest says of the settings; their digest tells whether fits go together."""
    problem = settings.problem
    content = {**asdict(settings), "problem": {**asdict(problem), "prepared": None}}
    notes: dict[str, Any] = {"settings": json.loads(json.dumps(content))}
    if problem.prepared is not None:
        notes["prepared"] = str(problem.prepared.absolute())
        notes["data_fingerprint"] = open_prepared(problem.prepared).fingerprint
    digest = hashlib.sha256(json.dumps([content, notes.get("data_fingerprint")], sort_keys=True).encode())
    return {**notes, "settings_digest": digest.hexdigest()}


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
    return list(open_prepared(settings.problem.prepared).neighborhoods["name"].astype(str))
