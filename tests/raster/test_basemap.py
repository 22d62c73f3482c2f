"""Outlines: who owns which pixel, how much of it is covered, and what the empty map looks like."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from hews_gpu.config import MapConfig
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.style import ReferenceStyle
from tests.inputs.random_city import outlines_of, random_city


def in_pixels(polygons, *, height=12, width=12, **style):
    """A basemap of polygons whose coordinates are pixels, row 0 at the top (latitude = -row)."""
    flipped = [shapely.affinity.scale(polygon, 1, -1, origin=(0, 0)) for polygon in polygons]
    table = gpd.GeoDataFrame(geometry=flipped, crs="EPSG:4326")
    geometry = MapGeometry(west=0, south=-height, east=width, north=0, height=height, width=width)
    return Basemap.build(outlines_of(table), geometry, ReferenceStyle(**style))


def dense(basemap, owner):
    """uint8[H, X] coverage of one owner."""
    height, width = basemap.geometry.height, basemap.geometry.width
    image = np.zeros(height * width, np.uint8)
    mine = basemap.owner == owner
    image[np.repeat(basemap.pixel, np.diff(basemap.start))[mine]] = basemap.coverage[mine]
    return image.reshape(height, width)


def test_a_square_on_pixel_centers_is_drawn_one_pixel_wide():
    """Its edges run through the middles of rows and columns 2 and 8: covered whole, and no neighbor is touched."""
    basemap = in_pixels([shapely.box(2.5, 2.5, 8.5, 8.5)])
    expected = np.zeros((12, 12), np.uint8)
    expected[2, 2:9] = expected[8, 2:9] = expected[2:9, 2] = expected[2:9, 8] = 255
    drawn, is_corner = dense(basemap, 0), np.zeros((12, 12), bool)
    is_corner[np.ix_([2, 8], [2, 8])] = True  # joins are round: a corner's pixel lacks 0.05 of itself
    assert np.array_equal(drawn[~is_corner], expected[~is_corner])
    assert np.all(np.abs(drawn[is_corner] / 255.0 - 0.946) < 0.03)
    assert np.array_equal(basemap.base[~is_corner, 0], np.where(expected, 128, 255)[~is_corner])


def test_an_edge_between_pixels_covers_both_by_half_and_a_fine_line_covers_its_width():
    box = shapely.box(-50, -50, 6.0, 50)
    half = dense(in_pixels([box]), 0)
    assert half[5].tolist() == [0] * 5 + [128, 128] + [0] * 5
    fine = dense(in_pixels([shapely.box(-50, -50, 6.5, 50)], line_width_px=0.3), 0)
    assert fine[5].tolist() == [0] * 6 + [76] + [0] * 5
    broad = dense(in_pixels([shapely.box(-50, -50, 6.5, 50)], line_width_px=3.0), 0)
    assert broad[5].tolist() == [0] * 5 + [255] * 3 + [0] * 4


def test_black_is_blended_once_per_polygon():
    """Two squares share an edge on a column of pixel centers: 255 * 0.5 * 0.5 = 64 there, 128 elsewhere."""
    basemap = in_pixels([shapely.box(2.5, 2.5, 5.5, 8.5), shapely.box(5.5, 2.5, 8.5, 8.5)])
    assert basemap.base[5, 5].tolist() == [64] * 3
    assert basemap.base[5, 2].tolist() == basemap.base[5, 8].tolist() == [128] * 3
    at = np.flatnonzero(basemap.pixel == 5 * 12 + 5)[0]
    assert basemap.owner[basemap.start[at] : basemap.start[at + 1]].tolist() == [0, 1]


def test_rings_of_holes_and_of_all_parts_are_outlines():
    hole = shapely.Polygon(
        shapely.box(1.5, 1.5, 10.5, 10.5).exterior.coords, [shapely.box(4.5, 4.5, 7.5, 7.5).exterior.coords]
    )
    two = shapely.MultiPolygon([shapely.box(1.5, 1.5, 3.5, 3.5), shapely.box(7.5, 7.5, 9.5, 9.5)])
    basemap = in_pixels([hole, two])
    assert dense(basemap, 0)[4, 6] == dense(basemap, 0)[1, 6] == 255
    assert dense(basemap, 1)[2, 3] == dense(basemap, 1)[8, 7] == 255
    assert dense(basemap, 1)[5, 5] == 0


@pytest.mark.parametrize("line_width_px", [0.3, 1.0, 2.5])
def test_coverage_is_the_area_that_shapely_measures(line_width_px):
    city = random_city(3, neighborhoods=9)
    config = MapConfig(height=60, width=50, bounds=(-77.02, 38.99, -76.85, 39.21))
    basemap = city.basemap(config, ReferenceStyle(line_width_px=line_width_px))
    west, south, east, north = config.bounds
    row, column = np.divmod(np.arange(60 * 50), 50)
    for owner, polygon in enumerate(city.neighborhoods.geometry):
        to_pixels = [50 / (east - west), 0, 0, -60 / (north - south)]
        shift = [-west * to_pixels[0], -north * to_pixels[3]]
        pixels = shapely.affinity.affine_transform(polygon.boundary, to_pixels + shift)
        line = pixels.buffer(line_width_px / 2, quad_segs=16)
        squares = shapely.box(column, row, column + 1, row + 1)
        expected = shapely.area(shapely.intersection(line, squares))
        difference = dense(basemap, owner).ravel() / 255.0 - expected
        assert np.abs(difference).max() <= 0.07
        assert np.abs(difference[expected > 0]).mean() <= 0.012


def test_the_table_is_sorted_by_pixel_then_owner_and_consistent():
    basemap = random_city(4, neighborhoods=30).basemap(MapConfig(height=40, width=30), ReferenceStyle())
    assert np.all(np.diff(basemap.pixel) > 0)
    counts = np.diff(basemap.start)
    assert counts.min() >= 1 and basemap.start[0] == 0 and basemap.start[-1] == len(basemap.owner)
    pixel_of_pair = np.repeat(basemap.pixel, counts).astype(np.int64)
    assert np.all(np.diff(pixel_of_pair * 1000 + basemap.owner) > 0)
    assert basemap.owner.max() < basemap.neighborhoods == 30
    assert basemap.coverage.min() >= 1
    white = np.ones(40 * 30, bool)
    white[basemap.pixel] = False
    assert np.all(basemap.base.reshape(-1, 3)[white] == 255)


def test_polygons_far_outside_the_map_own_nothing():
    basemap = in_pixels([shapely.box(100, 100, 110, 110), shapely.box(-1e6, -1e6, 1e6, 1e6)])
    assert len(basemap.pixel) == len(basemap.owner) == 0
    assert basemap.start.tolist() == [0]
    assert np.all(basemap.base == 255)


def test_degenerate_rings_are_drawn_as_what_is_left_of_them():
    sliver = shapely.Polygon([(2.5, 5.5), (8.5, 5.5), (8.5, 5.5), (2.5, 5.5)])
    assert dense(in_pixels([sliver]), 0)[5, 3:8].tolist() == [255] * 5
