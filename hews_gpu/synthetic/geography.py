"""The layout of the synthetic city: an outline with a harbor, neighborhoods, and streets of hot spots.

Neighborhoods are the Voronoi cells of scattered seeds. Each edge between two cells is bent once, by midpoint
displacement, and all edges are cut into faces together, so that neighbors share every vertex: no gaps, no overlaps.
Places are meters east and north of the center (E places, K hot spots); `to_degrees` puts them on the globe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from scipy.spatial import Voronoi

from hews_gpu.arrays import Float64, Int64

__all__ = ["CENTER_DEGREES", "Layout", "degrees_per_meter", "make_layout", "to_degrees"]

CENTER_DEGREES = (-67.240, 18.300)  # longitude, latitude: off Puerto Rico's west coast, whose clock never changes
M_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator
RADIUS_M = 7_600.0
SEEDS = 52  # seeds that fall into the city become about as many neighborhoods
SMALLEST_M2 = 400_000.0  # a face below this joins the neighbor with which it shares most of its border
STREETS, SPOTS_PER_STREET = 16, 6

FIRST = (
    *("Ellery", "Tannery", "Cooper", "Harrow", "Millrace", "Orchard", "Quarry", "Saint Brannoc", "Foundry", "Marsh"),
    *("Lantern", "Chandler", "Juniper", "Old Ferry", "Ropewalk", "Calloway", "Heron", "Bellweather"),
    *("Kiln", "Larkspur"),
)
SECOND = ("Hill", "Park", "Point", "Heights", "Gardens", "Row", "Landing", "Square", "Terrace", "Fields", "Crossing")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A city's layout, in meters around its center."""

    cells: tuple[shapely.Polygon, ...]
    """Neighborhoods."""
    names: tuple[str, ...]
    """Their names, all different."""
    spots_m: Float64  # [K, 2]
    """Centers of the hot spots, strung along streets."""
    spot_spread_m: Float64  # [K]
    """Standard deviation of the places around each hot spot, along each axis."""

    @cached_property
    def outline(self) -> shapely.Polygon:
        """The whole city."""
        outline = shapely.union_all(list(self.cells))
        shapely.prepare(outline)
        return outline

    def uniform(self, rng: np.random.Generator, count: int) -> Float64:
        """Draw places spread evenly over the city [count, 2]."""
        west, south, east, north = self.outline.bounds
        return self._redraw(count, lambda which: rng.uniform((west, south), (east, north), size=(len(which), 2)))

    def near(self, rng: np.random.Generator, places_m: Float64, spread_m: float | Float64) -> Float64:
        """Draw one place in the city for each given one [E, 2], Gaussian with a spread (one or [E]) along each axis."""
        spread = np.broadcast_to(np.asarray(spread_m, dtype=np.float64), len(places_m))

        def draw(which: Int64) -> Float64:
            return np.asarray(places_m[which] + rng.normal(size=(len(which), 2)) * spread[which, None])

        return self._redraw(len(places_m), draw)

    def mixture(self, rng: np.random.Generator, count: int, hot_share: float, weights: Float64) -> Float64:
        """Draw places [count, 2]: `hot_share` of them around hot spots drawn by `weights` [K], the others anywhere."""
        places = self.uniform(rng, count)
        hot = np.flatnonzero(rng.random(count) < hot_share)
        spot = rng.choice(len(weights), size=len(hot), p=weights)
        places[hot] = self.near(rng, self.spots_m[spot], self.spot_spread_m[spot])
        return places

    def _redraw(self, count: int, draw: Callable[[Int64], Float64]) -> Float64:
        """Draw places in the city [count, 2]; `draw` is called again for those that it put outside."""
        places = np.empty((count, 2))
        left = np.arange(count, dtype=np.int64)
        while len(left):
            places[left] = draw(left)
            left = left[~shapely.contains_xy(self.outline, places[left, 0], places[left, 1])]
        return places

    def neighborhood(self, places_m: Float64) -> Int64:
        """Return the index of the neighborhood of each place [E]; -1 outside the city."""
        area = np.full(len(places_m), -1, dtype=np.int64)
        for index, cell in enumerate(self.cells):
            west, south, east, north = cell.bounds
            x, y = places_m.T
            near = np.flatnonzero((x >= west) & (x <= east) & (y >= south) & (y <= north))
            shapely.prepare(cell)
            area[near[shapely.contains_xy(cell, x[near], y[near])]] = index
        return area


def to_degrees(places_m: Float64) -> Float64:
    """Return the longitude and latitude of places given in meters around the center [E, 2]."""
    stretch = (M_PER_DEGREE * np.cos(np.radians(CENTER_DEGREES[1])), M_PER_DEGREE)
    return np.asarray(places_m / stretch + CENTER_DEGREES, dtype=np.float64)


def degrees_per_meter() -> Float64:
    """Return the degrees of longitude and latitude of a meter [2]."""
    return 1.0 / np.array([M_PER_DEGREE * np.cos(np.radians(CENTER_DEGREES[1])), M_PER_DEGREE])


