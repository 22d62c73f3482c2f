"""Which neighborhood each point belongs to, by whichever engine: the answers are the same.

Membership is exact: a point strictly inside a polygon, in longitude and latitude as given, belongs to it. A point that
several polygons cover, because they share an edge or overlap, belongs to the one that comes first in the file. A point
that no polygon covers may go to the nearest one within a tolerance. Distances are meters of a local equirectangular
scaling at the middle latitude of all polygons: for a city 35 km tall at 40 degrees they are right to 0.3 percent.

Nothing here needs shapely unless the shapely engine or a tolerance is asked for, so that a GPU machine without it can
look points up.

Shapes: N neighborhoods, P points, Q distinct points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.arrays import Float64, Int16, Int64
from hews_gpu.data.backend import as_array_like, to_host
from hews_gpu.data.geometry.areas import MAX_NEIGHBORHOODS, OUTSIDE, Areas, find_in_grid
from hews_gpu.data.geometry.cuspatial_engine import find_with_cuspatial
from hews_gpu.environment.device import probe
from hews_gpu.errors import UserError

__all__ = ["Engine", "engine_for", "find_neighborhoods", "meters_per_degree", "require_engine"]

Engine = Literal["shapely", "numba", "cuda", "cuspatial"]
"""What looks points up: all give the same answers. Numba is a hundred times as fast as shapely once it has compiled
itself; cuda is the same search on a GPU; cuspatial is for those who have it, and is checked against ours."""
ROWS_THAT_PAY = 1_000_000
"""From so many rows on numba is faster. It needs about 0.5 seconds of CPU time to load a kernel that is kept on disk
(and compiles for 3 seconds the first time of all); shapely, which looks up distinct places only, needs about 1
microsecond a row of an incident table, where two in three rows repeat a place."""
ROWS_THAT_PAY_COMPILING = 4_000_000
"""The same where no kernel can be kept, so that every process compiles it."""
ONE_AT_A_TIME = Lock()  # a prepared polygon makes its index when it is first asked: two threads at it corrupt memory


def engine_for(rows: int, *, on_device: bool = False) -> Engine:
    """Return the engine that looks up so many rows, over all calls of a process, with the least CPU time."""
    if on_device:
        return "cuda"
    if rows < ROWS_THAT_PAY:
        return "shapely"
    from hews_gpu.kernels._disk_cache import kernel_folder  # loads the compiler, which small tables do without

    return "numba" if rows >= ROWS_THAT_PAY_COMPILING or kernel_folder() else "shapely"


def require_engine(engine: Engine) -> None:
    """Refuse an engine that was named and does not work here, and say what is missing."""
    needed = {"cuda": ("gpu", "numba_cuda"), "cuspatial": ("gpu", "cuspatial")}.get(engine, ())
    for library in map(probe, needed):
        if not library.works:
            remedy = "Use engine = \"auto\", or see what is missing with 'hews doctor'"
            allowed = f"does not work here: {library.why}"
            raise UserError("[neighborhoods] engine", engine, allowed=allowed, remedy=remedy)


def find_neighborhoods(
    areas: Areas, longitude: Any, latitude: Any, tolerance_m: float = 0.0, *, engine: Engine = "shapely"
) -> tuple[Any, Any]:
    """Find the neighborhood of each point, given in degrees as float64[P] of NumPy or CuPy.

    A point outside every polygon goes to the nearest one if that is within the tolerance.

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


def _on_cuda(areas: Areas, longitude: Any, latitude: Any) -> Any:
    """Search the grid on a GPU: arrays that are there stay there, others are copied to it and back."""
    from hews_gpu.kernels import pip_cuda
    from hews_gpu.kernels._shim_cuda import cuda

    count = len(longitude)
    if not count:
        return np.zeros_like(longitude, dtype=np.int32)
    is_host = isinstance(longitude, np.ndarray)
    load = cuda.to_device if is_host else cuda.as_cuda_array
    x, y = (load(array.astype(np.float64)) for array in (longitude, latitude))
    polygon = np.zeros_like(longitude, dtype=np.int32)
    out = load(polygon)
    pip_cuda.find_all[pip_cuda.blocks_for(count), pip_cuda.THREADS](areas.device_grid, x, y, out)
    return out.copy_to_host() if is_host else polygon


