"""Skill and hit rate over the lead, drawn: one small figure for each horizon, lines by forecaster, 95 % bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hews_gpu.evaluation.leadtime import foresees
from hews_gpu.report.figures.scores import look
from hews_gpu.report.significance import LEVEL, gain_over, label
from hews_gpu.report.style import figure, role, soften, svg
from hews_gpu.units import HOUR_S, short_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hit_rate", "skill"]

Point = Mapping[str, Any]
Measured = Callable[[Point, str], Mapping[str, Any]]
"""Returns a value with its interval of a forecaster at a point."""


def skill(points: Sequence[Point], names: Sequence[str]) -> Markup:
    """Draw log skill over the recent level against the lead; marks are filled where there is foresight."""

    def measured(point: Point, name: str) -> Mapping[str, Any]:
        return gain_over(point["forecasts"][name], LEVEL) or {}

    with figure(420, 270) as drawing:
        axes = drawing.add_subplot()
        axes.axhline(0, color=role(look(LEVEL).color), linewidth=1.6, linestyle=look(LEVEL).line)
        for name in names:
            filled = [foresees(point, name) for point in points] if name != "oracle" else [True] * len(points)
            _line(axes, points, name, measured, filled)
        axes.set_ylabel("log skill, bits per window")
        return _finished(axes, points, names, measured, "Log skill over the recent level", "+.4f")


def hit_rate(points: Sequence[Point], names: Sequence[str], share: float) -> Markup:
    """Draw the share of the target incidents that fell into the highest forecasts' part of the area."""

    def measured(point: Point, name: str) -> Mapping[str, Any]:
        spots = point["places"]["forecasts"][name]["hot_spots"]
        rate: Mapping[str, Any] = next(spot["hit_rate"] for spot in spots if spot["area_share"] == share)
        return rate

    with figure(420, 270) as drawing:
        axes = drawing.add_subplot()
        for name in names:
            _line(axes, points, name, measured, [True] * len(points))
        axes.set_ylabel("target incidents in it")
        soften(axes, percent="y")
        return _finished(axes, points, names, measured, f"Hit rate in {share:.0%} of the area", ".1%", percent="y")


def _line(axes: Axes, points: Sequence[Point], name: str, measured: Measured, filled: Sequence[bool]) -> None:
    """Draw one forecaster's values with their band; marks that are not filled are hollow."""
    hours = np.array([point["lead_s"] / HOUR_S for point in points])
    values = np.array([measured(point, name)["value"] for point in points])
    ends = np.array([measured(point, name)["interval"] for point in points])
    style, color = look(name).drawn(5.5, 1.4), role(look(name).color)
    axes.fill_between(hours, *ends.T, color=color, alpha=0.16, linewidth=0)
    axes.plot(hours, values, **{**style, "marker": None})
    for hour, value, is_filled in zip(hours, values, filled, strict=True):
        face = color if is_filled else role("card")
        axes.plot([hour], [value], **{**style, "linestyle": "none", "markerfacecolor": face})


def _finished(
    axes: Axes,
    points: Sequence[Point],
    names: Sequence[str],
    measured: Measured,
    what: str,
    form: str,
    percent: str = "",
) -> Markup:
    """Return the drawing, its leads on a logarithmic axis, with what it shows in words."""
    leads = [short_duration(point["lead_s"]) for point in points]
    hours = [point["lead_s"] / HOUR_S for point in points]
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(hours, leads)
    axes.set(xlabel="from the forecast to its window", xlim=(hours[0] / 1.3, hours[-1] * 1.3))
    axes.locator_params(axis="y", nbins=5)
    soften(axes, percent=percent)
    stated = [
        f"{lead}: " + ", ".join(f"{label(name)} {measured(point, name)['value']:{form}}" for name in names)
        for lead, point in zip(leads, points, strict=True)
    ]
    drawing = axes.figure
    length = short_duration(points[0]["horizon_s"])
    return svg(drawing, f"{what}, windows of {length}, over the lead. {'; '.join(stated)}.")  # type: ignore[arg-type]
