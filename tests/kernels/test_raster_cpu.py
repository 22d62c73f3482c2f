"""The compiled kernels equal the NumPy reference to the bit, whatever the city, the windows and the places."""

import dataclasses

import numba
import numpy as np
import pytest

from hews_gpu.config import MapConfig
from hews_gpu.kernels import raster_cpu, reference_numpy
from hews_gpu.kernels.layout_cpu import lay_out
from hews_gpu.kernels.tables import ReferenceTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle
from tests.inputs.random_city import BOX, CATEGORIES, RandomCity, random_city, random_pairs

SMALL = {"height": 40, "width": 36}  # 40 * 36 * 3 bytes are whole words; 41 x 37 are not
CASES = {
    "typical": (MapConfig(**SMALL), {}),
    "no whole number of words": (MapConfig(height=41, width=37), {}),
    "discs larger than the map": (MapConfig(height=9, width=8, disc_radius_px=15), {}),
    "discs smaller than a pixel": (MapConfig(**SMALL, disc_radius_px=0.5), {}),
    "stretched bounds that cut the city": (MapConfig(**SMALL, bounds=(-76.95, 39.02, -76.85, 39.22)), {}),
    "fine lines": (MapConfig(**SMALL), {"line_width_px": 0.3}),
    "broad lines that overlap": (MapConfig(**SMALL), {"line_width_px": 5.0}),
}


def both(city: RandomCity, config: MapConfig, pairs, **style):
    """The maps of `pairs` by each backend, drawn over garbage."""
    results = []
    for backend in ("numpy", "numba"):
        rasterizer = city.reference(config, backend=backend, **style)
        out = np.random.default_rng(len(results)).integers(0, 256, (len(pairs), *rasterizer.shape), np.uint8)
        rasterizer.fill(pairs, out)
        results.append(out)
    return results


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(4))
def test_reference_maps_are_identical(case, seed):
    config, style = CASES[case]
    city = random_city(seed, neighborhoods=(2, 7, 20, 60)[seed], events=500)
    pairs = random_pairs(seed, 500, 24, mean_incidents=(1.0, 8.0, 11.0, 250.0)[seed])
    pairs[:3] = [[0, 0], [500, 500], [0, 500]]  # empty at both ends, and everything at once
    numpy_maps, numba_maps = both(city, config, pairs, **style)
    assert np.array_equal(numpy_maps, numba_maps)


def test_windows_that_overlap_and_come_out_of_order_are_drawn_each_for_itself():
    city = random_city(7, events=300)
    pairs = np.array([[200, 260], [0, 90], [50, 220], [0, 90], [299, 300]])
    numpy_maps, numba_maps = both(city, MapConfig(**SMALL), pairs)
    assert np.array_equal(numpy_maps, numba_maps)
    assert np.array_equal(numba_maps[1], numba_maps[3])


def test_a_batch_draws_what_single_windows_draw():
    city = random_city(8, events=300)
    pairs = random_pairs(8, 300, 40, mean_incidents=10)
    rasterizer = city.reference(MapConfig(**SMALL))
    one_by_one = np.concatenate([rasterizer.maps(pair[None]) for pair in pairs])
    assert np.array_equal(rasterizer.maps(pairs), one_by_one)


def test_incidents_far_away_or_nowhere_touch_no_pixel_and_break_nothing():
    city = random_city(9, events=6)
    longitude = np.array([np.nan, np.inf, -np.inf, 180.0, BOX[0] - 1, 0.0])
    latitude = np.array([39.1, 39.1, np.nan, -90.0, BOX[3] + 1, 1e300])
    places = dataclasses.replace(
        city.places, longitude=longitude, latitude=latitude, neighborhood=np.full(6, -1, np.int16)
    )
    pairs = np.array([[0, 6], [0, 0]])
    numpy_maps, numba_maps = both(RandomCity(city.neighborhoods, places), MapConfig(**SMALL), pairs)
    assert np.array_equal(numpy_maps, numba_maps)
    assert np.array_equal(numba_maps[0], numba_maps[1])


@pytest.mark.parametrize("edge", ["west", "south", "east", "north"])
def test_a_disc_that_sticks_half_out_of_the_map_is_cut_there(edge):
    city = random_city(10, events=1)
    config = MapConfig(**SMALL, bounds=BOX)
    west, south, east, north = BOX
    x, y = {"west": (west, 39.1), "east": (east, 39.1), "south": (-76.9, south), "north": (-76.9, north)}[edge]
    places = dataclasses.replace(city.places, longitude=np.array([x]), latitude=np.array([y]))
    numpy_maps, numba_maps = both(RandomCity(city.neighborhoods, places), config, np.array([[0, 1]]))
    assert np.array_equal(numpy_maps, numba_maps)
    moved = dataclasses.replace(city.places, longitude=np.array([-76.9]), latitude=np.array([39.1]))
    _, whole = both(RandomCity(city.neighborhoods, moved), config, np.array([[0, 1]]))
    assert not np.array_equal(whole, numba_maps)


