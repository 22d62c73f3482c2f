"""`hews audit`: all gates on a prepared folder or a trained run, or on generated cities whose truth is known.

Generated cities are made in a temporary folder, and prepared (and, in full, trained on) by processes of their own: what
reads tables and what trains stay apart.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hews_gpu.audit.chance import beats_the_truth, block_of, null_skill, permuted_gate, strata_gate
from hews_gpu.audit.columns import columns_gate
from hews_gpu.audit.crossing import folds_gate, splits_gate
from hews_gpu.audit.finding import Finding, verdict_of
from hews_gpu.audit.future import AUDITED, forecasts_gate, make_pipeline, maps_gate, model_gate, places_gate
from hews_gpu.audit.planted import PLANTED, Stage, show_planted
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.files import read_manifest, write_json
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.city import City, event_groups, generated_city, whole_city
from hews_gpu.progress import log, step
from hews_gpu.runs.evaluate import FORECASTS
from hews_gpu.runs.folder import open_run_data
from hews_gpu.synthetic import write_city
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["audit", "city_plan", "city_source", "run_gates", "write_audit"]

DELAYS_S = (0, HOUR_S, DAY_S, 7 * DAY_S)
PRESET, TRAINED = "strong", ("null", "strong")
QUICK_YEARS, YEARS, NULL_YEARS, TRAINED_YEARS = 2, 6, 10, 4
Job = tuple[str, Callable[[], Iterable[Finding]]]


def audit(folder: Path | None = None, *, quick: bool = False, planted: bool = False) -> dict[str, Any]:
    """Run the gates.

    Args:
        folder: made by ``hews prepare``, or by ``hews train`` (then its forecasts are audited too); generated cities
            unless given.
        quick: fewer edits, fewer and shorter generated cities, nothing trained.
        planted: plant leaks in a generated city instead, and see that the gates see them.

    Returns:
        ``verdict`` ("pass", "warning" or "fail"), ``findings`` (of each: gate, tested, result, said, figures) and
        ``seconds``; plain data.

    Raises:
        UserError: neither a prepared folder nor a run, or a folder to plant leaks in.
    """
    began = time.perf_counter()
    if planted and folder is not None:
        raise UserError("--planted", folder, allowed="plants leaks in a generated city only", remedy="Leave DIR out")
    with tempfile.TemporaryDirectory(prefix="hews-audit-") as scratch:
        found = _planted(Path(scratch)) if planted else _gates(folder, Path(scratch), quick)
    return {
        "of": "planted leaks" if planted else "generated cities" if folder is None else str(folder),
        "quick": quick,
        "verdict": verdict_of(found),
        "findings": [finding.plain() for finding in found],
        "seconds": round(time.perf_counter() - began, 1),
    }


def write_audit(path: Path, found: dict[str, Any]) -> None:
    """Write what `audit` found as JSON, with who found it and when."""
    from hews_gpu.files import manifest

    write_json(path, {**manifest("audit", {}), **found})


def _planted(scratch: Path) -> list[Finding]:
    stage = Stage(prepare_generated(scratch, PRESET, QUICK_YEARS))
    with step("planting", len(PLANTED), "leaks") as bar:
        return show_planted(stage, bar)


def _gates(folder: Path | None, scratch: Path, quick: bool) -> list[Finding]:
    jobs = _generated_jobs(scratch, quick) if folder is None else _folder_jobs(folder, quick)
    found: list[Finding] = []
    with step("auditing", len(jobs), "steps") as bar:
        for title, job in jobs:
            found += job()
            bar.advance(1, title)
    return found


def _folder_jobs(folder: Path, quick: bool) -> list[Job]:
    """The gates on one folder."""
    kind = read_manifest(folder).get("kind") if folder.is_dir() else None
    if kind == "run":
        return [("forecasts of the run", lambda: run_gates(folder)), *_city_jobs(open_run_data(folder), quick)]
    return _city_jobs(open_prepared(folder), quick)


def _city_jobs(prepared: Prepared, quick: bool) -> list[Job]:
    """The gates on a prepared city."""
    source, plan = city_source(prepared), city_plan(prepared)
    count = 1 if quick else 4
    delays = DELAYS_S[:1] if quick else DELAYS_S
    jobs: list[Job] = [
        ("maps", lambda: [maps_gate(prepared, count=3 * count)]),
        ("model", lambda: [model_gate(prepared, count=count)]),
    ]
    for delay_s in delays:
        delayed = plan.with_task(delay_s=delay_s)
        jobs.append(("forecasts", lambda delayed=delayed: [forecasts_gate(source, delayed, count=count)]))  # type: ignore[misc]
    return [
        *jobs,
        ("places", lambda: [places_gate(source, plan, count=count)]),
        ("columns", lambda: [columns_gate(prepared.folder)]),
        ("twins", lambda: _twins(prepared, source, plan)),
        ("permuted labels", lambda: [permuted_gate(Experiment.open(source, plan))]),
        ("skill", lambda: _skill(source, plan)),
    ]


def city_source(prepared: Prepared) -> City:
    """The table between the begin of the training split and the end of the test split, with each row's event."""
    city = whole_city(prepared)
    return replace(city, group=event_groups(prepared)[prepared.events.time_s < city.end_s])


