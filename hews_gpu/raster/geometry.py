"""Where a longitude and latitude lie on a map: one affine step from degrees to pixels, then fixed point.

Row 0 is the north edge. Pixel i spans [i, i + 1). Positions become int32 in 1/16 pixel, rounded to nearest; why 1/16
is written at `hews_gpu.kernels.scalars.FIXED_BITS`. Whatever is outside, or not a number at all, is clamped to `FAR_PX`
beyond the map's edges, where no disc reaches it and no product of distances overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hews_gpu.arrays import Float64, Int32
from hews_gpu.kernels.scalars import FIXED_ONE

__all__ = ["FAR_PX", "MARGIN", "MapGeometry"]

FAR_PX = 1024
"""How far outside a clamped position lies at most: beyond any disc (radius at most 15) of a map of 4096 pixels."""
MARGIN = 0.03
"""Free room on each side of the polygons, as a share of their extent, so that outlines and discs are not cut."""


@dataclass(frozen=True, kw_only=True)
class MapGeometry:
    """The rectangle of the earth that a map shows, and its size in pixels."""

    west: float
    south: float
    east: float
    north: float
    height: int
    """H, rows."""
    width: int
    """X, columns."""

    @classmethod
    def around(
        cls, extent: Sequence[float], bounds: Sequence[float] | Literal["auto"], *, height: int, width: int
    ) -> MapGeometry:
        """Return the geometry for polygons of the given `extent` (west, south, east, north in degrees).

        Explicit `bounds` are stretched onto the map. With "auto" the extent gets a margin and is then widened in one
        direction about its middle until a pixel is as many meters high as wide at the middle latitude.
        """
        if bounds != "auto":
            west, south, east, north = (float(value) for value in bounds)
            return cls(west=west, south=south, east=east, north=north, height=height, width=width)
        west, south, east, north = (float(value) for value in extent)
        shrink = np.cos(np.radians((south + north) / 2))  # a degree of longitude over a degree of latitude, in meters
        room = 1 + 2 * MARGIN
        degrees_per_px = max((east - west) * shrink * room / width, (north - south) * room / height, 1e-9)
        half_x, half_y = degrees_per_px * width / shrink / 2, degrees_per_px * height / 2
        x, y = (west + east) / 2, (south + north) / 2
        return cls(west=x - half_x, south=y - half_y, east=x + half_x, north=y + half_y, height=height, width=width)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        return self.west, self.south, self.east, self.north

    def to_pixels(self, longitude: Float64, latitude: Float64) -> tuple[Float64, Float64]:
        """Return column and row as real numbers: 0 at the west and north edges, X and H at the east and south ones."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not a place on earth may become infinite
            x = (np.asarray(longitude, np.float64) - self.west) * (self.width / (self.east - self.west))
            y = (self.north - np.asarray(latitude, np.float64)) * (self.height / (self.north - self.south))
        return x, y

    def to_fixed(self, longitude: Float64, latitude: Float64) -> tuple[Int32, Int32]:
        """Return column and row as int32 in 1/16 pixel, rounded to nearest; clamped, and far outside if not finite."""
        x, y = self.to_pixels(longitude, latitude)
        return _fixed(x, self.width), _fixed(y, self.height)

    def to_cells(self, longitude: Float64, latitude: Float64) -> Int32:
        """Return the pixel that holds each point, row * X + column, int32; -1 outside the map (edges are half-open)."""
        x, y = self.to_pixels(longitude, latitude)
        with np.errstate(invalid="ignore"):
            inside = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        row, column = np.floor(np.where(inside, y, 0)), np.floor(np.where(inside, x, 0))
        cell: Int32 = np.where(inside, row * self.width + column, -1).astype(np.int32)
        return cell


def _fixed(position_px: Float64, size_px: int) -> Int32:
    far = np.where(np.isfinite(position_px), position_px, -FAR_PX)
    fixed: Int32 = np.rint(np.clip(far, -FAR_PX, size_px + FAR_PX) * FIXED_ONE).astype(np.int32)
    return fixed
