"""Maps look like those that geopandas and matplotlib (Agg) draw of the same window, in the same place, at 72 dpi.

They are not the same pixel by pixel: Agg integrates a line's area where the basemap goes by the distance from its
middle, which differs on slanted lines and at corners. Measured: 0.40 to 0.43 levels of 255 on average, ink within 2 %.
"""

import numpy as np
import pytest

from benchmarks.inputs.matplotlib_maps import draw_with_matplotlib
from benchmarks.inputs.random_city import random_city, random_pairs
from hews_gpu.config import MapConfig

CONFIG = MapConfig(height=216, width=172)


def mean_difference(one, other):
    """Mean absolute difference in levels of 255, over all pixels."""
    return np.abs(one.astype(np.float64) - other).mean()


@pytest.fixture(scope="module")
def drawn():
    """Ours and matplotlib's maps of eight windows."""
    city = random_city(21, neighborhoods=25, events=300)
    rasterizer = city.reference(CONFIG)
    pairs = random_pairs(21, 300, 8, mean_incidents=10)
    theirs = [draw_with_matplotlib(city, rasterizer.geometry, first, last) for first, last in pairs]
    return rasterizer.maps(pairs), np.stack(theirs)


def test_the_mean_difference_is_below_half_a_level(drawn):
    for mine, other in zip(*drawn, strict=True):
        assert mean_difference(mine, other) < 0.5


def test_few_pixels_differ_by_much(drawn):
    for mine, other in zip(*drawn, strict=True):
        far = np.abs(mine.astype(int) - other).max(axis=2) > 40
        assert far.mean() < 0.005


def test_as_much_ink_lies_on_both_maps(drawn):
    for mine, other in zip(*drawn, strict=True):
        assert np.allclose((255.0 - mine).sum(axis=(0, 1)), (255.0 - other).sum(axis=(0, 1)), rtol=0.025)


def test_a_map_moved_by_one_pixel_is_much_further_away(drawn):
    for mine, other in zip(*drawn, strict=True):
        assert mean_difference(np.roll(mine, 1, axis=1), other) > 4


def test_another_window_is_further_away_than_the_right_one(drawn):
    ours, theirs = drawn
    far = [[mean_difference(mine, other) for other in theirs] for mine in ours]
    assert np.argmin(far, axis=1).tolist() == list(range(len(ours)))
