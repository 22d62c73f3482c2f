"""What a Rasterizer refuses, its shape and fingerprint, and that it leaves other memory alone."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from hews_gpu.config import MapConfig
from hews_gpu.errors import UserError
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.output import Values
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle
from tests.inputs.random_city import BOX, random_city

CITY = random_city(1, neighborhoods=5, events=50)
CONFIG = MapConfig(height=20, width=16)
GEOMETRY = MapGeometry.around(BOX, BOX, height=6, width=5)
STYLE = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY")})


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    return request.param


@pytest.fixture
def reference(backend):
    return CITY.reference(CONFIG, backend=backend)


@pytest.fixture
def channels(backend):
    return Rasterizer.channels(GEOMETRY, STYLE, CITY.places, steps=3, backend=backend)


def test_it_says_what_a_map_is(reference, channels):
    assert reference.shape == (20, 16, 3) and reference.names == ("red", "green", "blue") and reference.steps == 0
    assert channels.shape == (6, 5, 6) and channels.steps == 3
    assert channels.names == ("violent-3", "other-3", "violent-2", "other-2", "violent-1", "other-1")
    assert Rasterizer.channels(GEOMETRY, STYLE, CITY.places).names == ("violent", "other")


@pytest.mark.parametrize(
    "pairs",
    [
        np.zeros((2, 2), np.int32),
        np.zeros((2, 3), np.int64),
        np.zeros(2, np.int64),
        np.zeros((2, 1, 2), np.int64),
        np.array([[-1, 3]]),
        np.array([[4, 3]]),
        np.array([[0, 51]]),
        np.array([[0, 1], [2**40, 2**40]]),
    ],
)
def test_pairs_that_make_no_sense_are_refused_before_anything_is_drawn(reference, pairs):
    out = np.full((2, *reference.shape), 7, np.uint8)
    with pytest.raises(ValueError, match="pairs"):
        reference.fill(pairs, out)
    assert np.all(out == 7)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 2), (2, 4, 2), (2, 3, 3)])
def test_counts_want_a_pair_per_step(channels, shape):
    with pytest.raises(ValueError, match=r"int64\[B, 3, 2\]|\(2, 3, 3\)"):
        channels.fill(np.zeros(shape, np.int64), np.zeros((2, *channels.shape), np.uint8))


def test_a_wrong_output_is_refused(reference):
    pairs = np.zeros((2, 2), np.int64)
    right = (2, *reference.shape)
    frozen = np.zeros(right, np.uint8)
    frozen.flags.writeable = False
    for out in (
        np.zeros(right, np.int8),
        np.zeros((3, *reference.shape), np.uint8),
        np.zeros((2, 20, 16, 4), np.uint8),
    ):
        with pytest.raises(ValueError, match="out: is"):
            reference.fill(pairs, out)
    for out in (
        frozen,
        np.zeros((*right[:-1], 6), np.uint8)[..., ::2],
        np.zeros((2, 16, 20, 3), np.uint8).swapaxes(1, 2),
    ):
        with pytest.raises(ValueError, match="contiguous and writable"):
            reference.fill(pairs, out)


def test_nothing_outside_the_given_batch_is_written(reference, channels):
    for rasterizer in (reference, channels):
        wide = np.full((5, *rasterizer.shape), 7, np.uint8)
        pairs = np.zeros((3, 2) if rasterizer.steps == 0 else (3, 3, 2), np.int64)
        pairs[..., 1] = 50
        rasterizer.fill(pairs, wide[1:4])
        assert np.all(wide[[0, 4]] == 7)
        assert np.array_equal(wide[1], wide[3])


def test_an_empty_batch_is_no_work(reference, channels):
    reference.fill(np.zeros((0, 2), np.int64), np.zeros((0, *reference.shape), np.uint8))
    channels.fill(np.zeros((0, 3, 2), np.int64), np.zeros((0, *channels.shape), np.uint8))


def test_a_memory_map_that_does_not_start_on_a_word_is_filled_like_any_other(reference):
    pairs = np.array([[0, 50]])
    size = int(np.prod(reference.shape))
    shifted = np.zeros(size + 3, np.uint8)[3:].reshape(1, *reference.shape)
    reference.fill(pairs, shifted)
    assert np.array_equal(shifted, reference.maps(pairs))


def test_a_city_without_incidents_still_has_empty_maps(backend):
    nobody = random_city(1, events=0)
    maps = nobody.reference(CONFIG, backend=backend).maps(np.zeros((2, 2), np.int64))
    assert maps.min() < 255 and np.array_equal(maps[0], maps[1])
    counts = Rasterizer.channels(GEOMETRY, STYLE, nobody.places, backend=backend).maps(np.zeros((1, 1, 2), np.int64))
    assert counts.sum() == 0


def test_columns_that_do_not_fit_together_are_refused():
    for change, name in [
        ({"latitude": np.zeros(3)}, "latitude"),
        ({"category": np.zeros(50)}, "category"),
        ({"category": np.full(50, 6, np.int16)}, "category"),
        ({"hidden": np.zeros(49, bool)}, "hidden"),
    ]:
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(CITY.places, **change)
    stray = dataclasses.replace(CITY.places, neighborhood=np.full(50, 5, np.int16))
    with pytest.raises(ValueError, match=r"neighborhood: holds 5..5, must be -1..4"):
        type(CITY)(CITY.neighborhoods, stray).reference(CONFIG)


def test_an_unknown_backend_is_a_users_mistake():
    with pytest.raises(UserError, match="Did you mean 'numba'"):
        CITY.reference(CONFIG, backend="nunba")


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps = 0"):
        Rasterizer.channels(GEOMETRY, STYLE, CITY.places, steps=0)


def test_two_threads_draw_one_after_the_other(monkeypatch):
    """Two rasterizers, too: a threading layer of numba's is shared by all."""
    made = [CITY.reference(CONFIG, backend="numba") for _ in range(2)]
    inside, most = [], []

    def draw(layout, pairs, out):
        inside.append(out)
        time.sleep(0.02)
        most.append(len(inside))
        inside.pop()

    monkeypatch.setattr("hews_gpu.kernels.raster_cpu.draw", draw)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: made[k % 2].maps(np.zeros((1, 2), np.int64)), range(8)))
    assert most == [1] * 8


