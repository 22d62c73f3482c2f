"""The verification page: everything that was said of a run, scored, with what was not said counted in.

It is made of the object that `hews verify` writes, whose keys `hews_gpu.alerts.verify` states.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hews_gpu.evaluation.judge import LEAST_EACH, LEAST_WEEKS, TOO_LITTLE
from hews_gpu.files import atomic_file
from hews_gpu.report.alerts.warned import counted, lead, tiles, warning_rows, who, worth_tables
from hews_gpu.report.figures import alerts as figures
from hews_gpu.report.figures import scores
from hews_gpu.report.formatting import MISSING, duration, listed, moment, number, percent, range_of, signed, span
from hews_gpu.report.page import (
    Block,
    Page,
    Part,
    Row,
    Verdict,
    columns,
    facts,
    figure,
    prose,
    render,
    section,
    table,
    text,
)
from hews_gpu.report.significance import CLIMATOLOGY, LEVEL, label
from hews_gpu.units import WEEK_S

__all__ = ["build_verification_page"]

MODEL = "p"
MOST_ROWS = 400
NOT_ISSUED = {
    "abstained": "were withheld",
    "refused": "were refused",
    "stopped": "were stopped by the kill switch",
    "late": "came late",
    "missing": "were never made",
}
VIEWS = {"as_made": "as made", "as_served": "as served"}


def build_verification_page(verification: Mapping[str, Any], out: Path) -> Path:
    """Write the page of a verification.

    Args:
        verification: what `hews verify` writes as ``verification.json``.
        out: the file to write; it is replaced.

    Returns:
        `out`.
    """
    with atomic_file(out) as partial:
        partial.write_text(render(_page(verification)), encoding="utf-8")
    return out


def _page(verification: Mapping[str, Any]) -> Page:
    every, model = verification["all"], label(verification["model"])
    made = [
        _skill(verification),
        _trust(verification),
        _curves(verification),
        _worth(verification),
        _months(verification),
        _warned(verification),
        _record(verification),
        section("reading_verified", prose("reading_verification.html.j2")),
    ]
    city = every["warnings"]["city"]
    return Page(
        title=f"{verification['run']}: warnings verified",
        kicker="Warnings, verified",
        heading=str(verification["run"]),
        about=f"{span(moment(every['begin']), moment(every['end']))} · {model} · {_task(verification['task'])}",
        verdict=_verdict(verification),
        tiles=tiles(city),
        parts=[Part([one for one in made if one is not None])],
        foot="Made from the sealed record; the numbers are in verification.json.",
    )


def _task(task: Mapping[str, Any]) -> str:
    return f"a forecast every {duration(task['stride_s'])}, {duration(task['horizon_s'])} ahead"


# ---------------------------------------------------------------- what came out


def _verdict(verification: Mapping[str, Any]) -> Verdict:
    """Say whether what was issued knew more than the recent level, and what was not issued."""
    every = verification["all"]
    outcomes, issued = every["outcomes"], every["outcomes"]["issued"]
    unissued = [f"{number(outcomes[name])} {words}" for name, words in NOT_ISSUED.items() if outcomes[name]]
    reasons = (
        listed([f"{why} ({number(count)})" for why, count in every["reasons"].items()]) if every["reasons"] else ""
    )
    why = f" Reasons: {reasons}." if reasons else ""
    notes = [f"Of {counted(outcomes['due'], 'issue time')} {number(issued)} were issued"]
    notes[0] += f", {listed(unissued)}.{why}" if unissued else ", which is all of them."
    if every["open"]:
        notes.append(f"{counted(every['open'], 'window')} without a settled label yet, in none of the scores.")
    drift = every["drift"]
    if drift and (ends := drift["difference"]["interval"]) and (ends[0] > 0 or ends[1] < 0):
        forecast, came = percent(drift["mean_forecast"]), percent(drift["observed"])
        notes.append(f"The forecasts have drifted: {forecast} was forecast on average, {came} came.")
    if not issued:
        return Verdict("Nothing was issued: all that was due was withheld, refused or never made.", "flat", notes)
    served = every["as_served"]
    over = served and _against(served["forecasts"], LEVEL)
    lacks = _too_little(every, verification["task"]["stride_s"])
    if lacks or not over or over["interval"] is None:
        return Verdict(f"{TOO_LITTLE}: {'; '.join(lacks) or 'nothing to hold it against'}.", "flat", notes)
    stated = f"{signed(over['value'])} bits per window, 95 % interval {range_of(over['interval'])}"
    if over["interval"][0] > 0:
        return Verdict(f"What was served knew more than the recent level: {stated}.", "good", notes)
    if over["interval"][1] < 0:
        return Verdict(f"What was served knew less than the recent level: {stated}.", "bad", notes)
    return Verdict(f"No foresight shown: what was served is not told from the recent level, {stated}.", "flat", notes)


def _too_little(every: Mapping[str, Any], stride_s: int) -> list[str]:
    """Return why no verdict can be based on what is settled, by the measure of an evaluation; empty where one can."""
    events, weeks = every["events"]["city"], (every["as_served"] or {"windows": 0})["windows"] * stride_s / WEEK_S
    reasons = [f"{counted(events, 'target incident')} settled, at least {LEAST_EACH} are needed"] * (
        events < LEAST_EACH
    )
    return reasons + [f"{weeks:.1f} weeks settled, at least {LEAST_WEEKS} are needed"] * (weeks < LEAST_WEEKS)


def _against(forecasts: Mapping[str, Any], other: str) -> Mapping[str, Any] | None:
    """Return the model's log skill over another forecast, None where there is none."""
    bits: Mapping[str, Any] | None = (forecasts[MODEL]["against"].get(other) or {}).get("log_skill_bits")
    return bits if bits and bits["value"] is not None else None


