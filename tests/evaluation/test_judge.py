"""Comparisons by hand, and closures of forecasts that are known mixtures of climatology and truth."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.calibration import calibration, slopes_drawn
from hews_gpu.evaluation.judge import Judged, compare, gap_closure, headline, sign, verdict
from hews_gpu.evaluation.mean_interval import mean_interval, ratio_interval
from hews_gpu.evaluation.strata import aucs_drawn, average_precision_within, roc_auc_within
from hews_gpu.evaluation.value import value_curve
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
    assert skill["interval"][0] < expected < skill["interval"][1]
    squared = scores["half"]["against"]["climatology"]["brier_skill"]
    assert squared["value"] == pytest.approx(1 - np.mean((half - y) ** 2) / np.mean((climatology - y) ** 2))
    assert squared["interval"][0] < squared["value"] < squared["interval"][1]


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


def test_every_difference_has_the_interval_of_a_mean_with_long_memory(found):
    scores, (y, climatology, half, truth) = found
    saved, possible = (log_loss_each_bits(y, climatology) - log_loss_each_bits(y, p) for p in (half, truth))
    over = scores["half"]["against"]["climatology"]
    expected = mean_interval(saved, STRIDE_S)
    assert {key: over["log_skill_bits"][key] for key in expected} == expected
    squares = [(p - y) ** 2 for p in (climatology, half)]
    assert over["brier_skill"] == ratio_interval(squares[0] - squares[1], squares[0], STRIDE_S)
    assert scores["half"]["oracle_gap_closure"] == ratio_interval(saved, possible, STRIDE_S)


def test_models_tried_are_corrected_for_and_references_are_not_among_them():
    """The best of eight forecasts without skill passes alone, and not as the best of eight."""
    begin_s, y, climatology, _ = drawn()
    rng = np.random.default_rng(3)
    noise = {f"noise_{k}": judged(expit(logit(climatology) + 0.05 * rng.normal(size=len(y)))) for k in range(8)}
    references = {"base_rate": judged(np.full(len(y), y.mean())), "climatology": judged(climatology)}
    many = compare(y, begin_s, STRIDE_S, {**references, **noise}, draws=20)
    bits = {name: many[name]["against"]["climatology"]["log_skill_bits"] for name in noise}
    best = min(bits, key=lambda name: bits[name]["p"])
    alone = compare(y, begin_s, STRIDE_S, {**references, best: noise[best]}, draws=20)
    one = alone[best]["against"]["climatology"]["log_skill_bits"]
    assert one["p"] == bits[best]["p"] == one["p_corrected"] < 0.05 and sign(one) != 0
    assert bits[best]["p_corrected"] == pytest.approx(8 * one["p"]) and sign(bits[best]) == 0
    assert "p_corrected" not in many["base_rate"]["against"]["climatology"]["log_skill_bits"]


def test_every_score_of_one_forecast_stands_under_its_own_name(found):
    scores, (y, _, half, truth) = found
    one, week, begin_s = scores["half"], Blocks.drawn(len(y), 84, draws=300), drawn()[0]
    hours = begin_s // 3600 % 168
    assert set(one["against"]) == {"climatology", "mixed"}
    assert one["auc"] == pytest.approx(roc_auc_score(y, half))
    assert one["auc_interval"] == pytest.approx(interval(aucs_drawn(y, half, week)))
    assert one["auc_within_hours"] == pytest.approx(roc_auc_within(y, half, hours))
    assert one["average_precision"] == pytest.approx(average_precision_score(y, half))
    assert one["average_precision_within_hours"] == pytest.approx(average_precision_within(y, half, hours))
    assert one["log_loss_bits"] == pytest.approx(log_loss(y, half) / np.log(2))
    assert one["value"] == value_curve(y, half)
    each = [calibration(y, p, week) for p in (truth, half)]
    mixed = scores["mixed"]["calibration"]
    for key in ("slope", "smooth_calibration_error"):
        assert each[0][key] != each[1][key] and mixed[key] == pytest.approx((each[0][key] + each[1][key]) / 2)
    slopes = (slopes_drawn(y, truth, week) + slopes_drawn(y, half, week)) / 2
    assert mixed["slope_interval"] == pytest.approx(interval(slopes))
    assert mixed["reliability"] == each[0]["reliability"]  # of the first seed
    of_one = {key: value for key, value in scores["oracle"]["calibration"].items() if key != "slope_to_truth"}
    assert of_one == calibration(y, truth, week)


def test_seeds_that_never_vary_have_no_slope_and_one_seeds_warnings_are_its_own():
    begin_s, y, climatology, _ = drawn(84 * 8)
    flat = judged(np.full(len(y), 0.2), np.full(len(y), 0.3))
    one = judged(climatology, budgets=(7, 3))
    scores = compare(y, begin_s, STRIDE_S, {"climatology": one, "flat": flat}, draws=20)
    assert scores["flat"]["calibration"]["slope"] is None and scores["flat"]["calibration"]["slope_interval"] is None
    assert [row["budget_per_week"] for row in scores["climatology"]["warnings"]] == [3, 7]
    assert scores["flat"]["warnings"] == []


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
    assert gap_closure(np.ones(100), np.zeros(100), STRIDE_S) is None
    assert gap_closure(np.ones(4), np.full(4, 1e-4), STRIDE_S)["value"] == pytest.approx(1e4)
    found = gap_closure(np.full(100, 0.1), np.full(100, 0.4), STRIDE_S)
    assert found["value"] == pytest.approx(0.25) and found["interval"] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    ("bits", "reference", "begins", "holds"),
    [
        ((0.01, 0.006, 0.014, 0.001), "climatology", "Knows the calendar or its level better than the", "+0.0060 to"),
        ((0.01, 0.006, 0.014, 0.001), "level", "Foresight: +0.0100", "climatology at its recent level, 95 % interval"),
        ((0.01, 0.006, 0.014, 0.06), "level", "No foresight shown", "the best of 3 models tried may reach by chance"),
        ((0.01, 0.006, 0.014, 0.06), "climatology", "Knows no more than the climatology", "best of 3 models tried"),
        ((0.001, -0.01, 0.01, 0.9), "level", "No foresight shown", "-0.0100 to +0.0100, which includes 0."),
        ((-0.01, -0.014, -0.006, 0.001), "climatology", "Worse than the climatology: -0.0100", "-0.0140 to -0.0060"),
        ((-0.01, -0.014, -0.006, 0.001), "level", "Worse than the climatology at its recent level", "3 models tried"),
        (
            (0.0, 0.0, 0.0, 1.0),
            "climatology",
            "Knows no more",
            "the model is the climatology, which nothing it learned",
        ),
    ],
)
def test_each_verdict_has_words_of_its_own_and_only_one_of_them_is_foresight(bits, reference, begins, holds):
    value, low, high, p = bits
    sentence = verdict({"value": value, "interval": [low, high], "p_corrected": p}, reference, tried=3)
    assert sentence.startswith(begins) and holds in sentence
    assert ("oresight" in sentence) == (reference == "level" and not sentence.startswith("Worse"))


def test_what_the_calendar_alone_knows_is_no_foresight():
    """Where the level misleads, a mere calendar beats it."""
    result = judged_result()
    against = result["forecasts"]["model"]["against"]
    against["climatology"] = {"log_skill_bits": {"value": 0.0, "interval": [-0.001, 0.001], "p": 1.0}}
    assert headline(result, "model")["verdict_over_level"].startswith("No foresight shown: +0.0200")
    against["climatology"] = {"log_skill_bits": {"value": 0.01, "interval": [0.006, 0.014], "p": 0.001}}
    assert headline(result, "model")["verdict_over_level"].startswith("Foresight: +0.0200")


def judged_result(windows=2000, positives=200, train=("2014-01-01", "2015-06-01"), test=("2016-02-01", "2016-09-01")):
    """As much of a result as tells whether there is enough to judge by."""
    fold = {
        "train": dict(zip(("begin", "end"), train, strict=True)),
        "test": dict(zip(("begin", "end"), test, strict=True)),
    }
    protocol = {"stride_s": 7200, "folds": [fold]}
    gains = {"climatology": (0.01, 0.006, 0.014), "level": (0.02, 0.016, 0.024)}
    bits = {name: {"value": value, "interval": [low, high], "p": 0.001} for name, (value, low, high) in gains.items()}
    against = {name: {"log_skill_bits": one} for name, one in bits.items()}
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
    for key, measured in (("verdict", "+0.0100"), ("verdict_over_level", "+0.0200")):
        assert top[key].startswith(f"Too little to judge: {reason}") and f"Measured: {measured}" in top[key]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positives": 30},
        {"positives": 1970},
        {"windows": 12 * 84},
        {"train": ("2014-01-01", "2014-09-01")},
        {"train": ("2014-08-01", "2015-03-01T00:00"), "test": ("2015-08-15", "2016-03-01")},
    ],
)
def test_enough_to_judge_leaves_the_verdict_to_the_intervals(changes):
    top = headline(judged_result(**changes), "model")
    assert top["verdict"].startswith("Knows the calendar") and top["verdict_over_level"].startswith(
        "Foresight: +0.0200"
    )
    assert top["log_skill_bits_interval"] == [0.006, 0.014] and top["log_skill_bits_over_level_interval"][0] == 0.016


def test_what_sums_up_a_forecaster_is_taken_from_its_scores():
    result = judged_result()
    scores = result["forecasts"]["model"]
    scores["oracle_gap_closure"] = {"value": 0.4, "interval": [0.3, 0.5]}
    result["forecasts"] |= {name: scores for name in ("base_rate", "oracle", "other")}
    result["forecasts"]["climatology"] = {**scores, "against": {}}
    top = headline(result, "model")
    verdicts = top.pop("verdict"), top.pop("verdict_over_level")
    assert top == {
        "log_skill_bits": 0.01,
        "log_skill_bits_interval": [0.006, 0.014],
        "log_skill_bits_over_level": 0.02,
        "log_skill_bits_over_level_interval": [0.016, 0.024],
        "oracle_gap_closure": 0.4,
        "oracle_gap_closure_interval": [0.3, 0.5],
        "calibration_slope": 1.0,
        "calibration_slope_interval": [0.9, 1.1],
        "models_tried": 2,
    }
    assert all(text.endswith(", corrected for 2 models tried.") for text in verdicts)
    itself = headline(result, "climatology")
    for key in ("log_skill_bits", "log_skill_bits_over_level"):
        assert (itself[key], itself[f"{key}_interval"]) == (0.0, [0.0, 0.0])
    assert itself["verdict"].endswith("the model is the climatology, which nothing it learned could beat.")
    del scores["oracle_gap_closure"]
    plain = headline(result, "model")
    assert plain["oracle_gap_closure"] is None and plain["oracle_gap_closure_interval"] is None


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ({"value": 0.2, "interval": [0.1, 0.3]}, 1),
        ({"value": 0.2, "interval": [0.0, 0.3]}, 0),
        ({"value": -0.2, "interval": [-0.3, -0.1]}, -1),
        ({"value": -0.2, "interval": [-0.3, 0.0]}, 0),
        ({"value": 0.2, "one_week": [0.1, 0.3], "four_weeks": [-0.1, 0.4]}, 0),
        ({"value": 0.2, "interval": [-0.1, 0.3], "p_corrected": 0.05}, 1),
        ({"value": -0.2, "interval": [-0.3, 0.1], "p_corrected": 0.01}, -1),
        ({"value": 0.2, "interval": [0.1, 0.3], "p_corrected": 0.051}, 0),
    ],
)
def test_significant_is_what_leaves_out_zero(bits, expected):
    assert sign(bits) == expected


@pytest.mark.parametrize(
    ("value", "ends", "end"),
    [
        (0.0, [0.0, 0.1], "+0.0000 to +0.1000, which includes 0."),
        (0.0, [-0.1, 0.0], "-0.1000 to +0.0000, which includes 0."),
        (0.1, [0.0, 0.2], "+0.0000 to +0.2000, which includes 0."),
    ],
)
def test_an_interval_that_ends_at_zero_includes_it(value, ends, end):
    assert verdict({"value": value, "interval": ends}).endswith(end)


def test_one_model_alone_is_not_corrected_for():
    bits = {"value": 0.2, "interval": [0.1, 0.3]}
    assert verdict(bits).endswith("95 % interval +0.1000 to +0.3000.")
    assert verdict(bits, tried=2).endswith("+0.3000, corrected for 2 models tried.")
