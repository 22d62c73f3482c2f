"""A forecast that feeds itself runs away, one that does not holds; arms differ by what they do alone."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.alerts.policy import NeighborhoodBudget, Policy
from hews_gpu.audit import feedback as audited
from hews_gpu.audit.feedback import ARMS, Arm, Settings, feedback, judged, run_arm
from hews_gpu.errors import UserError
from hews_gpu.synthetic.patrolled import WEAPONS, PatrolledCity, Response
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S
from hews_gpu.workers import Unfinished, in_this_process

SMALL = Settings(cycles=3, seeds=2, neighborhoods=4)


def history(arm, settings=SMALL, seed=0):
    days = (audited.BEFORE_S + settings.cycles * settings.cycle_weeks * WEEK_S) // DAY_S
    city = PatrolledCity.draw(settings.neighborhoods, days, seed)
    return {**run_arm(city, arm, settings, seed), "risk": city.risk(arm.target).tolist()}


def drift(arm, settings):
    runs = [history(arm, settings, seed) for seed in range(2)]
    return audited._measures(runs)["drift"].mean(axis=0)


def test_a_target_that_patrols_discover_runs_away_and_one_that_they_do_not_does_not():
    """Lum and Isaac, 2016: the more it is looked for where it was found, the more it is found there."""
    arms = ARMS["discovered"], ARMS["discovered_random"]
    strong = Settings(cycles=7, cycle_weeks=4, delivery_days=28, neighborhoods=6)
    own, control = (drift(arm, strong) for arm in arms)
    assert own[-1] > own[0] + 0.05 and own[-1] > control[-1] + 0.05
    assert own[0] == control[0]  # before any patrol


def test_without_a_factor_all_arms_of_a_target_say_the_same():
    calm = Settings(cycles=3, seeds=2, neighborhoods=4, response=Response(discovery=1))
    own = history(ARMS["discovered"], calm)
    for name in ("discovered_separated", "discovered_random"):
        other = history(ARMS[name], calm)
        assert [other[key] for key in ("warned", "forecast", "events", "hits")] == [
            own[key] for key in ("warned", "forecast", "events", "hits")
        ]
    assert history(ARMS["discovered"])["forecast"] != own["forecast"]


def test_what_patrols_found_is_out_of_what_was_reported():
    """Weapons but for what patrols found are the weapons of a city without patrols, to the bit."""
    nobody = history(Arm(title="", target=WEAPONS, patrols="none"))
    assert history(ARMS["discovered_separated"])["forecast"] == nobody["forecast"]


def test_patrols_go_anywhere_for_as_many_hours(monkeypatch):
    sent, live = [], audited.History.live

    def watched(self, until_s, patrolled, response):
        sent.append(patrolled)
        return live(self, until_s, patrolled, response)

    monkeypatch.setattr(audited.History, "live", watched)
    warned = np.array(history(ARMS["discovered_random"])["warned"])
    anywhere = [one.sum() for one in sent[1:]]
    assert anywhere == warned.sum(axis=1).tolist() and warned.sum() > 0
    assert [one.sum(axis=0).tolist() for one in sent[1:]] != warned.tolist()
    sent.clear()
    warned = np.array(history(ARMS["discovered"])["warned"])
    assert [one.sum(axis=0).tolist() for one in sent[1:]] == warned.tolist()
    sent.clear()
    history(ARMS["none"])
    assert not any(one.any() for one in sent)


def test_each_control_sends_as_many_patrols_as_the_arm_beside_it():
    """Under a cap warnings are fewer, and so are the patrols that the capped arm is held against."""
    warned = {name: np.array(history(ARMS[name])["warned"]).sum() for name in ARMS if ARMS[name].target == WEAPONS}
    for name in ("discovered", "discovered_capped"):
        assert warned[ARMS[name].control] == pytest.approx(warned[name], rel=0.25)
    assert warned["discovered_capped"] < 0.5 * warned["discovered"]


def test_an_event_that_follows_too_soon_is_not_foreseen():
    usual = history(ARMS["discovered"])
    late = history(ARMS["discovered"], replace(SMALL, policy=Policy(minimum_lead_s=7 * HOUR_S)))
    assert late["events"] == usual["events"] and 0 < sum(late["hits"]) < 0.5 * sum(usual["hits"])


def test_blind_and_separated_see_other_rows():
    city = PatrolledCity.draw(4, 28, 0)
    patrolled = np.ones((28 * 3, 4), dtype=bool)
    seen = {}
    for sees in ("all", "blind", "separated"):
        empty = np.full(len(city.time_s), audited.UNKNOWN)
        arm = Arm(title="", sees=sees)
        one = audited.History(city=city, arm=arm, outcome=empty, until_s=city.begin_s, delivery_s=WEEK_S)
        one.live(city.begin_s + 28 * DAY_S, patrolled, Response())
        catalog = one.catalog()
        seen[sees] = dict(zip(*np.unique(np.array(catalog.streams)[catalog.stream], return_counts=True), strict=True))
        assert ((catalog.known_s + 1 - city.begin_s) % WEEK_S == 0).all() and (catalog.known_s >= catalog.time_s).all()
    assert set(seen["blind"]) == {"TARGETS", "ROBBERY", "BURGLARY"} < set(seen["all"])
    found = seen["separated"]["WEAPONS, found"]
    assert found > 0 and seen["separated"]["WEAPONS"] + found == seen["all"]["WEAPONS"]


def told(last, seeds=4):
    """Return runs of two neighborhoods whose forecasts begin at the truth and end with this share for the first."""
    shares = np.linspace(0.5, last, 10)
    run = {"forecast": [[share, 1 - share] for share in shares], "risk": [0.5, 0.5]}
    run |= {"warned": [[1, 1]] * 9 + [[0, 0]], "events": [4] * 10, "hits": [1] * 10}
    return [{**run, "hits": [k % 2] * 10} for k in range(seeds)]


@pytest.mark.parametrize(("last", "verdict"), [(0.9, "runs away"), (0.53, "drifts"), (0.5, "holds")])
def test_the_rule(last, verdict):
    result = judged({"discovered": told(last), "discovered_random": told(0.5)})
    own = result["discovered"]
    assert own["verdict"] == verdict and "verdict" not in result["discovered_random"]
    assert own["drift"]["first"]["value"] == 0
    assert own["beyond_control"] == own["drift"]["last"] == own["rise"]
    assert own["rise"]["value"] == pytest.approx((last - 0.5) * 17 / 18, abs=1e-4)  # the mean of the last two
    assert own["hit_rate"]["last"]["value"] == 0.125 and own["gini"]["last"]["value"] == 0
    assert own["largest_share"]["last"]["value"] == 0.5  # of the cycles with a warning
    json.dumps(result, allow_nan=False)


def test_a_run_that_was_cut_goes_on(tmp_path, monkeypatch):
    settings = Settings(cycles=2, seeds=2, neighborhoods=4, arms=("random", "none"))
    whole = feedback(settings, tmp_path / "whole.json", in_this_process, resume=False)
    done, run = [], run_arm

    def cut(city, arm, settings, seed):
        if len(done) == 3:
            raise Unfinished("workers", allowed="were lost")
        done.append((arm.title, seed))
        return run(city, arm, settings, seed)

    monkeypatch.setattr(audited, "run_arm", cut)
    monkeypatch.setattr("hews_gpu.workers.MOST_THREADS", 1)
    out = tmp_path / "feedback.json"
    with pytest.raises(Unfinished):
        feedback(settings, out, in_this_process, resume=False)
    monkeypatch.setattr(audited, "run_arm", run)
    done.clear()
    monkeypatch.setattr(audited, "run_arm", lambda *of: done.append(of[3]) or run(*of))
    result = feedback(settings, out, in_this_process, resume=True)
    assert len(done) == 1 and not list(tmp_path.glob(".*"))
    assert result["arms"] == whole["arms"] and set(result["arms"]) == {"random", "none"}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"cycles": 1}, r"--cycles = 1: must be 2\.\.500"),
        ({"seeds": 1}, "--seeds"),
        ({"neighborhoods": 0}, r"--neighborhoods = 0: must be 4\.\.55"),
        ({"model": "cnn"}, "--model = 'cnn': draws maps"),
        ({"model": "levle"}, "Did you mean 'level'"),
        ({"delivery_days": 9}, "--delivery-days"),
        ({"policy": Policy(neighborhoods=NeighborhoodBudget(watch_per_week=0, warning_per_week=0))}, "never warns"),
        ({"policy": Policy(neighborhoods=NeighborhoodBudget(each_per_week=0))}, "never warns"),
        ({"policy": Policy(minimum_lead_s=8 * HOUR_S)}, r"\[minimum_lead_s\] = 28800: must be less than 28800 seconds"),
        ({"policy": Policy(calibrate_on=("2016-01-01", "2016-03-01"))}, r"\[calibrate_on\] .* is a stretch of a real"),
    ],
)
def test_settings_that_cannot_be(wrong, match):
    with pytest.raises(UserError, match=match):
        Settings(**wrong)


def test_arms_that_could_not_differ_are_left_out():
    assert set(ARMS) - set(audited.arms_of("level")) == {"blind", "separated"} and audited.arms_of("hewsnet") == tuple(
        ARMS
    )
    for name in ("blind", "separated"):  # the level looks at its target alone
        assert history(ARMS[name])["forecast"] == history(ARMS["reported"])["forecast"]


def command(*words):
    line = [sys.executable, "-m", "hews_gpu", "simulate", "feedback", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_command(tmp_path):
    policy, out = tmp_path / "warnings.toml", tmp_path / "feedback.json"
    policy.write_text("[neighborhoods]\nwatch_per_week = 0\nwarning_per_week = 0\n")
    wrong = [("--policy", policy, "never warns"), ("--discovery", -1, "--discovery = -1.0")]
    for option, value, why in (
        *wrong,
        ("--model", "boosting", "does not say where"),
        ("--policy", out, "does not exist"),
    ):
        refused = command("--out", out, "--cycles", 2, "--seeds", 2, "--neighborhoods", 4, option, value)
        lines = [line for line in refused.stderr.splitlines() if line.startswith("hews: ")]
        assert refused.returncode == 2 and len(lines) == 1 and why in lines[0], refused.stderr
        assert "Traceback" not in refused.stderr
        assert list(tmp_path.iterdir()) == [policy]
    policy.write_text("[neighborhoods]\nwatch_per_week = 20\n")
    made = command("--out", out, "--cycles", 2, "--seeds", 2, "--neighborhoods", 4, "--policy", policy, "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(out.read_text())
    assert result["settings"]["policy"]["neighborhoods"]["watch_per_week"] == 20
    assert result["settings"]["arms"] == list(result["arms"]) == list(audited.arms_of("level"))
    assert json.loads(made.stdout)["arms"] == result["arms"]
