"""The Python interface: what the commands do, for notebooks and programs.

    import hews_gpu as hews

    city = hews.prepare("city.toml", "prepared")            # or hews.open_city("prepared")
    maps = hews.rasterize(city, "2017-06-01", "2017-06-02")  # uint8 [W, H, X, C]
    run = hews.train(city, "run", model="hewsnet")           # or hews.load_run("run")
    run.forecast("2017-06-01T20:00").by_neighborhood
    hews.backtest(city, models=["level", "hewsnet"])["verdict"]

Everything here raises `UserError` where the command would end with one line and exit code 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hews_gpu.arrays import UInt8
from hews_gpu.config import load_city, parse_local_time
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import make_windows
from hews_gpu.environment.device import choose_device
from hews_gpu.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from hews_gpu.runs.run import Run

__all__ = ["backtest", "judge", "load_run", "open_city", "prepare", "rasterize", "train"]

AnyPath = str | PathLike[str]


def prepare(city_file: AnyPath, out: AnyPath, *, force: bool = False, score_only: bool = False) -> Prepared:
    """Read, clean and place every incident of a city file, and open the folder made.

    Args:
        city_file: a TOML file as ``hews init`` writes it.
        out: folder to make.
        force: replace an older one.
        score_only: nothing is to be trained or judged on it, so that the splits may lie anywhere.
    """
    from hews_gpu.data.prepare.command import prepare as run

    run(load_city(Path(city_file)), Path(out), force=force, score_only=score_only)
    return open_city(out)


def open_city(folder: AnyPath) -> Prepared:
    """Open a folder made by ``hews prepare``: its `events`, `neighborhoods` and `city` file."""
    return open_prepared(Path(folder))


def rasterize(city: Prepared, begin: str, end: str, *, style: Literal["reference", "channels"] = "reference") -> UInt8:
    """Draw the map of every window that lies within [begin, end).

    Args:
        city: opened by `open_city`.
        begin: local date or time, such as "2017-06-01".
        end: likewise.
        style: RGB maps, or counts by channel.

    Returns:
        uint8 [W, H, X, C], one map per window of the city file's grid, in order of time.
    """
    from hews_gpu.raster.rasterizer import channels_rasterizer, reference_rasterizer

    if style not in ("reference", "channels"):
        raise UserError("style", style, allowed="must be reference or channels")
    rasterizer = reference_rasterizer(city) if style == "reference" else channels_rasterizer(city, steps=1)
    windows = make_windows(
        city.events.time_s if style == "reference" else rasterizer.shown_s,
        begin_s=parse_local_time("begin", begin),
        end_s=parse_local_time("end", end),
        length_s=city.city.windows.length_s,
        stride_s=city.city.windows.stride_s,
        anchor_s=city.city.windows.anchor_s,
    )
    return np.asarray(rasterizer.maps(windows.pairs if style == "reference" else windows.pairs[:, None, :]))


def train(city: Prepared, out: AnyPath, *, model: str | None = None, device: str = "auto", force: bool = False) -> Run:
    """Fit a forecaster to the city file's splits, and open the run made.

    Args:
        city: opened by `open_city`.
        out: folder of the run.
        model: stack, the default, hewsnet, cnn, boosting, counts, hawkes, level, climatology or base_rate.
        device: of networks: auto, cpu or cuda.
        force: replace an older run.
    """
    from hews_gpu.runs.train import train as run

    run(city.folder, Path(out), model=model, device=device, force=force)
    return load_run(out)


def load_run(folder: AnyPath, *, device: str = "cpu") -> Run:
    """Open a trained run, whose networks use a device: auto, cpu or cuda.

    Its `forecast` says what is to be expected at any issue time, its `evaluate` how good that is.
    """
    from hews_gpu.runs.run import open_run

    return open_run(Path(folder), device=choose_device(device).device)


def backtest(
    city: Prepared, models: Sequence[str] = (), *, blocks: int = 4, jobs: int = 1, device: str = "cpu"
) -> dict[str, Any]:
    """Judge forecasters by a rolling origin on the city's table.

    Args:
        city: opened by `open_city`.
        models: names as of `train`; the baselines and HewsNet unless given.
        blocks: test blocks, each with fits of its own.
        jobs: fits at a time, each in a process of its own.
        device: of networks.

    Returns:
        Scores of every forecaster, against the calendar and against the recent level, with a verdict on each.
    """
    from hews_gpu.evaluation.backtest import Problem
    from hews_gpu.runs.backtest import DEFAULT_MODELS, Settings
    from hews_gpu.runs.backtest import backtest as run

    problem = Problem(prepared=city.folder)
    settings = Settings(problem=problem, models=tuple(models) or DEFAULT_MODELS, blocks=blocks)
    return run(settings, jobs=jobs, device=device)


def judge(forecasts: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Score forecasts of the same windows, such as the test rows of a run's ``forecasts.parquet``.

    Args:
        forecasts: `window_start`, `y` (0 or 1) and a column per forecast, each called ``p`` or ``p_NAME``, with
            ``p_climatology`` among them; in order of time, one row per window.

    Returns:
        Every score of every forecast, by its name.

    Raises:
        UserError: a column is missing, an outcome or a probability is none, or windows repeat.
    """
    from hews_gpu.evaluation.judge import Judged, compare

    needed = {"window_start", "y", "p_climatology"}
    if missing := needed - set(forecasts.columns):
        raise UserError("forecasts", sorted(missing), allowed="columns are missing", remedy="Give a forecasts.parquet")
    names = [name for name in forecasts.columns if name == "p" or name.startswith("p_")]
    begin_s = forecasts["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    y, stride_s = forecasts["y"].to_numpy(np.float64, na_value=np.nan), np.diff(begin_s)
    if set(np.unique(y)) != {0.0, 1.0}:
        allowed = "must be 0 or 1 in every row, and not the same in all"
        raise UserError("forecasts y", allowed=allowed, remedy="Leave out the windows whose outcome is not known")
    if not (stride_s > 0).all():
        raise UserError("forecasts window_start", allowed="must rise from row to row: one row per window, in order")
    p = {name: forecasts[name].to_numpy(np.float64, na_value=np.nan) for name in names}
    for name, values in p.items():
        if not ((values >= 0) & (values <= 1)).all():
            raise UserError(f"forecasts {name}", allowed="must hold probabilities, 0 to 1, in every row")
    oracle = p.pop("p_oracle", None)
    judged = {name.removeprefix("p_"): Judged(p=[values], warned={}) for name, values in p.items()}
    return compare(y > 0, begin_s, int(np.median(stride_s)), judged, oracle)
