"""One judged set of forecasts, which is what all sections are made from: a run, a backtest, or one source of a file.

Its scores are in the one result schema. Beside them a folder may hold the forecasts of every window, those of every
neighborhood, the history of the training, and the name of the prepared folder; whatever is not there is None or empty,
and the sections that need it are left out.

Shapes: S windows, E incidents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.arrays import Bool, Float64
from hews_gpu.data.events import Prepared, open_data_of
from hews_gpu.errors import UserError
from hews_gpu.evaluation.judge import too_little
from hews_gpu.evaluation.vintages import SCHEMA, VINTAGES, in_words
from hews_gpu.files import read_history, read_manifest
from hews_gpu.own_files import read_json
from hews_gpu.report.results_file import GAIN, require_result
from hews_gpu.report.significance import BASE_RATE, CLIMATOLOGY, Comparison

__all__ = ["JUDGE_FIRST", "Result", "read_folder", "read_table"]

JUDGE_FIRST = "Run 'hews evaluate' first"
COMPARE_AGAIN = "Run 'hews compare-vintages' again"
LEADTIME_AGAIN = "Run 'hews leadtime' again, or remove its folder from the run"
OVER_LEADS = Path("leadtime") / "leadtime.json"
FORECAST_COLUMNS = ("issue_time", "window_start", "window_end", "split", "y", "p_climatology")
AGAINST = {"forecasts": {"*": {"against": {"*": GAIN}}}}
LEADTIME_SCHEMA = {
    "fingerprint": str,
    "points": [{"horizon_s": int, "lead_s": int, "too_little": [str], **AGAINST, "places?": AGAINST}],
}
PLACE_COLUMNS = ("window_start", "neighborhood", "p", "p_long_run", "events")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Scores, and the tables and folders that belong to them."""

    title: str
    metrics: Mapping[str, Any]
    test: pd.DataFrame | None = None  # the test windows in order of time
    places: pd.DataFrame | None = None  # the same by neighborhood
    history: pd.DataFrame = field(default_factory=pd.DataFrame)  # one row per epoch
    manifest: Mapping[str, Any] = field(default_factory=dict)
    vintages: str = ""  # how two vintages of the table agree
    prepared: Prepared | None = None  # with the city file that the run was trained with
    quality: Mapping[str, Any] = field(default_factory=dict)  # what the preparation counted
    leadtime: Mapping[str, Any] = field(default_factory=dict)  # what `hews leadtime` found, where the run holds it

    @property
    def forecasts(self) -> Mapping[str, Any]:
        """Scores by forecaster."""
        scores: Mapping[str, Any] = self.metrics["forecasts"]
        return scores

    @cached_property
    def shown(self) -> Mapping[str, Any]:
        """Those that figures show: the base rate is so far off that it would squeeze the others into a corner."""
        return {name: one for name, one in self.forecasts.items() if name != BASE_RATE or name == self.best}

    @cached_property
    def comparison(self) -> Comparison:
        """Who beats whom; about the model that the result names, where it names one."""
        model = str(self.metrics.get("model", ""))
        return Comparison(self.forecasts, model if model in self.forecasts else "", too_little(self.metrics))

    @property
    def best(self) -> str:
        """The forecaster that the page is about."""
        return self.comparison.best

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column of `test` of each forecaster that it holds, but for the base rate."""
        there = () if self.test is None else self.test.columns
        columns = {name: f"p_{name}" for name in self.shown if f"p_{name}" in there}
        return {**columns, self.best: "p"} if "p" in there else columns

    @cached_property
    def y(self) -> Bool:
        """[S] whether a target incident followed."""
        assert self.test is not None
        return np.asarray(self.test["y"].to_numpy() == 1)

    def p(self, names: Sequence[str] = ()) -> dict[str, Float64]:
        """Return the probabilities [S] of these forecasters, or of all, as far as they are known."""
        if self.test is None:
            return {}
        chosen = {name: column for name, column in self.columns.items() if not names or name in names}
        return {name: self.test[column].to_numpy(dtype=float) for name, column in chosen.items()}

    @property
    def main(self) -> tuple[str, ...]:
        """The forecasters that figures with little room show."""
        return (CLIMATOLOGY, self.best) if self.best != CLIMATOLOGY else (CLIMATOLOGY,)


def read_folder(run: Path, metrics: Mapping[str, Any], data: Path | None = None) -> Result:
    """Open a judged run or a backtest, and the prepared folder that it recorded or that `data` names.

    Raises:
        UserError: either is missing or something else, or the run has not been judged.
    """
    manifest = read_manifest(run)
    require_result(metrics, run / "metrics.json", JUDGE_FIRST)
    forecasts = read_table(run / "forecasts.parquet", FORECAST_COLUMNS)
    test = forecasts[forecasts["split"].astype(str) == "test"].sort_values("issue_time").reset_index(drop=True)
    if not len(test):
        allowed = "holds no forecast of the test split"
        raise UserError(str(run / "forecasts.parquet"), allowed=allowed, remedy=JUDGE_FIRST)
    prepared = None if "preset" in metrics else open_data_of(run, data)
    places, vintages = run / "forecasts_by_neighborhood.parquet", run / VINTAGES
    return Result(
        title=prepared.city.city.name if prepared else str(metrics["preset"]),
        metrics=metrics,
        test=test,
        places=read_table(places, PLACE_COLUMNS) if places.is_file() else None,
        history=pd.DataFrame(read_history(run)),
        manifest=manifest,
        vintages=in_words(read_json(vintages, SCHEMA, remedy=COMPARE_AGAIN)) if vintages.is_file() else "",
        prepared=prepared,
        quality=prepared.quality if prepared else {},
        leadtime=_read_leadtime(run / OVER_LEADS, manifest.get("data_fingerprint")),
    )


def _read_leadtime(file: Path, fingerprint: Any) -> dict[str, Any]:
    """Return what `hews leadtime` found with ``--out RUN/leadtime``; nothing where it was not run.

    Raises:
        UserError: it is of other data, or no whole result.
    """
    if not file.is_file():
        return {}
    content: dict[str, Any] = read_json(file, LEADTIME_SCHEMA, remedy=LEADTIME_AGAIN)
    if content["fingerprint"] != fingerprint:
        raise UserError(str(file), allowed="is of other data than the run", remedy=LEADTIME_AGAIN)
    return content


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table that `hews evaluate` writes and check that it has what the figures need."""
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(str(path), allowed="does not exist", remedy=JUDGE_FIRST) from None
    except (OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=JUDGE_FIRST) from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise UserError(str(path), allowed=f"lacks {', '.join(missing)}", remedy=JUDGE_FIRST)
    return table
