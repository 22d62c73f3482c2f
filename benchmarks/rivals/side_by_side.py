"""One window drawn by all, side by side in one picture, to be looked at."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.inputs.windows import WindowedCity
from benchmarks.rivals.compare import mean_difference
from benchmarks.rivals.race import OURS
from benchmarks.rivals.reference import NAME, ReferencePath
from benchmarks.rivals.scene import Bytes, Draw, rivals, scene_of

__all__ = ["save_side_by_side"]

COLUMNS = 4
INCHES = 2.6


def save_side_by_side(work: WindowedCity, path: Path, window: int | None = None) -> Path:
    """Draw a window with ours and every other that is installed, each with its difference, and return the path.

    Args:
        work: the city.
        path: where to.
        window: which one; None: the first of at least 20 incidents.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with TemporaryDirectory() as folder:
        pictures = _pictures(work, Path(folder), window)
    rows = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(INCHES * COLUMNS, INCHES * 1.35 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (name, picture) in enumerate(pictures.items()):
        differs = "" if name == OURS else f"\ndiffers by {mean_difference(picture, pictures[OURS]):.2f} levels"
        _show(figure.add_subplot(rows, COLUMNS, k + 1), picture, name + differs)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    return path


def _pictures(work: WindowedCity, folder: Path, window: int | None) -> dict[str, Bytes]:
    """uint8[H, X, 3] by who drew it, ours first."""
    rasterizer = work.rasterizer()
    if window is None:
        window = int(np.argmax(work.pairs[:, 1] - work.pairs[:, 0] >= 20))
    pair = work.pairs[window : window + 1]
    ours = rasterizer.maps(pair)[0]
    ways: dict[str, Draw] = {NAME: ReferencePath(work, rasterizer.geometry, folder).draw}
    ways |= rivals(scene_of(work, rasterizer.geometry), is_silent=True)
    pictures = {OURS: ours}
    for name, draw in ways.items():
        pictures[name] = np.empty_like(ours)
        draw(int(pair[0, 0]), int(pair[0, 1]), pictures[name])
    return pictures


def _show(axes: Any, picture: Any, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
