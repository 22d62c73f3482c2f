"""A planted layer on maps: its rows in the channels that incidents of their kinds would have."""

import numpy as np
import pytest

from hews_gpu.raster.rasterizer import channels_rasterizer
from studies.layer_maps import judge, on_maps
from studies.layers import planted


@pytest.fixture(scope="module")
def city():
    return planted("strong", years=1)


def test_rows_of_the_layer_are_in_the_channels_of_their_kinds(city):
    (layer,) = city.layers
    rasterizer = channels_rasterizer(on_maps(city, layer).prepared, steps=1)
    counts = rasterizer.maps(np.array([[[1000, 1100]]]))[0].sum(axis=(0, 1))
    by_name = dict(zip(rasterizer.names, counts.tolist(), strict=True))
    assert sum(by_name.values()) == 100 and [*by_name][-2:] == ["other", "context"]
    assert by_name["larceny"] > 10 and by_name["context"] > 0 == by_name["other"]
    assert len(on_maps(city, None).prepared.layers) == 0


@pytest.mark.nightly
def test_a_layer_that_foretells_is_found_on_maps():
    result = judge("strong", 2)
    assert result["foretells"]["added_bits"]["value"] > 0.01
    assert result["random"]["added_to_the_stack_bits"]["value"] > -0.0003
