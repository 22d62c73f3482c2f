"""`hews score`: forecast every window of a prepared table, and the one to come, with a trained run.

No judging: that is `hews evaluate`'s, on the run's own splits. Processes share the maps of a network out in whole
blocks, so that each window goes through it in the same company however many there are: the result is the same file.
Any other forecaster the first process asks alone while the others wait: SLURM ends a step soon after its first task.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Bool, Float64
from hews_gpu.data.coverage import Coverage, coverage_of_events
from hews_gpu.data.events import DOUBTS, Prepared
from hews_gpu.data.windows import Task, Windows, issue_windows, targets_within
from hews_gpu.environment.device import Choice, choose_device
from hews_gpu.errors import UserError
from hews_gpu.files import new_folder, require_free
from hews_gpu.forecasters.base import Forecaster, predictions
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.city import prepared_city
from hews_gpu.forecasters.climatology import Climatology, HourOfWeekMonth
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import log, step
from hews_gpu.runs.evaluate import BY_NEIGHBORHOOD, FORECASTS, areas_table, window_columns
from hews_gpu.runs.run import Run, given, on_city, open_run
from hews_gpu.training.ranks import claim_device, first_rank_reports, process_info

__all__ = ["KIND", "score"]

KIND = "scores"


@dataclass(frozen=True, kw_only=True)
class _Scoring:
    """A run and the table that it is to forecast."""

    forecaster: Forecaster
    prepared: Prepared
    coverage: Coverage
    last_s: int
    """Time of the last row that is covered."""
    catalog: Catalog
    windows: Windows
    climatology: Climatology


def score(
    run: Path, data: Path, out: Path, *, trained_on: Path | None = None, device: str = "auto", force: bool = False
) -> dict[str, Any]:
    """Forecast every window of a prepared table that has its whole history in it.

    Args:
        run: folder made by ``hews train``.
        data: folder made by ``hews prepare``, of the run's city; it may reach further than what was trained on.
        out: folder for ``forecasts.parquet``: issue_time, window_start, window_end, seen (whether training or
            validation saw what happened), p, p_climatology, and y (null where the table does not cover the window); and
            ``forecasts_by_neighborhood.parquet`` of a model that says where.
        trained_on: the prepared folder of the training, if it has moved.
        device: of networks: ``auto``, ``cpu`` or ``cuda``.
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
        opened = open_run(run, data=trained_on, device=own)
        scoring = _open(opened, data)
    if info.is_first:
        log(f"device: {choice}")

    def write(p: Float64, areas: Float64 | None) -> None:
        notes = {"run": str(run.absolute()), "prepared": str(data.absolute())}
        with new_folder(out, kind=KIND, force=force, notes=notes) as folder:
            _write(scoring, p, areas, folder)

    is_network = FORECASTERS[opened.recipe.model].is_network
    asked = scoring.forecaster, scoring.catalog, scoring.windows
    if info.world_size == 1:
        p, areas = _by_network(scoring) if is_network else predictions(*asked)
        write(p, areas)
        return _summary(scoring, p, 1, choice.device, out)
    from hews_gpu.training.distributed import process_group

    with process_group(info, choice if is_network else Choice(device="cpu", why="")) as group:
        both = _by_network(scoring, group.rank, group.size, group.gather) if is_network else None
        with group.raise_on_all_ranks():
            if group.is_first:
                p, areas = both or predictions(*asked)
                write(p, areas)
                return _summary(scoring, p, group.size if is_network else 1, choice.device, out)
    return {}


def _open(run: Run, data: Path) -> _Scoring:
    """Read the table, and see that it goes together with the run."""
    prepared = run.table(data)
    coverage = coverage_of_events(prepared.events)
    if not coverage.rows:
        raise UserError("data folder", prepared.folder, allowed="holds no row", remedy="Prepare a longer table")
    first_s, last_s = coverage.first_and_last(prepared.events.time_s)
    city = prepared_city(prepared, begin_s=first_s, end_s=last_s + 1)
    task = Task.of_city(prepared.city).apart(city.embargo_s)
    calendar = HourOfWeekMonth(run.experiment.city.holidays)
    calendar.fit(*given(run.experiment))
    return _Scoring(
        forecaster=on_city(run.forecaster, city),
        prepared=prepared,
        coverage=coverage,
        last_s=last_s,
        catalog=city.catalog(task.delay_s),
        windows=_windows(prepared, task, first_s, last_s),
        climatology=calendar.fitted,
    )


