"""Who is warned of, by group: every sum against loops, and each gate against a disparity that was planted for it."""

import numpy as np
import pytest

from hews_gpu.audit.exposure import FEWEST_EVENTS, GATES, Cells, Grouping, equal_hours, gates, likeliest, measures
from hews_gpu.units import DAY_S, HOUR_S

HOURS = 12
GROUPS, EACH = 4, 6


def grouping(left_out=0):
    group = np.repeat(np.arange(GROUPS), EACH)
    group[:left_out] = -1
    return Grouping(by="x", group=group, names=("a", "b", "c", "d"), edges=[(0, 0)] * GROUPS)


def city(seed, windows=1500, budget=600, base=None):
    """A city whose forecasts are the true chances, and whose likeliest cells are warned of."""
    rng = np.random.default_rng(seed)
    base = np.full(GROUPS * EACH, 0.02) if base is None else base
    p = base * rng.gamma(2, 0.5, size=(windows, len(base)))
    events = (rng.random(p.shape) < p).astype(np.int64)
    events += events * rng.integers(0, 2, size=p.shape)
    return make(p, likeliest(p, budget), events)


def make(p, warned, events):
    return Cells(p=p, is_warned=warned, events=events, stride_s=HOURS * HOUR_S, horizon_s=HOURS * HOUR_S)


PEOPLE = np.full(GROUPS * EACH, 1000.0)


def verdicts(cells, by=None):
    found = gates(cells, [by or grouping()], PEOPLE, "it")
    return {(one.figures["measure"], one.figures["group"]): one.verdict for one in found}


def test_the_measures_are_what_loops_count():
    cells = city(1)
    by = grouping(left_out=2)
    people = np.arange(1, GROUPS * EACH + 1) * 100.0
    rows = measures(cells, by, people)
    hours = events = caught = warned = true = quiet = false = happened = expected = 0
    for s in range(len(cells.p)):
        for n in np.flatnonzero(by.group == 2):
            w, e = bool(cells.is_warned[s, n]), int(cells.events[s, n])
            hours += HOURS * w
            warned += w
            events += e
            caught += e * w
            true += w and e > 0
            quiet += e == 0
            false += w and e == 0
            happened += e > 0
            expected += cells.p[s, n]
    row = rows[2]
    weeks = len(cells.p) * HOURS * HOUR_S / (7 * DAY_S)
    assert row["events"] == events and row["neighborhoods"] == EACH
    residents = people[by.group == 2].sum()
    want = {
        "hours_per_event": hours / events,
        "hours_per_1000_residents_a_week": hours / (residents / 1000) / weeks,
        "caught": caught / events,
        "came_true": true / warned,
        "false_alarms_of_quiet": false / quiet,
        "calibration": happened / expected,
    }
    for name, value in want.items():
        assert row[name]["value"] == pytest.approx(value), name
        low, high = row[name]["interval"]
        assert low < value < high
    assert rows[0]["neighborhoods"] == EACH - 2
    inside = by.group >= 0
    whole = cells.is_warned[:, inside].sum() * HOURS / cells.events[:, inside].sum()
    assert row["hours_per_event"]["ratio"]["value"] == pytest.approx(want["hours_per_event"] / whole)
    assert row["hours_per_event"]["difference"]["value"] == pytest.approx(want["hours_per_event"] - whole)


def test_the_interval_of_a_disparity_holds():
    """Over many cities the ratio of a group that differs from the others by nothing but chance."""
    inside = []
    for seed in range(60):
        row = measures(city(seed, windows=800), grouping(), PEOPLE)[0]
        low, high = row["calibration"]["ratio"]["interval"]
        inside.append(low <= 1 <= high)
    assert np.mean(inside) >= 0.87  # 95 % of 60, less three standard errors


def test_what_moves_the_city_as_well_is_no_disparity():
    """A group that is the whole city has its ratio of 1 and difference of 0 for certain, however few events it had."""
    whole = Grouping(by="x", group=np.zeros(GROUPS * EACH, dtype=np.int64), names=("all",), edges=[(0, 0)])
    (row,) = measures(city(2, windows=300), whole, PEOPLE)
    for name in ("hours_per_event", "caught", "came_true", "calibration"):
        assert row[name]["ratio"]["interval"] == pytest.approx([1, 1]), name
        assert row[name]["difference"]["interval"] == pytest.approx([0, 0]), name
        assert row[name]["interval"][0] < row[name]["value"] < row[name]["interval"][1]


def test_a_fair_city_passes_and_chance_seldom_fails_it():
    failed = sum("fail" in verdicts(city(seed)).values() for seed in range(20))
    assert failed <= 1
    assert set(verdicts(city(3, windows=6000, budget=3000)).values()) == {"pass"}


