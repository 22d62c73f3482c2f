"""How good the forecasts are: skill, reliability, warnings, value, and what they look like over hours and weeks.

Each forecaster keeps its color, its line and its mark in every figure, so that one legend serves them all and a print
in grey says the same. The base rate is left out where it would squeeze all others into one corner; tables have it.

Shapes: S windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from hews_gpu.arrays import Bool, Float64
from hews_gpu.report.formatting import duration
from hews_gpu.report.page import Key
from hews_gpu.report.significance import Bits, label
from hews_gpu.report.style import figure, role, soften, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scores = Mapping[str, Any]
FEW = 0.02  # of recall; before it precision is that of a handful of alarms


class Look(NamedTuple):
    """How one forecaster is drawn."""

    color: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str
    glyph: str  # the mark as a character

    def drawn(self, size: float = 5, width: float = 1.2) -> dict[str, Any]:
        """Return what matplotlib calls it."""
        color = role(self.color)
        return {"color": color, "linestyle": self.line, "marker": self.mark, "markersize": size, "lw": width}


LOOKS = {
    "base_rate": Look("base_rate", ":", "x", "×"),  # noqa: RUF001 - the mark of matplotlib's "x"
    "climatology": Look("climatology", "--", "s", "■"),
    "level": Look("ink", (0, (6, 2, 1, 2)), "^", "▲"),
    "hawkes": Look("target", "-", "D", "◆"),
    "boosting": Look("model", "-", "o", "●"),
    "hewsnet": Look("own", (0, (3, 1)), "P", "✚"),
    "cnn": Look("network", "-", "X", "✖"),
    "counts": Look("model", (0, (1, 1)), "p", "⬟"),
    "stack": Look("stack", "-", "v", "▼"),
    "oracle": Look("oracle", ":", "*", "★"),
    "long_run": Look("climatology", "--", "s", "■"),
}


def look(name: str) -> Look:
    """Return how a forecaster is drawn; one that is not known is drawn as a network is."""
    return LOOKS.get(name, LOOKS["cnn"])


def legend(names: Sequence[str]) -> list[Key]:
    """Return the legend of figures that show these forecasters."""
    lines = {name: {"-": "solid", ":": "dotted"}.get(str(look(name).line), "dashed") for name in names}
    return [Key(look(name).color, label(name), line, look(name).glyph) for name, line in lines.items()]


def skill(gains: Mapping[str, Bits], over: str) -> Markup:
    """Draw log skill over one other forecaster: a dot, and its 95 % interval as a band."""
    with figure(420, 70 + 48 * len(gains)) as drawing:
        axes = drawing.add_subplot()
        axes.axvline(0, color=role(look(over).color), linewidth=1.6, linestyle=look(over).line)
        for row, (name, bits) in enumerate(gains.items()):
            color = role(look(name).color)
            axes.plot(bits["interval"], [row, row], color=color, linewidth=6, alpha=0.35)
            axes.plot([bits["value"]], [row], look(name).mark, color=color, markersize=8)
        axes.set_yticks(range(len(gains)), [label(name) for name in gains])
        axes.set(ylim=(len(gains) - 0.5, -0.5), xlabel=f"log skill over {label(over)}, bits per window")
        axes.locator_params(axis="x", nbins=5)
        axes.margins(x=0.08)
        soften(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        stated = []
        for name, bits in gains.items():
            low, high = bits["interval"]
            stated.append(f"{label(name)} {bits['value']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
        return svg(drawing, f"Log skill over the {label(over)}. {'; '.join(stated)}.")


def curve(axis: str, points: Sequence[Scores], names: Sequence[str]) -> Markup:
    """Draw log skill as the target moves away (`axis` lead_s) or reports come later (delay_s); bars: 95 % intervals."""
    with figure(420, 290) as drawing:
        axes, places = drawing.add_subplot(), np.arange(len(points))
        axes.axhline(0, color=role("climatology"), linewidth=1.6, linestyle="--")
        for k, name in enumerate(names):
            at = places + 0.09 * (k - (len(names) - 1) / 2)
            values = np.array([point["forecasts"][name]["log_skill_bits"] for point in points])
            ends = np.array([point["forecasts"][name]["log_skill_bits_interval"] for point in points])
            axes.vlines(at, *ends.T, color=role(look(name).color), linewidth=4, alpha=0.3)
            axes.plot(at, values, **look(name).drawn())
        lengths = [_length(point[axis]) for point in points]
        axes.set_xticks(places, lengths)
        what = {"lead_s": "time from the forecast to its window", "delay_s": "time from an incident to its report"}
        axes.set(xlabel=what[axis], ylabel="log skill, bits per window")
        axes.locator_params(axis="y", nbins=5)
        soften(axes)
        stated = [
            f"{length}: "
            + ", ".join(f"{label(name)} {point['forecasts'][name]['log_skill_bits']:+.4f}" for name in names)
            for length, point in zip(lengths, points, strict=True)
        ]
        return svg(drawing, f"Log skill over the {what[axis]}. {'; '.join(stated)}.")


def _length(length_s: int) -> str:
    text = duration(length_s)
    return f"1 {text}" if text in ("day", "hour", "minute") else text


def reliability(
    bins: Mapping[str, Sequence[Scores]], banded: Sequence[str], base_rate: float, p: Float64 | None = None
) -> Markup:
    """Draw observed frequency against forecast probability, over a histogram of the forecasts where they are known.

    Args:
        bins: by forecaster, each with p_mean, y_rate, low, high.
        banded: forecasters whose 95 % bands are drawn; those of all would hide each other.
        base_rate: share of windows with a target.
        p: [S] forecasts of the last of `banded`.
    """
    rows = [one for each in bins.values() for one in each]
    top = 1.08 * max([base_rate, *(max(one["p_mean"], one["y_rate"]) for one in rows)])
    heights = [1] if p is None else [4, 1]
    with figure(420, 320 if p is None else 390) as drawing:
        panels = drawing.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        axes = panels[0]
        axes.plot([0, top], [0, top], color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        axes.annotate("perfect", (top * 0.98, top * 0.99), color=role("soft"), fontsize=10, ha="right", va="bottom")
        _base_rate(axes, base_rate, "base rate")
        for name, each in bins.items():
            mean, rate, low, high = _columns(each, "p_mean", "y_rate", "low", "high")
            if name in banded:
                axes.vlines(mean, low, high, color=role(look(name).color), linewidth=5, alpha=0.28)
            axes.plot(mean, rate, **look(name).drawn(4.5, 1.1))
        axes.set(xlim=(0, top), ylim=(0, top), ylabel="a target incident followed")
        soften(axes, percent="xy")
        if p is not None:
            panels[1].hist(p, bins=np.linspace(0, top, 41).tolist(), color=role("quiet"))
            panels[1].set_ylabel("windows")
            panels[1].locator_params(axis="y", nbins=3)
            soften(panels[1])
        panels[-1].set_xlabel("forecast probability")
        ends = [(name, one) for name, each in bins.items() for one in (*each[:1], *each[-1:])]
        stated = [f"{label(name)} {one['p_mean']:.0%} was {one['y_rate']:.0%}" for name, one in ends]
        return svg(drawing, f"Reliability, lowest and highest forecasts: {', '.join(stated)}.")


def _columns(rows: Sequence[Scores], *keys: str) -> list[Float64]:
    return [np.array([row[key] for row in rows], dtype=float) for key in keys]


def _base_rate(axes: Axes, base_rate: float, name: str) -> None:
    axes.axhline(base_rate, color=role("base_rate"), linewidth=1.1, linestyle=":")
    at, soft = (1, base_rate), role("soft")
    axes.annotate(name, at, xycoords=("axes fraction", "data"), color=soft, fontsize=10, ha="right", va="bottom")


def precision_recall(forecasts: Mapping[str, Float64], y: Bool) -> Markup:
    """Draw the share of alarms that were right against the share of target windows caught; [S] each."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    with figure(420, 330) as drawing:
        axes, top, stated = drawing.add_subplot(), 0.0, []
        _base_rate(axes, float(y.mean()), "base rate")
        for name, p in forecasts.items():
            precision, recall, _ = precision_recall_curve(y, p)
            settled = recall >= FEW
            axes.plot(recall[settled], precision[settled], **look(name).drawn(0, 1.6))
            top = max(top, float(precision[settled].max()))
            stated.append(f"{label(name)} {average_precision_score(y, p):.3f}")
        axes.set(xlim=(0, 1), ylim=(0, min(1.01, 1.15 * top)))
        axes.set(xlabel="target windows that were caught", ylabel="alarms that were right")
        soften(axes, grid="both", percent="xy")
        return svg(drawing, f"Precision and recall; average precision: {', '.join(stated)}.")


