"""Resampling by hand: moved by whole and half pixels, mirrored, held at the border, rounded half upwards."""

import numpy as np
import pytest

from hews_gpu.kernels.warp_cpu import warp

ROW = np.array([10, 20, 40, 81], np.uint8)


def warped(row, along_x, shift, *, is_whole=True, dtype=np.uint8):
    """One row of one channel, whose pixel x is taken from along_x * x + shift."""
    maps = row.astype(dtype).reshape(1, 1, -1, 1)
    out = np.full_like(maps, 7)
    warp(maps, np.array([[[along_x, 0, shift], [0, 1, 0]]], np.float32), is_whole, out)
    return out.ravel().tolist()


@pytest.mark.parametrize(
    ("along_x", "shift", "expected"),
    [
        (1, 0, [10, 20, 40, 81]),
        (1, 1, [20, 40, 81, 81]),
        (1, -2, [10, 10, 10, 20]),
        (-1, 4, [81, 40, 20, 10]),
        (1, 0.5, [15, 30, 61, 81]),  # 60.5 is rounded upwards
        (1, 0.25, [13, 25, 50, 81]),
        (0.5, 0, [10, 13, 18, 25]),
        (1, 1e6, [81, 81, 81, 81]),
        (1, -1e6, [10, 10, 10, 10]),
    ],
)
def test_a_row_moved_by_hand(along_x, shift, expected):
    assert warped(ROW, along_x, shift) == expected


def test_real_numbers_are_not_rounded():
    assert warped(ROW, 1, 0.5, is_whole=False, dtype=np.float32) == [15.0, 30.0, 60.5, 81.0]


def test_channels_rows_and_maps_keep_apart():
    maps = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), dtype=np.uint8)
    matrices = np.tile(np.eye(2, 3, dtype=np.float32), (3, 1, 1))
    matrices[1, 1] = [0, -1, 4]  # the middle one upside down
    out = np.zeros_like(maps)
    warp(maps, matrices, True, out)
    np.testing.assert_array_equal(out, np.stack([maps[0], maps[1, ::-1], maps[2]]))
