"""The reference system's way to draw a window: geopandas and matplotlib, 72 dpi, one figure per map.

Used as an outside opinion in tests and as the path to beat in benchmarks.
"""

from __future__ import annotations

from typing import Any, Protocol

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.style import ReferenceStyle

__all__ = ["draw_with_matplotlib"]

DPI = 72


class City(Protocol):
    """Anything with polygons and incidents."""

    @property
    def neighborhoods(self) -> gpd.GeoDataFrame: ...

    @property
    def places(self) -> Places: ...


def draw_with_matplotlib(
    city: City, geometry: MapGeometry, first: int, last: int, style: ReferenceStyle | None = None
) -> NDArray[np.uint8]:
    """uint8[H, X, 3] of the window [first, last), over white, in the given geometry."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = style or ReferenceStyle()
    figure = Figure(figsize=(geometry.width / DPI, geometry.height / DPI), dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    lines = {"facecolor": "none", "linewidth": style.line_width_px, "ax": axes, "aspect": None}
    city.neighborhoods.plot(edgecolor="black", alpha=style.line_alpha, **lines)
    places = city.places
    lit = np.unique(places.neighborhood[first:last])
    if (lit >= 0).any():
        city.neighborhoods.iloc[lit[lit >= 0]].plot(edgecolor=style.lit_color, **lines)
    colors = [style.color(places.categories[c]) for c in places.category[first:last]]
    size = (2 * style.disc_radius_px) ** 2 * (72 / DPI) ** 2
    axes.scatter(
        places.longitude[first:last],
        places.latitude[first:last],
        s=size,
        c=colors,
        alpha=style.disc_alpha,
        linewidths=0,
        zorder=9,
    )
    axes.set_xlim(geometry.west, geometry.east)
    axes.set_ylim(geometry.south, geometry.north)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
