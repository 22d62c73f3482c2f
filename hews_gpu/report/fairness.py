"""The page of a fairness audit: who is warned of, how rightly, and what equal hours would cost.

It is made of the object that `hews audit fairness` writes, and for readers without statistics: one number at a time,
natural frequencies, intervals as ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hews_gpu.report.figures import fairness as figures
from hews_gpu.report.figures.scores import legend as looks
from hews_gpu.report.formatting import MISSING, listed, moment, number, percent, plain, range_of, span
from hews_gpu.report.page import (
    Block,
    Page,
    Part,
    Row,
    Verdict,
    columns,
    figure,
    legend,
    prose,
    render,
    section,
    table,
    text,
)
from hews_gpu.report.significance import label

__all__ = ["fairness_page"]

NAMES = {"model": "stack", "climatology": "climatology", "long_run_rate": "base_rate"}
"""How each forecaster of the audit is drawn and called."""
TONES = {"pass": "good", "warning": "flat", "fail": "bad"}
MOST_ROWS, MANY = 40, 12
PERCENTS = ("caught", "came_true", "false_alarms_of_quiet", "warned")
MEASURES = (
    "hours_per_event",
    "hours_per_1000_residents_a_week",
    "caught",
    "came_true",
    "false_alarms_of_quiet",
    "calibration",
)


def fairness_page(result: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        result: what ``fairness.json`` holds.
    """
    parts = [Part([_gates(result)], "gates", "What must not differ")]
    parts += [_by(result, one, f"by{k}") for k, one in enumerate(result["by"])]
    parts += [Part([_neighborhoods(result)], "each", "Neighborhood by neighborhood")]
    parts += [Part([section("reading_fairness", prose("reading_fairness.html.j2"))], "reading", "Reading this page")]
    return render(
        Page(
            title=f"{result['of']}: who bears the warnings",
            kicker="Who bears the warnings",
            heading=str(result["of"]),
            about=f"{span(moment(result['begin']), moment(result['end']))} · {result['how']}",
            verdict=_verdict(result),
            parts=parts,
            foot="The numbers are in fairness.json. The census is read for this audit only: no model sees it.",
        )
    )


def _verdict(result: Mapping[str, Any]) -> Verdict:
    """Say in plain words what the first gate that does not pass is about, or that all do."""
    failed = [one for one in result["results"] if one["verdict"] == "fail"]
    unsure = [one for one in result["results"] if one["verdict"] == "warning"]
    notes = [_natural(one) for one in result["by"]]
    if missing := result["without_census"]:
        shown = listed(missing[:MANY]) + (f" and {len(missing) - MANY} more" if len(missing) > MANY else "")
        notes.append(
            f"{number(len(missing))} neighborhoods have no row in the census file and are in no group: {shown}."
        )
    if empty := result["without_residents"]:
        notes.append(f"{number(len(empty))} neighborhoods have no residents by the census, and are in no group.")
    if failed:
        return Verdict(f"The burden is not shared as the events are: {_gates_in_words(failed)}.", "bad", notes)
    if unsure:
        return Verdict(f"No disparity is shown, but not all can be told: {_gates_in_words(unsure)}.", "flat", notes)
    return Verdict("Every gate passes: what must not differ between groups does not.", "good", notes)


def _gates_in_words(results: Sequence[Mapping[str, Any]]) -> str:
    told = [(one["figures"]["measure"].replace("_", " "), one["figures"]["by"]) for one in results]
    return listed([f"{measure} by {by}" for measure, by in dict.fromkeys(told)])


def _natural(one: Mapping[str, Any]) -> str:
    """Return what a grouping shows in natural frequencies."""
    first, last = one["groups"]["model"][0], one["groups"]["model"][-1]

    def told(group: Mapping[str, Any]) -> str:
        hours, caught, true = (group[name] for name in ("hours_per_event", "caught", "came_true"))
        words = [f"{number(hours['value'], 1)} hours of warning for each event"] if hours else ["no event"]
        words += [f"of 100 events {number(100 * caught['value'])} were warned of"] if caught else []
        words += [f"of 100 warned windows {number(100 * true['value'])} saw one"] if true else ["never warned of"]
        return ", ".join(words)

    return f"By {one['by']}: in the {first['group']} {told(first)}; in the {last['group']} {told(last)}."


