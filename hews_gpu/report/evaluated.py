"""The page of a rolling evaluation: what beats the climatology on each source, and what the forecasts are worth.

It is made from one JSON file and nothing else: what ``benchmarks/forecasts.py`` writes (several sources), or what
``hews evaluate --preset NAME --json`` prints (one). Curves and neighbourhoods are shown where the file has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu import __version__
from hews_gpu.errors import UserError
from hews_gpu.evaluation.registry import FORECASTERS
from hews_gpu.report import standings
from hews_gpu.report.figures import evaluated as figures
from hews_gpu.report.standings import BASE_RATE, CLIMATOLOGY, ORACLE, Standings, against_climatology
from hews_gpu.report.words import SPACE, day, duration, number, percent, signed

__all__ = ["evaluated_content", "read_json", "read_results"]

Found = Mapping[str, Any]
ACCEPTED = (
    "Give RUN, a file of benchmarks/results/forecasts-*.json, or what 'hews evaluate --preset NAME --json' printed"
)

CLOSED = "Oracle gap closed"
HEADS = ("Log skill, bits", CLOSED, "AUC", "AUC within hours", "Calibration slope", "Log loss, bits")
GLYPHS = {"s": "■", "^": "▲", "D": "◆", "o": "●", "*": "★", "P": "✚"}

# What a results file must hold to be shown: a type, a list of such, or names with more of the same.
BITS = {"value": float, "one_week": [float], "four_weeks": [float]}
SCORES = {
    "auc": float,
    "auc_interval": [float],
    "auc_within_hours": float,
    "log_loss_bits": float,
    "calibration": {"reliability": [{"p_mean": float, "y_rate": float, "low": float, "high": float}]},
    "value": [{"cost_loss": float, "value": float}],
    "warnings": [{"budget_per_week": float, "warnings_per_week": float, "recall": float}],
    "against": dict,
}
PART = {"begin": str, "end": str, "windows": float}
PROTOCOL = {
    **dict.fromkeys(("history_s", "lead_s", "horizon_s", "stride_s", "delay_s", "gap_s"), float),
    "folds": [{"train": PART, "calibration": PART, "test": PART}],
}
SOURCE = {"windows": float, "positives": float, "base_rate": float, "protocol": PROTOCOL, "forecasts": dict}
POINT = {"log_skill_bits": float, "log_skill_bits_interval": [float]}
HOT_SPOT = {"area_share": float, "hit_rate": float, "pai": float, "pei": float, "pei_star": float}
PLACE = {**POINT, "auc": float, "hot_spots": [{**HOT_SPOT, "hit_rate_interval": [float]}]}


def read_results(file: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The whole file, and its sources by name: real tables first, then the generated cities.

    Raises:
        UserError: it is not a results file of a rolling evaluation.
    """
    content = read_json(file)
    try:
        sources = _sources(content)
        for name, found in sources.items():
            _check_source(found, name)
    except _Wrong as wrong:
        allowed = f"is not a result of a rolling evaluation ({wrong})"
        raise UserError(str(file), allowed=allowed, remedy=ACCEPTED) from None
    return content, sources


