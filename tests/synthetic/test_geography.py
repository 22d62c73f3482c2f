"""The layout: a true partition of the city, whatever the seed."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from hews_gpu.synthetic.geography import CENTER_DEGREES, make_layout, to_degrees

SEEDS = range(25)


@pytest.fixture(scope="module")
def layouts():
    return [make_layout(np.random.default_rng(seed)) for seed in SEEDS]


@pytest.mark.parametrize("seed", SEEDS)
def test_neighborhoods_share_their_edges(layouts, seed):
    cells = list(layouts[seed].cells)
    assert 36 <= len(cells) <= 55
    assert all(cell.geom_type == "Polygon" and cell.is_valid for cell in cells)
    assert shapely.coverage_is_valid(cells)
    assert sum(cell.area for cell in cells) == pytest.approx(layouts[seed].outline.area, rel=1e-9)
    assert not layouts[seed].outline.interiors
    in_degrees = shapely.set_precision(shapely.transform(np.array(cells), to_degrees), 0)
    assert shapely.coverage_is_valid(in_degrees)


@pytest.mark.parametrize("seed", SEEDS)
def test_names_differ(layouts, seed):
    assert len(set(layouts[seed].names)) == len(layouts[seed].cells)


def test_each_seed_is_another_city(layouts):
    assert len({layout.outline.wkb for layout in layouts}) == len(layouts)
    assert make_layout(np.random.default_rng(3)).outline.equals_exact(layouts[3].outline, 0)


def test_places_are_in_the_city_and_in_their_neighborhood(layouts):
    layout, rng = layouts[0], np.random.default_rng(1)
    weights = np.arange(1.0, len(layout.spots_m) + 1)
    places = layout.mixture(rng, 3_000, 0.5, weights / weights.sum())
    places = np.concatenate([places, layout.near(rng, places, 500.0)])
    cell = layout.neighborhood(places)
    assert cell.min() >= 0
    tree = shapely.STRtree(list(layout.cells))
    points, expected = tree.query(shapely.points(places), predicate="within")
    assert np.array_equal(points, np.arange(len(places)))
    assert np.array_equal(cell, expected)
    assert layout.neighborhood(np.array([[0.0, 50_000.0], [np.nan, np.nan]])).tolist() == [-1, -1]


def test_hot_spots_get_their_share(layouts):
    layout, weights = layouts[1], np.zeros(len(layouts[1].spots_m))
    weights[7] = 1.0
    places = layout.mixture(np.random.default_rng(2), 4_000, 0.7, weights)
    close = np.hypot(*(places - layout.spots_m[7]).T) < 4 * layout.spot_spread_m[7]
    assert close.mean() == pytest.approx(0.7, abs=0.05)


def test_degrees_are_meters_stretched():
    longitude, latitude = to_degrees(np.array([[0.0, 0.0], [1000.0, 1000.0]])).T
    assert (longitude[0], latitude[0]) == CENTER_DEGREES
    assert (latitude[1] - latitude[0]) * 111_320 == pytest.approx(1000)
    assert (longitude[1] - longitude[0]) * 111_320 * np.cos(np.radians(18.3)) == pytest.approx(1000)
