"""Where and when: the areas, the rhythm of the week, the months.

Everything here counts reported incidents. Maps have meters of equal length in both directions.

Shapes: E incidents, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.evaluation.aoristic import spread
from hews_gpu.report.page import Key
from hews_gpu.report.style import RAMP_STEPS, figure, ramp, role, soften, svg
from hews_gpu.units import DAY_S, HOUR_S, KM_PER_DEGREE

if TYPE_CHECKING:
    import geopandas

__all__ = ["Outlines", "areas", "classes", "legend", "month_ticks", "months", "outlines", "rhythm"]

FOOT = 0.07  # free room under a map for its scale, as a share of its height
WIDTH, MOST_HIGH = 440, 560  # of a map, in CSS pixels
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Outlines:
    """Neighborhoods on a plane in kilometers, thinned to what a small map can show."""

    rings: list[list[Float64]]  # per neighborhood: closed rings [V, 2]
    area_km2: Float64  # [N]
    box: tuple[float, float, float, float]  # west, south, east, north


def outlines(neighborhoods: geopandas.GeoDataFrame, *, pixels: int = 500) -> Outlines:
    """Lay polygons in degrees (EPSG:4326) flat and thin their outlines to half a pixel on a map `pixels` high."""
    import shapely

    west, south, _, north = neighborhoods.total_bounds
    middle = (south + north) / 2
    shrunk = [np.cos(np.radians(middle)), 1.0]
    flat = shapely.transform(
        neighborhoods.geometry.to_numpy(), lambda xy: (xy - [west, middle]) * KM_PER_DEGREE * shrunk
    )
    thinned = shapely.simplify(flat, 0.5 * (north - south) * KM_PER_DEGREE / pixels)
    rings = [[shapely.get_coordinates(ring) for ring in _rings(shape)] for shape in thinned]
    west, south, east, north = shapely.total_bounds(thinned).tolist()
    return Outlines(rings, shapely.area(flat), (west, south, east, north))


def _rings(shape: Any) -> list[Any]:
    import shapely

    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return [ring for part in parts for ring in (part.exterior, *part.interiors)]


def classes(values: Float64, edges: list[float] | None = None) -> tuple[Int64, list[float]]:
    """Return which of at most `RAMP_STEPS` classes each positive value is in, and the classes' lower edges.

    Edges are spaced by the square root, so that the many low values are told apart as well as the few high ones, up
    to a value that only one in 40 exceeds, so that a single extreme does not take all the colors; then rounded. Maps
    that are to be compared are given the same `edges`.
    """
    positive = values[values > 0]
    if edges is None:
        high = float(np.quantile(positive, 0.975)) if len(positive) else 0.0
        whole = bool(np.all(values == np.round(values)))
        steps = np.linspace(0, 1, RAMP_STEPS) ** 2 * high
        edges = sorted({_round_edge(edge, whole) for edge in steps}) if len(positive) else []
    return np.searchsorted(edges, values, side="right") - 1, edges


def _round_edge(edge: float, whole: bool) -> float:
    """Round down to a whole number from 1 on, or to two digits: never up, past the largest value."""
    if whole:
        return float(max(1.0, np.floor(edge)))
    if edge <= 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(edge)) - 1)
    return float(f"{np.floor(edge / unit) * unit:.2g}")


def legend(edges: list[float], top: float, *, zeros: bool) -> list[Key]:
    """Return the classes as swatches for the page; `zeros` adds one for none at all."""
    whole = all(edge == round(edge) for edge in edges) and top == round(top)
    items = [Key("land", "none")] if zeros else []
    for index, low in enumerate(edges):
        high = edges[index + 1] if index + 1 < len(edges) else None
        items.append(Key(f"ramp{_step(index, len(edges))}", _span(low, high, top, whole)))
    return items


def _span(low: float, high: float | None, top: float, whole: bool) -> str:
    last = max(low, top) if high is None else high - whole
    if low == last:
        return f"{low:,g}"
    form = ",.0f" if whole else ",.3g"
    return f"{low:{form}} to {last:{form}}" if low else f"up to {last:{form}}"


def _step(index: int, count: int) -> int:
    """Return the step of the ramp for one of `count` classes, spread over the whole ramp."""
    return RAMP_STEPS - 1 if count == 1 else round(index * (RAMP_STEPS - 1) / (count - 1))


def _fill(which: Int64, edges: list[float], values: Float64) -> list[str]:
    """Return the color of each class, and of none at all."""
    colors = ramp()
    return [
        colors[_step(int(i), len(edges))] if value > 0 and i >= 0 else role("land")
        for i, value in zip(which, values, strict=True)
    ]


def areas(
    city: Outlines,
    rate: Float64,
    what: str,
    edges: list[float] | None = None,
    of: str = " per square kilometer and year",
) -> tuple[Markup, list[Key]]:
    """Draw each neighborhood in the color of its rate [N] of `what`, `of` a unit, over a scale; blank where it is NaN.

    The `edges` of the classes are their own unless given.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    which, edges = classes(rate, edges)
    west, south, east, north = city.box
    height = WIDTH * (1 + FOOT) * (north - south) / (east - west)
    size = (WIDTH, height) if height <= MOST_HIGH else (WIDTH * MOST_HIGH / height, MOST_HIGH)
    with figure(*size, left=0) as drawing:
        axes = drawing.add_axes((0, 0, 1, 1))
        axes.set(xlim=(west, east), ylim=(south - FOOT * (north - south), north), aspect="equal")
        axes.axis("off")
        length = next(km for km in (50, 20, 10, 5, 2, 1, 0.5) if km <= 0.3 * (east - west) or km == 0.5)
        y, soft = south - 0.55 * FOOT * (north - south), role("soft")
        axes.plot([west, west + length], [y, y], color=soft, linewidth=2, solid_capstyle="butt")
        at = west + length + 0.015 * (east - west)
        axes.text(at, y, f"{length:g} km", color=soft, fontsize=11, va="center_baseline")
        paths = [Path.make_compound_path(*[Path(ring, closed=True) for ring in rings]) for rings in city.rings]
        colors = _fill(which, edges, rate)
        shapes = PathCollection(paths, facecolors=colors, edgecolors=role("card"), linewidths=0.7)
        axes.add_collection(shapes, autolim=False)
        none, top = int((rate == 0).sum()), float(f"{np.nanmax(rate):.2g}")
        alt = f"Map of {len(rate)} neighborhoods by {what}{of}, "
        alt += f"from {np.nanmin(rate):.2g} to {np.nanmax(rate):.2g}; {none} with none."
        return svg(drawing, alt), legend(edges, top, zeros=none > 0)


