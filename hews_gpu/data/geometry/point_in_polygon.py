"""Which neighborhood each point belongs to, by whichever engine: the answers are the same.

Membership is exact: a point strictly inside a polygon, in longitude and latitude as given, belongs to it. A point that
several polygons cover, because they share an edge or overlap, belongs to the one that comes first in the file. A point
that no polygon covers may go to the nearest one within a tolerance. Distances are meters of a local equirectangular
scaling at the middle latitude of all polygons: for a city 35 km tall at 40 degrees they are right to 0.3 percent.

Nothing here needs shapely unless the shapely engine or a tolerance is asked for, so that a GPU machine without it can
place points.

Shapes: N neighborhoods, V vertices, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.data.prepare.backend import as_array_like, to_host
from hews_gpu.environment.device import probe
from hews_gpu.errors import UserError
from hews_gpu.kernels.pip_tables import PipTables, build_tables

__all__ = [
    "MAX_NEIGHBORHOODS",
    "OUTSIDE",
    "ROWS_THAT_PAY",
    "Areas",
    "Engine",
    "engine_for",
    "meters_per_degree",
    "place",
    "require_engine",
]

OUTSIDE = -1
MAX_NEIGHBORHOODS = np.iinfo(np.int16).max

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Engine = Literal["shapely", "numba", "cuda", "cuspatial"]
"""What looks points up: all give the same answers. Numba is a hundred times as fast as shapely once it has compiled
itself; cuda is the same search on a GPU; cuspatial is for those who have it, and is checked against ours."""
ROWS_THAT_PAY = 1_000_000
"""From so many rows on numba is faster. It needs about 0.5 seconds of CPU time to load a kernel that is kept on disk
(and compiles for 3 seconds the first time of all); shapely, which looks up distinct places only, needs about 1
microsecond a row of an incident table, where two in three rows repeat a place."""
ROWS_THAT_PAY_COMPILING = 4_000_000
"""The same where no kernel can be kept, so that every process compiles it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Areas:
    """The polygons that points are looked up in."""

    rings: tuple[Floats, Ints, Ints]
    """float64[V, 2] vertices, int64[rings + 1] where each ring starts, int64[rings] its polygon."""
    bounds: tuple[float, float, float, float]
    """West, south, east, north."""
    shapes: npt.NDArray[Any] | None = None
    """The same as shapely objects [N], for the shapely engine and for what lies near by; None: neither is used."""

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
        """What goes to another process: not what each makes for itself."""
        return {name: getattr(self, name) for name in ("rings", "bounds", "shapes")}


def engine_for(rows: int, *, on_device: bool = False) -> Engine:
    """What places so many rows, over all calls of a process, with the least CPU time."""
    if on_device:
        return "cuda"
    if rows < ROWS_THAT_PAY:
        return "shapely"
    from hews_gpu.kernels._disk_cache import kernel_folder  # and with it the compiler, which small tables do without

    return "numba" if rows >= ROWS_THAT_PAY_COMPILING or kernel_folder() else "shapely"


def require_engine(engine: Engine) -> None:
    """Refuse an engine that was named and does not work here.

    Raises:
        UserError: says what is missing.
    """
    needed = {"cuda": ("gpu", "numba_cuda"), "cuspatial": ("gpu", "cuspatial")}.get(engine, ())
    for found in map(probe, needed):
        if not found.works:
            remedy = "Use engine = \"auto\", or see what is missing with 'hews doctor'"
            raise UserError("[neighborhoods] engine", engine, allowed=f"does not work here: {found.why}", remedy=remedy)


def place(
    areas: Areas, longitude: Any, latitude: Any, tolerance_m: float = 0.0, *, engine: Engine = "shapely"
) -> tuple[Any, Any]:
    """The neighborhood of each point.

    Args:
        areas: the polygons.
        longitude: float64[P], degrees; of NumPy or CuPy.
        latitude: float64[P], degrees.
        tolerance_m: how far outside every polygon a point may be to go to the nearest one.
        engine: what looks the points up; the answers are the same.

    Returns:
        int16[P] number of the polygon, or OUTSIDE; and bool[P], whether the point was outside every polygon. Arrays of
        the same library as the coordinates.
    """
    ids = ENGINES[engine](areas, longitude, latitude).astype(np.int16)
    is_nearest = np.zeros_like(ids, dtype=bool)
    if tolerance_m <= 0:
        return ids, is_nearest
    lost = np.flatnonzero((ids == OUTSIDE) & np.isfinite(longitude) & np.isfinite(latitude))
    if len(lost):
        assert areas.shapes is not None, "a tolerance needs the shapes"
        points, inverse = _distinct_points(to_host(longitude[lost]), to_host(latitude[lost]))
        ids[lost] = as_array_like(_nearest(areas.shapes, points, tolerance_m)[inverse], ids)
        is_nearest[lost] = ids[lost] != OUTSIDE
    return ids, is_nearest


