"""Maps look like those that geopandas and matplotlib (Agg) draw of the same fifty windows, in the same place.

They are not the same to the bit, and this is how far they may be apart. Agg integrates a line's area, where the basemap
goes by distances in 4 x 4 parts of a pixel: `test_basemap` holds a coverage to 0.07 of the area, 0.012 on average. A
red line is opaque, so a pixel may be 0.07 * 255 = 18 levels away, and two of rounding: FAR = 20. On average over the
pixels that outlines touch it is 0.012 * 255 = 3 levels. Discs lie at most 1/32 px beside their place each way, which at
their edge, across, is 0.044 of a pixel or 8 levels of 255 at alpha 0.7; inside they are alike. Joins are round here and
pointed there, so a pixel that a sharp corner lies in may lack a little more: SHARP pixels of a map, up to twice as far.

Measured: 13 levels where sides are straight, 18 where they are crooked but for one corner's pixel (35); 0.17 to 0.24 on
average over all pixels. A disc that is 1/4 px beside its place or too large is seen, and so is a line that is a tenth
too broad.
"""

import dataclasses
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import shapely

from benchmarks.inputs.polygons import patchwork
from hews_gpu.config import MapConfig
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Rasterizer
from tests.inputs.matplotlib_maps import draw_with_matplotlib
from tests.inputs.random_city import RandomCity, random_city, random_pairs

CONFIG = MapConfig(height=216, width=172)
FAR, SHARP = 20, 3
MEAN_OF_OUTLINES = 3.06
EVENTS, WINDOWS = 300, 25


def straight():
    """Cells with straight sides, some with holes."""
    return random_city(21, neighborhoods=25, events=EVENTS)


def crooked():
    """More and smaller areas whose sides bend at every other pixel, with islands."""
    vertex, start, polygon = patchwork(7, 8, 11, seed=4)
    vertex = vertex @ np.array([[1.0, 0.1], [0.07, 1.0]])  # upright squares would be moved onto whole pixels by Agg
    rings = [vertex[a:b] for a, b in pairwise(start)]
    parts = [[ring for ring, n in zip(rings, polygon, strict=True) if n == area] for area in range(polygon.max() + 1)]
    areas = [shapely.Polygon(shell, holes) for shell, *holes in parts]
    west, south, east, north = shapely.total_bounds(areas)
    x, y = np.random.default_rng(22).uniform((west, south), (east, north), (EVENTS, 2)).T
    found = np.full(EVENTS, -1, np.int16)
    for n, area in enumerate(areas):
        found[shapely.contains_xy(area, x, y)] = n
    category = (np.arange(EVENTS) % 6).astype(np.int16)
    categories = random_city(1, events=1).places.categories
    places = Places(longitude=x, latitude=y, category=category, neighborhood=found, categories=categories)
    return RandomCity(gpd.GeoDataFrame(geometry=areas, crs="EPSG:4326"), places)


@pytest.fixture(scope="module", params=[straight, crooked])
def drawn(request):
    """The city, what draws it, its windows, and matplotlib's maps of them."""
    city = request.param()
    rasterizer = city.reference(CONFIG)
    pairs = random_pairs(21, EVENTS, WINDOWS, mean_incidents=10)
    theirs = [draw_with_matplotlib(city, rasterizer.geometry, first, last) for first, last in pairs]
    return city, rasterizer, pairs, np.stack(theirs)


def is_alike(ours, theirs):
    """bool[W]: whether each map, or part of one, is as near as this file's first lines say."""
    levels = np.abs(ours.astype(int) - theirs).max(axis=3)
    return ((levels > FAR).sum(axis=(1, 2)) <= SHARP) & (levels.max(axis=(1, 2)) <= 2 * FAR)


def lit_areas(picture, rasterizer):
    """The areas whose own outline pixels, touched by no other area, are red."""
    tables = rasterizer.tables
    alone = np.flatnonzero(np.diff(tables.start) == 1)
    owner, pixel = tables.owner[tables.start[alone]], picture.reshape(-1, 3)[tables.pixel[alone]].astype(int)
    is_red = pixel[:, 0] - pixel[:, 1:].max(axis=1) > 25
    broad = tables.coverage[tables.start[alone]] > 100
    count = np.bincount(owner[broad], minlength=rasterizer.neighborhoods)
    red = np.bincount(owner[broad & is_red], minlength=rasterizer.neighborhoods)
    return [(n, bool(2 * red[n] > count[n])) for n in np.flatnonzero(count >= 3)]


