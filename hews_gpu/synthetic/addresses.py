"""The addresses of a city, at which everything happens: a finite set, so that the law of places is a finite table.

An incident happens within some meters of an address. Addresses crowd around the hot spots along streets and are
spread evenly otherwise; each lies so far inside its neighborhood that no incident there is counted to another.
Coordinates are whole multiples of 1e-5 degrees, which is what the portal's table can say: nothing is lost in writing.

Shapes: A addresses, N neighborhoods, E incidents, K near addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.spatial import cKDTree

from hews_gpu.synthetic.geography import CENTRE_DEGREES, Ground, degrees_per_meter
from hews_gpu.synthetic.process import Float64, Int64

__all__ = ["PER_DEGREE", "Addresses", "make_addresses", "meters"]

PER_DEGREE = 100_000  # coordinates are whole numbers of hundred-thousandths of a degree, about a meter
PER_SPOT, EVEN = 60, 9_000  # addresses drawn around each hot spot, and evenly over the city
JITTER = 8  # an incident is at most so many hundred-thousandths from its address, along each axis
MARGIN_M = 15.0  # from an address to the edge of its neighborhood: more than an incident strays, and rounding
NEAR = 8  # what an incident sets off nearby happens at one of so many addresses
SPOT_CONTRAST = 1.1  # log standard deviation of what hot spots have in common over all categories ...
SPOT_TASTE = 0.9  # ... and of what each category adds of its own


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """All addresses of a city."""

    point: Int64  # [A, 2] longitude and latitude in 1 / PER_DEGREE
    area: Int64  # [A] index of the neighborhood
    spot: Int64  # [A] index of the hot spot, or -1
    near: Int64  # [A, K] the nearest addresses of the same neighborhood, itself among them
    spot_weight: Float64  # [spots] log weight that all categories have in common

    def weights(self, rng: np.random.Generator, hot_share: float) -> Float64:
        """[A] chance of each address for a category, of which a share falls on hot spots."""
        taste = np.exp(self.spot_weight + rng.normal(0, SPOT_TASTE, size=len(self.spot_weight)))
        is_hot = self.spot >= 0
        hot = np.where(is_hot, taste[self.spot], 0.0)
        even = np.where(is_hot, 0.0, 1.0)
        return np.asarray(hot_share * hot / hot.sum() + (1 - hot_share) * even / even.sum(), dtype=np.float64)

    def draw(self, rng: np.random.Generator, count: int, weights: Float64) -> Int64:
        """[count] addresses."""
        edges = np.cumsum(weights)
        found = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
        return np.asarray(np.minimum(found, len(weights) - 1), dtype=np.int64)

    def draw_near(self, rng: np.random.Generator, address: Int64) -> Int64:
        """[E] for each address one of those near it, in the same neighborhood."""
        return np.asarray(self.near[address, rng.integers(0, NEAR, size=len(address))], dtype=np.int64)

    def places(self, rng: np.random.Generator, address: Int64) -> Int64:
        """[E, 2] where exactly an incident at each address happens, in 1 / PER_DEGREE."""
        return self.point[address] + rng.integers(-JITTER, JITTER + 1, size=(len(address), 2))


def meters(point: Int64) -> Float64:
    """[..., 2] meters around the center of points in 1 / PER_DEGREE."""
    return np.asarray((point / PER_DEGREE - CENTRE_DEGREES) / degrees_per_meter(), dtype=np.float64)


def make_addresses(rng: np.random.Generator, ground: Ground) -> Addresses:
    """Draw the addresses of a city; each neighborhood has at least NEAR."""
    spot = np.concatenate([np.repeat(np.arange(len(ground.spots_m)), PER_SPOT), np.full(EVEN, -1)])
    hot = spot[spot >= 0]
    drawn = [ground.near(rng, ground.spots_m[hot], ground.spot_spread_m[hot]), ground.uniform(rng, EVEN)]
    inside = [shapely.buffer(cell, -MARGIN_M) for cell in ground.cells]
    fill = [_inside(rng, cell, NEAR) for cell in inside]
    spot = np.concatenate([spot, np.full(len(fill) * NEAR, -1)])
    degrees = CENTRE_DEGREES + np.concatenate([*drawn, *fill]) * degrees_per_meter()
    point = np.rint(degrees * PER_DEGREE).astype(np.int64)
    area = _area_of(inside, meters(point))
    kept = area >= 0
    point, area, spot = point[kept], area[kept], spot[kept]
    common = rng.normal(0, SPOT_CONTRAST, size=len(ground.spots_m))
    return Addresses(point=point, area=area, spot=spot, near=_near(meters(point), area), spot_weight=common)


def _inside(rng: np.random.Generator, cell: shapely.Polygon, count: int) -> Float64:
    """[count, 2] places in a polygon, spread evenly."""
    found = np.empty((0, 2))
    west, south, east, north = cell.bounds
    while len(found) < count:
        places = rng.uniform((west, south), (east, north), size=(4 * count, 2))
        found = np.concatenate([found, places[shapely.contains_xy(cell, *places.T)]])
    return found[:count]


def _area_of(cells: list[shapely.Polygon], places_m: Float64) -> Int64:
    """[A] which of the polygons holds each place, or -1."""
    area = np.full(len(places_m), -1, dtype=np.int64)
    for index, cell in enumerate(cells):
        shapely.prepare(cell)
        area[shapely.contains_xy(cell, *places_m.T)] = index
    return area


def _near(places_m: Float64, area: Int64) -> Int64:
    """[A, K] the nearest addresses of the same neighborhood."""
    near = np.empty((len(area), NEAR), dtype=np.int64)
    for index in range(int(area.max()) + 1):
        mine = np.flatnonzero(area == index)
        assert len(mine) >= NEAR
        _, found = cKDTree(places_m[mine]).query(places_m[mine], k=NEAR)
        near[mine] = mine[found]
    return near
