"""The sections on how good forecasts are: skill, reliability, warnings and value, lead and delay, hours and a week.

Each function makes one section from the result schema, or None where the result does not hold what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hews_gpu.evaluation.judge import sign
from hews_gpu.report.figures import scores as figures
from hews_gpu.report.formatting import SPACE, hours, number, percent, plain, range_of, signed
from hews_gpu.report.page import Block, Key, Row, columns, figure, legend, section, table
from hews_gpu.report.result import Result
from hews_gpu.report.significance import BASE_RATE, CLIMATOLOGY, LEVEL, MARKS, ORACLE, gain_over, label, title

__all__ = ["curves", "gain_cell", "hours_and_week", "reliability", "skill", "tiles", "warnings_and_value"]

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
            shown.append((name, signed(bits["value"]), f"bits; 95{SPACE}%: {range_of(bits['interval'])}"))
    if closure := scores.get("oracle_gap_closure"):
        interval = range_of(closure["interval"], 2)
        shown.append(("Oracle gap closed", signed(closure["value"], 2), f"95{SPACE}%: {interval}"))
    calendar = number(result.forecasts[CLIMATOLOGY]["auc"], 3)
    return [*shown, ("AUC", number(scores["auc"], 3), f"calendar {calendar}; 0.5 is chance")]


def skill(result: Result) -> Block:
    """Say how much each forecaster knows beyond the calendar and beyond the recent level."""
    forecasts, drawn = result.forecasts, []
    has_oracle = ORACLE in forecasts
    base = gain_over(forecasts[BASE_RATE], CLIMATOLOGY) if BASE_RATE in forecasts else None
    left_out = (
        f" The base rate, at {signed(base['value'])} over the calendar, is left out of the figures." if base else ""
    )
    for name, other in (("skill", CLIMATOLOGY), ("skill_level", LEVEL)):
        gains = {key: gain_over(one, other) for key, one in result.shown.items() if key not in (other, CLIMATOLOGY)}
        if known := {key: bits for key, bits in gains.items() if bits is not None}:
            drawn.append(figure(name, figures.skill(known, other), base_rate=left_out))
    rows = [_method(name, result, has_oracle) for name in forecasts]
    blocks = [table("skill_oracle" if has_oracle else "skill", rows), columns(*drawn), _more(forecasts)]
    if parts := result.metrics.get("parts"):
        blocks.append(_parts(parts))
    return section("skill", *blocks, duel=_duel(result))


def _method(name: str, result: Result, has_oracle: bool) -> Row:
    """Return one method's row: every cell with the 95 % interval under it."""
    scores = result.forecasts[name]
    closure, calibration = scores.get("oracle_gap_closure"), scores["calibration"]
    cells = [gain_cell(name, result, other) for other in (CLIMATOLOGY, LEVEL)]
    if has_oracle:
        interval = range_of(closure["interval"], 2) if closure and name not in (CLIMATOLOGY, ORACLE) else ""
        cells.append((signed(closure["value"], 2), interval) if closure else ("",))
    truth = calibration.get("slope_to_truth")
    cells += [
        (number(scores["auc"], 3), range_of(scores["auc_interval"], 3, write=plain)),
        (number(scores["auc_within_hours"], 3),),
        (
            plain(calibration.get("slope"), 2),
            range_of(calibration.get("slope_interval"), 2, write=plain),
            "" if truth is None else f"{plain(truth, 2)} to the truth",
        ),
        (number(scores["log_loss_bits"], 4),),
    ]
    return Row(label(name), cells, title(name), "model" if name == result.best else "")


def gain_cell(name: str, result: Result, other: str) -> tuple[str, ...]:
    """Return a log skill over another forecaster with its interval and its verdict."""
    bits = gain_over(result.forecasts[name], other)
    if bits is None or name == other:
        return (signed(0.0) if name == other else number(None),)
    verdict = MARKS[sign(bits)] if name != ORACLE and not result.comparison.too_little else ""
    return signed(bits["value"]), range_of(bits["interval"]), f"significantly {verdict}" if verdict else ""


def _more(forecasts: Scores) -> Block:
    """Return the scores that the verdict does not rest on."""
    rows = []
    for name, one in forecasts.items():
        brier_skill = one["against"].get(CLIMATOLOGY, {}).get("brier_skill", {}).get("value", 0.0)
        calibration = one["calibration"]
        cells = [number(one.get("average_precision"), 3), number(one.get("brier"), 4), signed(brier_skill)]
        cells += [number(calibration.get("smooth_calibration_error"), 4), signed(calibration.get("in_the_large"), 3)]
        rows.append(Row(label(name), [*cells, number(one.get("seeds", 1))]))
    return table("more", rows)


