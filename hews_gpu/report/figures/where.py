"""Where the forecast looks: scores of hot spots over the share of the area that they cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.figures.scores import look
from hews_gpu.report.significance import label
from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["hot_spots"]

NAMES = {"hit_rate": "hit rate", "pai": "PAI", "pei_star": "PEI*", "rri": "RRI"}


def hot_spots(score: str, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """Draw one of `NAMES` over the share of the area, of which the curves have a row each; bands are 95 % intervals."""
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
