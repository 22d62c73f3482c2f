"""Numbers as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.report import words


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (words.number(12345), "12,345"),
        (words.number(0.65749, 3), "0.657"),
        (words.number(None), "\u2013"),
        (words.number(float("nan"), 2), "\u2013"),
        (words.signed(0.01234), "+0.0123"),
        (words.signed(-0.01234), "\u22120.0123"),
        (words.signed(0.0), "0.0000"),
        (words.signed(-0.00001), "0.0000"),
        (words.signed(None), "\u2013"),
        (words.percent(0.123), "12.3\u00a0%"),
        (words.percent(0.0), "0.0\u00a0%"),
        (words.percent(0.00001, 2), "<\u00a00.01\u00a0%"),
        (words.percent(1), "100.0\u00a0%"),
        (words.seconds(3.44), "3.4 s"),
        (words.seconds(45), "45 s"),
        (words.seconds(200), "3 min 20 s"),
        (words.span(0, 86_400), "1 January 1970 to 1 January 1970"),
        (words.span(0, 86_401), "1 January 1970 to 2 January 1970"),
        (words.category_list(["HOMICIDE"]), "homicide"),
        (words.category_list(["HOMICIDE", "SHOOTING"]), "homicide and shooting"),
        (words.category_list(["A", "B", "C"]), "a, b and c"),
    ],
)
def test_words(call, text):
    assert call == text


def test_day_is_the_local_day():
    assert words.day(int(np.datetime64("2017-02-28T23:59", "s").astype(int))) == "28 February 2017"


def _metrics(skill, low, high):
    return {"log_skill_bits": skill, "log_skill_bits_interval": [low, high]}


@pytest.mark.parametrize(
    ("metrics", "tone", "said"),
    [
        (_metrics(0.012, 0.008, 0.016), "good", "beat the calendar alone by +0.0120"),
        (_metrics(0.003, -0.001, 0.007), "flat", "No significant skill"),
        (_metrics(0.003, 0.0, 0.007), "flat", "No significant skill"),
        (_metrics(-0.012, -0.016, -0.008), "bad", "Worse than the calendar"),
        ({"log_skill_bits": 0.012}, "flat", "not measured"),
        ({"log_skill_bits": 0.012, "log_skill_bits_interval": [None, None]}, "flat", "not measured"),
    ],
)
def test_the_verdict_claims_skill_only_where_the_interval_excludes_zero(metrics, tone, said):
    sentence, found = words.verdict(metrics)
    assert found == tone
    assert said in sentence
    if "log_skill_bits_interval" in metrics and metrics["log_skill_bits_interval"][0] is not None:
        assert "95\u00a0% interval" in sentence


def test_the_verdict_of_the_metrics_is_taken_as_it_is():
    given = _metrics(-0.01, -0.02, -0.005) | {"verdict": "Worse than nothing."}
    assert words.verdict(given) == ("Worse than nothing.", "bad")


def test_a_gain_is_set_beside_what_was_open_and_what_was_possible():
    metrics = {"log_skill_bits": 0.018, "baselines": {"climatology": {"log_loss_bits": 0.6}}}
    assert "takes away 3.0\u00a0% of the surprise" in words.gain(metrics)
    metrics["baselines"]["oracle"] = {"log_skill_bits": 0.03}
    assert "best possible forecast would take away 5.0\u00a0%" in words.gain(metrics)


@pytest.mark.parametrize("skill", [-0.01, 0.0])
def test_a_loss_is_no_gain(skill):
    assert words.gain({"log_skill_bits": skill, "baselines": {"climatology": {"log_loss_bits": 0.6}}}) == ""
    assert words.gain({"log_skill_bits": 0.1}) == ""
