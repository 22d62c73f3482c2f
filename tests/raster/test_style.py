"""Colors and groups by name; discs by area."""

import numpy as np
import pytest

from hews_gpu.config import ChannelsConfig, MapConfig
from hews_gpu.raster.style import FULL_DISC, QUALITATIVE, ChannelsStyle, ReferenceStyle, disc_stamps, stable_color


def test_a_city_names_colors_and_others_get_one_from_their_name_alone():
    style = ReferenceStyle.from_config(MapConfig(palette={"ARSON": "#FF7F0E"}))
    assert style.colors(["ARSON", "RAPE"])[0].tolist() == [255, 127, 14]
    assert style.color("RAPE") == stable_color("RAPE") in QUALITATIVE
    assert style.colors([]).shape == (0, 3)


def test_a_stable_color_is_the_same_in_every_run():
    """These were drawn once; a change here would recolor everybody's maps."""
    assert [stable_color(name) for name in GOLDEN] == list(GOLDEN.values())


GOLDEN = {"LARCENY": "#B15928", "": "#59A14F", "ROBO CON VIOLENCIA ÑÁ": "#EDC948"}


def test_groups_come_in_order_and_the_rest_is_other():
    style = ChannelsStyle.from_config(ChannelsConfig(groups={"a": ("X", "Y"), "b": ("Z",)}))
    assert style.names == ("a", "b", "other")
    assert style.group_of(["Z", "Q", "Y", "X"]).tolist() == [1, 2, 0, 0]
    assert ChannelsStyle(groups={}).group_of(["Z"]).tolist() == [0]


def test_counts_are_drawn_unless_a_city_asks_for_discs():
    counts, discs = (ChannelsStyle.from_config(ChannelsConfig(**keys)) for keys in ({}, {"draw": "discs"}))
    assert (counts.draw, discs.draw, discs.disc_radius_px) == ("counts", "discs", 1.0)
    assert ChannelsStyle.from_config(ChannelsConfig(draw="discs", disc_radius_px=2.5)).disc_radius_px == 2.5
    stamps = disc_stamps(1.5, FULL_DISC / 255)
    assert stamps.max() == FULL_DISC and 255 // FULL_DISC == 7  # the eighth saturates


@pytest.mark.parametrize("radius_px", [0.5, 1.0, 3.5, 8.25, 15.0])
def test_a_stamp_holds_the_whole_disc_wherever_its_center_is(radius_px):
    stamps = disc_stamps(radius_px, 1.0)
    side = stamps.shape[-1]
    assert stamps.shape == (16, 16, side, side)
    assert side == 2 * np.ceil(radius_px) + 1
    area = stamps.astype(float).sum(axis=(2, 3)) / 255
    assert np.allclose(area, np.pi * radius_px**2, rtol=0.015)


def test_stamps_mirror_and_move_as_their_centers_do():
    stamps = disc_stamps(3.5, 0.7)
    assert np.array_equal(stamps, stamps.transpose(1, 0, 3, 2))
    assert np.array_equal(stamps[8, 8], stamps[8, 8, ::-1, ::-1])
    for fraction in range(1, 16):
        assert np.array_equal(stamps[fraction, 8], stamps[16 - fraction, 8, ::-1])
    assert stamps.max() == 179  # 0.7 * 255, rounded
