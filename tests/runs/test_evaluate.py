"""Scoring: every number can be had again from the forecasts, and no forecast knows what it must not."""

import errno
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.data.events import open_prepared
from hews_gpu.environment.device import ProbeResult
from hews_gpu.errors import UserError
from hews_gpu.evaluation.alarms import threshold_for
from hews_gpu.evaluation.folds import PARTS
from hews_gpu.evaluation.judge import too_little, verdict
from hews_gpu.feed.maps import rasterize
from hews_gpu.forecasters.base import log_odds
from hews_gpu.forecasters.climatology import fit_climatology
from hews_gpu.forecasters.cnn import Part
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs import folder as runs
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.run import on_city, open_run, run_experiment
from hews_gpu.runs.train import train
from hews_gpu.synthetic.law import Kernel
from hews_gpu.synthetic.truth_file import save_truth
from tests.synthetic.histories import one_area

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def judged(run, tmp_path_factory):
    """Metrics, and the table of forecasts, of the toy run."""
    out = tmp_path_factory.mktemp("judged")
    metrics = evaluate(run, out=out)
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8")) == metrics
    return metrics, pd.read_parquet(out / "forecasts.parquet")


def test_every_score_can_be_recomputed_from_the_forecasts(judged):
    metrics, table = judged
    part = table[table["split"] == "test"]
    y = part["y"]
    assert metrics["windows"] == len(part) and metrics["positives"] == y.sum()
    assert metrics["base_rate"] == pytest.approx(y.mean())
    loss = {}
    for name, scores in metrics["forecasts"].items():
        p = part["p" if name == "cnn" else f"p_{name}"]
        loss[name] = log_loss(y, p) / np.log(2)
        assert scores["auc"] == pytest.approx(roc_auc_score(y, p))
        assert scores["average_precision"] == pytest.approx(average_precision_score(y, p))
        assert scores["brier"] == pytest.approx(brier_score_loss(y, p))
        assert scores["log_loss_bits"] == pytest.approx(loss[name])
    assert set(loss) == {"base_rate", "climatology", "level", "cnn"}
    for other in ("base_rate", "climatology", "level"):
        skill = metrics["forecasts"]["cnn"]["against"][other]["log_skill_bits"]["value"]
        assert skill == pytest.approx(loss[other] - loss["cnn"])
    assert metrics["log_skill_bits"] == pytest.approx(loss["climatology"] - loss["cnn"])
    for name in ("train", "validation"):
        part, scores = table[table["split"] == name], metrics["parts"][name]
        assert scores["windows"] == len(part) and scores["positives"] == part["y"].sum()
        assert scores["log_loss_bits"] == pytest.approx(log_loss(part["y"], part["p"]) / np.log(2))
        assert scores["auc"] == pytest.approx(roc_auc_score(part["y"], part["p"]))
    train = table.loc[table["split"] == "train", "y"]  # what every forecast here is fitted on
    rate = (train.sum() + 0.5) / (len(train) + 1)
    assert (table["p_base_rate"] == rate).all()
    low, high = metrics["log_skill_bits_interval"]
    assert low < metrics["log_skill_bits"] < high
    for key in ("verdict", "verdict_over_level"):  # four weeks of months never trained on
        assert metrics[key].startswith(
            "Too little to judge: 3.8 weeks of test windows, at least 12 are needed; no training"
        )
        assert "Measured: +" in metrics[key]