def warnings(given: Mapping[str, Sequence[Scores]], base_rate: float) -> Markup:
    """Draw the share of warnings that were right against warnings actually given a week, one mark per budget.

    At random the share of windows with a target, `base_rate`, would be right.
    """
    with figure(420, 290) as drawing:
        axes, top, stated = drawing.add_subplot(), base_rate, []
        for name, rows in given.items():
            known = [row for row in rows if row["precision"] is not None]
            weekly, right = _columns(known, "warnings_per_week", "precision")
            axes.plot(weekly, right, **look(name).drawn(6))
            top = max([top, *right])
            stated += [f"{label(name)} {y:.0%} of {x:.1f} a week" for x, y in zip(weekly, right, strict=True)]
        _base_rate(axes, base_rate, "at random")
        axes.set(ylim=(0, 1.12 * top), xlabel="warnings given a week", ylabel="warnings that were right")
        axes.set_xlim(left=0)
        soften(axes, percent="y")
        return svg(drawing, f"Warnings that were right: {', '.join(stated) or 'none were given'}.")


def value(curves: Mapping[str, Sequence[Scores]]) -> Markup:
    """Draw relative economic value over the cost-loss ratio; below zero a user does better without the forecast."""
    with figure(420, 290) as drawing:
        axes, stated = drawing.add_subplot(), []
        axes.axhline(0, color=role("soft"), linewidth=1.1)
        for name, rows in curves.items():
            ratio, worth = _columns(rows, "cost_loss", "value")
            axes.plot(ratio, worth, **look(name).drawn(4.5))
            best = int(np.nanargmax(worth))
            stated.append(f"{label(name)} {worth[best]:.2f} at {ratio[best]:.2f}")
        axes.set(xlabel="cost of acting on a warning / loss that it averts", ylabel="value (1 is perfect foresight)")
        axes.locator_params(nbins=6)
        soften(axes)
        return svg(drawing, f"Economic value, highest point of each: {', '.join(stated)}.")


