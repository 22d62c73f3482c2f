"""How warnings and the forecasts behind them fared: gains, ROC and Molchan curves, months, delays.

Forecasters keep the looks that they have in `scores`. Shapes are those of ``verification.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu.report.figures.scores import look
from hews_gpu.report.formatting import percent, range_of, signed
from hews_gpu.report.page import Key
from hews_gpu.report.significance import label
from hews_gpu.report.style import figure, role, soften, svg
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = ["OUTCOMES", "delay", "gains", "molchan", "monthly_rates", "outcomes", "outcomes_legend", "roc"]

OUTCOMES = {
    "issued": "model",
    "abstained": "climatology",
    "refused": "target",
    "stopped": "ink",
    "late": "network",
    "missing": "land",
}
"""Color of each outcome of an issue time, in the order in which they are stacked."""


def gains(rows: Mapping[str, Mapping[str, Any]], over: str) -> Markup:
    """Draw the log skill of the rows over one reference: a dot, and its 95 % interval as a band where there is one."""
    with figure(420, 70 + 44 * len(rows)) as drawing:
        axes, stated = drawing.add_subplot(), []
        axes.axvline(0, color=role(look(over).color), linewidth=1.6, linestyle=look(over).line)
        for row, (name, bits) in enumerate(rows.items()):
            if ends := bits["interval"]:
                axes.plot(ends, [row, row], color=role("model"), linewidth=6, alpha=0.35)
            axes.plot([bits["value"]], [row], "o", color=role("model"), markersize=8)
            stated.append(f"{name} {signed(bits['value'])}, 95 % interval {range_of(ends) or 'not known'}")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"log skill over the {label(over)}, bits per window")
        axes.locator_params(axis="x", nbins=5)
        axes.margins(x=0.08)
        soften(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        return svg(drawing, f"Log skill over the {label(over)}: {'; '.join(stated)}.")


def roc(curves: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the hit rate over the rate of false alarms, one curve per forecaster."""
    return _curves(curves, "windows without a target, alarmed", "windows with a target, alarmed", ("ROC curve", "auc"))


def molchan(curves: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the share of target windows missed over the share of all windows that are alarmed."""
    return _curves(curves, "windows alarmed", "windows with a target, missed", ("Molchan curve", "area"))


def _curves(curves: Mapping[str, Mapping[str, Any]], x: str, y: str, said: tuple[str, str]) -> Markup:
    what, area = said
    rises = area == "auc"
    with figure(420, 330) as drawing:
        axes, stated = drawing.add_subplot(), []
        axes.plot([0, 1], [0, 1] if rises else [1, 0], color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        at, side = (0.97, "right") if rises else (0.03, "left")
        axes.annotate("chance", (at, 0.03), color=role("soft"), fontsize=10, ha=side)
        for name, one in curves.items():
            points = np.array(one["curve"])
            axes.plot(*points.T, **look(name).drawn(0, 1.6))
            stated.append(f"{label(name)} {one[area]:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x, ylabel=y)
        soften(axes, grid="both", percent="xy")
        return svg(drawing, f"{what}; area: {', '.join(stated)}.")


def outcomes(periods: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw what became of the issue times that were due, as shares of each month's."""
    names = [str(one["period"]) for one in periods]
    with figure(420, 290) as drawing:
        axes, base, stated = drawing.add_subplot(), np.zeros(len(periods)), []
        due = np.array([max(1, one["outcomes"]["due"]) for one in periods])
        for name, color in OUTCOMES.items():
            share = np.array([one["outcomes"][name] for one in periods]) / due
            axes.bar(range(len(periods)), share, 0.78, bottom=base, color=role(color), linewidth=0)
            base += share
            if share.any():
                stated.append(f"{name} between {percent(share.min())} and {percent(share.max())}")
        axes.set(ylim=(0, 1), ylabel="of the issue times that were due")
        _month_axis(axes, names)
        soften(axes, percent="y")
        return svg(drawing, f"Issue times by month: {', '.join(stated)}.")


def outcomes_legend(periods: Sequence[Mapping[str, Any]]) -> list[Key]:
    """Return the colors of the outcomes that there are."""
    counts = {name: sum(one["outcomes"][name] for one in periods) for name in OUTCOMES}
    return [Key(OUTCOMES[name], name, detail=f"{count:,}") for name, count in counts.items() if count]


def monthly_rates(periods: Sequence[Mapping[str, Any]], model: str) -> Markup:
    """Draw events caught, false alarms and warnings a week by month, one panel each, beside both references."""
    panels = (("pod", "events caught"), ("far", "false alarms"), ("per_week", "given a week"))
    with figure(420, 430) as drawing:
        stated, names = [], [str(one["period"]) for one in periods]
        for axes, (key, title) in zip(drawing.subplots(3, 1, sharex=True), panels, strict=True):
            for who in ("level", "climatology", "p"):
                values = _monthly(periods, who, key)
                if who == "p" and key != "per_week":
                    ends = _monthly(periods, who, f"{key}_interval")
                    axes.vlines(range(len(names)), *ends.T, color=role(look(model).color), linewidth=5, alpha=0.28)
                if np.isfinite(values).any():
                    axes.plot(range(len(names)), values, **look(model if who == "p" else who).drawn())
                    low, high = np.nanmin(values), np.nanmax(values)
                    called = label(model if who == "p" else who)
                    stated.append(f"{title}, {called}: {low:.2g} to {high:.2g}")
            axes.set_title(title, fontsize=11, fontweight="normal")
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="y", nbins=4)
            soften(axes, percent="" if key == "per_week" else "y")
        _month_axis(axes, names)
        return svg(drawing, f"By month: {'; '.join(stated)}.")


