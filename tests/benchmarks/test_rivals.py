"""Every installed library draws what we draw; an outline, a disc or a step of a pixel too many is seen."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from benchmarks.inputs.cities import WindowedCity
from benchmarks.rivals import race, scene
from benchmarks.rivals.race import BOUND, RED_CHANGE, red_shares, require_same, sameness
from benchmarks.rivals.reference import NAME, ReferencePath
from hews_gpu.raster.style import ReferenceStyle
from tests.inputs.random_city import outlines_of, random_city, random_pairs

WINDOWS = 4


class Toy:
    """Twelve areas and windows of four incidents, all within their areas; and all that can draw them."""

    def __init__(self):
        city = random_city(3, neighborhoods=12, events=400)
        pairs = random_pairs(3, 400, 200, mean_incidents=4)
        style = ReferenceStyle(palette={"SHOOTING": "#D62728"})
        self.work = WindowedCity("toy", city.neighborhoods, outlines_of(city.neighborhoods), city.places, pairs, style)
        self.pairs = self.work.plain_windows(WINDOWS)
        self.rasterizer = self.work.rasterizer()
        self.tables = self.rasterizer.tables
        self.maps = self.rasterizer.maps(self.pairs)
        self.scene = scene.scene_of(self.work, self.rasterizer.geometry)
        self.ways = scene.rivals(self.scene)

    def check(self, ways):
        return sameness(ways, self.scene, self.tables, self.pairs, self.maps)

    def ours(self, first, last, out):
        self.rasterizer.fill(np.array([[first, last]]), out[None])


@pytest.fixture(scope="module")
def toy():
    return Toy()


def test_every_installed_library_draws_what_we_draw(toy, tmp_path):
    reference = ReferencePath(toy.work, toy.rasterizer.geometry, tmp_path)
    found = toy.check({**toy.ways, NAME: reference.draw})
    require_same(found)
    assert all(row["discs"] == (toy.pairs[:, 1] - toy.pairs[:, 0]).sum() for row in found.values())
    assert found[NAME]["mean_difference"] < 0.7


def test_the_outlines_of_areas_with_an_incident_are_red_and_of_others_what_they_share(toy):
    areas = toy.work.neighborhoods.geometry.to_numpy()
    for (first, last), picture in zip(toy.pairs, toy.maps, strict=True):
        lit = toy.scene.lit(first, last)
        red = red_shares(picture, toy.tables, first, last)
        assert np.isfinite(red).sum() >= 10
        around = shapely.union_all([areas[n].boundary.buffer(1e-7) for n in lit])
        for n in np.flatnonzero(np.isfinite(red)):
            shared = areas[n].boundary.intersection(around).length / areas[n].boundary.length
            assert red[n] > 0.95 if n in lit else abs(red[n] - shared) < 0.25


def test_our_own_maps_differ_from_ours_by_nothing(toy):
    found = toy.check({"ours": toy.ours})["ours"]
    assert found["mean_difference"] == 0 and found["discs_found"] == found["discs"] > 8


def without_a_disc(toy, first, last, out):
    toy.ours(first + 1, last, out)
    lost = int(toy.tables.neighborhood[first])
    if lost not in toy.scene.lit(first + 1, last):
        _light(toy, lost, out)


def _light(toy, area, out):
    """Outline an area, as if its incident were there."""
    owned = toy.tables.owner == area
    pixel = np.repeat(toy.tables.pixel, np.diff(toy.tables.start))[owned & (toy.tables.coverage >= 128)]
    out.reshape(-1, 3)[pixel] = (255, 0, 0)


def with_an_area_too_many(toy, first, last, out):
    toy.ours(first, last, out)
    for area in range(12):
        if area not in toy.scene.lit(first, last):
            _light(toy, area, out)


def without_red(toy, first, last, out):
    toy.ours(first, last, out)
    red = (out[..., 0] > 150) & (out[..., 1] < 120) & (out[..., 2] < 120)
    out[red] = 64


def a_pixel_away(toy, first, last, out):
    toy.ours(first, last, out)
    out[:] = np.roll(out, 1, axis=1)


def in_wrong_colors(toy, first, last, out):
    toy.ours(first, last, out)
    for x, y in zip(toy.tables.x[first:last] >> 4, toy.tables.y[first:last] >> 4, strict=True):
        out[y - 2 : y + 3, x - 2 : x + 3] = out[y - 2 : y + 3, x - 2 : x + 3, ::-1] // 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (without_a_disc, "discs are missing"),
        (with_an_area_too_many, "red|differ"),
        (without_red, "red|differ"),
        (a_pixel_away, "differ"),
        (in_wrong_colors, "missing"),
    ],
)
def test_a_planted_difference_is_caught(toy, wrong, words):
    found = toy.check({"wrong": lambda first, last, out: wrong(toy, first, last, out)})
    with pytest.raises(AssertionError, match=words):
        require_same(found)


def test_one_red_outline_too_many_is_seen_even_where_the_pictures_differ_by_little(toy):
    first, last = (int(i) for i in toy.pairs[0])
    dark = int(np.nanargmin(red_shares(toy.maps[0], toy.tables, first, last)))

    def wrong(begin, end, out):
        toy.ours(begin, end, out)
        if begin == first:
            _light(toy, dark, out)

    found = toy.check({"wrong": wrong})
    assert found["wrong"]["mean_difference"] < BOUND and found["wrong"]["red_change"] > RED_CHANGE
    with pytest.raises(AssertionError, match="other areas are red"):
        require_same(found)


def test_what_is_not_installed_is_left_out_with_a_line(toy, monkeypatch, capsys):
    known = scene.find_spec
    monkeypatch.setattr(scene, "find_spec", lambda name: None if name == "cv2" else known(name))
    ways = scene.rivals(toy.scene)
    assert list(ways) == ["datashader, cached base"]
    assert capsys.readouterr().err == "raster: opencv is left out, as cv2 is not installed\n"


def test_a_race_gives_everybody_a_rate_and_a_ratio(toy):
    ways = {name: draw for name, draw in toy.ways.items() if name.startswith("OpenCV")}
    pairs = np.concatenate([toy.pairs] * 16)
    rows = race.race(toy.rasterizer, ways, pairs, rounds=3, seconds=0.01)
    assert list(rows) == [race.OURS, race.REUSING, *ways]
    assert rows[race.OURS]["ratios"][race.OURS]["median"] == 1 and rows[race.OURS]["windows"] == len(pairs)
    for row in rows.values():
        assert all(ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in row["ratios"].values())
        assert row["maps_per_s"] > 0 and 2 <= row["windows"] <= len(pairs)


def test_ours_and_others_fill_a_reused_batch_alike(toy):
    """Seven windows, a batch of three: in it are left the seventh, the fifth and the sixth."""
    pairs, one, other = np.resize(toy.pairs, (7, 2)), *np.zeros((2, 3, 216, 172, 3), np.uint8)
    race.fill_all(toy.rasterizer, pairs, one)
    race.draw_all(toy.ours, pairs, other)
    assert np.array_equal(one, other) and one.any(axis=(1, 2, 3)).all()
