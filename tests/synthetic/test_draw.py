"""A drawn history: its rhythm and its branching come out again, by sums that share nothing with the simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.synthetic.draw import draw
from hews_gpu.synthetic.law import Wave
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.process import Kernel

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))
DAYS = 3652


def drawn(law, seed=1, days=DAYS):
    """A history without the categories that do not matter to its target events."""
    causes = law.trigger.sources if law.trigger is not None else ()
    law = replace(law, categories=tuple(c for c in law.categories if c.name in causes))
    return draw(law, np.random.SeedSequence(seed), begin_s=BEGIN_S, hours=24 * days)


def excess_after(causes, targets, base, horizon_min):
    """Target events per cause within `horizon_min`, above what `base` (cumulated by minute) leads to expect."""
    found = np.searchsorted(targets, causes + horizon_min, side="right") - np.searchsorted(
        targets, causes, side="right"
    )
    return (found - (base[causes + horizon_min] - base[causes])).mean()


def test_the_same_seed_gives_the_same_history():
    first, again, other = (drawn(LAWS["pairs"], seed, days=200) for seed in (1, 1, 2))
    for name, points in first.events.items():
        assert np.array_equal(points.minute, again.events[name].minute)
        assert np.array_equal(points.xy_m, again.events[name].xy_m)
        assert len(points.minute) != len(other.events[name].minute)


def test_the_rhythm_comes_out_again():
    truth = drawn(LAWS["null"]).truth
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
    year = np.clip((drawn(law).truth.target_s - BEGIN_S) // (365.25 * 86_400), 0, 9).astype(int)
    counts = np.bincount(year)
    assert counts[1:4].sum() > 1.4 * counts[6:9].sum()


def test_the_branching_of_triggers_comes_out_again():
    """In one hidden area's clusters: excess of targets within 40 h after each cause, over base and other causes."""
    law = replace(
        LAWS["spatial"], trigger=replace(LAWS["spatial"].trigger, kernel=Kernel(branching=1.2, decay_s=14400))
    )
    truth = drawn(law).truth
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
    truth = drawn(replace(LAWS["strong"], excited_by_targets=Kernel(branching=0.3, decay_s=7200))).truth
    first = truth.base_per_h.sum() + 1.05 * len(truth.incident_s)
    assert len(truth.target_s) == pytest.approx(first / 0.7, rel=0.03)
    assert len(truth.target_s) != pytest.approx(first, rel=0.3)


def test_what_targets_set_off_stays_in_the_neighborhood():
    law = replace(LAWS["null"], excited_by_targets=Kernel(branching=0.5, decay_s=600))
    minute, area = drawn(law).truth.targets
    soon = np.diff(minute) <= 10
    same = (area[1:] == area[:-1])[soon].mean()
    assert same > 0.85
    assert (drawn(LAWS["null"]).truth.targets[1][1:] == drawn(LAWS["null"]).truth.targets[1][:-1]).mean() < 0.15


def test_hidden_areas_hold_the_wanted_share():
    truth = drawn(LAWS["spatial"]).truth
    assert truth.gain.sum() == 8
    assert (truth.gain * truth.trigger_share).sum() == pytest.approx(8 / 55, abs=0.005)
    assert truth.gain[truth.incident_area].mean() == pytest.approx(8 / 55, abs=0.015)


@pytest.mark.parametrize("seed", [1, 2])
def test_as_many_pairs_as_wanted_in_every_city(seed):
    truth = drawn(LAWS["pairs"], seed).truth
    assert len(truth.triggers[0]) / DAYS == pytest.approx(1.6, rel=0.06)
    assert np.all(truth.triggers[0] % 120 == 119)
