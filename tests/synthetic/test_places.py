"""PlaceModel: what happens at an address belongs to one neighborhood, and can be written down without loss."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from hews_gpu.synthetic.geography import make_layout, to_degrees
from hews_gpu.synthetic.places import PER_DEGREE, make_addresses, make_anywhere, meters


@pytest.fixture(scope="module")
def made():
    layout = make_layout(np.random.default_rng(0), areas=55)
    return layout, make_addresses(np.random.default_rng(1), layout)


def test_there_are_as_many_neighborhoods_as_wanted(made):
    assert len(made[0].cells) == len(set(made[0].names)) == 55
    assert np.array_equal(np.unique(made[1].area), np.arange(55))


def test_incidents_stay_in_the_neighborhood_of_their_address(made):
    layout, addresses = made
    rng = np.random.default_rng(2)
    address = np.tile(np.arange(len(addresses.area)), 3)
    xy_m = addresses.position(rng, address)
    cells = np.array(layout.cells)[addresses.area[address]]
    shapely.prepare(cells)
    assert shapely.contains_xy(cells, *xy_m.T).all()


def test_places_are_what_the_table_says(made):
    addresses = made[1]
    back = to_degrees(meters(addresses.point)) * PER_DEGREE
    assert np.abs(back - addresses.point).max() < 1e-5


def test_near_addresses_are_near_and_of_the_same_neighborhood(made):
    addresses = made[1]
    assert np.array_equal(
        addresses.area[addresses.near], np.repeat(addresses.area[:, None], addresses.near.shape[1], 1)
    )
    apart = np.hypot(*(meters(addresses.point[addresses.near]) - meters(addresses.point)[:, None]).transpose(2, 0, 1))
    assert np.median(apart) < 200
    assert (apart[:, 0] == 0).all()


def test_addresses_are_drawn_by_their_weights(made):
    addresses, rng = made[1], np.random.default_rng(3)
    weights = addresses.weights(rng, 0.6)
    assert weights.sum() == pytest.approx(1)
    assert weights[addresses.spot >= 0].sum() == pytest.approx(0.6)
    drawn = addresses.draw(rng, 200_000, weights)
    by_area, expected = np.bincount(addresses.area[drawn]), 200_000 * np.bincount(addresses.area, weights)
    assert ((by_area - expected) ** 2 / expected).sum() < 55 + 6 * np.sqrt(110)


def test_without_addresses_children_fall_around_their_parents(made):
    places, rng = make_anywhere(np.random.default_rng(4), made[0]), np.random.default_rng(5)
    place = places.draw(rng, 4000, places.weights(rng, 0.6))
    kept = rng.random(4000) < 0.5
    apart = places.draw_near(rng, place, kept, 120.0) - place[kept]
    assert np.hypot(*apart.T).mean() == pytest.approx(120 * np.sqrt(np.pi / 2), rel=0.08)
    assert np.array_equal(places.position(rng, place), place)
    assert (made[0].neighborhood(place) >= 0).all()


def test_children_at_addresses_are_those_of_the_kept_parents(made):
    addresses = made[1]
    parents = np.random.default_rng(6).integers(0, len(addresses.area), 500)
    kept = np.arange(500) % 3 == 0
    some, all_of_them = (
        addresses.draw_near(np.random.default_rng(7), parents, which) for which in (kept, np.ones(500, dtype=bool))
    )
    assert np.array_equal(some, all_of_them[kept])
