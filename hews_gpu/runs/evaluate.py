"""`hews evaluate`: forecast every window of every split with a trained model, and judge the forecasts.

All windows are scored, empty ones too, at the prevalence they came with. `forecasts.parquet` holds what was said and
what happened, so that anybody can recompute every number of `metrics.json`.

Shapes: S samples of one split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit

from hews_gpu.arrays import Float64
from hews_gpu.data.events import Prepared
from hews_gpu.evaluation.folds import past_of
from hews_gpu.evaluation.split_scores import Forecasts, judge
from hews_gpu.files import atomic_file, require_free_names, write_json, write_together
from hews_gpu.forecasters.climatology import base_rate
from hews_gpu.progress import step
from hews_gpu.reference.evaluate import LEAKY_FILES, evaluate_leaky
from hews_gpu.runs.folder import load_model, open_run_data, run_recipe
from hews_gpu.runs.inference import corrections, probabilities
from hews_gpu.runs.inputs import Split, open_task

__all__ = ["FORECASTS", "METRICS", "evaluate", "times"]

FORECASTS, METRICS, TRUTH = "forecasts.parquet", "metrics.json", "truth.npz"
JUDGED = "test"


def evaluate(run: Path, *, out: Path | None = None, data: Path | None = None, force: bool = False) -> dict[str, Any]:
    """Judge a trained model: of a leaky run as `evaluate_leaky` does, of any other by its forecasts.

    Args:
        run: folder made by ``hews train``.
        out: folder for ``metrics.json`` and ``forecasts.parquet``; `run` itself unless given.
        data: the prepared folder, where it has moved since training.
        force: replace results that `out` holds already; the run's own always are.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UserError: the run is not trained to its end, its data is gone or another, or `out` may not be written.
    """
    recipe, model = run_recipe(run), load_model(run)
    out = out or run
    names = LEAKY_FILES if recipe.is_leaky else (METRICS, FORECASTS)
    require_free_names(out, names, force=force or out.resolve() == run.resolve())
    prepared = open_run_data(run, data)
    if recipe.is_leaky:
        return evaluate_leaky(model, prepared, recipe, out)
    task = open_task(prepared)
    with step("forecasting", sum(map(len, task.splits.values())), "windows") as bar:
        said = {
            name: probabilities(split, corrections(model, split.feed, lambda tensor: tensor, bar.advance))
            for name, split in task.splits.items()
        }
    forecasts = {name: _forecasts(prepared, task.splits, name, p) for name, p in said.items()}
    city = prepared.city
    metrics = judge(forecasts, judged=JUDGED, stride_s=city.windows.stride_s, seed=city.training.seed)
    for name, found in metrics["splits"].items():
        begin, end = getattr(city.splits, name)
        metrics["splits"][name] = {"begin": begin, "end": end, **found}
    tables = [_table(task.splits[name], said) for name, said in forecasts.items()]
    write_together(out, {FORECASTS: lambda p: _save(tables, p), METRICS: lambda p: write_json(p, metrics)})
    return metrics


def _save(tables: list[pa.Table], path: Path) -> None:
    with atomic_file(path) as partial:
        pq.write_table(pa.concat_tables(tables), partial)


def _forecasts(prepared: Prepared, splits: Mapping[str, Split], name: str, p: Float64) -> Forecasts:
    """A split's forecasts by the model and by everything it is compared with."""
    split = splits[name]
    others = {"base_rate": np.full(len(split), _past_base_rate(prepared, splits, name))}
    if (prepared.folder / TRUTH).is_file():
        from hews_gpu.synthetic import load_truth

        samples = split.samples
        truth = load_truth(prepared.folder / TRUTH)
        others["oracle"] = truth.probability(samples.issue_s, samples.target_begin_s, samples.target_end_s)
    climatology = np.asarray(expit(split.climatology), dtype=np.float64)
    return Forecasts(y=split.samples.y, p=p, p_climatology=climatology, others=others)


def _past_base_rate(prepared: Prepared, splits: Mapping[str, Split], name: str) -> float:
    """Share of windows with a target in all splits that ended before this one began; the first one's own."""
    begin_s, _ = prepared.city.splits.span_s(name)
    past = [split.samples.y[past_of(split.samples.target_end_s, begin_s)] for split in splits.values()]
    known = np.concatenate(past)
    return base_rate(known if len(known) else splits[name].samples.y)


def _table(split: Split, forecasts: Forecasts) -> pa.Table:
    """One split's rows of forecasts.parquet; times are local and carry no zone."""
    samples = split.samples
    columns: dict[str, Any] = {
        "issue_time": times(samples.issue_s),
        "window_start": times(samples.target_begin_s),
        "window_end": times(samples.target_end_s),
        "split": pa.array([split.name] * len(split)),
        "p": forecasts.p,
        "p_climatology": forecasts.p_climatology,
        "y": forecasts.y.astype(np.int8),
    }
    if "oracle" in forecasts.others:
        columns["p_oracle"] = forecasts.others["oracle"]
    return pa.table(columns)


def times(time_s: NDArray[np.int64]) -> pa.Array:
    """Local times, int64 seconds [S], as a column of time stamps without a zone."""
    return pa.array(time_s * 1000, type=pa.int64()).cast(pa.timestamp("ms"))
