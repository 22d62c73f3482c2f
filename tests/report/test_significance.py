"""Both verdicts follow the judge, and come in words before any number; only one of them is foresight."""

from __future__ import annotations

import pytest

from hews_gpu.evaluation.judge import sign
from hews_gpu.report.significance import Comparison
from tests.report.pages import alone, page_of, text_of


def bits(value, half=0.001, **more):
    return {"value": value, "interval": [value - half, value + half]} | more


def forecast(**gains):
    against = {name: {"log_skill_bits": one} for name, one in gains.items()}
    return {"against": against, "auc": 0.7, "log_loss_bits": 0.6}


def words_of(comparison):
    verdict = comparison.verdict()
    return verdict.sentence.replace("\u00a0", " "), " ".join(verdict.notes).replace("\u00a0", " "), verdict.tone


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (bits(0.02), 1),
        (bits(-0.02), -1),
        (bits(0.0005), 0),
        (bits(0.02, four_weeks=[-0.001, 0.03]), 0),
        (bits(0.001, half=0.001), 0),
        (bits(0.02, p=0.01, p_corrected=0.06), 0),
        (bits(-0.02, p=0.01, p_corrected=0.04), -1),
    ],
)
def test_a_gain_is_significant_where_it_is_after_correction_or_else_by_every_interval(gain, expected):
    assert sign(gain) == expected


CALENDAR = "HewsNet knows the calendar or its level better than the climatology, by +0.0200"


@pytest.mark.parametrize(
    ("calendar", "level", "sentence", "note", "tone"),
    [
        (bits(0.02), bits(0.01), "HewsNet foresees: beyond what the hour, the season and", CALENDAR, "good"),
        (bits(0.02), bits(0.0005), "No foresight shown: beyond", "+0.0210), which is not foresight.", "flat"),
        (bits(0.02), bits(-0.01), "No foresight: HewsNet forecasts worse than the hour", CALENDAR, "bad"),
        (bits(0.0005), bits(0.0004), "No foresight shown: beyond", "Over the calendar alone HewsNet gains", "flat"),
        (bits(0.0005), bits(0.01), "No foresight shown: HewsNet knows no more than the calendar", "chance", "flat"),
        (bits(-0.02), bits(-0.01), "No foresight: HewsNet", "HewsNet is worse than the calendar alone", "bad"),
    ],
)
def test_only_what_beats_both_is_foresight(calendar, level, sentence, note, tone):
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.01))}
    forecasts["hewsnet"] = forecast(climatology=calendar, level=level)
    for comparison in (Comparison(forecasts), Comparison(forecasts, "hewsnet")):
        if comparison.best != "hewsnet":
            continue  # of several, the page is about the best
        told, notes, shade = words_of(comparison)
        assert told.startswith(sentence) and note in notes and shade == tone
        assert f"{level['value']:+.4f}".replace("-", "\u2212") in told


def test_foresight_goes_before_a_greater_gain_over_the_calendar():
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.01))}
    forecasts["boosting"] = forecast(climatology=bits(0.03), level=bits(0.0005))
    forecasts["hewsnet"] = forecast(climatology=bits(0.02), level=bits(0.01))
    told, notes, _ = words_of(Comparison(forecasts))
    assert told.startswith("HewsNet foresees")
    assert (
        "Gradient boosting and the recent level know the calendar or its level better than the climatology, too"
        in notes
    )
    assert "models were tried" not in notes  # nothing in these numbers tells that they are corrected


def test_what_only_the_best_of_many_reaches_is_said_to_be_chance():
    tried = bits(0.02, p=0.02, p_corrected=0.08)
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.0005))}
    for name in ("boosting", "hawkes", "hewsnet", "cnn"):
        forecasts[name] = forecast(climatology=tried, level=tried)
    told, notes, tone = words_of(Comparison(forecasts, "hewsnet"))
    assert "which the best of several models may reach by chance" in told and tone == "flat"
    assert "4 models were tried, for which the verdicts are corrected." in notes


def test_without_a_level_nothing_is_called_foresight():
    forecasts = {"climatology": forecast(), "hewsnet": forecast(climatology=bits(0.02))}
    told, notes, tone = words_of(Comparison(forecasts))
    assert told == "No foresight shown: nothing here was tried against the recent level." and tone == "flat"
    assert CALENDAR in notes


def test_a_gain_is_set_beside_what_was_open_and_what_was_possible():
    forecasts = {"climatology": forecast() | {"log_loss_bits": 0.6}, "oracle": forecast(climatology=bits(0.03))}
    closure = {"value": 0.6, "interval": [0.5, 0.7]}
    forecasts["hewsnet"] = forecast(climatology=bits(0.018)) | {"oracle_gap_closure": closure}
    _, notes, _ = words_of(Comparison(forecasts))
    assert "That is 3.0 % of the surprise" in notes and "It closes 60 % of the gap" in notes and "50 % to 70 %" in notes
    assert "The oracle, which knows how the city was made, gains +0.0300" in notes


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"value": 0.02}, "Gradient boosting knows the calendar or its level better than the climatology, by +0.0200"),
        ({"value": 0.0005}, "Over the calendar alone gradient boosting gains +0.0005 bits"),
        ({"value": 0.02, "four_weeks": [-0.001, 0.03]}, "Over the calendar alone gradient boosting gains"),
        ({"value": -0.02}, "Gradient boosting is worse than the calendar alone"),
    ],
)
def test_the_verdict_comes_first_on_the_page(results, tmp_path, gains, words):
    text = text_of(page_of(alone(results["presets"]["null"], **gains), tmp_path))
    assert words in text
    assert text.index("No foresight shown") < text.index(words) < text.index("Over the calendar, bits")


@pytest.mark.parametrize("gain", [0.012, -0.012, 0.0])
def test_with_too_little_to_judge_by_nothing_wins_and_nothing_loses(gain):
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.5))}
    forecasts["hewsnet"] = forecast(climatology=bits(gain), level=bits(gain))
    comparison = Comparison(forecasts, "hewsnet", ["3 test windows with a target, at least 30 are needed"])
    verdict = comparison.verdict()
    assert verdict.sentence == "Too little to judge: 3 test windows with a target, at least 30 are needed."
    assert verdict.tone == "flat" and comparison.winners == [] and "level" not in " ".join(verdict.notes)
    assert comparison.foreseeing == []


def test_a_page_with_too_little_to_judge_by_calls_nothing_significant(results, tmp_path):
    source = alone(results["presets"]["null"], value=0.02)
    assert "significantly better" in text_of(page_of(source, tmp_path))
    text = text_of(page_of(source | {"positives": 12}, tmp_path))
    assert (
        "Too little to judge: 12 test windows with a target" in text
        and "significantly" not in text.split("Reading the scores")[0]
    )


def test_a_stack_that_kept_nothing_is_said_to_be_the_recent_level():
    forecasts = {"climatology": forecast(), "level": forecast(climatology=bits(0.01))}
    forecasts["stack"] = forecast(climatology=bits(0.01), level=bits(0.0, half=0.0))
    told, _, tone = words_of(Comparison(forecasts, "stack"))
    assert told.startswith("No foresight shown: the stack is the recent level") and tone == "flat"
