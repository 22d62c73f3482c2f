"""`hews evaluate`: forecast every window of every split with a trained run, and judge the test split's forecasts.

All windows are scored, empty ones too, at the prevalence they came with. `forecasts.parquet` holds what was forecast
and what happened, so that anybody can recompute every number of `metrics.json`.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Float64, Int64
from hews_gpu.data.events import open_data_of
from hews_gpu.data.windows import Windows
from hews_gpu.environment.device import choose_device
from hews_gpu.evaluation.backtest import Forecasts, judge_experiment, with_thresholds
from hews_gpu.evaluation.folds import PARTS, Experiment
from hews_gpu.evaluation.judge import Judged, headline
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.evaluation.places import LONG_RUN, baseline_areas
from hews_gpu.files import require_free_names, write_json, write_together
from hews_gpu.forecasters.base import LEVEL, Forecaster, Setting, predictions
from hews_gpu.forecasters.catalog import area_counts
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import REFERENCES
from hews_gpu.forecasters.stack import Stack
from hews_gpu.progress import step
from hews_gpu.reference import LEAKY_FILES
from hews_gpu.runs.folder import METRICS, load_network, run_recipe
from hews_gpu.runs.run import PARTS_OF, given, open_run

__all__ = [
    "BY_NEIGHBORHOOD",
    "FORECASTS",
    "areas_table",
    "areas_with_counts",
    "evaluate",
    "times",
    "window_columns",
    "write_results",
]

FORECASTS, BY_NEIGHBORHOOD = "forecasts.parquet", "forecasts_by_neighborhood.parquet"
RESULTS = tuple(dict.fromkeys((METRICS, FORECASTS, BY_NEIGHBORHOOD, *LEAKY_FILES)))


def evaluate(
    run: Path, *, out: Path | None = None, data: Path | None = None, device: str = "cpu", force: bool = False
) -> dict[str, Any]:
    """Judge a trained run: of a leaky run as `evaluate_leaky` does, of any other by its forecasts.

    Args:
        run: folder made by ``hews train``.
        out: folder for ``metrics.json``, ``forecasts.parquet`` and, of a model that says where,
            ``forecasts_by_neighborhood.parquet``; `run` itself unless given.
        data: the prepared folder, where it has moved since training.
        device: of networks: auto, cpu or cuda.
        force: replace results that `out` holds already; the run's own always are.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UserError: the run is not trained to its end, its data is gone or another, or `out` may not be written.
    """
    recipe = run_recipe(run)
    out = out or run
    require_free_names(out, RESULTS, force=force or out.resolve() == run.resolve())
    if recipe.is_leaky:
        from hews_gpu.reference.evaluate import evaluate_leaky  # loads torch

        leaky = evaluate_leaky(load_network(run), open_data_of(run, data), recipe, out)
        _remove_older(out, LEAKY_FILES)
        return leaky
    opened = open_run(run, data=data, device=choose_device(device).device)
    experiment = opened.experiment
    forecasters = {**_references(experiment), recipe.model: opened.forecaster}
    p, where = dict[str, dict[str, Float64]](), dict[str, Float64 | None]()
    with step("forecasting", len(forecasters), "forecasters") as bar:
        for name, forecaster in forecasters.items():
            p[name], where[name] = _by_part(experiment, forecaster, with_areas=name in (LEVEL, recipe.model))
            bar.advance(1, name)
    areas = where[recipe.model]
    judged = {name: _judged(experiment, each, None if areas is None else where[name]) for name, each in p.items()}
    result = judge_experiment(experiment, judged)
    metrics = {
        "kind": "run",
        "model": recipe.model,
        **headline(result, recipe.model),
        **result,
        **_tried(opened.forecaster),
        "parts": _parts(experiment, p[recipe.model]),
    }
    tables = {FORECASTS: _table(experiment, p, recipe.model)}
    if areas is not None:
        neighborhoods = opened.prepared.names
        tables[BY_NEIGHBORHOOD] = areas_with_counts(experiment, areas, neighborhoods)
    write_results(out, tables, metrics)
    _remove_older(out, (METRICS, *tables))
    return metrics


def _tried(forecaster: Forecaster) -> dict[str, Any]:
    """Return what each expert of a stack added when it was fitted; of other forecasters nothing."""
    if not isinstance(forecaster, Stack):
        return {}
    return {"experts": [asdict(gain) | {"says": gain.says()} for gain in forecaster.fitted.gains]}


def write_results(out: Path, tables: Mapping[str, pa.Table], metrics: Mapping[str, Any]) -> None:
    """Write tables by file name and ``metrics.json``, all of them or none."""
    writers = {name: partial(pq.write_table, table) for name, table in tables.items()}
    write_together(out, {**writers, METRICS: lambda path: write_json(path, metrics)})


def _remove_older(out: Path, written: Iterable[str]) -> None:
    """Remove the results that are not of the run just evaluated."""
    for name in set(RESULTS) - set(written):
        (out / name).unlink(missing_ok=True)


def _references(experiment: Experiment) -> dict[str, Forecaster]:
    """Fit what every run is compared with."""
    fitted, parts = {}, given(experiment)
    for name, entry in REFERENCES.items():
        fitted[name] = entry.make(Setting(city=experiment.city))
        fitted[name].fit(*parts)
    return fitted


def _by_part(
    experiment: Experiment, forecaster: Forecaster, *, with_areas: bool
) -> tuple[dict[str, Float64], Float64 | None]:
    """Return a forecaster's probabilities of each part's windows, forecast apart, and of the test's by neighborhood."""
    fold, catalog = experiment.folds[0], experiment.catalog
    each = {part: experiment.all.windows.select(getattr(fold, part)) for part in PARTS}
    p, areas = dict[str, Float64](), None
    for part, windows in each.items():
        if part == "test" and with_areas:
            p[part], areas = predictions(forecaster, catalog, windows)
        else:
            p[part] = forecaster.predict(catalog, windows)
    return p, areas


