"""The sections on how good forecasts are: skill, reliability, warnings and value, lead and delay, hours and weeks.

Each function makes one section from the result schema, or None where the result does not hold what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hews_gpu.report.figures import scores as figures
from hews_gpu.report.formatting import SPACE, hours, number, percent, range_of, signed
from hews_gpu.report.page import Block, Columns, Figure, Key, Legend, Row, Section, Table
from hews_gpu.report.result import Result
from hews_gpu.report.significance import BASE_RATE, CLIMATOLOGY, LEVEL, MARKS, ORACLE, gain_over, label, sign, title

__all__ = ["curves", "gain_cell", "hours_and_weeks", "reliability", "skill", "tiles", "warnings_and_value"]

Scores = Mapping[str, Any]


def tiles(result: Result) -> list[tuple[str, str, str]]:
    """Return the numbers at the top: name, number, note."""
    metrics, scores = result.metrics, result.forecasts[result.best]
    shown = [
        ("Test windows", number(metrics["windows"]), "never seen in training"),
        ("With a target", number(metrics["positives"]), f"base rate {percent(metrics['base_rate'])}"),
    ]
    for other, name in ((CLIMATOLOGY, "Skill over the calendar"), (LEVEL, "Skill over the recent level")):
        if bits := gain_over(scores, other):
            shown.append((name, signed(bits["value"]), f"bits; 95{SPACE}%: {range_of(bits['one_week'])}"))
    if closure := scores.get("oracle_gap_closure"):
        shown.append(
            ("Oracle gap closed", signed(closure["value"], 2), f"95{SPACE}%: {range_of(closure['one_week'], 2)}")
        )
    calendar = number(result.forecasts[CLIMATOLOGY]["auc"], 3)
    return [*shown, ("AUC", number(scores["auc"], 3), f"calendar {calendar}; 0.5 is chance")]


def skill(result: Result) -> Section:
    """Say how much each forecaster knows beyond the calendar and beyond the recent level."""
    forecasts, has_oracle = result.forecasts, ORACLE in result.forecasts
    heads = ["Forecast", "Over the calendar, bits", "Over the recent level, bits"]
    heads += [*(["Oracle gap closed"] if has_oracle else []), "AUC", "AUC within hours", "Calibration slope"]
    rows = [_method(name, one, has_oracle, name == result.best) for name, one in forecasts.items()]
    caption = "Right of the line is better. Thick: 95 % interval over one-week blocks; thin: over four-week blocks."
    if BASE_RATE in forecasts and (bits := gain_over(forecasts[BASE_RATE], CLIMATOLOGY)):
        caption += f" The base rate, at {signed(bits['value'])} over the calendar, is left out of the figures."
    pictures = []
    for other, head in ((CLIMATOLOGY, "What each adds to the calendar"), (LEVEL, "What each adds to the recent level")):
        known = {name: gain_over(one, other) for name, one in result.shown.items() if name not in (other, CLIMATOLOGY)}
        if gains := {name: bits for name, bits in known.items() if bits is not None}:
            pictures.append(Figure(head, figures.skill(gains, other), caption if other == CLIMATOLOGY else ""))
    table = f"Every forecast of the test windows, with 95{SPACE}% intervals over one-week blocks below the numbers"
    blocks: list[Block] = [Table(table, [*heads, "Log loss, bits"], rows), Columns(pictures), _more(forecasts)]
    if parts := result.metrics.get("parts"):
        blocks.append(_parts(parts))
    return Section("skill", "How good is it?", blocks, _duel(forecasts))


def _method(name: str, scores: Scores, has_oracle: bool, is_best: bool) -> Row:
    """Return one method's row: every cell with the 95 % interval under it."""
    closure, calibration = scores.get("oracle_gap_closure"), scores["calibration"]
    cells = [gain_cell(name, scores, other) for other in (CLIMATOLOGY, LEVEL)]
    if has_oracle:
        interval = range_of(closure["one_week"], 2) if closure and name not in (CLIMATOLOGY, ORACLE) else ""
        cells.append((signed(closure["value"], 2), interval) if closure else ("",))
    to_truth = calibration.get("slope_to_truth")
    truth = "" if to_truth is None else f"{_plain(to_truth)} to the truth"
    cells += [
        (number(scores["auc"], 3), range_of(scores["auc_interval"], 3, plus=False)),
        (number(scores["auc_within_hours"], 3),),
        (_plain(calibration.get("slope")), range_of(calibration.get("slope_interval"), 2, plus=False), truth),
        (number(scores["log_loss_bits"], 4),),
    ]
    return Row(label(name), cells, title(name), "model" if is_best else "")