def test_pairs_may_lie_in_memory_in_any_way_and_be_torchs(reference):
    pairs = np.array([[0, 9], [1, 1], [5, 50], [3, 4]])
    maps = reference.maps(pairs)
    assert np.array_equal(reference.maps(np.asfortranarray(pairs)), maps)
    assert np.array_equal(reference.maps(pairs[::2]), maps[::2])
    out = np.zeros_like(maps)
    reference.fill(torch.from_numpy(pairs), out)
    assert np.array_equal(out, maps)


# What is written beside stored maps changes with whatever changes them, and with nothing else.


@pytest.fixture(scope="module")
def city():
    return random_city(2, neighborhoods=8, events=50)


def test_the_table_of_values_and_the_backend_do_not_matter(city):
    config = MapConfig(height=30, width=24)
    plain = city.reference(config)
    assert plain.fingerprint() == plain.writing(Values.unit()).fingerprint()
    assert plain.fingerprint() == city.reference(config, backend="numpy").fingerprint()


@pytest.mark.parametrize(
    "changed", [{"height": 31}, {"width": 25}, {"disc_radius_px": 2.0}, {"bounds": (-77, 39, -76, 40)}]
)
def test_settings_matter(city, changed):
    config = MapConfig(height=30, width=24)
    other = dataclasses.replace(config, **changed)
    assert city.reference(config).fingerprint() != city.reference(other).fingerprint()


@pytest.mark.parametrize("name", ["x", "y", "color", "neighborhood", "coverage", "palette", "lit_color", "base"])
def test_each_table_matters(city, name):
    rasterizer = city.reference(MapConfig(height=30, width=24))
    before = rasterizer.fingerprint()
    getattr(rasterizer.tables, name).flat[0] ^= 1
    assert {key for key, value in rasterizer.fingerprint().items() if value != before[key]} == {"tables"}


def test_discs_are_other_maps_than_counts_and_than_broader_discs(city):
    geometry = MapGeometry.around(np.array([0.0, 0.0, 1.0, 1.0]), "auto", height=6, width=5)
    kinds = ({}, {"draw": "discs"}, {"draw": "discs", "disc_radius_px": 2.0})
    made = [Rasterizer.channels(geometry, ChannelsStyle(groups={}, **kind), city.places) for kind in kinds]
    assert len({rasterizer.fingerprint()["tables"] for rasterizer in made}) == 3


def test_counts_over_more_steps_are_made_of_the_same_maps(city):
    geometry = MapGeometry.around(np.array([0.0, 0.0, 1.0, 1.0]), "auto", height=6, width=5)
    made = {
        (steps, groups): Rasterizer.channels(
            geometry, ChannelsStyle(groups={"a": city.places.categories[:groups]}), city.places, steps=steps
        )
        for steps in (1, 4)
        for groups in (1, 2)
    }
    assert made[1, 1].fingerprint() == made[4, 1].fingerprint() != made[1, 2].fingerprint()
