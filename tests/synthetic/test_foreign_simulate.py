"""Cities of foreign laws: what they are drawn from is what their truth says, and the small ones are quick."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely

from hews_gpu.synthetic import simulate_city
from hews_gpu.synthetic.foreign_law import NEAR_PAIR, Hidden, Renewal, autoregressive
from hews_gpu.synthetic.law import LogOddsRhythm
from tests.synthetic.histories import BEGIN_S, foreign_history


@pytest.fixture(scope="module")
def pairs():
    return foreign_history("near_pairs", days=30)


def test_rows_lie_in_their_neighborhood(pairs):
    for name, rows in pairs.truth.past.rows.items():
        if name != NEAR_PAIR:
            place = pairs.events[name].place
            assert np.array_equal(pairs.layout.neighborhood(place), rows.area)
    assert np.array_equal(pairs.layout.neighborhood(pairs.events["SHOOTING"].place), pairs.truth.target_area)


def test_rows_crowd_around_hot_spots(pairs):
    place, spots, spread = pairs.events["LARCENY"].place, pairs.layout.spots_m, pairs.layout.spot_spread_m
    apart = np.hypot(*np.moveaxis(place[:, None] - spots, 2, 0))
    assert (apart < 2.5 * spread).any(axis=1).mean() > 0.65  # three quarters are drawn there


def test_pairs_are_near_and_in_one_window(pairs):
    (first, second), within_m = pairs.truth.law.pair, pairs.truth.law.within_m
    one, other = pairs.events[first], pairs.events[second]
    wanted = sorted(
        (max(one.minute[a], other.minute[b]), pairs.truth.past.rows[first].area[a])
        for a in range(len(one.minute))
        for b in np.flatnonzero(other.minute // 120 == one.minute[a] // 120)
        if np.hypot(*(one.place[a] - other.place[b])) <= within_m
    )
    assert len(wanted) > 20
    assert sorted(zip(*pairs.truth.past.rows[NEAR_PAIR], strict=True)) == wanted


def test_risk_moves_to_neighborhoods_that_border_on_each_other(pairs):
    cells, share = pairs.layout.cells, pairs.truth.past.neighbors
    touches = np.array([[shapely.intersection(a, b).length > 1 and a is not b for b in cells] for a in cells])
    assert np.array_equal(share > 0, touches)
    assert share.sum(axis=1) == pytest.approx(1)


def test_a_hidden_level_has_the_memory_and_spread_that_it_says():
    values, transition = (np.array(each) for each in autoregressive(7, 48.0))
    often = np.linalg.matrix_power(transition, 10_000)[0]
    assert often @ values == pytest.approx(0, abs=1e-9)
    assert often @ values**2 == pytest.approx(1)
    assert (often * values) @ np.linalg.matrix_power(transition, 24) @ values == pytest.approx(np.exp(-1))


def test_the_origin_has_about_the_share_that_it_should():
    truth = foreign_history("origin", seed=3, days=200).truth
    assert np.mean(truth.past.rows["LARCENY"].area == truth.past.origin) == pytest.approx(0.08, abs=0.03)


def test_every_seed_has_its_own_clock_and_wave():
    def levels(name, seed):
        base = foreign_history(name, seed=seed, days=728).truth.base.reshape(-1, 84)
        return base.mean(axis=0) / base.mean(), base.mean(axis=1) / base.mean()

    (week, weeks), (other, _) = levels("clock", 1), levels("clock", 2)
    assert np.abs(week - other).max() > 0.2
    assert np.abs(levels("wave", 1)[1] - weeks).max() > 0.3  # same clock and season, and a wave


@pytest.mark.parametrize("name", ["clock", "wave"])
def test_a_small_city_is_quick(name):
    simulate_city(name, seed=1, years=1)  # compiled and imported
    began = time.process_time()
    city = simulate_city(name, seed=2, years=5)
    issue_s = np.arange(city.begin_s, city.end_s, 7200)
    city.truth.probability(issue_s, issue_s, issue_s + 7200)
    assert time.process_time() - began < 1.5


def test_a_hidden_state_moves_when_it_says():
    """Every other day is silent; the truth knows which once it has seen some windows of one that is not."""
    hidden = Hidden(values=(-20.0, 0.0), transition=((0.0, 1.0), (1.0, 0.0)), every_h=24, by_area=False, strength=1.0)
    truth = foreign_history("clock", days=40, hidden=hidden, base=LogOddsRhythm(p=0.6)).truth
    begin_s = BEGIN_S + 7200 * np.arange(12 * 40)
    day = (truth.target_s - BEGIN_S) // 86_400
    assert len(day) > 100
    assert len(np.unique(day % 2)) == 1
    p = truth.probability(begin_s, begin_s, begin_s + 7200).reshape(40, 12)[2:]
    loud = np.arange(2, 40) % 2 == day[0] % 2
    assert p[loud].min() > 0.1
    assert p[~loud].max() < 1e-6


def test_renewals_are_drawn_from_the_ages_that_the_truth_knows(monkeypatch):
    ages = []
    factor = Renewal.factor
    monkeypatch.setattr(Renewal, "factor", lambda self, age_min: ages.append(age_min) or factor(self, age_min))
    truth = foreign_history("renewal", days=60, areas=5, base=LogOddsRhythm(p=0.6)).truth
    assert len(truth.target_s) > 100
    truth.mean()
    *drawn, known = ages
    assert np.array_equal(drawn, known)
