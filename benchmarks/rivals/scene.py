"""What every rival is given: polygons and incidents in pixels, the look, and nothing of ours that is drawn.

A rival is a module with `LIBRARIES`, the packages that it needs, and `ways(scene)`: by name, functions that draw one
window into a map. What can be prepared once for a city (a base map, masks, stamps) is prepared in `ways`, untimed.

Shapes: E incidents, N neighborhoods, K colors, V vertices, H rows, X columns.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Float64, UInt8
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.style import rgb

if TYPE_CHECKING:
    from benchmarks.inputs.cities import WindowedCity


Draw = Callable[[int, int, UInt8], None]
"""Draw the incidents [first, last) into uint8[H, X, 3]."""
Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels: half-open."""
RIVALS = ("opencv", "datashader")
"""Modules of this package."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One city on one map; pixel i spans [i, i + 1)."""

    height: int
    width: int
    rings: tuple[tuple[Float64, ...], ...]
    """Of each neighborhood: float64[V, 2] column, row; closed, the last vertex being the first."""
    x: Float64  # [E] column
    y: Float64  # [E] row
    color: NDArray[np.integer[Any]]  # [E] row of `palette`
    neighborhood: NDArray[np.integer[Any]]  # [E] -1 for none
    palette: UInt8  # [K, 3]
    lit_color: tuple[int, int, int]
    line_width_px: float
    line_alpha: float
    disc_radius_px: float
    disc_alpha: float

    def lit(self, first: int, last: int) -> list[int]:
        """The neighborhoods that hold an incident of [first, last), ascending."""
        return sorted(set(self.neighborhood[first:last].tolist()) - {-1})

    def box_of(self, neighborhood: int) -> Box:
        """The pixels that an outline may touch, within the map."""
        every = np.concatenate(self.rings[neighborhood])
        low, high = np.floor(every.min(axis=0) - 1).astype(int), np.ceil(every.max(axis=0) + 1).astype(int)
        columns = (max(0, int(low[0])), min(self.width, int(high[0])))
        rows = (max(0, int(low[1])), min(self.height, int(high[1])))
        return rows[0], max(rows), columns[0], max(columns)


def scene_of(work: WindowedCity, geometry: MapGeometry) -> Scene:
    """Return the scene of a city, at a map's geometry."""
    style, places, outlines = work.style, work.places, work.outlines
    ends = np.column_stack([axis for k in (0, 2) for axis in geometry.to_pixels(*outlines.ends[:, k : k + 2].T)])
    x, y = geometry.to_pixels(places.longitude, places.latitude)
    return Scene(
        height=geometry.height,
        width=geometry.width,
        rings=tuple(_rings(ends[outlines.owner == n]) for n in range(len(outlines))),
        x=x,
        y=y,
        color=places.category,
        neighborhood=places.neighborhood,
        palette=style.colors(places.categories),
        lit_color=rgb(style.lit_color),
        line_width_px=style.line_width_px,
        line_alpha=style.line_alpha,
        disc_radius_px=style.disc_radius_px,
        disc_alpha=style.disc_alpha,
    )


def _rings(ends: Float64) -> tuple[Float64, ...]:
    """Return segments [S, 4] of closed rings, one after another, as vertices."""
    breaks = np.flatnonzero((ends[1:, :2] != ends[:-1, 2:]).any(axis=1)) + 1
    return tuple(np.concatenate([ring[:, :2], ring[-1:, 2:]]) for ring in np.split(ends, breaks) if len(ring))


def library(name: str) -> Any:
    """Import a package that may be missing and may have no types."""
    return importlib.import_module(name)


def rivals(scene: Scene) -> dict[str, Draw]:
    """Return every way of every rival that is installed; say on standard error which is not."""
    ways: dict[str, Draw] = {}
    for name in RIVALS:
        module = library(f"benchmarks.rivals.{name}")
        missing = [package for package in module.LIBRARIES if find_spec(package) is None]
        if missing:
            print(f"raster: {name} is left out, as {' and '.join(missing)} is not installed", file=sys.stderr)
        else:
            ways |= module.ways(scene)
    return ways
