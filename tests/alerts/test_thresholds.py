from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.alerts import thresholds as module
from hews_gpu.alerts.decide import CITY, Thresholds, decide
from hews_gpu.alerts.policy import CityBudget, NeighborhoodBudget, Policy
from hews_gpu.alerts.thresholds import calibration_span_s, calibration_times, set_thresholds
from hews_gpu.config import load_city
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S
from tests.alerts.live_city import seconds
from tests.alerts.test_decide import said

NEVER = float("inf")


def lowest_by_trying_all(policy, every, kind, budget, others):
    """The lowest of all values that gives at most the budget, as one tries them in turn."""
    values = np.unique(every.p if kind.startswith("city") else every.areas)
    weeks = len(every) * policy.stride_s / (7 * DAY_S)
    best = NEVER
    if budget:
        for value in values[::-1]:
            given = decide(policy, replace(others, **{kind: value}), every, [], capped=False)
            mine = [one for one in given if (one.place == CITY) == kind.startswith("city")]
            if sum(one.tier == kind.split("_")[1] for one in mine) > budget * weeks + 1e-9:
                break
            best = value
    return best


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 7200, DAY_S]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0, 2, 7, 100]),
    st.sampled_from([3, 1000]),
    st.sampled_from([1, module.HIGHEST]),
)
def test_each_threshold_is_the_lowest_that_keeps_to_its_budget(seed, quiet_s, warnings, watches, steps, highest):
    rng = np.random.default_rng(seed)
    p, areas = (np.round(rng.random(shape), int(np.log10(steps)) + 1) for shape in ((100,), (100, 2)))
    every = said(p, areas, stride_s=7200)
    policy = Policy(
        stride_s=7200,
        quiet_s=quiet_s,
        city=CityBudget(watch_per_week=watches, warning_per_week=warnings),
        neighborhoods=NeighborhoodBudget(watch_per_week=watches, warning_per_week=warnings),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HIGHEST", highest)  # so few values would never be cut
        found = set_thresholds(policy, every, "0123abcd")
    expected = Thresholds(
        run="0123abcd", city_watch=NEVER, city_warning=NEVER, neighborhoods_watch=NEVER, neighborhoods_warning=NEVER
    )
    for kind in ("city_warning", "city_watch", "neighborhoods_warning", "neighborhoods_watch"):
        budget = warnings if kind.endswith("warning") else watches
        expected = replace(expected, **{kind: lowest_by_trying_all(policy, every, kind, budget, expected)})
    assert found == expected


def test_of_a_model_that_does_not_say_where_no_neighborhood_is_warned_of():
    found = set_thresholds(Policy(), said(np.linspace(0, 1, 1008)), "0123abcd")
    assert found.neighborhoods_watch == found.neighborhoods_warning == NEVER
    assert found.city_warning < 1


TABLE_S = (0, 30 * DAY_S)


def test_thresholds_are_set_on_the_validation_split_or_a_block_that_is_named():
    validation = (10 * DAY_S, 20 * DAY_S)
    assert calibration_span_s(Policy(), validation, 20 * DAY_S, TABLE_S) == validation
    named = Policy(calibrate_on=("1970-01-05", "1970-01-15"))
    assert calibration_span_s(named, validation, 20 * DAY_S, TABLE_S) == (4 * DAY_S, 14 * DAY_S)


def test_no_threshold_is_set_on_the_hour_that_a_spring_night_leaves_out(prepared):
    city = load_city(prepared / "city.toml")
    policy = Policy(calibrate_on=("2024-03-04", "2024-03-18"))
    issue_s = calibration_times(policy, city, seconds("2024-04-08"), (seconds("2024-01-01"), seconds("2024-04-08")))
    assert len(issue_s) == 14 * 144 - 6
    night = issue_s[(issue_s >= seconds("2024-03-10T02:00")) & (issue_s < seconds("2024-03-10T03:00"))]
    assert not len(night)


def test_a_block_of_less_than_a_week_is_refused():
    """Less than one warning would be allowed in it: there would never be any."""
    with pytest.raises(UserError, match=r"a week or longer.* the validation split has 6 days"):
        calibration_span_s(Policy(), (10 * DAY_S, 16 * DAY_S), 20 * DAY_S, TABLE_S)
    with pytest.raises(UserError, match=r"a week or longer.* it has 6.5 days"):
        calibration_span_s(Policy(calibrate_on=("1970-01-05", "1970-01-11T12:00")), (0, 9 * DAY_S), 20 * DAY_S, TABLE_S)


@pytest.mark.parametrize("policy", [Policy(), Policy(calibrate_on=("1970-01-05", "1970-01-21"))])
def test_a_block_that_reaches_past_the_first_issue_time_is_refused(policy):
    with pytest.raises(UserError, match="1970-01-21T00:00:00, after the first issue time, 1970-01-20T23:59:59"):
        calibration_span_s(policy, (10 * DAY_S, 20 * DAY_S), 20 * DAY_S - 1, TABLE_S)
