"""The point-in-polygon benchmark in a short form: grid and every way of shapely agree; a wrong answer is refused."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from benchmarks import common, pip
from tests.inputs.random_city import random_city


@pytest.fixture(scope="module")
def polygons():
    """Thirty areas, some with holes, with corners on a lattice of 3 decimals, so that points of it lie on them."""
    areas = random_city(7, neighborhoods=30, events=1).neighborhoods.geometry.to_numpy()
    made = shapely.set_precision(areas, 0.001)
    shapely.prepare(made)
    return made


def test_every_way_gives_each_point_to_the_same_polygon(polygons):
    bounds = shapely.bounds(polygons)
    for x, y in pip.hard_points(polygons, 2000).values():
        points = shapely.points(x, y)
        expected = pip.by_tree_of_polygons(shapely.STRtree(polygons), points)
        assert np.array_equal(pip.by_tree_of_points(polygons, points), expected)
        assert np.array_equal(pip.by_sorted_coordinates(polygons, bounds, x, y), expected)


def test_the_grid_is_exact_also_on_edges_and_vertices(polygons):
    found = pip.exactness(polygons, 5000)
    pip.require_exact(found)
    assert found["on vertices"]["in_several"] > 50 and found["lattice of 3 decimals"]["in_several"] > 5


def test_one_wrong_point_is_refused(polygons, monkeypatch):
    find = pip.find_in_grid

    def wrong(grid, x, y):
        found = find(grid, x, y)
        found[np.flatnonzero(found >= 0)[:1]] += 1
        return found

    monkeypatch.setattr(pip, "find_in_grid", wrong)
    with pytest.raises(AssertionError, match="random: grid and shapely differ for 1 of 500"):
        pip.require_exact(pip.exactness(polygons, 500))


def test_growth_has_a_row_per_size(monkeypatch):
    monkeypatch.setattr(common, "SHORTEST_S", 0.001)
    monkeypatch.setattr(pip, "VERTICES", 2000)
    series = pip.growth(points=(1000,), polygons=(10, 30))
    assert [[row["x"] for row in one["rows"]] for one in series] == [[1000], [10, 30]]
    assert all(row["shapely"] > 0 and row["ours"] > 0 for one in series for row in one["rows"])


def test_finely_drawn_areas_keep_their_holes():
    areas = pip.drawn_finely(278)
    assert len(areas) == 278 and 100_000 < shapely.get_coordinates(areas).shape[0] < 160_000
    assert shapely.is_valid(areas).all() and shapely.get_num_interior_rings(areas).sum() > 30
    inside = shapely.intersection(areas[:-1], areas[1:])
    assert shapely.area(inside).max() < 1e-9
