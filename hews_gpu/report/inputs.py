"""Everything the report is made from: the judged RUN folder and the PREPARED folder it was trained on.

Both are read once, checked here, and never changed. What may be missing (charts_only.parquet, an oracle, the seconds a
stage took) is None or empty, and its part of the page is left out.

Shapes: E incidents, S issue times of one split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import Events, Prepared, open_prepared
from hews_gpu.errors import UserError
from hews_gpu.files import read_manifest

__all__ = ["JUDGE_FIRST", "Inputs", "open_data", "read_history", "read_inputs", "read_json"]

FORECAST_COLUMNS = ("issue_time", "window_start", "window_end", "split", "p", "p_climatology", "y")
METRIC_KEYS = ("auc", "average_precision", "brier_skill", "log_skill_bits", "base_rate", "windows", "positives")
JUDGE_FIRST = "Run 'hews evaluate' first"


@dataclass(frozen=True)
class Inputs:
    """The two folders, opened."""

    run: Path
    prepared: Prepared  # with the city file that the run was trained with
    metrics: dict[str, Any]
    forecasts: pd.DataFrame
    history: pd.DataFrame  # one row per epoch; empty if the run has no history.csv
    quality: dict[str, Any]
    run_manifest: dict[str, Any]
    prepared_manifest: dict[str, Any]

    @property
    def city(self) -> CityConfig:
        """The city file."""
        return self.prepared.city

    @property
    def events(self) -> Events:
        """The incidents."""
        return self.prepared.events

    @cached_property
    def test(self) -> pd.DataFrame:
        """The forecasts of the test split in order of issue."""
        chosen = self.forecasts[self.forecasts["split"].astype(str) == "test"]
        return chosen.sort_values("issue_time").reset_index(drop=True)

    @property
    def has_oracle(self) -> bool:
        """Whether the best possible forecast is known: only on a synthetic city."""
        return "p_oracle" in self.forecasts and bool(self.test["p_oracle"].notna().all())

    @cached_property
    def months(self) -> npt.NDArray[np.datetime64]:
        """[E] month of each incident."""
        return self.events.time_s.astype("datetime64[s]").astype("datetime64[M]")

    @cached_property
    def charts(self) -> pd.DataFrame | None:
        """The formatting columns joined with is_target, or None: for charts about the table, never for a model."""
        path = self.prepared.folder / "charts_only.parquet"
        if not path.is_file():
            return None
        marks = pd.read_parquet(self.prepared.folder / "incidents.parquet", columns=["row_id", "is_target"])
        return marks.merge(pd.read_parquet(path), on="row_id", how="inner")


def read_inputs(run: Path, data: Path | None = None) -> Inputs:
    """Open a judged run and the prepared folder it came from.

    Args:
        run: a folder made by ``hews train`` and judged by ``hews evaluate``.
        data: the prepared folder, where it is not the one that the run recorded.

    Raises:
        UserError: either is missing or something else, or the run has not been judged.
    """
    if not run.is_dir():
        raise UserError("run folder", run, allowed="does not exist", remedy="Make it with 'hews train DIR --out RUN'")
    manifest = read_manifest(run)
    metrics = read_json(run / "metrics.json", JUDGE_FIRST)
    missing = [key for key in METRIC_KEYS if metrics.get(key) is None]
    if missing:
        raise UserError(str(run / "metrics.json"), allowed=f"lacks {', '.join(missing)}", remedy=JUDGE_FIRST)
    forecasts = _read_forecasts(run / "forecasts.parquet")
    prepared = open_data(run, manifest, data)
    return Inputs(
        run=run,
        prepared=prepared,
        metrics=metrics,
        forecasts=forecasts,
        history=read_history(run / "history.csv"),
        quality=read_json(prepared.folder / "quality.json", "Run 'hews prepare' again"),
        run_manifest=manifest,
        prepared_manifest=read_manifest(prepared.folder),
    )


def open_data(run: Path, manifest: dict[str, Any], data: Path | None) -> Prepared:
    """The data that the run was trained on, with the city file as it was then."""
    folder = data or _recorded_data(run, manifest)
    prepared = open_prepared(folder)
    if manifest.get("data_fingerprint") not in (None, prepared.fingerprint):
        remedy = "Give the folder it was trained on with --data, or train anew"
        raise UserError("--data", folder, allowed=f"is not the data that {run} was trained on", remedy=remedy)
    own = run / "city.toml"
    return replace(prepared, city=load_city(own)) if own.is_file() else prepared


def _recorded_data(run: Path, manifest: dict[str, Any]) -> Path:
    """The prepared folder that the run's manifest names: where it was, or where it lies as seen from the run."""
    named = [manifest.get(key) for key in ("prepared", "data", "prepared_from_run")]
    places = [run / name for name in named if isinstance(name, str)]  # an absolute path stays as it is
    if not places:
        allowed = "has no hews.json that names its prepared folder"
        raise UserError("run folder", run, allowed=allowed, remedy="Give the prepared folder with --data")
    return next((place for place in places if place.is_dir()), places[0])


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object; `remedy` says what to do where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(str(path), allowed="does not exist", remedy=remedy) from None
    except (OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read as JSON ({error})", remedy=remedy) from None
    if not isinstance(content, dict):
        raise UserError(str(path), allowed="must hold a JSON object", remedy=remedy)
    return content


def _read_forecasts(path: Path) -> pd.DataFrame:
    """The forecasts, with what the figures need of them checked."""
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(str(path), allowed="does not exist", remedy=JUDGE_FIRST) from None
    except (OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=JUDGE_FIRST) from None
    missing = [name for name in FORECAST_COLUMNS if name not in table]
    if missing:
        raise UserError(str(path), allowed=f"lacks {', '.join(missing)}", remedy=JUDGE_FIRST)
    if not (table["split"].astype(str) == "test").any():
        raise UserError(str(path), allowed="holds no forecast of the test split", remedy=JUDGE_FIRST)
    return table


def read_history(path: Path) -> pd.DataFrame:
    """One row per epoch; empty where none was kept."""
    if not path.is_file():
        return pd.DataFrame()
    try:
        return pd.read_csv(path)
    except (pd.errors.EmptyDataError, pd.errors.ParserError):
        return pd.DataFrame()
