"""The folder of a backtest: the same results whoever makes the fits and whatever stops them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.data.events import open_prepared
from hews_gpu.environment.device import ProbeResult
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem, open_experiment
from hews_gpu.report.build import build_report
from hews_gpu.runs import backtest as module
from hews_gpu.runs.backtest import Settings, backtest
from tests.toy_city import BEGIN_S, WEEK_S, incidents, write_prepared

MODELS = ("level", "hawkes", "boosting", "hewsnet")
FILES = ("metrics.json", "forecasts.parquet", "forecasts_by_neighborhood.parquet")
LOCKED_S = BEGIN_S + 60 * WEEK_S


def long_table():
    """The toy city's eighteen weeks, four times over."""
    frame = incidents()
    return pd.concat([frame.assign(time_s=frame["time_s"] + k * 18 * WEEK_S) for k in range(4)], ignore_index=True)


def long_city(folder, frame=None):
    """Sixty weeks to backtest on, and twelve locked ones."""
    written = write_prepared(folder, long_table() if frame is None else frame)
    toml = (written / "city.toml").read_text(encoding="utf-8")
    splits = {"train": ["2024-01-01", "2024-09-02"], "validation": ["2024-09-02", "2024-11-04"]}
    splits |= {"test": ["2024-11-04", "2025-02-24"], "locked": ["2025-02-24", "2025-05-19"]}
    lines = [line for line in toml.splitlines() if line.split(" =")[0] not in splits]
    at = lines.index("[splits]") + 1
    lines[at:at] = [f"{name} = {json.dumps(span)}" for name, span in splits.items()]
    (written / "city.toml").write_text("\n".join(lines), encoding="utf-8")
    return written


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return long_city(tmp_path_factory.mktemp("long") / "prepared")


def settings_of(city, **changes):
    return Settings(**{"problem": Problem(prepared=city), "models": MODELS, "blocks": 2, "seeds": (0, 1), **changes})


@pytest.fixture(scope="module")
def folder(city, tmp_path_factory):
    """A backtest on the long toy city, made in one process; not to be written to."""
    out = tmp_path_factory.mktemp("backtest") / "out"
    backtest(settings_of(city), out)
    return out


def same_results(one, other):
    """Every file of the results, byte for byte."""
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_the_results_have_the_form_of_a_runs(folder, city):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["kind"], metrics["model"], metrics["city"]) == ("backtest", "hewsnet", "Toy")
    assert metrics["fingerprint"] == open_prepared(city).fingerprint
    assert list(metrics["forecasts"]) == ["base_rate", "climatology", *MODELS]
    assert [metrics["forecasts"][name]["seeds"] for name in ("level", "boosting")] == [1, 2]
    assert metrics["protocol"]["seeds"] == [0, 1] and len(metrics["protocol"]["folds"]) == 2
    assert "parts" not in metrics and metrics["places"]["neighborhoods"] == 2
    assert {path.name for path in folder.iterdir()} == {*FILES, "fits", "hews.json", "city.toml"}
    manifest = json.loads((folder / "hews.json").read_text(encoding="utf-8"))
    assert (manifest["kind"], manifest["state"]) == ("backtest", "done")
    assert manifest["settings"]["models"] == list(MODELS) and manifest["data_fingerprint"] == metrics["fingerprint"]


def test_every_score_can_be_recomputed_from_the_forecasts(folder):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "forecasts.parquet")
    times = ["issue_time", "window_start", "window_end"]
    names = ["base_rate", "climatology", *MODELS]
    assert list(table) == [*times, "split", "block", *(f"p_{name}" for name in names), "y"]
    assert table["window_start"].is_monotonic_increasing and set(table["split"]) == {"test"}
    assert (metrics["windows"], metrics["positives"]) == (len(table), table["y"].sum())
    y, loss = table["y"], {}
    for name in names:
        p, scores = table[f"p_{name}"], metrics["forecasts"][name]
        if scores["seeds"] > 1:  # the table holds the first seed, the scores are of all
            continue
        loss[name] = log_loss(y, p) / np.log(2)
        assert scores["log_loss_bits"] == pytest.approx(loss[name])
        assert scores["auc"] == pytest.approx(roc_auc_score(y, p))
        assert scores["brier"] == pytest.approx(brier_score_loss(y, p))
        if "climatology" in loss and name != "climatology":
            skill = scores["against"]["climatology"]["log_skill_bits"]["value"]
            assert skill == pytest.approx(loss["climatology"] - loss[name])
    assert metrics["log_skill_bits"] == pytest.approx(loss["climatology"] - loss["hewsnet"])
    for block, fold in enumerate(metrics["protocol"]["folds"]):
        rows = table[table["block"] == block]
        assert (fold["test"]["windows"], fold["test"]["positives"]) == (len(rows), rows["y"].sum())
        assert pd.Timestamp(fold["test"]["begin"]) == rows["window_start"].iloc[0]
        assert pd.Timestamp(fold["calibration"]["end"]) + pd.Timedelta(days=1) <= rows["issue_time"].iloc[0]
        assert rows["p_base_rate"].nunique() == 1
    assert table["p_base_rate"].nunique() == 2  # each block has a fit of its own


