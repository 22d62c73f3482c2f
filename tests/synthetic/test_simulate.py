"""A simulated history: its parts against what their law says, and its rhythm and branching found again.

The sums that find them share nothing with the simulation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.synthetic.law import Kernel, Wave
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.simulate import Points, Seeds, arrivals, children, cluster, joined, simulate
from tests.synthetic.histories import BEGIN_S, DAYS, history

LONG_AGO = 10**9
DEMO = LAWS["demo"]


class Stay:
    """Children fall where their parents are."""

    def draw_near(self, rng, place, kept, spread_m):
        return place[kept]


def at(minutes):
    return Points(np.asarray(minutes, dtype=np.int64), np.arange(len(minutes))[:, None] * np.ones(2))


def test_arrivals_are_poisson_with_the_given_rate():
    rate = np.tile([0.0, 0.2, 1.0, 3.0], 20_000)
    minute = arrivals(np.random.default_rng(1), rate)
    assert np.all(np.diff(minute) >= 0)
    counts = np.bincount(minute // 60, minlength=len(rate)).reshape(-1, 4)
    assert counts.mean(axis=0) == pytest.approx([0, 0.2, 1, 3], abs=0.05)
    assert counts.var(axis=0) == pytest.approx([0, 0.2, 1, 3], abs=0.1)
    in_hour = np.bincount(minute % 60, minlength=60)
    assert ((in_hour - in_hour.mean()) ** 2 / in_hour.mean()).sum() < 115  # chi-square with 59 d.o.f., p = 1e-5


def test_children_come_in_the_number_and_after_the_delay_that_the_kernel_says():
    kernel = Kernel(branching=0.4, decay_s=600)
    parents = at(np.zeros(200_000))
    found = children(np.random.default_rng(2), parents, kernel, LONG_AGO, Stay())
    assert len(found.minute) == pytest.approx(80_000, abs=5 * 80_000**0.5)
    for d in (1, 2, 5, 20):
        expected = 200_000 * 0.4 * (np.exp(-(d - 1) / 10) - np.exp(-d / 10))
        assert np.sum(found.minute == d) == pytest.approx(expected, abs=5 * expected**0.5), d


def test_a_cluster_has_the_mean_size_of_a_branching_process():
    found = cluster(np.random.default_rng(3), at(np.zeros(50_000)), Kernel(branching=0.5, decay_s=60), LONG_AGO, Stay())
    assert len(found.minute) / 50_000 == pytest.approx(2.0, abs=0.05)  # 1 / (1 - branching); s.d. of the mean 0.009


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=30), st.integers(0, 2**32), st.floats(10, 1e5))
def test_children_follow_their_parents_and_end_before_the_end(minutes, seed, decay_s):
    parents = at(sorted(minutes))
    found = children(np.random.default_rng(seed), parents, Kernel(branching=2.0, decay_s=decay_s), 400, Stay())
    assert np.all(np.diff(found.minute) >= 0)
    assert np.all(found.minute < 400)
    parent_minute = parents.minute[found.place[:, 0].astype(int)]  # a place says which parent it came from
    assert np.all(found.minute > parent_minute)


def test_joined_keeps_every_point_with_its_place():
    both = joined(at([5, 9]), at([1, 9]))
    assert both.minute.tolist() == [1, 5, 9, 9]
    assert both.place[:, 0].tolist() == [0, 0, 1, 1]


# ---------------------------------------------------------------- whole histories


def whole(law, days=730):
    return simulate(law, Seeds.of(law, 1), begin_s=BEGIN_S, hours=24 * days)


def test_volumes_follow_from_rates_and_branching():
    made = whole(DEMO)
    expected = {category.name: category.per_day for category in DEMO.categories}
    expected["BURGLARY"] /= 1 - 0.2
    expected["SHOOTING"] = (DEMO.base.per_day + 0.75 * expected["ROBBERY - STREET"]) / (1 - 0.08)
    assert set(made.events) == set(expected)
    for name, per_day in expected.items():
        spread = 5 * (per_day * 730 * 4) ** 0.5  # clusters make counts more variable than Poisson ones
        assert len(made.events[name].minute) == pytest.approx(per_day * 730, abs=spread), name


@pytest.mark.parametrize("law", [DEMO, LAWS["strong"]], ids=lambda law: law.name)
def test_a_category_does_not_depend_on_what_comes_after_it(law):
    fewer, all_of_them = whole(replace(law, categories=law.categories[:4])), whole(law)
    for name in fewer.events:
        assert np.array_equal(fewer.events[name].minute, all_of_them.events[name].minute), name


@pytest.mark.parametrize("law", [DEMO, LAWS["strong"]], ids=lambda law: law.name)
def test_the_truth_holds_the_events_to_the_minute(law):
    made = history(law, days=400)
    assert np.array_equal(made.truth.target_s, BEGIN_S + 60 * made.events["SHOOTING"].minute)
    assert np.array_equal(made.truth.incident_s, BEGIN_S + 60 * made.events["ROBBERY - STREET"].minute)


def test_what_is_set_off_is_near_what_set_it_off():
    still = replace(DEMO.base, per_day=0.0)
    made = history(replace(DEMO, base=still, excited_by_targets=Kernel(branching=0, decay_s=60)), days=730)
    targets, triggers = made.events["SHOOTING"], made.events["ROBBERY - STREET"]
    near = 0
    for minute, place in zip(targets.minute, targets.place, strict=True):
        before = (triggers.minute < minute) & (triggers.minute > minute - 6 * 24 * 60)
        near += np.hypot(*(triggers.place[before] - place).T).min(initial=np.inf) < 4 * DEMO.trigger.kernel.spread_m
    assert near / len(targets.minute) > 0.999


def excess_after(causes, targets, base, horizon_min):
    """Target events per cause within `horizon_min`, above what `base` (cumulated by minute) leads to expect."""
    found = np.searchsorted(targets, causes + horizon_min, side="right") - np.searchsorted(
        targets, causes, side="right"
    )
    return (found - (base[causes + horizon_min] - base[causes])).mean()


def test_the_same_seed_gives_the_same_history():
    first, again, other = (history(LAWS["pairs"], seed, days=200) for seed in (1, 1, 2))
    for name, points in first.events.items():
        assert np.array_equal(points.minute, again.events[name].minute)
        assert np.array_equal(points.place, again.events[name].place)
        assert len(points.minute) != len(other.events[name].minute)


def test_the_rhythm_comes_out_again():
    truth = history(LAWS["null"]).truth
    hour = (truth.target_s - truth.begin_s) // 3600
    for period, offset in ((24, 0), (168, 96)):
        slot = (np.arange(24 * DAYS) + offset) % period
        expected = np.bincount(slot, truth.base_per_h)
        found = np.bincount(slot[hour], minlength=period)
        assert ((found - expected) ** 2 / expected).sum() < period + 5 * np.sqrt(2 * period)
        late = np.bincount(slot, np.roll(truth.base_per_h, 2))  # the same rhythm two hours late is told apart
        assert ((found - late) ** 2 / late).sum() > period + 10 * np.sqrt(2 * period)


def test_the_trend_comes_out_again():
    law = replace(LAWS["null"], base_trend=Wave(swing=0.3, period_y=10))
    year = np.clip((history(law).truth.target_s - BEGIN_S) // (365.25 * 86_400), 0, 9).astype(int)
    counts = np.bincount(year)
    assert counts[1:4].sum() > 1.4 * counts[6:9].sum()


def test_the_branching_of_triggers_comes_out_again():
    """In one hidden area's clusters: excess of targets within 40 h after each cause, over base and other causes."""
    law = replace(
        LAWS["spatial"], trigger=replace(LAWS["spatial"].trigger, kernel=Kernel(branching=1.2, decay_s=14400))
    )
    truth = history(law).truth
    minute, area = truth.triggers
    excess = []
    for n in np.flatnonzero(truth.gain):
        mine = minute[area == n]
        mine = mine[mine < 24 * 60 * DAYS - 2400]
        rate = np.repeat(
            truth.base_per_h * truth.area_share[n] + 1.2 * truth.trigger_per_h * truth.trigger_share[n], 60
        )
        base = np.concatenate([[0], np.cumsum(rate / 60)])
        excess.append((excess_after(mine, truth.targets[0][truth.targets[1] == n], base, 2400), len(mine)))
    mean, weight = np.array(excess).T
    assert np.average(mean, weights=weight) == pytest.approx(1.2, abs=0.1)


