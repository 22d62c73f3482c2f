"""Points in polygons by cuSpatial's quadtree, guarded: it was never run in our tests, and its answers are checked.

cuSpatial's last release, 25.04, is on no index that we could install from. What is known of it is guarded against:

- polygons go in by 31 at a time, the limit of its other search (a bit each of an int32) that was met in this one, too;
- a point on an edge, or level with a vertical one, may be given to any polygon or to none: whatever is not in exactly
  one polygon is looked up again by our own search, and so is all that lies on a polygon's bounding box;
- a tree that does not hold every point once (points outside its box are lost without a word) is not used;
- of all other answers a sample is compared with our own search. If any differs, a warning gives the count, and all
  points are looked up again.

API: https://docs.rapids.ai/api/cuspatial/stable/api_docs/spatial

Shapes: P points, N polygons.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hews_gpu.data.geometry.point_in_polygon import Areas

__all__ = ["MOST_POLYGONS", "SAMPLE", "find_with_cuspatial", "guarded"]

MOST_POLYGONS = 31
SAMPLE = 10_000
MAX_DEPTH, MAX_SIZE = 12, 128
"""Of the tree: a city in 4096 x 4096 leaves of at most 128 points, where the depth allows."""
NONE, SEVERAL = -1, -2

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]


def find_with_cuspatial(areas: Areas, longitude: Floats, latitude: Floats) -> Ids:
    """int32[P]: the first polygon that covers each point, edges included, or -1."""
    inside = np.flatnonzero(_within(areas.bounds, longitude, latitude))
    found = np.full(len(longitude), NONE, np.int32)
    x, y = longitude[inside], latitude[inside]
    found[inside] = guarded(_search(areas, x, y), areas, x, y)
    return found


def guarded(found: Ids, areas: Areas, x: Floats, y: Floats) -> Ids:
    """The answers of `_search`, with ours in place of those that cannot be trusted.

    Args:
        found: int32[P] the one polygon of each point, NONE or SEVERAL.
        areas: the polygons.
        x: float64[P] within the bounds of all polygons.
        y: float64[P].
    """
    from hews_gpu.data.geometry.grid import find_in_grid

    result = found.copy()
    is_open = (found < 0) | _on_a_box(areas, found, x, y)
    result[is_open] = find_in_grid(areas.grid, x[is_open], y[is_open])
    settled = np.flatnonzero(~is_open)
    sample = np.random.default_rng(len(settled)).permutation(settled)[:SAMPLE]
    wrong = int((find_in_grid(areas.grid, x[sample], y[sample]) != found[sample]).sum())
    if wrong:
        text = f"cuSpatial and our own search differ for {wrong} of {len(sample)} points; all are looked up again"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return find_in_grid(areas.grid, x, y)
    return result


def _within(bounds: tuple[float, float, float, float], x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """Which points lie in a box, its sides included; none that is no number."""
    west, south, east, north = bounds
    within: npt.NDArray[np.bool_] = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    return within


def _on_a_box(areas: Areas, found: Ids, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """Which points lie on a side of the bounding box of the polygon they were given to."""
    vertex, start, polygon = areas.rings
    of_vertex = np.repeat(polygon, np.diff(start))
    low, high = (np.full((int(polygon.max()) + 1, 2), limit) for limit in (np.inf, -np.inf))
    np.minimum.at(low, of_vertex, vertex)
    np.maximum.at(high, of_vertex, vertex)
    of = np.maximum(found, 0)
    touches: npt.NDArray[np.bool_] = (x == low[of, 0]) | (x == high[of, 0]) | (y == low[of, 1]) | (y == high[of, 1])
    return touches


def _search(areas: Areas, x: Floats, y: Floats) -> Ids:
    """int32[P] the one polygon that cuSpatial finds for each point, NONE or SEVERAL."""
    import cudf
    import cuspatial

    found = np.full(len(x), NONE, np.int32)
    if not len(x):
        return found
    west, south, east, north = areas.bounds
    box = (west, east, south, north)
    scale = max(east - west, north - south) / ((1 << MAX_DEPTH) - 2)
    points = cuspatial.GeoSeries.from_points_xy(cudf.Series(np.column_stack([x, y]).ravel()))
    order, tree = cuspatial.quadtree_on_points(points, *box, scale, MAX_DEPTH, MAX_SIZE)
    if not _holds_each_once(order, tree, len(x)):
        return found  # our own search then looks all of them up
    order = order.to_numpy()
    for begin in range(0, int(areas.rings[2].max()) + 1, MOST_POLYGONS):
        polygons = _polygons(areas, begin, begin + MOST_POLYGONS)
        boxes = cuspatial.polygon_bounding_boxes(polygons)
        pairs = cuspatial.join_quadtree_and_bounding_boxes(tree, boxes, *box, scale, MAX_DEPTH)
        hits = cuspatial.quadtree_point_in_polygon(pairs, tree, cudf.Series(order), points, polygons)
        at = order[hits["point_index"].to_numpy()]  # an index into the order, not into the points
        polygon = hits["polygon_index"].to_numpy().astype(np.int32) + begin
        first = found[at] == NONE
        found[at] = np.where(first, polygon, SEVERAL)
        repeated, times = np.unique(at, return_counts=True)
        found[repeated[times > 1]] = SEVERAL
    return found


def _holds_each_once(order: Any, tree: Any, points: int) -> bool:
    """Whether a tree's leaves hold every point once."""
    leaves = tree[~tree["is_internal_node"]]
    return int(leaves["length"].sum()) == points and bool((np.sort(order.to_numpy()) == np.arange(points)).all())


def _polygons(areas: Areas, begin: int, end: int) -> Any:
    """Polygons [begin, end) as a GeoSeries: a multipolygon's rings make one polygon, whose inside is the same."""
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
