"""The audit of who bears the warnings, from the folders that other commands leave to file, page and exit code."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.audit import fairness as audited
from hews_gpu.audit.exposure import likeliest
from hews_gpu.audit.fairness import FAIRNESS, PAGE, fairness
from hews_gpu.errors import UserError
from hews_gpu.runs.folder import model_fingerprint
from tests.alerts.test_replay import issuing, week
from tests.toy_city import prepared, toy, trained

__all__ = ["issuing", "prepared", "toy", "trained", "week"]

AREAS, WINDOWS = 24, 2000


@pytest.fixture
def run(tmp_path, trained):
    """An evaluated run of many neighborhoods, of which the policy warns 500 times a week in all."""
    folder = tmp_path / "run"
    shutil.copytree(trained("hewsnet"), folder)
    (folder / "warnings.toml").write_text("[neighborhoods]\nwatch_per_week = 30\nwarning_per_week = 10\n")
    rng = np.random.default_rng(0)
    p = 0.02 * rng.gamma(2, 0.5, size=(WINDOWS, AREAS))
    write_forecasts(folder, p, rng.random(p.shape) < p)
    return folder


def write_forecasts(folder, p, events):
    windows, areas = p.shape
    begin = np.datetime64("2024-04-01T00", "ms") + np.repeat(np.arange(windows), areas) * np.timedelta64(2, "h")
    name = pa.DictionaryArray.from_arrays(np.tile(np.arange(areas), windows), [f"Area {n}" for n in range(areas)])
    columns = {"window_start": begin, "neighborhood": name, "p": p.ravel(), "p_long_run": np.full(p.size, p.mean())}
    events = events.astype(np.int16).ravel()
    pq.write_table(pa.table({**columns, "events": events}), folder / "forecasts_by_neighborhood.parquet")


@pytest.fixture
def census(tmp_path):
    path = tmp_path / "census.csv"
    rows = [f"area {n},{1000 + n},{n},{n % 2},7" for n in range(AREAS)]
    path.write_text("\n".join(["name,people,share,half,same", *rows]))
    return path


def audit(run, census, **more):
    asked = {"name": "name", "residents": "people", "by": ["share/people"], "out": run, **more}
    return fairness(run, census=census, **asked)


def test_a_run_is_audited_at_the_budget_of_its_policy(run, census):
    result = audit(run, census)
    assert result == json.loads((run / FAIRNESS).read_text())
    weeks = WINDOWS * 2 / 168
    assert result["warned_windows"] == round(40 * weeks) and result["verdict"] == "pass"
    assert result["fingerprint"] == model_fingerprint(run)
    assert [one["verdict"] for one in result["results"]] == ["pass"] * 6
    table = pq.read_table(run / "forecasts_by_neighborhood.parquet")
    p, events = (table[name].to_numpy().reshape(WINDOWS, AREAS) for name in ("p", "events"))
    warned = likeliest(p, round(40 * weeks))
    (by,) = result["by"]
    assert [row["neighborhoods"] for row in by["groups"]["model"]] == [6] * 4
    last = by["groups"]["model"][-1]
    assert last["hours_per_event"]["value"] == pytest.approx(2 * warned[:, 18:].sum() / events[:, 18:].sum())
    assert sum(one["warned_hours"] for one in result["by_neighborhood"]) == 2 * warned.sum()
    each = np.sort(warned.sum(axis=0))[::-1]
    half = result["bear_half"]
    assert each[:half].sum() >= warned.sum() / 2 > each[: half - 1].sum()
    flat = by["groups"]["long_run_rate"]  # it says the same everywhere: all groups get alike
    assert flat[0]["warned"]["value"] == pytest.approx(warned.mean(), rel=0.01)
    page = (run / PAGE).read_text(encoding="utf-8")
    assert "Every gate passes" in page and "By share/people" in page
    with pytest.raises(UserError, match=r"holds fairness\.json and fairness\.html already"):
        audit(run, census)
    audit(run, census, force=True)


def test_the_command_says_so_and_ends_with_its_code(run, census):
    command = [sys.executable, "-m", "hews_gpu", "audit", "fairness", str(run), "--census", str(census)]
    options = ["--by", "share", "--residents", "people"]
    done = subprocess.run([*command, *options, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    table = pq.read_table(run / "forecasts_by_neighborhood.parquet")
    p, events = (table[name].to_numpy().reshape(WINDOWS, AREAS).copy() for name in ("p", "events"))
    p[:, -6:] *= 2
    write_forecasts(run, p, events)
    done = subprocess.run([*command, *options, "--force"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "fail" in done.stdout, done
    done = subprocess.run([*command, "--residents", "people"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"by": ["half"]}, r"--by = 'half': has 2 values in the neighborhoods with residents, at least 4"),
        ({"by": ["same"]}, r"--by = 'same': has 1 values"),
        ({"by": ["none"]}, r"'none': is not a column of it"),
        ({"residents": "none"}, r"'none': is not a column of it"),
    ],
)
def test_a_census_that_does_not_part_the_city_is_one_line(run, census, more, message):
    with pytest.raises(UserError, match=message) as caught:
        audit(run, census, **more)
    assert "\n" not in str(caught.value) and not (run / FAIRNESS).exists()


def test_neighborhoods_without_residents_or_without_a_row_are_named_and_in_no_group(run, census):
    lines = census.read_text().splitlines()
    lines[3] = "area 2,0,2,0,7"
    census.write_text("\n".join(lines[:-1]))
    result = audit(run, census)
    assert result["without_census"] == ["Area 23"] and result["without_residents"] == ["Area 2", "Area 23"]
    assert result["by"][0]["left_out"] == 2
    assert "Area 23" in (run / PAGE).read_text(encoding="utf-8")


def test_what_warns_of_nothing_or_says_nothing_of_places_is_one_line(run, census, tmp_path, trained):
    (run / "warnings.toml").write_text("[neighborhoods]\nwatch_per_week = 0\nwarning_per_week = 0\n")
    with pytest.raises(UserError, match="warns of no neighborhood: nobody bears it"):
        audit(run, census)
    (run / "forecasts_by_neighborhood.parquet").unlink()
    with pytest.raises(UserError, match="is a run without forecasts by neighborhood"):
        audit(run, census)
    for folder, message in ((tmp_path / "none", "does not exist"), (tmp_path, "is neither a replay nor a run")):
        with pytest.raises(UserError, match=message):
            audit(folder, census, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_replay_is_read_as_it_was(week):
    said = audited._read(week)
    forecasts, rows = pq.read_table(week / "forecasts.parquet"), pq.read_table(week / "warnings.parquet").to_pylist()
    begins = forecasts["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    assert said.horizon_s == 7200 and (np.diff(said.begin_s) == 7200).all() and said.begin_s[0] == begins[0]
    at = np.searchsorted(begins, said.begin_s)
    areas = np.array(forecasts["areas"].to_pylist())[at]
    np.testing.assert_allclose(said.p["model"], areas, rtol=1e-6)
    issues = forecasts["issue_time"].to_pylist()
    ends = forecasts["window_end"].to_pylist()
    starts = forecasts["window_start"].to_pylist()
    incidents = pq.read_table(week / "incidents.parquet").to_pylist()
    for s, k in enumerate(at.tolist()):
        for n, name in enumerate(said.names):
            standing = any(
                one["place"] == name and one["id"] and one["issue_time"] <= issues[k] and starts[k] < one["window_end"]
                for one in rows
            )
            assert said.is_warned[s, n] == standing
            inside = [one for one in incidents if one["is_target"] and one["neighborhood"] == n]
            assert said.events[s, n] == sum(starts[k] <= one["time"] < ends[k] for one in inside)
    assert said.is_warned.any() and said.events.any()
    assert said.fingerprint == json.loads((week / "replay.json").read_text())["fingerprint"]
    assert said.p["climatology"].shape == said.p["model"].shape and np.ptp(said.p["long_run_rate"], axis=0).max() == 0
    assert 0.5 < said.p["climatology"].sum() / said.p["model"].sum() < 2


def test_victims_of_one_event_count_once_and_windows_of_which_nobody_knows_not_at_all(week, tmp_path):
    before, folder = audited._read(week), tmp_path / "replay"
    shutil.copytree(week, folder)
    incidents = pq.read_table(folder / "incidents.parquet")
    pq.write_table(incidents.take(np.repeat(np.arange(len(incidents)), 2)), folder / "incidents.parquet")
    np.testing.assert_array_equal(audited._read(folder).events, before.events)
    forecasts = pq.read_table(folder / "forecasts.parquet")
    at = forecasts.column_names.index("y")
    for known in (len(forecasts) // 2, 0):
        y = forecasts["y"].to_pylist()[:known] + [None] * (len(forecasts) - known)
        pq.write_table(forecasts.set_column(at, "y", pa.array(y, pa.int8())), folder / "forecasts.parquet")
        if known:
            np.testing.assert_array_equal(audited._read(folder).begin_s, before.begin_s[: len(before.begin_s) // 2])
    with pytest.raises(UserError, match="holds no forecast of which it is known what came"):
        audited._read(folder)


def test_a_replay_of_a_table_that_was_prepared_anew_is_refused(week, toy, tmp_path):
    folder = shutil.copytree(week, tmp_path / "replay")
    notes = json.loads((folder / "hews.json").read_text())
    notes["prepared"] = str(toy.write(tmp_path / "prepared", toy.incidents(seed=1)))
    (folder / "hews.json").write_text(json.dumps(notes))
    with pytest.raises(UserError, match="is not the data that"):
        audited._read(folder)
