"""Maps with true distances, classes that tell low from high, months and hours in their places."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from hews_gpu.report.figures import city
from hews_gpu.report.style import RAMP_STEPS


@pytest.fixture
def squares() -> gpd.GeoDataFrame:
    """Two squares side by side at 60 degrees north, where a degree of longitude is half one of latitude.

    +--+--+
    |0 |1 |   0.02 degrees of longitude and 0.01 of latitude each: about 1.1 km in both directions
    +--+--+
    """
    shapes = [shapely.box(10 + 0.02 * i, 60, 10.02 + 0.02 * i, 60.01) for i in range(2)]
    return gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs="EPSG:4326")


def test_outlines_have_meters_of_equal_length(squares):
    flat = city.outlines(squares)
    west, south, east, north = flat.box
    assert (east - west) / (north - south) == pytest.approx(2, rel=1e-3)


def test_areas_agree_with_an_equal_area_projection(squares):
    by_proj = squares.to_crs("EPSG:6933").area.to_numpy() / 1e6
    assert city.outlines(squares).area_km2 == pytest.approx(by_proj, rel=0.01)


def test_thinned_outlines_stay_within_half_a_pixel():
    circle = shapely.Point(10, 0).buffer(0.1, quad_segs=500)
    flat = city.outlines(gpd.GeoDataFrame({"name": ["o"]}, geometry=[circle], crs="EPSG:4326"), pixels=100)
    ring = flat.rings[0][0]
    assert len(ring) < 200
    kilometers_per_pixel = 0.2 * city.KM_PER_DEGREE / 100
    radius = np.hypot(ring[:, 0] - 0.1 * city.KM_PER_DEGREE, ring[:, 1])
    assert np.abs(radius - 0.1 * city.KM_PER_DEGREE).max() < 0.51 * kilometers_per_pixel


def test_holes_and_islands_are_kept():
    holed = shapely.box(0, 0, 1, 1).difference(shapely.box(0.4, 0.4, 0.6, 0.6))
    both = shapely.MultiPolygon([holed, shapely.box(2, 0, 3, 1)])
    flat = city.outlines(gpd.GeoDataFrame({"name": ["o"]}, geometry=[both], crs="EPSG:4326"))
    assert len(flat.rings[0]) == 3


@pytest.mark.parametrize(
    "values", [[1, 1, 1], [1, 2, 3, 100], list(range(1, 400)), [0.5, 0.25, 31.6], [0, 0, 7.7], [0.001, 1000.0]]
)
def test_every_positive_value_is_in_a_class_and_no_class_begins_above_the_top(values):
    which, edges = city.classes(np.array(values, dtype=float))
    assert edges == sorted(set(edges)) and len(edges) <= RAMP_STEPS
    assert max(edges) <= max(values)
    for value, index in zip(values, which, strict=True):
        if value > 0:
            assert edges[index] <= value
            assert index == len(edges) - 1 or value < edges[index + 1]


def test_no_value_at_all_makes_no_class():
    which, edges = city.classes(np.zeros(3))
    assert edges == [] and which.tolist() == [-1, -1, -1]


def test_one_extreme_does_not_take_all_colors():
    values = np.concatenate([np.arange(1.0, 200.0), [1e6]])
    which, _ = city.classes(values)
    assert len(np.unique(which)) == RAMP_STEPS


def test_the_legend_of_whole_numbers_leaves_no_gap_and_no_overlap():
    labels = [item.label for item in city.legend([1.0, 2.0, 6.0], 9.0, zeros=True)]
    assert labels == ["none", "1", "2 to 5", "6 to 9"]


def test_the_legend_of_rates_shares_its_edges():
    labels = [item.label for item in city.legend([0.0, 0.5, 2.5], 9.5, zeros=False)]
    assert labels == ["up to 0.5", "0.5 to 2.5", "2.5 to 9.5"]


def test_a_city_without_target_incidents_still_has_its_maps(squares):
    flat = city.outlines(squares)
    drawing, key = city.areas(flat, np.zeros(2), "shootings")
    assert "2 with none" in drawing
    assert [item.label for item in key] == ["none"]


def test_maps_that_share_their_edges_share_their_colors(squares):
    flat = city.outlines(squares)
    _, edges = city.classes(np.array([1.0, 2.0, 5.0, 9.0]))
    own, shared = (city.areas(flat, np.array([1.0, 2.0]), "shootings", of)[0] for of in (None, edges))
    assert "from 1 to 2; 0 with none" in shared
    assert "var(--ramp6)" in own and "var(--ramp6)" not in shared


def test_the_rhythm_puts_an_hour_on_its_weekday():
    friday = np.datetime64("2017-03-03T23:30", "s").astype(np.int64)  # a Friday, by any calendar
    drawing, key = city.rhythm(np.full(9, friday), np.zeros(9, np.int64))
    assert "most on Fri from 23:00 (9)" in drawing
    assert key[0].label == "none" and key[-1].label == "9"


def test_an_incident_with_a_span_is_spread_over_its_hours():
    friday = np.datetime64("2017-03-03T22:00", "s").astype(np.int64)
    drawing, _ = city.rhythm(np.full(9, friday), np.full(9, 3 * 3600))  # into Saturday
    assert "most on Fri from 22:00 (3)" in drawing


def test_months_without_incidents_are_on_the_axis():
    time_s = np.array(["2014-01-03", "2014-01-31", "2014-03-01"], dtype="datetime64[s]").astype(np.int64)
    drawing = city.months(time_s, np.array([True, False, False]), [(0, 86_400)] * 3)
    assert "all incidents between 0 and 2; target incidents between 0 and 1" in drawing


@pytest.mark.parametrize(
    ("months", "labels"), [(3, ["Jan 2014", "Feb 2014", "Mar 2014"]), (48, ["2014", "2015", "2016", "2017"])]
)
def test_month_labels_are_round(months, labels):
    axis = np.datetime64("2014-01", "M") + np.arange(months)
    places, found = city.month_ticks(axis)
    assert found == labels
    assert places[0] == (np.datetime64("2014-01-01") - np.datetime64("1970-01-01")).astype(int)
