"""Procedures against tests of scipy, and shares of verdicts against truths that are known."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from studies import verdicts


def test_pairs_are_equally_good_and_remember_as_long_as_they_say():
    rng = np.random.default_rng(0)
    series = np.stack([verdicts.saved_weekly(rng, 8, 4, (1.0, 1.0)) for _ in range(200)])
    assert abs(series.mean()) < 3 * series.mean(axis=1).std() / np.sqrt(200)
    apart = [np.mean(series[:, :-weeks] * series[:, weeks:]) / np.mean(series**2) for weeks in (2, 8)]
    assert 0.5 < apart[0] < np.exp(-2 / 8) and 0.05 < apart[1] < np.exp(-1)  # squared errors forget twice as fast
    better = np.mean([verdicts.saved_weekly(rng, 8, 4, (0.2, 1.0)).mean() for _ in range(20)])
    assert better > 5 * series.mean(axis=1).std() / np.sqrt(20)


def test_each_procedure_finds_the_interval_of_independent_values():
    """Of 200 weeks without memory all agree with the t-test but for the few degrees of freedom that some have."""
    weekly = np.random.default_rng(1).normal(0.3, 1, 200)
    expected = ttest_1samp(weekly, 0).confidence_interval()
    for one in (verdicts.percentiles, verdicts.studentized, verdicts.wild):
        np.testing.assert_allclose(one(weekly, 1), expected, atol=0.03)
    parts = np.array([part.mean() for part in np.split(weekly, 8)])
    np.testing.assert_allclose(verdicts.batches(weekly), ttest_1samp(parts, 0).confidence_interval())
    hull = verdicts.widest(verdicts.percentiles, (1, 26), weekly)
    ends = [verdicts.percentiles(weekly, weeks) for weeks in (1, 26)]
    assert hull == [min(ends[0][0], ends[1][0]), max(ends[0][1], ends[1][1])]


def test_a_verdict_that_the_truth_contradicts_is_false():
    each = [(1, 0.1), (1, -0.1), (-1, 0.1), (-1, -0.1), (0, -0.1), (1, 0.0)]
    told = verdicts._verdicts([{"sign": sign, "true_bits": true, "bits": true} for sign, true in each])
    counts = {
        name: round(6 * told[name]["value"]) for name in ("better", "worse", "falsely_better", "falsely_worse", "equal")
    }
    assert counts == {"better": 3, "worse": 2, "falsely_better": 2, "falsely_worse": 1, "equal": 1}


def test_cities_are_judged_with_their_truth(monkeypatch, tmp_path):
    monkeypatch.setattr(verdicts, "CITY_YEARS", 3)
    found = verdicts.cities("clock", 2, ("climatology", "level", "base_rate"), 1, tmp_path, blocks=1)
    json.dumps(found, allow_nan=False)
    assert set(found) == {"level", "base_rate"} and set(found["level"]) == {"climatology"}
    assert found["base_rate"]["foresight"]["value"] == 0 and found["base_rate"]["climatology"]["true_bits"] < -0.01
    assert found["level"]["climatology"]["true_bits"] == pytest.approx(found["level"]["climatology"]["bits"], abs=0.002)
    monkeypatch.setattr(verdicts, "generated_city", None)  # a run that goes on judges no city again
    assert verdicts.cities("clock", 2, ("climatology", "level", "base_rate"), 1, tmp_path, blocks=1) == found
    with pytest.raises(TypeError):
        verdicts.cities("clock", 3, ("climatology", "level", "base_rate"), 1, tmp_path, blocks=1)
