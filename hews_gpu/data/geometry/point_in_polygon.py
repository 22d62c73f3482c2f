"""Which neighborhood each point belongs to, by whichever engine: the answers are the same.

Membership is exact: a point strictly inside a polygon, in longitude and latitude as given, belongs to it. A point that
several polygons cover, because they share an edge or overlap, belongs to the one that comes first in the file. A point
that no polygon covers may go to the nearest one within a tolerance. Distances are meters of a local equirectangular
scaling at the middle latitude of all polygons: for a city 35 km tall at 40 degrees they are right to 0.3 percent.

Nothing here needs shapely unless the shapely engine or a tolerance is asked for, so that a GPU machine without it can
look points up.

Shapes: N neighborhoods, V vertices, P points, Q distinct points.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.arrays import Bool, Float64, Int16, Int32, Int64
from hews_gpu.data.backend import as_array_like, to_host
from hews_gpu.data.geometry.outlines import meters_per_degree
from hews_gpu.environment.device import probe
from hews_gpu.errors import UserError
from hews_gpu.kernels.pip_tables import OUTSIDE, PipTables, build_tables

__all__ = [
    "MAX_NEIGHBORHOODS",
    "OUTSIDE",
    "Areas",
    "Engine",
    "engine_for",
    "find_in_grid",
    "find_neighborhoods",
    "flat_rings",
    "grid_of",
    "require_engine",
]

MAX_NEIGHBORHOODS = np.iinfo(np.int16).max
Engine = Literal["shapely", "numba", "cuda", "cuspatial"]
"""What looks points up: all give the same answers. Numba is a hundred times as fast as shapely once it has compiled
itself; cuda is the same search on a GPU; cuspatial is for those who have it, and is checked against ours."""
ROWS_THAT_PAY = 1_000_000
"""From so many rows on numba is faster. It needs about 0.5 seconds of CPU time to load a kernel that is kept on disk
(and compiles for 3 seconds the first time of all); shapely, which looks up distinct places only, needs about 1
microsecond a row of an incident table, where two in three rows repeat a place."""
ROWS_THAT_PAY_COMPILING = 4_000_000
"""The same where no kernel can be kept, so that every process compiles it."""
SHAPELY_LOCK = Lock()  # a prepared polygon makes its index when it is first asked: two threads at it corrupt memory
MOST_POLYGONS = 31  # of one call of cuSpatial
SAMPLE = 10_000  # answers of cuSpatial that are checked
MAX_DEPTH, MAX_SIZE = 12, 128
"""Of cuSpatial's tree: a city in 4096 x 4096 leaves of at most 128 points, where the depth allows."""
SEVERAL = -2


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
    with SHAPELY_LOCK:
        shapely.prepare(areas.shapes)
        polygon, point = shapely.STRtree(points).query(areas.shapes, predicate="intersects")
    ids[is_place] = _lowest(polygon, point, len(points))[inverse]
    return ids


def find_with_cuspatial(areas: Areas, longitude: Float64, latitude: Float64) -> Int32:
    """Return int32[P]: the first polygon that covers each point, edges included, or OUTSIDE.

    cuSpatial's last release, 25.04, is on no index that we could install from: it was never run in our tests, and its
    answers are checked. What is known of it is guarded against:

    - polygons go in by 31 at a time, the limit of its other search (a bit each of an int32) that was met in this one;
    - a point on an edge, or level with a vertical one, may be given to any polygon or to none: whatever is not in
      exactly one polygon is looked up again by our own search, and so is all that lies on a polygon's bounding box;
    - a tree that does not hold every point once (points outside its box are lost without a word) is not used;
    - of all other answers a sample is compared with our own search. If any differs, a warning gives the count, and all
      points are looked up again.

    API: https://docs.rapids.ai/api/cuspatial/stable/api_docs/spatial
    """
    west, south, east, north = areas.bounds  # a point that is no number is not within them
    inside = np.flatnonzero((longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north))
    polygon = np.full(len(longitude), OUTSIDE, np.int32)
    x, y = longitude[inside], latitude[inside]
    polygon[inside] = guarded(_search_with_cuspatial(areas, x, y), areas, x, y)
    return polygon


