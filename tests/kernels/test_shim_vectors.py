"""Vectors do what bytes one by one would, wherever they lie."""

import numba
import numpy as np
import pytest

from hews_gpu.kernels import _shim_vectors as vectors
from hews_gpu.kernels._shim import on_arrays
from hews_gpu.kernels.scalars import blend


@numba.njit
def blend_all(target, above, alpha):
    for at in range(0, target.size, vectors.BLEND_BYTES):
        vectors.blend_lanes(target, at, above, at, alpha, at)


def test_lanes_blend_as_the_scalar_function_does_for_every_value_there_is():
    above, alpha = (values.astype(np.uint8).ravel() for values in np.mgrid[:256, :256])
    for below in range(256):
        target = np.full(above.shape, below, np.uint8)
        blend_all(target, above, alpha)
        expected = on_arrays(blend)(np.int32(below), above.astype(np.int32), alpha.astype(np.int32))
        assert np.array_equal(target, expected), below


@numba.njit
def one_of_each(source, target, at, to, kind):
    if kind == 0:
        vectors.flip(target, to, source, at)
    elif kind == 1:
        vectors.blend_lanes(target, to, source, at, source, at + 1)
    elif kind == 2:
        vectors.spread(source, at, target, to, 100)
    elif kind == 3:
        vectors.move_past_cache(source, at, target, to - vectors.address(target, to) % vectors.MOVE_BYTES)
        vectors.settle()


@pytest.mark.parametrize(("kind", "width"), [(0, 16), (1, 32), (2, 64), (3, 64)])
@pytest.mark.parametrize("at", [0, 1, 15, 77])
@pytest.mark.parametrize("to", [64, 65, 79, 127])
def test_each_touches_its_bytes_and_no_others(kind, width, at, to):
    random = np.random.default_rng(kind)
    source, before = random.integers(0, 256, (2, 600), np.uint8)
    target = before.copy()
    one_of_each(source, target, at, to, kind)
    if kind == 3:
        to -= (target.ctypes.data + to) % 64
    below, above = before[to : to + width], source[at : at + width]
    alpha = source[at + 1 : at + 1 + width]
    blended = on_arrays(blend)(*(part.astype(np.int32) for part in (below, above, alpha)))
    expected = before.copy()
    for place in range(to, to + 400 if kind == 2 else to + 1, 100):
        expected[place : place + width] = (below ^ above, blended, above, above)[kind]
    assert np.array_equal(target, expected)
    assert not np.array_equal(target, before)
