"""What maps of channels show of layers: points and whole areas, in the step in which each row became known.

39.29 +---------+---------+
      |  West   |  East   |      maps have two rows of cells and four columns
39.28 +---------+---------+
   -76.62    -76.61    -76.60
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from hews_gpu.config import CityConfig
from hews_gpu.data.events import Events, LayerRows, Prepared
from hews_gpu.data.geometry.outlines import outlines_of
from hews_gpu.raster.rasterizer import channels_rasterizer
from hews_gpu.typed_toml import build
from hews_gpu.units import HOUR_S

CITY = {
    "city": {"name": "Toy", "timezone": "UTC"},
    "incidents": {"files": ["none.csv"], "targets": ["SHOOTING"]},
    "neighborhoods": {"file": "none.geojson", "name": "name"},
    "map": {"bounds": [-76.62, 39.28, -76.60, 39.29]},
    "channels": {"height": 2, "width": 4, "groups": {"shots": ["calls: shots"]}},
    "splits": {
        "train": ["2020-01-01", "2020-01-02"],
        "validation": ["2020-01-02", "2020-01-03"],
        "test": ["2020-01-03", "2020-01-04"],
    },
}


def layer(name: str, rows: list[tuple[float, float, str, float]], *, names_areas: bool = False) -> LayerRows:
    """Rows that happened and became known so many hours after 1970, of a kind, at a longitude, in the south."""
    happened, known, kinds, x = (np.array(column) for column in zip(*rows, strict=True))
    categories = tuple(sorted({*kinds.tolist()}))
    return LayerRows(
        name=name,
        time_s=(happened * HOUR_S).astype(np.int64),
        known_s=(known * HOUR_S).astype(np.int64),
        category=np.searchsorted(categories, kinds).astype(np.int16),
        neighborhood=(x > -76.61).astype(np.int16),
        longitude=x,
        latitude=np.full(len(x), 39.282),
        categories=categories,
        names_areas=names_areas,
    )


@pytest.fixture
def city():
    """One burglary, in the north-west, at one o'clock."""
    columns = {"longitude": np.array([-76.618]), "latitude": np.array([39.288]), "neighborhood": np.zeros(1, np.int16)}
    marks = {name: np.zeros(1, bool) for name in ("is_target", "is_duplicate", "is_twin")}
    when = {"time_s": np.array([HOUR_S]), "category": np.zeros(1, np.int16), "categories": ("BURGLARY",)}
    made = Prepared(Path(), build(CityConfig, CITY, section=""), Events(**when, **columns, **marks))
    boxes = shapely.box([-76.62, -76.61], 39.28, [-76.61, -76.60], 39.29)
    made.__dict__["outlines"] = outlines_of(shapely.to_wkb(boxes))
    return made


def drawn(city: Prepared, layers: list[LayerRows], until_h: float, backend: str = "numba", **channels):
    """Return the maps [H, X] by channel of all rows that may be shown before an hour."""
    config = replace(city.city, channels=replace(city.city.channels, **channels))
    rasterizer = channels_rasterizer(city.with_rows(city.events, layers, config), steps=1, backend=backend)
    last = int(np.searchsorted(rasterizer.shown_s, until_h * HOUR_S))
    counts = rasterizer.maps(np.array([[[0, last]]]))[0]
    return {name: counts[..., c].tolist() for c, name in enumerate(rasterizer.names)}


NOTHING = [[0] * 4, [0] * 4]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_row_is_shown_once_it_is_known_in_its_groups_channel_or_its_layers(city, backend):
    calls = layer("calls", [(0.5, 3.0, "SHOTS", -76.603), (0.6, 0.7, "NOISE", -76.612), (2.0, 5.0, "NOISE", -76.601)])
    assert drawn(city, [calls], 1.0, backend) == {"shots": NOTHING, "other": NOTHING, "calls": [[0] * 4, [0, 1, 0, 0]]}
    later = drawn(city, [calls], 3.5, backend)
    assert later["other"] == [[1, 0, 0, 0], [0] * 4] and later["calls"] == [[0] * 4, [0, 1, 0, 0]]
    assert later["shots"] == [[0] * 4, [0, 0, 0, 1]], "it happened at half past and was known at three"


def test_an_incident_with_a_span_is_shown_once_it_was_over(city):
    events = replace(city.events, span_s=np.array([2 * HOUR_S]))
    spanned = city.with_rows(events)
    assert drawn(spanned, [], 2.9)["other"] == NOTHING
    assert drawn(spanned, [], 3.1)["other"] == [[1, 0, 0, 0], [0] * 4]


def test_layers_have_channels_of_their_own_in_their_order(city):
    first, second = (layer(name, [(0, 0.1 + k, "A", -76.603)]) for k, name in enumerate(("zeta", "alpha")))
    maps = drawn(city, [first, second], 5.0)
    assert list(maps) == ["shots", "other", "zeta", "alpha"] and np.sum(maps["zeta"]) == np.sum(maps["alpha"]) == 1


def test_rows_that_name_areas_fill_them(city):
    """Two rows in East and one in West; where the middles of all cells lie on the border, in West, East is a point."""
    rows = [(0, 1, "A", -76.605), (0, 2, "A", -76.605), (0, 3, "B", -76.615)]
    maps = drawn(city, [layer("districts", rows, names_areas=True)], 9.0)
    assert maps["districts"] == [[1, 1, 2, 2], [1, 1, 2, 2]]
    maps = drawn(city, [layer("districts", rows, names_areas=True)], 2.5, height=2, width=1)
    assert maps["districts"] == [[0], [2]]


def test_without_layers_nothing_is_copied(city):
    assert channels_rasterizer(city, steps=1).shown_s is city.events.time_s