def guarded(answers: Int32, areas: Areas, x: Float64, y: Float64) -> Int32:
    """Return the answers of cuSpatial, of points within the bounds, with ours in place of those not to be trusted."""
    result = answers.copy()
    is_open = (answers < 0) | _on_a_box(areas, answers, x, y)
    result[is_open] = find_in_grid(areas.grid, x[is_open], y[is_open])
    settled = np.flatnonzero(~is_open)
    sample = np.random.default_rng(len(settled)).permutation(settled)[:SAMPLE]
    wrong = int((find_in_grid(areas.grid, x[sample], y[sample]) != answers[sample]).sum())
    if wrong:
        text = f"cuSpatial and our own search differ for {wrong} of {len(sample)} points; all are looked up again"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return find_in_grid(areas.grid, x, y)
    return result


def _on_a_box(areas: Areas, answers: Int32, x: Float64, y: Float64) -> Bool:
    """Return which points lie on a side of the bounding box of the polygon they were given to."""
    vertex, start, polygon = areas.rings
    of_vertex = np.repeat(polygon, np.diff(start))
    low, high = (np.full((int(polygon.max()) + 1, 2), limit) for limit in (np.inf, -np.inf))
    np.minimum.at(low, of_vertex, vertex)
    np.maximum.at(high, of_vertex, vertex)
    of = np.maximum(answers, 0)
    touches: Bool = (x == low[of, 0]) | (x == high[of, 0]) | (y == low[of, 1]) | (y == high[of, 1])
    return touches


def _search_with_cuspatial(areas: Areas, x: Float64, y: Float64) -> Int32:
    """Return int32[P], the one polygon that cuSpatial gives for each point, OUTSIDE or SEVERAL."""
    import cudf
    import cuspatial

    answers = np.full(len(x), OUTSIDE, np.int32)
    if not len(x):
        return answers
    west, south, east, north = areas.bounds
    box = (west, east, south, north)
    scale = max(east - west, north - south) / ((1 << MAX_DEPTH) - 2)
    points = cuspatial.GeoSeries.from_points_xy(cudf.Series(np.column_stack([x, y]).ravel()))
    order, tree = cuspatial.quadtree_on_points(points, *box, scale, MAX_DEPTH, MAX_SIZE)
    if not _holds_each_once(order, tree, len(x)):
        return answers  # our own search then looks all of them up
    order = order.to_numpy()
    for begin in range(0, int(areas.rings[2].max()) + 1, MOST_POLYGONS):
        polygons = _polygons(areas, begin, begin + MOST_POLYGONS)
        boxes = cuspatial.polygon_bounding_boxes(polygons)
        pairs = cuspatial.join_quadtree_and_bounding_boxes(tree, boxes, *box, scale, MAX_DEPTH)
        hits = cuspatial.quadtree_point_in_polygon(pairs, tree, cudf.Series(order), points, polygons)
        at = order[hits["point_index"].to_numpy()]  # an index into the order, not into the points
        polygon = hits["polygon_index"].to_numpy().astype(np.int32) + begin
        first = answers[at] == OUTSIDE
        answers[at] = np.where(first, polygon, SEVERAL)
        repeated, times = np.unique(at, return_counts=True)
        answers[repeated[times > 1]] = SEVERAL
    return answers


def _holds_each_once(order: Any, tree: Any, points: int) -> bool:
    """Return whether a tree's leaves hold every point once."""
    leaves = tree[~tree["is_internal_node"]]
    return int(leaves["length"].sum()) == points and bool((np.sort(order.to_numpy()) == np.arange(points)).all())


def _polygons(areas: Areas, begin: int, end: int) -> Any:
    """Return polygons [begin, end) as a GeoSeries: all rings of a multipolygon make one polygon of the same inside."""
    import cudf
    import cuspatial

    vertex, start, polygon = areas.rings
    low, high = np.searchsorted(polygon, [begin, end])
    vertices = vertex[start[low] : start[high]]
    rings = start[low : high + 1] - start[low]
    parts = np.searchsorted(polygon[low:high], np.arange(begin, min(end, int(polygon.max()) + 1) + 1))
    count = np.arange(len(parts))
    columns = (cudf.Series(array) for array in (vertices.ravel(), rings, parts, count))
    return cuspatial.GeoSeries.from_polygons_xy(*columns)


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
