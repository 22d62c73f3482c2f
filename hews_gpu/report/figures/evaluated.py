"""What a rolling evaluation found, drawn: skill with intervals, over lead and delay, reliability, alarms, value.

Each method keeps its color, its line and its mark in every figure, so that one legend serves them all and a print in
grey says the same. The base rate is left out where it would squeeze all others into one corner; tables have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from markupsafe import Markup

from hews_gpu.report.style import figure, role, soften, svg
from hews_gpu.report.words import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Look", "alarms", "curve", "look", "reliability", "skill", "value"]

Found = Mapping[str, Any]


class Look(NamedTuple):
    """How one method is drawn and called."""

    label: str
    color: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str


LOOKS = {
    "base_rate": Look("base rate", "base_rate", ":", "x"),
    "climatology": Look("climatology", "climatology", "--", "s"),
    "level": Look("level", "ink", (0, (6, 2, 1, 2)), "^"),
    "hawkes": Look("Hawkes", "target", "-", "D"),
    "boosting": Look("boosting", "model", "-", "o"),
    "hewsnet": Look("HewsNet", "own", (0, (3, 1)), "P"),
    "oracle": Look("oracle", "oracle", ":", "*"),
}


def look(name: str) -> Look:
    """How a method is drawn; one that is not known is drawn as the model that it is."""
    return LOOKS.get(name) or Look(name.replace("_", " "), "link", (0, (3, 1)), "P")


def skill(key: str, gains: Mapping[str, Found]) -> Markup:
    """Log skill of each method: a dot, a thick band over one-week blocks, a thin one over four-week blocks.

    Args:
        key: unique on the page.
        gains: by method, of bits against the climatology: value, one_week, four_weeks.
    """
    with figure(420, 70 + 60 * len(gains)) as drawing:
        axes = drawing.add_subplot()
        axes.axvline(0, color=role("climatology"), linewidth=1.6, linestyle="--")
        for row, (name, bits) in enumerate(gains.items()):
            color = role(look(name).color)
            axes.plot(bits["four_weeks"], [row, row], color=color, linewidth=1.4)
            axes.plot(bits["one_week"], [row, row], color=color, linewidth=6, alpha=0.35)
            axes.plot([bits["value"]], [row], look(name).mark, color=color, markersize=8)
        axes.set_yticks(range(len(gains)), [look(name).label for name in gains])
        axes.set(ylim=(len(gains) - 0.5, -0.5), xlabel="log skill over climatology, bits per window")
        axes.locator_params(axis="x", nbins=5)
        axes.margins(x=0.08)
        soften(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        return svg(drawing, key, f"Log skill over the climatology. {'; '.join(_said(*one) for one in gains.items())}.")


def _said(name: str, bits: Found) -> str:
    low, high = bits["one_week"]
    return f"{look(name).label} {bits['value']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"


def curve(key: str, axis: Literal["lead_s", "delay_s"], points: Sequence[Found], methods: Sequence[str]) -> Markup:
    """Log skill of each method as the target moves away, or as reports come later; bars are 95 % intervals.

    Args:
        key: unique on the page.
        axis: what changes from point to point.
        points: each with the axis and, under ``forecasts``, what each method reached.
        methods: which to draw, from one side of each place to the other.
    """
    with figure(420, 290) as drawing:
        axes, places = drawing.add_subplot(), np.arange(len(points))
        axes.axhline(0, color=role("climatology"), linewidth=1.6, linestyle="--")
        for k, name in enumerate(methods):
            at, drawn = places + 0.09 * (k - (len(methods) - 1) / 2), look(name)
            values = np.array([point["forecasts"][name]["log_skill_bits"] for point in points])
            ends = np.array([point["forecasts"][name]["log_skill_bits_interval"] for point in points])
            axes.vlines(at, *ends.T, color=role(drawn.color), linewidth=4, alpha=0.3)
            axes.plot(at, values, drawn.mark, linestyle=drawn.line, color=role(drawn.color), markersize=5, lw=1.2)
        axes.set_xticks(places, [_length(point[axis]) for point in points])
        what = {"lead_s": "time from the forecast to its window", "delay_s": "time from an incident to its report"}
        axes.set(xlabel=what[axis], ylabel="log skill, bits per window")
        axes.locator_params(axis="y", nbins=5)
        soften(axes)
        said = "; ".join(f"{_length(point[axis])}: {_reached(point, methods)}" for point in points)
        return svg(drawing, key, f"Log skill over the {what[axis]}. {said}.")


def _length(length_s: int) -> str:
    text = duration(length_s)
    return f"1 {text}" if text in ("day", "hour", "minute") else text


def _reached(point: Found, methods: Sequence[str]) -> str:
    return ", ".join(f"{look(name).label} {point['forecasts'][name]['log_skill_bits']:+.4f}" for name in methods)


def reliability(key: str, bins: Mapping[str, Sequence[Found]], banded: Sequence[str], base_rate: float) -> Markup:
    """Observed frequency against forecast probability.

    Args:
        key: unique on the page.
        bins: by method, each with p_mean, y_rate, low, high.
        banded: methods whose 95 % bands are drawn; those of all would hide each other.
        base_rate: share of windows with a target.
    """
    rows = [one for each in bins.values() for one in each]
    top = 1.08 * max([base_rate, *(max(one["p_mean"], one["y_rate"]) for one in rows)])
    with figure(420, 320) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, top], [0, top], color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        axes.annotate("perfect", (top * 0.98, top * 0.99), color=role("soft"), fontsize=10, ha="right", va="bottom")
        axes.axhline(base_rate, color=role("base_rate"), linewidth=1.1, linestyle=":")
        axes.annotate("base rate", (top, base_rate), color=role("soft"), fontsize=10, ha="right", va="bottom")
        for name, each in bins.items():
            drawn, (p, y, low, high) = look(name), _columns(each, "p_mean", "y_rate", "low", "high")
            if name in banded:
                axes.vlines(p, low, high, color=role(drawn.color), linewidth=5, alpha=0.28)
            axes.plot(p, y, drawn.mark, linestyle=drawn.line, color=role(drawn.color), markersize=4.5, lw=1.1)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="forecast probability", ylabel="a target incident followed")
        _percent(axes, "xy")
        soften(axes)
        said = [f"{look(name).label} {p:.0%} was {y:.0%}" for name, p, y in _lowest_highest(bins)]
        return svg(drawing, key, f"Reliability, lowest and highest forecasts: {', '.join(said)}.")


def _columns(rows: Sequence[Found], *keys: str) -> list[Any]:
    return [np.array([row[key] for row in rows], dtype=float) for key in keys]


def _lowest_highest(bins: Mapping[str, Sequence[Found]]) -> list[tuple[str, float, float]]:
    return [(name, one["p_mean"], one["y_rate"]) for name, each in bins.items() for one in (*each[:1], *each[-1:])]


def alarms(key: str, warnings: Mapping[str, Sequence[Found]], base_rate: float) -> Markup:
    """Share of warnings that were right against warnings actually given a week, one mark per budget.

    Args:
        key: unique on the page.
        warnings: by method, one row per budget.
        base_rate: share of windows with a target: what warnings at random would reach.
    """
    with figure(420, 290) as drawing:
        axes, tops, said = drawing.add_subplot(), [base_rate], []
        for name, rows in warnings.items():
            given = [row for row in rows if row["precision"] is not None]
            drawn, (weekly, right) = look(name), _columns(given, "warnings_per_week", "precision")
            axes.plot(weekly, right, drawn.mark, linestyle=drawn.line, color=role(drawn.color), markersize=6, lw=1.2)
            tops += list(right)
            said += [f"{drawn.label} {y:.0%} of {x:.1f} a week" for x, y in zip(weekly, right, strict=True)]
        axes.axhline(base_rate, color=role("base_rate"), linewidth=1.1, linestyle=":")
        axes.annotate(
            "at random", (1, base_rate), xycoords=("axes fraction", "data"), color=role("soft"), ha="right", va="bottom"
        )
        axes.set(ylim=(0, 1.12 * max(tops)), xlabel="warnings given a week", ylabel="warnings that were right")
        axes.set_xlim(left=0)
        _percent(axes, "y")
        soften(axes)
        return svg(drawing, key, f"Warnings that were right: {', '.join(said) or 'none were given'}.")


def value(key: str, curves: Mapping[str, Sequence[Found]]) -> Markup:
    """Relative economic value over the cost-loss ratio; below zero a user does better without the forecast.

    Args:
        key: unique on the page.
        curves: by method, points with cost_loss and value.
    """
    with figure(420, 290) as drawing:
        axes, said = drawing.add_subplot(), []
        axes.axhline(0, color=role("soft"), linewidth=1.1)
        for name, rows in ((name, rows) for name, rows in curves.items() if rows):
            drawn, (ratio, worth) = look(name), _columns(rows, "cost_loss", "value")
            axes.plot(ratio, worth, drawn.mark, linestyle=drawn.line, color=role(drawn.color), markersize=4.5, lw=1.2)
            best = int(np.nanargmax(worth))
            said.append(f"{drawn.label} {worth[best]:.2f} at {ratio[best]:.2f}")
        axes.set(xlabel="cost of acting on a warning / loss that it averts", ylabel="value (1 is perfect foresight)")
        axes.locator_params(nbins=6)
        soften(axes)
        return svg(drawing, key, f"Economic value, highest point of each: {', '.join(said)}.")


def _percent(axes: Axes, which: str) -> None:
    from matplotlib.ticker import PercentFormatter

    for axis in (getattr(axes, f"{letter}axis") for letter in which):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(nbins=5)
