"""The folder of a backtest holds what the report and anybody else needs to judge it again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from hews_gpu.evaluation.backtest import Problem
from hews_gpu.report.build import build_report
from hews_gpu.runs.backtest import Settings, backtest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("backtest") / "out"
    backtest(Settings(problem=Problem(preset="strong", years=2, seed=1), models=("hewsnet",), blocks=1), out)
    return out


def test_forecasts_by_neighborhood_stand_beside_the_long_run_rate_and_what_happened(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    table = pd.read_parquet(folder / "forecasts_by_neighborhood.parquet")
    assert list(table) == ["window_start", "neighborhood", "p", "p_long_run", "events"]
    assert len(table) == metrics["windows"] * metrics["places"]["neighborhoods"]
    assert table["events"].sum() == metrics["places"]["events"]
    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    hit = table.groupby("window_start")["events"].sum().to_numpy() > 0
    np.testing.assert_array_equal(hit, forecasts["y"].to_numpy() == 1)


def test_its_report_is_about_the_model_that_was_asked_for(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    assert "<h1>strong</h1>" in page and "Backtest of forecasts" in page and "Oracle gap closed" in page
