"""What is reported: the oracle is best, closure is what it says, and every number can be printed as JSON."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import (
    Problem,
    fits_of,
    forecast_blocks,
    gather_fits,
    judge_experiment,
    open_experiment,
    run_fits,
)
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import headline
from hews_gpu.evaluation.tables import skill_table
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES
from hews_gpu.forecasters.registry import BASELINES, FORECASTERS

QUICK = {name: BASELINES[name] for name in ("base_rate", "climatology", "level", "hawkes")}


def judged(city, entries, *, where=False):
    experiment = Experiment.open(city, Plan(blocks=1))
    return judge_experiment(experiment, forecast_blocks(experiment, entries, where=where))


@pytest.fixture(scope="module")
def found(strong):
    return judged(strong, QUICK)


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
    low, high = found["forecasts"]["hawkes"]["oracle_gap_closure"]["interval"]
    assert low < closure["hawkes"] < high
    assert found["forecasts"]["hawkes"]["against"]["climatology"]["log_skill_bits"]["interval"][0] > 0
    assert found["forecasts"]["oracle"]["auc"] > found["forecasts"]["climatology"]["auc"] + 0.03


def test_skill_against_another_is_the_opposite_of_its_skill(found):
    there = found["forecasts"]["hawkes"]["against"]["level"]["log_skill_bits"]
    back = found["forecasts"]["level"]["against"]["hawkes"]["log_skill_bits"]
    assert there["value"] == pytest.approx(-back["value"])
    np.testing.assert_allclose(there["interval"], [-x for x in back["interval"][::-1]], atol=1e-12)


def test_the_headline_and_the_table_are_of_the_model(found):
    top = headline(found, "hawkes")
    assert top["oracle_gap_closure"] == found["forecasts"]["hawkes"]["oracle_gap_closure"]["value"]
    assert top["calibration_slope_interval"][0] < top["calibration_slope"] < top["calibration_slope_interval"][1]
    assert headline(found, "climatology")["log_skill_bits"] == 0
    rows = skill_table(found)
    assert len(rows) == 6 and all(len(row) == len(rows[0]) for row in rows)
    assert "gap closed" in rows[0]
    scores = {name: {**one, "oracle_gap_closure": None} for name, one in found["forecasts"].items() if name != "oracle"}
    without = skill_table({"forecasts": scores})
    assert "gap closed" not in without[0] and [row[0] for row in without[1:]] == list(scores)


def test_places(strong):
    entries = {name: FORECASTERS[name] for name in ("climatology", "hewsnet")}
    found = judged(strong, entries, where=True)["places"]
    json.dumps(found, allow_nan=False)
    scores = found["forecasts"]
    assert list(scores) == [*PLACE_BASELINES, "hewsnet", "oracle"]
    assert scores["long_run"]["log_skill_bits"] == 0
    assert scores["hewsnet"]["log_skill_bits_interval"][0] > 0  # the city's probability moves, if not the places
    assert scores["oracle"]["log_skill_bits"] == max(one["log_skill_bits"] for one in scores.values())
    assert scores["oracle"]["hot_spots"][2]["pai"] > 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "nul"}, "Did you mean 'null'"),
        ({"preset": "null", "years": 1}, r"2\.\.40"),
        ({}, "give one of them"),
        ({"preset": "null", "prepared": Path("x")}, "give one of them"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        Problem(**changes)


def test_fits_side_by_side_give_what_one_process_gives(tmp_path):
    """Whoever makes the fits, and in whatever order, the forecasts are the same to the bit."""
    problem, plan = Problem(preset="null", years=2), Plan(blocks=1, seeds=(0, 1))
    names = ("climatology", "level", "boosting")
    fits = fits_of(names, plan, 1)
    assert [fit.name for fit in fits] == ["climatology", "level", "boosting", "boosting"]
    run_fits(problem, plan, fits[::-1], tmp_path / "two", jobs=2)
    run_fits(problem, plan, fits[1::2], tmp_path / "one")
    run_fits(problem, plan, fits, tmp_path / "one")  # goes on with those that are missing
    experiment = open_experiment(problem, plan)
    one, two = (gather_fits(experiment, names, tmp_path / name) for name in ("one", "two"))
    here = forecast_blocks(experiment, {name: FORECASTERS[name] for name in names})
    for name in names:
        assert len(one[name].p) == (2 if name == "boosting" else 1)
        for k, p in enumerate(one[name].p):
            np.testing.assert_array_equal(p, two[name].p[k])
            np.testing.assert_array_equal(p, here[name].p[k])
            np.testing.assert_array_equal(one[name].warned[7][k], here[name].warned[7][k])


@pytest.fixture(scope="module")
def climatology_fits(tmp_path_factory):
    """An opened experiment and the folder of its fits."""
    problem, plan = Problem(preset="null", years=2), Plan(blocks=2, seeds=(0,))
    folder = tmp_path_factory.mktemp("fits")
    run_fits(problem, plan, fits_of(["climatology"], plan, 2), folder)
    return open_experiment(problem, plan), folder


def cut(raw):
    return raw[: len(raw) // 2]


def flipped(raw):
    return raw[:200] + bytes([raw[200] ^ 1]) + raw[201:]


def of_fewer_windows(raw):
    file = io.BytesIO()
    with np.load(io.BytesIO(raw)) as fit:
        np.savez(file, calibration=fit["calibration"], test=fit["test"][1:])
    return file.getvalue()


def of_an_object(raw):
    file = io.BytesIO()
    np.savez(file, calibration=np.array([print], dtype=object), test=np.zeros(1))
    return file.getvalue()


def of_other_columns(raw):
    file = io.BytesIO()
    np.savez(file, forecast=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "damage", [cut, flipped, of_fewer_windows, of_an_object, of_other_columns, lambda raw: b"", lambda raw: b"PK"]
)
def test_a_damaged_fit_is_one_line(climatology_fits, tmp_path, damage):
    experiment, folder = climatology_fits
    copy = shutil.copytree(folder, tmp_path / "fits")
    paths = [fit.path(copy) for fit in fits_of(["climatology"], experiment.plan, 2)]
    paths[1].write_bytes(damage(paths[0].read_bytes()))
    with pytest.raises(UserError, match=r"climatology-1-0\.npz: cannot be read .*--resume") as told:
        gather_fits(experiment, ["climatology"], copy)
    assert "\n" not in str(told.value)
    paths[1].unlink()
    with pytest.raises(UserError, match=r"climatology-1-0\.npz: cannot be read"):
        gather_fits(experiment, ["climatology"], copy)


def test_neighborhoods_agree_with_the_city(strong):
    """A city without a target is one in which no neighborhood has one."""
    judged = forecast_blocks(Experiment.open(strong, Plan(blocks=1)), {"hewsnet": FORECASTERS["hewsnet"]}, where=True)[
        "hewsnet"
    ]
    assert judged.areas.shape == (len(judged.p[0]), 55)
    np.testing.assert_allclose(1 - np.prod(1 - judged.areas, axis=1), judged.p[0], rtol=1e-9)
