"""Comparisons by hand, and closures of forecasts that are known mixtures of climatology and truth."""

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.judge import Judged, compare, gap_closure, headline, verdict
from hews_gpu.forecasters.logistic import log_loss_each_bits, logit

STRIDE_S = 7200


def drawn(n=84 * 60, seed=0):
    """Truth that moves with the clock and with something else; the climatology knows the clock."""
    rng = np.random.default_rng(seed)
    begin_s = np.arange(n, dtype=np.int64) * STRIDE_S
    clock = -1.8 + 0.7 * np.cos(2 * np.pi * np.arange(n) / 12)
    truth = expit(clock + 0.7 * rng.normal(size=n))
    return begin_s, rng.random(n) < truth, expit(clock), truth


def judged(*p, budgets=()):
    return Judged(p=list(p), warned={b: [one > 0.3 for one in p] for b in budgets})


@pytest.fixture(scope="module")
def found():
    begin_s, y, climatology, truth = drawn()
    half = expit((logit(climatology) + logit(truth)) / 2)
    every = {"climatology": judged(climatology), "half": judged(half, half, budgets=(7,)), "mixed": judged(truth, half)}
    return compare(y, begin_s, STRIDE_S, every, truth, draws=300), (y, climatology, half, truth)


def test_skill_is_the_difference_of_losses(found):
    scores, (y, climatology, half, _) = found
    expected = np.mean(log_loss_each_bits(y, climatology) - log_loss_each_bits(y, half))
    skill = scores["half"]["against"]["climatology"]["log_skill_bits"]
    assert skill["value"] == pytest.approx(expected)
    for name in ("one_week", "four_weeks"):
        assert skill[name][0] < expected < skill[name][1]
    squared = scores["half"]["against"]["climatology"]["brier_skill"]
    assert squared["value"] == pytest.approx(1 - np.mean((half - y) ** 2) / np.mean((climatology - y) ** 2))
    assert squared["one_week"][0] < squared["value"] < squared["one_week"][1]


def test_seeds_are_scored_by_their_mean(found):
    scores, (y, climatology, half, truth) = found
    skills = [np.mean(log_loss_each_bits(y, climatology) - log_loss_each_bits(y, p)) for p in (truth, half)]
    assert scores["mixed"]["seeds"] == 2
    assert scores["mixed"]["against"]["climatology"]["log_skill_bits"]["value"] == pytest.approx(np.mean(skills))
    gap = scores["mixed"]["oracle_gap_closure"]["value"]
    assert gap == pytest.approx((1 + skills[1] / skills[0]) / 2)
    squares = [np.mean((p - y) ** 2) for p in (truth, half)]
    assert scores["mixed"]["brier"] == pytest.approx(np.mean(squares))
    brier_skill = scores["mixed"]["against"]["climatology"]["brier_skill"]["value"]
    assert brier_skill == pytest.approx(1 - np.mean(squares) / np.mean((climatology - y) ** 2))


@pytest.mark.parametrize(("name", "weeks"), [("one_week", 1), ("four_weeks", 4)])
def test_each_interval_is_drawn_from_blocks_of_its_own_length(found, name, weeks):
    scores, (y, climatology, half, truth) = found
    blocks = Blocks.drawn(len(y), weeks * 84, draws=300)
    saved, possible = (log_loss_each_bits(y, climatology) - log_loss_each_bits(y, p) for p in (half, truth))
    over = scores["half"]["against"]["climatology"]
    assert over["log_skill_bits"][name] == pytest.approx(interval(blocks.means(saved)))
    lost = blocks.means((half - y) ** 2) / blocks.means((climatology - y) ** 2)
    assert over["brier_skill"][name] == pytest.approx(interval(1 - lost))
    closed = blocks.means(saved) / blocks.means(possible)
    assert scores["half"]["oracle_gap_closure"][name] == pytest.approx(interval(closed))


def test_a_timid_forecast_has_a_steep_slope_and_the_truth_none(found):
    scores, _ = found
    assert scores["half"]["calibration"]["slope"] > 1.1
    assert scores["oracle"]["calibration"]["slope"] == pytest.approx(1, abs=0.1)
    low, high = scores["oracle"]["calibration"]["slope_interval"]
    assert low < 1 < high


