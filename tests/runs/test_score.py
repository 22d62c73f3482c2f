"""`hews score`: the forecasts of `hews evaluate`, for any table, the same from any number of processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.forecasters.cnn import CnnForecaster
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.run import open_run
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
    """A table that ends sooner: forecasts up to there are the same, though other windows go through the network."""
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
    score(run, prepared, tmp_path / "one", device="cpu")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    arguments = ("score", run, prepared, "--out", tmp_path / "two", "--device", "cpu")
    command = [sys.executable, *launcher, "-m", "hews_gpu", *map(str, arguments)]
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


@pytest.mark.parametrize("model", FORECASTERS)
def test_every_model_says_of_a_window_what_evaluate_judges(trained, prepared, tmp_path, model):
    evaluate(trained(model), out=tmp_path / "judged")
    summary = score(trained(model), prepared, tmp_path / "scores", device="cpu")
    names = ["forecasts.parquet", "forecasts_by_neighborhood.parquet"]
    there = [(tmp_path / folder / names[1]).is_file() for folder in ("judged", "scores")]
    assert there == [model not in ("base_rate", "climatology", "hawkes", "boosting")] * 2
    for name, keys in zip(names[: 1 + there[0]], (["window_start"], ["window_start", "neighborhood"]), strict=False):
        judged, table = (pd.read_parquet(tmp_path / folder / name) for folder in ("judged", "scores"))
        both = judged.merge(table, on=keys, suffixes=("", "_scored"))
        assert len(both) == len(judged)
        np.testing.assert_allclose(both["p_scored"], both["p"], rtol=1e-5 if "cnn" in model else 1e-12)
    times = ["issue_time", "window_start", "window_end"]
    scored = pd.read_parquet(tmp_path / "scores" / names[0])
    assert list(scored) == [*times, "seen", "p", "p_climatology", "y"]
    assert (scored["window_start"].diff().iloc[1:] == pd.Timedelta(hours=2)).all()
    assert summary["windows"] == len(scored) and summary["its_probability"] == scored["p"].iloc[-1]
    manifest = json.loads((tmp_path / "scores" / "hews.json").read_text())
    assert manifest["kind"] == "scores" and manifest["run"] == str(trained(model))
    if there[1]:
        by_area = pd.read_parquet(tmp_path / "scores" / names[1])["p"].to_numpy().reshape(-1, 2)
        np.testing.assert_allclose(1 - np.prod(1 - by_area, axis=1), scored["p"], rtol=1e-12)


@pytest.mark.parametrize("model", FORECASTERS)
def test_a_table_that_reaches_further_gives_further_windows_and_changes_no_other(trained, toy, tmp_path, model):
    """Two weeks more: what the run was trained on stays what it was, and so does every forecast that was there."""
    frame = toy.incidents()
    more = frame[frame["time_s"] < toy.begin_s + 2 * toy.week_s]
    more = more.assign(time_s=more["time_s"] + 18 * toy.week_s)
    longer = toy.write(tmp_path / "longer", pd.concat([frame, more], ignore_index=True))
    before = prepared_of(trained(model))
    score(trained(model), before, tmp_path / "before", device="cpu")
    score(trained(model), longer, tmp_path / "after", device="cpu")
    short, long = (pd.read_parquet(tmp_path / name / "forecasts.parquet") for name in ("before", "after"))
    assert len(long) - len(short) == 2 * 84
    np.testing.assert_allclose(long["p"].iloc[: len(short)], short["p"], rtol=1e-6 if "cnn" in model else 0)
    np.testing.assert_array_equal(long["p_climatology"].iloc[: len(short)], short["p_climatology"])
    assert short["y"].isna().sum() == long["y"].isna().sum() == 2 and not long["seen"].iloc[len(short) :].any()
    assert np.ptp(long["p"].iloc[len(short) :]) > 0 or model == "base_rate"


def prepared_of(run):
    return Path(json.loads((run / "hews.json").read_text())["prepared"])


def test_maps_are_looked_at_once(trained, prepared, tmp_path, monkeypatch):
    """Neighborhoods take no second look: that one would not be shared among processes."""
    looked = []
    real = CnnForecaster.correction

    def counted(self, windows, *arguments):
        looked.append(len(windows))
        return real(self, windows, *arguments)

    monkeypatch.setattr(CnnForecaster, "correction", counted)
    summary = score(trained("cnn"), prepared, tmp_path / "scores", device="cpu")
    assert looked == [summary["windows"]]


def test_a_table_of_another_city_is_refused(trained, toy, prepared, tmp_path):
    """Neighborhoods are known by their order, and targets by the table."""
    import geopandas

    renamed = toy.write(tmp_path / "renamed", toy.incidents())
    frame = geopandas.read_parquet(renamed / "neighborhoods.parquet")
    frame.iloc[::-1].to_parquet(renamed / "neighborhoods.parquet")
    other = toy.write(tmp_path / "targets", toy.incidents())
    toml = (
        (other / "city.toml")
        .read_text(encoding="utf-8")
        .replace('targets = ["SHOOTING"]\n[n', 'targets = ["ROBBERY"]\n[n')
    )
    (other / "city.toml").write_text(toml, encoding="utf-8")
    marked, elsewhere = (shutil.copytree(prepared, tmp_path / name) for name in ("marked", "elsewhere"))
    toml = (prepared / "city.toml").read_text(encoding="utf-8")
    (marked / "city.toml").write_text(f'{toml}[[incidents.target]]\ncolumn = "Flag"\nvalues = ["Y"]\n')
    (elsewhere / "city.toml").write_text(toml.replace("New_York", "Chicago"))
    refused = {renamed: "other neighborhoods", other: r"other \[incidents\] targets"}
    refused |= {marked: refused[other], elsewhere: r"times of another \[city\] timezone"}
    for folder, said in refused.items():
        for model in ("hewsnet", "climatology"):
            with pytest.raises(UserError, match=f"data folder = '{folder}': shows {said} than in training"):
                score(trained(model), folder, tmp_path / "scores", device="cpu")
            with pytest.raises(UserError, match=f"shows {said}"):
                open_run(trained(model)).forecast("2024-05-01", data=folder)
    assert not (tmp_path / "scores").exists()


def test_scores_are_replaced_only_by_force_and_kept_when_stopped(trained, prepared, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    score(trained("hewsnet"), prepared, out, device="cpu")
    before = (out / "forecasts.parquet").read_bytes()
    with pytest.raises(UserError, match=r"exists already.*--force"):
        score(trained("level"), prepared, out, device="cpu")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hews_gpu.runs.score.pq.write_table", stop)
        with pytest.raises(KeyboardInterrupt):
            score(trained("level"), prepared, out, device="cpu", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
    assert (out / "forecasts.parquet").read_bytes() == before
    score(trained("hawkes"), prepared, out, device="cpu", force=True)
    assert {path.name for path in out.iterdir()} == {"forecasts.parquet", "hews.json"}
    with pytest.raises(UserError, match="--force replaces only a 'scores' folder"):
        score(trained("level"), prepared, trained("level"), device="cpu", force=True)
