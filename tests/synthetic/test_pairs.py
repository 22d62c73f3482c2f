"""Pairs by brute force, and what pairs to come may do against direct simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.synthetic.pairs import SLOT_MIN, Incidents, PairCategory, PairLaw, find_pairs

RATE = 1.1  # of each category, per hour


def incidents(rng, count, minutes=2000):
    return Incidents(
        minute=np.sort(rng.integers(0, minutes, count)),
        xy_m=rng.uniform(0, 2500, (count, 2)),
        area=rng.integers(0, 2, count),
    )


@pytest.fixture(scope="module")
def law():
    """Forty addresses on a square of three kilometers, in two areas."""
    rng = np.random.default_rng(4)
    point = np.stack([rng.integers(-6_724_000, -6_721_200, 40), rng.integers(1_830_000, 1_832_800, 40)], axis=1)
    first, second = (
        PairCategory(rate_per_h=np.full(40, RATE), weights=rng.dirichlet(np.ones(40)), past=incidents(rng, 30))
        for _ in range(2)
    )
    return PairLaw(within_m=500.0, point=point, area=np.arange(40) % 2, first=first, second=second)


def test_pairs_are_all_pairs():
    rng = np.random.default_rng(0)
    first, second = incidents(rng, 200), incidents(rng, 150)
    keys = first.minute // SLOT_MIN, second.minute // SLOT_MIN
    a, b = find_pairs(first, second, *keys, 500.0)
    near = np.hypot(*(first.xy_m[:, None] - second.xy_m).transpose(2, 0, 1)) <= 500
    wanted = np.argwhere((keys[0][:, None] == keys[1]) & near)
    assert len(wanted) > 20
    assert np.array_equal(np.stack([a, b], axis=1), wanted)


def test_a_pair_acts_from_the_end_of_its_window():
    none = np.empty((0, 2))
    first = Incidents(minute=np.array([119, 240]), xy_m=np.zeros((2, 2)), area=np.array([1, 0]))
    second = Incidents(minute=np.array([0, 120, 359]), xy_m=np.zeros((3, 2)), area=np.zeros(3, np.int64))
    sources = [PairCategory(rate_per_h=np.zeros(6), weights=np.ones(1), past=past) for past in (first, second)]
    law = PairLaw(within_m=1.0, point=none, area=np.array([0]), first=sources[0], second=sources[1])
    minute, area = law.pairs
    assert minute.tolist() == [119, 359]
    assert area.tolist() == [1, 0]


def direct(law, cost, *, draws, left_min=SLOT_MIN, known=(None, None), area=None):
    """E[exp(-cost P)] of a window's rest, drawn one by one."""
    rng, total = np.random.default_rng(7), 0.0
    for _ in range(draws):
        sides = []
        for source, past in zip((law.first, law.second), known, strict=True):
            new = law.draw(rng, source, rng.poisson(RATE * left_min / 60))
            xy_m, where = new.xy_m, new.area
            if past is not None:
                xy_m, where = np.concatenate([xy_m, past.xy_m]), np.concatenate([where, past.area])
            sides.append((xy_m, where))
        near = np.hypot(*(sides[0][0][:, None] - sides[1][0]).transpose(2, 0, 1)) <= law.within_m
        near &= True if area is None else (sides[0][1] == area)[:, None]
        total += np.exp(-cost * near.sum())
    return total / draws


@pytest.mark.parametrize("area", [None, 1])
def test_whole_windows_to_come(law, area):
    window = np.array([3, 3, 5])
    got = np.exp(-law.log_factor(window, 0.8, area))
    assert got[0] == got[1] == pytest.approx(got[2])
    assert got[0] < 0.93
    assert got[0] == pytest.approx(direct(law, 0.8, draws=4000, area=area), abs=0.02)
    assert np.exp(-replace(law, within_m=250.0).log_factor(window, 0.8, area))[0] > got[0] + 0.03


def test_windows_that_have_begun(law):
    issue = 5 * SLOT_MIN + 60
    past = [
        Incidents(minute=s.past.minute[k], xy_m=s.past.xy_m[k], area=s.past.area[k])
        for s in (law.first, law.second)
        for k in [(s.past.minute >= 5 * SLOT_MIN) & (s.past.minute < issue)]
    ]
    assert len(past[0].minute) + len(past[1].minute) > 0
    got = np.exp(-law.log_partial(np.array([issue]), 0.8, by_area=False, draws=4000))[0, 0]
    assert got == pytest.approx(direct(law, 0.8, draws=4000, left_min=60, known=past), abs=0.02)
    by_area = np.exp(-law.log_partial(np.array([issue]), 0.8, by_area=True, draws=4000))[0]
    assert by_area[1] == pytest.approx(direct(law, 0.8, draws=4000, left_min=60, known=past, area=1), abs=0.02)