def test_every_window_is_there_once_with_its_true_outcome(judged, toy):
    _, table = judged
    frame = toy.incidents()
    shootings = frame.loc[frame["category"] == "SHOOTING", "time_s"].to_numpy()
    assert str(table["issue_time"].dtype).startswith("datetime64") and table["issue_time"].dt.tz is None
    assert table["y"].dtype == np.int8
    start = table["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    end = table["window_end"].to_numpy().astype("datetime64[s]").astype(np.int64)
    inside = np.searchsorted(shootings, end) - np.searchsorted(shootings, start)
    np.testing.assert_array_equal(table["y"], inside > 0)
    assert (table["window_start"] == table["issue_time"]).all()
    for name, weeks in zip(SPLITS, (10, 4, 4), strict=True):
        times = table.loc[table["split"] == name, "issue_time"]
        assert (
            len(times) == weeks * 84 - 13
        )  # the first day is history, and half an hour before each window is left alone
        assert (times.diff().dropna() == timedelta(hours=2)).all()


def test_no_history_reaches_into_the_split_before(judged):
    _, table = judged
    ends = table.groupby("split")["window_end"].max()
    begins = table.groupby("split")["issue_time"].min() - timedelta(hours=24)
    assert ends["train"] <= begins["validation"] and ends["validation"] <= begins["test"]


def test_empty_windows_are_scored_too(judged, toy):
    _, table = judged
    frame = toy.incidents()
    time_s = frame["time_s"].to_numpy()
    issue = table["issue_time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    held = np.searchsorted(time_s, issue + 7200) - np.searchsorted(time_s, issue)
    assert (held == 0).sum() > 10


def test_results_go_into_the_run_unless_told(run, tmp_path):
    mine = shutil.copytree(run, tmp_path / "run")
    evaluate(mine)
    assert (mine / "metrics.json").exists() and (mine / "forecasts.parquet").exists()
    assert not list(mine.glob(".*"))


def old_results(folder):
    """A folder with two files in the place of results."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text("old", encoding="utf-8")
    (folder / "forecasts.parquet").write_text("old", encoding="utf-8")
    return folder


def test_results_elsewhere_are_replaced_only_by_force(run, tmp_path):
    out = old_results(tmp_path / "out")
    with pytest.raises(UserError, match=r"--out.*metrics\.json and forecasts\.parquet already.*--force"):
        evaluate(run, out=out)
    (out / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"holds forecasts\.parquet already"):
        evaluate(run, out=out)
    assert (out / "forecasts.parquet").read_text(encoding="utf-8") == "old"
    command = ["evaluate", str(run), "--out", str(out), "--force", "--json"]
    assert json.loads(CliRunner().invoke(app, command).stdout)["windows"] > 0
    assert len(pd.read_parquet(out / "forecasts.parquet")) > 0
    files = ["forecasts.parquet", "forecasts_by_neighborhood.parquet", "metrics.json"]
    assert sorted(path.name for path in out.iterdir()) == files


def test_the_runs_own_results_are_replaced_without_asking(run, tmp_path):
    mine = shutil.copytree(run, tmp_path / "run")
    metrics = evaluate(old_results(mine), out=tmp_path / "run" / ".." / "run")
    assert json.loads((mine / "metrics.json").read_text(encoding="utf-8")) == metrics


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def ctrl_c(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [full_disk, ctrl_c])
@pytest.mark.parametrize("name", ["pq.write_table", "write_json"])
def test_results_cut_off_leave_both_old_files_or_no_folder(run, tmp_path, monkeypatch, name, stop):
    out = old_results(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(f"hews_gpu.runs.evaluate.{name}", stop)
        with pytest.raises((UserError, KeyboardInterrupt)):
            evaluate(run, out=out, force=True)
        with pytest.raises((UserError, KeyboardInterrupt)):
            evaluate(run, out=tmp_path / "deep" / "er")
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} == {
        "metrics.json": "old",
        "forecasts.parquet": "old",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def forecast_by(prepared_folder, run):
    """Inputs and forecasts for every part of a prepared folder, by the given run's forecaster."""
    prepared = open_prepared(prepared_folder)
    experiment = run_experiment(prepared)
    forecaster = on_city(open_run(run).forecaster, experiment.city)
    made = {}
    for name, part in zip(SPLITS, PARTS, strict=True):
        windows = experiment.all.windows.select(getattr(experiment.folds[0], part))
        feed = forecaster.feed(Part.unlabeled(windows), experiment.plan.task.delay_s)
        maps = np.concatenate([batch.maps.numpy().copy() for batch in feed.in_order(64)])
        base = log_odds(forecaster.base, experiment.catalog, windows)
        made[name] = windows.issue_s, maps, base, forecaster.predict(experiment.catalog, windows)
    return made


def test_no_text_or_formatting_column_reaches_a_model(toy, run, prepared, tmp_path):
    """The label spelt out in columns of either file changes not a bit of tensors, weights or forecasts."""
    frame = toy.incidents()
    label = np.where(frame["category"] == "SHOOTING", "Inside", "I")
    leak = {"Premise": label, "Inside/Outside": label, "address": label, "source": label, "line": np.arange(len(frame))}
    leak["neighborhood"] = label
    loud = toy.write(tmp_path / "loud", frame, extra=leak)
    pq.write_table(pq.read_table(loud / "charts_only.parquet").slice(0, 3), loud / "charts_only.parquet")
    silent = toy.write(tmp_path / "silent", frame, charts=False)
    expected = forecast_by(prepared, run)
    for folder in (loud, silent):
        found = forecast_by(folder, run)
        for name in SPLITS:
            for ours, theirs in zip(expected[name], found[name], strict=True):
                np.testing.assert_array_equal(ours, theirs)
        train(folder, folder / "run", model="cnn", device="cpu")
        weights = "weights.safetensors"
        assert (folder / "run" / weights).read_bytes() == (run / weights).read_bytes()


def perturbed(frame, from_s, seed):
    """The table with every row at or after `from_s` changed, some removed, some added."""
    rng = np.random.default_rng(seed)
    past, future = frame[frame["time_s"] < from_s], frame[frame["time_s"] >= from_s].copy()
    future["category"] = rng.permutation(future["category"].to_numpy())
    future["longitude"] = rng.permutation(future["longitude"].to_numpy())
    added = future.sample(frac=0.5, random_state=seed, replace=True)
    first = future.iloc[:1].assign(time_s=from_s, category="SHOOTING")  # at the issue time itself: not known yet
    last = frame.iloc[-1:]  # keeps what the table covers
    kept = future.sample(frac=0.6, random_state=seed)
    return pd.concat([past, first, kept, added, last]).sort_values("time_s", kind="stable", ignore_index=True)


@pytest.mark.parametrize("week", [10, 11.5, 14, 16.5])
def test_no_row_at_or_after_the_issue_time_changes_a_forecast(toy, run, prepared, tmp_path, week):
    """From the begin and the middle of the validation split, and of the test split."""
    issue_s = toy.begin_s + int(week * 7 * 12) * 7200  # on the grid
    changed = toy.write(tmp_path / "changed", perturbed(toy.incidents(), issue_s, int(week)))
    before, after = forecast_by(prepared, run), forecast_by(changed, run)
    for name in SPLITS:
        known = before[name][0] <= issue_s
        for ours, theirs in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(ours[known], theirs[known])
    later = before["test"][0] > issue_s
    assert (before["test"][3][later] != after["test"][3][later]).any()  # the perturbation does bite


def test_no_row_of_the_test_split_changes_the_weights(toy, run, tmp_path):
    changed = toy.write(tmp_path / "changed", perturbed(toy.incidents(), toy.begin_s + 14 * toy.week_s, 9))
    train(changed, tmp_path / "run", model="cnn", device="cpu")
    assert (tmp_path / "run/weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()


def test_the_oracle_is_scored_where_the_truth_is_known(toy, tmp_path):
    folder = toy.write(tmp_path / "prepared", toy.incidents())
    hours, none = np.zeros(18 * 168), np.zeros(0, dtype=np.int64)
    kernel = Kernel(branching=0.0, decay_s=3600.0)
    truth = one_area(
        preset="demo",
        begin_s=toy.begin_s,
        base_per_h=hours + 0.25,
        trigger_per_h=hours,
        excited_by_targets=kernel,
        excited_by_triggers=kernel,
        target_s=none,
        incident_s=none,
    )
    save_truth(truth, folder / "truth.npz")
    train(folder, tmp_path / "run", model="cnn", device="cpu", max_epochs=0)
    metrics = evaluate(tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run/forecasts.parquet")
    np.testing.assert_allclose(table["p_oracle"], 1 - np.exp(-0.5))
    assert metrics["forecasts"]["oracle"]["auc"] == 0.5
    opened = open_run(tmp_path / "run")  # untrained, the model is its base to the bit
    windows = opened.experiment.test.windows
    said = opened.forecaster.base.predict(opened.experiment.catalog, windows)
    np.testing.assert_array_equal(table["p"][table["split"] == "test"], said)
    assert metrics["verdict"].startswith("Too little to judge")


def test_other_data_than_it_was_trained_on_is_refused(toy, run, tmp_path):
    other = toy.write(tmp_path / "other", toy.incidents(seed=1))
    with pytest.raises(UserError, match="trained on"):
        evaluate(run, data=other, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_run_keeps_the_city_file_it_was_trained_with(toy, tmp_path):
    folder = toy.write(tmp_path / "prepared", toy.incidents())
    train(folder, tmp_path / "run", model="cnn", device="cpu", max_epochs=0)
    before = evaluate(tmp_path / "run")
    toml = (folder / "city.toml").read_text(encoding="utf-8").replace('"2024-05-06"', '"2024-04-22"')
    (folder / "city.toml").write_text(toml, encoding="utf-8")
    assert evaluate(tmp_path / "run") == before


def test_both_folders_may_move_together(toy, tmp_path):
    here = tmp_path / "here"
    train(toy.write(here / "prepared", toy.incidents()), here / "run", model="cnn", device="cpu", max_epochs=0)
    here.rename(tmp_path / "there")
    evaluate(tmp_path / "there/run")
    shutil.move(tmp_path / "there/prepared", tmp_path / "elsewhere")
    with pytest.raises(UserError, match="data folder"):
        evaluate(tmp_path / "there/run")
    evaluate(tmp_path / "there/run", data=tmp_path / "elsewhere")


def test_a_place_that_was_only_temporary_is_not_recorded(toy, tmp_path, monkeypatch):
    """As inside `hews demo`, whose folder gets its name when all is done, and from within which one may go on."""
    folder = tmp_path / ".demo.partial-1"
    train(toy.write(folder / "prepared", toy.incidents()), folder / "run", model="cnn", device="cpu", max_epochs=0)
    rasterize(folder / "prepared", folder / "maps", style="channels")
    for name in ("run", "maps"):
        assert ".partial-" not in (folder / name / "hews.json").read_text(encoding="utf-8")
    (folder / "hews.json").write_text('{"kind": "demo"}', encoding="utf-8")
    monkeypatch.chdir(folder.rename(tmp_path / "demo"))
    assert evaluate(Path("run"))["windows"] > 0


def test_what_is_no_trained_run_is_refused(prepared, run, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        evaluate(tmp_path / "none")
    with pytest.raises(UserError, match="hews train"):
        evaluate(prepared)
    half = shutil.copytree(run, tmp_path / "half")
    (half / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="--resume"):
        evaluate(half)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is a file"):
        evaluate(run, out=tmp_path / "file")


def test_the_windows_of_a_run_follow_the_city_file(prepared):
    opened = open_prepared(prepared)
    task = replace(opened.city.task, lead_s=7200, horizon_s=14_400)
    later = run_experiment(replace(opened, city=replace(opened.city, task=task))).test.windows
    assert (later.begin_s - later.issue_s == 7200).all()
    assert (later.end_s - later.begin_s == 14_400).all()


def shootings_by_area(toy, windows):
    """Events of the toy city [S, 2] in windows of the given begins and ends, by a plain loop; victims count once."""
    frame = toy.incidents()
    frame = frame[frame["category"] == "SHOOTING"]
    counts = np.zeros((len(windows), 2), int)
    for s, (begin, end) in enumerate(windows):
        inside = frame[(frame["time_s"] >= begin) & (frame["time_s"] < end)]
        for area, east in enumerate((False, True)):
            minutes = inside.loc[(inside["longitude"] > -76.55) == east, "time_s"] // 60
            counts[s, area] = minutes.nunique()
    return counts


@pytest.mark.parametrize("model", ["hewsnet", "cnn"])
def test_neighborhoods_are_those_of_the_windows(trained, prepared, toy, tmp_path, model):
    """The city's probability is one less the product; events and the long-run rate are recounted by hand."""
    metrics = evaluate(trained(model), out=tmp_path)
    city = pd.read_parquet(tmp_path / "forecasts.parquet").query("split == 'test'")
    table = pd.read_parquet(tmp_path / "forecasts_by_neighborhood.parquet")
    assert list(table) == ["window_start", "neighborhood", "p", "p_long_run", "events"]
    assert isinstance(table["neighborhood"].dtype, pd.CategoricalDtype)
    assert list(table["neighborhood"]) == ["West", "East"] * len(city)
    np.testing.assert_array_equal(table["window_start"], np.repeat(city["window_start"], 2))
    by_area = table["p"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(1 - np.prod(1 - by_area, axis=1), city["p"], rtol=1e-12)
    assert np.ptp(by_area[:, 0] / by_area[:, 1]) > 0

    begin, end = (city[name].to_numpy().astype("datetime64[s]").astype(np.int64) for name in city.columns[1:3])
    counts = shootings_by_area(toy, list(zip(begin, end, strict=True)))
    np.testing.assert_array_equal(table["events"].to_numpy().reshape(-1, 2), counts)
    np.testing.assert_array_equal(counts.sum(axis=1) > 0, city["y"] == 1)
    assert metrics["places"]["events"] == counts.sum() and metrics["places"]["neighborhoods"] == 2

    experiment = run_experiment(open_prepared(prepared))
    fold = experiment.folds[0]
    train_part = experiment.learned(fold, "train")
    usual = fit_climatology(train_part.windows.begin_s, train_part.y).probability(begin)
    delay_s, size = 1800, experiment.city.ground.area_km2
    history = shootings_by_area(toy, [(toy.begin_s, t - delay_s) for t in begin]) + 0.5 * size / size.mean()
    share = history / history.sum(axis=1, keepdims=True)
    expected = 1 - (1 - usual[:, None]) ** share
    np.testing.assert_allclose(table["p_long_run"].to_numpy().reshape(-1, 2), expected, rtol=1e-12)


def test_the_skill_in_places_can_be_recomputed(trained, tmp_path):
    metrics = evaluate(trained("hewsnet"), out=tmp_path)
    table = pd.read_parquet(tmp_path / "forecasts_by_neighborhood.parquet")
    hit = table["events"] > 0
    bits = {
        name: -np.log2(np.where(hit, table[name], 1 - table[name])).reshape(-1, 2).sum(axis=1).mean()
        for name in ("p", "p_long_run")
    }
    scores = metrics["places"]["forecasts"]
    assert list(scores) == ["long_run", "recent_28_days", "kernel_density", "near_repeat", "level", "hewsnet"]
    assert scores["hewsnet"]["log_skill_bits"] == pytest.approx(bits["p_long_run"] - bits["p"])
    assert scores["hewsnet"]["auc"] == pytest.approx(roc_auc_score(hit, table["p"]))
    assert metrics["places"]["near_pairs"]
    assert "p_corrected" in scores["hewsnet"]["against"]["level"]["log_skill_bits"]


@pytest.mark.parametrize("model", FORECASTERS)
def test_the_results_of_every_model_have_one_form(trained, prepared, tmp_path, model):
    metrics = evaluate(trained(model), out=tmp_path)
    head = ["kind", "model", "log_skill_bits", "log_skill_bits_interval"]
    head += ["log_skill_bits_over_level", "log_skill_bits_over_level_interval"]
    head += ["oracle_gap_closure", "oracle_gap_closure_interval"]
    head += ["calibration_slope", "calibration_slope_interval", "models_tried", "verdict", "verdict_over_level"]
    rest = ["city", "rows", "fingerprint", "protocol", "windows", "positives", "base_rate", "forecasts"]
    where = [] if model in ("base_rate", "climatology", "hawkes", "boosting") else ["places"]
    tried = ["experts"] if model == "stack" else []
    assert list(metrics) == [*head, *rest, *where, *tried, "parts"]
    assert (metrics["kind"], metrics["model"], metrics["city"]) == ("run", model, "Toy")
    assert metrics["fingerprint"] == open_prepared(prepared).fingerprint
    references = ["base_rate", "climatology", "level"]
    assert list(metrics["forecasts"]) == references + ([] if model in references else [model])
    table = pd.read_parquet(tmp_path / "forecasts.parquet")
    times = ["issue_time", "window_start", "window_end"]
    assert list(table) == [*times, "split", "p", *(f"p_{name}" for name in references), "y"]
    if model in references:
        np.testing.assert_array_equal(table["p"], table[f"p_{model}"])
    protocol = metrics["protocol"]
    spans = {
        f"{name}_s": protocol[f"{name}_s"] for name in ("history", "lead", "horizon", "stride", "delay", "embargo")
    }
    expected = {"history": 86_400, "lead": 0, "horizon": 7200, "stride": 7200, "delay": 1800, "embargo": 1800}
    assert spans == {f"{name}_s": value for name, value in expected.items()}
    (fold,) = protocol["folds"]
    for part, split in (("train", "train"), ("calibration", "validation"), ("test", "test")):
        rows = table[table["split"] == split]
        assert fold[part]["windows"] == len(rows) and fold[part]["positives"] == rows["y"].sum()
        assert pd.Timestamp(fold[part]["begin"]) == rows["window_start"].iloc[0]
        assert pd.Timestamp(fold[part]["end"]) == rows["window_end"].iloc[-1]
    own = metrics["forecasts"][model]
    reasons, calendar = too_little(metrics), own["against"].get("climatology", {"log_skill_bits": NOTHING})
    assert len(reasons) == 2 and metrics["verdict"] == verdict(calendar["log_skill_bits"], reasons=reasons)
    over = own["against"].get("level", {"log_skill_bits": NOTHING})["log_skill_bits"]
    assert metrics["verdict_over_level"] == verdict(over, "level", reasons=reasons)
    assert [row["budget_per_week"] for row in own["warnings"]] == [3, 7, 14]
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics


NOTHING = {"value": 0.0, "interval": [0.0, 0.0]}


def test_warnings_are_given_by_thresholds_of_the_validation_split(trained, tmp_path):
    metrics = evaluate(trained("hawkes"), out=tmp_path)
    table = pd.read_parquet(tmp_path / "forecasts.parquet")
    before, test = (table[table["split"] == name] for name in ("validation", "test"))
    threshold = threshold_for(before["p"], len(before) / 84, 7)
    warned = test["p"] >= threshold
    row = metrics["forecasts"]["hawkes"]["warnings"][1]
    assert row["warnings_per_week"] == pytest.approx(warned.sum() / (len(test) / 84))
    assert row["precision"] == pytest.approx(test.loc[warned, "y"].mean())
    assert row["recall"] == pytest.approx(warned[test["y"] == 1].mean())


def test_no_file_of_older_results_stays_beside_those_of_another_model(trained, tmp_path):
    """Neighborhoods of a model that says where would pass for those of one that does not."""
    evaluate(trained("hewsnet"), out=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("leaky_held_out.parquet", "forecasts_by_neighborhood.parquet"):
        (tmp_path / name).touch()
        evaluate(trained("hawkes"), out=tmp_path, force=True)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"metrics.json", "forecasts.parquet", "notes.txt"}
    with pytest.raises(UserError, match=r"holds metrics\.json and forecasts\.parquet already"):
        evaluate(trained("hewsnet"), out=tmp_path)


def test_a_network_that_helps_nothing_leaves_its_base_as_it_is(trained, tmp_path):
    """To the bit, in the city and in every neighborhood."""
    run = shutil.copytree(trained("cnn"), tmp_path / "run")
    opened = open_run(run)
    for name in ("linear", "bias"):  # the last layer
        opened.forecaster.fitted.weights[name][:] = 0
    runs.save_forecaster(run / runs.WEIGHTS, "cnn", opened.forecaster)
    by_area = pd.read_parquet(evaluate_into(run, tmp_path / "corrected"))
    table = pd.read_parquet(tmp_path / "corrected" / "forecasts.parquet")
    base, experiment = opened.forecaster.base, opened.experiment
    windows = experiment.test.windows
    said = table["p"][table["split"] == "test"]
    np.testing.assert_array_equal(said, base.predict(experiment.catalog, windows))
    areas = base.predict_areas(experiment.catalog, windows)
    np.testing.assert_array_equal(by_area["p"].to_numpy().reshape(areas.shape), areas)
    helped = pd.read_parquet(evaluate_into(trained("cnn"), tmp_path / "helps"))
    assert (helped["p"] != by_area["p"]).all()  # where it does help


def evaluate_into(run, out):
    evaluate(run, out=out)
    return out / "forecasts_by_neighborhood.parquet"


@pytest.mark.parametrize("model", ["level", "cnn"])
@pytest.mark.parametrize("device", ["cuda", "gpu"])
def test_a_device_that_does_not_work_is_one_line(trained, tmp_path, monkeypatch, model, device):
    monkeypatch.setattr("hews_gpu.environment.device.probe", lambda name: ProbeResult(False, "no driver"))
    command = ["evaluate", str(trained(model)), "--out", str(tmp_path / "out"), "--device", device]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hews: --device = '{device}'")
    assert not (tmp_path / "out").exists()
