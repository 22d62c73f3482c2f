"""Degrees to pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.raster.geometry import FAR_PX, MARGIN, MapGeometry

UNIT = MapGeometry(west=-77.0, south=39.0, east=-76.0, north=40.0, height=100, width=200)


def test_row_0_is_north_and_column_0_is_west():
    x, y = UNIT.to_pixels(np.array([-77.0, -76.0, -76.5]), np.array([40.0, 39.0, 39.75]))
    assert x.tolist() == [0, 200, 100]
    assert y.tolist() == [0, 100, 25]


def test_auto_bounds_hold_the_extent_with_a_margin_and_equal_meters_per_pixel():
    for extent, height, width in [
        ((-77.0, 39.0, -76.5, 39.1), 216, 172),
        ((10.0, 60.0, 10.1, 60.9), 54, 43),
        ((-70.0, -34.0, -69.9, -33.9), 8, 4096),
    ]:
        west, south, east, north = extent
        made = MapGeometry.around(extent, "auto", height=height, width=width)
        shrink = np.cos(np.radians((south + north) / 2))
        across, up = (made.east - made.west) * shrink / width, (made.north - made.south) / height
        assert np.isclose(across, up)
        room_x, room_y = MARGIN * (east - west) * 0.999, MARGIN * (north - south) * 0.999
        assert made.west <= west - room_x and made.east >= east + room_x
        assert made.south <= south - room_y and made.north >= north + room_y
        tight_x = np.isclose(made.west, west - MARGIN * (east - west))
        assert tight_x or np.isclose(made.south, south - MARGIN * (north - south))
        middle = (made.west + made.east) / 2, (made.south + made.north) / 2
        assert np.allclose(middle, ((west + east) / 2, (south + north) / 2))


def test_explicit_bounds_are_stretched_onto_the_map():
    made = MapGeometry.around((0, 0, 1, 1), (-77.0, 39.0, -76.0, 40.0), height=100, width=200)
    assert made == UNIT
    assert made.bounds == (-77.0, 39.0, -76.0, 40.0)


def test_an_extent_of_no_size_still_has_a_geometry():
    made = MapGeometry.around((5.0, 5.0, 5.0, 5.0), "auto", height=10, width=10)
    assert made.west < 5.0 < made.east and made.south < 5.0 < made.north


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_becomes_a_position_in_range(longitude, latitude):
    x, y = UNIT.to_fixed(np.array([longitude]), np.array([latitude]))
    assert x.dtype == y.dtype == np.int32
    assert -FAR_PX * 16 <= x[0] <= (200 + FAR_PX) * 16
    assert -FAR_PX * 16 <= y[0] <= (100 + FAR_PX) * 16
    cell = UNIT.to_cells(np.array([longitude]), np.array([latitude]))
    assert cell.dtype == np.int32
    assert -1 <= cell[0] < 20_000


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2))
def test_fixed_point_is_within_half_a_step_and_cells_are_half_open(across, down):
    longitude, latitude = np.array([-77.0 + across]), np.array([40.0 - down])
    x, y = UNIT.to_pixels(longitude, latitude)
    fixed_x, fixed_y = UNIT.to_fixed(longitude, latitude)
    assert abs(fixed_x[0] / 16 - x[0]) <= 1 / 32
    assert abs(fixed_y[0] / 16 - y[0]) <= 1 / 32
    inside = 0 <= x[0] < 200 and 0 <= y[0] < 100
    assert UNIT.to_cells(longitude, latitude)[0] == (int(y[0]) * 200 + int(x[0]) if inside else -1)


def test_the_south_and_east_edges_are_outside_and_the_others_inside():
    longitude = np.array([-77.0, -76.0, -76.5, -76.5])
    latitude = np.array([39.5, 39.5, 40.0, 39.0])
    assert UNIT.to_cells(longitude, latitude).tolist() == [50 * 200, -1, 100, -1]
