"""Polygons as flat arrays, and the compiled engine behind `assign`: the answers of shapely, from many threads too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import geopandas
import numpy as np
import pytest
import shapely

from hews_gpu.data.geometry.areas import OUTSIDE, find_in_grid, flat_rings, grid_of
from hews_gpu.data.geometry.point_in_polygon import (
    ROWS_THAT_PAY,
    ROWS_THAT_PAY_COMPILING,
    engine_for,
    find_neighborhoods,
)
from hews_gpu.data.geometry.polygons import areas_of
from hews_gpu.kernels import _disk_cache
from tests.kernels.pip_cases import CASES, CITY, patchwork, points_of


def frame(polygons: object) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(geometry=list(polygons), crs="EPSG:4326")  # type: ignore[call-overload]


def test_rings_come_in_the_order_of_the_polygons_with_their_holes() -> None:
    ring = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))
    two = shapely.MultiPolygon([shapely.box(5, 0, 6, 1), shapely.box(7, 0, 8, 1)])
    vertex, starts, polygon = flat_rings(np.array([two, shapely.Polygon(), ring], object))
    assert polygon.tolist() == [0, 0, 2, 2]
    assert starts.tolist() == [0, 5, 10, 15, 20] and vertex.shape == (20, 2)
    np.testing.assert_array_equal(vertex[starts[:-1]], vertex[starts[1:] - 1])  # closed


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tolerance_m", [0.0, 3000.0])
def test_either_engine_gives_the_same_neighborhoods(case: str, tolerance_m: float) -> None:
    areas, (x, y) = areas_of(frame(CASES[case]())), points_of(CASES[case](), random_points=500)
    by_shapely = find_neighborhoods(areas, x, y, tolerance_m, engine="shapely")
    by_numba = find_neighborhoods(areas, x, y, tolerance_m, engine="numba")
    for one, other in zip(by_shapely, by_numba, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("engine", ["shapely", "numba"])
def test_what_is_no_place_is_in_no_neighborhood_whatever_the_tolerance(engine: str) -> None:
    areas = areas_of(frame([shapely.box(0, 0, 1, 1)]))
    x, y = np.array([np.nan, 0.5, np.inf, -np.inf, 1.01]), np.array([0.5, np.nan, 0.5, 0.5, 0.5])
    ids, is_nearest = find_neighborhoods(areas, x, y, 5000.0, engine=engine)  # type: ignore[arg-type]
    assert ids.tolist() == [OUTSIDE] * 4 + [0]
    assert is_nearest.tolist() == [False] * 4 + [True]


def test_threads_that_search_at_once_get_their_own_answers() -> None:
    grid = grid_of(patchwork(9))
    random = np.random.default_rng(9)
    places = [random.uniform(0, 1, (2, 50_000)) + np.array(CITY)[:, None] for _ in range(8)]
    alone = [find_in_grid(grid, *xy) for xy in places]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda xy: find_in_grid(grid, *xy), places))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("kept", "least"), [("/kernels", ROWS_THAT_PAY), (None, ROWS_THAT_PAY_COMPILING)])
def test_large_tables_are_worth_compiling_for(monkeypatch: pytest.MonkeyPatch, kept: str | None, least: int) -> None:
    monkeypatch.setattr(_disk_cache, "kernel_folder", lambda: kept)
    assert engine_for(276_529) == engine_for(least - 1) == "shapely"
    assert engine_for(least) == "numba"
