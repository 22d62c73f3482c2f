"""Pictures of groups of victims: curves over their number, a plane of rows, what each is like, inside and outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.page import Key
from hews_gpu.report.style import figure, role, soften, svg

__all__ = ["GROUP_ROLES", "curves", "plane", "profile", "sides"]

GROUP_ROLES = ("model", "climatology", "oracle", "target", "own", "network", "stack", "base_rate")
MARKS = "osD^vPX*"
MOST_LEVELS = {"category": 5, "inside or outside": 3, "premise": 4, "weapon": 3, "census": 5}
TITLES = {"census": "in the highest quarter of the city's rows by"}
LONGEST = 30  # characters of a level


def curves(result: Mapping[str, Any]) -> tuple[Markup, list[Key]]:
    """Draw within-variance, silhouette and gap over the number of groups, against the null tables."""
    rows, k = result["curve"], result["k"]
    ks = [row["k"] for row in rows]
    null = np.array([row["null_silhouette"]["interval"] for row in rows])
    own, soft = {"color": role("model"), "marker": "o", "markersize": 4}, {"color": role("soft"), "linestyle": "--"}
    key = [Key("model", "the table", "solid"), Key("soft", "columns permuted within neighborhoods", "dashed")]
    with figure(880, 270) as drawing:
        within, silhouette, gap = drawing.subplots(1, 3)
        within.plot(ks, [row["within"] for row in rows], **own)
        within.plot(ks, [row["null_within"] for row in rows], **soft)
        within.set_title("Elbow: variance within groups")
        silhouette.plot(ks, [row["silhouette"] for row in rows], **own)
        silhouette.plot(ks, [row["null_silhouette"]["value"] for row in rows], **soft)
        silhouette.fill_between(ks, *null.T, color=role("soft"), alpha=0.2, linewidth=0)
        if "join" in result:
            more = result["join"]["curves"]
            for name, color, dashes in (("part_1", "climatology", "-."), ("part_2_swapped", "own", ":")):
                silhouette.plot(ks, more[name], color=role(color), linestyle=dashes)
            key.append(Key("climatology", "crime table alone (part 1)", "dashed"))
            key.append(Key("own", "census rows swapped between neighborhoods", "dotted"))
        silhouette.set_title("Silhouette")
        error = [row["gap_error"] for row in rows]
        gap.errorbar(ks, [row["gap"] for row in rows], yerr=error, capsize=2, **own)
        gap.axhline(0, **soft, linewidth=1)
        gap.set_title("Gap over the permuted tables")
        for axes in (within, silhouette, gap):
            axes.axvline(k, color=role("target"), linewidth=1, alpha=0.6)
            axes.set(xlabel="groups", xticks=ks)
            soften(axes, percent="y" if axes is within else "")
        told = "; ".join(f"{row['k']} groups {row['silhouette']:.3f}" for row in rows)
        return svg(drawing, f"Curves over the number of groups. Silhouette: {told}. {k} were chosen."), key


def plane(picture: Mapping[str, Any], groups: int) -> tuple[Markup, list[Key]]:
    """Draw points on a plane, each with the color and the mark of its group."""
    points = np.array(picture["points"])
    key = []
    with figure(440, 380) as drawing:
        axes = drawing.add_subplot()
        for g in range(groups):
            own = points[points[:, 2] == g + 1]
            look: dict[str, Any] = {
                "color": role(GROUP_ROLES[g]),
                "marker": MARKS[g],
                "s": 9,
                "alpha": 0.6,
                "linewidths": 0,
            }
            axes.scatter(own[:, 0], own[:, 1], **look)
            if len(own):
                x, y = np.median(own[:, :2], axis=0)
                axes.text(x, y, str(g + 1), fontsize=15, fontweight="bold", ha="center", va="center")
            key.append(Key(GROUP_ROLES[g], f"group {g + 1}"))
        first, second = (
            ("first component", "second component") if picture["by"] == "components" else ("UMAP 1", "UMAP 2")
        )
        axes.set(xlabel=first, ylabel=second, xticks=[], yticks=[])
        return svg(drawing, f"{len(points):,} rows on a plane, by {picture['by']}, in {groups} groups."), key


def profile(group: Mapping[str, Any]) -> Markup:
    """Draw a group's shares of the levels that matter most, with their intervals, and the city's; then its hours."""
    panels = [
        (TITLES.get(name, name), _most(group["columns"][name], most, name == "census"))
        for name, most in MOST_LEVELS.items()
        if name in group["columns"]
    ]
    hours = group["columns"].get("hour", [])
    sizes = [len(rows) + 1.6 for _, rows in panels] + [5.5] * bool(hours)
    color = role(GROUP_ROLES[group["group"] - 1])
    with figure(
        440, 22 * sum(sizes), left=0.42, right=0.96, top=1 - 26 / (22 * sum(sizes)), bottom=30 / (22 * sum(sizes))
    ) as drawing:
        drawing.subplots_adjust(hspace=0.5)
        grid = drawing.add_gridspec(len(sizes), 1, height_ratios=sizes)
        for i, (title, rows) in enumerate(panels):
            axes = drawing.add_subplot(grid[i])
            for y, one in enumerate(rows):
                axes.plot(one["interval"], [y, y], color=color, linewidth=3, alpha=0.45, solid_capstyle="butt")
                axes.plot([one["city"]] * 2, [y - 0.38, y + 0.38], color=role("soft"), linewidth=2)
                axes.plot(one["share"], y, "o", color=color, markersize=5)
            axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
            axes.set_yticklabels([_short(one["level"]) for one in rows])
            axes.set_title(title, x=-0.7, fontsize=11)
            soften(axes, grid="x", percent="x")
            if i < len(panels) - 1:
                axes.set_xticklabels([])
        if hours:
            _hours(drawing.add_subplot(grid[-1]), hours, color)
        told = "; ".join(
            f"{one['level']} {one['share']:.0%}, city {one['city']:.0%}" for _, rows in panels for one in rows
        )
        return svg(drawing, f"Group {group['group']}: {told}.")


def _most(levels: Sequence[Mapping[str, Any]], most: int, by_difference: bool) -> list[Mapping[str, Any]]:
    """Return the levels to draw, the largest share first; of census columns those furthest from the city."""
    return sorted(levels, key=lambda one: -abs(one["share"] - one["city"] * by_difference))[:most]


def _short(level: str) -> str:
    level = level.replace(" per inhabitant", " / inhabitant")
    return level if len(level) <= LONGEST else f"{level[: LONGEST - 1]}…"


def _hours(axes: Any, hours: Sequence[Mapping[str, Any]], color: str) -> None:
    """Draw the share of each hour as bars with intervals, and the city's as a line of steps."""
    x = np.arange(24) + 0.5
    ends = np.array([one["interval"] for one in hours])
    axes.bar(x, [one["share"] for one in hours], 0.8, color=color, alpha=0.45)
    axes.vlines(x, *ends.T, color=color, linewidth=1.6)
    axes.step(np.arange(25), [*(one["city"] for one in hours), hours[-1]["city"]], where="post", color=role("soft"))
    axes.set(xlim=(0, 24), xticks=range(0, 25, 6), ylim=(0, None))
    axes.set_title("hour of the day", x=-0.7, fontsize=11)
    soften(axes, percent="y")


def sides(rows: Sequence[Mapping[str, Any]]) -> tuple[Markup, list[Key]]:
    """Draw the shares of rows inside, outside and not stated, by category."""
    looks = {"INSIDE": "model", "OUTSIDE": "climatology", "not stated": "quiet"}
    rows = sorted(rows, key=lambda row: -row.get("INSIDE", 0.0))
    with figure(440, 50 + 20 * len(rows)) as drawing:
        axes, left = drawing.add_subplot(), np.zeros(len(rows))
        for name, color in looks.items():
            share = np.array([row.get(name, 0.0) for row in rows])
            axes.barh(range(len(rows)), share, 0.8, left=left, color=role(color))
            left += share
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
        axes.set_yticklabels([_short(row["category"]) for row in rows])
        soften(axes, grid="x", percent="x")
        told = "; ".join(f"{row['category']} {row.get('INSIDE', 0):.0%} inside" for row in rows)
        return svg(drawing, f"Inside and outside by category: {told}."), [
            Key(color, name) for name, color in looks.items()
        ]
