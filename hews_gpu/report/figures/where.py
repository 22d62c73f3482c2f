"""Where the forecast looks and where it happened: hot spots over the share of the area, and neighborhoods in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.arrays import Float64
from hews_gpu.report.figures.scores import look
from hews_gpu.report.significance import label
from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["hot_spots", "ranked"]

NAMES = {"hit_rate": "hit rate", "pai": "PAI", "pei_star": "PEI*", "rri": "RRI"}


def hot_spots(score: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """Draw one score of hot spots over the share of the area that they cover; bands are 95 % intervals.

    Args:
        score: hit_rate, pai, pei_star or rri.
        curves: by forecast, a row per share of the area with the score and its interval.
    """
    with figure(420, 270) as drawing:
        axes, stated = drawing.add_subplot(), []
        for name, rows in curves.items():
            share = np.array([row["area_share"] for row in rows])
            ends = np.array([row[f"{score}_interval"] for row in rows])
            values = np.array([row[score] for row in rows])
            style = look(name).drawn(4)
            axes.fill_between(share, *ends.T, color=style["color"], alpha=0.18, linewidth=0)
            axes.plot(share, values, **style)
            stated.append(f"{label(name)} {values[0]:.3g} in {share[0]:.1%}, {values[-1]:.3g} in {share[-1]:.0%}")
        chance = {"pai": 1.0, "rri": 1.0}.get(score)
        if chance is not None:
            axes.axhline(chance, color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        elif score == "hit_rate":
            axes.plot(share, share, color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [tick for tick in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if share[0] <= tick <= share[-1]]
        axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
        axes.set(xlabel="share of the area", ylim=(0, None), ylabel=NAMES[score])
        soften(axes, percent="y" if score in ("hit_rate", "pei_star") else "")
        return svg(drawing, f"{NAMES[score]} of hot spots over their share of the area: {'; '.join(stated)}.")


def ranked(names: Sequence[str], forecasts: Mapping[str, Float64], happened: Float64, ends: Float64) -> Markup:
    """Draw neighborhoods in order: forecasts as marks, what happened as a dot with its 95 % interval.

    Args:
        names: of the neighborhoods, the first at the top [R].
        forecasts: [R] expected events per square kilometer and year, by forecast.
        happened: [R] the same of what happened.
        ends: [R, 2] its interval.
    """
    with figure(420, 60 + 20 * len(names)) as drawing:
        axes, rows = drawing.add_subplot(), np.arange(len(names))
        axes.hlines(rows, *ends.T, color=role("target"), linewidth=6, alpha=0.3)
        axes.plot(happened, rows, "o", color=role("target"), markersize=5)
        for name, rate in forecasts.items():
            style = look(name).drawn(6) | {"linestyle": "none"}
            axes.plot(rate, rows, **style, fillstyle="none", markeredgewidth=1.5)
        axes.set_yticks(rows, [name if len(name) <= 24 else f"{name[:23]}…" for name in names])
        axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, None), xlabel="incidents per square kilometer and year")
        soften(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=role("ink"))
        first = ", ".join(f"{label(name)} {rate[0]:.3g}" for name, rate in forecasts.items())
        alt = f"{len(names)} neighborhoods in order of the forecast; {names[0]}: {first}, happened {happened[0]:.3g}."
        return svg(drawing, alt)
