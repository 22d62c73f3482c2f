"""The NumPy reference is right: against a map drawn by hand, a supersampled drawing in floats, and plain loops."""

import numpy as np
import pytest

from hews_gpu.kernels import reference_numpy
from hews_gpu.kernels.tables import ChannelsTables, ReferenceTables
from hews_gpu.raster.style import disc_stamps

SIDE = 33


def tables(*, base=None, x=(), y=(), color=(), neighborhood=None, palette=((0, 0, 255),), radius_px=3.5, border=()):
    """Tables of a white map, or of `base`; `border` holds (pixel, owner, coverage) in order of pixel, then owner."""
    base = np.full((SIDE, SIDE, 3), 255, np.uint8) if base is None else base
    pixel, owner, coverage = np.array(border, np.int64).reshape(-1, 3).T
    pixels, counts = np.unique(pixel, return_counts=True)
    count = len(x)
    return ReferenceTables(
        base=base,
        pixel=pixels.astype(np.int32),
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        owner=owner.astype(np.int32),
        coverage=coverage.astype(np.uint8),
        lit_color=np.array([255, 0, 0], np.uint8),
        x=np.array(x, np.int32),
        y=np.array(y, np.int32),
        color=np.array(color or [0] * count, np.uint8),
        neighborhood=np.array([-1] * count if neighborhood is None else neighborhood, np.int16),
        palette=np.array(palette, np.uint8),
        stamp=disc_stamps(radius_px, 0.7),
    )


def draw(made, pairs):
    out = np.empty((len(pairs), *made.base.shape), np.uint8)
    reference_numpy.fill_reference(made, np.array(pairs, np.int64), out)
    return out


def test_a_map_drawn_by_hand():
    """Two areas share the middle column; the incident lies in the left one, in the middle of its pixel.

    Left area 0 owns columns 0 and 2, right area 1 columns 2 and 4. Column 2 is half covered by each, so its black is
    255 * 0.75 * 0.75 = 143. A disc of radius 1/2 covers pi/4 = 0.7854 of the one pixel it is in: alpha 140.
    """
    base = np.full((3, 5, 3), 255, np.uint8)
    base[:, (0, 4)], base[:, 2] = 128, 143
    border = [(5 * row + column, owner, 255 if column in (0, 4) else 128)
              for row in range(3) for column, owner in ((0, 0), (2, 0), (2, 1), (4, 1))]  # fmt: skip
    made = tables(base=base, x=[24], y=[24], neighborhood=[0], palette=[(0, 0, 0)], radius_px=0.5, border=border)
    empty, one = draw(made, [[0, 0], [0, 1]])
    assert np.array_equal(empty, base)
    red, mixed, gray = [255, 0, 0], [199, 71, 71], [128, 128, 128]  # 143 + (255 - 143) * 128 / 255; 143 * 127 / 255
    disc = [255 - 140] * 3
    row = [red, [255] * 3, mixed, [255] * 3, gray]
    assert one.tolist() == [row, [red, disc, mixed, [255] * 3, gray], row]


def supersampled(made, incidents, radius_px, per_pixel=32):
    """Discs over the base in float64, coverage counted on a grid of per_pixel x per_pixel points in each pixel."""
    height, width, _ = made.base.shape
    map_ = made.base.astype(np.float64)
    fine_y = (np.arange(height * per_pixel) + 0.5) / per_pixel
    fine_x = (np.arange(width * per_pixel) + 0.5) / per_pixel
    for e in incidents:
        inside = np.hypot(fine_y[:, None] - made.y[e] / 16, fine_x[None] - made.x[e] / 16) <= radius_px
        coverage = inside.reshape(height, per_pixel, width, per_pixel).mean(axis=(1, 3))
        alpha = 0.7 * coverage[..., None]
        map_ = map_ * (1 - alpha) + made.palette[made.color[e]] * alpha
    return map_


@pytest.mark.parametrize("radius_px", [0.5, 1.0, 2.2, 3.5, 7.3, 15.0])
def test_one_disc_is_within_two_levels_of_a_supersampled_one(radius_px):
    random = np.random.default_rng(0)
    for x, y in [(264, 264), (256, 256), (0, 0), (263, 527), *random.integers(-40, 560, (8, 2)).tolist()]:
        made = tables(x=[x], y=[y], palette=[(0, 80, 10)], radius_px=radius_px)
        exact = supersampled(made, [0], radius_px)
        assert np.abs(draw(made, [[0, 1]])[0] - exact).max() <= 2.0


def test_six_overlapping_discs_are_within_two_levels_of_supersampled_ones():
    random = np.random.default_rng(1)
    palette = random.integers(0, 256, (6, 3))
    for _ in range(6):
        x, y = random.integers(180, 340, (2, 6))
        made = tables(x=x, y=y, color=list(range(6)), palette=palette)
        difference = np.abs(draw(made, [[0, 6]])[0] - supersampled(made, range(6), 3.5))
        assert difference.max() <= 2.0
        assert difference.mean() < 0.1


def test_the_last_incident_lies_on_top():
    made = tables(x=[264, 264], y=[264, 264], color=[0, 1], palette=[(0, 0, 0), (200, 100, 0)])
    below = 255 * (1 - 0.7)
    top = [below * 0.3 + value * 0.7 for value in (200, 100, 0)]
    assert np.abs(draw(made, [[0, 2]])[0, 16, 16] - top).max() <= 1


def test_a_lit_outline_lies_over_black_and_under_discs():
    border = [(16 * SIDE + 16, 0, 255)]
    base = np.full((SIDE, SIDE, 3), 255, np.uint8)
    base[16, 16] = 128
    made = tables(base=base, x=[264, 264], y=[264, 16], neighborhood=[-1, 0], border=border)
    under_disc, no_disc = draw(made, [[0, 2], [1, 2]])[:, 16, 16]
    assert no_disc.tolist() == [255, 0, 0]
    assert under_disc.tolist() == [76, 0, 179]  # 255 * 76 / 255 and 255 * 179 / 255: alpha 0.7 is 179 of 255


def test_an_incident_that_belongs_nowhere_lights_nothing():
    made = tables(x=[-9999], y=[-9999], border=[(0, 0, 255), (1, 1, 255)])
    assert np.array_equal(draw(made, [[0, 1]])[0], made.base)


def test_counts_match_a_plain_loop():
    random = np.random.default_rng(2)
    made = ChannelsTables(
        cell=random.integers(-1, 6, 900).astype(np.int32),
        group=random.integers(0, 3, 900).astype(np.uint8),
        groups=3,
        base=np.zeros((2, 3, 9), np.uint8),
    )
    pairs = np.array([[[0, 900], [5, 5], [10, 40]], [[40, 41], [0, 0], [899, 900]]])
    out = np.full((2, 2, 3, 9), 99, np.uint8)
    reference_numpy.fill_channels(made, pairs, out)
    expected = np.zeros((2, 2, 3, 9), int)
    for b in range(2):
        for t in range(3):
            for e in range(*pairs[b, t]):
                if made.cell[e] >= 0:
                    row, column = divmod(int(made.cell[e]), 3)
                    expected[b, row, column, 3 * t + made.group[e]] += 1
    assert np.array_equal(out, np.minimum(expected, 255))
