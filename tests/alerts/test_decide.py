from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.alerts.decide import CITY, Thresholds, Warning, decide
from hews_gpu.alerts.forecasts import Said, windows_at
from hews_gpu.alerts.policy import CityBudget, NeighborhoodBudget, Policy
from hews_gpu.data.windows import Task
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S

TASK = Task(lead_s=1800, horizon_s=7200)
BEGIN_S = 1_496_275_200  # 2017-06-01T00:00
THRESHOLDS = Thresholds(
    run="0123abcd", city_watch=0.3, city_warning=0.6, neighborhoods_watch=0.2, neighborhoods_warning=0.5
)
MANY = Policy(
    city=CityBudget(watch_per_week=1000, warning_per_week=1000),
    neighborhoods=NeighborhoodBudget(watch_per_week=1000, warning_per_week=1000, each_per_week=1000),
)
"""Budgets that nothing uses up."""


def said(p, areas=None, stride_s=600, begin_s=BEGIN_S):
    p = np.asarray(p, dtype=np.float64)
    issue_s = begin_s + np.arange(len(p)) * stride_s
    return Said(windows=windows_at(issue_s, TASK), p=p, areas=None if areas is None else np.asarray(areas, float))


def oracle(policy, thresholds, said, past, *, withheld=False):
    """The policy read aloud: every place at every issue time, looking through all warnings given before."""
    all_given = [one for one in past if one.withheld == withheld]
    new = []
    for s in range(len(said)):
        now = int(said.windows.issue_s[s])
        places = [(CITY, said.p[s])]
        if said.areas is not None:
            places += sorted(enumerate(said.areas[s]), key=lambda place: (-place[1], place[0]))
        for place, p in places:
            budgets = policy.city if place == CITY else policy.neighborhoods
            mine = [one for one in all_given if one.place == place]
            lately = [one for one in all_given if now - WEEK_S < one.issue_s]
            same_kind = [one for one in lately if (one.place == CITY) == (place == CITY)]
            for tier, rank in (("warning", 2), ("watch", 1)):
                if p < thresholds.of(place, tier):
                    continue
                higher = [one for one in mine if {"warning": 2, "watch": 1}[one.tier] >= rank]
                if any(now - one.issue_s < policy.quiet_s for one in higher):
                    continue
                if sum(one.tier == tier for one in same_kind) + 1 > getattr(budgets, f"{tier}_per_week"):
                    continue
                each = sum(one.place == place for one in lately)
                if place != CITY and each + 1 > policy.neighborhoods.each_per_week:
                    continue
                watches = [one for one in mine if one.tier == "watch"]
                raises = bool(watches) and watches[-1].end_s > now
                raises = raises and not any(one.tier == "warning" and one.issue_s > watches[-1].issue_s for one in mine)
                when = np.datetime_as_string(np.datetime64(now, "s"), "m").replace("-", "").replace(":", "")
                name = "city" if place == CITY else f"n{place}"
                one = Warning(
                    id=f"{thresholds.run}-{when}-{name}-{tier}",
                    place=place,
                    tier=tier,
                    issue_s=now,
                    begin_s=now + TASK.lead_s,
                    end_s=now + TASK.lead_s + TASK.horizon_s,
                    probability=float(p),
                    threshold=thresholds.of(place, tier),
                    replaces=watches[-1].id if tier == "warning" and raises else None,
                    withheld=withheld,
                )
                all_given.append(one)
                new.append(one)
                break
    return new


policies = st.builds(
    Policy,
    quiet_s=st.sampled_from([0, 1800, 7200, DAY_S]),
    city=st.builds(
        CityBudget, watch_per_week=st.sampled_from([0, 1, 2.5, 7]), warning_per_week=st.sampled_from([0, 1, 3])
    ),
    neighborhoods=st.builds(
        NeighborhoodBudget,
        watch_per_week=st.sampled_from([0, 1, 4]),
        warning_per_week=st.sampled_from([0, 1, 3]),
        each_per_week=st.sampled_from([0, 1, 2]),
    ),
)
levels = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9])


@st.composite
def forecasts(draw):
    times, places = draw(st.integers(1, 40)), draw(st.integers(0, 3))
    p = draw(st.lists(levels, min_size=times, max_size=times))
    areas = None
    if places:
        row = st.lists(levels, min_size=places, max_size=places)
        areas = draw(st.lists(row, min_size=times, max_size=times))
    return said(p, areas, stride_s=draw(st.sampled_from([600, HOUR_S, DAY_S])))


