"""The JSON file of a rolling evaluation, read and checked whole before anything is made of it.

It is what ``benchmarks/forecasts.py`` writes (several sources), or what ``hews evaluate --preset NAME --json`` prints
(one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.report.standings import CLIMATOLOGY, Standings

__all__ = ["read_json", "read_results"]

Found = Mapping[str, Any]
ACCEPTED = (
    "Give RUN, a file of benchmarks/results/forecasts-*.json, or what 'hews evaluate --preset NAME --json' printed"
)


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
BAND = dict.fromkeys(("from_s", "to_s", "within_m", "pairs", "expected", "p"), float)
REPORTED = {"delay_s_quantiles": {"0.5": float, "0.99": float}, "forecasts": dict}


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
        text = file.read_text(encoding="utf-8").replace('"neighbourhoods"', '"neighborhoods"')  # so until November 2026
        return json.loads(text, parse_constant=_refuse)
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
    if found.get("as_reported") is not None:
        _require(found["as_reported"], REPORTED, f"{name}.as_reported")
        for method, scores in found["as_reported"]["forecasts"].items():
            _require(scores, POINT, f"{name}.as_reported.forecasts.{method}")
    if "places" in found:
        _require(found["places"], {"neighborhoods": float, "events": float, "forecasts": dict}, f"{name}.places")
        _require(found["places"].get("near_pairs", []), [BAND], f"{name}.places.near_pairs")
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
