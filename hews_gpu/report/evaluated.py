"""The page of a rolling evaluation: what beats the climatology on each source, and what the forecasts are worth.

It is made from one JSON file and nothing else: what ``benchmarks/forecasts.py`` writes (several sources), or what
``hews evaluate --preset NAME --json`` prints (one). Curves and neighborhoods are shown where the file has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu import __version__
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.report import standings
from hews_gpu.report.figures import evaluated as figures
from hews_gpu.report.results_file import read_results
from hews_gpu.report.standings import BASE_RATE, CLIMATOLOGY, ORACLE, Standings, against_climatology
from hews_gpu.report.words import SPACE, day, duration, number, percent, signed

__all__ = ["evaluated_content"]

Found = Mapping[str, Any]
CLOSED = "Oracle gap closed"
HEADS = ("Log skill, bits", CLOSED, "AUC", "AUC within hours", "Calibration slope", "Log loss, bits")
GLYPHS = {"s": "■", "^": "▲", "D": "◆", "o": "●", "*": "★", "P": "✚"}


def evaluated_content(file: Path) -> dict[str, Any]:
    """Everything that the page shows.

    Raises:
        UserError: the file is not a results file of a rolling evaluation.
    """
    content, sources = read_results(file)
    shown = [_source(f"s{i}", name, found) for i, (name, found) in enumerate(sources.items())]
    good = [one["title"] for one in shown if one["tone"] == "good"]
    return {
        "sources": shown,
        "first": shown[0] if len(shown) == 1 or "preset" not in next(iter(sources.values())) else None,
        "summary": _summary(len(good), len(shown)),
        "tone": shown[0]["tone"],
        "date": _date(content.get("date")),
        "facts": list(_facts(content)),
        "file": file.name,
        "made": datetime.now(UTC).strftime("%-d %B %Y"),
        "version": __version__,
    }


def _summary(good: int, every: int) -> str:
    if every == 1:
        return ""
    if good == 0:
        return f"On none of {every} sources does anything beat the climatology."
    return f"On {good} of {every} sources something beats the climatology" + (
        "." if good == every else "; on the rest there is no significant skill, which is a result."
    )


def _date(text: Any) -> str:
    return str(text)[:10] if isinstance(text, str) else ""


def _facts(content: Found) -> Iterator[tuple[str, str]]:
    """How the file was made: its plain entries at the top, as far as it has them."""
    for key in ("command", "date", "commit", "cpu", "cores", "system", "python", "numpy"):
        if isinstance(content.get(key), str | int):
            yield key, str(content[key])


def _source(key: str, name: str, found: Found) -> dict[str, Any]:
    """One source's part of the page."""
    forecasts = found["forecasts"]
    standing = Standings(forecasts)
    verdict, best = standing.verdict(), standing.best
    return {
        "key": key,
        "title": str(found["city"]) if "city" in found else name,
        "kind": _kind(found),
        "verdict": verdict.sentence,
        "tone": verdict.tone,
        "notes": [*verdict.notes, *_duel(forecasts)],
        "counts": f"{number(found['windows'])} windows, {number(found['positives'])} with a target "
        f"({percent(found['base_rate'])})",
        "protocol": _protocol(found),
        "row": _glance(forecasts, best, verdict.tone),
        "methods": [
            _method(method, scores, method == best, ORACLE in forecasts) for method, scores in forecasts.items()
        ],
        "heads": ["Method", *(head for head in HEADS if head != CLOSED or ORACLE in forecasts)],
        "legend": [_legend(method) for method in forecasts if method != BASE_RATE],
        "base_rate_bits": signed(against_climatology(forecasts[BASE_RATE])["value"]) if BASE_RATE in forecasts else "",
        "banded": figures.look(best).label,
        "figures": _figures(key, found, best),
        "warnings": [_warnings(method, scores) for method, scores in forecasts.items() if scores["warnings"]],
        "warning_heads": [f"At {number(row['budget_per_week'])} a week" for row in forecasts[CLIMATOLOGY]["warnings"]],
        "budgets": [number(row["budget_per_week"]) for row in forecasts[CLIMATOLOGY]["warnings"]],
        "reported": _reported(found, best),
        "places": _places(found["places"]) if "places" in found else None,
    }


def _kind(found: Found) -> str:
    if "city" in found:
        return "recorded incidents"
    drawn = f", {found['years']} years of seed {found['seed']}" if {"years", "seed"} <= found.keys() else ""
    return f"generated city{drawn}, whose true probabilities are known"