def _gates(result: Mapping[str, Any]) -> Block:
    rows = []
    for one in result["results"]:
        figures = one["figures"]
        found, allowed = figures["disparity"], " to ".join(plain(end, 2) for end in figures["bounds"])
        cells: list[Any] = [
            f"{figures['group']} by {figures['by']}",
            one["verdict"],
            (plain(found["value"], 2), range_of(found["interval"], 2, plain)) if found else MISSING,
            (allowed, figures["kind"]),
            number(figures["p_corrected"], 3),
        ]
        rows.append(Row(one["gate"], cells, note=figures["measure"].replace("_", " "), look=TONES[one["verdict"]]))
    return section("gates", table("gates", rows))


def _by(result: Mapping[str, Any], one: Mapping[str, Any], name: str) -> Part:
    """Return the part of one column of the census."""
    groups = {NAMES[key]: rows for key, rows in one["groups"].items()}
    ends = groups["stack"][0]["group"], groups["stack"][-1]["group"]
    drawn = [
        figure("hours_per_event", figures.by_group(groups, "hours_per_event", "hours per event", percent=False)),
        figure("caught_by_group", figures.by_group(groups, "caught", "events foreseen", percent=True)),
        figure("came_true_by_group", figures.by_group(groups, "came_true", "warned windows with one", percent=True)),
        figure("equal_hours", figures.equal_hours(one["equal_hours"], ends)),
    ]
    rows = []
    for key, mine in groups.items():
        rows.append(Row(_called(key), (), look="group"))
        rows += [_group_row(group) for group in mine]
    about = section(
        "by_group",
        legend([replace(key, label=_called(name)) for key, name in zip(looks(list(groups)), groups, strict=True)]),
        columns(*drawn[:2]),
        columns(*drawn[2:]),
        table("by_group", rows),
    )
    return Part([about], name, f"By {one['by']}", f"{number(one['left_out'])} neighborhoods are in no group.")


def _called(name: str) -> str:
    own = {"stack": "The model", "base_rate": "The long-run rate: the same at any hour"}
    return own.get(name, f"The {label(name)}")


def _group_row(group: Mapping[str, Any]) -> Row:
    note = f"{number(group['from'], 3)} to {number(group['to'], 3)}; {number(group['neighborhoods'])} neighborhoods"
    cells: list[Any] = [number(group["residents"]), number(group["events"])]
    cells += [_measure(name, group[name]) for name in MEASURES]
    return Row(group["group"], cells, note=note)


def _measure(name: str, one: Mapping[str, Any] | None) -> Any:
    """Return a value, its interval, and what it is of the city's."""
    if one is None:
        return MISSING
    write = percent if name in PERCENTS else plain
    digits = 1 if name in PERCENTS else 2
    of_city = f"{plain(one['ratio']['value'], 2)} × the city's" if one["ratio"] else ""  # noqa: RUF001 - the sign
    return write(one["value"], digits), range_of(one["interval"], digits, write), of_city


def _neighborhoods(result: Mapping[str, Any]) -> Block:
    """Show who is warned of the most."""
    rows = result["by_neighborhood"]
    warned = [one for one in rows if one["warned_hours"]]
    shown = [
        Row(
            one["name"],
            [
                number(one["warned_hours"]),
                number(one["hours_per_1000_residents_a_week"], 2),
                number(one["residents"]),
                (number(one["events"]), f"{number(one['expected'], 1)} expected"),
                number(one["caught"]),
                number(one["false_alarms"]),
            ],
        )
        for one in warned[:MOST_ROWS]
    ]
    lead = text("concentration", half=number(result["bear_half"]), warned=number(len(warned)), all=number(len(rows)))
    return section("by_neighborhood", lead, table("by_neighborhood", shown))
