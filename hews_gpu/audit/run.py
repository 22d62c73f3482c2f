"""Run all gates on a prepared folder or a trained run, or on generated cities whose truth is known.

Generated cities are made in a temporary folder, and prepared (and, in full, trained on) by processes of their own: what
reads tables and what trains stay apart.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.audit.chance import beats_the_truth, block_of, null_skill, permuted_gate, strata_gate
from hews_gpu.audit.columns import columns_gate
from hews_gpu.audit.crossing import folds_gate, splits_gate
from hews_gpu.audit.future import AUDITED, NETWORKS, Pipeline, forecasts_gate, maps_gate, model_gate, places_gate
from hews_gpu.audit.gate_result import GateResult, worst
from hews_gpu.audit.planted import ONE_BLOCK, PLANTED, Cities, check_planted
from hews_gpu.data.events import Prepared, open_data_of, open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.files import manifest, read_manifest, write_json
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.city import City, event_groups, generated_city, whole_city
from hews_gpu.progress import log, step
from hews_gpu.runs.evaluate import FORECASTS
from hews_gpu.synthetic import write_city
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["audit", "audited_city", "city_plan", "run_gates", "skill_gates", "write_audit"]

DELAYS_S = (0, HOUR_S, DAY_S, 7 * DAY_S)
PRESET, TRAINED = "strong", ("null", "strong")
QUICK_YEARS, YEARS, NULL_YEARS, TRAINED_YEARS = 2, 6, 10, 4
Check = tuple[str, Callable[[], Iterable[GateResult]]]


def audit(folder: Path | None = None, *, quick: bool = False, planted: bool = False) -> dict[str, Any]:
    """Run the gates.

    Args:
        folder: made by ``hews prepare``, or by ``hews train`` (then its forecasts are audited too); generated cities
            unless given.
        quick: fewer edits, fewer and shorter generated cities, nothing trained.
        planted: plant leaks in a generated city instead, and see that the gates see them.

    Returns:
        ``verdict`` ("pass", "warning" or "fail"), ``results`` (of each: gate, tested, verdict, summary, figures)
        and ``seconds``; plain data.

    Raises:
        UserError: neither a prepared folder nor a run, or a folder to plant leaks in.
    """
    began = time.perf_counter()
    if planted and folder is not None:
        raise UserError("--planted", folder, allowed="plants leaks in a generated city only", remedy="Leave DIR out")
    with tempfile.TemporaryDirectory(prefix="hews-audit-") as scratch:
        results = _planted(Path(scratch)) if planted else _gates(folder, Path(scratch), quick)
    return {
        "of": "planted leaks" if planted else "generated cities" if folder is None else str(folder),
        "quick": quick,
        "verdict": worst(result.verdict for result in results),
        "results": [asdict(result) for result in results],
        "seconds": round(time.perf_counter() - began, 1),
    }


def write_audit(path: Path, audited: dict[str, Any]) -> None:
    """Write what `audit` returned as JSON, with when and by what it was made."""
    write_json(path, {**manifest("audit", {}), **audited})


def _planted(scratch: Path) -> list[GateResult]:
    cities = Cities(prepare_generated(scratch, PRESET, QUICK_YEARS))
    with step("planting", len(PLANTED), "leaks") as bar:
        return check_planted(cities, bar)


def _gates(folder: Path | None, scratch: Path, quick: bool) -> list[GateResult]:
    checks = _generated_checks(scratch, quick) if folder is None else _folder_checks(folder, quick)
    results: list[GateResult] = []
    with step("auditing", len(checks), "steps") as bar:
        for title, check in checks:
            results += check()
            bar.advance(1, title)
    return results


def _folder_checks(folder: Path, quick: bool) -> list[Check]:
    """Return the gates on one folder."""
    kind = read_manifest(folder).get("kind") if folder.is_dir() else None
    if kind == "run":
        return [("forecasts of the run", lambda: run_gates(folder)), *_city_checks(open_data_of(folder), quick)]
    return _city_checks(open_prepared(folder), quick)


def _city_checks(prepared: Prepared, quick: bool) -> list[Check]:
    """Return the gates on a prepared city."""
    city, plan = audited_city(prepared), city_plan(prepared)
    count = 1 if quick else 4
    delays = DELAYS_S[:1] if quick else DELAYS_S
    checks: list[Check] = [
        ("maps", lambda: [maps_gate(prepared, count=3 * count)]),
        ("model", lambda: [model_gate(prepared, count=count)]),
    ]
    for delay_s in delays:
        delayed = plan.with_task(delay_s=delay_s)
        checks.append(("forecasts", lambda delayed=delayed: [forecasts_gate(city, delayed, count=count)]))  # type: ignore[misc]
    return [
        *checks,
        ("places", lambda: [places_gate(city, plan, count=count)]),
        ("columns", lambda: [columns_gate(prepared.folder)]),
        ("twins", lambda: _twins(prepared, city, plan)),
        ("permuted labels", lambda: [permuted_gate(Experiment.open(city, plan))]),
        ("skill", lambda: skill_gates(city, plan)),
    ]


def audited_city(prepared: Prepared) -> City:
    """Return the table between the begin of the training split and the end of the test split, with each row's event."""
    city = whole_city(prepared)
    return replace(city, group=event_groups(prepared)[prepared.events.time_s < city.end_s])


