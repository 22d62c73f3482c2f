"""Both verdicts follow all intervals, and come in words before any number."""

from __future__ import annotations

import pytest

from hews_gpu.evaluation.judge import sign
from hews_gpu.report.significance import Comparison
from tests.report.pages import alone, page_of, text_of


def bits(value, half=0.001, **more):
    return {"value": value, "one_week": [value - half, value + half], "four_weeks": [value - half, value + half]} | more


def forecast(**gains):
    against = {name: {"log_skill_bits": one} for name, one in gains.items()}
    return {"against": against, "auc": 0.7, "log_loss_bits": 0.6}


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (bits(0.02), 1),
        (bits(-0.02), -1),
        (bits(0.0005), 0),
        (bits(0.02, four_weeks=[-0.001, 0.03]), 0),
        (bits(0.02, half_year=[-0.001, 0.05]), 0),
        (bits(0.001, half=0.001), 0),
    ],
)
def test_a_gain_is_significant_only_where_zero_lies_outside_every_interval(gain, expected):
    assert sign(gain) == expected


@pytest.mark.parametrize(
    ("over_level", "words"),
    [
        (bits(0.01), "HewsNet also beats the recent level, by +0.0100 bits per window"),
        (bits(0.0005), "Over the recent level HewsNet gains +0.0005 bits per window"),
    ],
)
def test_the_second_verdict_is_against_the_recent_level(over_level, words):
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.01))}
    forecasts["hewsnet"] = forecast(climatology=bits(0.02), level=over_level)
    verdict = Comparison(forecasts).verdict()
    assert verdict.sentence.startswith("HewsNet beats the climatology by +0.0200") and verdict.tone == "good"
    assert words in verdict.notes[0] and ("foresight" in verdict.notes[0]) == ("also beats" in words)


def test_the_interval_that_decides_is_told():
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.01))}
    over_level = bits(0.002, four_weeks=[-0.0004, 0.004])
    forecasts["hewsnet"] = forecast(climatology=bits(0.02), level=over_level)
    note = Comparison(forecasts).verdict().notes[0].replace("\u00a0", " ")
    assert "(95 % interval +0.0010 to +0.0030; over longer blocks \u22120.0004 to +0.0040), which is not" in note


def test_without_a_level_there_is_no_second_verdict():
    forecasts = {"climatology": forecast(), "hewsnet": forecast(climatology=bits(0.02))}
    assert "level" not in " ".join(Comparison(forecasts).verdict().notes)


@pytest.mark.parametrize(
    ("gain", "tone", "words"),
    [
        (bits(0.012), "good", "HewsNet beats the climatology by +0.0120"),
        (bits(0.0005), "flat", "No significant skill: HewsNet does not beat the climatology."),
        (bits(-0.012), "bad", "Worse than the climatology: HewsNet loses \u22120.0120"),
    ],
)
def test_the_verdict_is_about_the_model_where_one_is_named_and_tells_of_others(gain, tone, words):
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.5))}
    forecasts["hewsnet"] = forecast(climatology=gain)
    comparison = Comparison(forecasts, "hewsnet")
    verdict = comparison.verdict()
    assert comparison.best == "hewsnet" and verdict.tone == tone and words in verdict.sentence
    told = "and so does the recent level" if tone == "good" else "The recent level does, the best of them by +0.5000"
    assert told in " ".join([verdict.sentence, *verdict.notes])


def test_a_gain_is_set_beside_what_was_open_and_what_was_possible():
    forecasts = {"climatology": forecast() | {"log_loss_bits": 0.6}, "oracle": forecast(climatology=bits(0.03))}
    closure = {"value": 0.6, "one_week": [0.5, 0.7]}
    forecasts["hewsnet"] = forecast(climatology=bits(0.018)) | {"oracle_gap_closure": closure}
    notes = " ".join(Comparison(forecasts).verdict().notes).replace("\u00a0", " ")
    assert "That is 3.0 % of the surprise" in notes and "It closes 60 % of the gap" in notes and "50 % to 70 %" in notes
    assert "The oracle, which knows how the city was made, gains +0.0300" in notes


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"value": 0.02}, "Gradient boosting beats the climatology by +0.0200 bits per window"),
        ({"value": 0.0005}, "No significant skill: nothing beats the climatology. Gradient boosting comes nearest"),
        ({"value": 0.02, "four_weeks": [-0.001, 0.03]}, "No significant skill: nothing beats the climatology."),
        ({"value": -0.02}, "Gradient boosting is significantly worse than the climatology."),
    ],
)
def test_the_verdict_comes_first_on_the_page(results, tmp_path, gains, words):
    text = text_of(page_of(alone(results["presets"]["null"], **gains), tmp_path))
    assert words in text
    assert text.index("climatology") < text.index("Over the calendar, bits")


@pytest.mark.parametrize("gain", [0.012, -0.012, 0.0])
def test_with_too_little_to_judge_by_nothing_wins_and_nothing_loses(gain):
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.5))}
    forecasts["hewsnet"] = forecast(climatology=bits(gain), level=bits(gain))
    comparison = Comparison(forecasts, "hewsnet", ["3 test windows with a target, at least 30 are needed"])
    verdict = comparison.verdict()
    assert verdict.sentence == "Too little to judge: 3 test windows with a target, at least 30 are needed."
    assert verdict.tone == "flat" and comparison.winners == [] and "level" not in " ".join(verdict.notes)


def test_a_page_with_too_little_to_judge_by_calls_nothing_significant(results, tmp_path):
    source = alone(results["presets"]["null"], value=0.02)
    assert "significantly better" in text_of(page_of(source, tmp_path))
    text = text_of(page_of(source | {"positives": 12}, tmp_path))
    assert (
        "Too little to judge: 12 test windows with a target" in text
        and "significantly" not in text.split("Reading the scores")[0]
    )
