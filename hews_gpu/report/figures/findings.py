"""What each leak of the reference protocol was worth, and what more years of data bring, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.figures.scores import look
from hews_gpu.report.significance import label
from hews_gpu.report.style import figure, role, soften, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning", "waterfall"]

Step = Mapping[str, Any]
PANELS = {"auc": "AUC", "accuracy": "accuracy"}


def waterfall(steps: Sequence[Step]) -> Markup:
    """Draw AUC and accuracy as leaks are taken away: a bar from one score to the next, a dot with its 95 % interval."""
    with figure(860, 90 + 38 * len(steps)) as drawing:
        panels = drawing.subplots(1, len(PANELS), sharey=True)
        for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
            _falling(axes, name, steps)
            axes.set_xlabel(label)
        panels[0].set_yticks(range(len(steps)), [step["title"] for step in steps])
        panels[0].tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        stated = "; ".join(
            f"{step['title']} {step['auc']['value']:.3f}, {step['accuracy']['value']:.3f}" for step in steps
        )
        return svg(drawing, f"AUC and accuracy as leaks are taken away one after the other: {stated}.")


def _falling(axes: Axes, name: str, steps: Sequence[Step]) -> None:
    before = 0.5
    axes.axvline(0.5, color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
    for row, step in enumerate(steps):
        value, ends = step[name]["value"], step[name]["interval"]
        first = row == 0
        color = role("quiet") if first or value >= before else role("bad")
        axes.barh(row, value - before, left=before, height=0.5, color=color, alpha=1.0 if first else 0.45, linewidth=0)
        if not first:
            axes.plot([before, before], [row - 1, row + 0.25], color=role("soft"), linewidth=0.8)
        axes.plot(ends, [row, row], color=role("ink"), linewidth=1.3)
        axes.plot([value], [row], "o", color=role("ink"), markersize=5)
        plain = step["climatology"]["auc"] if name == "auc" else step["commoner_class"]
        axes.plot(
            [plain], [row], "s" if name == "auc" else "D", color=role("climatology"), markersize=6, fillstyle="none"
        )
        axes.annotate(f"{value:.3f}", (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=10)
        before = value
    axes.set(ylim=(len(steps) - 0.5, -0.5), xlim=(0.4, 1.0))
    soften(axes, grid="x")


def learning(presets: Mapping[str, Sequence[Step]]) -> Markup:
    """Draw the closure of the gap to the oracle over the years learned from, a panel per preset, with 95 % bands."""
    with figure(860, 300) as drawing:
        panels = drawing.subplots(1, len(presets), sharey=True, squeeze=False)[0]
        stated = []
        for axes, (preset, points) in zip(panels, presets.items(), strict=True):
            years = np.array([point["years"] for point in points])
            for name in points[0]["oracle_gap_closure"]:
                closures = [point["oracle_gap_closure"][name] for point in points]
                ends = np.array([one["interval"] for one in closures])
                axes.fill_between(years, *ends.T, color=role(look(name).color), alpha=0.18, linewidth=0)
                values = [one["value"] for one in closures]
                axes.plot(years, values, label=label(name), **look(name).drawn(5, 1.4))
                stated.append(f"{preset}, {label(name)}: " + ", ".join(f"{v:.2f}" for v in values))
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(years, [str(one) for one in years])
            axes.axhline(1, color=role("oracle"), linewidth=1.1, linestyle=":")
            axes.set(title=preset, xlabel="years learned from", ylim=(-0.1, 1.08))
            soften(axes)
        panels[0].set_ylabel("closure of the gap to the oracle")
        panels[-1].legend(loc="center right")
        return svg(drawing, f"Closure over years learned from. {'; '.join(stated)}.")
