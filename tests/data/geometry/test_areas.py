"""Polygons as flat arrays, and the search in a grid from many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import shapely

from hews_gpu.data.geometry.areas import find_in_grid, flat_rings, grid_of
from tests.kernels.pip_cases import CITY, patchwork


def test_rings_come_in_the_order_of_the_polygons_with_their_holes() -> None:
    ring = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))
    two = shapely.MultiPolygon([shapely.box(5, 0, 6, 1), shapely.box(7, 0, 8, 1)])
    vertex, starts, polygon = flat_rings(np.array([two, shapely.Polygon(), ring], object))
    assert polygon.tolist() == [0, 0, 2, 2]
    assert starts.tolist() == [0, 5, 10, 15, 20] and vertex.shape == (20, 2)
    np.testing.assert_array_equal(vertex[starts[:-1]], vertex[starts[1:] - 1])  # closed


def test_threads_that_search_at_once_get_their_own_answers() -> None:
    grid = grid_of(patchwork(9))
    random = np.random.default_rng(9)
    places = [random.uniform(0, 1, (2, 50_000)) + np.array(CITY)[:, None] for _ in range(8)]
    alone = [find_in_grid(grid, *xy) for xy in places]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda xy: find_in_grid(grid, *xy), places))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
