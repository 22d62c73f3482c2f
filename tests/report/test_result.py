"""What is missing is named in one line with what to do about it."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.own_files import read_json
from hews_gpu.report.result import JUDGE_FIRST, read_folder


@pytest.fixture
def own_run(run, tmp_path):
    """A copy of the run that a test may break."""
    return shutil.copytree(run, tmp_path / "run")


def opened(run, data=None):
    return read_folder(run, read_json(run / "metrics.json", remedy=JUDGE_FIRST), data)


def refused(run, *words, data=None):
    with pytest.raises(UserError) as caught:
        opened(run, data)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


@pytest.mark.parametrize("name", ["metrics.json", "forecasts.parquet"])
def test_a_run_that_was_not_judged(own_run, name):
    (own_run / name).unlink()
    refused(own_run, name, "does not exist", "Run 'hews evaluate' first.")


@pytest.mark.parametrize("text", ["", "[1, 2]", "{"])
def test_metrics_that_are_no_metrics(own_run, text):
    (own_run / "metrics.json").write_text(text)
    refused(own_run, "metrics.json", "hews evaluate")


def test_metrics_that_lack_a_score(own_run):
    metrics = json.loads((own_run / "metrics.json").read_text())
    del metrics["forecasts"]["hewsnet"]["auc"]
    (own_run / "metrics.json").write_text(json.dumps(metrics))
    refused(own_run, "metrics.json", "forecasts.hewsnet.auc: is missing", "hews evaluate")


def test_forecasts_that_are_no_table(own_run):
    (own_run / "forecasts.parquet").write_bytes(b"no table")
    refused(own_run, "forecasts.parquet", "cannot be read")


def test_forecasts_without_a_column(own_run):
    table = pd.read_parquet(own_run / "forecasts.parquet").drop(columns="p_climatology")
    table.to_parquet(own_run / "forecasts.parquet")
    refused(own_run, "lacks p_climatology")


def test_forecasts_without_a_test_split(own_run):
    table = pd.read_parquet(own_run / "forecasts.parquet")
    table[table["split"] != "test"].to_parquet(own_run / "forecasts.parquet")
    refused(own_run, "no forecast of the test split")


def test_a_table_by_neighborhood_without_a_column(own_run):
    path = own_run / "forecasts_by_neighborhood.parquet"
    pd.read_parquet(path).drop(columns="p_long_run").to_parquet(path)
    refused(own_run, "lacks p_long_run")


def test_a_run_that_names_no_data(own_run, prepared):
    (own_run / "hews.json").write_text('{"kind": "run"}')
    refused(own_run, "--data")
    assert opened(own_run, prepared).prepared.folder == prepared


def test_data_that_has_moved(own_run, tmp_path):
    manifest = json.loads((own_run / "hews.json").read_text()) | {"prepared": str(tmp_path / "gone")}
    (own_run / "hews.json").write_text(json.dumps(manifest))
    refused(own_run, "gone", "does not exist")


def test_the_older_key_of_the_manifest_is_understood(own_run, prepared):
    manifest = json.loads((own_run / "hews.json").read_text())
    manifest["data"] = manifest.pop("prepared")
    (own_run / "hews.json").write_text(json.dumps(manifest))
    assert opened(own_run).prepared.folder == prepared


def test_data_beside_the_run_is_found_after_both_have_moved(own_run, prepared, tmp_path):
    manifest = json.loads((own_run / "hews.json").read_text())
    manifest |= {"prepared": "/gone/for/good", "prepared_from_run": "../moved"}
    (own_run / "hews.json").write_text(json.dumps(manifest))
    shutil.copytree(prepared, tmp_path / "moved")
    assert opened(own_run).prepared.folder.resolve() == (tmp_path / "moved").resolve()


def test_other_data_than_it_was_trained_on(own_run, prepared, tmp_path):
    other = shutil.copytree(prepared, tmp_path / "other")
    incidents = pd.read_parquet(other / "incidents.parquet")
    incidents.iloc[1:].to_parquet(other / "incidents.parquet")
    refused(own_run, "is not the data", "was trained on", data=other)