def _figures(key: str, found: Found, best: str) -> dict[str, Any]:
    forecasts = found["forecasts"]
    shown = {name: scores for name, scores in forecasts.items() if name != BASE_RATE}
    rivals = [name for name in shown if name != CLIMATOLOGY]
    bins = {name: scores["calibration"]["reliability"] for name, scores in shown.items()}
    drawn: dict[str, Any] = {
        "skill": figures.skill(f"{key}-skill", {name: against_climatology(forecasts[name]) for name in rivals}),
        "reliability": figures.reliability(f"{key}-trust", bins, [best, CLIMATOLOGY], found["base_rate"]),
        "value": figures.value(f"{key}-value", {name: scores["value"] for name, scores in shown.items()}),
    }
    warned = {name: scores["warnings"] for name, scores in shown.items() if scores["warnings"]}
    drawn["alarms"] = figures.alarms(f"{key}-alarms", warned, found["base_rate"])
    curves = found.get("curves", {})
    for axis in ("lead_s", "delay_s"):
        points = curves.get(axis) or []
        swept = [name for name in rivals if points and name in points[0]["forecasts"]]
        drawn[axis] = figures.curve(f"{key}-{axis}", axis, points, swept) if swept else ""
    return drawn


def _protocol(found: Found) -> str:
    """How it was evaluated, in a few clauses."""
    protocol = found["protocol"]
    folds = protocol["folds"]
    begin, end = (_moment(folds[i]["test"][edge]) for i, edge in ((0, "begin"), (-1, "end")))
    held = [_moment(fold["calibration"]["end"]) - _moment(fold["calibration"]["begin"]) for fold in folds]
    blocks = f"{len(folds)} test blocks" if len(folds) > 1 else "one test block"
    delay = f"reports known {duration(protocol['delay_s'])} late" if protocol["delay_s"] else "no reporting delay"
    lead = f" after a gap of {duration(protocol['lead_s'])}" if protocol["lead_s"] else ""
    said = [
        f"Rolling origin: {blocks}, {day(begin)} to {day(end - 1)}, with a fit of its own before each on all that lies "
        "before it",
        f"a purge gap of {protocol['gap_s'] / 3600:g} hours between the parts",
        f"calibration and alarm thresholds from a block of {round(min(held) / 86_400)} days before each test block",
        f"a forecast every {duration(protocol['stride_s'])} from the past {duration(protocol['history_s'])} for the "
        f"next {duration(protocol['horizon_s'])}{lead}",
        delay,
    ]
    return f"{'; '.join(said)}.{_locked(found)}"


def _reported(found: Found, best: str) -> str:
    """What is left when every row is known only when it was reported; nothing where nobody knows when."""
    late = found.get("as_reported")
    if not late or best not in late["forecasts"]:
        return ""
    bits = late["forecasts"][best]
    waits = {share: _hours(seconds) for share, seconds in late["delay_s_quantiles"].items()}
    return (
        f"With each incident known only when it was reported, half within {waits['0.5']} and 99{SPACE}% within "
        f"{waits['0.99']}, {figures.look(best).label} has {signed(bits['log_skill_bits'])} bits "
        f"({_interval(bits['log_skill_bits_interval'], 4)})."
    )


def _hours(length_s: float, digits: int = 1) -> str:
    return f"{number(length_s / 3600, digits)}{SPACE}h"


def _near_pairs(bands: Sequence[Found]) -> str:
    """How many events follow near others, more than by chance."""
    told = [
        f"{number(one['pairs'])} pairs {number(one['from_s'] / 3600)} to {_hours(one['to_s'], 0)} apart, "
        f"{number(one['expected'], 1)} by chance (p{SPACE}={SPACE}{one['p']:.3f})"
        for one in bands
    ]
    return f"Incidents within {number(bands[0]['within_m'])}{SPACE}m of each other: {'; '.join(told)}."


def _locked(found: Found) -> str:
    """Whether the block that is kept for the end was looked at; nothing where there is none."""
    span = found.get("locked_block")
    if not isinstance(span, list) or len(span) != 2 or not all(isinstance(edge, str) for edge in span):
        return ""
    try:
        edges = f"{day(_moment(span[0]))} to {day(_moment(span[1]) - 1)}"
    except ValueError:
        return ""
    done = "was opened" if found.get("locked_block_opened") else "was not opened: nothing here has seen it"
    return f" The locked block, {edges}, {done}."