def _plain(value: float | None) -> str:
    return signed(value, 2).removeprefix("+")


def gain_cell(name: str, scores: Scores, other: str) -> tuple[str, ...]:
    """Return a log skill over another forecaster with its interval and its verdict."""
    bits = gain_over(scores, other)
    if bits is None or name == other:
        return (signed(0.0) if name == other else number(None),)
    verdict = MARKS[sign(bits)] if name != ORACLE else ""
    return signed(bits["value"]), range_of(bits["one_week"]), f"significantly {verdict}" if verdict else ""


def _more(forecasts: Scores) -> Table:
    """Return the scores that the verdict does not rest on."""
    rows = []
    for name, one in forecasts.items():
        brier_skill = one["against"].get(CLIMATOLOGY, {}).get("brier_skill", {}).get("value", 0.0)
        calibration = one["calibration"]
        cells = [number(one.get("average_precision"), 3), number(one.get("brier"), 4), signed(brier_skill)]
        cells += [number(calibration.get("smooth_calibration_error"), 4), signed(calibration.get("in_the_large"), 3)]
        rows.append(Row(label(name), [*cells, number(one.get("seeds", 1))]))
    heads = [
        "Forecast",
        "Average precision",
        "Brier score",
        "Brier skill over the calendar",
        "Smooth calibration error",
    ]
    return Table("More scores", [*heads, "Calibration in the large, logits", "Seeds"], rows, folded=True)


def _parts(parts: Scores) -> Table:
    """Return the model's scores on each stretch of time, for those who look for learning by heart."""
    rows = []
    for name, one in parts.items():
        counts = [number(one["windows"]), number(one["positives"]), percent(one["positives"] / one["windows"])]
        rows.append(Row(name, [*counts, number(one["auc"], 3), number(one["log_loss_bits"], 4)]))
    caption = "The model on each part. A much better score in training than later means that it learned by heart"
    return Table(caption, ["Part", "Windows", "With target", "Base rate", "AUC", "Log loss, bits"], rows)


def _duel(forecasts: Scores) -> str:
    """Return how HewsNet and boosting compare window by window, where a result has both."""
    bits = gain_over(forecasts["hewsnet"], "boosting") if "hewsnet" in forecasts else None
    if bits is None:
        return ""
    word = {1: "better than", -1: "worse than", 0: "not told apart from"}[sign(bits)]
    gained = f"{signed(bits['value'])} bits (95{SPACE}% interval {range_of(bits['one_week'])})"
    return f"HewsNet against gradient boosting, window by window: {gained}, {word} it."


def reliability(result: Result) -> Section:
    """Say whether probabilities mean what they say, and how well they tell windows apart."""
    bins = {name: one["calibration"]["reliability"] for name, one in result.shown.items()}
    known = result.p()
    drawing = figures.reliability(bins, result.main, result.metrics["base_rate"], known.get(result.best))
    caption = f"Near the diagonal they can. 95 % bands of {' and of '.join(label(name) for name in result.main)}."
    caption += " Below: how often each probability was issued." if known else ""
    rows = []
    for one in bins[result.best]:
        band = " to ".join(percent(one[end]) for end in ("low", "high"))
        rows.append(Row(percent(one["p_mean"]), [percent(one["y_rate"]), band, number(one.get("count"))]))
    heads = ["Mean forecast", "Observed", "95 % band", "Windows"]
    shown: list[Block] = [
        Figure("Reliability", drawing, caption),
        Table(f"The same of {label(result.best)} as a table", heads, rows),
    ]
    if known and 0 < result.y.sum() < len(result.y):
        caught = "The further to the upper left, the more target windows are caught for the same false alarms."
        right = "Even a good forecast of a rare event is often wrong. The first 2 % of recall, a handful of "
        shown.append(Figure("ROC", figures.roc(known, result.y), caught))
        drawing = figures.precision_recall(known, result.y)
        shown.append(Figure("Precision and recall", drawing, f"{right}alarms, are left out."))
    blocks: list[Block] = [Legend(figures.legend(list(bins))), Columns(shown)]
    return Section("trust", "Can the probabilities be believed?", blocks)


