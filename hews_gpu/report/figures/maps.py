"""What is drawn and what the model reads: reference maps of a few windows, and one channels tensor taken apart.

Shapes: W windows, T history steps, G category groups, H rows, X columns.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from markupsafe import Markup

from hews_gpu.arrays import Bool, Float64, Int64, UInt8
from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import MapWindows, make_windows
from hews_gpu.report.figures.city import path_of
from hews_gpu.report.formatting import percent
from hews_gpu.report.page import Picture
from hews_gpu.report.style import figure, png, role, svg
from hews_gpu.units import DAY_S

if TYPE_CHECKING:
    from hews_gpu.raster.geometry import MapGeometry


__all__ = ["channels", "picture", "sample_maps"]

BACKEND: Literal["numpy"] = "numpy"  # for seven maps, compiling the faster one takes longer than drawing


def picture(title: str, when: str, incidents: int, targets: int, image: UInt8) -> Picture:
    """Return one reference map [H, X, 3] with what it shows."""
    counts = f"{incidents} incidents, {targets} of them of a target category"
    height, width = image.shape[:2]
    return Picture(png(image), title, f"{when}. {counts}.", f"Map of {when}: {counts}.", width, height)


def sample_maps(prepared: Prepared, test: pd.DataFrame) -> list[Picture]:
    """Draw telling windows of the test split in the reference style.

    Args:
        prepared: the city.
        test: forecasts of the test split in order of time.
    """
    from hews_gpu.raster.rasterizer import reference_rasterizer

    windows, is_target = _windows(prepared), prepared.events.is_target
    chosen = _choose(windows, is_target, test)
    rasterizer = reference_rasterizer(prepared, backend=BACKEND)
    pixels = np.zeros((len(chosen), *rasterizer.shape), dtype=np.uint8)
    which = np.array([index for _, index in chosen], dtype=np.int64)
    rasterizer.fill(windows.pairs[which], pixels)
    maps = []
    for (title, index), image in zip(chosen, pixels, strict=True):
        first, last = int(windows.first[index]), int(windows.last[index])
        when = _when(int(windows.start_s[index]), windows.length_s)
        hits = int(is_target[first:last].sum())
        maps.append(picture(title, when, last - first, hits, image))
    return maps


def _windows(prepared: Prepared) -> MapWindows:
    """Return the windows of the test split."""
    city = prepared.city
    begin_s, end_s = city.splits.span_s("test")
    return make_windows(
        prepared.events.time_s,
        begin_s=begin_s,
        end_s=end_s,
        length_s=city.windows.length_s,
        stride_s=city.windows.stride_s,
        anchor_s=city.windows.anchor_s,
    )


def _choose(windows: MapWindows, is_target: Bool, test: pd.DataFrame) -> list[tuple[str, int]]:
    """Return title and index of windows that differ in a way one can name; each window at most once."""
    incidents = windows.last - windows.first
    total = np.concatenate([[0], np.cumsum(is_target)])
    hits = total[windows.last] - total[windows.first]
    middle = np.abs(incidents - np.median(incidents)) + 100 * (hits > 0)
    with_hit = np.where(hits > 0, np.abs(incidents - np.median(incidents)), np.inf)
    wishes = [
        ("The busiest window", np.argsort(-incidents, kind="stable")),
        ("Most target incidents", np.lexsort([-incidents, -hits])),
        ("A typical window", np.argsort(middle, kind="stable")),
        ("A typical target window", np.argsort(with_hit, kind="stable")),
        ("Followed by the highest forecast", _before_forecast(windows, test, highest=True)),
        ("Followed by the lowest forecast", _before_forecast(windows, test, highest=False)),
    ]
    chosen: dict[int, str] = {}
    for title, order in wishes:
        index = next((int(i) for i in order if int(i) not in chosen), None)
        if index is not None:
            chosen[index] = title
    return [(title, index) for index, title in chosen.items()]


def _before_forecast(windows: MapWindows, test: pd.DataFrame, *, highest: bool) -> Int64:
    """Return windows that end at an issue time, in order of the forecast issued then."""
    issue_s = test["issue_time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    order = issue_s[np.argsort(test["p"].to_numpy() * (-1 if highest else 1), kind="stable")]
    place = np.searchsorted(windows.start_s, order - windows.length_s)
    found = np.minimum(place, len(windows) - 1)
    ends_there: Int64 = found[windows.start_s[found] == order - windows.length_s]
    return ends_there


def _when(start_s: int, length_s: int) -> str:
    begin, end = (np.datetime64(s, "s").astype(object) for s in (start_s, start_s + length_s))
    same = begin.date() == end.date() or length_s <= DAY_S
    return f"{begin:%a %-d %b %Y, %H:%M} to {end:%H:%M}" if same else f"{begin:%-d %b %Y} to {end:%-d %b %Y}"


def channels(prepared: Prepared, test: pd.DataFrame) -> tuple[Markup, str]:
    """Draw the channels tensor behind the highest forecast of the test split: a row per group, a column per step.

    Args:
        prepared: the city.
        test: forecasts of the test split.

    Returns:
        The figure and its issue time as text.
    """
    from hews_gpu.raster.rasterizer import channels_rasterizer

    rasterizer = channels_rasterizer(prepared, backend=BACKEND)
    names, steps, length_s = prepared.city.channels.names, prepared.city.steps, prepared.city.windows.length_s
    top = test.loc[test["p"].idxmax()]
    issue_s = int(pd.Timestamp(top["issue_time"]).to_datetime64().astype("datetime64[s]").astype(np.int64))
    edges = np.searchsorted(prepared.events.time_s, issue_s + np.arange(-steps, 1) * length_s)
    pairs = np.stack([edges[:-1], edges[1:]], axis=1)[None].astype(np.int64)  # [1, T, 2]
    counts = np.zeros((1, *rasterizer.shape), dtype=np.uint8)  # [1, H, X, T * G]
    rasterizer.fill(pairs, counts)
    tensor = counts[0].reshape(*counts.shape[1:3], steps, len(names))  # [H, X, T, G]
    hours = [np.datetime64(int(issue_s + (t - steps) * length_s), "s").astype(object) for t in range(steps)]
    issued = np.datetime64(issue_s, "s").astype(object)
    shape, labels = _city_in_cells(prepared, rasterizer.geometry), [f"{hour:%H:%M}" for hour in hours]
    drawing = _multiples(tensor, list(names), labels, shape, prepared.city.channels.draw)
    return drawing, f"{issued:%a %-d %B %Y, %H:%M}, forecast {percent(top['p'], 0)}"


def _multiples(tensor: UInt8, names: list[str], hours: list[str], shape: Any, draw: str) -> Markup:
    """Draw small multiples of a tensor [H, X, T, G]: steps from left to right, groups from top to bottom.

    `draw` is what an incident adds: "counts" or "discs".
    """
    from hews_gpu.raster.style import FULL_DISC

    height, width, steps, groups = tensor.shape
    gap, left, head = 0.14 * width, 1.35 * width, 0.34 * height
    whole_x, whole_y = left + steps * (width + gap), head + groups * (height + gap)
    size = 960
    with figure(size, size * whole_y / whole_x, left=0, right=1, bottom=0, top=1) as drawing:
        axes = drawing.add_subplot()
        axes.set(xlim=(0, whole_x), ylim=(whole_y, 0))
        axes.axis("off")
        corner_x = left + np.arange(steps) * (width + gap)
        corner_y = head + np.arange(groups) * (height + gap)
        _silhouettes(axes, corner_x, corner_y, shape, size / whole_x)
        row, column, step, group = np.nonzero(tensor)
        value = tensor[row, column, step, group] / (FULL_DISC if draw == "discs" else 1)
        unit = size / whole_x  # pixels per cell
        area = (np.minimum(value, 4) ** 0.5 * max(unit * 1.5, 3.2)) ** 2
        axes.scatter(
            corner_x[step] + column + 0.5,
            corner_y[group] + row + 0.5,
            area,
            color=role("target"),
            marker="s",
            linewidths=0,
            alpha=0.85,
        )
        for x, label in zip(corner_x, hours, strict=True):
            axes.text(x + width / 2, head * 0.75, label, color=role("soft"), ha="center", va="baseline", fontsize=11)
        for y, name in zip(corner_y, names, strict=True):
            label = textwrap.fill(name.replace("_", " "), 13, max_lines=3, placeholder="…")
            axes.text(left - gap, y + height / 2, label, color=role("ink"), ha="right", va="center", fontsize=12)
        sums = tensor.sum(axis=(0, 1, 2))
        each = ", ".join(f"{name} {count}" for name, count in zip(names, sums, strict=True))
        per_group = f"; incidents per group: {each}" if draw == "counts" else ""
        return svg(drawing, f"{groups} groups by {steps} steps of {draw} on a grid{per_group}.")


def _silhouettes(axes: Any, corner_x: Float64, corner_y: Float64, shape: Any, unit: float) -> None:
    """Draw the city in pale under every small map, as one repeated path.

    Args:
        axes: in cells.
        corner_x: [T] left edge of each column of maps.
        corner_y: [G] upper edge of each row of maps.
        shape: the city's outline in cells.
        unit: pixels per cell.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import Affine2D

    offsets = np.array([(x, y) for y in corner_y for x in corner_x])
    scale = Affine2D().scale(unit, -unit)
    sheets = PathCollection([path_of(shape)], offsets=offsets, offset_transform=axes.transData, facecolors=role("land"))
    sheets.set_transform(scale)
    sheets.set_linewidth(0)
    axes.add_collection(sheets, autolim=False)


def _city_in_cells(prepared: Prepared, geometry: MapGeometry) -> Any:
    """Return the whole city as one shape in rows and columns of the channels grid, thinned to half a cell."""
    import shapely

    shapes = shapely.transform(
        prepared.neighborhoods.geometry.to_numpy(),
        lambda xy: np.stack(geometry.to_pixels(xy[:, 0], xy[:, 1]), axis=1),
    )
    return shapely.simplify(shapely.union_all(shapely.buffer(shapes, 0.05)), 0.5)
