"""The integer arithmetic of a pixel against plain Python."""

import numpy as np

from hews_gpu.kernels.scalars import FIXED_BITS, FIXED_ONE, blend, saturated_increment, saturated_sum


def test_blend_is_the_rounded_weighted_mean_for_every_alpha_and_value():
    value = np.arange(256)
    for alpha in range(256):
        for below in (0, 1, 77, 128, 254, 255):
            exact = np.floor((below * (255 - alpha) + value * alpha) / 255 + 0.5)
            got = [blend(np.int32(below), np.int32(above), np.int32(alpha)) for above in value[::17]]
            assert got == exact[::17].tolist()


def test_the_division_by_shifts_is_exact_for_every_weighted_sum():
    weighted = np.arange(255 * 255 + 1)
    by_shifts = (weighted + 128 + ((weighted + 128) >> 8)) >> 8
    assert np.array_equal(by_shifts, (weighted + 127) // 255)
    assert (weighted + 128 + ((weighted + 128) >> 8)).max() < 2**16  # so 16-bit lanes hold it


def test_blend_with_alpha_0_and_255_gives_one_of_the_two():
    for value in range(256):
        assert blend(np.int32(value), np.int32(9), np.int32(0)) == value
        assert blend(np.int32(9), np.int32(value), np.int32(255)) == value


def test_a_count_stops_at_255():
    assert [saturated_increment(np.int32(count)) for count in (0, 1, 254, 255)] == [1, 2, 255, 255]


def test_a_sum_stops_at_255():
    for total in range(256):
        sums = [saturated_sum(np.int32(total), np.int32(more)) for more in range(256)]
        assert sums == [min(total + more, 255) for more in range(256)]


def test_a_pixel_has_sixteen_positions():
    assert (FIXED_BITS, FIXED_ONE) == (4, 16)  # stamps of discs are tables of 16 x 16
