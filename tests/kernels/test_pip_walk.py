"""A point's polygon in the grid equals shapely's and the reference's, however hard the point."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hews_gpu.data.geometry.point_in_polygon import find_in_grid, flat_rings, grid_of
from tests.kernels.pip_cases import CASES, patchwork, points_of
from tests.kernels.pip_reference import find_by_rays


def by_shapely(polygons, x, y):
    """The first polygon that covers each point."""
    found = np.full(len(x), -1)
    for n in range(len(polygons))[::-1]:
        found[shapely.intersects_xy(polygons[n], x, y)] = n
    return found


def in_exact_numbers(polygons, x, y):
    """The same in rational numbers: GEOS itself now and then sees a point on an edge outside (3.14.1 does)."""
    x, y = Fraction(x), Fraction(y)
    for n, polygon in enumerate(polygons):
        inside = False
        for ring in shapely.get_rings(shapely.get_parts(polygon)):
            corners = [tuple(map(Fraction, corner)) for corner in shapely.get_coordinates(ring).tolist()]
            for (x1, y1), (x2, y2) in pairwise(corners):
                side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
                if side == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
                    return n
                inside ^= (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
        if inside:
            return n
    return -1


def require_same(polygons, x, y):
    found = find_in_grid(grid_of(polygons), x, y)
    np.testing.assert_array_equal(found, find_by_rays(*flat_rings(polygons), x, y))
    expected = by_shapely(polygons, x, y)
    for i in np.flatnonzero(found != expected)[:20]:
        expected[i] = in_exact_numbers(polygons, x[i], y[i])
    np.testing.assert_array_equal(found, expected)
    return found


@pytest.mark.parametrize("case", CASES)
def test_hard_points_of_hard_polygons(case):
    polygons = CASES[case]()
    found = require_same(polygons, *points_of(polygons))
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("case", CASES)
def test_points_strictly_inside_are_those_that_shapely_contains(case):
    polygons = CASES[case]()
    x, y = points_of(polygons, seed=1)
    found = find_in_grid(grid_of(polygons), x, y)
    for n, polygon in enumerate(polygons):
        inside = shapely.contains_xy(polygon, x, y)
        assert (found[inside] <= n).all() and (found[inside] >= 0).all()


def test_a_point_on_a_shared_edge_or_corner_goes_to_the_first_polygon():
    quarters = np.array([shapely.box(i, j, i + 1, j + 1) for i in (1, 0) for j in (1, 0)], object)
    x, y = np.array([1.0, 1.0, 0.5, 1.0, 1.5, 0.0, 2.0]), np.array([1.0, 0.5, 1.0, 1.5, 1.0, 0.0, 2.0])
    assert find_in_grid(grid_of(quarters), x, y).tolist() == [0, 1, 2, 0, 0, 3, 0]
    assert find_in_grid(grid_of(quarters[::-1]), x, y).tolist() == [0, 0, 0, 1, 2, 0, 3]


def test_no_polygons_and_no_points():
    empty = grid_of(np.array([shapely.Polygon(), shapely.Point(0, 0)], object))
    assert find_in_grid(empty, np.array([0.0, np.nan]), np.array([0.0, 1.0])).tolist() == [-1, -1]
    square = grid_of(np.array([shapely.box(0, 0, 1, 1)], object))
    assert find_in_grid(square, np.empty(0), np.empty(0)).tolist() == []
    rows = np.array([[0.5, 0.5], [2.0, 0.5]])
    assert find_in_grid(square, rows[:, 0], rows[:, 1]).tolist() == [0, -1]  # strided views


LATTICE = st.tuples(st.integers(0, 12), st.integers(0, 12))
RINGS = st.lists(st.lists(LATTICE, min_size=3, max_size=9, unique=True), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(RINGS, st.sampled_from([1.0, 0.1, 1e-3, 7.0]), st.sampled_from([(0.0, 0.0), (-76.6, 39.3)]))
def test_polygons_with_holes_and_parts_on_a_lattice(rings, scale, origin):
    """Every point of the lattice, on edges and corners more often than not, and those between."""
    made = [shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False) for ring in rings]
    for n in range(1, len(made) - 1, 2):  # holes and islands
        made[n - 1] = made[n - 1].difference(made[n])
    polygons = np.array([one for one in made if one.geom_type in ("Polygon", "MultiPolygon")], object)
    polygons = shapely.transform(polygons, lambda xy: xy * scale + origin)
    polygons = polygons[shapely.is_valid(polygons) & ~shapely.is_empty(polygons)]
    x, y = (axis.ravel() / 2 * scale for axis in np.meshgrid(np.arange(-1, 26), np.arange(-1, 26)))
    if len(polygons):
        require_same(polygons, x + origin[0], y + origin[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60))
@example(12849, 26)  # where GEOS is wrong
def test_random_rings_with_random_points(seed, corners):
    random = np.random.default_rng(seed)
    ring = random.uniform(-1, 1, (corners, 2)).round(int(random.integers(1, 16)))
    polygon = shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False)
    if polygon.geom_type in ("Polygon", "MultiPolygon") and not polygon.is_empty:
        polygons = np.array([polygon], object)
        require_same(polygons, *points_of(polygons, seed=seed, random_points=500))


def inside_of_one_anchor(tables):
    run = tables.run.copy()
    run[len(run) // 2, 1] ^= 1
    return tables._replace(run=run)


def one_edge_less(tables):
    run = tables.run.copy()
    run[len(run) // 2, 3] -= 1
    return tables._replace(run=run)


def one_cell_wrong(tables):
    cell = tables.cell.copy()
    cell[np.flatnonzero(cell >= 0)[100]] = -1
    return tables._replace(cell=cell)


def anchors_off(tables):
    return tables._replace(anchor=tables.anchor + 1 / tables.cells_per_unit)


def cells_a_tenth_off(tables):
    return tables._replace(bounds=tables.bounds + np.tile(0.1 / tables.cells_per_unit, 2))


@pytest.mark.parametrize("plant", [inside_of_one_anchor, one_edge_less, one_cell_wrong, anchors_off, cells_a_tenth_off])
def test_a_planted_mistake_in_the_tables_is_seen(plant):
    polygons = patchwork(5)
    tables = grid_of(polygons)
    x, y = np.random.default_rng(5).uniform(0, 1, (2, 200_000)) + np.array([[-76.71], [39.20]])
    right = find_in_grid(tables, x, y)
    assert (find_in_grid(plant(tables), x, y) != right).any()
