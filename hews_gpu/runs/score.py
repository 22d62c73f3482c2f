"""`hews score`: what a trained run says of every window of a prepared table, and of the one to come.

No judging: that is `hews evaluate`'s, on the run's own splits. Processes share the windows out in whole blocks, so that
each window goes through the model in the same company however many there are: the result is the same file.

Shapes: S samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from hews_gpu.arrays import Float64
from hews_gpu.config import load_city
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Samples, make_samples
from hews_gpu.environment.device import choose_device
from hews_gpu.errors import UserError
from hews_gpu.evaluation.folds import SPLITS
from hews_gpu.feed.batch import MapSource
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.feeds import drawn_by
from hews_gpu.files import new_folder, require_free
from hews_gpu.progress import log, step
from hews_gpu.raster.rasterizer import channels_rasterizer
from hews_gpu.runs import folder as runs
from hews_gpu.runs.evaluate import FORECASTS, times
from hews_gpu.runs.inference import DRAWN_AT_ONCE, corrections
from hews_gpu.runs.inputs import climatologies_of
from hews_gpu.train.distributed import ProcessGroup, claim_device, first_rank_reports, process_group, process_info

__all__ = ["KIND", "score"]

KIND = "scores"


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A run and the table that it is to forecast."""

    model: nn.Module
    prepared: Prepared
    samples: Samples
    logit: Float64  # [S] the climatology's log-odds


def score(
    run: Path, data: Path, out: Path, *, trained_on: Path | None = None, device: str = "auto", force: bool = False
) -> dict[str, Any]:
    """Forecast every window of a prepared table that has its whole history in it.

    Args:
        run: folder made by ``hews train``.
        data: folder made by ``hews prepare``, of the run's city; it may reach further than what was trained on.
        out: folder for ``forecasts.parquet``: issue_time, window_start, window_end, seen (whether training or
            validation saw what happened), p, p_climatology, and y (null where the table ends before the window).
        trained_on: the prepared folder of the training, if it has moved: the climatology is fitted on it.
        device: ``auto``, ``cpu`` or ``cuda``.
        force: replace older scores.

    Returns:
        A flat summary; empty on all processes but the first.

    Raises:
        UserError: the run is not trained to its end or makes no forecasts, the table does not fit it or is too short.
    """
    info = process_info(None)
    with first_rank_reports(info):
        choice = choose_device(device)
        own = claim_device(info, choice)
        require_free(out, kind=KIND, force=force)
        opened = _open(run, data, trained_on)
    with process_group(info, choice, "32-true") as group:
        if group.is_first:
            log(f"device: {choice}")
        every = np.concatenate(group.gather(_corrections(opened, own, group)))
        p = np.asarray(expit(opened.logit + every), dtype=np.float64)
        with group.raise_on_all_ranks():
            if group.is_first:
                notes = {"run": str(run.absolute()), "prepared": str(data.absolute())}
                with new_folder(out, kind=KIND, force=force, notes=notes) as folder:
                    pq.write_table(_table(opened, p), folder / FORECASTS)
        return _summary(opened, p, group.size, choice.device, out) if group.is_first else {}


def _open(run: Path, data: Path, trained_on: Path | None) -> _Open:
    """Read everything, and see that it goes together."""
    model = runs.load_model(run)
    if runs.run_recipe(run).is_leaky:
        remedy = "Train with a recipe of protocol forecast"
        raise UserError("run folder", run, allowed="is of a leaky recipe, which makes no forecasts", remedy=remedy)
    trained = runs.open_run_data(run, trained_on)
    prepared = replace(open_prepared(data), city=load_city(run / runs.CITY))
    here, there = prepared.neighborhoods.total_bounds, trained.neighborhoods.total_bounds
    if prepared.city.map.bounds == "auto" and not np.array_equal(here, there):
        remedy = "Prepare it with the polygons of the run's city, or train with bounds of your own"
        raise UserError("[map] bounds", "auto", allowed=f"shows another area in {data} than in training", remedy=remedy)
    samples = _samples(prepared)
    return _Open(model=model, prepared=prepared, samples=samples, logit=_climatology(trained, samples))


