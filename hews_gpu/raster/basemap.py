"""The part of a reference map that no incident changes: black outlines, and who owns each pixel of an outline.

Built once, in float64, from the polygons; what comes out are small integer tables. Each pixel is looked at in
4 x 4 parts. A line of width w, in parts, covers a part whose middle is at distance d from it by
`clip(1/2 + w/2 - d, 0, min(w, 1))`. Distances are exact, to the nearest segment: every segment is compared with the
few parts around it, and the nearest one per polygon and part wins.

Shapes: N neighborhoods, S segments, P pixels that some outline touches, Q (pixel, owner) pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.arrays import Float64, Int32, Int64, UInt8
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.style import ReferenceStyle

if TYPE_CHECKING:
    from hews_gpu.data.geometry.outlines import Outlines

__all__ = ["Basemap"]

PARTS = 4
"""A pixel is covered as its 4 x 4 parts are on average, each by its middle's distance from the outline: so a thin line
that bends within a pixel, or runs aslant, leaves as much ink as it should."""
PIECE_PARTS = 8.0
"""Longer segments are cut, so that the parts compared with a slanted one stay few; in parts."""


@dataclass(frozen=True, eq=False)
class Basemap:
    """Integer tables of one city's outlines on one map."""

    geometry: MapGeometry
    base: UInt8
    """[H, X, 3]: white, and every outline blended over it in black."""
    pixel: Int32
    """[P] row * X + column of the pixels that some outline touches, ascending."""
    start: Int32
    """[P + 1] pixel p is touched by the owners [start[p], start[p + 1])."""
    owner: Int32
    """[Q] neighborhood, ascending within a pixel."""
    coverage: UInt8
    """[Q] share of the pixel that the owner's outline covers, in 1/255."""
    neighborhoods: int
    """N."""

    @classmethod
    def build(cls, outlines: Outlines, geometry: MapGeometry, style: ReferenceStyle) -> Basemap:
        """Draw the outlines of a city on a map."""
        begin, end = (geometry.to_pixels(outlines.ends[:, k], outlines.ends[:, k + 1]) for k in (0, 2))
        ends = np.stack([*begin, *end], axis=1)
        owner, pixel, coverage = _coverage(ends, outlines.owner, geometry, style.line_width_px)
        keep = np.rint(coverage * 255) > 0
        owner, pixel, coverage = owner[keep], pixel[keep], coverage[keep]
        base = _blend_black(pixel, coverage * style.line_alpha, geometry)
        order = np.lexsort((owner, pixel))
        pixels, counts = np.unique(pixel, return_counts=True)
        return cls(
            geometry=geometry,
            base=base,
            pixel=pixels.astype(np.int32),
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            owner=owner[order].astype(np.int32),
            coverage=np.rint(coverage[order] * 255).astype(np.uint8),
            neighborhoods=len(outlines),
        )


def _cut(ends: Float64, owners: Int64) -> tuple[Float64, Int64]:
    """Cut segments into pieces of at most `PIECE_PARTS`."""
    begin, way = ends[:, :2], ends[:, 2:] - ends[:, :2]
    pieces = np.maximum(np.ceil(np.hypot(way[:, 0], way[:, 1]) / PIECE_PARTS), 1).astype(np.int64)
    of = np.repeat(np.arange(len(ends)), pieces)
    step = _count_up(pieces)[:, None]
    share = way[of] / pieces[of, None]
    low = begin[of] + step * share
    return np.concatenate([low, low + share], axis=1), owners[of]


def _count_up(counts: Int64) -> Int64:
    """Return 0 .. counts[0] - 1, 0 .. counts[1] - 1, ..."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _coverage(
    ends: Float64, owners: Int64, geometry: MapGeometry, line_width_px: float
) -> tuple[Int64, Int64, Float64]:
    """Return owner, pixel and covered share of each (owner, pixel) that an outline touches, by owner, then pixel."""
    height, width = geometry.height, geometry.width
    pieces, piece_owners = _cut(ends * PARTS, owners)
    owner, part, covered = _parts(pieces, piece_owners, height * PARTS, width * PARTS, line_width_px * PARTS)
    row, column = np.divmod(part, width * PARTS)
    key = (owner * height + row // PARTS) * width + column // PARTS
    keys, which = np.unique(key, return_inverse=True)
    share = np.round(np.bincount(which, covered, len(keys)) / PARTS**2, 9)  # sums of 0.3 are not to decide a rounding
    return keys // (height * width), keys % (height * width), share


def _parts(ends: Float64, owners: Int64, rows: int, columns: int, line_width: float) -> tuple[Int64, Int64, Float64]:
    """Return owner, part and coverage of the parts of pixels, with all lengths in parts."""
    reach = 0.5 + line_width / 2
    size = (columns, rows)
    low = [np.minimum(ends[:, k], ends[:, k + 2]) for k in (0, 1)]
    high = [np.maximum(ends[:, k], ends[:, k + 2]) for k in (0, 1)]
    begin = [np.clip(np.ceil(low[k] - reach - 0.5), 0, size[k]).astype(np.int64) for k in (0, 1)]
    end = [np.clip(np.floor(high[k] + reach - 0.5) + 1, 0, size[k]).astype(np.int64) for k in (0, 1)]
    wide, tall = (np.maximum(end[k] - begin[k], 0) for k in (0, 1))
    of = np.repeat(np.arange(len(ends)), wide * tall)  # the segment of each comparison
    index = _count_up(wide * tall)
    column = begin[0][of] + index % np.maximum(wide, 1)[of]
    row = begin[1][of] + index // np.maximum(wide, 1)[of]
    distance = _distance(column + 0.5, row + 0.5, ends[of])
    covered = np.clip(reach - distance, 0, min(line_width, 1.0))
    near = covered > 0
    key = (owners[of] * (rows * columns) + row * columns + column)[near]
    return _most_per_key(key, covered[near], rows * columns)


def _most_per_key(key: Int64, covered: Float64, pixels: int) -> tuple[Int64, Int64, Float64]:
    """Return the largest coverage of each (owner, pixel), that is, of its nearest segment."""
    if len(key) == 0:
        return key, key, covered
    order = np.argsort(key, kind="stable")
    key, covered = key[order], covered[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    return key[first] // pixels, key[first] % pixels, np.maximum.reduceat(covered, first)


def _distance(x: Float64, y: Float64, ends: Float64) -> Float64:
    """Return the distance of points from segments [.., 4]; a segment of no length is a point."""
    x0, y0 = ends[:, 0], ends[:, 1]
    along_x, along_y = ends[:, 2] - x0, ends[:, 3] - y0
    length2 = along_x**2 + along_y**2
    t = ((x - x0) * along_x + (y - y0) * along_y) / np.where(length2 > 0, length2, 1.0)
    t = np.clip(t, 0.0, 1.0)
    return np.hypot(x - x0 - t * along_x, y - y0 - t * along_y)


def _blend_black(pixel: Int64, alpha: Float64, geometry: MapGeometry) -> UInt8:
    """Blend black over white once per entry; each blend multiplies what is there by 1 - alpha."""
    light = np.ones(geometry.height * geometry.width)
    np.multiply.at(light, pixel, 1 - alpha)
    gray = np.rint(light * 255).astype(np.uint8).reshape(geometry.height, geometry.width, 1)
    return np.ascontiguousarray(np.broadcast_to(gray, (geometry.height, geometry.width, 3)))
