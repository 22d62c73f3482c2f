"""Who bears the warnings, drawn: a measure by group of neighborhoods, and what equal hours would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.figures.scores import look
from hews_gpu.report.significance import label
from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["by_group", "equal_hours"]


def by_group(groups: Mapping[str, Sequence[Mapping[str, Any]]], measure: str, what: str, *, percent: bool) -> Markup:
    """Draw one measure of each group, by forecaster; bars: 95 % intervals."""
    with figure(420, 270) as drawing:
        axes, stated = drawing.add_subplot(), []
        for k, (name, rows) in enumerate(groups.items()):
            at = np.arange(len(rows)) + 0.12 * (k - (len(groups) - 1) / 2)
            told = [row[measure] or {"value": np.nan, "interval": [np.nan, np.nan]} for row in rows]
            values = np.array([one["value"] for one in told])
            axes.vlines(
                at, *np.array([one["interval"] for one in told]).T, color=role(look(name).color), lw=4, alpha=0.3
            )
            axes.plot(at, values, **{**look(name).drawn(6), "linestyle": "none"})
            form = ".1%" if percent else ".1f"
            stated.append(f"{label(name)}: " + ", ".join(f"{value:{form}}" for value in values))
        labels = [row["group"] for row in next(iter(groups.values()))]
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(what)
        axes.locator_params(axis="y", nbins=5)
        soften(axes, percent="y" if percent else "")
        return svg(drawing, f"{what} by group. {'; '.join(stated)}.")


def equal_hours(rows: Sequence[Mapping[str, Any]], ends: tuple[str, str]) -> Markup:
    """Draw the share of events caught over how equal the hours per event of the first and the last group are made."""
    with figure(420, 270) as drawing:
        axes = drawing.add_subplot()
        mix = [row["mix"] for row in rows]
        caught = np.array([row["caught"]["value"] for row in rows])
        axes.fill_between(
            mix, *np.array([row["caught"]["interval"] for row in rows]).T, color=role("stack"), alpha=0.16, lw=0
        )
        axes.plot(mix, caught, **look("stack").drawn(6, 1.4))
        axes.set_xticks([0, 0.5, 1], ["as it is", "halfway", "equal hours\nper event"])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("events foreseen")
        soften(axes, percent="y")
        first, last = rows[0], rows[-1]
        told = [f"{ends[0]} {_hours(one, 0)}, {ends[1]} {_hours(one, -1)} hours per event" for one in (first, last)]
        return svg(
            drawing,
            f"Share of events foreseen, from {caught[0]:.1%} as it is ({told[0]}) to {caught[-1]:.1%} with equal hours "
            f"per event ({told[1]}).",
        )


def _hours(row: Mapping[str, Any], group: int) -> str:
    value = row["hours_per_event"][group]
    return "none" if value is None else f"{value:.1f}"
