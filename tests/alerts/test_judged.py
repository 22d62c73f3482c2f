"""Warnings against events: by hand, against a loop over all pairs, and what must never raise a score."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.alerts.judged import counts, judge, judge_all, tier_cells
from tests.alerts.invented_timeline import drawn, ten, warning, with_refusal

EVERY = "given hits false_alarms open events caught".split()


def counted(timeline, given, kind="city", **notes):
    return counts(timeline, judge(timeline, given, kind, **notes), np.ones(len(timeline.windows), dtype=bool))


def test_the_ten_by_hand():
    """Given: the warning of 0, the watches of 3 and 5; those of 4 (withheld) and 6 (late) are not.

    Hits at 0 after 1800 s and at 3 after 600 s, so a median lead of 1200 s; 5 is false: FAR 1/3. Of five events
    those of 4, 6 and 8 are missed: POD 2/5. Ten windows of two hours are 20/168 of a week: 3 / (20/168) = 25.2 a week.
    """
    timeline, given = ten()
    rows = counted(timeline, given)
    assert [rows["any"][name] for name in EVERY] == [3, 2, 1, 0, 5, 2]
    assert rows["any"]["pod"] == 2 / 5 and rows["any"]["far"] == 1 / 3 and rows["any"]["median_lead_s"] == 1200
    assert rows["any"]["per_week"] == pytest.approx(25.2)
    assert (rows["any"]["withheld"], rows["any"]["late"], rows["any"]["cancelled"]) == (1, 1, 0)
    assert [rows["warning"][name] for name in EVERY] == [1, 1, 0, 0, 5, 1]
    assert [rows["watch"][name] for name in EVERY] == [2, 1, 1, 0, 5, 1]
    assert rows["warning"]["far"] == 0 and rows["watch"]["median_lead_s"] == 600
    judged = judge(timeline, given, "city")
    assert (timeline.event_s[judged.missed] // 7200).tolist() == [4, 6, 8]
    assert judged.outcome.tolist() == ["hit", "hit", "hit", "false_alarm", "hit"]  # what withheld ones would have been


def test_a_minimum_lead_turns_a_hit_into_a_false_alarm_and_its_event_into_a_miss():
    """The event of 3 comes 600 s after its issue: of no use to who needs 601; that of 0 comes after 1800 s.

    That of 4 comes at its very issue and stays an event: that nobody could be warned in time is the policy's doing.
    """
    timeline, given = ten()
    assert counted(replace(timeline, minimum_lead_s=600), given)["any"]["hits"] == 2
    rows = counted(replace(timeline, minimum_lead_s=601), given)
    assert [rows["any"][name] for name in EVERY] == [3, 1, 2, 0, 5, 1]


def test_what_is_cancelled_or_reached_nobody_covers_nothing():
    timeline, given = ten()
    cancelled = counted(timeline, given, cancelled={given[0].id})["any"]
    assert [cancelled[name] for name in EVERY] == [3, 1, 2, 0, 5, 1]  # given it was
    undelivered = counted(timeline, given, undelivered={given[0].id})["any"]
    assert [undelivered[name] for name in EVERY] == [2, 1, 1, 0, 5, 1]


def test_what_is_not_settled_is_open_and_its_events_are_not_yet_missed():
    timeline, given = ten()
    y = timeline.y.copy()
    y[5:] = -1
    rows = counted(replace(timeline, y=y), given)["any"]
    assert [rows[name] for name in EVERY] == [2, 2, 0, 1, 3, 2]
    assert rows["per_week"] == pytest.approx(2 / (10 / 168))


def by_pairs(timeline, given, kind):
    """Count with a loop over all pairs of warnings and events."""
    settled = [int(t) for t, y in zip(timeline.windows.issue_s, timeline.y, strict=True) if y >= 0]
    outcome = dict(zip(timeline.windows.issue_s.tolist(), timeline.outcome.tolist(), strict=True))
    lead = timeline.minimum_lead_s
    events = [
        (t, n)
        for t, n in zip(timeline.event_s.tolist(), timeline.event_place.tolist(), strict=True)
        if (kind == "city" or n >= 0)
        and any(max(s, s + lead) <= t < s + 7200 for s in settled)
        and t // 600 * 600 in settled
    ]

    def covers(one, t, n):
        return (kind == "city" or one.place == n) and one.issue_s + lead <= t < one.end_s

    own = [one for one in given if (one.place == -1) == (kind == "city")]
    own = [one for one in own if not one.withheld and outcome[one.issue_s] != "late"]
    judged = [one for one in own if one.issue_s in settled]
    every = list(zip(timeline.event_s.tolist(), timeline.event_place.tolist(), strict=True))
    hits = [one for one in judged if any(covers(one, t, n) for t, n in every)]
    leads = [min(t - one.issue_s for t, n in every if covers(one, t, n)) for one in hits]
    caught = sum(any(covers(one, t, n) for one in own) for t, n in events)
    return (
        len(judged),
        len(hits),
        len(own) - len(judged),
        len(events),
        caught,
        float(np.median(leads)) if leads else None,
    )


@pytest.mark.parametrize("seed", range(40))
def test_it_counts_what_a_loop_over_all_pairs_counts(seed):
    timeline, given = drawn(seed, minimum_lead_s=(0, 900, 5000)[seed % 3])
    for kind in ("city", "neighborhoods"):
        row = counted(timeline, given, kind)["any"]
        names = "given hits open events caught median_lead_s".split()
        assert tuple(row[name] for name in names) == by_pairs(timeline, given, kind)


@pytest.mark.parametrize("seed", range(40))
def test_a_refusal_never_raises_what_is_detected_nor_lowers_what_there_was_to_detect(seed):
    timeline, given = drawn(seed)
    for k in range(0, 60, 7):
        for kind in ("city", "neighborhoods"):
            before, after = (
                counted(*both, kind)["any"] for both in ((timeline, given), with_refusal(timeline, given, k))
            )
            assert after["events"] == before["events"]
            assert after["caught"] <= before["caught"]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_withheld_is_never_counted_as_given(seed):
    timeline, given = drawn(seed)
    for k, one in enumerate(given[:8]):
        hidden = [*given[:k], replace(one, withheld=True), *given[k + 1 :]]
        kind = "city" if one.place == -1 else "neighborhoods"
        before, after = (counted(timeline, each, kind) for each in (given, hidden))
        judged = judge(timeline, given, kind)
        was = int(judged.is_given[[own.id for own in judged.warnings].index(one.id)])
        for name in ("any", one.tier):
            assert after[name]["given"] + after[name]["open"] == before[name]["given"] + before[name]["open"] - was
            assert after[name]["caught"] <= before[name]["caught"]


def test_a_warning_is_in_force_until_its_window_ends_and_the_higher_tier_counts():
    """At a stride of 10 minutes a watch of 0 is in force at issue times 0 to 11; a warning of 3 at 3 to 14."""
    timeline, _ = drawn(1, count=60)
    timeline = replace(timeline, y=np.zeros(60, dtype=np.int8), event_s=np.zeros(0, dtype=np.int64))
    timeline = replace(timeline, event_place=np.zeros(0, dtype=np.int64), outcome=np.full(60, "issued"))
    given = [
        warning(k, tier, place, stride_s=600)
        for k, tier, place in ((0, "watch", 2), (3, "warning", 2), (3, "watch", 1))
    ]
    every, one_group = np.ones(60, dtype=bool), np.zeros(60, dtype=np.int64)
    cells = tier_cells(timeline, judge(timeline, given, "neighborhoods"), every, one_group, 1)
    assert cells[0, :, 0].tolist() == [4 * 60 - 27, 3 + 12, 12]
    assert tier_cells(timeline, judge(timeline, given, "city"), every, one_group, 1)[0, :, 0].tolist() == [60, 0, 0]


def test_an_event_at_the_end_of_a_window_is_of_the_next():
    timeline, _ = drawn(1, count=60)
    timeline = replace(timeline, event_s=np.array([7200]), event_place=np.array([3]))
    s, place = timeline.cells
    assert s.tolist() == list(range(1, 13)) and set(place.tolist()) == {3}
    assert timeline.last_chance.tolist() == [12]


def test_only_models_that_say_where_have_neighborhoods():
    timeline, given = ten()
    assert list(judge_all(timeline, {"p": given})) == ["city"]
    assert list(judge_all(drawn(0)[0], {"p": given[:1]})) == ["city", "neighborhoods"]
