"""Polygons as flat arrays, and the compiled engine behind `assign`: the answers of shapely, from many threads too."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.geometry.outlines import meters_per_degree
from hews_gpu.data.geometry.point_in_polygon import (
    OUTSIDE,
    ROWS_THAT_PAY,
    ROWS_THAT_PAY_COMPILING,
    engine_for,
    find_in_grid,
    find_neighborhoods,
    flat_rings,
    grid_of,
)
from hews_gpu.data.geometry.polygons import areas_of, load_neighborhoods
from hews_gpu.kernels import _disk_cache
from tests.data.toy import EAST, WEST
from tests.kernels.pip_cases import CASES, CITY, patchwork, points_of

Toy = Callable[..., CityConfig]


def areas_with(*polygons: Any) -> geopandas.GeoDataFrame:
    names = [f"area {i}" for i in range(len(polygons))]
    return geopandas.GeoDataFrame({"name": names}, geometry=list(polygons), crs="EPSG:4326")


def frame(polygons: object) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(geometry=list(polygons), crs="EPSG:4326")  # type: ignore[call-overload]


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


@pytest.mark.parametrize(("kept", "least"), [("/kernels", ROWS_THAT_PAY), (None, ROWS_THAT_PAY_COMPILING)])
def test_large_tables_are_worth_compiling_for(monkeypatch: pytest.MonkeyPatch, kept: str | None, least: int) -> None:
    monkeypatch.setattr(_disk_cache, "kernel_folder", lambda: kept)
    assert engine_for(276_529) == engine_for(least - 1) == "shapely"
    assert engine_for(least) == "numba"


def test_a_point_on_a_shared_edge_or_in_an_overlap_belongs_to_the_first() -> None:
    areas = areas_with(shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.box(0.5, 0.5, 1.5, 1.5))
    x, y = np.array([1.0, 1.0, 0.75, 1.25, 1.25, 0.0, 2.0, 3.0]), np.array([0.25, 0.75, 0.75, 0.75, 1.25, 0, 1, 0.5])
    ids, is_nearest = find_neighborhoods(areas_of(areas), x, y)
    assert ids.tolist() == [0, 0, 0, 1, 2, 0, 1, OUTSIDE]
    assert not is_nearest.any() and ids.dtype == np.int16


def test_a_hole_is_outside() -> None:
    ring = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))
    assert find_neighborhoods(areas_of(areas_with(ring)), np.array([1.5, 1.0, 0.5]), np.array([1.5, 1.5, 0.5]))[
        0
    ].tolist() == [OUTSIDE, 0, 0]


LATTICE = st.tuples(st.integers(0, 8), st.integers(0, 8))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(LATTICE, min_size=3, max_size=8, unique=True), min_size=1, max_size=6))
def test_every_point_of_a_lattice_agrees_with_shapely(rings: list[list[tuple[int, int]]]) -> None:
    polygons = [shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False) for ring in rings]
    x, y = (axis.ravel() / 2 for axis in np.meshgrid(np.arange(-1, 18), np.arange(-1, 18)))
    ids, _ = find_neighborhoods(areas_of(areas_with(*polygons)), x, y)
    for point in range(len(x)):
        covering = [i for i, polygon in enumerate(polygons) if polygon.covers(shapely.Point(x[point], y[point]))]
        assert ids[point] == (covering[0] if covering else OUTSIDE)
    inside = [shapely.contains_xy(polygon, x, y) for polygon in polygons]
    alone = np.sum(inside, axis=0) == 1
    assert (ids[alone] == np.argmax(inside, axis=0)[alone]).all() or len(polygons) > 1


def test_the_nearest_neighborhood_within_the_tolerance(toy: Toy) -> None:
    areas = load_neighborhoods(toy())
    east, north = (float(scale) for scale in meters_per_degree(np.array(39.285)))
    x = np.array([WEST[0] - 100 / east, EAST[2] + 249 / east, EAST[2] + 251 / east, -76.61, -76.605])
    y = np.array([39.285, 39.285, 39.285, 39.29 + 200 / north, 39.285])
    ids, is_nearest = find_neighborhoods(areas_of(areas), x, y, tolerance_m=250)
    assert ids.tolist() == [0, 1, OUTSIDE, 0, 1]
    assert is_nearest.tolist() == [True, True, False, True, False]
    assert find_neighborhoods(areas_of(areas), x, y, tolerance_m=0)[0].tolist() == [
        OUTSIDE,
        OUTSIDE,
        OUTSIDE,
        OUTSIDE,
        1,
    ]


def test_the_length_of_a_degree_agrees_with_the_geodesic() -> None:
    from pyproj import Geod

    for latitude in (0.0, 39.3, -33.9, 64.1):
        east, north = meters_per_degree(np.array(latitude))
        geod = Geod(ellps="WGS84")
        assert geod.inv(0, latitude, 0.001, latitude)[2] * 1000 == pytest.approx(float(east), rel=2e-5)
        assert geod.inv(0, latitude - 5e-4, 0, latitude + 5e-4)[2] * 1000 == pytest.approx(float(north), rel=2e-5)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "name", "count"),
    [("csa_55_vitalsigns16", "CSA2010", 55), ("neighborhoods_278_census2010", "Name", 278)],
)
def test_random_points_in_real_polygons_agree_with_shapely(
    toy: Toy, real_data: Path, file: str, name: str, count: int
) -> None:
    city = toy()
    text = city.path.read_text().replace("areas.geojson", str(real_data / f"baltimore/{file}.geojson.gz"))
    city.path.write_text(text.replace('"Name"', f'"{name}"'))
    areas = load_neighborhoods(load_city(city.path))
    assert len(areas) == count
    west, south, east, north = areas.total_bounds
    rng = np.random.default_rng(0)
    x, y = rng.uniform(west, east, 20_000), rng.uniform(south, north, 20_000)
    inside = np.array([shapely.contains_xy(polygon, x, y) for polygon in areas.geometry])
    expected = np.where(inside.any(axis=0), inside.argmax(axis=0), OUTSIDE)
    np.testing.assert_array_equal(find_neighborhoods(areas_of(areas), x, y)[0], expected)


def test_prepared_polygons_are_asked_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They make their index when they are first asked; two threads at it corrupted memory in one of two such runs."""
    busy, query = Lock(), shapely.STRtree.query

    def alone(*arguments: Any, **options: Any) -> Any:
        assert busy.acquire(blocking=False), "two threads at once"
        try:
            time.sleep(0.01)
            return query(*arguments, **options)
        finally:
            busy.release()

    monkeypatch.setattr(shapely.STRtree, "query", alone)
    areas = areas_of(areas_with(shapely.box(0, 0, 1, 1)))
    with ThreadPoolExecutor(4) as pool:
        lookups = [pool.submit(find_neighborhoods, areas, np.array([x]), np.array([0.5])) for x in (0.1, 0.5, 0.9, 1.1)]
    assert [lookup.result()[0].tolist() for lookup in lookups] == [[0], [0], [0], [OUTSIDE]]


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