def make_layout(rng: np.random.Generator, *, areas: int | None = None) -> Layout:
    """Draw a city with so many neighborhoods; with as many as come out of SEEDS seeds unless given."""
    outline = _outline(rng)
    cells = _cells(rng, outline, SEEDS)
    seeds = SEEDS
    while areas is not None and len(cells) != areas:  # a few draws: the number varies by some more than its step
        seeds = max(4, seeds + (areas - len(cells)))
        cells = _cells(rng, outline, seeds)
    pick = rng.choice(len(FIRST) * len(SECOND), size=len(cells), replace=False)
    names = tuple(f"{FIRST[p // len(SECOND)]} {SECOND[p % len(SECOND)]}" for p in pick)
    spots = _spots(rng, shapely.union_all(cells))
    return Layout(cells=tuple(cells), names=names, spots_m=spots, spot_spread_m=rng.uniform(80, 260, size=len(spots)))


def _outline(rng: np.random.Generator) -> shapely.Polygon:
    """Draw a wavy disc with a harbor cut in from the west."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    radius = np.full(len(angle), RADIUS_M)
    for wave in range(2, 9):
        radius += RADIUS_M * 0.13 / wave * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    land = shapely.Polygon(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    bend = rng.uniform(-900, 900, size=4)
    channel = np.array([(-1.6, 0.05), (-0.8, -0.1), (-0.45, 0.0), (-0.2, -0.06)]) * RADIUS_M
    channel[:, 1] += bend
    harbor = shapely.LineString(channel).buffer(620).union(shapely.Point(channel[-2]).buffer(1_000))
    parts = shapely.get_parts(land.difference(harbor))
    return max(parts, key=lambda part: part.area)


def _cells(rng: np.random.Generator, outline: shapely.Polygon, count: int) -> list[shapely.Polygon]:
    """Draw neighborhoods that share their bent edges exactly, smaller towards the center."""
    angle = rng.uniform(0, 2 * np.pi, size=count)
    reach = 1.25 * RADIUS_M * rng.random(count) ** 0.6  # 0.5 would be even; more crowds the center
    seeds = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    frame = 6 * RADIUS_M * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])  # makes the city's own cells finite
    for _ in range(2):  # Lloyd's relaxation, stopped early: regular enough to look like a city, not like a honeycomb
        diagram = Voronoi(np.concatenate([seeds, frame]))
        for k in range(count):
            region = diagram.regions[diagram.point_region[k]]
            cell = shapely.Polygon(diagram.vertices[region]).intersection(shapely.box(*outline.bounds))
            if not cell.is_empty:
                seeds[k] = shapely.get_coordinates(cell.centroid)[0]
    diagram = Voronoi(np.concatenate([seeds, frame]))
    edges = [
        shapely.LineString(_bent(rng, diagram.vertices[ridge])) for ridge in diagram.ridge_vertices if min(ridge) >= 0
    ]
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.union_all([outline.exterior, *edges]))))
    inside = [face for face in faces if outline.contains(face.representative_point())]
    return _merge_small(inside)


def _bent(rng: np.random.Generator, ends: Float64, rounds: int = 3, bend: float = 0.07) -> Float64:
    """Bend a straight edge into a line of 2**rounds pieces between the same ends."""
    line = np.asarray(ends, dtype=np.float64)
    for _ in range(rounds):
        step = np.diff(line, axis=0)
        across = np.stack([-step[:, 1], step[:, 0]], axis=1)
        middle = line[:-1] + step / 2 + across * rng.uniform(-bend, bend, size=(len(step), 1))
        line = np.insert(line, np.arange(1, len(line)), middle, axis=0)
    return line


def _merge_small(faces: list[shapely.Polygon]) -> list[shapely.Polygon]:
    """Join each face that is too small to be a neighborhood with the one that it borders most."""
    faces = sorted(faces, key=lambda face: face.area)
    while faces[0].area < SMALLEST_M2:
        small, *rest = faces
        shared = [small.intersection(face).length for face in rest]
        partner = int(np.argmax(shared))
        assert shared[partner] > 0
        rest[partner] = rest[partner].union(small)
        faces = sorted(rest, key=lambda face: face.area)
    order = np.lexsort(np.round([shapely.get_coordinates(face.centroid)[0] for face in faces], 3).T)
    return [faces[k] for k in order]


def _spots(rng: np.random.Generator, outline: shapely.Polygon) -> Float64:
    """Draw hot spots along straight streets that begin near the center more often than not."""
    shapely.prepare(outline)
    spots: list[Float64] = []
    while len(spots) < STREETS:
        begin, heading = rng.normal(0, 0.42 * RADIUS_M, size=2), rng.uniform(0, 2 * np.pi)
        along = np.linspace(0, rng.uniform(1_200, 4_000), SPOTS_PER_STREET)
        street = begin + along[:, None] * (np.cos(heading), np.sin(heading)) + rng.normal(0, 40, (SPOTS_PER_STREET, 2))
        if shapely.contains_xy(outline, street[:, 0], street[:, 1]).all():
            spots.append(street)
    return np.concatenate(spots)
