"""The interval by its definition, by the t-distribution of scipy, and by how often it misses under long memory."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t

from hews_gpu.evaluation.mean_interval import cosines, holm, mean_interval, ratio_interval

STRIDE_S, WEEK = 7200, 84


def remembering(weeks, length, seed, count=1):
    """Series [count, S] that forget with a time constant of some weeks."""
    kept = np.exp(-1 / (weeks * WEEK))
    steps = np.random.default_rng(seed).standard_normal((count, length))
    steps[:, 0] /= np.sqrt(1 - kept**2)
    return lfilter([np.sqrt(1 - kept**2)], [1, -kept], steps, axis=1)


@pytest.mark.parametrize(("years", "count"), [(0.25, 2), (1, 3), (2, 4), (3.45, 5), (10, 12)])
def test_it_is_what_its_definition_says(years, count):
    length = round(years * 365.25 * 12)
    values = remembering(3, length, seed=1)[0] + 0.1
    at = (np.arange(length) + 0.5) / length
    waves = [np.sum(np.sqrt(2) * np.cos(np.pi * k * at) * values) / length for k in range(1, count + 1)]
    error = np.sqrt(np.mean(np.square(waves)))
    found = mean_interval(values, STRIDE_S)
    assert cosines(length, STRIDE_S) == count
    assert found["value"] == pytest.approx(values.mean())
    assert found["interval"] == pytest.approx(values.mean() + error * np.array(t.ppf([0.025, 0.975], count)))
    assert found["p"] == pytest.approx(2 * t.sf(abs(values.mean()) / error, count))


@pytest.mark.parametrize("weeks", [1, 8, 26])
def test_errors_that_remember_months_are_not_called_gains(weeks):
    """Of two exchangeable forecasts each is called better in 2.5 % of cases; by blocks of a week in up to 28 %."""
    ours, others = (remembering(weeks, 3 * 52 * WEEK, seed, 600) ** 2 for seed in (weeks, weeks + 100))
    p = np.array([mean_interval(series, STRIDE_S)["p"] for series in ours - others])
    assert 0.02 < np.mean(p < 0.05) < 0.08  # both sides; 0.05 +- 3.4 standard errors


def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says():
    """The ratio of 1.2 to 4, whose parts move together: without the linearization intervals are three times as wide."""
    common, own, other = (remembering(1, 200 * WEEK, seed, 400) for seed in (3, 4, 5))
    found = [
        ratio_interval(1.2 + 0.3 * both + 0.1 * one, 4 + both + 0.1 * two, STRIDE_S)
        for both, one, two in zip(common, own, other, strict=True)
    ]
    covered = [one["interval"][0] < 0.3 < one["interval"][1] for one in found]
    assert 0.92 < np.mean(covered) < 0.98
    assert found[0]["value"] == pytest.approx(0.3, abs=0.01)


def test_a_series_of_equal_values_has_no_width():
    assert mean_interval(np.zeros(500), STRIDE_S) == {"value": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    assert mean_interval(np.ones(1), STRIDE_S)["interval"] == [1.0, 1.0]


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3 and 0.03 x 2 rise; the last stays at the largest before it."""
    found = holm({"c": 0.03, "a": 0.01, "d": 0.055, "b": 0.02})
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0} and holm({}) == {}
