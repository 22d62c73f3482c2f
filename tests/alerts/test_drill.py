"""The drill: every planted fault is seen, a check that is taken out is missed, and the record says how it went."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from typer.testing import CliRunner

from hews_gpu.alerts import checks, deliver, drill, intake, live
from hews_gpu.alerts.policy import InputLimits, Policy
from hews_gpu.cli.commands import app
from tests.alerts.live_city import POLICY, in_use, instant

AT = "2024-04-20T06:00:05"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The generated city in use under the default policy."""
    return drill._prepared(tmp_path_factory.mktemp("drill") / "base", Policy())


def played(scene, folder, name):
    return drill._played(scene, folder / name, drill.CASES[name])


CASES_OF = {"ahead": ("future", "window"), "stale": ("outage",)}
"""Of checks that cases of another name are for."""


@pytest.mark.parametrize("check", [*checks.DELIVERY_CHECKS, *checks.ISSUE_CHECKS])
def test_a_check_that_is_taken_out_is_missed(scene, tmp_path, monkeypatch, check):
    where = checks.DELIVERY_CHECKS if check in checks.DELIVERY_CHECKS else checks.ISSUE_CHECKS
    monkeypatch.setitem(where, check, lambda _: "")
    for case in CASES_OF.get(check, (check,)):
        assert not played(scene, tmp_path, case)["passed"]


def test_a_clock_a_switch_a_card_and_a_failure_that_nobody_looks_at_are_missed(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "fault_of_clock", lambda now, last: "")
    assert not played(scene, tmp_path, "clock")["passed"]
    monkeypatch.setattr(live._Turn, "_why_stopped", lambda turn: "")
    assert not played(scene, tmp_path, "switch")["passed"]
    monkeypatch.setattr(live, "require_card", lambda run, model, switch: None)
    assert not played(scene, tmp_path, "card")["passed"]
    with monkeypatch.context() as blind:
        blind.setattr(intake, "new_parcels", lambda *_: iter(()))
        assert not played(scene, tmp_path, "damaged")["passed"]
    monkeypatch.setattr(deliver, "_attempt", lambda *_: "")
    assert not played(scene, tmp_path, "channel")["passed"]


@pytest.mark.parametrize(
    ("limits", "case"),
    [({"volume_ratio": (0.0, 1e6)}, "volume"), ({"lost_rows": 1.0}, "lost"), ({"unknown_categories": 1.0}, "unknown")],
)
def test_a_limit_that_no_fault_reaches_fails_its_case(scene, tmp_path, limits, case):
    lax = replace(scene, policy=replace(scene.policy, input=InputLimits(**limits)))
    result = drill._played(lax, tmp_path / case, replace(drill.CASES[case], play=under(lax, drill.CASES[case].play)))
    assert not result["passed"]


def under(lax, play):
    """Play under another policy."""

    def lenient(scene):
        (scene.folder / "run" / "warnings.toml").write_text(drill._toml(lax.policy))
        return play(scene)

    return lenient


def test_the_drill_passes_and_lets_live_issuing_go_on_for_a_week(tmp_path, trained, prepared):
    city = in_use(tmp_path, trained("level"), prepared, POLICY + "[drill]\nrequired = true\n")
    city.deliver("2024-04-20.csv", "2024-04-20T05:55")
    assert city.warn("2024-04-20T04:00:05")["outcome"] == "stopped"
    result = drill.drill(city.run, clock=lambda: instant(AT) - timedelta(minutes=5))
    assert result["passed"] and set(result["cases"]) == set(drill.CASES), result
    (entry,) = city.of("drill")
    assert entry["passed"] and entry["cases"] == dict.fromkeys(drill.CASES, True)
    assert city.warn(AT)["outcome"] == "issued"


def test_the_command_ends_with_1_where_a_case_fails(tmp_path, trained, prepared, monkeypatch):
    city = in_use(tmp_path, trained("level"), prepared, POLICY + "[input]\nlost_rows = 1.0\n")
    few = {name: drill.CASES[name] for name in ("sound", "lost", "switch")}
    monkeypatch.setattr(drill, "drill", partial(drill.drill, cases=few))
    done = CliRunner().invoke(app, ["drill", str(city.run), "--out", str(tmp_path / "drill.json")])
    assert done.exit_code == 1 and "FAILED" in done.stdout, done.stderr
    result = json.loads((tmp_path / "drill.json").read_text())
    assert [name for name, case in result["cases"].items() if not case["passed"]] == ["lost"]
    assert set(result["cases"]) == set(few)
    assert city.of("drill")[-1]["cases"]["lost"] is False