def test_the_number_of_targets_follows_from_base_and_branching():
    truth = history(replace(LAWS["strong"], excited_by_targets=Kernel(branching=0.3, decay_s=7200))).truth
    first = truth.base_per_h.sum() + 1.05 * len(truth.incident_s)
    assert len(truth.target_s) == pytest.approx(first / 0.7, rel=0.03)
    assert len(truth.target_s) != pytest.approx(first, rel=0.3)


def test_what_targets_set_off_stays_in_the_neighborhood():
    law = replace(LAWS["null"], excited_by_targets=Kernel(branching=0.5, decay_s=600))
    minute, area = history(law).truth.targets
    soon = np.diff(minute) <= 10
    same = (area[1:] == area[:-1])[soon].mean()
    assert same > 0.85
    assert (history(LAWS["null"]).truth.targets[1][1:] == history(LAWS["null"]).truth.targets[1][:-1]).mean() < 0.15


def test_hidden_areas_hold_the_wanted_share():
    truth = history(LAWS["spatial"]).truth
    assert truth.gain.sum() == 8
    assert (truth.gain * truth.trigger_share).sum() == pytest.approx(8 / 55, abs=0.005)
    assert truth.gain[truth.incident_area].mean() == pytest.approx(8 / 55, abs=0.015)


@pytest.mark.parametrize("seed", [1, 2])
def test_as_many_pairs_as_wanted_in_every_city(seed):
    truth = history(LAWS["pairs"], seed).truth
    assert len(truth.triggers[0]) / DAYS == pytest.approx(1.6, rel=0.06)
    assert np.all(truth.triggers[0] % 120 == 119)