def warnings_and_value(result: Result) -> Section | None:
    """Say what warnings under an alarm budget were worth, and to whom the forecasts are worth acting on."""
    given = {name: one["warnings"] for name, one in result.shown.items() if one["warnings"]}
    worth = {name: one["value"] for name, one in result.shown.items() if one["value"]}
    shown: list[Block] = []
    tables: list[Block] = []
    if given:
        budgets = [number(one["budget_per_week"]) for one in next(iter(given.values()))]
        caption = (
            f"One mark per budget of {', '.join(budgets)} a week. The threshold was set before the test block, so "
        )
        caption += "that the number given differs from the budget."
        drawing = figures.warnings(given, result.metrics["base_rate"])
        shown.append(Figure("Warnings under a budget", drawing, caption))
        rows = [Row(label(name), [_warning(one) for one in each]) for name, each in given.items()]
        tables.append(Table("Warnings by budget", ["Forecast", *(f"At {one} a week" for one in budgets)], rows))
    if worth:
        caption = (
            "Value to a user who acts where the probability exceeds cost over loss: 1 is perfect foresight, 0 what "
        )
        caption += "always or never acting is worth."
        shown.append(Figure("Economic value", figures.value(worth), caption))
    blocks = [Legend(figures.legend(list(given | worth))), Columns(shown), *tables]
    return Section("warnings", "Worth acting on?", blocks) if shown else None


def _warning(one: Scores) -> tuple[str, ...]:
    if not one["warnings_per_week"]:
        return ("none given",)
    given = f"{number(one['warnings_per_week'], 1)} given, {number(one.get('false_alarms_per_week'), 1)} false"
    return f"{percent(one.get('precision'), 0)} right", f"{percent(one['recall'], 0)} caught", given


def curves(result: Result) -> Section | None:
    """Say what is left further ahead, with late reports, and with rows known only when they were reported."""
    shown: list[Block] = []
    swept: list[str] = []
    captions = {
        "lead_s": (
            "The further ahead",
            "Log skill over the climatology (dashed), with 95 % intervals; the same windows.",
        ),
        "delay_s": ("The later the reports", "The same, when incidents become known only after a delay."),
    }
    for axis, (head, caption) in captions.items():
        points = (result.metrics.get("curves") or {}).get(axis) or []
        names = [name for name in result.shown if points and name in points[0]["forecasts"] and name != CLIMATOLOGY]
        if names:
            shown.append(Figure(head, figures.curve(axis, points, names), caption))
            swept = names
    blocks: list[Block] = [Legend(figures.legend(swept)), Columns(shown)] if shown else []
    if late := result.metrics.get("as_reported"):
        waits = {share: hours(wait_s) for share, wait_s in late["delay_s_quantiles"].items()}
        rows = []
        for name, one in late["forecasts"].items():
            interval = range_of(one["log_skill_bits_interval"]) if name != CLIMATOLOGY else ""
            look = "model" if name == result.best else ""
            rows.append(Row(label(name), [(signed(one["log_skill_bits"]), interval)], look=look))
        caption = "With each incident known only when it was reported, half within "
        caption += f"{waits['0.5']} and 99{SPACE}% within {waits['0.99']}"
        blocks.append(Table(caption, ["Forecast", "Over the calendar, bits"], rows))
    return Section("curves", "Further ahead, and with late reports", blocks) if blocks else None


def hours_and_weeks(result: Result) -> Section | None:
    """Show what the forecasts look like, over the hours of the day and in a few weeks."""
    test = result.test
    if test is None:
        return None
    hour = (test["window_start"].dt.hour + test["window_start"].dt.minute / 60).to_numpy(dtype=float)
    shown = [name for name in (*result.main, ORACLE) if name in result.columns]
    caption = "Lines: the mean forecast of the windows that begin at each hour. Dots: how often a target incident "
    caption += "followed, with 95 % bands."
    drawn = [Figure("By hour of the day", figures.by_hour(hour, result.p(shown), result.y), caption)]
    columns = {name: result.columns[name] for name in result.main if name in result.columns}
    weeks = figures.weeks_shown(test)
    top = 1.15 * max(float(rows[list(columns.values())].to_numpy().max()) for _, rows in weeks)
    drawn += [Figure(head, figures.week(head, rows, columns, top)) for head, rows in weeks]
    lead = "By hour of the day, and in a few weeks of the test on one scale, chosen without looking at how well the "
    lead += "forecast did."
    legend = Legend([*figures.legend(shown), Key("target", "a target incident followed", "", "▼")])
    return Section("hours", "By hour and by week", [legend, Columns(drawn)], lead)