def _skill(verification: Mapping[str, Any]) -> Block | None:
    """Show what the forecasts add to both references, as made and as served."""
    every = verification["all"]
    drawn: list[Block] = []
    views = {words: every[view] for view, words in VIEWS.items() if every[view]}
    if not views:
        return None
    for other in (CLIMATOLOGY, LEVEL):
        rows = {words: bits for words, one in views.items() if (bits := _against(one["forecasts"], other))}
        if rows:
            drawn.append(figure(f"verified_{other}", figures.gains(rows, other)))
    table_rows: list[Row] = []
    if every["areas"]:
        views |= {"by neighborhood": every["areas"]}
    for words, one in views.items():
        table_rows.append(Row(f"{words[0].upper()}{words[1:]}: {counted(one['windows'], 'case')}", (), look="group"))
        table_rows += [_score_row(name, scored, verification["model"]) for name, scored in one["forecasts"].items()]
    return section("verified_skill", columns(*drawn), table("verified", table_rows))


def _score_row(name: str, scored: Mapping[str, Any], model: str) -> Row:
    cells: list[Any] = [number(scored["log_loss_bits"], 4)]
    for other in (CLIMATOLOGY, LEVEL):
        both = scored["against"].get(other) or {}
        bits, brier = both.get("log_skill_bits"), both.get("brier_skill")
        cells.append((signed(bits["value"]), range_of(bits["interval"])) if bits else MISSING)
        cells.append((signed(brier["value"]), range_of(brier["interval"])) if brier else MISSING)
    cells.append(number((scored["roc"] or {}).get("auc"), 3))
    return Row(who(name, model), cells, look="model" if name == MODEL else "")


def _by_label(forecasts: Mapping[str, Any], model: str, key: str) -> dict[str, Any]:
    """Return one kind of score by forecaster, the model under its own name and last, so that it is drawn on top."""
    order = [name for name in (LEVEL, CLIMATOLOGY, MODEL) if name in forecasts and forecasts[name][key]]
    return {model if name == MODEL else name: forecasts[name][key] for name in order}


def _trust(verification: Mapping[str, Any]) -> Block | None:
    """Show whether the probabilities came true as often as they say, in the city and by neighborhood."""
    every, model, drawn = verification["all"], verification["model"], []
    for name, scored in (("verified_reliability", every["as_made"]), ("verified_reliability_areas", every["areas"])):
        if scored:
            bins = _by_label(scored["forecasts"], model, "reliability")
            drawn.append(
                figure(name, scores.reliability(bins, [model], scored["base_rate"]), scores.legend(list(bins)))
            )
    pairs = []
    if drift := every["drift"]:
        ends = drift["difference"]["interval"]
        pairs = [
            ("Forecast on average", percent(drift["mean_forecast"], 2)),
            ("Came", percent(drift["observed"], 2)),
            ("Difference", f"{percent(drift['difference']['value'], 2)}, 95 % interval {_percents(ends)}"),
            ("Target incidents", number(drift["events"])),
            ("Expected by the climatology", number(drift["expected_events"], 1)),
        ]
    return section("verified_trust", columns(*drawn), *([facts("drift", pairs)] if pairs else [])) if drawn else None


