"""How good the forecasts are: skill, reliability, ROC, precision and recall, weeks of forecasts, the training.

Every figure shows the model beside what it has to beat. Colors are doubled by line styles, so that a print in grey
says the same.

Shapes: S issue times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from hews_gpu.arrays import Float64
from hews_gpu.report.style import figure, role, soften, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["precision_recall", "reliability", "roc", "skill_interval", "training", "week", "weeks_shown"]


LINES: dict[str, tuple[str, str]] = {  # name of a forecast -> its label and line style
    "model": ("model", "-"),
    "climatology": ("climatology", "--"),
    "oracle": ("oracle", ":"),
}
WEEK_S = 7 * 86_400


def skill_interval(log_skill_bits: float, interval: Sequence[float] | None, oracle_bits: float | None) -> Markup:
    """The one number that decides, on its scale: 0 is the climatology, the oracle is the most that was possible."""
    with figure(380, 100, left=0.03, right=0.97, bottom=0.38, top=0.78) as drawing:
        axes = drawing.add_subplot()
        axes.axvline(0, color=role("climatology"), linewidth=1.6, linestyle="--")
        axes.text(0, 1.12, "climatology", color=role("climatology"), ha="center", va="bottom", clip_on=False)
        if interval is not None:
            axes.plot(interval, [0.45, 0.45], color=role("model"), linewidth=6, alpha=0.35, solid_capstyle="round")
        axes.plot([log_skill_bits], [0.45], "o", color=role("model"), markersize=9)
        values = [0.0, log_skill_bits, *(interval or ())]
        if oracle_bits is not None:
            values.append(oracle_bits)
            axes.axvline(oracle_bits, color=role("oracle"), linewidth=1.8, linestyle=":")
            axes.text(oracle_bits, 1.12, "oracle", color=role("oracle"), ha="center", va="bottom", clip_on=False)
        margin = 0.12 * max(max(values) - min(values), 0.004)  # never zoom into nothing
        axes.set(xlim=(min(values) - margin, max(values) + margin), ylim=(0, 1.1), yticks=[])
        axes.set_xlabel("log skill over climatology, bits per window")
        axes.locator_params(axis="x", nbins=6)
        soften(axes, grid="x")
        alt = f"Log skill {log_skill_bits:+.4f} bits per window over the climatology"
        alt += f", 95 % interval {interval[0]:+.4f} to {interval[1]:+.4f}" if interval is not None else ""
        alt += f"; the oracle reaches {oracle_bits:+.4f}" if oracle_bits is not None else ""
        return svg(drawing, "skill", alt + ".")


def reliability(bins: Sequence[Mapping[str, float]], p: Float64, y: npt.NDArray[np.bool_]) -> Markup:
    """Observed frequency against forecast probability with 95 % bands, over a histogram of the forecasts.

    Args:
        bins: of metrics.json: p_mean, y_rate, low, high, count.
        p: [S] forecasts.
        y: [S] whether a target incident followed.
    """
    p_mean, y_rate, low, high = (np.array([b[key] for b in bins]) for key in ("p_mean", "y_rate", "low", "high"))
    top = 1.08 * float(max(p.max(), y_rate.max(initial=0), np.minimum(high, 1.5 * p.max()).max(initial=0)))
    with figure(330, 360) as drawing:
        upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        upper.plot([0, top], [0, top], color=role("soft"), linewidth=1.1, linestyle=(0, (5, 4)))
        upper.annotate("perfect", (top * 0.9, top * 0.9), color=role("soft"), fontsize=10, ha="right", va="bottom")
        upper.axhline(float(y.mean()), color=role("base_rate"), linewidth=1.1, linestyle=":")
        upper.annotate(
            "base rate", (top * 0.995, float(y.mean())), color=role("soft"), fontsize=10, ha="right", va="bottom"
        )
        error = np.abs(np.stack([y_rate - low, high - y_rate]))
        upper.errorbar(p_mean, y_rate, error, fmt="none", ecolor=role("model"), elinewidth=5, alpha=0.3)
        upper.plot(p_mean, y_rate, "o-", color=role("model"), markersize=6, linewidth=1.3)
        upper.set(ylim=(0, top), xlim=(0, top), ylabel="a target incident followed")
        edges = np.linspace(0, top, 41)
        lower.hist([p[y], p[~y]], bins=list(edges), stacked=True, color=[role("target"), role("quiet")])
        lower.set(ylabel="windows", xlabel="forecast probability")
        for height, (label, color) in zip((0.98, 0.66), (("followed", "target"), ("did not", "soft")), strict=True):
            lower.text(0.99, height, label, color=role(color), transform=lower.transAxes, ha="right", va="top")
        for axes in (upper, lower):
            axes.locator_params(nbins=5)
            soften(axes)
        alt = "Reliability diagram. " + "; ".join(
            f"forecast {b['p_mean']:.0%}, observed {b['y_rate']:.0%} of {b['count']:,.0f}" for b in bins
        )
        return svg(drawing, "reliability", alt + ".")


def roc(forecasts: Mapping[str, Float64], y: npt.NDArray[np.bool_]) -> Markup:
    """Share of target windows caught against share of quiet windows alarmed, one curve per forecast."""
    from sklearn.metrics import roc_auc_score, roc_curve

    with figure(330, 330) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, 1], [0, 1], color=role("soft"), linewidth=1, linestyle=(0, (5, 4)), label="no skill, 0.500")
        said = []
        for name, p in reversed(list(forecasts.items())):
            alarmed, caught, _ = roc_curve(y, p)
            label, style = LINES[name]
            area = roc_auc_score(y, p)
            said.append(f"{label} {area:.3f}")
            axes.plot(alarmed, caught, style, color=role(name), label=f"{label}, {area:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="quiet windows that were alarmed")
        axes.set_ylabel("target windows that were caught")
        _shares(axes)
        _legend(axes, "lower right", "area under the curve")
        return svg(drawing, "roc", f"ROC curves; area under the curve: {', '.join(said)}.")


def precision_recall(forecasts: Mapping[str, Float64], y: npt.NDArray[np.bool_]) -> Markup:
    """Share of alarms that were right against share of target windows caught, one curve per forecast."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    base_rate = float(y.mean())
    with figure(330, 330) as drawing:
        axes = drawing.add_subplot()
        axes.axhline(
            base_rate, color=role("soft"), linewidth=1, linestyle=(0, (5, 4)), label=f"base rate, {base_rate:.3f}"
        )
        said, tops = [], []
        for name, p in reversed(list(forecasts.items())):
            precision, recall, _ = precision_recall_curve(y, p)
            label, style = LINES[name]
            area = average_precision_score(y, p)
            said.append(f"{label} {area:.3f}")
            settled = recall >= 0.02  # the first few alarms say nothing: 1 of 1 is 100 %
            tops.append(precision[settled].max())
            axes.plot(recall[settled], precision[settled], style, color=role(name), label=f"{label}, {area:.3f}")
        top = min(1.01, 1.3 * max(*tops, base_rate))
        axes.set(xlim=(0, 1), ylim=(0, top), xlabel="target windows that were caught", ylabel="alarms that were right")
        _shares(axes)
        _legend(axes, "upper right", "average precision")
        return svg(drawing, "pr", f"Precision and recall; average precision: {', '.join(said)}.")


