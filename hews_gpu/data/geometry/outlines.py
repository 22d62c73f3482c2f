"""The edges of a prepared city's neighborhoods as plain arrays, read without geopandas or shapely.

Drawing outlines needs no more of polygons, so maps can be drawn, and models trained on them, on a machine that has
neither library. Polygons are stored as well-known binary in a GeoParquet column: a byte for the byte order, a type, a
count, and then rings of points (OGC 06-103r4, section 8.2).

Shapes: N neighborhoods, S segments.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Float64, Int64

__all__ = ["Outlines", "meters_per_degree", "outlines_of", "read_outlines"]

POLYGON, MULTIPOLYGON = 3, 6
ORDERS = {0: ">", 1: "<"}


@dataclass(frozen=True, eq=False)
class Outlines:
    """Every edge of every ring of N polygons, outer ones and holes."""

    ends: Float64  # [S, 4] longitude and latitude of either end
    owner: Int64  # [S] polygon that each belongs to, ascending
    wkb: tuple[bytes, ...]  # [N] the polygons as they are stored

    def __len__(self) -> int:
        return len(self.wkb)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        begins = self.ends[:, :2]  # of all points, since rings are closed
        (west, south), (east, north) = begins.min(axis=0).tolist(), begins.max(axis=0).tolist()
        return west, south, east, north


def read_outlines(file: Path) -> Outlines:
    """Read the outlines in a GeoParquet file whose column `geometry` holds polygons.

    Raises:
        ValueError: it holds something else.
        OSError: it cannot be read.
    """
    column = pq.read_table(file, columns=["geometry"])["geometry"]
    if not pa.types.is_binary(column.type) and not pa.types.is_large_binary(column.type):
        raise ValueError(f"geometry: is {column.type}, must be well-known binary")
    return outlines_of(column.to_pylist())


def outlines_of(polygons: Iterable[bytes]) -> Outlines:
    """Return the outlines of polygons given as well-known binary.

    Raises:
        ValueError: one is something else.
    """
    stored = tuple(bytes(polygon) for polygon in polygons)
    rings = [(n, ring) for n, one in enumerate(stored) for ring in _rings(one)]
    ends = [np.hstack([ring[:-1], ring[1:]]) for _, ring in rings]
    owner = [np.full(len(ring) - 1, n, dtype=np.int64) for n, ring in rings]
    empty = np.zeros((0, 4))
    return Outlines(np.concatenate([empty, *ends]), np.concatenate([np.zeros(0, np.int64), *owner]), stored)


def _rings(stored: bytes) -> list[Float64]:
    """Return the rings [points, 2] of one polygon or of several together."""
    rings: list[Float64] = []
    at = _geometry(stored, 0, rings)
    if at != len(stored):
        raise ValueError(f"geometry: has {len(stored) - at} bytes too many")
    return rings


def _geometry(stored: bytes, at: int, rings: list[Float64]) -> int:
    """Read one geometry at an offset, add its rings, and return the offset of its end."""
    order = ORDERS[stored[at]]
    kind, count = struct.unpack_from(f"{order}II", stored, at + 1)
    at += 9
    if kind not in (POLYGON, MULTIPOLYGON):
        raise ValueError(f"geometry: is of type {kind}, must be a polygon (3) or several (6), without heights")
    for _ in range(count):
        if kind == MULTIPOLYGON:
            at = _geometry(stored, at, rings)
            continue
        (points,) = struct.unpack_from(f"{order}I", stored, at)
        numbers = np.frombuffer(stored, f"{order}f8", 2 * points, at + 4)
        rings.append(numbers.astype(np.float64).reshape(points, 2))
        at += 4 + 16 * points
    return at


def meters_per_degree(latitude: Float64) -> tuple[Float64, Float64]:
    """Return the length in meters of a degree of longitude and of latitude on the WGS84 ellipsoid, right to a meter.

    Source: the series in "Degree of longitude" and "Degree of latitude", National Geospatial-Intelligence Agency,
    as given at https://en.wikipedia.org/wiki/Geographic_coordinate_system.
    """
    phi = np.radians(latitude)
    east = 111_412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi) + 0.118 * np.cos(5 * phi)
    north = 111_132.92 - 559.82 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi) - 0.0023 * np.cos(6 * phi)
    return east, north
