"""`hews score`: the forecasts of `hews evaluate`, for any table, the same from any number of processes."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.score import score


@pytest.fixture(scope="module")
def scored(run, prepared, tmp_path_factory):
    """The summary, and the table of forecasts, of the toy run on the data it was trained on."""
    out = tmp_path_factory.mktemp("scored") / "scores"
    return score(run, prepared, out, device="cpu"), pd.read_parquet(out / "forecasts.parquet")


def test_it_says_what_evaluate_judges(run, scored, tmp_path):
    evaluate(run, out=tmp_path)
    judged = pd.read_parquet(tmp_path / "forecasts.parquet").set_index("window_start")
    table = scored[1].set_index("window_start")
    both = judged.join(table.add_suffix("_scored"), how="inner")
    assert len(both) == len(judged)
    np.testing.assert_array_equal(both["p_climatology"], both["p_climatology_scored"])
    np.testing.assert_allclose(both["p"], both["p_scored"], rtol=1e-5)
    known = both["y_scored"].notna()  # the table ends within the last window
    assert list(known) == [True] * (len(both) - 1) + [False]
    np.testing.assert_array_equal(both["y"][known], both["y_scored"][known])
    np.testing.assert_array_equal(both["seen_scored"], both["split"] != "test")


def test_the_last_window_lies_ahead_of_the_table(scored, prepared):
    summary, table = scored
    last = pd.Timestamp(pd.read_parquet(prepared / "incidents.parquet")["time_s"].max(), unit="s")
    assert table["issue_time"].iloc[-1] > last >= table["issue_time"].iloc[-2]
    assert table["y"].isna().sum() == (table["window_end"] > last).sum() > 0
    assert summary["its_probability"] == table["p"].iloc[-1]
    assert summary["windows"] == len(table)


def test_what_comes_later_changes_no_earlier_forecast(run, prepared, toy, tmp_path, scored):
    """A table that ends sooner: forecasts up to there are the same to the bit, though they are other blocks' last."""
    frame = toy.incidents()
    shorter = toy.write(tmp_path / "shorter", frame[frame["time_s"] < toy.begin_s + 12 * toy.week_s])
    out = tmp_path / "scores"
    score(run, shorter, out, trained_on=prepared, device="cpu")
    table = pd.read_parquet(out / "forecasts.parquet")
    whole = scored[1].iloc[: len(table)]
    np.testing.assert_array_equal(table["issue_time"], whole["issue_time"])
    assert (table["issue_time"].max() - pd.Timestamp(toy.begin_s + 12 * toy.week_s, unit="s")).total_seconds() == 0
    np.testing.assert_allclose(table["p"], whole["p"], rtol=1e-6)


def test_two_processes_write_the_same_file(run, prepared, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    for name, before in (("one", ()), ("two", launcher)):
        arguments = ("score", run, prepared, "--out", tmp_path / name, "--device", "cpu")
        command = [sys.executable, *before, "-m", "hews_gpu", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "processes │ 2" in " ".join(done.stdout.replace("\n", " ").split())
    files = [(tmp_path / name / "forecasts.parquet").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_what_does_not_fit_is_refused(run, prepared, toy, tmp_path):
    frame = toy.incidents()
    short = toy.write(tmp_path / "short", frame[frame["time_s"] < toy.begin_s + 3600])
    with pytest.raises(UserError, match="holds no window with 24 hours of history"):
        score(run, short, tmp_path / "a", device="cpu")
    with pytest.raises(UserError, match="exists already"):
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "mine.txt").touch()
        score(run, prepared, tmp_path / "b", device="cpu")
    assert not (tmp_path / "a").exists()


def test_another_area_is_refused(run, prepared, toy, tmp_path):
    import geopandas

    other = toy.write(tmp_path / "other", toy.incidents())
    frame = geopandas.read_parquet(other / "neighborhoods.parquet")
    frame.geometry = frame.geometry.translate(0.01)
    frame.to_parquet(other / "neighborhoods.parquet")
    with pytest.raises(UserError, match="shows another area"):
        score(run, other, tmp_path / "scores", device="cpu")
