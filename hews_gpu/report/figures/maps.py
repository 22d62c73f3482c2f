"""Reference maps of a few telling windows, and what a network on maps read before its highest forecast.

Shapes: S windows, T history steps, G category groups, H rows, X columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from hews_gpu.arrays import Bool, Float64, Int64, UInt8
from hews_gpu.data.events import Prepared
from hews_gpu.report.page import Picture
from hews_gpu.report.style import png
from hews_gpu.units import DAY_S

if TYPE_CHECKING:
    from hews_gpu.raster.rasterizer import Rasterizer

__all__ = ["channels", "draw_window", "sample_maps", "seconds_of"]

BACKEND: Literal["numpy"] = "numpy"  # for seven maps, compiling the faster one takes longer than drawing
PAPER, LAND, FEW, SEVERAL = (255, 255, 255), (233, 229, 218), (214, 93, 151), (122, 8, 62)
GAP = 3  # pixels between the maps of a strip


def seconds_of(times: pd.Series) -> Int64:
    """Return local times as seconds [S]."""
    return np.asarray(times.to_numpy().astype("datetime64[s]").astype(np.int64))


def draw_window(
    rasterizer: Rasterizer, prepared: Prepared, title: str, begin_s: int, end_s: int, note: str = ""
) -> Picture:
    """Draw the incidents of [begin, end) in the reference style."""
    first, last = np.searchsorted(prepared.events.time_s, [begin_s, end_s])
    image = rasterizer.maps(np.array([[first, last]]))[0]
    begin, end = (np.datetime64(int(edge), "s").astype(object) for edge in (begin_s, end_s))
    when = f"{begin:%a %-d %b %Y, %H:%M} to {end:%H:%M}"
    if end_s - begin_s > DAY_S:
        when = f"{begin:%-d %b %Y} to {end:%-d %b %Y}"
    targets = int(prepared.events.is_target[first:last].sum())
    counts = f"{last - first} incidents, {targets} of them of a target category{note}"
    height, width = image.shape[:2]
    return Picture(png(image), title, f"{when}. {counts}.", f"Map of {when}: {counts}.", width, height)


def sample_maps(prepared: Prepared, test: pd.DataFrame, p: Float64) -> list[Picture]:
    """Draw test windows [S] that differ in a way one can name, each once, and those before the extreme forecasts."""
    from hews_gpu.raster.rasterizer import reference_rasterizer

    begin, end, issue = (seconds_of(test[name]) for name in ("window_start", "window_end", "issue_time"))
    rasterizer = reference_rasterizer(prepared, backend=BACKEND)
    first, last = (np.searchsorted(prepared.events.time_s, edge) for edge in (begin, end))
    total = np.concatenate([[0], np.cumsum(prepared.events.is_target)])
    incidents, hits = last - first, total[last] - total[first]
    unusual = np.abs(incidents - np.median(incidents))
    wishes = {
        "The busiest window": -incidents,
        "Most target incidents": -hits - incidents / 1e6,
        "A typical window": unusual + 1e6 * (hits > 0),
        "A typical target window": unusual + 1e6 * (hits == 0),
    }
    chosen: dict[int, str] = {}
    for title, wish in wishes.items():
        index = next((int(i) for i in np.argsort(wish, kind="stable") if int(i) not in chosen), None)
        if index is not None:
            chosen[index] = title
    pictures = [draw_window(rasterizer, prepared, title, int(begin[i]), int(end[i])) for i, title in chosen.items()]
    length_s = prepared.city.windows.length_s
    for title, i in (("Before the highest forecast", p.argmax()), ("Before the lowest forecast", p.argmin())):
        pictures.append(draw_window(rasterizer, prepared, title, int(issue[i]) - length_s, int(issue[i])))
    return pictures


def channels(prepared: Prepared, issue_s: int) -> list[Picture]:
    """Draw the channels tensor behind one forecast: a strip of small maps, one per history step, for each group."""
    import shapely

    from hews_gpu.raster.rasterizer import channels_rasterizer
    from hews_gpu.raster.style import FULL_DISC

    rasterizer = channels_rasterizer(prepared, backend=BACKEND)
    steps, length_s = prepared.city.steps, prepared.city.windows.length_s
    names = (*prepared.city.channels.names, *(layer.name for layer in prepared.placed_layers))
    edges = np.searchsorted(rasterizer.shown_s, issue_s + np.arange(-steps, 1) * length_s)
    counts = np.zeros((1, *rasterizer.shape), dtype=np.uint8)  # [1, H, X, T * G]
    rasterizer.fill(np.stack([edges[:-1], edges[1:]], axis=1)[None].astype(np.int64), counts)
    tensor = counts[0].reshape(*counts.shape[1:3], steps, len(names))  # [H, X, T, G]
    geometry = rasterizer.geometry
    shapes = shapely.transform(
        prepared.neighborhoods.geometry.to_numpy(), lambda xy: np.stack(geometry.to_pixels(xy[:, 0], xy[:, 1]), axis=1)
    )
    row, column = np.indices(tensor.shape[:2])
    land = shapely.contains_xy(shapely.union_all(shapely.buffer(shapes, 0.05)), column + 0.5, row + 0.5)
    one = FULL_DISC if prepared.city.channels.draw == "discs" else 1
    return [_strip(name, tensor[..., group], land, one) for group, name in enumerate(names)]


def _strip(name: str, layers: UInt8, land: Bool, one: int) -> Picture:
    """Draw one group's maps [H, X, T] from left to right; `one` is what a single incident adds to a cell."""
    height, width, steps = layers.shape
    image = np.full((height, steps * (width + GAP) - GAP, 3), PAPER, dtype=np.uint8)
    for step in range(steps):
        tile = image[:, step * (width + GAP) :][:, :width]
        tile[land] = LAND
        tile[layers[..., step] > 0] = FEW
        tile[layers[..., step] > one] = SEVERAL
    counted = f"{int(layers.sum())} incidents in {steps} steps" if one == 1 else f"discs of incidents in {steps} steps"
    alt = f"Strip of {steps} small maps of the group {name}: {counted}."
    return Picture(png(image), name.replace("_", " "), counted, alt, image.shape[1], image.shape[0])
