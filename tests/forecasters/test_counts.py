"""A law of few counts: the right ones, with the right sign and size, and none where there is nothing."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, Outcomes, make_catalog
from hews_gpu.forecasters.count_columns import EDGES_H, SPANS, Source
from hews_gpu.forecasters.counts import Counts, Term, _gains
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.logistic import log_loss_each_bits
from tests.forecasters.test_level import PER_DAY, drawn, fitted

AREAS, WINDOWS, TRAINED = 8, 6000, 4500


@pytest.fixture(scope="module")
def city():
    """Three thefts within a day in a neighborhood make its risk eight times as high; a burglary of late, a third.

    Neighborhoods differ in how often things happen there, up to fourfold.
    """
    rng = np.random.default_rng(5)
    begin_s = np.arange(0, WINDOWS * 7200, 7200, dtype=np.int64)
    share = np.linspace(1, 4, AREAS) / np.linspace(1, 4, AREAS).sum()
    minute = np.sort(rng.integers(0, begin_s[-1] // 60, 12000))
    area, kind = rng.choice(AREAS, len(minute), p=share), rng.integers(0, 2, len(minute))
    factor = np.ones((WINDOWS, AREAS))
    for n in range(AREAS):
        for k in range(2):
            mine = minute[(area == n) & (kind == k)] * 60
            back_s = (86_400, 4 * 3600)[k]
            count = np.searchsorted(mine, begin_s) - np.searchsorted(mine, begin_s - back_s)
            factor[:, n] *= np.where(count >= 3, 8.0, 1.0) if k == 0 else np.where(count >= 1, 1 / 3, 1.0)
    chance = 0.07 * share * factor
    hit = rng.random(factor.shape) < chance
    window, place = np.nonzero(hit)
    catalog = make_catalog(
        time_s=np.concatenate([minute * 60, begin_s[window] + 60]),
        category=np.concatenate([kind, np.full(len(window), 2)]),
        area=np.concatenate([area, place]),
        xy_m=rng.uniform(0, 9000, (len(minute) + len(window), 2)),
        is_target=np.arange(len(minute) + len(window)) >= len(minute),
        categories=("THEFT", "BURGLARY", "SHOOTING"),
        areas=AREAS,
    )
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    train = Outcomes(windows=windows.select(np.arange(TRAINED)), y=hit[:TRAINED].any(axis=1))
    return catalog, windows, hit, chance, fitted(Counts(Level()), catalog, train)


def test_it_finds_the_law_and_its_responses(city):
    *_, counts = city
    theft, burglary = (
        next((k, term) for k, term in enumerate(counts.fitted.terms) if term.sources[0].stream == name)
        for name in ("THEFT", "BURGLARY")
    )
    assert all(term.sources[0].where == "here" and len(term.sources) == 1 for _, term in (theft, burglary))
    assert theft[1].response == "from 3" and EDGES_H[list(SPANS[theft[1].kernel])].tolist() == pytest.approx(
        [0, 24], abs=4
    )
    weights = counts.fitted.weights[-len(counts.fitted.terms) :]
    assert weights[theft[0]] == pytest.approx(np.log(8), abs=0.5) and weights[burglary[0]] < 0
    assert len(counts.fitted.terms) <= 4
    assert counts.fitted.bounds[theft[0]].tolist()[0] == 0 and 3 < counts.fitted.bounds[theft[0], 1] < 100


def test_it_says_when_and_where(city):
    catalog, windows, hit, chance, counts = city
    later = windows.select(np.arange(TRAINED, WINDOWS))
    areas, truth = counts.predict_areas(catalog, later), chance[TRAINED:]
    assert areas.sum() == pytest.approx(truth.sum(), rel=0.1)
    lost = [log_loss_each_bits(hit[TRAINED:].ravel(), p.ravel()).mean() for p in (areas, truth)]
    flat = np.broadcast_to(hit[:TRAINED].mean(axis=0), truth.shape)
    plain = log_loss_each_bits(hit[TRAINED:].ravel(), flat.ravel()).mean()
    assert (plain - lost[0]) / (plain - lost[1]) > 0.85
    np.testing.assert_allclose(counts.predict(catalog, later), 1 - (1 - areas).prod(axis=1), rtol=1e-9)


def test_what_is_known_later_changes_no_bit(city):
    catalog, windows, _, _, counts = city
    later = windows.select(np.arange(TRAINED, TRAINED + 200))
    full = counts.predict_areas(catalog, later)
    np.testing.assert_array_equal(counts.predict_areas(catalog.until(int(later.issue_s[-1])), later), full)
    assert not np.array_equal(counts.predict_areas(catalog.until(int(later.issue_s[100])), later), full)


def test_with_nothing_to_find_it_is_its_base_to_the_bit():
    catalog, every = drawn(np.full(500 * PER_DAY, -1.5))
    counts, level = fitted(Counts(Level()), catalog, every), fitted(Level(), catalog, every)
    assert not counts.fitted.terms
    np.testing.assert_array_equal(counts.log_odds(catalog, every.windows), level.log_odds(catalog, every.windows))


def test_shots_in_a_burst_are_one_event():
    """Six rows within five minutes, each a row of its own minute, say no more than the first."""
    catalog, every = drawn(np.full(500 * PER_DAY, -1.5))
    moment = (catalog.time_s // 7200 * 7200 + 60 * (catalog.time_s // 60 % 100))[:, None] + 60 * np.arange(6)
    rows = {"category": np.zeros(moment.size, int), "area": np.zeros(moment.size, int)}
    bursts = make_catalog(
        time_s=moment.ravel(), **rows, xy_m=np.zeros((moment.size, 2)),
        is_target=np.ones(moment.size, bool), categories=("SHOOTING",), areas=1,
    )  # fmt: skip
    assert not fitted(Counts(Level()), bursts, every).fitted.terms


def test_a_count_beyond_all_seen_says_no_more_than_the_highest_seen():
    """A night like no other: three hundred rows where at most two had been learned from."""
    catalog, every = drawn(np.full(100 * PER_DAY, -2.0))
    counts = fitted(Counts(Level()), catalog, every)
    last = every.windows.select(np.array([len(every) - 1]))
    flood = make_catalog(
        time_s=int(last.issue_s[0]) - 60 * np.arange(1, 301), category=np.zeros(300, int), area=np.zeros(300, int),
        xy_m=np.zeros((300, 2)), is_target=np.zeros(300, bool), categories=("THEFT",), areas=1,
    )  # fmt: skip
    term = Term(
        sources=(Source(where="here", stream="THEFT"),),
        mix=(1.0,),
        kernel=SPANS.index((0, 20)),
        response="proportional",
    )
    weights = np.append(counts.fitted.weights, 1.0)
    counts.fitted = replace(counts.fitted, terms=(term,), weights=weights, bounds=np.array([[0, 2]], np.float32))
    quiet = counts.hazards(flood.take(np.zeros(0, int)), last)
    np.testing.assert_allclose(counts.hazards(flood, last), quiet * np.exp(2), rtol=1e-6)


def test_with_too_few_events_nothing_is_looked_for():
    catalog, every = drawn(np.full(30 * PER_DAY, -3.0))
    assert 0 < catalog.is_event.sum() < 50 and TARGETS in catalog.streams
    assert fitted(Counts(Level()), catalog, every).fitted.terms == ()


def test_the_gain_of_a_column_is_that_of_its_best_weight():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2)).astype(np.float32)
    y = rng.random(5000) < 1 / (1 + np.exp(2 - 0.5 * x[:, 0]))
    gain = _gains(x, np.full(5000, -1.9), y)
    shift, slope = np.meshgrid(np.linspace(-0.2, 0.1, 31), np.linspace(-0.1, 0.7, 41))
    before = np.logaddexp(0, np.where(y, 1.9, -1.9)).sum()
    for k in range(2):
        said = -1.9 + shift[..., None] + slope[..., None] * x[:, k]
        lost = np.logaddexp(0, np.where(y, -said, said)).sum(axis=-1)
        assert gain[k] == pytest.approx(before - lost.min(), abs=0.3)
    assert gain[0] > 30 > 10 > gain[1]
