"""Varied maps for training: rotated, shifted, sheared, zoomed, mirrored.

How a sample is varied follows from (seed, epoch, its place in the epoch's global order) alone, so every feed, any
number of ranks and a resumed run vary it alike. The parameters make a matrix; a feed only resamples by it: bilinear,
and beyond the border the border's own value. It happens to the values that are written, after their table.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.arrays import Float32, Float64, UInt64
from hews_gpu.typed_toml import require

if TYPE_CHECKING:  # a recipe is read without it
    from torch import Tensor

__all__ = ["Augmentation", "AugmentationConfig", "for_torch", "warp", "warp_by_torch"]

WORDS = 8
"""Of 64 bits for each sample, two steps of the generator; seven are used."""
STEP_WORDS = 4
"""What one step of Philox gives."""
VARYING = 2
"""In the key of these words, so that they are not those of another purpose."""


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """``[augmentation]``: how far maps are varied in stages that ask for it, evenly from minus to plus each amount.

    The amounts are the reference system's, but for the mirror.
    """

    rotation_deg: float = 20.0
    """Degrees, about the middle."""
    shift: float = 0.1
    """Of height and width."""
    shear_deg: float = 0.1
    """By how much upright lines lean; the reference's 0.1 is a tenth of a degree."""
    zoom: float = 0.1
    """Of each axis on its own: 0.1 is a factor of 0.9 to 1.1."""
    flip: bool = False
    """Mirror half of the maps left to right. A city is not mirror-symmetric: off unless asked for."""

    def __post_init__(self) -> None:
        most = {"rotation_deg": 180.0, "shift": 1.0, "shear_deg": 45.0, "zoom": 0.9}
        for key, limit in most.items():
            value = getattr(self, key)
            require(0 <= value <= limit, f"[augmentation] {key}", value, f"must be 0..{limit:g}")


@dataclass(frozen=True, kw_only=True)
class Augmentation(AugmentationConfig):
    """The amounts, and the seed that they are drawn by."""

    seed: int

    def matrices(self, epoch: int, first: int, count: int, height: int, width: int) -> Float32:
        """Return where each pixel of the varied maps is taken from.

        Args:
            epoch: 0 or more.
            first: place of the first sample in the epoch's global order; the others follow.
            count: B.
            height: H, pixels.
            width: X, pixels.

        Returns:
            float32 [B, 2, 3]: (x, y) of the source = M @ (x, y, 1) of the varied map, in pixels from the upper left
            corner; the middle of a pixel is at .5.
        """
        return self.matrices_of(self.words(epoch, first, count), height, width)

    def words(self, epoch: int, first: int, count: int) -> UInt64:
        """Return the random bits of samples, uint64 [B, `WORDS`]; arguments as of `matrices`."""
        key = np.random.SeedSequence(self.seed, spawn_key=(epoch, VARYING))
        words: UInt64 = np.random.Philox(key).advance(first * (WORDS // STEP_WORDS)).random_raw(count * WORDS)
        return words.reshape(count, WORDS)

    def matrices_of(self, words: UInt64, height: int, width: int) -> Float32:
        """Return what `matrices` does, from `words` [B, `WORDS`]: one call for many costs as much as for a few."""
        count = len(words)
        share = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53  # 0..1
        angle, right, down, lean, zoom_x, zoom_y = (2 * share[:, :6] - 1).T
        zero, one = np.zeros(count), np.ones(count)
        turn = np.deg2rad(self.rotation_deg) * angle
        rotate = _stack([np.cos(turn), -np.sin(turn), zero], [np.sin(turn), np.cos(turn), zero])
        shear = _stack([one, np.tan(np.deg2rad(self.shear_deg) * lean), zero], [zero, one, zero])
        mirror = np.where(share[:, 6] < 0.5, -1.0, 1.0) if self.flip else one
        zoom = _stack([mirror * (1 + self.zoom * zoom_x), zero, zero], [zero, 1 + self.zoom * zoom_y, zero])
        there = _stack([one, zero, -width / 2 + zero], [zero, one, -height / 2 + zero])
        back = _stack(
            [one, zero, width / 2 + self.shift * width * right], [zero, one, height / 2 + self.shift * height * down]
        )
        return np.ascontiguousarray((back @ rotate @ shear @ zoom @ there)[:, :2], dtype=np.float32)


def warp(maps: Tensor, matrices: Float32) -> Tensor:
    """Resample maps on the CPU by where each pixel is taken from.

    Args:
        maps: [B, C, H, X] of any dtype, channels-last.
        matrices: [B, 2, 3] as `Augmentation.matrices` gives them.

    Returns:
        A new [B, C, H, X] of the same dtype, channels-last; whole numbers are rounded to nearest.
    """
    import torch

    from hews_gpu.kernels import warp_cpu
    from hews_gpu.kernels._shim import ONE_AT_A_TIME

    values = maps if maps.dtype in (torch.uint8, torch.float32) else maps.float()
    source = values.permute(0, 2, 3, 1)
    varied = torch.empty(source.shape, dtype=source.dtype)
    with ONE_AT_A_TIME:
        warp_cpu.warp(source.numpy(), matrices, not maps.dtype.is_floating_point, varied.numpy())
    return varied.permute(0, 3, 1, 2).to(maps.dtype)


def for_torch(matrices: Float32, height: int, width: int) -> Tensor:
    """Return the same matrices [B, 2, 3] on the CPU in torch's units, in which a map reaches from -1 to 1."""
    import torch

    scale = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    unscale = np.array([[2 / width, 0, -1], [0, 2 / height, -1]])
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(matrices), 1, 3))
    theta = unscale @ np.concatenate([matrices, last], axis=1) @ scale
    return torch.from_numpy(theta.astype(np.float32))


def warp_by_torch(maps: Tensor, moved: Tensor) -> Tensor:
    """Do what `warp` does on any device, by matrices of `for_torch` there; on a CPU it takes several times as long."""
    import torch
    from torch.nn import functional

    grid = functional.affine_grid(moved, list(maps.shape), align_corners=False)
    varied = functional.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    if not maps.dtype.is_floating_point:
        varied = (varied + 0.5).floor_()
    return varied.to(maps.dtype, memory_format=torch.channels_last)


def _stack(*rows: list[Float64]) -> Float64:
    """Return matrices [B, 3, 3] from the first two rows of each."""
    count = len(rows[0][0])
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (count, 3))
    return np.stack([*(np.stack(row, axis=1) for row in rows), last], axis=1)
