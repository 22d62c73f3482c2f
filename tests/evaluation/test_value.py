"""Economic value by hand: what each user spends, counted case by case."""

import numpy as np
import pytest

from hews_gpu.evaluation.value import value_curve


def spent(y, acts, ratio):
    return np.where(acts, ratio, y).mean()  # the loss is 1


@pytest.mark.parametrize("seed", [0, 1])
def test_value_is_the_share_saved_of_what_perfect_knowledge_would_save(seed):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, 500)
    y = (rng.random(500) < p).astype(int)
    for point in value_curve(y, p):
        ratio = point["cost_loss"]
        ignorant = min(ratio, y.mean())
        perfect = ratio * y.mean()
        expected = (ignorant - spent(y, p >= ratio, ratio)) / (ignorant - perfect)
        assert point["value"] == pytest.approx(expected, abs=1e-12)


def test_who_is_told_the_very_ratio_acts():
    acts, does_not = (value_curve([0, 1, 0, 0], [0.1, p, 0.1, 0.1], (0.5,))[0]["value"] for p in (0.5, 0.49))
    assert acts == pytest.approx(1) and does_not == pytest.approx(0)


def test_a_perfect_forecast_is_worth_1_and_the_base_rate_0():
    y = np.array([0, 1, 0, 0])
    assert [point["value"] for point in value_curve(y, y.astype(float), (0.1, 0.5))] == pytest.approx([1, 1])
    assert [point["value"] for point in value_curve(y, np.full(4, 0.25), (0.1, 0.5))] == pytest.approx([0, 0])


@pytest.mark.parametrize("y", [np.zeros(4), np.ones(4)])
def test_where_all_windows_are_alike_there_is_nothing_to_save(y):
    assert all(np.isnan(point["value"]) for point in value_curve(y, np.full(4, 0.25)))
