"""Discs of the channels style: right by area, the same in any order, cut by the map's edges, never above 255."""

import numba
import numpy as np
import pytest

from hews_gpu.kernels import raster_cpu, reference_numpy
from hews_gpu.kernels.layout_cpu import lay_out
from hews_gpu.kernels.tables import DiscsTables
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import FULL_DISC, ChannelsStyle, disc_stamps
from tests.inputs.random_city import BOX, random_city

GROUPS, STEPS, EVENTS = 3, 4, 500
PAIRS = np.array(
    [[[0, 500], [7, 7], [3, 40], [40, 90]], [[500, 500]] * 4, [[9, 10], [10, 11], [450, 500], [0, 9]]], np.int64
)


def made_of(x, y, group=None, *, height=13, width=11, steps=1, radius_px=1.0, rest=0):
    base = np.zeros((height, width, GROUPS * steps + rest), np.uint8)
    base[..., GROUPS * steps :] = 77
    x, y = np.array(x, np.int32), np.array(y, np.int32)
    group = np.zeros(len(x), np.uint8) if group is None else np.array(group, np.uint8)
    stamp = disc_stamps(radius_px, FULL_DISC / 255)
    return DiscsTables(x=x, y=y, group=group, groups=GROUPS, base=base, stamp=stamp)


def crowd(radius_px=2.25, **size):
    """Incidents all over the map and as far outside as discs reach, some far away."""
    random = np.random.default_rng(7)
    x, y = random.integers(-64, 16 * 13 + 64, (2, EVENTS))
    x[::19] = -1024 * 16
    group = random.integers(0, GROUPS, EVENTS)
    return made_of(x, y, group, steps=STEPS, radius_px=radius_px, rest=1, **size)


def by_numpy(tables, pairs):
    out = np.full((len(pairs), *tables.base.shape), 9, np.uint8)
    reference_numpy.fill_discs(tables, pairs, out)
    return out


def by_numba(tables, pairs):
    out = np.full((len(pairs), *tables.base.shape), 9, np.uint8)
    raster_cpu.draw(lay_out(tables), pairs, out)
    return out


@pytest.fixture(params=[by_numpy, by_numba], ids=["numpy", "numba"])
def draw(request):
    return request.param


def test_a_disc_drawn_by_hand(draw):
    """In the middle of a cell a disc of radius 1/2 covers pi/4 of it: 25 of 32. On a corner it is shared by four."""
    middle, corner = draw(made_of([24, 32], [40, 48], [1, 2], height=4, width=3), np.array([[[0, 1]], [[1, 2]]]))
    assert middle[..., (0, 2)].sum() == corner[..., :2].sum() == 0
    half = draw(made_of([24, 32], [40, 48], [1, 2], height=4, width=3, radius_px=0.5), np.array([[[0, 1]], [[1, 2]]]))
    assert half[0, ..., 1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 25, 0], [0, 0, 0]]
    assert half[1, ..., 2].tolist() == [[0, 0, 0], [0, 0, 0], [0, 6, 6], [0, 6, 6]]
    assert middle[2, 1, 1] == FULL_DISC and corner[2:, 1:, 2].tolist() == [[25, 25], [25, 25]]


@pytest.mark.parametrize("radius_px", [0.5, 1.0, 2.25, 6.0])
def test_sums_are_areas(draw, radius_px):
    """Against coverage counted on a grid of 32 x 32 points in each cell, edges and outside included."""
    tables = crowd(radius_px)
    points = (np.arange(32 * 13) + 0.5) / 32
    expected = np.zeros((13, 11, GROUPS))
    chosen = np.arange(100, 130)
    for e in chosen:
        inside = (points[:, None] - tables.y[e] / 16) ** 2 + (points[: 32 * 11] - tables.x[e] / 16) ** 2 < radius_px**2
        expected[..., tables.group[e]] += FULL_DISC * inside.reshape(13, 32, 11, 32).mean(axis=(1, 3))
    pairs = np.zeros((1, STEPS, 2), np.int64)
    pairs[0, 2] = [100, 130]
    found = draw(tables, pairs)[0]
    assert found[..., : 2 * GROUPS].sum() == found[..., 3 * GROUPS : -1].sum() == 0 and np.all(found[..., -1] == 77)
    differing = np.abs(found[..., 2 * GROUPS : 3 * GROUPS] - np.minimum(expected, 255))
    assert differing.max() < 0.6 * min(len(chosen), 5) and differing.mean() < 0.5
    assert expected.max() > 20


@pytest.mark.parametrize(("height", "width"), [(13, 11), (16, 12), (1, 1), (3, 29)])
@pytest.mark.parametrize("radius_px", [0.5, 1.0, 2.25, 15.0])
def test_the_compiled_kernel_agrees_with_numpy(height, width, radius_px):
    tables = crowd(radius_px, height=height, width=width)
    found = by_numba(tables, PAIRS)
    assert np.array_equal(found, by_numpy(tables, PAIRS))
    assert found[1, ..., :-1].sum() == 0


