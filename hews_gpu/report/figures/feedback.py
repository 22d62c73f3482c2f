"""How far forecasts that learn from their own patrols move from the truth, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["drifts"]

PLAIN = "patrols where warnings are"
LOOKS = {
    PLAIN: ("bad", "-"),
    "patrols anywhere": ("climatology", "--"),
    "as few patrols anywhere": ("climatology", ":"),
    "no patrols": ("base_rate", ":"),
}
"""Color and line by what stands behind the target; of the remedies in their order:"""
REMEDIES = (("model", "-."), ("stack", (0, (6, 2))))


def drifts(arms: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the drift of each arm's forecasts by cycle, a panel for each target; bands: 95 % over the seeds."""
    targets = list(dict.fromkeys(one["title"].split(",")[0] for one in arms.values()))
    with figure(860, 380) as drawing:
        panels, stated = drawing.subplots(1, len(targets), sharey=True, squeeze=False)[0], []
        for axes, target in zip(panels, targets, strict=True):
            own = [one for one in arms.values() if one["title"].split(",")[0] == target]
            names = [one["title"].partition(", ")[2] or PLAIN for one in own]
            looks = LOOKS | dict(zip([name for name in names if name not in LOOKS], REMEDIES, strict=False))
            for name, one in zip(names, own, strict=True):
                color, dash = looks[name]
                told = one["by_cycle"]["drift"]
                values, cycle = [each["value"] for each in told], np.arange(1, len(told) + 1)
                ends = np.array([each["interval"] for each in told])
                axes.fill_between(cycle, *ends.T, color=role(color), alpha=0.16, linewidth=0)
                axes.plot(cycle, values, color=role(color), linestyle=dash, label=name)
                stated.append(f"{one['title']}: {values[0]:.2f} to {values[-1]:.2f}")
            axes.set(title=f"forecasts of {target}", xlabel="cycle")
            soften(axes)
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("distance from the true risk")
        return svg(drawing, f"Distance of the forecasts' map from the true risk by cycle. {'; '.join(stated)}.")
