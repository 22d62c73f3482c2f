"""How far forecasts that learn from their own patrols move from the truth, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["drifts"]

COLORS = ("bad", "climatology", "model", "own", "network")


def drifts(arms: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the drift of each arm's forecasts by cycle, a panel for each target; bands: 95 % over the seeds."""
    targets = list(dict.fromkeys(one["title"].split(",")[0] for one in arms.values()))
    with figure(860, 340) as drawing:
        panels, stated = drawing.subplots(1, len(targets), sharey=True, squeeze=False)[0], []
        for axes, target in zip(panels, targets, strict=True):
            own = [one for one in arms.values() if one["title"].split(",")[0] == target]
            for color, dash, one in zip(COLORS, ("-", "--", "-.", ":", "-"), own, strict=False):
                told = one["by_cycle"]["drift"]
                values, cycle = [each["value"] for each in told], np.arange(1, len(told) + 1)
                ends = np.array([each["interval"] for each in told])
                axes.fill_between(cycle, *ends.T, color=role(color), alpha=0.16, linewidth=0)
                label = one["title"].partition(", ")[2] or "patrols where warnings are"
                axes.plot(cycle, values, color=role(color), linestyle=dash, label=label)
                stated.append(f"{one['title']}: {values[0]:.2f} to {values[-1]:.2f}")
            axes.set(title=f"forecasts of {target}", xlabel="cycle", ylim=(0, None))
            soften(axes)
            axes.legend(loc="upper left")
        panels[0].set_ylabel("distance from the true risk")
        return svg(drawing, f"Distance of the forecasts' map from the true risk by cycle. {'; '.join(stated)}.")
