"""Shares of neighborhoods by hand, and that each baseline finds what it is made for.

Two neighborhoods of a square kilometer side by side, four cells each::

    . . | . .        neighborhood 0 is 0..1000 m east, 1 is 1000..2000 m
    . . | . .
"""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Outcomes, make_catalog
from hews_gpu.forecasters.neighborhoods import PLACE_BASELINES, Ground, KernelDensity, LongRun, NearRepeat, Recent28

DAY_S = 86_400
X, Y = np.meshgrid([250.0, 750.0, 1250.0, 1750.0], [250.0, 750.0])
CELLS = np.stack([X.ravel(), Y.ravel()], axis=1)
GROUND = Ground(cells_m=CELLS, cell_area=(CELLS[:, 0] > 1000).astype(np.int64), area_km2=np.ones(2))


def catalog_of(time_s, xy_m):
    n = len(time_s)
    area = (np.asarray(xy_m)[:, 0] > 1000).astype(int)
    return make_catalog(
        time_s=np.asarray(time_s),
        category=np.zeros(n, int),
        area=area,
        xy_m=np.asarray(xy_m, dtype=float),
        is_target=np.ones(n, bool),
        categories=("SHOOTING",),
        areas=2,
    )


def windows_at(issue_s):
    issue_s = np.asarray(issue_s)
    return Windows(issue_s=issue_s, begin_s=issue_s, end_s=issue_s + 7200)


def test_a_kernel_is_spread_over_neighborhoods_and_none_is_lost():
    found = GROUND.spread(np.array([[250.0, 250.0], [1000.0, 500.0], [-90_000.0, 0.0]]), 300.0)
    square = ((CELLS - [250, 250]) ** 2).sum(axis=1)
    weight = np.exp(-square / (2 * 300**2))
    assert found[0, 0] == pytest.approx(weight[GROUND.cell_area == 0].sum() / weight.sum())
    np.testing.assert_allclose(found[1:], [[0.5, 0.5], [1.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_place_far_from_every_cell_but_level_with_some_is_of_the_nearest():
    """In an L of 20 km a kernel of 150 m at its inner corner is 0 at all cells, to the smallest number there is."""
    ends = Ground(cells_m=np.array([[20_000.0, 0], [0, 20_000]]), cell_area=np.array([1, 0]), area_km2=np.ones(2))
    np.testing.assert_allclose(ends.spread(np.array([[0.0, 0.0], [0.0, 9.0]]), 150.0)[:, 0], [0.5, 1.0], atol=1e-3)


def test_long_run_counts_with_half_an_event_before_the_first():
    catalog = catalog_of([10, 5000, 9000], [[100, 100], [100, 100], [1500, 100]])
    found = LongRun(GROUND).shares(catalog, np.array([0, 6000, 9001]))
    np.testing.assert_allclose(found, [[0.5, 0.5], [2.5 / 3, 0.5 / 3], [2.5 / 4, 1.5 / 4]])


def history(seed, moving):
    """1,200 days of an event each: its neighborhood is drawn anew each 60 days (moving), or always with 4 : 1."""
    rng = np.random.default_rng(seed)
    days = np.arange(1200)
    hot = np.repeat(rng.random(20) < 0.5, 60) if moving else np.ones(1200, bool)
    first = np.where(rng.random(1200) < 0.8, hot, ~hot)
    xy_m = np.stack([np.where(first, 500.0, 1500.0) + rng.uniform(-400, 400, 1200), rng.uniform(0, 1000, 1200)], axis=1)
    return days * DAY_S + 3600 * rng.integers(1, 20, 1200), xy_m


def fitted(make, time_s, xy_m):
    catalog = catalog_of(time_s, xy_m)
    windows = windows_at(np.arange(0, 800 * DAY_S, 7200))
    y = np.diff(np.searchsorted(np.sort(time_s), np.append(windows.begin_s, windows.end_s[-1]))) > 0
    forecaster = make(GROUND)
    forecaster.fit(catalog.until(800 * DAY_S), Outcomes(windows=windows, y=y))
    late = catalog.time_s >= 801 * DAY_S
    shares = forecaster.shares(catalog, catalog.time_s[late])
    return np.log(shares[np.arange(late.sum()), catalog.area[late]]).mean(), forecaster


def test_28_days_win_where_places_move_and_yield_where_they_do_not():
    moving, still = history(0, moving=True), history(0, moving=False)
    assert fitted(Recent28, *moving)[0] > fitted(LongRun, *moving)[0] + 0.1
    assert fitted(Recent28, *still)[0] > fitted(LongRun, *still)[0] - 0.01
    assert fitted(Recent28, *moving)[1]._fill < fitted(Recent28, *still)[1]._fill


def test_near_repeats_are_weighed_by_what_they_foretell():
    moving, still = history(1, moving=True), history(1, moving=False)
    assert fitted(NearRepeat, *moving)[1]._weight > 0.1
    assert fitted(NearRepeat, *still)[1]._weight <= 0.05
    assert fitted(NearRepeat, *moving)[0] > fitted(KernelDensity, *moving)[0] + 0.05


def test_a_bandwidth_is_chosen_once_from_the_same_events(monkeypatch):
    """Later also by near repeats, and anew as soon as one event lies elsewhere or has another window."""
    ground, spreads = Ground(cells_m=CELLS, cell_area=GROUND.cell_area, area_km2=np.ones(2)), []
    monkeypatch.setattr("hews_gpu.forecasters.neighborhoods.BANDWIDTHS_M", (300.0, 2400.0))
    time_s, xy_m = np.arange(300) * DAY_S, np.tile([*5 * [[250.0, 250.0]], [1750.0, 750.0]], (50, 1))
    train = Outcomes(windows=windows_at(np.arange(0, 300 * DAY_S, DAY_S)), y=np.ones(300, bool))
    spread = Ground.spread
    monkeypatch.setattr(Ground, "spread", lambda self, xy, width: spreads.append(width) or spread(self, xy, width))
    sooner = replace(train, windows=windows_at(train.windows.issue_s - 3600))
    moved = xy_m + np.eye(300, 2)
    for places, outcomes, tried in ((xy_m, train, 2), (xy_m, train, 0), (moved, train, 2), (moved, sooner, 2)):
        forecaster = KernelDensity(ground)
        forecaster.fit(catalog_of(time_s, places), outcomes)
        assert len(spreads) == tried and forecaster._bandwidth_m == 300.0
        spreads.clear()


@pytest.mark.parametrize("name", PLACE_BASELINES)
def test_what_is_known_later_changes_no_bit(name):
    time_s, xy_m = history(2, moving=True)
    late = time_s >= 900 * DAY_S
    issue_s = np.arange(800 * DAY_S, 901 * DAY_S, 7200)
    seen = issue_s <= 900 * DAY_S
    found = []
    for moved in (0.0, 1000.0):
        places = np.where(late[:, None], [moved, 0.0] + xy_m[::-1] * 0.5, xy_m)
        _, forecaster = fitted(PLACE_BASELINES[name], time_s, places)
        shares = forecaster.shares(catalog_of(time_s, places), issue_s)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        found.append(shares[seen])
    np.testing.assert_array_equal(*found)