def rhythm(time_s: Int64, span_s: Int64) -> tuple[Markup, list[Key]]:
    """Draw target incidents by hour and weekday, with the totals of each along the edges.

    Args:
        time_s: when they began, local seconds [E].
        span_s: how long after that they may have happened [E]: one is spread over so many hours.
    """
    _, hours, weights = spread(time_s, span_s, HOUR_S)
    place = (hours + 3 * 24) % 168  # 1970-01-01 was a Thursday
    counts = np.bincount(place, weights, minlength=168).reshape(7, 24).astype(np.float64)
    which, edges = classes(counts.ravel())
    colors = _fill(which, edges, counts.ravel())
    with figure(440, 300, left=0.085, right=0.995, bottom=0.08, top=0.98, wspace=0.03, hspace=0.06) as drawing:
        grid = drawing.add_gridspec(2, 2, width_ratios=[6, 1], height_ratios=[1, 3.2])
        axes = drawing.add_subplot(grid[1, 0])
        x, y = np.tile(np.arange(24), 7), np.repeat(np.arange(7), 24)
        axes.bar(x + 0.5, 0.9, 0.92, bottom=y + 0.05, color=colors, linewidth=0)
        axes.set(xlim=(0, 24), ylim=(7, 0), yticks=np.arange(7) + 0.5, xticks=range(0, 25, 3))
        axes.set_yticklabels(DAYS)
        axes.set_xticklabels([f"{h:02d}" for h in range(0, 25, 3)])
        axes.spines["bottom"].set_visible(False)
        above, beside = drawing.add_subplot(grid[0, 0], sharex=axes), drawing.add_subplot(grid[1, 1], sharey=axes)
        above.bar(np.arange(24) + 0.5, counts.sum(axis=0), 0.92, color=role("target"))
        beside.barh(np.arange(7) + 0.5, counts.sum(axis=1), 0.9, color=role("target"))
        for total in (above, beside):
            total.axis("off")
        soften(axes, grid="none")
        axes.tick_params(length=0)
        most, least = (
            f"on {DAYS[at // 24]} from {at % 24}:00 ({counts.flat[at]:,.0f})"
            for at in (int(counts.argmax()), int(counts.argmin()))
        )
        alt = f"Target incidents by hour and weekday; most {most}, least {least}."
        return svg(drawing, alt), legend(edges, float(counts.max()), zeros=bool((counts == 0).any()))


def months(time_s: Int64, is_target: Bool, splits: Sequence[tuple[int, int]]) -> Markup:
    """Draw incidents [E] and the targets among them per month, one panel each, over the train, validation, test splits.

    `time_s` and both ends of each of `splits` are local seconds.
    """
    month = time_s.astype("datetime64[s]").astype("datetime64[M]")
    first, last = month.min(), month.max()
    axis = np.arange(first, last + 1)
    panels = (("all incidents", np.ones_like(is_target), "soft"), ("target incidents", is_target, "target"))
    stated = []
    with figure(440, 340) as drawing:
        both = drawing.subplots(2, 1, sharex=True)
        for axes, (label, chosen, color) in zip(both, panels, strict=True):
            counts = np.bincount((month[chosen] - first).astype(int), minlength=len(axis))
            axes.bar(axis.astype("datetime64[D]"), counts, np.timedelta64(27, "D"), align="edge", color=role(color))
            axes.set_title(f"{label} per month", fontsize=11, fontweight="normal")
            axes.locator_params(axis="y", nbins=4)
            soften(axes)
            stated.append(f"{label} between {counts.min():,} and {counts.max():,}")
            for alpha, span_s in zip((0.06, 0.13, 0.26), splits, strict=True):  # later ones darker
                begin, end = (edge_s / DAY_S for edge_s in span_s)  # matplotlib counts days from 1970, too
                axes.axvspan(begin, end, color=role("model"), alpha=alpha, linewidth=0, zorder=0)
        both[1].set_xticks(*month_ticks(axis))
        both[0].set_xlim(first.astype("datetime64[D]"), (last + 1).astype("datetime64[D]"))
        alt = f"Per month from {first} to {last}: {'; '.join(stated)}."
        return svg(drawing, alt)


def month_ticks(axis: npt.NDArray[np.datetime64]) -> tuple[list[float], list[str]]:
    """Return places (days since 1970) and labels of at most seven round months of an axis of months."""
    number = axis.astype(np.int64)  # months since January 1970
    step = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if len(axis) <= 7 * step)
    chosen = axis[number % step == 0]
    days = chosen.astype("datetime64[D]").astype(np.int64)
    form = "%Y" if step % 12 == 0 else "%b %Y"
    return days.astype(float).tolist(), [f"{month.astype(object):{form}}" for month in chosen]