def test_hidden_incidents_leave_no_trace():
    city = random_city(11, events=200)
    hidden = np.random.default_rng(11).random(200) < 0.5
    shown = RandomCity(city.neighborhoods, _only(city.places, ~hidden))
    masked = RandomCity(city.neighborhoods, dataclasses.replace(city.places, hidden=hidden))
    config = MapConfig(**SMALL)
    expected = shown.reference(config).maps(np.array([[0, int((~hidden).sum())]]))
    for maps in both(masked, config, np.array([[0, 200]])):
        assert np.array_equal(maps, expected)


def _only(places, keep):
    columns = {name: getattr(places, name)[keep] for name in ("longitude", "latitude", "category", "neighborhood")}
    return dataclasses.replace(places, **columns)


def later_by_one(tables, pairs):
    return tables, pairs + np.array([[0, 1]])


def right_by_a_sixteenth(tables, pairs):
    inside = np.flatnonzero((tables.x > 0) & (tables.y > 0))
    one = inside[(inside >= pairs[0, 0]) & (inside < pairs[0, 1])][0]
    return tables._replace(x=tables.x + (np.arange(len(tables.x)) == one).astype(np.int32)), pairs


def next_neighborhood(tables, pairs):
    return tables._replace(neighborhood=(tables.neighborhood + 1) % 12), pairs


def coverage_by_one(tables, pairs):
    lit = np.isin(tables.owner, tables.neighborhood[pairs[0, 0] : pairs[0, 1]])
    return tables._replace(coverage=tables.coverage + (lit & (tables.coverage < 255)).astype(np.uint8)), pairs


def other_order(tables, pairs):
    first, last = pairs[0]
    order = np.arange(len(tables.x))
    order[first:last] = order[first:last][::-1]
    return tables._replace(x=tables.x[order], y=tables.y[order], color=tables.color[order]), pairs


PLANTED = [later_by_one, right_by_a_sixteenth, next_neighborhood, coverage_by_one, other_order]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_off_by_one_is_seen(plant):
    """Comparing maps would notice the smallest of mistakes: a shift of one incident by 1/16 pixel, say."""
    rasterizer = random_city(12, events=90).reference(MapConfig(**SMALL))
    pairs = np.array([[3, 50]])
    tables, changed = plant(rasterizer.tables, pairs)
    out = np.empty((1, *rasterizer.shape), np.uint8)
    reference_numpy.fill_reference(tables, changed, out)
    assert not np.array_equal(out, rasterizer.maps(pairs))
    reference_numpy.fill_reference(rasterizer.tables, pairs, out)
    assert np.array_equal(out, rasterizer.maps(pairs))


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("height", "width"), [(12, 10), (3, 3)])
def test_channel_counts_are_identical_and_saturate(steps, height, width):
    city = random_city(13, events=9000)
    geometry = MapGeometry.around(BOX, BOX, height=height, width=width)
    style = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY"), "targets": ("SHOOTING",)})
    random = np.random.default_rng(steps)
    first = random.integers(0, 8900, (9, steps))
    pairs = np.stack([first, first + random.integers(0, 100, (9, steps))], axis=2)
    pairs[0], pairs[1], pairs[2] = [0, 9000], [0, 0], [9000, 9000]
    maps = []
    for backend in ("numpy", "numba"):
        rasterizer = Rasterizer.channels(geometry, style, city.places, steps=steps, backend=backend)
        out = np.full((len(pairs), *rasterizer.shape), 7, np.uint8)
        rasterizer.fill(pairs, out)
        maps.append(out)
    assert np.array_equal(*maps)
    assert (maps[0][0].max() == 255) == (height == 3)
    assert maps[0][1].sum() == maps[0][2].sum() == 0


def guarded(rasterizer, pairs, offset):
    """The maps, drawn at a given distance from a cache line's beginning; what lies around them must stay as it is."""
    size = len(pairs) * int(np.prod(rasterizer.shape))
    memory = np.full(size + 320, 7, np.uint8)
    begin = 128 + (offset - memory.ctypes.data) % 64
    out = memory[begin : begin + size].reshape(len(pairs), *rasterizer.shape)
    rasterizer.fill(pairs, out)
    assert np.all(memory[:begin] == 7)
    assert np.all(memory[begin + size :] == 7)
    return out


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("offset", [0, 1, 16, 63])
@pytest.mark.parametrize(("height", "width"), [(40, 36), (41, 37), (9, 8)])
def test_maps_that_go_past_the_caches_are_the_same_wherever_they_lie(monkeypatch, height, width, offset, threads):
    city = random_city(15, neighborhoods=9, events=300)
    config = MapConfig(height=height, width=width)
    pairs = random_pairs(15, 300, 37, mean_incidents=9)
    pairs[0] = [5, 5]
    expected = city.reference(config, backend="numpy").maps(pairs)
    rasterizer, before = city.reference(config), numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        assert np.array_equal(guarded(rasterizer, pairs, offset), expected)
        monkeypatch.setattr(raster_cpu, "CACHED_BYTES", 0)
        assert np.array_equal(guarded(rasterizer, pairs, offset), expected)
    finally:
        numba.set_num_threads(before)


