"""Where incidents happen: at the addresses of a city, or anywhere in it.

Most cities have addresses, a finite set, so that the law of places is a finite table. Addresses crowd around the hot
spots along streets and are spread evenly otherwise; each lies so far inside its neighborhood that no incident there is
counted to another. An incident happens within some meters of an address. Coordinates are whole multiples of 1e-5
degrees, which is what the portal's table can say: nothing is lost in writing.

In a city without addresses, incidents fall around the hot spots and anywhere else, and what one sets off falls around
it, across the edges of neighborhoods. Of such a city the truth is known as a whole: it counts as one area.

Shapes: A addresses, N areas, E incidents, K near addresses, S hot spots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from scipy.spatial import cKDTree

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.synthetic.geography import CENTER_DEGREES, Layout, degrees_per_meter

__all__ = [
    "PER_DEGREE",
    "Addresses",
    "Anywhere",
    "Place",
    "PlaceModel",
    "around",
    "choose",
    "make_addresses",
    "make_anywhere",
    "meters",
]

PER_DEGREE = 100_000  # coordinates are whole numbers of hundred-thousandths of a degree, about a meter
PER_SPOT, EVEN = 60, 9_000  # addresses drawn around each hot spot, and evenly over the city
JITTER = 8  # an incident is at most so many hundred-thousandths from its address, along each axis
MARGIN_M = 15.0  # from an address to the edge of its neighborhood: more than an incident strays, and rounding
NEAR = 8  # what an incident sets off nearby happens at one of so many addresses
SPOT_CONTRAST = 1.1  # log standard deviation of what hot spots have in common over all categories ...
SPOT_TASTE = 0.9  # ... and of what each category adds of its own

Place = npt.NDArray[Any]
"""Indices of addresses [E], or meters around the center [E, 2]."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """All addresses of a city."""

    point: Int64  # [A, 2] longitude and latitude in 1 / PER_DEGREE
    area: Int64  # [A] index of the neighborhood
    spot: Int64  # [A] index of the hot spot, or -1
    near: Int64  # [A, K] the nearest addresses of the same neighborhood, itself among them
    spot_weight: Float64  # [S] log weight that all categories have in common

    @property
    def areas(self) -> int:
        """N."""
        return int(self.area.max()) + 1

    def weights(self, rng: np.random.Generator, hot_share: float) -> Float64:
        """Draw the chance of each address [A] for a category, of which a share falls on hot spots."""
        taste = np.exp(self.spot_weight + rng.normal(0, SPOT_TASTE, size=len(self.spot_weight)))
        is_hot = self.spot >= 0
        hot = np.where(is_hot, taste[self.spot], 0.0)
        even = np.where(is_hot, 0.0, 1.0)
        return np.asarray(hot_share * hot / hot.sum() + (1 - hot_share) * even / even.sum(), dtype=np.float64)

    def draw(self, rng: np.random.Generator, count: int, weights: Float64) -> Int64:
        """Draw addresses [count] by their weights [A]."""
        return choose(rng, count, weights)

    def draw_near(self, rng: np.random.Generator, place: Int64, kept: Bool, spread_m: float = 0.0) -> Int64:
        """Draw for each address that is `kept` [E] one of those near it, in the same neighborhood."""
        return np.asarray(self.near[place, rng.integers(0, NEAR, size=len(place))][kept], dtype=np.int64)

    def position(self, rng: np.random.Generator, place: Int64) -> Float64:
        """Draw where exactly an incident at each address happens, in meters around the center [E, 2]."""
        return meters(around(rng, self.point[place]))

    def area_of(self, place: Int64) -> Int64:
        """Return the neighborhood of each address [E]."""
        return np.asarray(self.area[place], dtype=np.int64)

    def shares(self, weights: Float64) -> Float64:
        """Return the share of each neighborhood in what happens at addresses by these weights [N]."""
        return np.bincount(self.area, weights, minlength=self.areas).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Anywhere:
    """A city without addresses; all of it is one area."""

    layout: Layout
    spot_weight: Float64  # [S] log weight that all categories have in common
    areas: int = 1

    def weights(self, rng: np.random.Generator, hot_share: float) -> Float64:
        """Return the share of hot spots alone [1]: how they share it is drawn with the places."""
        return np.array([hot_share])

    def draw(self, rng: np.random.Generator, count: int, weights: Float64) -> Float64:
        """Draw places [count, 2]: on hot spots, which are weighted anew by each call, or anywhere."""
        taste = np.exp(self.spot_weight + rng.normal(0, SPOT_TASTE, size=len(self.spot_weight)))
        return self.layout.mixture(rng, count, float(weights[0]), taste / taste.sum())

    def draw_near(self, rng: np.random.Generator, place: Float64, kept: Bool, spread_m: float) -> Float64:
        """Draw one place around each given one that is `kept` [E]."""
        return self.layout.near(rng, place[kept], spread_m)

    def position(self, rng: np.random.Generator, place: Float64) -> Float64:
        """Return the places themselves [E, 2]."""
        return place

    def area_of(self, place: Float64) -> Int64:
        """Return zeros [E]."""
        return np.zeros(len(place), dtype=np.int64)

    def shares(self, weights: Float64) -> Float64:
        """Return a one [1]."""
        return np.ones(1)


PlaceModel = Addresses | Anywhere


def choose(rng: np.random.Generator, count: int, weights: Float64) -> Int64:
    """Draw indices [count] by their weights."""
    edges = np.cumsum(weights)
    index = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
    return np.asarray(np.minimum(index, len(weights) - 1), dtype=np.int64)


def around(rng: np.random.Generator, point: Int64) -> Int64:
    """Draw a point within some meters of each address [E, 2], in 1 / PER_DEGREE."""
    return np.asarray(point + rng.integers(-JITTER, JITTER + 1, size=(len(point), 2)), dtype=np.int64)


def meters(point: Int64) -> Float64:
    """Return points in 1 / PER_DEGREE as meters around the center [..., 2]."""
    return np.asarray((point / PER_DEGREE - CENTER_DEGREES) / degrees_per_meter(), dtype=np.float64)


def make_anywhere(rng: np.random.Generator, layout: Layout) -> Anywhere:
    """Draw what makes the hot spots of a city without addresses differ."""
    return Anywhere(layout=layout, spot_weight=rng.normal(0, SPOT_CONTRAST, size=len(layout.spots_m)))


def make_addresses(rng: np.random.Generator, layout: Layout) -> Addresses:
    """Draw the addresses of a city; each neighborhood has at least NEAR."""
    spot = np.concatenate([np.repeat(np.arange(len(layout.spots_m)), PER_SPOT), np.full(EVEN, -1)])
    hot = spot[spot >= 0]
    drawn = [layout.near(rng, layout.spots_m[hot], layout.spot_spread_m[hot]), layout.uniform(rng, EVEN)]
    inside = [shapely.buffer(cell, -MARGIN_M) for cell in layout.cells]
    fill = [_inside(rng, cell, NEAR) for cell in inside]
    spot = np.concatenate([spot, np.full(len(fill) * NEAR, -1)])
    degrees = CENTER_DEGREES + np.concatenate([*drawn, *fill]) * degrees_per_meter()
    point = np.rint(degrees * PER_DEGREE).astype(np.int64)
    xy_m, area = meters(point), np.full(len(point), -1, dtype=np.int64)
    for index, cell in enumerate(inside):
        shapely.prepare(cell)
        area[shapely.contains_xy(cell, *xy_m.T)] = index
    kept = area >= 0
    point, xy_m, area, spot = point[kept], xy_m[kept], area[kept], spot[kept]
    near = np.empty((len(area), NEAR), dtype=np.int64)
    for index in range(len(inside)):
        mine = np.flatnonzero(area == index)
        assert len(mine) >= NEAR
        near[mine] = mine[cKDTree(xy_m[mine]).query(xy_m[mine], k=NEAR)[1]]
    common = rng.normal(0, SPOT_CONTRAST, size=len(layout.spots_m))
    return Addresses(point=point, area=area, spot=spot, near=near, spot_weight=common)


def _inside(rng: np.random.Generator, cell: shapely.Polygon, count: int) -> Float64:
    """Draw places [count, 2] in a polygon, spread evenly."""
    inside = np.empty((0, 2))
    west, south, east, north = cell.bounds
    while len(inside) < count:
        places = rng.uniform((west, south), (east, north), size=(4 * count, 2))
        inside = np.concatenate([inside, places[shapely.contains_xy(cell, *places.T)]])
    return inside[:count]
