"""The arithmetic of one pixel: scalar integer functions that every backend compiles from this source.

All of it is int32 on values widened from uint8 by the caller, because uint8 products wrap in NumPy and do not in
compiled code. No float occurs here.
"""

from __future__ import annotations

import numpy as np

from hews_gpu.kernels._shim import scalar

__all__ = ["FIXED_BITS", "FIXED_ONE", "blend", "saturated_increment", "saturated_sum"]

FIXED_BITS = 4
"""Positions are in 1/16 pixel. On a 172 pixel map of a 20 km wide city that is 7 m, less than the rounding to a
block's address that published incidents carry, and it leaves a disc only 16 x 16 distinct placements, so that its
exact coverage is a small table instead of arithmetic per pixel."""
FIXED_ONE = 1 << FIXED_BITS


@scalar
def blend(below: np.int32, above: np.int32, alpha: np.int32) -> np.int32:
    """Blend `above` over `below`: their mean weighted by alpha / 255, rounded to the nearest integer; all in 0..255.

    `(t + (t >> 8)) >> 8` with `t = v + 128` is `v / 255` rounded, for every v up to 255 * 255. There are no ties, as
    255 is odd, so this equals `(v + 127) // 255`; and all of it fits in 16 bits.
    """
    weighted = np.int32(below * (255 - alpha) + above * alpha + 128)
    return np.int32((weighted + (weighted >> 8)) >> 8)


@scalar
def saturated_increment(count: np.int32) -> np.int32:
    """Return one more, but never more than 255."""
    return np.int32(count + (1 if count < 255 else 0))


@scalar
def saturated_sum(total: np.int32, more: np.int32) -> np.int32:
    """Return their sum, but never more than 255; neither is negative, so the order of many of them does not matter."""
    both = np.int32(total + more)
    return np.int32(both if both < 255 else 255)
