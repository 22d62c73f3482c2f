"""A contact sheet of a few maps with a legend, to see at a glance what a folder of maps holds.

Shapes: K maps, H rows, X columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hews_gpu.config import CityConfig
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import QUALITATIVE, ReferenceStyle, rgb

__all__ = ["draw_preview"]

COLUMNS = 3
INK = "#333333"


def draw_preview(
    city: CityConfig,
    maps: NDArray[np.uint8],
    start_s: NDArray[np.int64],
    categories: Sequence[str],
    rasterizer: Rasterizer,
    path: Path,
) -> None:
    """Write a PNG of K maps, each under the time that its window starts at.

    Args:
        city: for its name and colors.
        maps: uint8[K, H, X, C].
        start_s: int64[K] local wall-clock seconds.
        categories: names to explain in the legend of reference maps.
        rasterizer: what drew them.
        path: file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = max(-(-len(maps) // COLUMNS), 1)
    figure = Figure(figsize=(9.5, 1.0 + 3.6 * rows), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    is_rgb = rasterizer.steps == 0
    for k, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(maps):
            when = datetime.fromtimestamp(int(start_s[k]), UTC)
            axes.set_title(f"{when:%a} {when.day} {when:%b %Y, %H:%M}", fontsize=9, color=INK)
            picture = maps[k] if is_rgb else color_counts(maps[k])
            axes.imshow(picture, interpolation="nearest")
    names = [*categories] if is_rgb else [*rasterizer.names]
    style = ReferenceStyle.from_config(city.map)
    colors = (
        [style.color(name) for name in names]
        if is_rgb
        else [QUALITATIVE[g % len(QUALITATIVE)] for g in range(len(names))]
    )
    marks = [Line2D([], [], marker="o", linestyle="", color=color, alpha=0.7) for color in colors]
    figure.suptitle(f"{city.city.name}: {len(maps)} windows of {city.windows.length_s / 3600:g} h", color=INK)
    figure.legend(marks, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False, labelcolor=INK)
    figure.savefig(path)


def channel_colors(channels: int) -> list[str]:
    """A color per channel."""
    return [QUALITATIVE[c % len(QUALITATIVE)] for c in range(channels)]


def color_counts(counts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Counts uint8[H, X, C] as a picture uint8[H, X, 3]: each channel's color, mixed by count, on light grey."""
    colors = np.array([rgb(color) for color in channel_colors(counts.shape[2])])  # [C, 3]
    total = counts.sum(axis=2, dtype=np.int64)[..., None]
    mixed = counts.astype(np.float64) @ colors / np.maximum(total, 1)
    picture: NDArray[np.uint8] = np.where(total > 0, mixed, 245.0).astype(np.uint8)
    return picture
