"""The benchmark of forecasts on a small generated city, and that it opens the locked block once, by its flag alone."""

import json
import sys
from dataclasses import replace
from datetime import date

import pytest
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.config import SplitsConfig, city_template, load_city
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import forecast_blocks, judge_experiment
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.city import generated_city
from hews_gpu.forecasters.registry import BASELINES
from studies import forecasts
from studies.forecasts import FIRST_TEST, JUDGED, closed, curves, judge, judge_locked, main, seconds, show
from studies.inputs.locked import openings
from tests.studies.test_locked import folder_of


def test_a_source_is_judged_and_shown(capsys, monkeypatch):
    quick = ("base_rate", "climatology", "level", "hawkes", "hewsnet")
    monkeypatch.setattr("studies.forecasts.JUDGED", {name: JUDGED[name] for name in quick})
    result = judge(generated_city("strong", years=1), Plan(blocks=1, seeds=(0,)), with_curves=False)
    json.dumps(result, allow_nan=False)
    assert set(result["forecasts"]) == {*quick, "oracle"}
    assert set(result["places"]["forecasts"]) > {"near_repeat", "hewsnet", "oracle"}
    show({"presets": {"strong": result}})
    assert "hawkes" in capsys.readouterr().out


def test_curves_ask_for_the_same_windows_and_later_knowledge_is_worth_less(strong):
    entries = {name: BASELINES[name] for name in ("climatology", "hawkes")}
    plan = Plan(blocks=2)
    found = curves(strong, plan, entries)
    assert [point["lead_s"] for point in found["lead_s"]] == [0, 7200, 21_600, 43_200, 86_400]
    assert [point["delay_s"] for point in found["delay_s"]] == [0, 3600, 86_400, 604_800]
    for axis in ("lead_s", "delay_s"):
        oracle = [point["forecasts"]["oracle"]["log_skill_bits"] for point in found[axis]]
        hawkes = [point["forecasts"]["hawkes"]["log_skill_bits"] for point in found[axis]]
        assert oracle[0] > 2 * oracle[-1] and hawkes[0] > hawkes[-1]
    first = found["lead_s"][0]["forecasts"]
    assert first == found["delay_s"][0]["forecasts"]
    experiment = Experiment.open(strong, replace(plan, in_turn=True))
    judged = judge_experiment(experiment, forecast_blocks(experiment, entries))["forecasts"]["hawkes"]
    bits = judged["against"]["climatology"]["log_skill_bits"]  # as a run's own metrics have it
    assert first["hawkes"]["log_skill_bits_interval"] == pytest.approx(bits["interval"], rel=1e-9)


def test_the_rolling_blocks_end_where_the_locked_one_begins(tmp_path):
    (tmp_path / "city.toml").write_text(city_template("baltimore"))
    splits = load_city(tmp_path / "city.toml").splits
    assert splits.locked == ("2018-01-01", "2020-01-01")
    assert seconds(FIRST_TEST) < splits.span_s("locked")[0] < splits.span_s("locked")[1]


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Four years of a generated city, of which the last is locked; `forecasts` is told of their dates."""
    source = generated_city("strong", years=4)
    years = [str(date.fromordinal(719_163 + (source.begin_s // 86_400) + 365 * k)) for k in range(5)]
    splits = SplitsConfig(
        train=(years[0], years[1]),
        validation=(years[1], years[2]),
        test=(years[2], years[3]),
        locked=(years[3], years[4]),
    )
    monkeypatch.setattr(forecasts, "BEGIN", years[0])
    return folder_of(tmp_path, source, splits)


def test_the_locked_block_is_judged_once_after_a_rehearsal(prepared, tmp_path, monkeypatch):
    locked_s, end_s = prepared.city.splits.span_s("locked")
    source, _ = closed(prepared)
    assert source.events.time_s.max() < locked_s and not source.notes["locked_block_opened"]
    seen, ledger = [], tmp_path / "ledger.jsonl"

    def spy(source, plan, *, with_curves):
        seen.append((int(source.events.time_s.max()), plan.first_test_s, len(openings(ledger))))
        return {**source.notes, "plan": plan}

    monkeypatch.setattr(forecasts, "judge", spy)
    found = judge_locked(prepared, "the final result", ledger)
    (last_s, first_test_s, openings_then), (whole_s, first_locked_s, openings_now) = seen
    assert last_s < locked_s and (first_test_s, openings_then) == (2 * locked_s - end_s, 0)
    assert locked_s < whole_s and (first_locked_s, openings_now) == (locked_s, 1)
    assert found["baltimore"]["plan"] == replace(found["rehearsal"]["plan"], first_test_s=locked_s)
    assert found["baltimore"]["locked_block_opened"]["why"] == "the final result"
    assert found["rehearsal"]["locked_block_opened"] is False and "rehearsal" in found["rehearsal"]["city"]
    with pytest.raises(UserError, match=r"was opened on .*the final result.* only once"):
        judge_locked(prepared, "again", ledger)
    assert len(seen) == 2 and len(openings(ledger)) == 1


def test_a_failing_rehearsal_spends_nothing(prepared, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(forecasts, "judge", fail)
    with pytest.raises(ZeroDivisionError):
        judge_locked(prepared, "the final result", tmp_path / "ledger.jsonl")
    assert openings(tmp_path / "ledger.jsonl") == []


def test_the_flag_needs_a_commit_and_the_whole_evaluation(monkeypatch, tmp_path):
    """Nothing is prepared, and so nothing opened, before that is seen to."""
    monkeypatch.setattr(forecasts, "LEDGER", tmp_path / "ledger.jsonl")
    monkeypatch.setattr(forecasts, "baltimore", lambda *arguments: pytest.fail("prepared"))
    monkeypatch.setattr(forecasts, "real_data", lambda: tmp_path)
    for options, commit, message in ((["--quick"], "abc", "--quick"), ([], "abc-dirty", "commit first")):
        monkeypatch.setattr("sys.argv", ["forecasts.py", "--open-locked-block", "why", *options])
        monkeypatch.setattr(forecasts, "header", lambda commit=commit: {"commit": commit})
        with pytest.raises(SystemExit, match=message):
            main()
        assert sys.argv[1:] == ["--open-locked-block", "why", *options]  # what the ledger will say was typed


def test_the_command_hands_the_flag_on_to_this_benchmark_alone(monkeypatch):
    started = []
    monkeypatch.setattr(
        "subprocess.run", lambda command, check: started.append(command) or type("Done", (), {"returncode": 0})
    )
    assert CliRunner().invoke(app, ["bench", "forecasts", "--open-locked-block", "--why not"]).exit_code == 0
    assert started[0][-1] == "--open-locked-block=--why not"
    assert CliRunner().invoke(app, ["bench", "raster", "--open-locked-block", "x"]).exit_code == 2 and len(started) == 1