def _judged(experiment: Experiment, p: Mapping[str, Float64], areas: Float64 | None) -> Judged:
    forecasts = Forecasts(calibration=p["calibration"], test=p["test"], areas=areas)
    return with_thresholds(experiment.plan, [[forecasts]])


def _parts(experiment: Experiment, p: Mapping[str, Float64]) -> dict[str, Any]:
    """Return the model's plain scores on what it has learned from, which are no measure of skill."""
    fold, scores = experiment.folds[0], {}
    for part in ("train", "calibration"):
        y = experiment.all.y[getattr(fold, part)]
        scores[PARTS_OF[part]] = {
            "windows": len(y),
            "positives": int(y.sum()),
            "log_loss_bits": float(log_loss_each_bits(y, p[part]).mean()),
            "auc": roc_auc(y, p[part]) if 0 < y.sum() < len(y) else None,
        }
    return scores


def _table(experiment: Experiment, p: Mapping[str, Mapping[str, Float64]], model: str) -> pa.Table:
    """Return the rows of forecasts.parquet; times are local and carry no zone."""
    tables = []
    for part in PARTS:
        outcomes = experiment.part(getattr(experiment.folds[0], part))
        oracle = experiment.city.oracle(outcomes.windows, experiment.plan.task.delay_s)
        columns: dict[str, Any] = {
            **window_columns(outcomes.windows),
            "split": pa.array([PARTS_OF[part]] * len(outcomes)),
            "p": p[model][part],
            **{f"p_{name}": each[part] for name, each in p.items() if name in REFERENCES},
            "y": outcomes.y.astype(np.int8),
        }
        tables.append(pa.table(columns if oracle is None else {**columns, "p_oracle": oracle}))
    return pa.concat_tables(tables)


def areas_with_counts(experiment: Experiment, areas: Float64, neighborhoods: list[str]) -> pa.Table:
    """Return the test windows' `areas_table`, with the long-run rate's probabilities and what happened beside it."""
    windows = experiment.test.windows
    more = {
        "p_long_run": baseline_areas(experiment, (LONG_RUN,))[LONG_RUN],
        "events": area_counts(experiment.catalog, windows),
    }
    return areas_table(windows, areas, neighborhoods, more)


def areas_table(
    windows: Windows, areas: Float64, neighborhoods: list[str], more: Mapping[str, Any] | None = None
) -> pa.Table:
    """Return one row per window and neighborhood, with probabilities [S, N] and `more` columns [S, N] by name."""
    index = np.tile(np.arange(len(neighborhoods), dtype=np.int32), len(windows))
    columns = {
        "window_start": times(np.repeat(windows.begin_s, len(neighborhoods))),
        "neighborhood": pa.DictionaryArray.from_arrays(pa.array(index), pa.array(neighborhoods)),
        "p": areas.ravel(),
    }
    return pa.table({**columns, **{name: values.ravel() for name, values in (more or {}).items()}})


def window_columns(windows: Windows) -> dict[str, pa.Array]:
    """Return when each forecast is issued and its window begins and ends."""
    return {
        "issue_time": times(windows.issue_s),
        "window_start": times(windows.begin_s),
        "window_end": times(windows.end_s),
    }


def times(time_s: Int64) -> pa.Array:
    """Return local times, int64 seconds [S], as a column of time stamps without a zone."""
    return pa.array(time_s * 1000, type=pa.int64()).cast(pa.timestamp("ms"))