def _shares(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(nbins=5)
    soften(axes, grid="both")


def _legend(axes: Axes, place: Literal["lower right", "upper right"], title: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(handles[::-1], labels[::-1], loc=place, title=title, alignment="left")
    legend.get_title().set(fontsize=10, color=role("soft"))


def weeks_shown(test: pd.DataFrame, count: int = 4) -> list[tuple[str, pd.DataFrame]]:
    """Weeks of the test split to look at, chosen without regard to how well the forecast did.

    The week with the most target windows, and others evenly spread over the split; in order of time.

    Args:
        test: forecasts of the test split in order of time.
        count: how many weeks at most.

    Returns:
        Title and rows of each week.
    """
    begin = test["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    days_before_monday = ((begin[0] // 86_400) + 3) % 7  # 1970-01-01 was a Thursday
    monday = (begin[0] // 86_400 - days_before_monday) * 86_400
    number = (begin - monday) // WEEK_S
    sizes = np.bincount(number)
    whole = np.flatnonzero(sizes >= 0.9 * sizes.max())
    positives = np.bincount(number, weights=test["y"].to_numpy(dtype=float))
    busiest = int(whole[np.argmax(positives[whole])])
    rest = whole[whole != busiest]
    spread = rest[np.linspace(0, len(rest) - 1, min(count - 1, len(rest))).round().astype(int)] if len(rest) else rest
    weeks = []
    for which in sorted({busiest, *(int(value) for value in spread)}):
        day = np.datetime64(int(monday + which * WEEK_S), "s").astype(object)
        note = ", the week with the most target windows" if which == busiest else ""
        weeks.append((f"Week of {day:%-d %B %Y}{note}", test[number == which]))
    return weeks


def week(key: str, title: str, rows: pd.DataFrame, top: float) -> Markup:
    """One week of forecasts as steps beside the climatology, target windows marked from the ground up.

    Args:
        key: unique on the page.
        title: of the week.
        rows: forecasts of that week in order of time.
        top: upper end of the probability axis, the same for all weeks.
    """
    begin = rows["window_start"].to_numpy().astype("datetime64[s]")
    end = rows["window_end"].to_numpy().astype("datetime64[s]")
    edges = np.append(begin, end[-1:])
    hit = rows["y"].to_numpy() == 1
    with figure(420, 160) as drawing:
        axes = drawing.add_subplot()
        axes.bar(begin[hit], top, (end - begin)[hit], align="edge", color=role("target"), alpha=0.22, linewidth=0)
        middle = begin[hit] + (end - begin)[hit] // 2
        axes.plot(middle, np.full(hit.sum(), top * 0.965), "v", color=role("target"), markersize=5, linestyle="none")
        for name, column in (("climatology", "p_climatology"), ("model", "p")):
            values = np.append(rows[column].to_numpy(), rows[column].to_numpy()[-1:])
            width = 1.1 if name == "climatology" else 1.8
            axes.step(edges, values, LINES[name][1], where="post", color=role(name), linewidth=width)
        _days(axes, begin[0])
        axes.set(ylim=(0, top))
        axes.set_title(title, fontsize=11, fontweight="normal")
        alt = f"{title}: forecast between {rows['p'].min():.0%} and {rows['p'].max():.0%}, climatology between "
        alt += f"{rows['p_climatology'].min():.0%} and {rows['p_climatology'].max():.0%}, {hit.sum()} target windows."
        return svg(drawing, key, alt)


def _days(axes: Axes, first: np.datetime64) -> None:
    """A label per day in the middle of it, a line at each midnight."""
    from matplotlib.ticker import PercentFormatter

    monday = first.astype("datetime64[D]") - (first.astype("datetime64[D]").astype(int) + 3) % 7
    midnights = monday + np.arange(8)
    axes.set_xlim(midnights[0].astype("datetime64[s]"), midnights[-1].astype("datetime64[s]"))
    for midnight in midnights:
        axes.axvline(midnight.astype("datetime64[s]"), color=role("line"), linewidth=0.8, zorder=0)
    labels = [f"{day.astype(object):%a %-d}" for day in midnights[:-1]]
    axes.set_xticks((midnights[:-1].astype("datetime64[s]") + 43_200), labels)
    axes.tick_params(axis="x", length=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(axis="y", nbins=4)
    soften(axes)


def training(history: pd.DataFrame) -> Markup:
    """Loss per epoch on the training and the validation split; the best epoch is marked."""
    columns = {"train_loss": ("training", "soft", "--"), "validation_log_loss": ("validation", "model", "-")}
    with figure(420, 250) as drawing:
        axes = drawing.add_subplot()
        said = []
        for column, (label, color, style) in columns.items():
            if column not in history:
                continue
            axes.plot(
                history["epoch"], history[column], style, marker="o", markersize=4, color=role(color), label=label
            )
            said.append(f"{label} from {history[column].iloc[0]:.4f} to {history[column].iloc[-1]:.4f}")
        if "validation_log_loss" in history and history["validation_log_loss"].notna().any():
            best = history.loc[history["validation_log_loss"].idxmin()]
            axes.plot(
                best["epoch"], best["validation_log_loss"], "o", markersize=11, fillstyle="none", color=role("ink")
            )
            said.append(f"the best validation in epoch {best['epoch']:.0f}")
        axes.set(xlabel="epoch", ylabel="log loss, bits")
        axes.locator_params(axis="x", integer=True)
        soften(axes)
        axes.legend(loc="best")
        return svg(drawing, "training", f"Log loss over {len(history)} epochs: {'; '.join(said)}.")


def curves(test: pd.DataFrame, oracle: bool) -> dict[str, Any]:
    """The forecasts to compare: name -> [S] probabilities, the model first."""
    columns = {"model": "p", "climatology": "p_climatology"} | ({"oracle": "p_oracle"} if oracle else {})
    return {name: test[column].to_numpy(dtype=float) for name, column in columns.items()}
