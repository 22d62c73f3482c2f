"""Scores against hand-computed numbers and against scikit-learn and scipy.

The toy forecast, five windows::

    y  1    0    1    0    0
    p  0.8  0.4  0.4  0.1  0.3
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from hews_gpu.evaluation import metrics
from hews_gpu.evaluation.value import value_curve
from hews_gpu.forecasters.logistic import log_loss_each_bits

Y = np.array([1, 0, 1, 0, 0])
P = np.array([0.8, 0.4, 0.4, 0.1, 0.3])


def forecasts(n=400, seed=0):
    """Outcomes that follow their forecast, in time order."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n)
    return (rng.random(n) < p).astype(int), p


def test_auc_by_counting_pairs():
    # positives 0.8, 0.4; negatives 0.4, 0.1, 0.3: 0.8 beats 3, 0.4 beats 2 and ties 1 -> 5.5 of 6
    assert metrics.roc_auc(Y, P) == pytest.approx(5.5 / 6)


@pytest.mark.parametrize("score", [metrics.roc_auc, metrics.average_precision, value_curve])
def test_a_forecast_that_is_no_number_is_not_ranked(score):
    with pytest.raises(ValueError, match="forecasts must be"):
        score([0, 1, 0, 1], [0.1, np.nan, 0.3, 0.2])


def test_windows_of_one_kind_have_no_score():
    assert np.isnan(metrics.roc_auc(np.zeros(3), P[:3])) and np.isnan(metrics.roc_auc(np.ones(3), P[:3]))
    assert np.isnan(metrics.average_precision(np.zeros(3), P[:3]))


def test_average_precision_by_hand():
    # at 0.8: recall 1/2, precision 1; at 0.4: recall 1, precision 2/3
    assert metrics.average_precision(Y, P) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_brier_and_log_loss_by_hand():
    assert metrics.brier(Y, P) == pytest.approx((0.04 + 0.16 + 0.36 + 0.01 + 0.09) / 5)
    bits = log_loss_each_bits([1, 0, 1], [0.5, 0.75, 1.0])
    np.testing.assert_allclose(bits, [1.0, 2.0, 0.0], atol=1e-12)


def test_a_certain_forecast_that_fails_costs_finitely_many_bits():
    assert log_loss_each_bits([0, 1], [1.0, 0.0]) == pytest.approx([np.log2(1e12)] * 2)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learn(seed):
    y, p = forecasts(seed=seed)
    assert metrics.roc_auc(y, p) == pytest.approx(roc_auc_score(y, p))
    assert metrics.average_precision(y, p) == pytest.approx(average_precision_score(y, p))
    assert metrics.brier(y, p) == pytest.approx(brier_score_loss(y, p))
    assert log_loss_each_bits(y, p).mean() == pytest.approx(log_loss(y, p) / np.log(2))


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (3, 10), (17, 400), (1, 1)])
def test_wilson_equals_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert metrics.wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_an_interval_never_leaves_0_to_1():
    """By a rounding the upper end would for one count in five."""
    for count in range(1, 200):
        assert metrics.wilson_interval(count, count)[1] == 1 and metrics.wilson_interval(0, count)[0] == 0


def test_reliability_bins_by_hand():
    p = np.repeat([0.1, 0.2, 0.4, 0.8], [4, 4, 4, 4])
    y = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]).ravel()
    rows = metrics.reliability(y, p, bins=4)
    assert [row["p_mean"] for row in rows] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert [row["y_rate"] for row in rows] == pytest.approx([0.25, 0, 0.5, 0.75])
    assert [row["count"] for row in rows] == [4, 4, 4, 4]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx(metrics.wilson_interval(1, 4))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.9, 1.0])), min_size=1, max_size=60))
def test_reliability_loses_no_window_and_splits_no_tie(pairs):
    y, p = np.array([a for a, _ in pairs], dtype=int), np.array([b for _, b in pairs])
    rows = metrics.reliability(y, p)
    assert sum(row["count"] for row in rows) == len(y)
    assert sum(row["count"] * row["y_rate"] for row in rows) == pytest.approx(y.sum())
    means = [row["p_mean"] for row in rows]
    assert all(a < b for a, b in pairwise(means))
    assert all(0 <= row["low"] <= row["y_rate"] <= row["high"] <= 1 for row in rows)
    assert len(metrics.reliability(y, np.full(len(y), 0.3))) == 1


def test_there_are_ten_bins_unless_said_otherwise():
    y, p = forecasts()
    assert len(metrics.reliability(y, p)) == 10


def test_lengths_and_outcomes_are_checked():
    with pytest.raises(ValueError, match="equally long"):
        metrics.brier([0, 1], [0.5])
    with pytest.raises(ValueError, match="0 or 1"):
        metrics.brier([0, 2], [0.5, 0.5])
    with pytest.raises(ValueError, match="probabilities"):
        metrics.brier([0, 1], [0.1, 1.2])
