"""Two findings about data and protocols, drawn: what each leak was worth, and what more years bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.figures.evaluated import look
from hews_gpu.report.style import figure, light_svg, role, soften, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AS_FILE", "learning", "waterfall"]

Found = Mapping[str, Any]
AS_FILE = ""
"""Instead of a key: the figure is to be a file of its own, in the colors of the light page."""
PANELS = {"auc": "AUC", "accuracy": "accuracy"}


def waterfall(key: str, steps: Sequence[Found]) -> Markup:
    """AUC and accuracy as leaks are taken away: a bar from one score to the next, a dot with its 95 % interval.

    Args:
        key: unique on the page, or `AS_FILE`.
        steps: rows of the leak ablation's result, in order.
    """
    with figure(860, 90 + 38 * len(steps)) as drawing:
        panels = drawing.subplots(1, len(PANELS), sharey=True)
        for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
            _falling(axes, name, steps)
            axes.set_xlabel(label)
        panels[0].set_yticks(range(len(steps)), [step["title"] for step in steps])
        panels[0].tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        said = "; ".join(
            f"{step['title']} {step['auc']['value']:.3f}, {step['accuracy']['value']:.3f}" for step in steps
        )
        return _out(drawing, key, f"AUC and accuracy as leaks are taken away one after the other: {said}.")


def _falling(axes: Axes, name: str, steps: Sequence[Found]) -> None:
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


def learning(key: str, presets: Mapping[str, Sequence[Found]]) -> Markup:
    """Closure of the gap to the oracle over the years learned from, a panel per preset; bands are 95 % intervals.

    Args:
        key: unique on the page, or `AS_FILE`.
        presets: points by preset, each with years and, by method, the closure.
    """
    with figure(860, 300) as drawing:
        panels = drawing.subplots(1, len(presets), sharey=True, squeeze=False)[0]
        said = []
        for axes, (preset, points) in zip(panels, presets.items(), strict=True):
            years = np.array([point["years"] for point in points])
            for name in points[0]["oracle_gap_closure"]:
                drawn = look(name)
                closures = [point["oracle_gap_closure"][name] for point in points]
                ends = np.array([one["one_week"] for one in closures])
                axes.fill_between(years, *ends.T, color=role(drawn.color), alpha=0.18, linewidth=0)
                values = [one["value"] for one in closures]
                line = {"linestyle": drawn.line, "color": role(drawn.color), "label": drawn.label}
                axes.plot(years, values, drawn.mark, markersize=5, lw=1.4, **line)
                said.append(f"{preset}, {drawn.label}: " + ", ".join(f"{v:.2f}" for v in values))
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(years, [str(one) for one in years])
            axes.axhline(1, color=role("oracle"), linewidth=1.1, linestyle=":")
            axes.set(title=preset, xlabel="years learned from", ylim=(-0.1, 1.08))
            soften(axes)
        panels[0].set_ylabel("closure of the gap to the oracle")
        panels[-1].legend(loc="center right")
        return _out(drawing, key, f"Closure over years learned from. {'; '.join(said)}.")


def _out(drawing: Any, key: str, alt: str) -> Markup:
    return light_svg(drawing, alt) if key == AS_FILE else svg(drawing, key, alt)
