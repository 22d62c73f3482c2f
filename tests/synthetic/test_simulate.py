"""A simulated history: volumes, streams, and offspring near what set it off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.synthetic.geography import make_ground
from hews_gpu.synthetic.process import Kernel
from hews_gpu.synthetic.recipe import DEMO
from hews_gpu.synthetic.simulate import simulate

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))
DAYS = 730


@pytest.fixture(scope="module")
def ground():
    return make_ground(np.random.default_rng(0))


def run(recipe, ground, seed=1):
    return simulate(recipe, ground, np.random.SeedSequence(seed), begin_s=BEGIN_S, hours=24 * DAYS)


def test_volumes_follow_from_rates_and_branching(ground):
    history = run(DEMO, ground)
    expected = {category.name: category.per_day for category in (DEMO.precursor, *DEMO.others)}
    expected["BURGLARY"] = DEMO.near_repeat.per_day / (1 - 0.2)
    expected["SHOOTING"] = (DEMO.target.per_day + 0.75 * DEMO.precursor.per_day) / (1 - 0.08)
    assert set(history.events) == set(expected)
    for name, per_day in expected.items():
        spread = 5 * (per_day * DAYS * 4) ** 0.5  # clusters make counts more variable than Poisson ones
        assert len(history.events[name].minute) == pytest.approx(per_day * DAYS, abs=spread), name


def test_a_category_does_not_depend_on_what_comes_after_it(ground):
    fewer = run(replace(DEMO, others=DEMO.others[:2]), ground)
    all_of_them = run(DEMO, ground)
    for name in fewer.events:
        assert np.array_equal(fewer.events[name].minute, all_of_them.events[name].minute), name


def test_the_truth_holds_the_events_to_the_minute(ground):
    history = run(DEMO, ground)
    assert np.array_equal(history.truth.target_s, BEGIN_S + 60 * history.events["SHOOTING"].minute)
    assert np.array_equal(history.truth.precursor_s, BEGIN_S + 60 * history.events["ROBBERY - STREET"].minute)


def test_what_is_set_off_is_near_what_set_it_off(ground):
    still = replace(DEMO.target, per_day=0.0)
    history = run(replace(DEMO, target=still, excited_by_targets=Kernel(branching=0, decay_s=60)), ground)
    targets, precursors = history.events["SHOOTING"], history.events["ROBBERY - STREET"]
    near = 0
    for minute, place in zip(targets.minute, targets.xy_m, strict=True):
        before = (precursors.minute < minute) & (precursors.minute > minute - 6 * 24 * 60)
        near += np.hypot(*(precursors.xy_m[before] - place).T).min(initial=np.inf) < 4 * DEMO.spread_m
    assert near / len(targets.minute) > 0.999
