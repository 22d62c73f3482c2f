"""`hews evaluate`: forecast every window of every split with a trained model, and judge the forecasts.

All windows are scored, empty ones too, at the prevalence they came with. `forecasts.parquet` holds what was said and
what happened, so that anybody can recompute every number of `metrics.json`.

Shapes: S samples of one split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit

from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.forecast.baselines import base_rate
from hews_gpu.forecast.judgement import Forecasts, judge
from hews_gpu.forecast.protocol import past_of
from hews_gpu.output import atomic_file, disk_full_is_a_user_error, write_json
from hews_gpu.progress import step
from hews_gpu.train.inputs import Split, open_task
from hews_gpu.train.runs import load_model, open_run_data
from hews_gpu.train.scoring import corrections, probabilities

__all__ = ["FORECASTS", "METRICS", "evaluate"]

FORECASTS, METRICS, TRUTH = "forecasts.parquet", "metrics.json", "truth.npz"
JUDGED = "test"
Float64 = NDArray[np.float64]


def evaluate(run: Path, *, out: Path | None = None, data: Path | None = None, force: bool = False) -> dict[str, Any]:
    """Judge a trained model.

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
    model = load_model(run)
    out = out or run
    _require_free(out, force=force or out.resolve() == run.resolve())
    prepared = open_run_data(run, data)
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
    _write(out, task.splits, forecasts, metrics)
    return metrics


def _forecasts(prepared: Prepared, splits: Mapping[str, Split], name: str, p: Float64) -> Forecasts:
    """A split's forecasts by the model and by everything it is compared with."""
    split = splits[name]
    others = {"base_rate": np.full(len(split), _past_base_rate(prepared, splits, name))}
    if (prepared.folder / TRUTH).is_file():
        from hews_gpu.data.synthetic import load_truth

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


def _write(out: Path, splits: Mapping[str, Split], forecasts: Mapping[str, Forecasts], metrics: dict[str, Any]) -> None:
    """Write both files whole, and only then rename them one right after the other, so that they belong together."""
    with disk_full_is_a_user_error(out), _made(out), TemporaryDirectory(dir=out, prefix=".partial-") as folder:
        scratch = Path(folder)
        with atomic_file(scratch / FORECASTS) as partial:
            pq.write_table(pa.concat_tables([_table(splits[name], said) for name, said in forecasts.items()]), partial)
        write_json(scratch / METRICS, metrics)
        for name in (FORECASTS, METRICS):
            (scratch / name).replace(out / name)


def _require_free(out: Path, *, force: bool) -> None:
    """Refuse, before anything takes time, a file, or a folder with results unless `force` is given."""
    if out.exists() and not out.is_dir():
        raise UserError("--out", out, allowed="is a file", remedy="Give a folder")
    found = [name for name in (METRICS, FORECASTS) if (out / name).exists()]
    if found and not force:
        remedy = "Give another folder, or --force to replace the results in it"
        raise UserError("--out", out, allowed=f"holds {' and '.join(found)} already", remedy=remedy)


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """See that a folder is there; what had to be made for it vanishes again if the block leaves it empty."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def _table(split: Split, forecasts: Forecasts) -> pa.Table:
    """One split's rows of forecasts.parquet; times are local and carry no zone."""
    samples = split.samples
    columns: dict[str, Any] = {
        "issue_time": _times(samples.issue_s),
        "window_start": _times(samples.target_begin_s),
        "window_end": _times(samples.target_end_s),
        "split": pa.array([split.name] * len(split)),
        "p": forecasts.p,
        "p_climatology": forecasts.p_climatology,
        "y": forecasts.y.astype(np.int8),
    }
    if "oracle" in forecasts.others:
        columns["p_oracle"] = forecasts.others["oracle"]
    return pa.table(columns)


def _times(time_s: NDArray[np.int64]) -> pa.Array:
    return pa.array(time_s * 1000, type=pa.int64()).cast(pa.timestamp("ms"))
