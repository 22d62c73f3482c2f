"""Banks of transformed cities: outlines and discs go where the transform puts them, and nothing is warped."""

import dataclasses

import numpy as np
import pytest

from benchmarks.inputs.random_city import BOX, random_city
from hews_gpu.raster.bank import channels_bank, reference_bank
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.layers import density_layer
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle
from hews_gpu.raster.transform import Transform, random_transforms

CITY = random_city(41, neighborhoods=7, events=120)
SIDE = 32
GEOMETRY = MapGeometry(west=BOX[0], south=BOX[1], east=BOX[2], north=BOX[3], height=SIDE, width=SIDE)
STYLE = ReferenceStyle()
COUNTS = ChannelsStyle(groups={"violent": ("ASSAULT", "ROBBERY")})
ANYWHERE = dataclasses.replace(  # on no edge of a cell, which belongs to one side of it
    CITY.places,
    longitude=np.random.default_rng(1).uniform(BOX[0] - 0.01, BOX[2] + 0.01, 120),
    latitude=np.random.default_rng(2).uniform(BOX[1] - 0.01, BOX[3] + 0.01, 120),
)
PAIRS = np.array([[0, 0], [0, 120], [30, 41]])


def layers(shown):
    return {"calls": density_layer(shown, ANYWHERE.longitude[::3], ANYWHERE.latitude[::3])}


def pictures(transform, kind):
    """The maps as they are, and under the transform: variant 0 and 1 of one bank."""
    if kind == "reference":
        made = reference_bank(CITY.neighborhoods, GEOMETRY, STYLE, CITY.places, [transform])
        pairs = PAIRS
    else:
        made = channels_bank(GEOMETRY, COUNTS, ANYWHERE, [transform], layers=layers)
        pairs = PAIRS[:, None]
    return (made.maps(pairs, np.full(len(pairs), k, np.int32)) for k in (0, 1))


def about(**change):
    return Transform.about_middle(SIDE, SIDE, **change)


EXACT = {
    "nothing": (about(), lambda maps: maps),
    "a quarter turn": (about(rotation_deg=90), lambda maps: np.rot90(maps, -1, axes=(1, 2))),
    "half a turn": (about(rotation_deg=180), lambda maps: np.flip(maps, (1, 2))),
    "mirrored": (about(left_right=True), lambda maps: np.flip(maps, 2)),
    "upside down": (about(up_down=True), lambda maps: np.flip(maps, 1)),
}


@pytest.mark.parametrize("kind", ["reference", "channels"])
@pytest.mark.parametrize("name", EXACT)
def test_what_a_picture_can_be_turned_by_without_a_blur_is_that_picture(name, kind):
    transform, by_numpy = EXACT[name]
    plain, made = pictures(transform, kind)
    assert np.array_equal(made, by_numpy(plain))
    if name != "nothing":
        assert not np.array_equal(made, plain)


@pytest.mark.parametrize("kind", ["reference", "channels"])
def test_whole_pixels_are_a_shift_of_the_picture(kind):
    plain, made = pictures(about(right_px=5, down_px=-3), kind)
    assert np.array_equal(made[:, : SIDE - 8, 8:], plain[:, 3 : SIDE - 5, 3 : SIDE - 5])


def test_lines_stay_as_fine_and_discs_as_large_however_a_city_is_turned():
    """A turned square's outline covers as many pixels; a picture that is warped would smear it over more."""
    made = reference_bank(CITY.neighborhoods, GEOMETRY, STYLE, CITY.places, [about(rotation_deg=37), about(zoom=0.5)])
    ink = [(255.0 - tables.base).sum() for tables in made.bank]
    assert abs(ink[1] / ink[0] - 1) < 0.1  # corners leave the map, and it shows no more than it did
    assert 0.4 < ink[2] / ink[0] < 0.75  # half as long
    assert all(np.array_equal(tables.stamp, made.bank[0].stamp) for tables in made.bank)


def test_points_lie_where_their_outlines_do():
    """Incidents on corners of polygons stay on the turned corners: both are moved by the same numbers."""
    corners = np.array(CITY.neighborhoods.geometry[0].exterior.coords[:-1])
    count = len(corners)
    places = dataclasses.replace(
        CITY.places,
        **{name: np.zeros(count, np.int16) for name in ("category", "neighborhood")},
        longitude=corners[:, 0].copy(),
        latitude=corners[:, 1].copy(),
    )
    wild = random_transforms(6, 3, height=SIDE, width=SIDE, rotation_deg=180, shift=0.2, zoom=0.4, shear_deg=30)
    made = reference_bank(CITY.neighborhoods, GEOMETRY, STYLE, places, wild)
    seen = 0
    for tables in made.bank:
        owned = np.zeros(SIDE * SIDE, bool)
        owned[np.repeat(tables.pixel, np.diff(tables.start))[tables.owner == 0]] = True
        column, row = tables.x >> 4, tables.y >> 4
        inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
        assert owned[(row * SIDE + column)[inside]].all()
        seen += inside.sum()
    assert seen > 2 * count


def test_a_bank_draws_each_window_as_a_rasterizer_of_its_own_would():
    transforms = random_transforms(3, 9, height=SIDE, width=SIDE, rotation_deg=40, shift=0.2, shear_deg=20, zoom=0.2)
    bank = reference_bank(CITY.neighborhoods, GEOMETRY, STYLE, CITY.places, transforms)
    variants = np.array([2, 0, 3], np.int32)
    maps = bank.maps(PAIRS, variants)
    for w, k in enumerate(variants):
        alone = Rasterizer([bank.bank[k]], GEOMETRY, bank.names, neighborhoods=7)
        assert np.array_equal(maps[w], alone.maps(PAIRS[w : w + 1])[0])
    assert len(bank.bank) == 4 and bank.backend == "numba"