def read_json(file: Path) -> Any:
    """What a results file holds.

    Raises:
        UserError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise UserError(str(file), allowed=f"cannot be read ({error.strerror})", remedy=ACCEPTED) from None
    except ValueError as error:
        raise UserError(str(file), allowed=f"is not JSON ({error})", remedy=ACCEPTED) from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


class _Wrong(Exception):
    """Where the file is not what it should be."""


def _sources(content: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(content, dict):
        raise _Wrong("not an object")
    if "forecasts" in content:
        return {str(content.get("preset") or content.get("city") or "source"): content}
    presets = content.get("presets", {})
    _require(presets, dict, "presets")
    real = {name: one for name, one in content.items() if isinstance(one, dict) and "forecasts" in one}
    if not real and not presets:
        raise _Wrong("lacks forecasts and presets")
    return {**real, **presets}


def _require(found: Any, shape: Any, where: str) -> None:
    """Refuse what lacks a part of `shape`, naming where; what is more than the shape is left alone."""
    if isinstance(shape, dict):
        _require(found, dict, where)
        for key, part in shape.items():
            if key not in found:
                raise _Wrong(f"{where} lacks {key}")
            _require(found[key], part, f"{where}.{key}")
    elif isinstance(shape, list):
        _require(found, list, where)
        if shape == [float] and len(found) != 2:
            raise _Wrong(f"{where} is not an interval")
        for i, one in enumerate(found):
            _require(one, shape[0], f"{where}.{i}")
    elif not isinstance(found, int | float if shape is float else shape) or isinstance(found, bool):
        what = {float: "a number", dict: "an object", list: "a list", str: "a text"}[shape]
        raise _Wrong(f"{where} is not {what}")


def _check_source(found: Any, name: str) -> None:
    _require(found, SOURCE, name)
    if not found["protocol"]["folds"]:
        raise _Wrong(f"{name}.protocol.folds is empty")
    _check_dates(found["protocol"]["folds"], f"{name}.protocol.folds")
    forecasts = found["forecasts"]
    _require(forecasts, {CLIMATOLOGY: dict}, f"{name}.forecasts")
    if not Standings({key: {"against": {}} for key in forecasts}).contenders:
        raise _Wrong(f"{name}.forecasts holds nothing to compare with the climatology")
    _check_forecasts(forecasts, name)
    _require(found.get("curves", {}), dict, f"{name}.curves")
    for axis, points in found.get("curves", {}).items():
        _require(points, [{axis: float, "forecasts": dict}], f"{name}.curves.{axis}")
        shown = [key for key in forecasts if any(key in point["forecasts"] for point in points)]
        _require(points, [{"forecasts": dict.fromkeys(shown, POINT)}], f"{name}.curves.{axis}")
    if "places" in found:
        _require(found["places"], {"neighbourhoods": float, "events": float, "forecasts": dict}, f"{name}.places")
        for method, scores in found["places"]["forecasts"].items():
            _require(scores, PLACE, f"{name}.places.forecasts.{method}")


def _check_dates(folds: Any, where: str) -> None:
    for edge in (part[key] for fold in folds for part in fold.values() for key in ("begin", "end")):
        try:
            datetime.fromisoformat(edge)
        except ValueError:
            raise _Wrong(f"{where} has a date that is none") from None


def _check_forecasts(forecasts: Found, name: str) -> None:
    for method, scores in forecasts.items():
        where = f"{name}.forecasts.{method}"
        _require(scores, SCORES, where)
        others = scores["against"] if method == CLIMATOLOGY else {CLIMATOLOGY: {}, **scores["against"]}
        for other, gained in others.items():
            _require(gained, {"log_skill_bits": BITS}, f"{where}.against.{other}")
        for key in ("slope", "slope_interval"):
            if scores["calibration"].get(key) is not None:
                _require(scores["calibration"][key], float if key == "slope" else [float], f"{where}.calibration.{key}")
        for i, row in enumerate(scores["warnings"]):
            if row.get("precision") is not None:
                _require(row["precision"], float, f"{where}.warnings.{i}.precision")
        if scores.get("oracle_gap_closure") is not None:
            _require(scores["oracle_gap_closure"], BITS, f"{where}.oracle_gap_closure")


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
        "notes": verdict.notes,
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
        f"a purge gap of {duration(protocol['gap_s'])} between the parts",
        f"calibration and alarm thresholds from a block of {round(min(held) / 86_400)} days before each test block",
        f"a forecast every {duration(protocol['stride_s'])} from the past {duration(protocol['history_s'])} for the "
        f"next {duration(protocol['horizon_s'])}{lead}",
        delay,
    ]
    return f"{'; '.join(said)}.{_locked(found)}"


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
        (_number(calibration.get("slope"), 2), _plain(calibration.get("slope_interval"), 2)),
        (number(scores["log_loss_bits"], 4), ""),
    ]
    title = "the best possible forecast" if name == ORACLE else ""
    title = FORECASTERS[name].title if name in FORECASTERS else title
    label = figures.look(name).label
    verdict = {1: "better", -1: "worse", 0: ""}[0 if is_itself else standings.sign(bits)]
    note = title if title != label else ""
    return {"name": label, "note": note, "cells": cells, "best": is_best and verdict == "better", "mark": verdict}


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
    return {"label": drawn.label, "colour": drawn.colour, "style": style, "mark": GLYPHS[drawn.mark]}


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
    """The neighbourhoods' tables: proper scores, then one group of hot-spot scores per share of the area."""
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
        "counts": f"{number(found['events'])} target incidents in {number(found['neighbourhoods'])} neighbourhoods",
        "scores": scores,
        "groups": [{"share": f"{100 * share:g}{SPACE}%", "rows": rows} for share, rows in groups.items()],
    }