def test_against_the_truth_slopes_have_no_noise(found):
    scores, (_, _, half, truth) = found
    assert scores["oracle"]["calibration"]["slope_to_truth"] == pytest.approx(1, abs=1e-9)
    one = scores["half"]["calibration"]["slope_to_truth"]
    assert one == pytest.approx(np.polyfit(logit(half), logit(truth), 1)[0], abs=0.05) and one > 1.15
    assert scores["mixed"]["calibration"]["slope_to_truth"] == pytest.approx((1 + one) / 2)


def test_warnings_are_per_week(found):
    scores, (y, _, half, _) = found
    (row,) = scores["half"]["warnings"]
    assert row["warnings_per_week"] == pytest.approx((half > 0.3).sum() / 60)
    assert row["precision"] == pytest.approx(y[half > 0.3].mean())


def test_no_gap_no_closure():
    blocks = {"one_week": Blocks.drawn(100, 10, draws=20)}
    assert gap_closure(np.ones(100), np.zeros(100), blocks) is None
    found = gap_closure(np.full(100, 0.1), np.full(100, 0.4), blocks)
    assert found["value"] == pytest.approx(0.25) and found["one_week"] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    ("value", "one_week", "four_weeks", "begins", "holds"),
    [
        (0.010, [0.006, 0.014], [0.004, 0.016], "Significant skill: +0.0100", "interval +0.0060 to +0.0140."),
        (
            0.010,
            [0.006, 0.014],
            [-0.001, 0.02],
            "No significant skill",
            "four weeks -0.0010 to +0.0200, which",
        ),
        (0.001, [-0.01, 0.01], [-0.02, 0.02], "No significant skill", "interval -0.0100 to +0.0100, which includes 0"),
        (-0.01, [-0.014, -0.006], [-0.016, -0.004], "Worse than climatology: -0.0100", "-0.0140 to -0.0060"),
        (0.0, [0.0, 0.0], [0.0, 0.0], "No significant skill: the model is climatology", "nothing it learned"),
    ],
)
def test_a_verdict_asks_for_every_interval_and_shows_the_one_that_decides(value, one_week, four_weeks, begins, holds):
    sentence = verdict({"value": value, "one_week": one_week, "four_weeks": four_weeks})
    assert sentence.startswith(begins) and holds in sentence


def judged_result(windows=2000, positives=200, train=("2014-01-01", "2015-06-01"), test=("2016-02-01", "2016-09-01")):
    """As much of a result as tells whether there is enough to judge by."""
    fold = {
        "train": dict(zip(("begin", "end"), train, strict=True)),
        "test": dict(zip(("begin", "end"), test, strict=True)),
    }
    protocol = {"stride_s": 7200, "folds": [fold]}
    bits = {"value": 0.01, "one_week": [0.006, 0.014], "four_weeks": [0.004, 0.016]}
    against = {name: {"log_skill_bits": bits} for name in ("climatology", "level")}
    scores = {"against": against, "calibration": {"slope": 1.0, "slope_interval": [0.9, 1.1]}}
    return {"windows": windows, "positives": positives, "protocol": protocol, "forecasts": {"model": scores}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positives": 29}, "29 test windows with a target, at least 30"),
        ({"positives": 1971}, "29 test windows without a target, at least 30"),
        ({"windows": 12 * 84 - 1}, "12.0 weeks of test windows, at least 12"),
        ({"train": ("2014-03-01", "2014-09-15")}, "no training window in February"),
        (
            {"train": ("2014-08-01", "2015-03-01"), "test": ("2015-02-15", "2015-07-01")},
            "no training window in March, April, May, June",
        ),
    ],
)
def test_too_little_to_judge_is_a_verdict_of_its_own(changes, reason):
    """A gain that four weeks of a season never trained on cannot tell is neither skill nor its absence."""
    top = headline(judged_result(**changes), "model")
    for key in ("verdict", "verdict_over_level"):
        assert top[key].startswith(f"Too little to judge: {reason}") and "Measured: +0.0100" in top[key]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positives": 30},
        {"windows": 12 * 84},
        {"train": ("2014-01-01", "2014-09-01")},
        {"train": ("2014-08-01", "2015-03-01T00:00"), "test": ("2015-08-15", "2016-03-01")},
    ],
)
def test_enough_to_judge_leaves_the_verdict_to_the_intervals(changes):
    assert headline(judged_result(**changes), "model")["verdict"].startswith("Significant skill")