def city_plan(prepared: Prepared) -> Plan:
    """Plan one test block, the city's test split, with the city's own task."""
    city = prepared.city
    begin_s, test_s = city.splits.span_s("train")[0], city.splits.span_s("test")[0]
    task = Task.of_city(city)
    calibration_s = min(Plan().calibration_s, (test_s - begin_s) // 5)
    return Plan(task=task, first_test_s=test_s, blocks=1, calibration_s=calibration_s, seeds=(0,))


def _twins(prepared: Prepared, city: City, plan: Plan) -> list[GateResult]:
    samples = Pipeline(prepared).samples
    splits = splits_gate(prepared.events, event_groups(prepared), samples, name=prepared.city.city.name)
    return [splits, folds_gate(Experiment.open(city, plan))]


def skill_gates(city: City, plan: Plan) -> list[GateResult]:
    """Run gates 3 and 4 where the truth is known, and gate 7 where it is not; where one fails, without each layer."""
    results = _skill_of(city, plan, city.name)
    if worst(one.verdict for one in results) != "pass":
        for layer in city.layers:
            results += _skill_of(city.without_layer(layer.name), plan, f"{city.name} without layer {layer.name}")
    return results


def _skill_of(city: City, plan: Plan, name: str) -> list[GateResult]:
    experiment = Experiment.open(city, plan)
    judged = forecast_blocks(experiment, AUDITED)
    p = {each: one.p[0] for each, one in judged.items()}
    test = experiment.test
    return _judged(city, name, test.y, test.windows.begin_s, p, experiment.oracle(), plan.task.stride_s)


def _judged(
    city: City, name: str, y: Bool, begin_s: Int64, p: dict[str, Float64], oracle: Float64 | None, stride_s: int
) -> list[GateResult]:
    if oracle is None:
        return [strata_gate(name, y, begin_s, p)]
    block = block_of(stride_s)
    against_null = [null_skill(name, y, p, oracle, block)] if getattr(city.truth, "preset", "") == "null" else []
    return [*against_null, beats_the_truth(name, y, p, oracle, block)]


def run_gates(run: Path) -> list[GateResult]:
    """Run gates 3, 4 and 7 on the test split of a run that has been evaluated."""
    try:
        table = pq.read_table(run / FORECASTS).filter(pa.compute.field("split") == "test")
    except (OSError, pa.ArrowException):
        remedy = f"Make them with 'hews evaluate {run}'"
        raise UserError("DIR", run, allowed="is a run without forecasts", remedy=remedy) from None
    prepared = open_data_of(run)
    columns = {name: table[name].to_numpy() for name in table.column_names if name.startswith("p")}
    p = {"the model": columns["p"], CLIMATOLOGY: columns["p_climatology"]}
    begin_s = table["window_start"].to_numpy().astype("datetime64[s]").astype("int64")
    city = audited_city(prepared)
    if city.truth is not None and "p_oracle" not in columns:
        remedy = f"Make them again with 'hews evaluate {run}'"
        raise UserError("DIR", run, allowed="has forecasts without p_oracle, the truth of its city", remedy=remedy)
    y, stride_s = table["y"].to_numpy() > 0, prepared.city.windows.stride_s
    name = f"{prepared.city.city.name} ({run.name})"
    return _judged(city, name, y, begin_s, p, columns.get("p_oracle"), stride_s)


def _generated_checks(scratch: Path, quick: bool) -> list[Check]:
    """Return the gates on generated cities: one prepared as a real one is, the others drawn as arrays."""
    folder = prepare_generated(scratch, PRESET, QUICK_YEARS if quick else TRAINED_YEARS)
    checks = _city_checks(open_prepared(folder), quick)
    years = QUICK_YEARS if quick else YEARS
    checks.append(("as reported", lambda: _as_reported(generated_city(PRESET, years=years), 1 if quick else 3)))
    others = () if quick else ("spatial", "pairs", "realistic")
    for preset in ("null", *others):
        many = NULL_YEARS if preset == "null" and not quick else years
        checks.append((preset, partial(_skill_in, preset, many)))
    if not quick:
        trained = itertools.product(NETWORKS, TRAINED)
        checks += [(f"{model} on {preset}", partial(_trained, scratch, preset, model)) for model, preset in trained]
    return checks


def _skill_in(preset: str, years: int) -> list[GateResult]:
    return skill_gates(generated_city(preset, years=years), ONE_BLOCK)


def _as_reported(city: City, count: int) -> list[GateResult]:
    """Run gates 1 and 6 where every row has a delay of its own, of which the longest take a week."""
    plan = replace(ONE_BLOCK, as_reported=True)
    return [forecasts_gate(city, plan, count=count), folds_gate(Experiment.open(city, replace(plan, blocks=3)))]


def _trained(scratch: Path, preset: str, model: str) -> list[GateResult]:
    """Train a network on a generated city, and audit its forecasts."""
    folder = scratch / preset / "prepared"
    if not folder.is_dir():
        prepare_generated(scratch, preset, TRAINED_YEARS)
    run = scratch / preset / model
    _hews("train", str(folder), "--out", str(run), "--model", model, "--device", "cpu")
    _hews("evaluate", str(run))
    return run_gates(run)


def prepare_generated(scratch: Path, preset: str, years: int) -> Path:
    """Generate a city and prepare it; return the prepared folder."""
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
