"""The folder of a judged run or of a backtest, opened: its scores, its forecasts, and the data that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.config import CityConfig
from hews_gpu.errors import UserError
from hews_gpu.files import read_manifest
from hews_gpu.report.result import JUDGE_FIRST, Result, open_data, read_history, read_table
from hews_gpu.report.results_file import require_result
from hews_gpu.units import WEEK_S

__all__ = ["read_folder"]

FORECAST_COLUMNS = ("issue_time", "window_start", "window_end", "split", "y", "p_climatology")
PLACE_COLUMNS = ("window_start", "neighborhood", "p", "p_long_run", "events")


def read_folder(run: Path, metrics: Mapping[str, Any], data: Path | None = None) -> Result:
    """Open a judged run or a backtest, and the prepared folder it came from.

    Args:
        run: the folder.
        metrics: what its metrics.json holds.
        data: the prepared folder, where it is not the one that the run recorded.

    Raises:
        UserError: either is missing or something else, or the run has not been judged.
    """
    manifest = read_manifest(run)
    forecasts = read_table(run / "forecasts.parquet", FORECAST_COLUMNS)
    test = forecasts[forecasts["split"].astype(str) == "test"].sort_values("issue_time").reset_index(drop=True)
    if not len(test):
        raise UserError(
            str(run / "forecasts.parquet"), allowed="holds no forecast of the test split", remedy=JUDGE_FIRST
        )
    prepared = None if "preset" in metrics else open_data(run, manifest, data)
    if prepared is not None and "forecasts" not in metrics:
        metrics = _judged_again(metrics, forecasts, prepared.city)
    require_result(metrics, run / "metrics.json", JUDGE_FIRST)
    places = run / "forecasts_by_neighborhood.parquet"
    return Result(
        title=prepared.city.city.name if prepared else str(metrics["preset"]),
        metrics=metrics,
        test=test,
        places=read_table(places, PLACE_COLUMNS) if places.is_file() else None,
        history=read_history(run / "history.csv"),
        manifest=manifest,
        prepared=prepared,
    )


def _judged_again(metrics: Mapping[str, Any], forecasts: pd.DataFrame, city: CityConfig) -> dict[str, Any]:
    """Judge the forecasts of a run whose metrics.json is older than the result schema."""
    from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK, threshold_for
    from hews_gpu.evaluation.judge import Judged, compare

    lacks = [key for key in ("auc", "windows", "positives", "base_rate", "splits") if metrics.get(key) is None]
    if lacks or "p" not in forecasts:
        raise UserError("metrics.json", allowed=f"lacks {', '.join(lacks) or 'forecasts'}", remedy=JUDGE_FIRST)
    task, stride_s, splits = city.task, city.windows.stride_s, metrics["splits"]
    before, test = (forecasts[forecasts["split"].astype(str) == name] for name in ("validation", "test"))
    y, begin_s = test["y"].to_numpy() == 1, test["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    judged = {}
    for name, column in {"climatology": "p_climatology", "cnn": "p"}.items():
        p, weeks = before[column].to_numpy(dtype=float), max(len(before), 1) * stride_s / WEEK_S
        thresholds = {budget: threshold_for(p, weeks, budget) for budget in BUDGETS_PER_WEEK}
        said = test[column].to_numpy(dtype=float)
        judged[name] = Judged(p=[said], warned={budget: [said >= level] for budget, level in thresholds.items()})
    oracle = test["p_oracle"].to_numpy(dtype=float) if "p_oracle" in test and test["p_oracle"].notna().all() else None
    keys = ("begin", "end", "windows", "positives")
    folds = {name: {key: splits[old][key] for key in keys} for name, old in SPLIT_OF.items()}
    lengths = {key: getattr(task, key) for key in ("history_s", "lead_s", "horizon_s")}
    return {
        "kind": "run",
        "model": "cnn",
        **{key: metrics[key] for key in ("windows", "positives", "base_rate")},
        "protocol": {**lengths, "stride_s": stride_s, "delay_s": 0, "gap_s": 0, "folds": [folds]},
        "forecasts": compare(y, begin_s, stride_s, judged, oracle),
        "parts": splits,
    }


SPLIT_OF = {"train": "train", "calibration": "validation", "test": "test"}
