"""The path to beat: a window as the reference system made it, with geopandas and matplotlib, stored as a PNG file.

Its incidents become points, a spatial join finds the areas that hold one, geopandas plots polygons and points on a new
figure of pyplot, and the figure is saved. Only the axes are set to show what our map shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np

from benchmarks.rivals.scene import library
from hews_gpu.arrays import UInt8
from hews_gpu.raster.geometry import MapGeometry

if TYPE_CHECKING:
    from benchmarks.inputs.cities import WindowedCity


NAME = "geopandas + matplotlib to PNG"
DPI = 72


class ReferencePath:
    """Draws windows of one city into a file of a folder, and reads it back to be looked at."""

    def __init__(self, work: WindowedCity, geometry: MapGeometry, folder: Path) -> None:
        self.geometry, self.style, self.file = geometry, work.style, folder / "map.png"
        self.areas, self.places = work.neighborhoods, work.places
        self.colors = np.array([work.style.color(category) for category in self.places.categories])
        self.pyplot: Any = library("matplotlib.pyplot")

    def store(self, first: int, last: int) -> None:
        """One window into the file."""
        plt, style, geometry = self.pyplot, self.style, self.geometry
        chosen = slice(first, last)
        where = gpd.points_from_xy(self.places.longitude[chosen], self.places.latitude[chosen])
        points = gpd.GeoDataFrame({"color": self.colors[self.places.category[chosen]]}, geometry=where, crs=4326)
        hit = gpd.sjoin(points, self.areas[["geometry"]], predicate="within")["index_right"].unique()
        figure = plt.figure(figsize=(geometry.width / DPI, geometry.height / DPI), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        lines = {"ax": axes, "facecolor": "none", "linewidth": style.line_width_px, "aspect": None}
        self.areas.plot(edgecolor="black", alpha=style.line_alpha, **lines)
        if len(hit):
            self.areas.loc[hit].plot(edgecolor=style.lit_color, **lines)
        if len(points):
            size = (2 * style.disc_radius_px) ** 2
            look = {"markersize": size, "alpha": style.disc_alpha, "linewidth": 0, "zorder": 9, "aspect": None}
            points.plot(ax=axes, color=points["color"], **look)
        axes.set_xlim(geometry.west, geometry.east)
        axes.set_ylim(geometry.south, geometry.north)
        figure.savefig(self.file, dpi=DPI)
        plt.close(figure)

    def draw(self, first: int, last: int, out: UInt8) -> None:
        """One window, read back from the file."""
        self.store(first, last)
        np.copyto(out, np.rint(self.pyplot.imread(self.file)[..., :3] * 255).astype(np.uint8))
