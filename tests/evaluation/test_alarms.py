"""Thresholds and warnings by hand, and that a budget is kept on the block it was set on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.evaluation.alarms import BUDGETS_PER_WEEK, alarm_scores, threshold_for

P = np.array([0.1, 0.5, 0.3, 0.3, 0.2, 0.4])


@pytest.mark.parametrize(
    ("budget", "threshold"), [(1, 0.5), (2, 0.4), (3, 0.4), (4, 0.3), (5, 0.2), (6, 0.1), (99, 0.1), (0, np.inf)]
)
def test_threshold_by_hand(budget, threshold):
    assert threshold_for(P, weeks=1, budget_per_week=budget) == threshold


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1), st.integers(0, 20), st.sampled_from([0.5, 1, 3]))
def test_a_budget_is_never_exceeded_where_it_was_set_and_no_lower_threshold_keeps_it(values, budget, weeks):
    p = np.array(values)
    found = threshold_for(p, weeks, budget)
    assert (p >= found).sum() <= budget * weeks
    lower = p[p < found]
    assert not len(lower) or (p >= lower.max()).sum() > budget * weeks


def test_where_there_is_no_forecast_nothing_is_warned_of():
    assert threshold_for([], weeks=1, budget_per_week=3) == np.inf


def test_budgets_are_one_warning_in_two_days_one_a_day_and_two():
    assert BUDGETS_PER_WEEK == (3, 7, 14)


def test_scores_by_hand():
    y = np.array([0, 1, 0, 1, 0, 1], dtype=bool)
    found = alarm_scores(y, P >= 0.3, weeks=2, budget_per_week=3)
    assert found == {
        "budget_per_week": 3,
        "warnings_per_week": 2.0,
        "precision": 0.75,
        "recall": 1.0,
        "false_alarms_per_week": 0.5,
    }
    silent = alarm_scores(y, P > 1, weeks=2, budget_per_week=3)
    assert silent["precision"] is None and silent["recall"] == 0
