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
from hews_gpu.units import DAY_S, WEEK_S

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
    "hewsnet+cnn": Look("stack", (0, (3, 1, 1, 1)), "v", "▼"),
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
    """Draw log skill over one other forecaster: a dot, a thick band over one-week blocks, a thin one over others."""
    with figure(420, 70 + 48 * len(gains)) as drawing:
        axes = drawing.add_subplot()
        axes.axvline(0, color=role(look(over).color), linewidth=1.6, linestyle=look(over).line)
        for row, (name, bits) in enumerate(gains.items()):
            color = role(look(name).color)
            for ends in (ends for block, ends in bits.items() if block not in ("value", "one_week")):
                axes.plot(ends, [row, row], color=color, linewidth=1.4)
            axes.plot(bits["one_week"], [row, row], color=color, linewidth=6, alpha=0.35)
            axes.plot([bits["value"]], [row], look(name).mark, color=color, markersize=8)
        axes.set_yticks(range(len(gains)), [label(name) for name in gains])
        axes.set(ylim=(len(gains) - 0.5, -0.5), xlabel=f"log skill over {label(over)}, bits per window")
        axes.locator_params(axis="x", nbins=5)
        axes.margins(x=0.08)
        soften(axes, grid="x")
        axes.tick_params(axis="y", labelcolor=role("ink"), labelsize=11)
        stated = []
        for name, bits in gains.items():
            low, high = bits["one_week"]
            stated.append(f"{label(name)} {bits['value']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
        return svg(drawing, f"Log skill over the {label(over)}. {'; '.join(stated)}.")


def curve(axis: str, points: Sequence[Scores], names: Sequence[str]) -> Markup:
    """Draw log skill as the target moves away, or as reports come later; bars are 95 % intervals.

    Args:
        axis: what changes from point to point: lead_s or delay_s.
        points: each with the axis and, under ``forecasts``, what each forecaster reached.
        names: which to draw, from one side of each place to the other.
    """
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


def roc(forecasts: Mapping[str, Float64], y: Bool) -> Markup:
    """Draw the share of target windows caught against the share of quiet windows alarmed; [S] each."""
    from sklearn.metrics import roc_auc_score, roc_curve

    lines = {name: roc_curve(y, p)[:2] for name, p in forecasts.items()}
    stated = [f"{label(name)} {roc_auc_score(y, p):.3f}" for name, p in forecasts.items()]
    alt = f"ROC curves; area under the curve: {', '.join(stated)}."
    return _shares(lines, "quiet windows that were alarmed", "target windows that were caught", alt)


def precision_recall(forecasts: Mapping[str, Float64], y: Bool) -> Markup:
    """Draw the share of alarms that were right against the share of target windows caught; [S] each."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    lines = {}
    for name, p in forecasts.items():
        precision, recall, _ = precision_recall_curve(y, p)
        settled = recall >= FEW
        lines[name] = recall[settled], precision[settled]
    stated = [f"{label(name)} {average_precision_score(y, p):.3f}" for name, p in forecasts.items()]
    alt = f"Precision and recall; average precision: {', '.join(stated)}."
    return _shares(lines, "target windows that were caught", "alarms that were right", alt, float(y.mean()))


def _shares(
    lines: Mapping[str, tuple[Float64, Float64]], x: str, y: str, alt: str, base_rate: float | None = None
) -> Markup:
    with figure(420, 330) as drawing:
        axes, top = drawing.add_subplot(), 1.15 * max(float(rate.max()) for _, rate in lines.values())
        if base_rate is None:
            axes.plot([0, 1], [0, 1], color=role("soft"), linewidth=1, linestyle=(0, (5, 4)))
        else:
            _base_rate(axes, base_rate, "base rate")
        for name, (share, rate) in lines.items():
            axes.plot(share, rate, **look(name).drawn(0, 1.6))
        axes.set(xlim=(0, 1), ylim=(0, min(1.01, top)), xlabel=x, ylabel=y)
        soften(axes, grid="both", percent="xy")
        return svg(drawing, alt)


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
        for name, rows in ((name, rows) for name, rows in curves.items() if rows):
            ratio, worth = _columns(rows, "cost_loss", "value")
            axes.plot(ratio, worth, **look(name).drawn(4.5))
            best = int(np.nanargmax(worth))
            stated.append(f"{label(name)} {worth[best]:.2f} at {ratio[best]:.2f}")
        axes.set(xlabel="cost of acting on a warning / loss that it averts", ylabel="value (1 is perfect foresight)")
        axes.locator_params(nbins=6)
        soften(axes)
        return svg(drawing, f"Economic value, highest point of each: {', '.join(stated)}.")


def by_hour(hour: Float64, forecasts: Mapping[str, Float64], y: Bool) -> Markup:
    """Draw the mean forecast of each hour of the day beside how often a target incident followed, with 95 % bands.

    Args:
        hour: [S] hour of the day at which each window begins.
        forecasts: [S] by forecaster.
        y: [S] whether a target incident followed.
    """
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


def weeks_shown(test: pd.DataFrame, count: int = 3) -> list[tuple[str, pd.DataFrame]]:
    """Choose weeks to look at without regard to how well the forecast did: title and rows of each.

    The week with the most target windows, and others evenly spread over the test; in order of time.

    Args:
        test: forecasts of the test windows in order of time.
        count: how many weeks at most.
    """
    begin = test["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    monday = (begin[0] // DAY_S - (begin[0] // DAY_S + 3) % 7) * DAY_S  # 1970-01-01 was a Thursday
    number = (begin - monday) // WEEK_S
    sizes = np.bincount(number)
    whole = np.flatnonzero(sizes >= 0.9 * sizes.max())
    positives = np.bincount(number, weights=test["y"].to_numpy(dtype=float))
    busiest = int(whole[np.argmax(positives[whole])])
    rest = whole[whole != busiest]
    spread = rest[np.linspace(0, len(rest) - 1, min(count - 1, len(rest))).round().astype(int)] if len(rest) else rest
    weeks = []
    for which in sorted({busiest, *(int(week) for week in spread)}):
        day = np.datetime64(int(monday + which * WEEK_S), "s").astype(object)
        note = ", the week with the most target windows" if which == busiest else ""
        weeks.append((f"Week of {day:%-d %B %Y}{note}", test[number == which]))
    return weeks


def week(title: str, rows: pd.DataFrame, columns: Mapping[str, str], top: float) -> Markup:
    """Draw one week of forecasts as steps, with target windows marked from the ground up.

    Args:
        title: of the week.
        rows: forecasts of that week in order of time.
        columns: of `rows`, by forecaster.
        top: upper end of the probability axis, the same for all weeks.
    """
    begin, end = (rows[name].to_numpy().astype("datetime64[s]") for name in ("window_start", "window_end"))
    hit = rows["y"].to_numpy() == 1
    with figure(420, 190) as drawing:
        axes = drawing.add_subplot()
        axes.bar(begin[hit], top, (end - begin)[hit], align="edge", color=role("target"), alpha=0.22, linewidth=0)
        middle = begin[hit] + (end - begin)[hit] // 2
        axes.plot(middle, np.full(hit.sum(), top * 0.965), "v", color=role("target"), markersize=5, linestyle="none")
        stated = []
        for name, column in columns.items():
            p = rows[column].to_numpy(dtype=float)
            axes.step(np.append(begin, end[-1:]), np.append(p, p[-1:]), where="post", **look(name).drawn(0, 1.5))
            stated.append(f"{label(name)} between {p.min():.0%} and {p.max():.0%}")
        _days(axes, begin[0])
        axes.set(ylim=(0, top))
        soften(axes, percent="y")
        axes.locator_params(axis="y", nbins=4)
        return svg(drawing, f"{title}: {', '.join(stated)}; {hit.sum()} target windows.")


def _days(axes: Axes, first: np.datetime64) -> None:
    """Draw a label per day in the middle of it, a line at each midnight."""
    monday = first.astype("datetime64[D]") - (first.astype("datetime64[D]").astype(int) + 3) % 7
    midnights = monday + np.arange(8)
    axes.set_xlim(midnights[0].astype("datetime64[s]"), midnights[-1].astype("datetime64[s]"))
    for midnight in midnights:
        axes.axvline(midnight.astype("datetime64[s]"), color=role("line"), linewidth=0.8, zorder=0)
    labels = [f"{day.astype(object):%a %-d}" for day in midnights[:-1]]
    axes.set_xticks((midnights[:-1].astype("datetime64[s]") + DAY_S // 2), labels)
    axes.tick_params(axis="x", length=0)


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