def _percents(ends: Any) -> str:
    return range_of(ends, 2, lambda end, digits: f"{signed(100 * end, digits)} %") if ends else "not known"


def _curves(verification: Mapping[str, Any]) -> Block | None:
    """Show how well target windows are told from the others, at all thresholds."""
    scored, model = verification["all"]["as_made"], verification["model"]
    if not scored:
        return None
    drawn = []
    for name, draw in (("molchan", figures.molchan), ("roc", figures.roc)):
        if curves := _by_label(scored["forecasts"], model, name):
            drawn.append(figure(name, draw(curves), scores.legend(list(curves))))
    return section("verified_curves", columns(*drawn)) if drawn else None


def _worth(verification: Mapping[str, Any]) -> Block:
    """Show what the warnings were worth."""
    return section("verified_worth", *worth_tables(verification["all"]["warnings"], verification["model"]))


def _warned(verification: Mapping[str, Any]) -> Block:
    """Show each warning with what came of it."""
    rows = verification["warnings"]
    shown = warning_rows(rows[-MOST_ROWS:], verification["task"]["lead_s"])
    more = len(rows) - len(shown)
    left_out = f" The latest {number(MOST_ROWS)}; {number(more)} earlier ones are in verification.json." if more else ""
    return section("verified_warnings", table("warned", shown, more=left_out))


# ---------------------------------------------------------------- month by month, and the record


def _months(verification: Mapping[str, Any]) -> Block:
    """Show outcomes, rates and skill month by month."""
    periods, model = verification["periods"], verification["model"]
    key = scores.legend([LEVEL, CLIMATOLOGY, model])
    drawn = columns(
        figure("verified_outcomes", figures.outcomes(periods), figures.outcomes_legend(periods)),
        figure("verified_rates", figures.monthly_rates(periods, model), key),
    )
    rows = [_month_row(one) for one in periods]
    return section("verified_months", drawn, table("months", rows))


def _month_row(one: Mapping[str, Any]) -> Row:
    warned, outcomes = one["warnings"]["city"][MODEL]["any"], one["outcomes"]
    gains = [one["as_served"] and _against(one["as_served"]["forecasts"], other) for other in (CLIMATOLOGY, LEVEL)]
    cells: list[Any] = [
        (number(outcomes["due"]), f"{percent(outcomes['issued'] / max(1, outcomes['due']))} issued"),
        (percent(warned["pod"], 0), f"{number(warned['caught'])} of {number(warned['events'])}"),
        (percent(warned["far"], 0), f"{number(warned['false_alarms'])} of {number(warned['given'])}"),
        lead(warned["median_lead_s"]),
        number(warned["per_week"], 1),
        *((signed(bits["value"]), range_of(bits["interval"])) if bits else MISSING for bits in gains),
    ]
    return Row(str(one["period"]), cells, note="" if one["published"] else "not final")


def _record(verification: Mapping[str, Any]) -> Block:
    """Show how late rows come, what the page is made from, and what was changed after it was published."""
    record, task, blocks = verification["record"], verification["task"], []
    late = verification["delay"]
    if late and late["curve"]:
        blocks.append(figure("delay", figures.delay(late["curve"], late["settled_s"])))
    until_s = task["lead_s"] + task["horizon_s"]
    policies = [
        (f"from {one['from']}"[:21].replace("T", " "), one["fingerprint"][:16]) for one in verification["policies"]
    ]
    pairs = [
        ("Entries", number(record["entries"])),
        ("First, last", f"{record['first']} to {record['last']}"),
        ("Hash of the last", record["head"]),
        (
            "Forecast",
            f"every {duration(task['stride_s'])}, of the time from {lead(task['lead_s'])} to {lead(until_s)} after it",
        ),
        *((f"Policy {when}", fingerprint) for when, fingerprint in policies),
    ]
    blocks.append(facts("record", pairs))
    changed = [Row(one["instant"], [one["why"], number(one["moved"])]) for one in verification["rebaselines"]]
    after = [table("rebaselines", changed)] if changed else [text("never_moved")]
    if late and late["nowcast"]:
        after.insert(0, table("nowcast", [_day_row(one) for one in late["nowcast"]]))
    return section("verified_record", columns(*blocks), *after)


def _day_row(one: Mapping[str, Any]) -> Row:
    expected = (number(one["expected"]), f"{number(one['low'])} to {number(one['high'])}")
    return Row(one["day"], [number(one["known"]), expected])
