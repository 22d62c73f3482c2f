"""A run, opened: splits that cannot be learned from are refused; maps are drawn on a GPU where there is one."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.data.resolution import DAILY
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs.backtest import Settings, backtest
from hews_gpu.runs.run import open_run, run_experiment
from hews_gpu.runs.score import score
from hews_gpu.runs.train import train
from hews_gpu.training.recipe import load_recipe


def with_toml(toy, folder, *changes, frame=None):
    prepared = toy.write(folder, toy.incidents() if frame is None else frame)
    toml = (prepared / "city.toml").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in toml
        toml = toml.replace(old, new)
    (prepared / "city.toml").write_text(toml, encoding="utf-8")
    return prepared


def test_no_verdict_comes_of_windows_below_the_resolution_of_the_times(toy, run, tmp_path):
    frame = toy.incidents()
    frame["time_s"] -= frame["time_s"] % 86_400
    prepared = with_toml(toy, tmp_path / "prepared", frame=frame)
    message = (
        r"^\[windows\] length_s = 7200: is finer than the times: 100% of .* rows are at 00:00, .* length_s = 86400"
    )
    for verdict in (
        lambda: train(prepared, tmp_path / "run", model="climatology"),
        lambda: train(prepared, tmp_path / "run", recipe=load_recipe("reference_small")),
        lambda: score(run, prepared, tmp_path / "scored"),
        lambda: backtest(Settings(problem=Problem(prepared=prepared), models=("climatology",))),
    ):
        with pytest.raises(UserError, match=message):
            verdict()
    assert not (tmp_path / "run").exists()


def test_days_are_learned_from_and_judged_by_windows_of_days(toy, tmp_path):
    frame = toy.incidents()
    frame["time_s"] -= frame["time_s"] % 86_400
    rare = frame["category"].ne("SHOOTING") | (frame["time_s"] // 86_400 % 3 == 0)
    daily = "".join(f"{key} = {value}\n" for key, value in DAILY.items())
    windows, task = daily[: daily.index("history_s")], daily[daily.index("history_s") :]
    changes = [("[windows]\n", f"[windows]\n{windows}"), ("[task]\nlead_s = 0\n", f"[task]\n{task}")]
    prepared = with_toml(toy, tmp_path / "prepared", *changes, frame=frame[rare])
    train(prepared, tmp_path / "run", model="climatology")
    metrics = open_run(tmp_path / "run").evaluate()
    assert metrics["windows"] == 28 - 7 - 1 and 0 < metrics["positives"] < metrics["windows"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'test = ["2024-04-08", "2024-05-06"]',
            'test = ["2024-04-08", "2025-04-08"]',
            r"test.*reaches beyond.*2024-05-05",
        ),
        ('test = ["2024-04-08", "2024-05-06"]', 'test = ["2034-04-08", "2034-05-08"]', r"test.*beyond"),
        ('train = ["2024-01-01"', 'train = ["2020-01-01"', r"train.*beyond.*covers 2024-01-01"),
        (
            'validation = ["2024-03-11", "2024-04-08"]',
            'validation = ["2024-03-11", "2024-03-12"]',
            r"validation.*short",
        ),
    ],
)
def test_splits_that_do_not_fit_the_table(toy, tmp_path, old, new, said):
    prepared = with_toml(toy, tmp_path / "prepared", (old, new))
    with pytest.raises(UserError, match=said):
        train(prepared, tmp_path / "run", model="cnn", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_split_without_targets_or_without_quiet_windows(toy, tmp_path):
    frame = toy.incidents()
    late = (frame["category"] == "SHOOTING") & (frame["time_s"] >= toy.begin_s + 14 * toy.week_s)
    quiet = with_toml(toy, tmp_path / "quiet", frame=frame[~late])
    with pytest.raises(UserError, match=r"\[splits\] test.*no window with a target \(SHOOTING\) among 323"):
        run_experiment(open_prepared(quiet))
    busy = with_toml(toy, tmp_path / "busy", ("lead_s = 0", "horizon_s = 345600\nlead_s = 0"))
    with pytest.raises(UserError, match=r"no window without.*horizon_s"):
        run_experiment(open_prepared(busy))


def test_an_empty_table_is_refused(toy, tmp_path):
    prepared = toy.write(tmp_path / "prepared", toy.incidents().iloc[:0])
    with pytest.raises(UserError, match=r"\[splits\] train.*covers nothing"):
        train(prepared, tmp_path / "run", model="cnn", device="cpu")


def test_a_folder_that_is_not_prepared_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="does not exist"):
        train(tmp_path / "none", tmp_path / "run", model="cnn", device="cpu")
    with pytest.raises(UserError, match="not a prepared city"):
        train(run, tmp_path / "run", model="cnn", device="cpu")
    assert not list(tmp_path.iterdir())


def test_folders_are_for_stored_maps_alone(prepared, tmp_path):
    with pytest.raises(UserError, match="--feed = 'direct:maps': names a folder"):
        train(prepared, tmp_path / "run", feed="direct:maps", model="cnn", device="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("numba_cuda", "backend"), [("works", "cuda"), ("fails", "numba")])
def test_a_model_on_a_gpu_has_its_maps_drawn_there_if_they_can_be(prepared, numba_cuda, backend):
    script = Path(__file__).with_name("simulate_drawing.py")
    command = [sys.executable, script, str(prepared), numba_cuda]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    expected = [f"{protocol} {{'{backend}'}} numba {{'meta'}}" for protocol in ("forecast", "reference")]
    assert done.stdout.splitlines() == expected, done.stderr


ISSUES = ["2024-04-10T06:00", "2024-01-02T02:00", "2024-05-05T22:00"]
"""On the grid: in the test split, the first with a whole history, and the last but one."""


def close(model):
    """Sums over one window's history round otherwise than running ones; a network's, in single precision, more so."""
    return 1e-5 if "cnn" in model else 1e-9


@pytest.mark.parametrize("model", FORECASTERS)
def test_a_forecast_is_the_one_that_score_writes(trained, prepared, tmp_path, model):
    score(trained(model), prepared, tmp_path / "scores", device="cpu")
    table = pd.read_parquet(tmp_path / "scores" / "forecasts.parquet").set_index("issue_time")
    run = open_run(trained(model))
    for at in [*ISSUES, str(table.index[-1])]:
        found, row = run.forecast(at), table.loc[at]
        assert found.probability == pytest.approx(row["p"], rel=close(model))
        assert found.issue_time == np.datetime64(at)
        assert (found.window_start, found.window_end) == (row["window_start"], row["window_end"])
        if model in ("base_rate", "climatology", "hawkes", "boosting"):
            assert found.by_neighborhood is None
            continue
        areas = pd.read_parquet(tmp_path / "scores" / "forecasts_by_neighborhood.parquet")
        areas = areas[areas["window_start"] == row["window_start"]].set_index("neighborhood")["p"]
        assert list(found.by_neighborhood.values()) == sorted(found.by_neighborhood.values(), reverse=True)
        assert set(found.by_neighborhood) == {"East", "West"}
        for name, p in found.by_neighborhood.items():
            assert p == pytest.approx(areas[name], rel=close(model))


@pytest.mark.parametrize("model", FORECASTERS)
def test_a_forecast_between_the_grids_times_sees_what_is_known_then(trained, toy, tmp_path, model):
    """The future of one of two tables is another, from half an hour before on: the same bits. Not so an hour before."""
    run, at = open_run(trained(model)), "2024-04-20T07:23"
    issue_s = int(np.datetime64(at, "s").astype(np.int64))
    frame = toy.incidents()

    def beyond(cut_s, name):
        changed = frame.copy()
        late = changed["time_s"] >= cut_s
        assert late.sum() > 500
        changed.loc[late, "category"] = "SHOOTING"
        changed.loc[late, "longitude"] = -76.59
        first = changed[late].iloc[:1].assign(time_s=cut_s)  # at that very moment
        whole = pd.concat([changed, first]).sort_values("time_s", kind="stable", ignore_index=True)
        return toy.write(tmp_path / name, whole)

    plain = run.forecast(at)
    assert plain.window_start == np.datetime64(at) and plain.window_end == np.datetime64("2024-04-20T09:23")
    unknown = run.forecast(at, data=beyond(issue_s - 1800, "unknown"))
    assert unknown == plain
    known = run.forecast(at, data=beyond(issue_s - 3600, "known"))
    if model not in ("base_rate", "climatology"):
        assert known.probability != plain.probability


def test_a_forecast_beyond_the_runs_table_takes_another(trained, toy, tmp_path):
    frame = toy.incidents()
    more = frame[frame["time_s"] < toy.begin_s + 2 * toy.week_s]
    more = more.assign(time_s=more["time_s"] + 18 * toy.week_s)
    longer = toy.write(tmp_path / "longer", pd.concat([frame, more], ignore_index=True))
    run = open_run(trained("hewsnet"))
    score(trained("hewsnet"), longer, tmp_path / "scores", device="cpu")
    table = pd.read_parquet(tmp_path / "scores" / "forecasts.parquet").set_index("issue_time")
    with pytest.raises(UserError, match="must be an issue time"):
        run.forecast("2024-05-10T06:00")
    found = run.forecast("2024-05-10T06:00", data=longer)
    assert found.probability == pytest.approx(table.loc["2024-05-10T06:00", "p"], rel=1e-9)
    assert run.forecast("2024-05-06T10:00").issue_time == np.datetime64("2024-05-06T10:00")  # a few hours beyond


def test_any_way_to_name_a_time_is_the_same_forecast(trained):
    run, at = open_run(trained("level")), "2024-04-10T06:00"
    expected = run.forecast(at)
    seconds = np.datetime64(at, "s").astype(np.int64)
    for same in (datetime(2024, 4, 10, 6), pd.Timestamp(at), np.datetime64(at, "ns"), int(seconds), seconds):
        assert run.forecast(same) == expected


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("soon", "at = 'soon': must be a local date or time"),
        ("2024-04-10T06:00+02:00", "must be a local date or time"),
        (pd.Timestamp("2024-04-10", tz="UTC"), "must be a local date or time"),
        (None, "at: must be a local time such as"),
        (1.5, "at = 1.5: must be a local time such as"),
        ("2024-01-01T23:00", "must be an issue time from 2024-01-02T00:0.* to 2024-05-0.*, which the table covers"),
        ("2034-01-01", "which the table covers"),
        (np.datetime64("NaT"), "which the table covers"),
    ],
)
def test_a_time_that_is_none_or_lies_outside_is_one_line(trained, at, said):
    with pytest.raises(UserError, match=said) as told:
        open_run(trained("level")).forecast(at)
    assert "\n" not in str(told.value)


def test_a_run_without_data_or_forecasts_is_refused(trained, prepared, tmp_path):
    with pytest.raises(UserError, match=r"data folder.*does not exist"):
        open_run(trained("level")).forecast("2024-04-10", data=tmp_path / "none")
    with pytest.raises(UserError, match="is not a prepared city"):
        open_run(trained("level")).forecast("2024-04-10", data=trained("level"))
    with pytest.raises(UserError, match="was not made by 'hews train'"):
        open_run(prepared)


def test_a_run_judges_itself(trained, tmp_path):
    metrics = open_run(trained("level")).evaluate(out=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics and metrics["model"] == "level"


def test_a_run_without_networks_loads_no_library_that_it_does_without(trained, tmp_path):
    """They take seconds to load: live, scored or judged. A stack asks for those of the experts that it kept."""
    run = trained("hewsnet")
    script = f"""
import sys
from pathlib import Path
from hews_gpu.alerts.policy import why_no_skill
from hews_gpu.cli.commands import app
from hews_gpu.forecasters.base import Setting
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.runs.run import open_run

run = open_run(Path({str(run)!r}))
FORECASTERS["stack"].make(Setting(city=run.experiment.city))
run.forecast({ISSUES[0]!r})
why_no_skill(run.folder)
print(*sys.modules)
for command in (["score", {str(run)!r}, str(run.prepared.folder)], ["evaluate", {str(run)!r}]):
    app([*command, "--device", "cpu", "--json", "--out", {str(tmp_path)!r} + "/" + command[0]], standalone_mode=False)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    live, *_, judged = (set(line.split()) for line in done.stdout.splitlines())
    assert "hews_gpu.forecasters.stack" in live and (tmp_path / "evaluate" / "metrics.json").is_file()
    heavy = {"torch", "sklearn", "matplotlib", "geopandas", "scipy.signal", "dask"}
    assert not judged & heavy and not live & {*heavy, "scipy.stats"}
