"""What is reported: the oracle is best, closure is what it says, and every number can be printed as JSON."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import curves, evaluate_places, evaluate_preset, evaluate_source, headline
from hews_gpu.evaluation.rolling import Plan
from hews_gpu.evaluation.summary import preset_table
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import BASELINES

QUICK = {name: BASELINES[name] for name in ("base_rate", "climatology", "level", "hawkes")}


@pytest.fixture(scope="module")
def found(strong):
    return evaluate_source(strong, Plan(blocks=1), QUICK)


def test_everything_is_there_and_is_json(found):
    json.dumps(found, allow_nan=False)
    assert list(found["forecasts"]) == [*QUICK, "oracle"]
    for name, scores in found["forecasts"].items():
        assert {"auc", "auc_within_hours", "calibration", "value", "against", "oracle_gap_closure"} <= set(scores)
        assert set(scores["against"]) == set(QUICK) - {name}
        assert [row["budget_per_week"] for row in scores["warnings"]] == ([] if name == "oracle" else [3, 7, 14])
    assert found["protocol"]["gap_s"] == 86_400 + 7200
    assert found["base_rate"] == found["positives"] / found["windows"]


def test_a_law_that_the_hawkes_process_can_say_is_found(found):
    """Two years: the truth's gain over the climatology is closed by more than half, and nothing beats the truth."""
    closure = {name: scores["oracle_gap_closure"]["value"] for name, scores in found["forecasts"].items()}
    assert closure["climatology"] == 0 and closure["oracle"] == 1
    assert 0.5 < closure["hawkes"] < 1.2
    low, high = found["forecasts"]["hawkes"]["oracle_gap_closure"]["one_week"]
    assert low < closure["hawkes"] < high
    assert found["forecasts"]["hawkes"]["against"]["climatology"]["log_skill_bits"]["one_week"][0] > 0
    assert found["forecasts"]["oracle"]["auc"] > found["forecasts"]["climatology"]["auc"] + 0.03


def test_skill_against_another_is_the_opposite_of_its_skill(found):
    there = found["forecasts"]["hawkes"]["against"]["level"]["log_skill_bits"]
    back = found["forecasts"]["level"]["against"]["hawkes"]["log_skill_bits"]
    assert there["value"] == pytest.approx(-back["value"])
    np.testing.assert_allclose(there["four_weeks"], [-x for x in back["four_weeks"][::-1]], atol=1e-12)


def test_the_headline_and_the_table_are_of_the_model(found):
    top = headline(found["forecasts"]["hawkes"])
    assert top["oracle_gap_closure"] == found["forecasts"]["hawkes"]["oracle_gap_closure"]["value"]
    assert top["calibration_slope_interval"][0] < top["calibration_slope"] < top["calibration_slope_interval"][1]
    assert headline(found["forecasts"]["climatology"])["log_skill_bits"] == 0
    rows = preset_table(found)
    assert len(rows) == 6 and all(len(row) == len(rows[0]) for row in rows)


def test_curves_ask_for_the_same_windows_and_later_knowledge_is_worth_less(strong):
    entries = {name: BASELINES[name] for name in ("climatology", "hawkes")}
    found = curves(strong, Plan(blocks=2), entries)
    assert [point["lead_s"] for point in found["lead_s"]] == [0, 7200, 21_600, 43_200, 86_400]
    assert [point["delay_s"] for point in found["delay_s"]] == [0, 3600, 86_400, 604_800]
    for axis in ("lead_s", "delay_s"):
        oracle = [point["forecasts"]["oracle"]["log_skill_bits"] for point in found[axis]]
        hawkes = [point["forecasts"]["hawkes"]["log_skill_bits"] for point in found[axis]]
        assert oracle[0] > 2 * oracle[-1] and hawkes[0] > hawkes[-1]
    assert found["lead_s"][0]["forecasts"] == found["delay_s"][0]["forecasts"]


def test_places(strong):
    found = evaluate_places(strong, Plan(blocks=1))
    json.dumps(found, allow_nan=False)
    scores = found["forecasts"]
    assert list(scores) == [*PLACE_BASELINES, "hewsnet", "oracle"]
    assert scores["long_run"]["log_skill_bits"] == 0
    assert scores["hewsnet"]["log_skill_bits_interval"][0] > 0  # the city's probability moves, if not the places
    assert scores["oracle"]["log_skill_bits"] == max(one["log_skill_bits"] for one in scores.values())
    assert scores["oracle"]["hot_spots"][2]["pai"] > 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"preset": "nul"}, "Did you mean 'null'"), ({"years": 1}, "2..40"), ({"model": "bosting"}, "boosting")],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        evaluate_preset(**{"preset": "null", "years": 2, **changes})


def test_the_command_prints_the_result(tmp_path):
    command = [sys.executable, "-m", "hews_gpu", "evaluate", "--preset", "null", "--years", "2", "--model", "hawkes"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"log_skill_bits", "oracle_gap_closure", "calibration_slope"} <= set(found)
    low, high = found["log_skill_bits_interval"]
    assert low <= found["log_skill_bits"] <= high and low < 0.003
    refused = subprocess.run([*command[:4]], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert refused.returncode == 2 and "RUN or --preset" in refused.stderr
