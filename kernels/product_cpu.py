"""A product of matrices of which each row is summed by itself, in order.

What a library of linear algebra returns for one row may differ in its last bit with how many others there are.

Shapes: S rows, L summands, K columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels._shim import compiled

__all__ = ["product"]

Float64 = NDArray[np.float64]


@compiled
def product(a: Float64, b: Float64) -> Float64:
    """Return the product [S, K] of [S, L] and [L, K]."""
    out = np.zeros((a.shape[0], b.shape[1]))
    for s in range(a.shape[0]):
        for inner in range(a.shape[1]):
            for k in range(b.shape[1]):
                out[s, k] += a[s, inner] * b[inner, k]
    return out