def by_hour(hour: Float64, forecasts: Mapping[str, Float64], y: Bool) -> Markup:
    """Draw the mean forecast by the hour [S] at which windows begin, and how often a target followed; 95 % bands."""
    from hews_gpu.evaluation.metrics import wilson_interval

    hours, place = np.unique(hour, return_inverse=True)
    count = np.bincount(place)
    hits = np.bincount(place, weights=y)
    ends = np.array([wilson_interval(int(n), int(of)) for n, of in zip(hits, count, strict=True)])
    with figure(420, 290) as drawing:
        axes = drawing.add_subplot()
        axes.vlines(hours, *ends.T, color=role("target"), linewidth=5, alpha=0.28)
        axes.plot(hours, hits / count, "o", color=role("target"), markersize=5)
        for name, p in forecasts.items():
            axes.plot(hours, np.bincount(place, weights=p) / count, **look(name).drawn(0, 1.6))
        axes.set(xlabel="hour at which the window begins", ylabel="a target incident followed", ylim=(0, None))
        axes.set_xticks(range(0, 25, 3))
        soften(axes, percent="y")
        most = int(np.argmax(hits / count))
        alt = f"Target windows by hour; most often from {hours[most]:g}:00, {hits[most] / count[most]:.0%} of "
        return svg(drawing, f"{alt}{count[most]:,} windows.")


def busiest_week(test: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the title and the rows of the week with the most target windows, however well they were forecast."""
    week = test["window_start"].dt.to_period("W")
    by_week = test.groupby(week)["y"]
    whole = by_week.size() >= 0.9 * by_week.size().max()
    busiest = by_week.sum()[whole].idxmax()
    return f"The week of {busiest.start_time:%-d %B %Y}, which had the most target windows", test[week == busiest]


def week(title: str, rows: pd.DataFrame, columns: Mapping[str, str]) -> Markup:
    """Draw one week's rows in order of time, the forecasters' `columns` as steps, with target windows marked."""
    begin, end = (rows[name].to_numpy().astype("datetime64[s]") for name in ("window_start", "window_end"))
    hit, top = rows["y"].to_numpy() == 1, 1.15 * float(rows[list(columns.values())].to_numpy().max())
    with figure(420, 290) as drawing:
        axes, stated = drawing.add_subplot(), []
        axes.bar(begin[hit], top, (end - begin)[hit], align="edge", color=role("target"), alpha=0.22, linewidth=0)
        middle = begin[hit] + (end - begin)[hit] // 2
        axes.plot(middle, np.full(hit.sum(), top * 0.965), "v", color=role("target"), markersize=5, linestyle="none")
        for name, column in columns.items():
            p = rows[column].to_numpy(dtype=float)
            axes.step(np.append(begin, end[-1:]), np.append(p, p[-1:]), where="post", **look(name).drawn(0, 1.5))
            stated.append(f"{label(name)} between {p.min():.0%} and {p.max():.0%}")
        days = begin[0].astype("datetime64[D]") + np.arange(7)
        axes.set_xticks(days, [f"{day.astype(object):%a %-d}" for day in days], ha="left")
        axes.set(xlim=(days[0], days[0] + 7), ylim=(0, top))
        soften(axes, grid="both", percent="y")
        axes.tick_params(axis="x", length=0)
        return svg(drawing, f"{title}: {', '.join(stated)}; {hit.sum()} target windows.")


def training(history: pd.DataFrame) -> Markup:
    """Draw the loss per epoch on the training and the validation split; the best epoch is marked."""
    columns = {"train_loss": ("training", "soft", "--"), "validation_log_loss": ("validation", "model", "-")}
    with figure(420, 250) as drawing:
        axes, stated = drawing.add_subplot(), []
        for column, (name, color, line) in columns.items():
            if column in history:
                values = history[column]
                axes.plot(history["epoch"], values, line, marker="o", markersize=4, color=role(color), label=name)
                stated.append(f"{name} from {values.iloc[0]:.4f} to {values.iloc[-1]:.4f}")
        if "validation_log_loss" in history and history["validation_log_loss"].notna().any():
            best = history.loc[history["validation_log_loss"].idxmin()]
            axes.plot(
                best["epoch"], best["validation_log_loss"], "o", markersize=11, fillstyle="none", color=role("ink")
            )
            stated.append(f"the best validation in epoch {best['epoch']:.0f}")
        axes.set(xlabel="epoch", ylabel="log loss, bits")
        axes.locator_params(axis="x", integer=True)
        soften(axes)
        axes.legend(loc="best")
        return svg(drawing, f"Log loss over {len(history)} epochs: {'; '.join(stated)}.")
