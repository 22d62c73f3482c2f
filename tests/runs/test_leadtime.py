"""The folder of `hews leadtime`: one file per point, the same result whoever makes them, no trace of a mistake."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import Problem
from hews_gpu.evaluation.folds import Experiment
from hews_gpu.report.build import build_report
from hews_gpu.runs import leadtime as module
from hews_gpu.runs.leadtime import Settings, leadtime
from tests.runs.test_backtest import long_city, long_table

HOUR_S, DAY_S = 3600, 86_400
SHIFTS_S = (7 * HOUR_S, 15 * HOUR_S, 23 * HOUR_S)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return long_city(tmp_path_factory.mktemp("long") / "prepared")


def settings_of(city, **changes):
    asked = {"models": ("level", "hawkes"), "leads_s": (1800, DAY_S), "horizons_s": (7200, 8 * HOUR_S)}
    return Settings(**{"problem": Problem(prepared=city), "shifts_s": SHIFTS_S, **asked, **changes})


@pytest.fixture(scope="module")
def folder(city, tmp_path_factory):
    """Made in one process; not to be written to."""
    out = tmp_path_factory.mktemp("leadtime") / "out"
    leadtime(settings_of(city), out)
    return out


def test_the_result_holds_every_lead_of_every_horizon(folder, city):
    result = json.loads((folder / "leadtime.json").read_text(encoding="utf-8"))
    assert (result["kind"], result["city"], result["shifts"]) == ("leadtime", "Toy", "07:00,15:00,23:00")
    pairs = [(point["horizon_s"], point["lead_s"]) for point in result["points"]]
    assert pairs == [(7200, 1800), (7200, DAY_S), (8 * HOUR_S, 1800), (8 * HOUR_S, DAY_S)]
    for point in result["points"]:
        assert list(point["forecasts"]) == ["climatology", "level", "hawkes"]
        assert list(point["places"]["forecasts"]) == ["long_run", "level"]
        assert point["begin"][11:] in (("00:00",) if point["horizon_s"] == 7200 else ("07:00", "15:00", "23:00"))
    assert {path.name for path in folder.iterdir()} == {"leadtime.json", "points", "hews.json", "city.toml"}
    manifest = json.loads((folder / "hews.json").read_text(encoding="utf-8"))
    assert (manifest["kind"], manifest["state"]) == ("leadtime", "done") and manifest["processor_seconds"] > 0
    assert manifest["settings"]["leads_s"] == [1800, DAY_S]


def test_of_a_year_of_data_no_verdict_is_given_for_months_that_were_never_trained_on(folder):
    verdict = json.loads((folder / "leadtime.json").read_text(encoding="utf-8"))["verdict"]
    assert verdict.startswith("Too little to judge: no training window in")


def test_processes_and_a_run_that_goes_on_give_the_same_bytes(folder, city, tmp_path, capsys):
    out, points = tmp_path / "out", folder / "points"
    leadtime(settings_of(city), out, jobs=2)
    assert (out / "leadtime.json").read_bytes() == (folder / "leadtime.json").read_bytes()
    gone = sorted((out / "points").iterdir())[0]
    gone.unlink()
    (out / "leadtime.json").unlink()
    leadtime(settings_of(city), out, resume=True)
    assert "3 of 4 points are there already" in capsys.readouterr().err
    assert (out / "leadtime.json").read_bytes() == (folder / "leadtime.json").read_bytes()
    assert len(list((out / "points").iterdir())) == len(list(points.iterdir()))
    gone.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"\.json.*--resume"):
        leadtime(settings_of(city), out, resume=True)


def test_a_run_that_is_stopped_says_how_to_go_on(city, tmp_path, monkeypatch):
    def stop(given):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_make_point", stop)
    with pytest.raises(KeyboardInterrupt, match="--resume to go on"):
        leadtime(settings_of(city), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "hews.json").read_text())["state"] == "running"


def test_other_settings_and_folders_are_refused(folder, city, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for settings in (settings_of(city, leads_s=(1800,)), settings_of(city, shifts_s=())):
        with pytest.raises(UserError, match="was begun with other settings"):
            leadtime(settings, out, resume=True)
    with pytest.raises(UserError, match=r"exists already.*--force"):
        leadtime(settings_of(city), out)
    with pytest.raises(UserError, match="goes on with a leadtime that --force would remove"):
        leadtime(settings_of(city), out, resume=True, force=True)
    with pytest.raises(UserError, match="--force replaces only a 'leadtime' folder"):
        leadtime(settings_of(city), city, force=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_shifts_are_those_of_the_windows_that_are_judged(city):
    settings = settings_of(city)
    opened = settings.problem.open()
    for plan in settings.plans(opened):
        hours = set((Experiment.open(opened, plan).test.windows.begin_s % DAY_S // HOUR_S).tolist())
        assert hours == (set(range(0, 24, 2)) if plan.task.horizon_s == 7200 else {7, 15, 23})


def test_the_command_prints_the_verdict_and_leaves_a_page(folder, city, tmp_path):
    words = ["--models", "level,hawkes", "--leads", "0.5h,1d", "--horizons", "2h,8h", "--shifts", "07:00,15:00,23:00"]
    done = CliRunner().invoke(app, ["leadtime", str(city), "--out", str(tmp_path / "out"), *words])
    assert done.exit_code == 0, done.stderr
    assert "Too little to judge" in done.stdout and "report.html" in done.stdout and "hawkes" in done.stdout
    assert (tmp_path / "out" / "leadtime.json").read_bytes() == (folder / "leadtime.json").read_bytes()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How far ahead" in page and page == build_report(tmp_path / "out", force=True).read_text(encoding="utf-8")
    again = CliRunner().invoke(
        app, ["leadtime", str(city), "--out", str(tmp_path / "out"), *words, "--resume", "--json"]
    )
    assert json.loads(again.stdout) == json.loads((folder / "leadtime.json").read_text(encoding="utf-8"))


def daily_city(folder):
    """Most of its shootings are left out, so that not every day has one."""
    frame = long_table()
    frame = frame[(frame["category"] != "SHOOTING") | (frame.index % 7 == 0)]
    return long_city(folder, frame.assign(time_s=frame["time_s"] // DAY_S * DAY_S))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--leads", "soon"], "--leads = 'soon': is not a number of min, h or d"),
        (["--leads", "2h,"], "--leads = '': is not a number of min, h or d"),
        (["--leads", "0h"], "--leads = '0h': is not a number"),
        (["--leads", "6h,2h"], "--leads = '6h,2h': must each be longer than the one before"),
        (["--leads", ",".join(f"{k}h" for k in range(1, 30))], "--leads = '29 durations': must be 1..20"),
        (["--leads", "2h,300d"], "Toy, windows of 2h forecast 300d ahead: is too short for the plan"),
        (
            ["--leads", "2h", "--horizons", "2h,24h"],
            "Toy, windows of 24h forecast 2h ahead: has a block in which every",
        ),
        (["--horizons", "2h,2h"], "--horizons = '2h,2h': must each be longer"),
        (["--horizons", "200d"], "Toy, windows of 200d forecast 7d ahead: is too short for the plan"),
        (["--shifts", "7:00,15:00"], "--shifts = '7:00': is not a time of the day"),
        (["--shifts", "07:00,15:00"], "--shifts = '07:00,15:00': must divide the day into equal parts"),
        (["--shifts", "15:00,23:00,07:00"], "must divide the day into equal parts"),
        (["--shifts", "07:00,13:00,19:00,01:00"], "must divide the day into equal parts"),
        (["--horizons", "2h", "--shifts", "07:00,15:00,23:00"], "fits no horizon. Add 8h to --horizons"),
        (["--models", "level,hewsnett"], "--models = 'hewsnett': is not a forecaster. Did you mean 'hewsnet'?"),
        (["--models", "level"], "--models = 'level': names nothing to be held against"),
        (["--jobs", "0"], "--jobs = 0: must be 1 or more"),
        (["--device", "tpu"], "--device = 'tpu'"),
        (["NONE"], "does not exist"),
    ],
)
def test_wrong_words_are_one_line_and_leave_nothing(city, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    target = [] if words == ["NONE"] else [str(city)]
    done = CliRunner().invoke(app, ["leadtime", *target, *words, "--out", "out"])
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hews: ")]
    assert done.exit_code == 2 and said in line and done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_table_of_days_is_not_cut_into_hours(city, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    daily = daily_city(tmp_path / "daily")
    lines = (daily / "city.toml").read_text(encoding="utf-8").replace("lead_s = 0", f"lead_s = {DAY_S}").splitlines()
    lines.insert(lines.index("[windows]") + 1, f"length_s = {DAY_S}\nstride_s = {DAY_S}")
    lines.insert(lines.index("[task]") + 1, f"history_s = {7 * DAY_S}\nhorizon_s = {DAY_S}")
    (daily / "city.toml").write_text("\n".join(lines), encoding="utf-8")
    for words, said in (([], "--horizons = '2h': is finer"), (["--horizons", "24h"], "--leads = '30min': is finer")):
        done = CliRunner().invoke(app, ["leadtime", "daily", *words, "--out", "out"])
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("hews: ")]
        assert done.exit_code == 2 and said in line and "no time of the day" in line
    assert {path.name for path in tmp_path.iterdir()} == {"daily"}
    words = ["--models", "level,hawkes", "--horizons", "24h", "--leads", "24h,7d", "--out", "out"]
    done = CliRunner().invoke(app, ["leadtime", "daily", *words])
    assert done.exit_code == 0, done.stderr