def city_plan(prepared: Prepared) -> Plan:
    """One test block, the city's test split; the city's own task."""
    city = prepared.city
    begin_s, test_s = city.splits.span_s("train")[0], city.splits.span_s("test")[0]
    task = Task.of_city(city)
    calibration_s = min(Plan().calibration_s, (test_s - begin_s) // 5)
    return Plan(task=task, first_test_s=test_s, blocks=1, calibration_s=calibration_s, seeds=(0,))


def _twins(prepared: Prepared, source: City, plan: Plan) -> list[Finding]:
    samples = make_pipeline(prepared).samples
    found = splits_gate(prepared.events, event_groups(prepared), samples, name=prepared.city.city.name)
    return [found, folds_gate(Experiment.open(source, plan))]


def _skill(source: City, plan: Plan) -> list[Finding]:
    """Gates 3, 4 and 7, as far as they apply: the first two where the truth is known, the last where it is not."""
    rolling = Experiment.open(source, plan)
    judged = forecast_blocks(rolling, AUDITED)
    p = {name: one.p[0] for name, one in judged.items()}
    is_null = source.truth is not None and getattr(source.truth, "preset", "") == "null"
    windows, oracle = rolling.test.windows, rolling.oracle()
    return _judged(source.name, rolling.test.y, windows.begin_s, p, oracle, plan.task.stride_s, is_null=is_null)


def _judged(
    name: str,
    y: NDArray[np.bool_],
    begin_s: NDArray[np.int64],
    p: dict[str, NDArray[np.float64]],
    oracle: NDArray[np.float64] | None,
    stride_s: int,
    *,
    is_null: bool,
) -> list[Finding]:
    if oracle is None:
        return [strata_gate(name, y, begin_s, p)]
    block = block_of(stride_s)
    found = [null_skill(name, y, p, oracle, block)] if is_null else []
    return [*found, beats_the_truth(name, y, p, oracle, block)]


def run_gates(run: Path) -> list[Finding]:
    """Gates 3, 4 and 7 on the test split of a run that has been evaluated."""
    try:
        table = pq.read_table(run / FORECASTS).filter(pa.compute.field("split") == "test")
    except (OSError, pa.ArrowException):
        remedy = f"Make them with 'hews evaluate {run}'"
        raise UserError("DIR", run, allowed="is a run without forecasts", remedy=remedy) from None
    prepared = open_run_data(run)
    columns = {name: table[name].to_numpy() for name in table.column_names if name.startswith("p")}
    p = {"the model": columns["p"], CLIMATOLOGY: columns["p_climatology"]}
    begin_s = table["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    truth = city_source(prepared).truth
    is_null = truth is not None and getattr(truth, "preset", "") == "null"
    y, stride_s = table["y"].to_numpy() > 0, prepared.city.windows.stride_s
    name = f"{prepared.city.city.name} ({run.name})"
    return _judged(name, y, begin_s, p, columns.get("p_oracle"), stride_s, is_null=is_null)


def _generated_jobs(scratch: Path, quick: bool) -> list[Job]:
    """The gates on generated cities: one prepared as a real one is, the others drawn as arrays."""
    city = prepare_generated(scratch, PRESET, QUICK_YEARS if quick else TRAINED_YEARS)
    jobs = _city_jobs(open_prepared(city), quick)
    years = QUICK_YEARS if quick else YEARS
    jobs.append(("as reported", lambda: _as_reported(_drawn(PRESET, years), 1 if quick else 3)))
    others = () if quick else ("spatial", "pairs", "realistic")
    for preset in ("null", *others):
        many = NULL_YEARS if preset == "null" and not quick else years
        jobs.append((preset, lambda preset=preset, many=many: _skill(_drawn(preset, many), Plan(blocks=1, seeds=(0,)))))  # type: ignore[misc]
    if not quick:
        jobs += [(f"train on {name}", lambda name=name: _trained(scratch, name)) for name in TRAINED]  # type: ignore[misc]
    return jobs


def _as_reported(source: City, count: int) -> list[Finding]:
    """Gates 1 and 6 where every row has a delay of its own, of which the longest take a week."""
    plan = Plan(blocks=1, seeds=(0,), as_reported=True)
    return [forecasts_gate(source, plan, count=count), folds_gate(Experiment.open(source, replace(plan, blocks=3)))]


def _drawn(preset: str, years: int) -> City:
    return generated_city(preset, years=years)


def _trained(scratch: Path, preset: str) -> list[Finding]:
    """What the training loop makes of a generated city."""
    folder = scratch / preset / "prepared"
    if not folder.is_dir():
        prepare_generated(scratch, preset, TRAINED_YEARS)
    run = scratch / preset / "run"
    _hews("train", str(folder), "--out", str(run), "--model", "cnn", "--device", "cpu")
    _hews("evaluate", str(run))
    return run_gates(run)


def prepare_generated(scratch: Path, preset: str, years: int) -> Path:
    """Generate a city and prepare it; returns the prepared folder."""
    path = write_city(scratch / preset / "city", preset=preset, years=years)
    _hews("prepare", str(path), "--out", str(scratch / preset / "prepared"))
    return scratch / preset / "prepared"


def _hews(*arguments: str) -> None:
    """Run a command of `hews` in a process of its own; what it prints is shown if it fails."""
    command: Sequence[str] = [sys.executable, "-m", "hews_gpu", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        log(done.stderr)
        raise SystemExit(done.returncode)