def _in_tree(areas: Areas, longitude: Any, latitude: Any) -> Int16:
    """Search by shapely, each distinct place once; what is no place would make its tree lose others."""
    import shapely

    assert areas.shapes is not None, "shapely needs the shapes"
    ids = np.full(len(longitude), OUTSIDE, np.int16)
    is_place = np.isfinite(longitude) & np.isfinite(latitude)
    points, inverse = _distinct_points(longitude[is_place], latitude[is_place])
    with ONE_AT_A_TIME:
        shapely.prepare(areas.shapes)
        polygon, point = shapely.STRtree(points).query(areas.shapes, predicate="intersects")
    ids[is_place] = _lowest(polygon, point, len(points))[inverse]
    return ids


ENGINES: Mapping[Engine, Callable[[Areas, Any, Any], Any]] = {
    "shapely": _in_tree,
    "numba": lambda areas, longitude, latitude: find_in_grid(areas.grid, longitude, latitude),
    "cuda": _on_cuda,
    "cuspatial": lambda areas, longitude, latitude: as_array_like(
        find_with_cuspatial(areas, to_host(longitude), to_host(latitude)), longitude
    ),
}
"""Each gives the first polygon that covers each point, edges included, or OUTSIDE."""


def _distinct_points(longitude: Float64, latitude: Float64) -> tuple[npt.NDArray[Any], Int64]:
    """Return each distinct place as a shapely point [Q], and which of them each point is [P]."""
    import shapely

    together = np.column_stack([longitude, latitude]).view(np.complex128)[:, 0]
    inverse, places = pd.factorize(together)
    return shapely.points(places.real, places.imag), inverse


def _nearest(polygons: npt.NDArray[Any], points: npt.NDArray[Any], tolerance_m: float) -> Int16:
    """Return int16[Q], the nearest polygon within the tolerance (the first of equally near ones), or OUTSIDE."""
    import shapely

    _, south, _, north = shapely.total_bounds(polygons)
    scale = np.concatenate(meters_per_degree(np.array([(south + north) / 2])))

    def to_meters(geometry: npt.NDArray[Any]) -> npt.NDArray[Any]:
        scaled: npt.NDArray[Any] = shapely.transform(geometry, lambda degrees: degrees * scale)
        return scaled

    tree = shapely.STRtree(to_meters(polygons))
    point, polygon = tree.query_nearest(to_meters(points), max_distance=tolerance_m)
    return _lowest(polygon, point, len(points))


def _lowest(polygon: Int64, point: Int64, points: int) -> Int16:
    """Return int16[Q], the first polygon among the pairs of each point, or OUTSIDE."""
    ids = np.full(points, MAX_NEIGHBORHOODS, np.int16)
    np.minimum.at(ids, point, polygon.astype(np.int16))
    ids[ids == MAX_NEIGHBORHOODS] = OUTSIDE
    return ids


def meters_per_degree(latitude: Float64) -> tuple[Float64, Float64]:
    """Return the length in meters of a degree of longitude and of latitude on the WGS84 ellipsoid, right to a meter.

    Source: the series in "Degree of longitude" and "Degree of latitude", National Geospatial-Intelligence Agency,
    as given at https://en.wikipedia.org/wiki/Geographic_coordinate_system.
    """
    phi = np.radians(latitude)
    east = 111_412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi) + 0.118 * np.cos(5 * phi)
    north = 111_132.92 - 559.82 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi) - 0.0023 * np.cos(6 * phi)
    return east, north
