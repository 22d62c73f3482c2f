"""A random city: a box cut into polygons, and incidents thrown over it.

No rhythm, no hot spots, nothing to forecast: only shapes that exercise a rasterizer. Some polygons have a hole, some
incidents lie on a border, on a vertex, on top of each other, or outside the city.

Shapes: N polygons, E incidents, B windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from hews_gpu.config import MapConfig
from hews_gpu.data.geometry import outlines
from hews_gpu.data.geometry.outlines import Outlines
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ReferenceStyle

BOX = (-77.0, 39.0, -76.8, 39.2)
"""West, south, east, north: nowhere in particular."""
CATEGORIES = ("ARSON", "ASSAULT", "BURGLARY", "LARCENY", "ROBBERY", "SHOOTING")


@dataclass(frozen=True, eq=False)
class RandomCity:
    """Polygons and incidents."""

    neighborhoods: gpd.GeoDataFrame
    places: Places

    def reference(self, config: MapConfig, *, backend: Backend = "numba", **style: Any) -> Rasterizer:
        """RGB maps of this city."""
        look = ReferenceStyle(disc_radius_px=config.disc_radius_px, **style)
        return Rasterizer.reference(self.basemap(config, look), look, self.places, backend=backend)

    def basemap(self, config: MapConfig, style: ReferenceStyle) -> Basemap:
        """The outlines of this city."""
        size = {"height": config.height, "width": config.width}
        geometry = MapGeometry.around(self.neighborhoods.total_bounds, config.bounds, **size)
        return Basemap.build(outlines_of(self.neighborhoods), geometry, style)


def outlines_of(neighborhoods: gpd.GeoDataFrame) -> Outlines:
    """The outlines of polygons as a prepared city has them."""
    return outlines.outlines_of(shapely.to_wkb(neighborhoods.geometry.to_numpy()))


def random_city(seed: int, *, neighborhoods: int = 12, events: int = 400) -> RandomCity:
    """Voronoi cells of random points, and uniform incidents with all the awkward places among them."""
    random = np.random.default_rng(seed)
    west, south, east, north = BOX
    box = shapely.box(*BOX)
    seeds = shapely.points(random.uniform((west, south), (east, north), (max(neighborhoods, 2), 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(seeds), extend_to=box))
    polygons = [shapely.intersection(cell, box) for cell in cells][:neighborhoods]
    polygons = [_with_hole(polygon) if n % 5 == 4 else polygon for n, polygon in enumerate(polygons)]
    table = gpd.GeoDataFrame({"name": [f"N{n}" for n in range(len(polygons))]}, geometry=polygons, crs="EPSG:4326")
    points = random.uniform((west - 0.02, south - 0.02), (east + 0.02, north + 0.02), (events, 2))
    kind = random.integers(0, 12, events)  # most anywhere, the rest on edges, vertices, and each other
    corners = shapely.get_coordinates(polygons)
    on_corner = corners[random.integers(0, len(corners), events)]
    points[kind == 0] = on_corner[kind == 0]
    points[kind == 1] = (on_corner + np.roll(on_corner, 1, axis=0))[kind == 1] / 2
    points[kind == 2] = points[np.maximum(np.arange(events) - 1, 0)][kind == 2]
    places = Places(
        longitude=np.ascontiguousarray(points[:, 0]),
        latitude=np.ascontiguousarray(points[:, 1]),
        category=random.integers(0, len(CATEGORIES), events).astype(np.int16),
        neighborhood=_nearest_cell(table, points),
        categories=CATEGORIES,
    )
    return RandomCity(table, places)


def _with_hole(polygon: Any) -> Any:
    """The polygon less a smaller copy of itself."""
    return shapely.difference(polygon, shapely.affinity.scale(polygon, 0.4, 0.4, origin="centroid"))


def _nearest_cell(table: gpd.GeoDataFrame, points: NDArray[np.float64]) -> NDArray[np.int16]:
    """The polygon that holds each point, or the nearest one; -1 far outside."""
    tree = shapely.STRtree(table.geometry.values)
    found, cell = tree.query_nearest(shapely.points(points), max_distance=0.01, all_matches=False)
    nearest = np.full(len(points), -1, np.int16)
    nearest[found] = cell
    return nearest


def random_pairs(
    seed: int, events: int, windows: int, *, mean_incidents: float, most: int | None = None
) -> NDArray[np.int64]:
    """int64[B, 2]: windows of a Poisson number of incidents, `mean_incidents` on average, empty ones among them."""
    random = np.random.default_rng(seed)
    length = np.minimum(random.poisson(mean_incidents, windows), events if most is None else min(events, most))
    first = random.integers(0, events - length + 1)
    return np.stack([first, first + length], axis=1).astype(np.int64)