def _windows(prepared: Prepared, task: Task, first_s: int, last_s: int) -> Windows:
    """Return the windows from a whole history after the first covered incident to a stride after the last."""
    stride_s, anchor_s = task.stride_s, task.anchor_s - task.lead_s
    first_s, last_s = (anchor_s + (time_s - anchor_s) // stride_s * stride_s for time_s in (first_s, last_s))
    windows = issue_windows(first_s, last_s + stride_s + task.lead_s + task.horizon_s, task)
    if len(windows) == 0:
        allowed = f"holds no window with {task.history_s // 3600} hours of history before it"
        raise UserError("data folder", prepared.folder, allowed=allowed, remedy="Prepare a longer table")
    return windows


def _by_network(
    scoring: _Scoring, rank: int = 0, size: int = 1, gather: Callable[[Float64], list[Float64]] = lambda mine: [mine]
) -> tuple[Float64, Float64]:
    """Return what `predictions` does of a network, whose maps the processes share out.

    Args:
        scoring: the run and the table.
        rank: of this process.
        size: how many there are.
        gather: returns what each of them has.
    """
    from hews_gpu.forecasters.cnn import DRAWN_AT_ONCE, CnnForecaster

    forecaster, windows, catalog = scoring.forecaster, scoring.windows, scoring.catalog
    assert isinstance(forecaster, CnnForecaster)
    blocks = -(-len(windows) // DRAWN_AT_ONCE)
    first, last = (blocks * (rank + i) // size * DRAWN_AT_ONCE for i in (0, 1))
    mine = windows.select(np.arange(first, min(last, len(windows))))
    if rank:
        added = forecaster.correction(mine, catalog.delay_s)
    else:
        with step("forecasting", len(mine), "windows" if size == 1 else "windows of the first process") as bar:
            added = forecaster.correction(mine, catalog.delay_s, bar.advance)
    return forecaster.both_corrected(np.concatenate(gather(added)), catalog, windows)


def _write(scoring: _Scoring, p: Float64, areas: Float64 | None, folder: Path) -> None:
    """Write the forecasts, and those by neighborhood."""
    windows, events = scoring.windows, scoring.prepared.events
    is_known = (windows.end_s <= scoring.last_s) & scoring.coverage.holds(windows.begin_s, windows.end_s)
    y = targets_within(events, windows.begin_s, windows.end_s) > 0
    columns = {
        **window_columns(windows),
        "seen": pa.array(_seen(scoring)),
        "p": p,
        "p_climatology": scoring.climatology.probability(windows.begin_s),
        "y": pa.array(y.astype(np.int8), mask=~is_known),
    }
    pq.write_table(pa.table(columns), folder / FORECASTS)
    if areas is not None:
        names = scoring.prepared.names
        pq.write_table(areas_table(windows, areas, names), folder / BY_NEIGHBORHOOD)


def _seen(scoring: _Scoring) -> Bool:
    """Return which windows [S] begin before training and validation had ended."""
    end_s = scoring.prepared.city.splits.span_s("validation")[1]
    return np.asarray(scoring.windows.begin_s < end_s)


def _summary(scoring: _Scoring, p: Float64, processes: int, device: str, out: Path) -> dict[str, Any]:
    """Return what the command prints."""
    return {
        "forecasts": str(out / FORECASTS),
        "device": device,
        "processes": processes,
        "windows": len(scoring.windows),
        "not_seen_before": int((~_seen(scoring)).sum()),
        "last_issue_time": str(np.datetime64(int(scoring.windows.issue_s[-1]), "s")),
        "its_probability": float(p[-1]),
        **({DOUBTS: "; ".join(scoring.prepared.doubts)} if scoring.prepared.doubts else {}),
    }