def test_eight_discs_on_a_cell_are_255_and_more_stay_so(draw):
    tables = made_of([72] * 300, [72] * 300, radius_px=1.5)
    pairs = np.array([[[0, n]] for n in (1, 7, 8, 9, 300)])
    maps = draw(tables, pairs)
    assert maps[:, 4, 4, 0].tolist() == [32, 224, 255, 255, 255]
    rim = int(maps[0, 3, 3, 0])
    assert 0 < rim < 32 and maps[:, 3, 3, 0].tolist() == [min(n * rim, 255) for n in (1, 7, 8, 9, 300)]


def test_order_does_not_matter(draw):
    tables = crowd()
    order = np.concatenate([np.arange(250)[::-1], 250 + np.random.default_rng(1).permutation(250)])
    mixed = tables._replace(x=tables.x[order], y=tables.y[order], group=tables.group[order])
    pairs = np.array([[[0, 250], [250, 500], [0, 500], [3, 3]]])
    maps = draw(tables, pairs)
    assert np.array_equal(maps, draw(mixed, pairs))
    assert (maps == 255).any() and np.unique(maps).size > 50


def test_what_lies_outside_reaches_in_and_is_cut(draw):
    """A disc whose center is beyond an edge leaves the same in the map as in a wider one."""
    x = np.array([-8, 16 * 11 + 8, 50, 60, -8, 16 * 11 + 20, -100])
    y = np.array([50, 60, -8, 16 * 13 + 8, -8, 16 * 13 + 20, 50])
    pairs = np.array([[[e, e + 1]] for e in range(len(x))])
    cut = draw(made_of(x, y, radius_px=2.25), pairs)[..., 0]
    wide = draw(made_of(x + 160, y + 160, radius_px=2.25, height=33, width=31), pairs)[..., 0]
    assert np.array_equal(cut, wide[:, 10:23, 10:21])
    assert (cut.sum(axis=(1, 2)) > 0).tolist() == [True] * 6 + [False]
    assert (wide.sum(axis=(1, 2)) > cut.sum(axis=(1, 2))).all()


PLANTED = {
    "a sixteenth to the east": lambda t, p: (t._replace(x=t.x + 1), p),
    "a cell to the south": lambda t, p: (t._replace(y=t.y + 16), p),
    "row and column exchanged in the stamp": lambda t, p: (t._replace(stamp=t.stamp.transpose(1, 0, 2, 3).copy()), p),
    "the next group": lambda t, p: (t._replace(group=(t.group + 1) % GROUPS), p),
    "the step before": lambda t, p: (t, np.roll(p, 1, axis=1)),
    "one incident early": lambda t, p: (t, np.stack([p[..., 0], np.maximum(p[..., 0], p[..., 1] - 1)], axis=-1)),
    "a shade too light": lambda t, p: (t._replace(stamp=t.stamp - (t.stamp > 0)), p),
    "cut where the center is outside": lambda t, p: (
        t._replace(x=np.where((t.x < 0) | (t.y < 0) | (t.x >= 176) | (t.y >= 208), -9999, t.x)),
        p,
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_seen_in_the_inputs_that_engines_are_compared_on(name):
    tables = crowd()
    assert not np.array_equal(by_numba(*PLANTED[name](tables, PAIRS)), by_numpy(tables, PAIRS))


def test_sums_that_wrap_would_be_seen():
    tables = crowd()
    thin = tables._replace(stamp=(tables.stamp > 0).astype(np.uint8))  # fits without saturating
    assert (by_numpy(tables, PAIRS)[..., :-1] == 255).any() and by_numpy(thin, PAIRS)[..., :-1].max() < 255


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("offset", [0, 5])
def test_maps_that_go_past_the_caches_are_the_same_and_nothing_else_is_written(monkeypatch, offset, threads):
    city = random_city(16, events=2000)
    geometry = MapGeometry.around(BOX, BOX, height=13, width=11)
    style = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY")}, draw="discs", disc_radius_px=1.7)
    first = np.random.default_rng(16).integers(0, 1900, (35, 3))
    pairs = np.stack([first, first + 60], axis=2)
    expected = Rasterizer.channels(geometry, style, city.places, steps=3, backend="numpy").maps(pairs)
    rasterizer = Rasterizer.channels(geometry, style, city.places, steps=3)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        for most in (raster_cpu.CACHED_BYTES, 0):
            monkeypatch.setattr(raster_cpu, "CACHED_BYTES", most)
            memory = np.full(expected.size + 320, 7, np.uint8)
            begin = 128 + (offset - memory.ctypes.data) % 64
            out = memory[begin : begin + expected.size].reshape(expected.shape)
            rasterizer.fill(pairs, out)
            assert np.array_equal(out, expected)
            assert np.all(memory[:begin] == 7) and np.all(memory[begin + out.size :] == 7)
    finally:
        numba.set_num_threads(before)
