"""A real city's polygons: a million random points, lattices, real incidents, corners, all as shapely has it."""

import numpy as np
import pytest
import shapely

from benchmarks.inputs.cities import load_polygons
from hews_gpu.data.geometry.point_in_polygon import find_in_grid, find_neighborhoods, grid_of
from hews_gpu.data.geometry.polygons import areas_of
from tests.inputs.baltimore import load_baltimore

pytestmark = [pytest.mark.real_data, pytest.mark.parametrize("areas", [55, 278])]


def by_tree(polygons, x, y):
    """The first polygon that covers each point, and the first that strictly contains it; -1 for none."""
    shapely.prepare(polygons)
    tree = shapely.STRtree(shapely.points(x, y))
    found = []
    for predicate in ("intersects", "contains_properly"):
        polygon, point = tree.query(polygons, predicate=predicate)
        first = np.full(len(x), len(polygons))
        np.minimum.at(first, point, polygon)
        found.append(np.where(first == len(polygons), -1, first))
    return found


def require_same(polygons, x, y):
    found = find_in_grid(grid_of(polygons), x, y)
    covering, containing = by_tree(polygons, x, y)
    np.testing.assert_array_equal(found, covering)
    inside = containing >= 0
    assert (found[inside] <= containing[inside]).all() and (found[inside] >= 0).all()
    return found


def test_random_points(real_data, areas):
    polygons = load_polygons(real_data, areas).geometry.to_numpy()
    west, south, east, north = shapely.total_bounds(polygons)
    x, y = np.random.default_rng(areas).uniform([west, south], [east, north], (300_000, 2)).T
    assert 0.6 < (require_same(polygons, x, y) >= 0).mean() < 0.8


@pytest.mark.parametrize("decimals", [3, 4])
def test_a_lattice_of_few_decimals(real_data, areas, decimals):
    polygons = load_polygons(real_data, areas).geometry.to_numpy()
    west, south, east, north = shapely.total_bounds(polygons).round(decimals)
    step = 10.0**-decimals
    x, y = np.arange(west - step, east + 2 * step, step), np.arange(south - step, north + 2 * step, step)
    x, y = (axis.ravel().round(decimals) for axis in np.meshgrid(x, y))
    picked = np.random.default_rng(0).permutation(len(x))[:500_000]
    require_same(polygons, x[picked], y[picked])


def test_corners_and_middles_of_edges_and_steps_beside_them(real_data, areas):
    polygons = load_polygons(real_data, areas).geometry.to_numpy()
    corners = shapely.get_coordinates(polygons)
    middles = (corners[1:] + corners[:-1]) / 2
    on = np.concatenate([corners, middles])
    steps = np.random.default_rng(areas).integers(-1, 2, on.shape) * np.spacing(on)
    x, y = np.concatenate([on, on + steps]).T
    found = require_same(polygons, x, y)
    assert (found[: len(corners)] >= 0).all()  # a corner belongs to a polygon


def test_the_real_table_is_the_same_by_either_engine(real_data, areas):
    city = load_baltimore(real_data, areas)
    x, y = city.places.longitude, city.places.latitude
    answers = [
        find_neighborhoods(areas_of(city.neighborhoods), x, y, 250.0, engine=engine) for engine in ("shapely", "numba")
    ]
    for by_shapely, by_numba in zip(*answers, strict=True):
        assert by_shapely.dtype == by_numba.dtype and np.array_equal(by_shapely, by_numba)
    assert answers[0][1].sum() > 100  # some lay outside and went to the nearest