@settings(max_examples=400)
@given(policies, forecasts(), st.data())
def test_decisions_are_those_of_the_policy_read_aloud_whatever_is_asked_at_once(policy, every, data):
    expected = oracle(policy, THRESHOLDS, every, [])
    assert decide(policy, THRESHOLDS, every, []) == expected
    cut = data.draw(st.integers(0, len(every)))
    before, after = (
        replace(
            every,
            windows=every.windows.select(np.arange(len(every))[part]),
            p=every.p[part],
            areas=None if every.areas is None else every.areas[part],
        )
        for part in (slice(0, cut), slice(cut, None))
    )
    first = decide(policy, THRESHOLDS, before, [])
    assert first + decide(policy, THRESHOLDS, after, first) == expected
    withheld = decide(policy, THRESHOLDS, after, first, withheld=True)
    assert withheld == oracle(policy, THRESHOLDS, after, first, withheld=True)


def tiers(warnings):
    return [(one.place, one.tier, (one.issue_s - BEGIN_S) // 600) for one in warnings]


def test_a_watch_that_is_raised_is_replaced_and_both_are_followed_by_quiet():
    p = [0.4, 0.4, 0.7, 0.7, 0.4, *[0.4] * 10, 0.4]
    given = decide(MANY, THRESHOLDS, said(p), [])
    assert tiers(given) == [(CITY, "watch", 0), (CITY, "warning", 2), (CITY, "watch", 14)]
    assert given[1].replaces == given[0].id == "0123abcd-20170601T0000-city-watch"
    assert given[2].replaces is None
    assert (given[1].begin_s, given[1].end_s) == (BEGIN_S + 3000, BEGIN_S + 10200)


def test_a_watch_whose_window_has_ended_is_not_replaced():
    given = decide(MANY, THRESHOLDS, said([0.4, *[0.0] * 14, 0.7]), [])  # 2.5 hours later
    assert tiers(given) == [(CITY, "watch", 0), (CITY, "warning", 15)]
    assert given[1].replaces is None


def test_where_the_budget_of_warnings_is_used_up_there_is_a_watch():
    policy = Policy(city=CityBudget(warning_per_week=1, watch_per_week=2), quiet_s=0)
    given = decide(policy, THRESHOLDS, said([0.7] * 4), [])
    assert tiers(given) == [(CITY, "warning", 0), (CITY, "watch", 1), (CITY, "watch", 2)]
    week_later = said([0.7, 0.7], begin_s=BEGIN_S + WEEK_S - 600)
    assert tiers(decide(policy, THRESHOLDS, week_later, given)) == [(CITY, "warning", 1008)]


def test_the_likeliest_neighborhoods_come_first_and_each_has_its_own_budget():
    policy = replace(MANY, neighborhoods=NeighborhoodBudget(watch_per_week=3, warning_per_week=0, each_per_week=2))
    policy = replace(policy, quiet_s=0)
    given = decide(policy, THRESHOLDS, said([0.0] * 3, [[0.25, 0.3, 0.6], [0.0, 0.0, 0.6], [0.3, 0.0, 0.6]]), [])
    assert tiers(given) == [(2, "watch", 0), (1, "watch", 0), (0, "watch", 0)]
    given = decide(policy, THRESHOLDS, said([0.0] * 3, [[0.0, 0.0, 0.6]] * 3), [])
    assert tiers(given) == [(2, "watch", 0), (2, "watch", 1)]


@pytest.mark.parametrize("withheld", [False, True])
def test_only_warnings_of_the_same_sort_count(withheld):
    first = decide(MANY, THRESHOLDS, said([0.7]), [], withheld=withheld)
    again = said([0.7], begin_s=BEGIN_S + 600)
    assert decide(MANY, THRESHOLDS, again, first, withheld=withheld) == []
    assert len(decide(MANY, THRESHOLDS, again, first, withheld=not withheld)) == 1


def test_thresholds_as_json_have_no_infinite_number():
    assert replace(THRESHOLDS, city_watch=float("inf")).as_dict() == {
        "city_watch": None,
        "city_warning": 0.6,
        "neighborhoods_watch": 0.2,
        "neighborhoods_warning": 0.5,
    }