def _parts(parts: Scores) -> Block:
    """Return the model's scores on what it learned from, for those who look for learning by heart."""
    rows = []
    for name, one in parts.items():
        counts = [number(one["windows"]), number(one["positives"]), percent(one["positives"] / one["windows"])]
        rows.append(Row(name, [*counts, number(one["auc"], 3), number(one["log_loss_bits"], 4)]))
    return table("parts", rows)


def _duel(result: Result) -> str:
    """Return how HewsNet and boosting compare window by window, where a result has both and is enough to judge by."""
    forecasts = result.forecasts
    bits = gain_over(forecasts["hewsnet"], "boosting") if "hewsnet" in forecasts else None
    if bits is None or result.comparison.too_little:
        return ""
    word = {1: "better than", -1: "worse than", 0: "not told apart from"}[sign(bits)]
    gained = f"{signed(bits['value'])} bits (95{SPACE}% interval {range_of(bits['interval'])})"
    return f"HewsNet against gradient boosting, window by window: {gained}, {word} it."


def reliability(result: Result) -> Block:
    """Say whether probabilities mean what they say, and how well they tell windows apart."""
    bins = {name: one["calibration"]["reliability"] for name, one in result.shown.items()}
    known = result.p()
    drawing = figures.reliability(bins, result.main, result.metrics["base_rate"], known.get(result.best))
    banded = " and of ".join(label(name) for name in result.main)
    below = " Below: how often each probability was issued." if known else ""
    shown = [figure("reliability", drawing, banded=banded, below=below)]
    if known and 0 < result.y.sum() < len(result.y):
        shown.append(figure("precision_recall", figures.precision_recall(known, result.y)))
    return section("trust", legend(figures.legend(list(bins))), columns(*shown))


def warnings_and_value(result: Result) -> Block | None:
    """Say what warnings under an alarm budget were worth, and to whom the forecasts are worth acting on."""
    given = {name: one["warnings"] for name, one in result.shown.items() if one["warnings"]}
    worth = {name: one["value"] for name, one in result.shown.items() if one["value"]}
    shown, tables = [], []
    if given:
        budgets = [number(one["budget_per_week"]) for one in next(iter(given.values()))]
        drawing = figures.warnings(given, result.metrics["base_rate"])
        shown.append(figure("warnings", drawing, budgets=", ".join(budgets)))
        rows = [Row(label(name), [_warning(one) for one in each]) for name, each in given.items()]
        tables.append(table("warnings", rows, ["Forecast", *(f"At {one} a week" for one in budgets)]))
    if worth:
        shown.append(figure("value", figures.value(worth)))
    key = figures.legend(list(given | worth))
    return section("warnings", legend(key), columns(*shown), *tables) if shown else None


def _warning(one: Scores) -> tuple[str, ...]:
    if not one["warnings_per_week"]:
        return ("none given",)
    given = f"{number(one['warnings_per_week'], 1)} given, {number(one.get('false_alarms_per_week'), 1)} false"
    return f"{percent(one.get('precision'), 0)} right", f"{percent(one['recall'], 0)} caught", given


def curves(result: Result) -> Block | None:
    """Say what is left further ahead, with late reports, and with rows known only when they were reported."""
    shown, swept, blocks = [], [], []
    for axis in ("lead_s", "delay_s"):
        points = (result.metrics.get("curves") or {}).get(axis) or []
        names = [name for name in result.shown if points and name in points[0]["forecasts"] and name != CLIMATOLOGY]
        if names:
            shown.append(figure(axis, figures.curve(axis, points, names)))
            swept = names
    if shown:
        blocks += [legend(figures.legend(swept)), columns(*shown)]
    if late := result.metrics.get("as_reported"):
        rows = []
        for name, one in late["forecasts"].items():
            interval = range_of(one["log_skill_bits_interval"]) if name != CLIMATOLOGY else ""
            look = "model" if name == result.best else ""
            rows.append(Row(label(name), [(signed(one["log_skill_bits"]), interval)], look=look))
        half, most = (hours(late["delay_s_quantiles"][share]) for share in ("0.5", "0.99"))
        blocks.append(table("as_reported", rows, half=half, most=most))
    return section("curves", *blocks) if blocks else None


def hours_and_week(result: Result) -> Block | None:
    """Show what the forecasts look like, over the hours of the day and in one week."""
    test = result.test
    if test is None:
        return None
    hour = (test["window_start"].dt.hour + test["window_start"].dt.minute / 60).to_numpy(dtype=float)
    shown = [name for name in (*result.main, ORACLE) if name in result.columns]
    by_hour = figures.by_hour(hour, result.p(shown), result.y)
    lines = {name: result.columns[name] for name in result.main if name in result.columns}
    when, rows = figures.busiest_week(test)
    key = [*figures.legend(shown), Key("target", "a target incident followed", "", "▼")]
    drawn = columns(figure("by_hour", by_hour), figure("week", figures.week(when, rows, lines), title=when))
    return section("hours", legend(key), drawn)
