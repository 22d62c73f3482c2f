"""A record read as arrays: what was due, what counts, and what stands in for what is not there."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from hews_gpu.alerts.history import Compact, read_history
from hews_gpu.errors import UserError
from tests.alerts.invented_record import BEGIN_S, POLICY, STEP_S, entries, label, outcome
from tests.alerts.invented_timeline import warning

ZONE = ZoneInfo("America/New_York")


def history(*bodies):
    return read_history(entries(*bodies), ZONE, None)


def test_every_time_that_was_due_is_there_and_what_is_not_recorded_is_missing():
    """Written: 0, 1, 4; due: 0 to 4. Windows of the missing ones are those of the others."""
    timeline = history(outcome(0), outcome(1, said="refused", reason="stale"), outcome(4, late=True)).timeline
    assert timeline.outcome.tolist() == ["issued", "refused", "missing", "missing", "late"]
    assert (timeline.windows.begin_s - BEGIN_S).tolist() == [k * STEP_S for k in range(5)]
    assert timeline.windows.horizon_s == STEP_S and timeline.stride_s == STEP_S
    assert np.isnan(timeline.p["p"]).tolist() == [False, True, True, True, False]
    assert np.isnan(timeline.areas[:, 1]).tolist() == [False, True, True, True, False]
    assert timeline.y.tolist() == [-1] * 5


def test_a_compact_entry_says_the_same_and_damage_is_named():
    bodies, compact = entries(outcome(0, 0.4), outcome(1, 0.6), outcome(2, areas=False)), Compact()
    plain = read_history(bodies, ZONE, None)
    packed = read_history([compact({**one}) for one in bodies], ZONE, None)
    assert np.array_equal(packed.timeline.areas, plain.timeline.areas, equal_nan=True)
    assert list(packed.policies) == list(plain.policies) and len(plain.policies) == 1
    with pytest.raises(UserError, match=r"entry 1: neighborhoods"):
        compact({**bodies[1], "neighborhoods": [0.1, "much"]})


def test_the_calendar_stands_everywhere_by_the_same_hour_of_an_earlier_week():
    """Half days: 14 a week. Of 15 the one before, 14, is nearer, but 1 is of the same hour."""
    made = [outcome(k) for k in range(15)]
    timeline = history(*made, outcome(15, said="refused"), outcome(16, said="stopped")).timeline
    assert timeline.p["climatology"][15:].tolist() == [0.3, 0.6]
    assert np.isnan(timeline.p["level"][15:]).all()
    first = history(outcome(0), outcome(1, said="refused"), outcome(3, said="refused")).timeline
    assert first.p["climatology"].tolist() == [0.6] * 4  # nothing of that hour yet: the one before
    assert history(outcome(0, said="refused"), outcome(1)).timeline.p["climatology"].tolist() == [0.3, 0.3]


def test_one_outcome_counts_per_issue_time_and_none_that_comes_after_the_label():
    """Else catching up after an outage would move numbers that were published."""
    twice = history(outcome(0, 0.4), outcome(0, 0.8)).timeline
    assert twice.p["p"].tolist() == [0.4]
    timeline = history(outcome(0), outcome(2), label(0), label(1, (60, 0)), outcome(1, late=True)).timeline
    assert timeline.outcome.tolist() == ["issued", "missing", "issued"]
    assert timeline.y.tolist() == [0, 1, -1]


def test_an_event_in_many_windows_is_one_and_another_at_its_minute_elsewhere_is_another():
    """At a stride of half a window, window 1 begins in the middle of window 0 and shares its second half."""
    policy = replace(POLICY, stride_s=STEP_S // 2)
    shared = STEP_S // 2 + 60
    made = [outcome(k, policy=policy) for k in range(2)]
    both = label(0, (shared, 1), (shared, 0), (60, None)), label(0, (60, 1), (60, 0), begin_s=BEGIN_S + STEP_S // 2)
    timeline = history(*made, *both).timeline
    assert (timeline.event_s - BEGIN_S).tolist() == [60, shared, shared]
    assert timeline.event_place.tolist() == [-1, 0, 1]


def test_what_reached_nobody_and_what_was_taken_back_is_noted():
    ways = [
        ("sending", {"warning": "a"}), ("failed", {"warning": "a"}),
        ("sending", {"warning": "b"}), ("failed", {"warning": "b"}), ("sent", {"warning": "b"}),
        ("sending", {"warning": "c"}), ("cancel", {"warning": "b"}),
    ]  # fmt: skip
    told = history(outcome(0), *ways)
    assert told.notes == {"undelivered": {"a", "c"}, "cancelled": {"b"}}


def test_that_a_cancellation_was_sent_does_not_mean_that_the_warning_was():
    ways = [
        ("sending", {"warning": "a", "act": "warning"}), ("failed", {"warning": "a", "act": "warning"}),
        ("cancel", {"warning": "a"}), ("sent", {"warning": "a", "act": "cancel"}),
    ]  # fmt: skip
    assert history(outcome(0), *ways).notes == {"undelivered": {"a"}, "cancelled": {"a"}}


def test_what_is_sent_or_taken_back_after_the_label_counts_for_nothing():
    one = warning(0, begin_s=BEGIN_S, end_s=BEGIN_S + STEP_S)
    ways = [("sent", {"warning": one.id}), ("cancel", {"warning": one.id})]
    made = [outcome(0, warnings=[one]), ("sending", {"warning": one.id})]
    assert history(*made, *ways, label(0)).notes == {"undelivered": frozenset(), "cancelled": {one.id}}
    assert history(*made, label(0), *ways).notes == {"undelivered": {one.id}, "cancelled": frozenset()}


def test_warnings_thresholds_and_policies_are_those_that_were_written():
    one = warning(0, place=1, begin_s=BEGIN_S, end_s=BEGIN_S + STEP_S)
    other = replace(POLICY, quiet_s=60)
    told = history(outcome(0, warnings=[one]), outcome(1, said="refused", policy=other), outcome(2, policy=other))
    assert list(told.warnings) == [one]
    assert told.timeline.thresholds["city"].tolist() == [[0.5, 0.9]] * 3
    assert told.timeline.thresholds["neighborhoods"].tolist() == [[0.3, np.inf]] * 3
    assert [(first, policy["quiet_s"]) for first, policy in told.policies] == [(0, STEP_S), (1, 60)]


@pytest.mark.parametrize(("night", "hours"), [("2024-03-09T22:00", [0, 1, 3, 4]), ("2024-11-02T22:00", [0, 1, 2, 3])])
def test_the_hour_that_clocks_leave_out_is_not_missing_and_the_one_shown_twice_is_due_once(night, hours):
    policy, begin_s = replace(POLICY, stride_s=3600), int(np.datetime64(night, "s").astype(int))
    made = [outcome(k, policy=policy, begin_s=begin_s) for k in (0, 1, 8)]
    issue_s = history(*made).timeline.windows.issue_s
    assert ((issue_s[2:6] - begin_s) // 3600 - 2).tolist() == hours


@pytest.mark.parametrize("body", [[], [label(0)], [("outcome", {**outcome(0)[1], "window_start": None})]])
def test_what_holds_no_outcome_is_refused(body):
    with pytest.raises(UserError, match=r"holds no outcome|window_start"):
        history(*body)
