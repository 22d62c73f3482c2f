"""Polygons as flat arrays, and the compiled search for the first of them that covers each point.

Shapes: N neighborhoods, V vertices, P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hews_gpu.arrays import Float64, Int32, Int64
from hews_gpu.kernels.pip_tables import OUTSIDE, PipTables, build_tables

__all__ = ["MAX_NEIGHBORHOODS", "OUTSIDE", "Areas", "find_in_grid", "flat_rings", "grid_of"]

MAX_NEIGHBORHOODS = np.iinfo(np.int16).max


@dataclass(frozen=True, kw_only=True, eq=False)
class Areas:
    """The polygons that points are looked up in."""

    rings: tuple[Float64, Int64, Int64]
    """float64[V, 2] vertices, int64[rings + 1] where each ring starts, int64[rings] its polygon."""
    shapes: npt.NDArray[Any] | None = None
    """The same as shapely objects [N], for the shapely engine and for what lies near by; None: neither is used."""

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        vertex = self.rings[0]
        (west, south), (east, north) = vertex.min(axis=0).tolist(), vertex.max(axis=0).tolist()
        return west, south, east, north

    @cached_property
    def grid(self) -> PipTables:
        """What the compiled search walks."""
        return build_tables(*self.rings)

    @cached_property
    def device_grid(self) -> Any:
        """The same on the current GPU."""
        from hews_gpu.kernels._shim_cuda import cuda

        # An array of no elements has no address on a device.
        kept = (array if len(array) else np.zeros((1, *array.shape[1:]), array.dtype) for array in self.grid)
        return type(self.grid)(*map(cuda.to_device, kept))

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to another process: not what each makes for itself."""
        return {"rings": self.rings, "shapes": self.shapes}


def flat_rings(polygons: npt.NDArray[Any]) -> tuple[Float64, Int64, Int64]:
    """Return all rings of shapely polygons, shells and holes, in the order of the polygons, as `Areas.rings`."""
    import shapely

    parts, polygon_of_part = shapely.get_parts(polygons, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    vertex, ring_of_vertex = shapely.get_coordinates(rings, return_index=True)
    starts = np.searchsorted(ring_of_vertex, np.arange(len(rings) + 1))
    return vertex, starts, polygon_of_part[part_of_ring]


def grid_of(polygons: npt.NDArray[Any]) -> PipTables:
    """Return the grid of some shapely polygons."""
    return build_tables(*flat_rings(polygons))


def find_in_grid(grid: PipTables, longitude: Float64, latitude: Float64) -> Int32:
    """Return int32[P]: the first polygon that covers each point, edges included, or OUTSIDE, also for no number."""
    from hews_gpu.kernels._shim import ONE_AT_A_TIME  # loads the compiler, which small tables do without
    from hews_gpu.kernels.pip_walk import find_all

    polygon = np.empty(len(longitude), np.int32)
    x, y = np.ascontiguousarray(longitude, np.float64), np.ascontiguousarray(latitude, np.float64)
    with ONE_AT_A_TIME:
        find_all(grid, x, y, polygon)
    return polygon
