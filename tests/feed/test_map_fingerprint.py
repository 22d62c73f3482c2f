"""What is written beside stored maps changes with whatever changes them, and with nothing else."""

import dataclasses

import numpy as np
import pytest

from benchmarks.inputs.random_city import random_city
from hews_gpu.config import MapConfig
from hews_gpu.feed.map_fingerprint import drawing_of
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle
from hews_gpu.raster.values import Values


@pytest.fixture(scope="module")
def city():
    return random_city(2, neighborhoods=8, events=50)


def test_the_table_of_values_and_the_backend_do_not_matter(city):
    config = MapConfig(height=30, width=24)
    plain = city.reference(config)
    assert drawing_of(plain) == drawing_of(plain.writing(Values.unit()))
    assert drawing_of(plain) == drawing_of(city.reference(config, backend="numpy"))


@pytest.mark.parametrize(
    "changed", [{"height": 31}, {"width": 25}, {"disc_radius_px": 2.0}, {"bounds": (-77, 39, -76, 40)}]
)
def test_settings_matter(city, changed):
    config = MapConfig(height=30, width=24)
    other = dataclasses.replace(config, **changed)
    assert drawing_of(city.reference(config)) != drawing_of(city.reference(other))


@pytest.mark.parametrize("name", ["x", "y", "color", "neighborhood", "coverage", "palette", "lit_color", "base"])
def test_each_table_matters(city, name):
    rasterizer = city.reference(MapConfig(height=30, width=24))
    before = drawing_of(rasterizer)
    getattr(rasterizer.tables, name).flat[0] ^= 1
    assert {key for key, value in drawing_of(rasterizer).items() if value != before[key]} == {"tables"}


def test_discs_are_other_maps_than_counts_and_than_broader_discs(city):
    geometry = MapGeometry.around(np.array([0.0, 0.0, 1.0, 1.0]), "auto", height=6, width=5)
    kinds = ({}, {"draw": "discs"}, {"draw": "discs", "disc_radius_px": 2.0})
    made = [Rasterizer.channels(geometry, ChannelsStyle(groups={}, **kind), city.places) for kind in kinds]
    assert len({drawing_of(rasterizer)["tables"] for rasterizer in made}) == 3


def test_counts_over_more_steps_are_made_of_the_same_maps(city):
    geometry = MapGeometry.around(np.array([0.0, 0.0, 1.0, 1.0]), "auto", height=6, width=5)
    made = {
        (steps, groups): Rasterizer.channels(
            geometry, ChannelsStyle(groups={"a": city.places.categories[:groups]}), city.places, steps=steps
        )
        for steps in (1, 4)
        for groups in (1, 2)
    }
    assert drawing_of(made[1, 1]) == drawing_of(made[4, 1]) != drawing_of(made[1, 2])