def test_a_probability_that_means_more_in_one_group_fails_its_gate_alone():
    cells = city(4, windows=6000, budget=3000)
    p = cells.p.copy()
    p[:, -EACH:] *= 2  # the same warnings, but what is said of the last group is twice what comes
    found = verdicts(make(p, cells.is_warned, cells.events))
    assert found["calibration", "d"] == "fail"
    assert found["hours_per_event", "d"] == found["caught", "d"] == "pass"


def test_hours_that_do_not_follow_the_events_fail_theirs():
    cells = city(5, windows=6000, budget=3000)
    warned = cells.is_warned.copy()
    quiet = cells.events == 0
    quiet[:, :-EACH] = False
    rng = np.random.default_rng(0)
    warned |= quiet & (rng.random(quiet.shape) < 0.08)  # the last group is warned of at random, too
    found = verdicts(make(cells.p, warned, cells.events))
    assert found["hours_per_event", "d"] == "fail"
    assert found["calibration", "d"] == "pass" and found["caught", "d"] == "pass"


def test_events_that_nobody_warns_of_in_one_group_fail_theirs():
    cells = city(6, windows=6000, budget=40_000)
    warned = cells.is_warned.copy()
    came = cells.events > 0
    came[:, EACH:] = False
    drop, put = np.flatnonzero(warned & came), np.flatnonzero(~warned & ~came & (np.arange(GROUPS * EACH) < EACH))
    warned.flat[drop] = False
    warned.flat[put[: len(drop)]] = True  # as many hours, but none when something comes
    found = verdicts(make(cells.p, warned, cells.events))
    assert found["caught", "a"] == "fail" and found["hours_per_event", "a"] == "pass"


def test_a_group_that_is_never_warned_of_fails_and_one_with_few_events_is_not_judged():
    base = np.repeat([0.001, 0.02, 0.03, 0.04], EACH)
    cells = city(7, windows=6000, budget=1500, base=base)
    assert verdicts(cells)["hours_per_event", "a"] == "fail"
    few = city(7, windows=60, budget=20, base=base)
    assert few.events[:, :EACH].sum() < FEWEST_EVENTS
    assert {verdict for (_, group), verdict in verdicts(few).items() if group == "a"} == {"warning"}


def test_every_gate_is_of_a_measure_that_there_is():
    row = measures(city(1), grouping(), PEOPLE)[0]
    assert all(row[gate.measure][gate.kind] for gate in GATES)


def test_equal_hours_are_equal_and_nothing_is_lost_on_the_way():
    base = np.repeat([0.005, 0.01, 0.02, 0.04], EACH)
    cells, by = city(8, windows=4000, budget=2000, base=base), grouping()
    rows = equal_hours(cells, by)
    assert [row["mix"] for row in rows] == pytest.approx(np.linspace(0, 1, 11))
    last = rows[-1]["hours_per_event"]
    assert max(last) < 1.02 * min(last) and max(rows[0]["hours_per_event"]) > 5 * min(rows[0]["hours_per_event"])
    events = [int(cells.events[:, by.group == g].sum()) for g in range(GROUPS)]
    for row in rows:
        total = sum(hours * count for hours, count in zip(row["hours_per_event"], events, strict=True))
        assert total == pytest.approx(cells.is_warned.sum() * HOURS)
    caught = (cells.events * cells.is_warned).sum() / cells.events.sum()
    assert rows[0]["caught"]["value"] == pytest.approx(caught) and rows[-1]["caught"]["value"] < caught
    fair = np.array(events) / sum(events) * 2000
    chosen = np.zeros_like(cells.is_warned)
    for g in range(GROUPS):
        own = np.flatnonzero(by.group == g)
        order = np.argsort(-cells.p[:, own].ravel(), kind="stable")[: round(fair[g])]
        chosen[order // len(own), own[order % len(own)]] = True
    assert rows[-1]["caught"]["value"] == pytest.approx((cells.events * chosen).sum() / sum(events), abs=0.002)


def test_equal_probabilities_are_spread_over_the_time():
    p = np.array([[0.1, 0.3], [0.3, 0.2]])
    assert likeliest(p, 2).tolist() == [[False, True], [True, False]]
    rate = np.tile([0.1, 0.3, 0.2], (1000, 1))
    for count in (40, 300):
        chosen = likeliest(rate, count)
        assert chosen.sum() == count == chosen[:, 1].sum()
        assert np.ptp(chosen[:, 1].reshape(4, 250).sum(axis=1)) <= 3
    assert likeliest(rate, 1200).sum(axis=0).tolist() == [0, 1000, 200]