def _in_grid(areas: Areas, longitude: Any, latitude: Any) -> npt.NDArray[Any]:
    """The first polygon that covers each point (edges included), or OUTSIDE, by compiled search in a grid."""
    from hews_gpu.data.geometry.grid import find_in_grid

    return find_in_grid(areas.grid, longitude, latitude)


def _on_cuda(areas: Areas, longitude: Any, latitude: Any) -> Any:
    """The same on a GPU: of arrays there, there; of others, copied to it and back."""
    from hews_gpu.kernels import pip_cuda
    from hews_gpu.kernels._shim_cuda import cuda

    count = len(longitude)
    if not count:
        return np.zeros_like(longitude, dtype=np.int32)
    is_host = isinstance(longitude, np.ndarray)
    load = cuda.to_device if is_host else cuda.as_cuda_array
    x, y = (load(array.astype(np.float64)) for array in (longitude, latitude))
    found = np.zeros_like(longitude, dtype=np.int32)
    out = load(found)
    pip_cuda.find_all[pip_cuda.blocks_for(count), pip_cuda.THREADS](areas.device_grid, x, y, out)
    return out.copy_to_host() if is_host else found


def _by_cuspatial(areas: Areas, longitude: Any, latitude: Any) -> Any:
    from hews_gpu.data.geometry.cuspatial_engine import find_with_cuspatial

    return as_array_like(find_with_cuspatial(areas, to_host(longitude), to_host(latitude)), longitude)


def _in_tree(areas: Areas, longitude: Any, latitude: Any) -> npt.NDArray[Any]:
    """The same by shapely, each distinct place once; what is no place would make its tree lose others."""
    import shapely

    assert areas.shapes is not None, "shapely needs the shapes"
    shapely.prepare(areas.shapes)
    ids = np.full(len(longitude), OUTSIDE, np.int16)
    is_place = np.isfinite(longitude) & np.isfinite(latitude)
    points, inverse = _distinct_points(longitude[is_place], latitude[is_place])
    ids[is_place] = _lowest_cover(areas.shapes, points)[inverse]
    return ids


ENGINES: Mapping[Engine, Callable[[Areas, Any, Any], Any]] = {
    "shapely": _in_tree,
    "numba": _in_grid,
    "cuda": _on_cuda,
    "cuspatial": _by_cuspatial,
}


def _distinct_points(longitude: Floats, latitude: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Each distinct place as a shapely point, and which of them each point is."""
    import shapely

    together = np.column_stack([longitude, latitude]).view(np.complex128)[:, 0]
    inverse, places = pd.factorize(together)
    return shapely.points(places.real, places.imag), inverse


def _lowest_cover(polygons: npt.NDArray[Any], points: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """The first polygon that covers each point (edges included), or OUTSIDE."""
    import shapely

    polygon, point = shapely.STRtree(points).query(polygons, predicate="intersects")
    ids = np.full(len(points), MAX_NEIGHBORHOODS, np.int16)
    np.minimum.at(ids, point, polygon.astype(np.int16))
    ids[ids == MAX_NEIGHBORHOODS] = OUTSIDE
    return ids


def _nearest(polygons: npt.NDArray[Any], points: npt.NDArray[Any], tolerance_m: float) -> npt.NDArray[np.int16]:
    """The nearest polygon within the tolerance (the first of equally near ones), or OUTSIDE."""
    import shapely

    _, south, _, north = shapely.total_bounds(polygons)
    scale = np.concatenate(meters_per_degree(np.array([(south + north) / 2])))

    def to_meters(geometry: npt.NDArray[Any]) -> npt.NDArray[Any]:
        scaled: npt.NDArray[Any] = shapely.transform(geometry, lambda degrees: degrees * scale)
        return scaled

    tree = shapely.STRtree(to_meters(polygons))
    point, polygon = tree.query_nearest(to_meters(points), max_distance=tolerance_m)
    ids = np.full(len(points), MAX_NEIGHBORHOODS, np.int16)
    np.minimum.at(ids, point, polygon.astype(np.int16))
    ids[ids == MAX_NEIGHBORHOODS] = OUTSIDE
    return ids


def meters_per_degree(latitude: Floats) -> tuple[Floats, Floats]:
    """Length in meters of a degree of longitude and of latitude on the WGS84 ellipsoid, right to a meter.

    Source: the series in "Degree of longitude" and "Degree of latitude", National Geospatial-Intelligence Agency,
    as given at https://en.wikipedia.org/wiki/Geographic_coordinate_system.
    """
    phi = np.radians(latitude)
    east = 111_412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi) + 0.118 * np.cos(5 * phi)
    north = 111_132.92 - 559.82 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi) - 0.0023 * np.cos(6 * phi)
    return east, north
