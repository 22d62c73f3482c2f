"""Static layers: outlines, long-run intensity that knows no future, and any other points."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.inputs.random_city import BOX, random_city
from hews_gpu.config import MapConfig
from hews_gpu.raster.bank import channels_bank
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.layers import density_layer, intensity_layer, outline_layer, static_layers
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle

UNIT = MapGeometry(west=0, south=0, east=4, north=3, height=3, width=4)
CITY = random_city(51, neighborhoods=6, events=200)


def test_counts_are_on_a_log_scale_up_to_the_fullest_cell():
    longitude = np.array([0.5] * 7 + [3.5] + [1.5] * 3 + [9.0, np.nan])
    latitude = np.array([2.5] * 7 + [0.5] + [1.5] * 3 + [1.0, 1.0])
    expected = np.zeros((3, 4))
    expected[0, 0], expected[2, 3], expected[1, 1] = 255, 85, 170  # log2 of 8, 2 and 4 is 3, 1 and 2
    assert np.array_equal(density_layer(UNIT, longitude, latitude), expected)
    assert not density_layer(UNIT, longitude[:0], latitude[:0]).any()


def test_outlines_are_the_broadest_of_each_cell():
    basemap = Basemap.build(CITY.neighborhoods, MapConfig(height=30, width=24))
    layer = outline_layer(basemap)
    pixel = np.repeat(basemap.pixel, np.diff(basemap.start))
    for at in range(30 * 24):
        assert layer.flat[at] == max(basemap.coverage[pixel == at], default=0)


def prepared(train_end_s=154):
    """A city whose incident n happens at second n; every fifth repeats another, every seventh is a target."""
    places, number = CITY.places, np.arange(200)
    events = SimpleNamespace(
        time_s=number,
        longitude=places.longitude,
        latitude=places.latitude,
        is_duplicate=number % 5 == 1,
        is_target=number % 7 == 0,
    )
    config = SimpleNamespace(splits=SimpleNamespace(span_s=lambda split: (0, train_end_s)), map=MapConfig())
    return SimpleNamespace(events=events, city=config, neighborhoods=CITY.neighborhoods)


@pytest.mark.parametrize("only_targets", [False, True])
def test_intensity_knows_nothing_after_training_and_counts_repeats_once(only_targets):
    geometry = MapGeometry.around(BOX, "auto", height=6, width=5)
    known = np.array([n for n in range(154) if n % 5 != 1 and (n % 7 == 0 or not only_targets)])
    expected = density_layer(geometry, CITY.places.longitude[known], CITY.places.latitude[known])
    assert np.array_equal(intensity_layer(prepared(), geometry, only_targets=only_targets), expected)
    assert not np.array_equal(intensity_layer(prepared(200), geometry, only_targets=only_targets), expected)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_layers_lie_behind_the_counts_of_every_window_and_turn_with_a_bank(backend):
    geometry = MapGeometry.around(BOX, "auto", height=6, width=5)
    calls = {"calls for service": (CITY.places.longitude[::4], CITY.places.latitude[::4])}
    made = static_layers(prepared(), geometry, calls)
    assert list(made) == ["outlines", "intensity", "target-intensity", "calls for service"]
    style = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY")})
    one = Rasterizer.channels(geometry, style, CITY.places, steps=2, layers=made, backend=backend)
    assert one.names[-4:] == tuple(made) and one.shape == (6, 5, 8)
    maps = one.maps(np.array([[[0, 0], [0, 90]], [[5, 9], [9, 9]]]))
    for c, layer in enumerate(made.values()):
        assert np.array_equal(maps[..., 4 + c], np.stack([layer, layer]))
    bank = channels_bank(geometry, style, CITY.places, [], layers=lambda shown: static_layers(prepared(), shown, calls))
    assert np.array_equal(bank.maps(np.array([[[0, 90]]]))[..., 2:], maps[:1, ..., 4:])


def test_a_taken_name_is_refused():
    with pytest.raises(ValueError, match="'outlines' is taken"):
        static_layers(prepared(), UNIT, {"outlines": (np.zeros(1), np.zeros(1))})
    assert outline_layer(Basemap.from_geometry(CITY.neighborhoods, UNIT, ReferenceStyle())).shape == (3, 4)
