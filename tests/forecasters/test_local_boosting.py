"""Boosting by neighborhood finds a law that all neighborhoods share, and counts what a loop counts."""

import numpy as np
import pytest

from hews_gpu.data.windows import Windows
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.catalog import Outcomes, make_catalog
from hews_gpu.forecasters.local_boosting import EDGES_H, LocalBoosting, _ago, _counts, _events, _nearest, _since_last

AREAS, WINDOWS, TRAINED = 8, 4000, 3000


@pytest.fixture(scope="module")
def city():
    """Three thefts within a day in a neighborhood, whichever it is, make its risk eight times as high."""
    rng = np.random.default_rng(5)
    begin_s = np.arange(0, WINDOWS * 7200, 7200, dtype=np.int64)
    theft_s, theft_area = np.sort(rng.integers(0, begin_s[-1], 4000)), rng.integers(0, AREAS, 4000)
    high = np.zeros((WINDOWS, AREAS), dtype=bool)
    for n in range(AREAS):
        mine = theft_s[theft_area == n]
        high[:, n] = np.searchsorted(mine, begin_s) - np.searchsorted(mine, begin_s - 86_400) >= 3
    hit = rng.random(high.shape) < np.where(high, 0.12, 0.015)
    window, area = np.nonzero(hit)
    catalog = make_catalog(
        time_s=np.concatenate([theft_s, begin_s[window] + 60]),
        category=np.repeat([0, 1], [4000, len(window)]),
        area=np.concatenate([theft_area, area]),
        xy_m=np.concatenate([theft_area, area])[:, None] * [1000.0, 0.0],
        is_target=np.arange(4000 + len(window)) >= 4000,
        categories=("THEFT", "SHOOTING"),
        areas=AREAS,
    )
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    forecaster = LocalBoosting(seed=0)
    train = Outcomes(windows=windows.select(np.arange(TRAINED)), y=hit[:TRAINED].any(axis=1))
    forecaster.fit(catalog.until(TRAINED * 7200), train, Outcomes(windows=windows.select(np.arange(0)), y=hit[:0, 0]))
    return catalog, windows, hit, high, forecaster


def test_it_finds_a_law_of_all_neighborhoods(city):
    catalog, windows, hit, high, forecaster = city
    later = windows.select(np.arange(TRAINED, WINDOWS))
    areas, truth = forecaster.predict_areas(catalog, later), np.where(high, 0.12, 0.015)[TRAINED:]
    assert roc_auc(hit[TRAINED:].ravel(), areas.ravel()) > roc_auc(hit[TRAINED:].ravel(), truth.ravel()) - 0.03
    assert areas.sum() == pytest.approx(truth.sum(), rel=0.15)
    assert areas[high[TRAINED:]].mean() > 4 * areas[~high[TRAINED:]].mean()
    np.testing.assert_allclose(forecaster.predict(catalog, later), 1 - (1 - areas).prod(axis=1), rtol=1e-12)


def test_what_is_known_later_changes_no_bit(city):
    catalog, windows, _, _, forecaster = city
    later = windows.select(np.arange(TRAINED, TRAINED + 200))
    known = catalog.until(int(later.issue_s[-1]))
    full = forecaster.predict_areas(catalog, later)
    np.testing.assert_array_equal(forecaster.predict_areas(known, later), full)
    assert not np.array_equal(forecaster.predict_areas(catalog.until(int(later.issue_s[100])), later), full)


def test_counts_are_those_of_a_loop(city):
    catalog, windows, _, _, _ = city
    asked = windows.select(np.array([5, 700, 701, 2000]))
    around = np.zeros((AREAS, AREAS), dtype=np.float32)
    around[[1, 2], 0] = 1  # around neighborhood 0 lie 1 and 2
    thefts = next(_ago(catalog, ("THEFT",), asked.issue_s))
    each_one = np.divmod(np.arange(4 * AREAS), AREAS)
    *here, near, city_wide = [x.reshape(4, AREAS) for x in _counts(thefts, around, *each_one)][:-2]
    is_theft = ~catalog.is_target
    for s, issue_s in enumerate(asked.issue_s):
        age_h = (issue_s - catalog.known_s) / 3600
        for i, each in enumerate(here[: len(EDGES_H) - 1]):
            within = is_theft & (age_h > EDGES_H[i]) & (age_h <= EDGES_H[i + 1])
            np.testing.assert_array_equal(each[s], np.bincount(catalog.area[within], minlength=AREAS))
        lately = is_theft & (age_h > 0) & (age_h <= 12)
        assert near[s, 0] == (lately & np.isin(catalog.area, [1, 2])).sum()
        assert (city_wide[s] == lately.sum()).all()
    assert _nearest(catalog)[:, 0].tolist() == [0, 1, 1, 1, 1, 1, 0, 0]
    area, window = _events(catalog, windows)
    assert len(area) == catalog.is_event.sum()
    since_h = _since_last(catalog, windows.issue_s[window[300:]], area[300:])
    for s in range(0, len(since_h), 97):
        mine = catalog.time_s[catalog.is_event & (catalog.area == area[300 + s])]
        last_s = mine[mine < windows.issue_s[window[300 + s]]].max()
        assert since_h[s] == (windows.issue_s[window[300 + s]] - last_s) / 3600