def test_no_pixel_is_further_away_than_coverages_allow(drawn):
    _, rasterizer, pairs, theirs = drawn
    ours = rasterizer.maps(pairs)
    assert is_alike(ours, theirs).all()
    touched = len(rasterizer.tables.pixel) / ours[0, ..., 0].size
    mean = np.abs(ours.astype(float) - theirs).mean(axis=(1, 2, 3))
    assert mean.max() <= MEAN_OF_OUTLINES * touched


def test_the_same_areas_are_red(drawn):
    _, rasterizer, pairs, theirs = drawn
    for picture, ours, (first, last) in zip(theirs, rasterizer.maps(pairs), pairs, strict=True):
        lit = set(rasterizer.tables.neighborhood[first:last].tolist())
        found = lit_areas(picture, rasterizer)
        assert found == [(n, n in lit) for n, _ in found] == lit_areas(ours, rasterizer)
        assert len(found) >= 7


def test_discs_lie_where_they_should(drawn):
    """Around every disc, 6 px each way, the maps are alike: a missing, moved or recolored disc is not."""
    _, rasterizer, pairs, theirs = drawn
    tables, ours = rasterizer.tables, rasterizer.maps(pairs)
    blank = Rasterizer(tables._replace(x=np.full_like(tables.x, -9999)), rasterizer.geometry, rasterizer.names,
                       neighborhoods=rasterizer.neighborhoods).maps(pairs)  # fmt: skip
    seen = 0
    for w, (first, last) in enumerate(pairs):
        for e in range(first, last):
            row, column = tables.y[e] // 16, tables.x[e] // 16
            part = (w, slice(max(row - 6, 0), max(row + 7, 0)), slice(max(column - 6, 0), max(column + 7, 0)))
            if ours[part].size:
                assert is_alike(ours[part][None], theirs[part][None])[0]
                seen += not is_alike(blank[part][None], theirs[part][None])[0]
    assert seen > 200


def moved_by_a_pixel(city, rasterizer, pairs):
    return np.roll(rasterizer.maps(pairs), 1, axis=2)


def larger_discs(city, rasterizer, pairs):
    return city.reference(dataclasses.replace(CONFIG, disc_radius_px=4.5)).maps(pairs)


def discs_larger_by_a_quarter(city, rasterizer, pairs):
    return city.reference(dataclasses.replace(CONFIG, disc_radius_px=3.75)).maps(pairs)


def discs_moved_by_a_quarter(city, rasterizer, pairs):
    return _with(rasterizer, pairs, x=rasterizer.tables.x + 4)


def the_next_area_lit(city, rasterizer, pairs):
    neighborhood = rasterizer.tables.neighborhood
    return _with(rasterizer, pairs, neighborhood=np.where(neighborhood < 0, -1, neighborhood - 1).astype(np.int16))


def one_incident_lights_nothing(city, rasterizer, pairs):
    """The last incident of each window, where no other lies in its area."""
    neighborhood = rasterizer.tables.neighborhood.copy()
    neighborhood[pairs[:, 1] - 1] = -1
    return _with(rasterizer, pairs, neighborhood=neighborhood)


def broader_lines(city, rasterizer, pairs):
    return city.reference(CONFIG, line_width_px=1.1).maps(pairs)


def windows_end_one_early(city, rasterizer, pairs):
    return rasterizer.maps(np.maximum(pairs - [0, 1], pairs[:, :1]))


def _with(rasterizer, pairs, **changes):
    tables = rasterizer.tables._replace(**changes)
    names, count = rasterizer.names, rasterizer.neighborhoods
    return Rasterizer(tables, rasterizer.geometry, names, neighborhoods=count).maps(pairs)


ALWAYS = {moved_by_a_pixel, broader_lines}  # also where a window holds nothing


@pytest.mark.parametrize(
    "plant",
    [
        *(moved_by_a_pixel, larger_discs, discs_larger_by_a_quarter, discs_moved_by_a_quarter),
        *(the_next_area_lit, one_incident_lights_nothing, broader_lines, windows_end_one_early),
    ],
)
def test_a_planted_mistake_is_seen(drawn, plant):
    city, rasterizer, pairs, theirs = drawn
    wrong = ~is_alike(plant(city, rasterizer, pairs), theirs)
    holds = np.ones(len(pairs), bool) if plant in ALWAYS else pairs[:, 0] < pairs[:, 1]
    if plant is one_incident_lights_nothing:
        areas = rasterizer.tables.neighborhood
        holds = np.array([areas[b - 1] >= 0 and areas[b - 1] not in areas[a : b - 1] for a, b in pairs])
        holds &= ~np.isin(np.arange(len(pairs)), [w for w, (a, b) in enumerate(pairs) if a == b])
    assert holds.sum() >= 10
    assert wrong[holds].mean() >= 0.9, np.flatnonzero(holds & ~wrong)