def _monthly(periods: Sequence[Mapping[str, Any]], who: str, key: str) -> Any:
    """Return a count of the city's warnings of both tiers by month, NaN where there is none; two of an interval."""
    nothing = [np.nan, np.nan] if key.endswith("interval") else np.nan
    rows = [(one["warnings"]["city"].get(who) or {}).get("any", {}).get(key) for one in periods]
    return np.array([nothing if row is None else row for row in rows], dtype=float)


def _month_axis(axes: Any, names: Sequence[str]) -> None:
    """Label months, at most nine of them."""
    step = -(-len(names) // 9)
    chosen = range(0, len(names), step)
    words = [f"{np.datetime64(names[i]).astype(object):%b %Y}" for i in chosen]
    axes.set_xticks(list(chosen), words if len(words) <= 5 else [word.replace(" ", "\n") for word in words])
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", length=0)


def delay(curve: Sequence[Sequence[float]], settled_s: float | None) -> Markup:
    """Draw the share of rows that are known over the time since the incident; `settled_s` is when labels are given."""
    share, after = np.array(curve, dtype=float).T
    ticks = [
        (MINUTE_S, "1 min"),
        (HOUR_S, "1 h"),
        (6 * HOUR_S, "6 h"),
        (DAY_S, "1 d"),
        (7 * DAY_S, "7 d"),
        (30 * DAY_S, "30 d"),
    ]
    with figure(420, 290) as drawing:
        axes, after = drawing.add_subplot(), np.maximum(after, MINUTE_S)
        axes.plot(after, share, "o-", color=role("model"), markersize=4, linewidth=1.6)
        axes.set_xscale("log")
        axes.minorticks_off()
        low, high = after.min() / 1.5, max(after.max(), settled_s or 0) * 1.5
        if settled_s:
            axes.axvline(settled_s, color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
            axes.annotate("label given ", (settled_s, 0.03), color=role("soft"), fontsize=10, ha="right")
        shown = [(at, text) for at, text in ticks if low <= at <= high]
        axes.set_xticks([at for at, _ in shown], [text for _, text in shown])
        axes.set(xlim=(low, high), ylim=(0, 1.02), xlabel="time since the incident", ylabel="rows known")
        soften(axes, grid="both", percent="y")
        half = float(np.interp(0.5, share, after))
        return svg(
            drawing,
            f"Delay of rows: half are known {half / HOUR_S:.1f} h after the incident, the last share shown "
            f"{share[-1]:.0%} after {after[-1] / DAY_S:.1f} d.",
        )
