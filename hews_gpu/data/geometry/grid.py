"""Polygons as flat arrays, for the compiled search in a grid.

Shapes: V vertices, P points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hews_gpu.kernels._shim import ONE_AT_A_TIME
from hews_gpu.kernels.pip_tables import PipTables, build_tables
from hews_gpu.kernels.pip_walk import find_all

__all__ = ["find_in_grid", "flat_rings", "grid_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def flat_rings(polygons: npt.NDArray[Any]) -> tuple[Floats, Ints, Ints]:
    """All rings, shells and holes, in the order of the polygons.

    Args:
        polygons: shapely polygons and multipolygons; anything else has no rings.

    Returns:
        float64[V, 2] vertices, int64[rings + 1] where each ring starts, int64[rings] its polygon.
    """
    import shapely

    parts, polygon_of_part = shapely.get_parts(polygons, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    vertex, ring_of_vertex = shapely.get_coordinates(rings, return_index=True)
    starts = np.searchsorted(ring_of_vertex, np.arange(len(rings) + 1))
    return vertex, starts, polygon_of_part[part_of_ring]


def grid_of(polygons: npt.NDArray[Any]) -> PipTables:
    """The grid of some shapely polygons."""
    return build_tables(*flat_rings(polygons))


def find_in_grid(grid: PipTables, longitude: Floats, latitude: Floats) -> npt.NDArray[np.int32]:
    """int32[P]: the first polygon that covers each point, edges included, or -1, also for what is no number."""
    found = np.empty(len(longitude), np.int32)
    x, y = np.ascontiguousarray(longitude, np.float64), np.ascontiguousarray(latitude, np.float64)
    with ONE_AT_A_TIME:
        find_all(grid, x, y, found)
    return found