def _moment(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


def _interval(ends: Any, digits: int) -> str:
    """Low to high; nothing where it has no width or is not known."""
    if not ends or ends[0] == ends[1]:
        return ""
    return f"{signed(ends[0], digits)} to {signed(ends[1], digits)}"


def _plain(ends: Any, digits: int) -> str:
    return f"{_number(ends[0], digits)} to {_number(ends[1], digits)}" if ends else ""


def _number(value: Any, digits: int) -> str:
    """A number with a real minus sign, but without a plus."""
    return signed(value, digits).removeprefix("+")


def _method(name: str, scores: Found, is_best: bool, has_oracle: bool) -> dict[str, Any]:
    """One method's row: every cell with the 95 % interval under it."""
    bits, closure = against_climatology(scores), scores.get("oracle_gap_closure")
    calibration = scores["calibration"]
    is_itself = name in (CLIMATOLOGY, ORACLE)
    share = (
        (signed(closure["value"], 2), "" if is_itself else _interval(closure["one_week"], 2)) if closure else ("", "")
    )
    cells = [
        (signed(bits["value"]), _interval(bits["one_week"], 4)),
        *([share] if has_oracle else []),
        (number(scores["auc"], 3), _plain(scores["auc_interval"], 3)),
        (number(scores["auc_within_hours"], 3), ""),
        (_number(calibration.get("slope"), 2), _plain(calibration.get("slope_interval"), 2), *_to_truth(calibration)),
        (number(scores["log_loss_bits"], 4), ""),
    ]
    title = "the best possible forecast" if name == ORACLE else ""
    title = FORECASTERS[name].title if name in FORECASTERS else title
    label = figures.look(name).label
    verdict = {1: "better", -1: "worse", 0: ""}[0 if is_itself else standings.sign(bits)]
    note = title if title != label else ""
    return {"name": label, "note": note, "cells": cells, "best": is_best and verdict == "better", "mark": verdict}


def _to_truth(calibration: Found) -> list[str]:
    """The slope with the true probabilities in place of outcomes, which has none of their noise."""
    slope = calibration.get("slope_to_truth")
    return [] if slope is None else [f"{_number(slope, 2)} to the truth"]


def _duel(forecasts: Found) -> list[str]:
    """HewsNet and boosting window by window, where a file has both."""
    found = forecasts.get("hewsnet", {}).get("against", {}).get("boosting")
    if not found:
        return []
    bits = found["log_skill_bits"]
    word = {1: "better than", -1: "worse than", 0: "not told apart from"}[standings.sign(bits)]
    return [f"HewsNet against gradient boosting, window by window: {standings.gained(bits)}, {word} it."]


def _glance(forecasts: Found, best: str, tone: str) -> list[str]:
    """The row of the table at the top: the best method and what it gains."""
    scores = forecasts[best]
    bits, closure = against_climatology(scores), scores.get("oracle_gap_closure")
    skill = f"{signed(bits['value'])} ({_interval(bits['one_week'], 4) or 'itself'})"
    auc = f"{number(forecasts[CLIMATOLOGY]['auc'], 3)} → {number(scores['auc'], 3)}"
    return [
        "yes" if tone == "good" else "no",
        figures.look(best).label,
        skill,
        signed(closure["value"], 2) if closure else "",
        auc,
    ]


def _legend(name: str) -> dict[str, str]:
    drawn = figures.look(name)
    style = {"-": "solid", ":": "dotted"}.get(str(drawn.line), "dashed")
    return {"label": drawn.label, "color": drawn.color, "style": style, "mark": GLYPHS[drawn.mark]}


def _warnings(name: str, scores: Found) -> dict[str, Any]:
    cells: list[tuple[str, ...]] = []
    for row in scores["warnings"]:
        if not row["warnings_per_week"]:
            cells.append(("none given",))
            continue
        right = percent(row.get("precision"), 0)
        given = f"{number(row['warnings_per_week'], 1)} given, {number(row.get('false_alarms_per_week'), 1)} false"
        cells.append((f"{right} right", f"{percent(row['recall'], 0)} caught", given))
    return {"name": figures.look(name).label, "cells": cells}


def _places(found: Found) -> dict[str, Any]:
    """The neighborhoods' tables: proper scores, then one group of hot-spot scores per share of the area."""
    titles = {"long_run": "long-run rate", "recent_28_days": "28-day rate", "near_repeat": "near-repeat"}
    names = {name: titles.get(name, name.replace("_", " ")) for name in found["forecasts"]}
    scores = [
        {
            "name": names[name],
            "cells": [
                (signed(one["log_skill_bits"]), _interval(one["log_skill_bits_interval"], 4)),
                (number(one["auc"], 3), ""),
            ],
        }
        for name, one in found["forecasts"].items()
    ]
    groups: dict[float, list[dict[str, Any]]] = {}
    for name, one in found["forecasts"].items():
        for spot in one["hot_spots"]:
            rate = (percent(spot["hit_rate"]), " to ".join(percent(end) for end in spot["hit_rate_interval"]))
            indices = [(number(spot[key], digits), "") for key, digits in (("pai", 2), ("pei", 3), ("pei_star", 3))]
            groups.setdefault(spot["area_share"], []).append({"name": names[name], "cells": [rate, *indices]})
    return {
        "near": _near_pairs(found["near_pairs"]) if found.get("near_pairs") else "",
        "counts": f"{number(found['events'])} target incidents in {number(found['neighborhoods'])} neighborhoods",
        "scores": scores,
        "groups": [{"share": f"{100 * share:g}{SPACE}%", "rows": rows} for share, rows in groups.items()],
    }
