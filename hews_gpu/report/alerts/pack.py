"""Pack numbers and shapes for a page: few bytes, read back by `replay.js` without a library.

A city probability takes two bytes, on a linear scale; one of a neighborhood takes one, on a log scale that is stated on
the page. Neighborhoods become whole numbers on a map of `MAP_UNITS` along its longer side, each vertex as the step
from the last.

Shapes: S issue times, N neighborhoods, E incidents.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.report.figures.city import outlines
from hews_gpu.units import KM_PER_DEGREE

if TYPE_CHECKING:
    import geopandas

__all__ = ["NONE_U16", "LogScale", "Plane", "base64_of", "city_probabilities"]

NONE_U16 = 65_535  # of a city probability: there is none; of a neighborhood: outside of all
MAP_UNITS = 4000
MAP_PIXELS = 1200  # the largest map on a dense screen; outlines are thinned to half a pixel of it


def base64_of(values: Any, kind: str) -> str:
    """Return an array as base64 of little-endian whole numbers of a NumPy kind such as ``u2``."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()).decode("ascii")


def city_probabilities(p: Float64) -> str:
    """Pack probabilities [S] to 1 in 65,534; what is not finite becomes `NONE_U16`."""
    known = np.isfinite(p)
    return base64_of(np.where(known, np.round(np.where(known, p, 0).clip(0, 1) * (NONE_U16 - 1)), NONE_U16), "u2")


@dataclass(frozen=True)
class LogScale:
    """Probabilities as bytes: 1 to 255 are even steps of the logarithm from `low` to `high`, 0 is none."""

    low: float
    high: float

    @classmethod
    def over(cls, p: Float64) -> LogScale:
        """Return the scale from the least to the greatest probability, at most four decades of it."""
        positive = p[np.isfinite(p) & (p > 0)]
        high = float(positive.max()) if len(positive) else 1.0
        low = max(float(positive.min()), high * 1e-4) if len(positive) else high / 10
        return cls(low if low < high else high / 2, high)

    def bytes_of(self, p: Float64) -> Any:
        """Return the byte of each probability."""
        known = np.isfinite(p)
        with np.errstate(divide="ignore"):
            step = np.log(np.where(known, p, 1).clip(self.low, self.high) / self.low) / np.log(self.high / self.low)
        return np.where(known, 1 + np.round(254 * step), 0).astype(np.uint8)

    @property
    def error(self) -> float:
        """The largest relative error of a probability on the scale."""
        return float((self.high / self.low) ** (0.5 / 254) - 1)


class Plane:
    """The map: neighborhoods and places in whole units, north up."""

    def __init__(self, neighborhoods: geopandas.GeoDataFrame) -> None:
        flat = outlines(neighborhoods, pixels=MAP_PIXELS)
        west, south, east, north = flat.box
        self.units_per_km = MAP_UNITS / max(east - west, north - south)
        self.size = [round((east - west) * self.units_per_km), round((north - south) * self.units_per_km)]
        self._corner = np.array([west, north])
        bounds = neighborhoods.total_bounds
        self._origin = np.array([bounds[0], (bounds[1] + bounds[3]) / 2])
        self.rings = [[_steps(self._units(ring)) for ring in rings] for rings in flat.rings]

    def _units(self, km: Float64) -> Float64:
        """Turn kilometers east and north [V, 2] into units right and down."""
        return np.asarray(np.round((km - self._corner) * [self.units_per_km, -self.units_per_km]))

    def places(self, longitude: Float64, latitude: Float64) -> Any:
        """Return places [E, 2] in units, those beyond the map on its border."""
        degrees = np.stack([longitude, latitude], axis=1)
        km = (degrees - self._origin) * KM_PER_DEGREE * [np.cos(np.radians(self._origin[1])), 1.0]
        return self._units(km).clip(0, self.size)


def _steps(ring: Float64) -> list[int]:
    """Return x, y of the first vertex, then the steps from each to the next, but for the last, which closes it."""
    kept = ring[:-1][np.any(np.diff(ring, axis=0) != 0, axis=1)]
    steps: list[int] = np.concatenate([kept[:1], np.diff(kept, axis=0)]).astype(int).ravel().tolist()
    return steps