def test_counts_that_go_past_the_caches_are_the_same(monkeypatch):
    city = random_city(16, events=2000)
    geometry = MapGeometry.around(BOX, BOX, height=13, width=11)
    style = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY"), "targets": ("SHOOTING",)})
    first = np.random.default_rng(16).integers(0, 1900, (35, 3))
    pairs = np.stack([first, first + 60], axis=2)
    rasterizer = Rasterizer.channels(geometry, style, city.places, steps=3)
    expected = Rasterizer.channels(geometry, style, city.places, steps=3, backend="numpy").maps(pairs)
    assert np.array_equal(guarded(rasterizer, pairs, 0), expected)
    monkeypatch.setattr(raster_cpu, "CACHED_BYTES", 0)
    assert np.array_equal(guarded(rasterizer, pairs, 5), expected)


def test_every_place_in_the_last_rows_and_columns_draws_what_the_reference_draws():
    """Padding of a whole row may reach past the map there, and into another thread's."""
    config = MapConfig(**SMALL, bounds=BOX)
    x, y = np.meshgrid(np.arange(-6.0, 42.0, 0.75), np.arange(-6.0, 46.0, 0.75))
    count = x.size
    places = Places(
        longitude=BOX[0] + x.ravel() / 36 * 0.2,
        latitude=BOX[3] - y.ravel() / 40 * 0.2,
        category=(np.arange(count) % len(CATEGORIES)).astype(np.int16),
        neighborhood=(np.arange(count) % 3 - 1).astype(np.int16),
        categories=CATEGORIES,
    )
    pairs = np.stack([np.arange(count), np.arange(count) + 1], axis=1)
    edge = RandomCity(random_city(17).neighborhoods, places)
    expected = edge.reference(config, backend="numpy").maps(pairs)
    assert np.array_equal(guarded(edge.reference(config), pairs, 16), expected)
    rasterizer = edge.reference(config)
    layout, size = rasterizer.kernels.layout, int(np.prod(rasterizer.shape))
    loud = layout._replace(stamp_row=layout.stamp_row.copy())
    loud.stamp_row[:, :, 27:] = 255  # alpha 0 would write back the value that it found: nobody could see it
    memory, drawn = np.full(size + 64, 7, np.uint8), 0
    for pair, true in zip(pairs, expected, strict=True):
        raster_cpu.draw(loud, pair[None], memory[:size])
        assert np.all(memory[size:] == 7), pair
        drawn += not np.array_equal(memory[:size], true.ravel())
    assert drawn > 0.3 * count  # padding was there to be seen: a third of the discs lie whole in the map


def crossing(owners, height, width):
    """A map all of whose pixels are touched by so many outlines, and one incident in each neighborhood."""
    random = np.random.default_rng(owners)
    pixels = height * width
    return ReferenceTables(
        base=random.integers(0, 256, (height, width, 3), np.uint8),
        pixel=np.arange(pixels, dtype=np.int32),
        start=np.arange(0, pixels * owners + 1, owners, dtype=np.int32),
        owner=np.tile(np.arange(owners, dtype=np.int32), pixels),
        coverage=random.integers(0, 256, pixels * owners).astype(np.uint8),
        lit_color=np.array([220, 20, 60], np.uint8),
        x=np.full(owners, -32_000, np.int32),
        y=np.full(owners, -32_000, np.int32),
        color=np.zeros(owners, np.uint8),
        neighborhood=random.permutation(owners).astype(np.int16),
        palette=np.array([[1, 2, 3]], np.uint8),
        stamp=np.zeros((16, 16, 3, 3), np.uint8),
    )


@pytest.mark.parametrize("owners", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 5), (2, 3), (3, 3), (7, 5), (8, 8)])
def test_outlines_that_share_every_pixel_are_blended_in_order(owners, height, width):
    """Maps of fewer bytes than a block, of one, and of several of which the last ends with the map; any owners."""
    tables = crossing(owners, height, width)
    pairs = np.array([[a, b] for a in range(owners + 1) for b in range(a, owners + 1)])
    expected, found = (np.empty((len(pairs), height, width, 3), np.uint8) for _ in range(2))
    reference_numpy.fill_reference(tables, pairs, expected)
    layout = lay_out(tables, owners)
    assert (len(layout.rest) > 0) == (owners > 4 or height * width * 3 < 16)
    assert layout.block.max(initial=0) + 16 <= max(16, tables.base.size)  # flipping nothing would still write back
    raster_cpu.draw(layout, pairs, found)
    assert np.array_equal(found, expected)
