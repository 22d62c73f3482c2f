"""Augmentation: pure in seed, epoch and place; matrices that mean what they say; pixels as SciPy resamples them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation, for_torch, warp, warp_by_torch

NONE = {"rotation_deg": 0.0, "shift": 0.0, "shear_deg": 0.0, "zoom": 0.0}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**40), st.integers(0, 99), st.integers(0, 10**6), st.integers(1, 20), st.integers(0, 19))
def test_a_samples_matrix_depends_on_its_place_alone(seed, epoch, first, count, cut):
    augment = Augmentation(seed=seed, flip=True)
    whole = augment.matrices(epoch, first, count, 20, 30)
    cut = min(cut, count)
    parts = [augment.matrices(epoch, first, cut, 20, 30), augment.matrices(epoch, first + cut, count - cut, 20, 30)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.shape == (count, 2, 3) and whole.dtype == np.float32
    assert np.isfinite(whole).all()


def test_seeds_epochs_and_places_differ():
    found = [Augmentation(seed=s).matrices(e, p, 1, 20, 30) for s in (0, 1) for e in (0, 1) for p in (0, 1, 2)]
    assert len({matrix.tobytes() for matrix in found}) == 12


def test_without_amounts_every_map_stays_as_it_is():
    matrices = Augmentation(seed=0, **NONE).matrices(3, 0, 50, 20, 30)
    np.testing.assert_allclose(matrices, np.tile(np.eye(2, 3, dtype=np.float32), (50, 1, 1)), atol=1e-5)


def each(name, amount, **options):
    """1,000 matrices in which one thing varies, without the part that keeps the middle in its place."""
    given = {**NONE, name: amount, **options}
    return Augmentation(seed=4, **given).matrices(0, 0, 1000, 20, 30).astype(np.float64)


def spread(values, amount):
    """Even from -amount to amount: the extremes within 1 %, the mean within 5 sigma."""
    assert -amount <= values.min() < -0.98 * amount and 0.98 * amount < values.max() <= amount
    assert abs(values.mean()) < 5 * amount / np.sqrt(3 * 1000)


def test_each_amount_is_spread_evenly_over_what_was_asked_for():
    turned = each("rotation_deg", 20.0)
    spread(np.rad2deg(np.arctan2(turned[:, 1, 0], turned[:, 0, 0])), 20.0 + 1e-4)
    np.testing.assert_allclose(np.linalg.det(turned[:, :, :2]), 1, atol=1e-6)
    shifted = each("shift", 0.1)
    spread(shifted[:, 0, 2] / 30, 0.1 + 1e-6)
    spread(shifted[:, 1, 2] / 20, 0.1 + 1e-6)
    leaning = each("shear_deg", 10.0)
    spread(np.rad2deg(np.arctan(leaning[:, 0, 1])), 10.0 + 1e-4)
    zoomed = each("zoom", 0.1)
    spread(zoomed[:, 0, 0] - 1, 0.1 + 1e-6)
    spread(zoomed[:, 1, 1] - 1, 0.1 + 1e-6)
    assert abs(np.corrcoef(zoomed[:, 0, 0], zoomed[:, 1, 1])[0, 1]) < 0.16  # 5 sigma


def test_the_middle_stays_in_its_place_unless_shifted():
    matrices = Augmentation(seed=1, shift=0.0, shear_deg=20.0, flip=True).matrices(0, 0, 100, 20, 30)
    np.testing.assert_allclose(matrices @ np.array([15.0, 10.0, 1.0]), np.tile([15.0, 10.0], (100, 1)), atol=1e-4)


def test_half_of_the_maps_are_mirrored_left_to_right():
    matrices = Augmentation(seed=1, flip=True, **NONE).matrices(0, 0, 1000, 4, 6)
    mirrored = matrices[:, 0, 0] < 0
    assert abs(mirrored.sum() - 500) < 80  # 5 sigma
    maps = torch.arange(24, dtype=torch.float32).reshape(1, 1, 4, 6)
    which = int(np.flatnonzero(mirrored)[0])
    found = warp(maps, matrices[which : which + 1])
    torch.testing.assert_close(found, maps.flip(3), rtol=0, atol=1e-4)


def resampled(maps, matrices):
    """SciPy's bilinear resampling [B, C, H, X], which has rows first and pixels with their middle at whole numbers."""
    found = np.empty(maps.shape)
    for b, matrix in enumerate(matrices.astype(np.float64)):
        linear = matrix[::-1, 1::-1]
        offset = matrix[::-1, 2] + linear @ [0.5, 0.5] - 0.5
        for c in range(maps.shape[1]):
            found[b, c] = ndimage.affine_transform(maps[b, c], linear, offset, order=1, mode="nearest")
    return found


def by_torch(maps, matrices):
    return warp_by_torch(maps, for_torch(matrices, *maps.shape[2:]))


@pytest.mark.parametrize("way", [warp, by_torch])
@pytest.mark.parametrize("shape", [(5, 3, 20, 30), (4, 2, 31, 17), (3, 1, 1, 9)])
def test_pixels_are_as_scipy_resamples_them(shape, way):
    maps = np.random.default_rng(0).random(shape)
    augment = Augmentation(seed=9, rotation_deg=40.0, shift=0.2, shear_deg=20.0, zoom=0.3, flip=True)
    matrices = augment.matrices(0, 0, len(maps), *shape[2:])
    found = way(torch.from_numpy(maps).float(), matrices).numpy()
    np.testing.assert_allclose(found, resampled(maps, matrices), atol=2e-5)
    inverse = np.linalg.inv(np.concatenate([matrices, np.tile([[[0, 0, 1]]], (len(maps), 1, 1))], axis=1))[:, :2]
    assert np.abs(found - resampled(maps, inverse)).max() > 0.1  # the other direction would not do


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("way", [warp, by_torch])
def test_the_dtype_stays_and_bytes_are_rounded(dtype, way):
    maps = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6), dtype=np.uint8))
    matrices = Augmentation(seed=9).matrices(0, 0, 2, 8, 6)
    found, exact = way(maps.to(dtype), matrices), way(maps.float(), matrices)
    assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    within = {torch.uint8: 0.5, torch.float16: 0.07, torch.bfloat16: 0.5, torch.float32: 0.0}[dtype]
    assert (found.float() - exact).abs().max() <= within + 1e-3


@pytest.mark.parametrize(
    ("name", "value"), [("rotation_deg", -1), ("rotation_deg", 200), ("zoom", 1.0), ("shift", 2), ("shear_deg", 90)]
)
def test_amounts_out_of_range_are_named(name, value):
    with pytest.raises(UserError, match=rf"\[augmentation\] {name} = {value}"):
        Augmentation(seed=0, **{name: value})
