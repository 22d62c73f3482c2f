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
from typing import Any

import numpy as np

from hews_gpu.arrays import Bool, Float64, Int32
from hews_gpu.data.geometry.areas import Areas, find_in_grid

__all__ = ["find_with_cuspatial", "guarded"]

MOST_POLYGONS = 31
SAMPLE = 10_000
MAX_DEPTH, MAX_SIZE = 12, 128
"""Of the tree: a city in 4096 x 4096 leaves of at most 128 points, where the depth allows."""
NONE, SEVERAL = -1, -2


def find_with_cuspatial(areas: Areas, longitude: Float64, latitude: Float64) -> Int32:
    """Return int32[P]: the first polygon that covers each point, edges included, or -1."""
    west, south, east, north = areas.bounds  # a point that is no number is not within them
    inside = np.flatnonzero((longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north))
    polygon = np.full(len(longitude), NONE, np.int32)
    x, y = longitude[inside], latitude[inside]
    polygon[inside] = guarded(_search(areas, x, y), areas, x, y)
    return polygon


def guarded(answers: Int32, areas: Areas, x: Float64, y: Float64) -> Int32:
    """Return the answers of `_search`, of points within the bounds, with ours in place of those not to be trusted."""
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


def _search(areas: Areas, x: Float64, y: Float64) -> Int32:
    """Return int32[P], the one polygon that cuSpatial gives for each point, NONE or SEVERAL."""
    import cudf
    import cuspatial

    answers = np.full(len(x), NONE, np.int32)
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
        first = answers[at] == NONE
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