def _samples(prepared: Prepared) -> Samples:
    """Every issue time from a whole history after the stretch of the first incident to the end of the last one's."""
    city, times_s = prepared.city, prepared.events.time_s
    stride_s, anchor_s = city.windows.stride_s, city.windows.anchor_s
    ahead_s = city.task.lead_s + city.task.horizon_s
    found = None
    if len(times_s):
        first_s, last_s = (anchor_s + (int(times_s[i]) - anchor_s) // stride_s * stride_s for i in (0, -1))
        found = make_samples(prepared.events, city, first_s, last_s + stride_s + ahead_s)
    if found is None or len(found) == 0:
        allowed = f"holds no window with {city.task.history_s // 3600} hours of history before it"
        raise UserError("data folder", prepared.folder, allowed=allowed, remedy="Prepare a longer table")
    return found


def _climatology(trained: Prepared, samples: Samples) -> Float64:
    """Log-odds [S] of the climatology that was known when the split began in which a window lies."""
    fitted = climatologies_of(trained)
    logit = fitted[SPLITS[0]].logit(samples.target_begin_s)
    for name in SPLITS[1:]:
        since = samples.target_begin_s >= trained.city.splits.span_s(name)[0]
        logit[since] = fitted[name].logit(samples.target_begin_s[since])
    return np.asarray(logit, dtype=np.float64)


def _corrections(opened: _Open, device: str, group: ProcessGroup) -> Float64:
    """What the model adds for this process's share of the windows: whole blocks, in order."""
    blocks = -(-len(opened.samples) // DRAWN_AT_ONCE)
    first, last = (blocks * (group.rank + i) // group.size * DRAWN_AT_ONCE for i in (0, 1))
    mine = np.arange(first, min(last, len(opened.samples)))
    rasterizer = channels_rasterizer(opened.prepared, backend=drawn_by(device).backend)
    source = MapSource.of_samples(rasterizer, opened.samples, opened.logit).select(mine)
    model = opened.model.to(group.fabric.device)
    if not group.is_first:
        return corrections(model, DirectFeed(source, device=device), group.fabric.to_device)
    with step("forecasting", len(mine), "windows" if group.size == 1 else "windows of the first process") as bar:
        return corrections(model, DirectFeed(source, device=device), group.fabric.to_device, bar.advance)


def _table(opened: _Open, p: Float64) -> pa.Table:
    """The rows of forecasts.parquet."""
    samples, events = opened.samples, opened.prepared.events
    is_known = samples.target_end_s <= int(events.time_s[-1])
    return pa.table(
        {
            "issue_time": times(samples.issue_s),
            "window_start": times(samples.target_begin_s),
            "window_end": times(samples.target_end_s),
            "seen": pa.array(_seen(opened)),
            "p": p,
            "p_climatology": np.asarray(expit(opened.logit), dtype=np.float64),
            "y": pa.array(samples.y.astype(np.int8), mask=~is_known),
        }
    )


def _seen(opened: _Open) -> NDArray[np.bool_]:
    """Which windows begin before training and validation had ended, [S]."""
    end_s = opened.prepared.city.splits.span_s("validation")[1]
    return np.asarray(opened.samples.target_begin_s < end_s)


def _summary(opened: _Open, p: Float64, processes: int, device: str, out: Path) -> dict[str, Any]:
    """What the command prints."""
    samples = opened.samples
    return {
        "forecasts": str(out / FORECASTS),
        "device": device,
        "processes": processes,
        "windows": len(samples),
        "not_seen_before": int((~_seen(opened)).sum()),
        "last_issue_time": str(np.datetime64(int(samples.issue_s[-1]), "s")),
        "its_probability": float(p[-1]),
    }
