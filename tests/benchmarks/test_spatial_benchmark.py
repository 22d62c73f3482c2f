"""The race with spatial libraries: the first polygon counts, differences are counted, what is missing says why."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from benchmarks import common, spatial
from benchmarks.rivals.spatial import Places, by_shapely, hews, hews_pixels, pixel_centers
from hews_gpu.raster.geometry import MapGeometry

AREAS = shapely.box([0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 2.0, 2.0], [1.0, 1.0, 2.0])
"""Two squares side by side, and one twice as wide on top of both."""
X, Y = np.array([0.5, 1.0, 1.5, 0.5, 1.0, 9.0]), np.array([0.5, 0.5, 0.5, 1.5, 1.0, 9.0])
FIRST = [0, 0, 1, 2, 0, -1]


@pytest.fixture
def places(tmp_path):
    return Places(AREAS, X, Y, tmp_path)


def test_from_memory_and_from_files_the_first_polygon_that_covers_a_point_is_found(places):
    for ways in (hews(places), by_shapely(places)):
        assert ways.memory().tolist() == ways.parquet().tolist() == FIRST


def test_of_pairs_in_any_order_the_first_polygon_counts(places):
    point, polygon = np.array([4, 3, 1, 4, 0, 2, 4, 1]), np.array([2, 2, 1, 1, 0, 1, 0, 0])
    assert places.first(point, polygon).tolist() == FIRST


def test_differences_on_borders_are_told_from_others():
    other = np.array([1, 1, 1, 2, 2, -1])
    found = spatial.differences(AREAS, X, Y, np.array(FIRST), other)
    assert found == {"points": 6, "different": 3, "of_them_on_borders": 2}


def test_a_missing_library_has_a_row_that_says_so_and_others_have_times(places, monkeypatch):
    monkeypatch.setattr(common, "SHORTEST_S", 0.001)

    def absent(_):
        return __import__("no_such_library")

    rows = spatial.race(*spatial.installed({"hews": hews, "shapely": by_shapely, "absent": absent}, places), places)
    assert [(row["library"], row["from"], row["different"]) for row in rows[:4]] == [
        (name, form, 0) for form in ("memory", "parquet") for name in ("hews", "shapely")
    ]
    assert all(row["seconds"] > 0 and row["times_ours"]["low"] > 0 for row in rows[:4])
    assert rows[4:] == [{"library": "absent", "missing": "No module named 'no_such_library'"}]


def test_pixels_belong_to_what_covers_their_centers_and_rows_begin_in_the_north(places):
    geometry = MapGeometry(west=0, south=0, east=4, north=2, height=2, width=4)
    assert [axis.tolist() for axis in pixel_centers(geometry)] == [[0.5, 1.5, 2.5, 3.5] * 2, [1.5] * 4 + [0.5] * 4]
    assert hews_pixels(places, geometry).parquet().tolist() == [2, 2, -1, -1, 0, 1, -1, -1]
