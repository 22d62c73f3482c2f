"""Maps resampled by an affine transformation on the CPU, all channels of a pixel at once.

Bilinear between the middles of four pixels; beyond the border the border's own value. Threads share the rows of all
maps, so that a batch of a few maps uses all of them.

Shapes: B batch, H rows, X columns, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import prange, threads

__all__ = ["warp"]


@threads
def warp(maps: NDArray[Any], matrices: NDArray[np.float32], is_whole: bool, out: NDArray[Any]) -> None:
    """Write the resampled maps.

    Args:
        maps: uint8 or float32 [B, H, X, C].
        matrices: [B, 2, 3] where the point (x, y, 1) of `out` lies in `maps`, in pixels from the upper left corner.
        is_whole: round to the nearest whole number, half upwards.
        out: [B, H, X, C] of the dtype of `maps`, other memory.
    """
    batch, height, width, channels = maps.shape
    half, one = np.float32(0.5), np.float32(1.0)
    right, low = np.float32(width - 1), np.float32(height - 1)
    for line in prange(batch * height):
        b, row = line // height, line % height
        matrix, source, target = matrices[b], maps[b], out[b, row]
        y = np.float32(row) + half
        along_x = matrix[0, 1] * y + matrix[0, 2] - half
        along_y = matrix[1, 1] * y + matrix[1, 2] - half
        for column in range(width):
            x = np.float32(column) + half
            u = min(max(matrix[0, 0] * x + along_x, np.float32(0.0)), right)
            v = min(max(matrix[1, 0] * x + along_y, np.float32(0.0)), low)
            left, top = int(u), int(v)
            next_column, next_row = min(left + 1, width - 1), min(top + 1, height - 1)
            u, v = u - np.float32(left), v - np.float32(top)
            for c in range(channels):
                above = np.float32(source[top, left, c]) * (one - u) + np.float32(source[top, next_column, c]) * u
                below = (
                    np.float32(source[next_row, left, c]) * (one - u) + np.float32(source[next_row, next_column, c]) * u
                )
                value = above * (one - v) + below * v
                if is_whole:
                    value = np.float32(np.floor(value + half))
                target[column, c] = value
