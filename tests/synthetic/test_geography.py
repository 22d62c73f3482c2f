"""The ground: a true partition of the city, whatever the seed."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from hews_gpu.synthetic.geography import CENTRE_DEGREES, make_ground, to_degrees

SEEDS = range(25)


@pytest.fixture(scope="module")
def grounds():
    return [make_ground(np.random.default_rng(seed)) for seed in SEEDS]


@pytest.mark.parametrize("seed", SEEDS)
def test_neighborhoods_share_their_edges(grounds, seed):
    cells = list(grounds[seed].cells)
    assert 36 <= len(cells) <= 55
    assert all(cell.geom_type == "Polygon" and cell.is_valid for cell in cells)
    assert shapely.coverage_is_valid(cells)
    assert sum(cell.area for cell in cells) == pytest.approx(grounds[seed].outline.area, rel=1e-9)
    assert not grounds[seed].outline.interiors
    in_degrees = shapely.set_precision(shapely.transform(np.array(cells), to_degrees), 0)
    assert shapely.coverage_is_valid(in_degrees)


@pytest.mark.parametrize("seed", SEEDS)
def test_names_differ(grounds, seed):
    assert len(set(grounds[seed].names)) == len(grounds[seed].cells)


def test_each_seed_is_another_city(grounds):
    assert len({ground.outline.wkb for ground in grounds}) == len(grounds)
    assert make_ground(np.random.default_rng(3)).outline.equals_exact(grounds[3].outline, 0)


def test_places_are_in_the_city_and_in_their_neighborhood(grounds):
    ground, rng = grounds[0], np.random.default_rng(1)
    weights = np.arange(1.0, len(ground.spots_m) + 1)
    places = ground.mixture(rng, 3_000, 0.5, weights / weights.sum())
    places = np.concatenate([places, ground.near(rng, places, 500.0)])
    cell = ground.neighborhood(places)
    assert cell.min() >= 0
    tree = shapely.STRtree(list(ground.cells))
    points, expected = tree.query(shapely.points(places), predicate="within")
    assert np.array_equal(points, np.arange(len(places)))
    assert np.array_equal(cell, expected)
    assert ground.neighborhood(np.array([[0.0, 50_000.0], [np.nan, np.nan]])).tolist() == [-1, -1]


def test_hot_spots_get_their_share(grounds):
    ground, weights = grounds[1], np.zeros(len(grounds[1].spots_m))
    weights[7] = 1.0
    places = ground.mixture(np.random.default_rng(2), 4_000, 0.7, weights)
    close = np.hypot(*(places - ground.spots_m[7]).T) < 4 * ground.spot_spread_m[7]
    assert close.mean() == pytest.approx(0.7, abs=0.05)


def test_degrees_are_meters_stretched():
    longitude, latitude = to_degrees(np.array([[0.0, 0.0], [1000.0, 1000.0]])).T
    assert (longitude[0], latitude[0]) == CENTRE_DEGREES
    assert (latitude[1] - latitude[0]) * 111_320 == pytest.approx(1000)
    assert (longitude[1] - longitude[0]) * 111_320 * np.cos(np.radians(18.3)) == pytest.approx(1000)