def test_boostings_scores_are_the_mean_over_its_seeds(folder):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "forecasts.parquet")
    losses = []
    for seed in (0, 1):
        parts = [np.load(folder / "fits" / f"boosting-{block}-{seed}.npz")["test"] for block in (0, 1)]
        losses.append(log_loss(table["y"], np.concatenate(parts)) / np.log(2))
        if seed == 0:
            np.testing.assert_array_equal(table["p_boosting"], np.concatenate(parts))
    assert losses[0] != losses[1]
    assert metrics["forecasts"]["boosting"]["log_loss_bits"] == pytest.approx(np.mean(losses))


def test_forecasts_by_neighborhood_stand_beside_the_long_run_rate_and_what_happened(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    table = pd.read_parquet(folder / "forecasts_by_neighborhood.parquet")
    assert list(table) == ["window_start", "neighborhood", "p", "p_long_run", "events"]
    assert list(table["neighborhood"][:2]) == ["West", "East"]
    assert len(table) == metrics["windows"] * metrics["places"]["neighborhoods"]
    assert table["events"].sum() == metrics["places"]["events"]
    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    hit = table.groupby("window_start")["events"].sum().to_numpy() > 0
    np.testing.assert_array_equal(hit, forecasts["y"].to_numpy() == 1)
    none = (1 - table["p"]).groupby(table["window_start"]).prod()
    np.testing.assert_allclose(1 - none, forecasts["p_hewsnet"], rtol=1e-9)


def test_shares_side_by_side_and_what_comes_last_give_the_same_bytes(folder, city, tmp_path):
    """Two tasks of an array, the second with two processes; then the one that puts them together."""
    settings, out = settings_of(city), tmp_path / "out"
    first = backtest(settings, out, share=(0, 2))
    assert first == {"out": str(out), "fits": 7, "of": 14}
    assert not (out / "metrics.json").exists() and len(list((out / "fits").iterdir())) == 7
    backtest(settings, out, share=(1, 2), jobs=2)
    assert len(list((out / "fits").iterdir())) == 14  # none is left to the last
    assert json.loads((out / "hews.json").read_text())["state"] == "running"
    backtest(settings, out, resume=True)
    same_results(out, folder)


def test_without_a_folder_nothing_is_left(folder, city, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    metrics = backtest(settings_of(city, models=("level",)))
    assert not list(tmp_path.iterdir())
    assert metrics["model"] == "level"
    for name in ("climatology", "level"):
        there = json.loads((folder / "metrics.json").read_text())["forecasts"][name]
        assert metrics["forecasts"][name]["brier"] == there["brier"]


def command(*words):
    return [sys.executable, "-m", "hews_gpu", "backtest", *map(str, words)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_backtest_that_was_stopped_goes_on(city, tmp_path, how, capsys):
    """A real process in the middle of its fits; what it left counts, and the results are the same bytes."""
    out = tmp_path / "out"
    words = command(city, "--models", "hewsnet,boosting", "--blocks", 1, "--out", out)
    settings_of_command = settings_of(city, models=("hewsnet", "boosting"), blocks=1, seeds=(0, 1, 2))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = out / "fits"
    while process.poll() is None and not (made.is_dir() and len(list(made.glob("*.npz"))) >= 3):
        time.sleep(0.02)
    process.send_signal(how)
    _, told = process.communicate(timeout=120)
    left = {path.name: path.read_bytes() for path in made.glob("*.npz")}
    assert 3 <= len(left) < 7 and not (out / "metrics.json").exists()
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 2 and "Traceback" not in told
        assert told.splitlines()[-1].endswith("Give the same command with --resume to go on.")
    if how == signal.SIGINT:  # leaves what SIGTERM leaves
        return
    backtest(settings_of_command, out, resume=True)
    assert f"{len(left)} of 7 fits are there already" in capsys.readouterr().err
    for name, raw in left.items():
        assert (made / name).read_bytes() == raw
    if how == signal.SIGKILL:
        backtest(settings_of_command, tmp_path / "whole")
        same_results(out, tmp_path / "whole")


def test_workers_end_with_the_process_that_started_them(city, tmp_path):
    out = tmp_path / "out"
    words = command(city, "--models", "hewsnet", "--blocks", 4, "--out", out, "--jobs", 2)
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("fits/*.npz")):
        time.sleep(0.05)
    children = [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(map(alive, children)):
        time.sleep(0.2)
    assert not any(map(alive, children))


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_other_settings_data_or_folders_are_refused(folder, city, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = long_city(tmp_path / "other", long_table().iloc[:-1])
    wrong = [settings_of(city, blocks=3), settings_of(city, seeds=(0,)), settings_of(city, models=("level",))]
    retold = [shutil.copytree(city, tmp_path / name) for name in ("lead", "zone")]  # the same rows, asked otherwise
    for folder_of, (was, now) in zip(retold, (("lead_s = 0", "lead_s = 7200"), ("New_York", "Chicago")), strict=True):
        toml = (folder_of / "city.toml").read_text(encoding="utf-8")
        assert was in toml
        (folder_of / "city.toml").write_text(toml.replace(was, now), encoding="utf-8")
    wrong += [settings_of(one) for one in (other, *retold)]
    for settings in [*wrong, Settings(problem=Problem(preset="null"), models=MODELS)]:
        for options in ({"resume": True}, {"share": (0, 2)}):
            with pytest.raises(UserError, match="was begun with other settings, data, models or code"):
                backtest(settings, out, **options)
    with pytest.raises(UserError, match=r"exists already.*--force"):
        backtest(settings_of(city), out)
    for options in ({"resume": True}, {"share": (0, 2)}):
        with pytest.raises(UserError, match="--resume or --share: goes on with a backtest that --force would remove"):
            backtest(settings_of(city), out, force=True, **options)
        with pytest.raises(UserError, match="--out: is needed with"):
            backtest(settings_of(city), **options)
    for force in (False, True):
        with pytest.raises(UserError, match=r"exists already|--force replaces only a 'backtest' folder"):
            backtest(settings_of(city), city, force=force)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_force_replaces_an_older_backtest_as_a_whole(folder, city, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    backtest(settings_of(city, models=("level",), blocks=1), out, force=True)
    assert {path.name for path in out.iterdir()} == {*FILES, "fits", "hews.json", "city.toml"}
    assert {path.name.partition("-")[0] for path in (out / "fits").iterdir()} == {"base_rate", "climatology", "level"}


def test_what_cannot_be_cut_or_fitted_leaves_no_folder(city, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("hews_gpu.environment.device.probe", lambda name: ProbeResult(False, "no driver"))
    with pytest.raises(UserError, match="is too short for the plan"):
        backtest(settings_of(prepared), tmp_path / "out")
    with pytest.raises(UserError, match=r"--device = 'cuda': does not work here: no driver"):
        backtest(settings_of(city), tmp_path / "out", device="cuda")
    with pytest.raises(UserError, match="does not exist"):
        backtest(settings_of(tmp_path / "none"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_network_is_told_which_device_auto_is(city, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("hews_gpu.environment.device.probe", lambda name: ProbeResult(False, "no driver"))
    monkeypatch.setattr(module, "run_fits", lambda *_, device, **__: given.append(device))
    backtest(settings_of(city), tmp_path / "out", device="auto", share=(0, 1))
    assert given == ["cpu"]


def test_tasks_that_start_together_share_one_folder(city, tmp_path, monkeypatch):
    """Threads have one process number, as tasks on two nodes may have: only in turn can they make the folder."""
    settings, tasks = settings_of(city, models=("level",)), 8
    monkeypatch.setattr(module, "open_experiment", lambda *_: None)
    monkeypatch.setattr(module, "run_fits", lambda *arguments, **_: (arguments[3] / f"{len(arguments[2])}.npz").touch())
    for number in range(5):
        together, out = Barrier(tasks), tmp_path / str(number)

        def task(share, together=together, out=out):
            together.wait()
            return backtest(settings, out, share=(share, tasks))

        with ThreadPoolExecutor(tasks) as pool:
            assert len(list(pool.map(task, range(tasks)))) == tasks
        assert [path.name for path in out.iterdir()].count("fits") == 1 and any((out / "fits").iterdir())
    assert not list(tmp_path.glob(".*partial*"))


def test_a_folder_prepared_anew_is_read_anew(city, tmp_path):
    """In one process, as in a notebook: nothing of the older table stays in memory."""
    again = shutil.copytree(city, tmp_path / "prepared")
    settings = settings_of(again, models=("level",), blocks=1)
    before = backtest(settings)
    frame = long_table()
    shutil.rmtree(again)
    long_city(again, frame[frame.index % 3 > 0])
    after = backtest(settings)
    assert after["rows"] < before["rows"] and after["fingerprint"] == open_prepared(again).fingerprint
    assert after["positives"] < before["positives"]


def test_nothing_of_the_locked_block_is_looked_at(folder, city, tmp_path):
    """Its rows are others, and more: every file but the fingerprint stays the same."""
    frame = long_table()
    frame.loc[frame["time_s"] >= LOCKED_S, "category"] = "SHOOTING"
    changed = long_city(tmp_path / "changed", frame)
    backtest(settings_of(changed), tmp_path / "out")
    one, other = (json.loads((path / "metrics.json").read_text()) for path in (folder, tmp_path / "out"))
    assert one.pop("fingerprint") != other.pop("fingerprint")
    assert one == other
    for name in FILES[1:]:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    windows = open_experiment(Problem(prepared=city), settings_of(city).plan).test.windows
    assert windows.end_s.max() == LOCKED_S
    table = pd.read_parquet(folder / "forecasts.parquet")
    assert table["window_end"].max() == pd.Timestamp(LOCKED_S, unit="s")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated") / "out"
    backtest(Settings(problem=Problem(preset="strong", years=2, seed=1), models=("hewsnet",), blocks=1), out)
    return out


def test_a_generated_city_has_its_oracle(generated):
    metrics = json.loads((generated / "metrics.json").read_text())
    assert (metrics["preset"], metrics["years"], metrics["seed"]) == ("strong", 2, 1) and "city" not in metrics
    assert list(metrics["forecasts"]) == ["base_rate", "climatology", "level", "hewsnet", "oracle"]
    assert "oracle" in metrics["places"]["forecasts"]
    table = pd.read_parquet(generated / "forecasts.parquet")
    problem = Problem(preset="strong", years=2, seed=1)
    experiment = open_experiment(problem, replace(Settings(problem=problem, blocks=1).plan))
    windows = experiment.test.windows
    truth = experiment.city.truth.probability(windows.issue_s, windows.begin_s, windows.end_s)
    np.testing.assert_array_equal(table["p_oracle"], truth)
    losses = [log_loss(table["y"], table[f"p_{name}"]) for name in ("climatology", "hewsnet", "oracle")]
    closed = (losses[0] - losses[1]) / (losses[0] - losses[2])
    assert metrics["oracle_gap_closure"] == pytest.approx(closed)
    assert metrics["forecasts"]["oracle"]["warnings"] == []
    areas = pd.read_parquet(generated / "forecasts_by_neighborhood.parquet")
    assert list(areas["neighborhood"][:3]) == ["0", "1", "2"]
    assert not (generated / "city.toml").exists()


def test_its_report_is_about_the_model_that_was_asked_for(generated):
    page = build_report(generated).read_text(encoding="utf-8")
    assert "<h1>strong</h1>" in page and "Backtest of forecasts" in page and "Oracle gap closed" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "DIR or --preset = 'neither': give one of them"),
        (["CITY", "--preset", "null"], "DIR or --preset = 'both'"),
        (["CITY", "--models", "level,hewsnett"], "--models = 'hewsnett': is not a forecaster. Did you mean 'hewsnet'?"),
        (["CITY", "--models", ""], "--models = '': is not a forecaster"),
        (["CITY", "--models", "level,"], "--models = '': is not a forecaster"),
        (["CITY", "--blocks", "0"], "--blocks = 0: must be 1..100"),
        (["CITY", "--blocks", "many"], "--blocks"),
        (["CITY", "--seed", "3"], "--years or --seed: belongs to a generated city"),
        (["CITY", "--years", "3"], "--years or --seed: belongs to a generated city"),
        (["--preset", "null", "--years", "1"], "--years = 1: must be 2..40"),
        (["--preset", "null", "--seed", "-1"], "seed"),
        (["--preset", "nul"], "--preset = 'nul': is not a preset. Did you mean 'null'?"),
        (["CITY", "--share", "2/2"], "--share = '2/2': must be I/N"),
        (["CITY", "--share", "0/2"], "--out: is needed with"),
        (["CITY", "--resume"], "--out: is needed with"),
        (["CITY", "--force"], "--out: is needed with"),
        (["CITY", "--device", "tpu"], "--device = 'tpu'"),
        (["CITY", "--jobs", "0"], "--jobs = 0: must be 1 or more"),
        (["NONE"], "does not exist"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(city, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    words = [str(city) if word == "CITY" else word for word in words]
    out = [] if "is needed" in said else ["--out", "out"]
    done = CliRunner().invoke(app, ["backtest", *words, *out])
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hews: ")]
    assert done.exit_code == 2 and said in line and done.stdout == ""
    assert not list(tmp_path.iterdir()) and not os.path.exists("out")
