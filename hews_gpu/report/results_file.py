"""The result schema: what JSON must hold to be shown, checked whole before anything is made of it.

One result is the metrics.json of a run or a backtest, or what ``hews backtest --preset NAME --json`` prints; a results
file of ``hews bench`` holds several, by source. What is more than the schema is left alone.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.report.significance import CLIMATOLOGY, Comparison

__all__ = ["read_json", "read_results", "require_result"]

ACCEPTED = (
    "Give RUN, a file of benchmarks/results/forecasts-*.json, or what 'hews backtest --preset NAME --json' printed"
)
OLDER_NAMES = {"neighbourhoods": "neighborhoods", "one_week": "interval"}
"""Keys of files from before December 2026."""
PAIR = (float, float)
# A schema is a type, a list of such, a pair of numbers, or names with schemas. Names that end in ? may be missing or
# null; * stands for every other name.
BITS = {"value": float, "interval": PAIR, "p?": float, "p_corrected?": float, "*": PAIR}
GAIN = {"log_skill_bits": BITS}
SCORES = {
    **dict.fromkeys(("auc", "auc_within_hours", "log_loss_bits"), float),
    "auc_interval": PAIR,
    "calibration": {
        "slope?": float,
        "slope_interval?": PAIR,
        "reliability": [dict.fromkeys(("p_mean", "y_rate", "low", "high"), float)],
    },
    "value": [{"cost_loss": float, "value": float}],
    "warnings": [{"budget_per_week": float, "warnings_per_week": float, "recall": float, "precision?": float}],
    "against": {"*": GAIN},
    "oracle_gap_closure?": BITS,
}
PART = {"begin": datetime, "end": datetime, "windows": float, "positives": float}
POINT = {"log_skill_bits": float, "log_skill_bits_interval": PAIR}
HOT_SPOT = dict.fromkeys(("area_share", "hit_rate", "pai", "pei", "pei_star"), float) | {"hit_rate_interval": PAIR}
RESULT = {
    **dict.fromkeys(("windows", "positives", "base_rate"), float),
    "protocol": {
        **dict.fromkeys(("history_s", "lead_s", "horizon_s", "stride_s", "delay_s", "gap_s"), float),
        "folds": [{"train": PART, "calibration": PART, "test": PART}],
    },
    "forecasts": {CLIMATOLOGY: SCORES, "*": SCORES},
    "curves?": {axis: [{axis[:-1]: float, "forecasts": {"*": POINT}}] for axis in ("lead_s?", "delay_s?")},
    "as_reported?": {"delay_s_quantiles": {"0.5": float, "0.99": float}, "forecasts": {"*": POINT}},
    "places?": {
        "neighborhoods": float,
        "events": float,
        "forecasts": {"*": {**POINT, "auc": float, "hot_spots": [HOT_SPOT]}},
        "near_pairs?": [dict.fromkeys(("from_s", "to_s", "within_m", "pairs", "expected", "p"), float)],
    },
    "parts?": {"*": {**dict.fromkeys(("windows", "positives", "log_loss_bits"), float), "auc?": float}},
}
NAMED = {dict: "an object", list: "a list", str: "a text"}


def read_results(content: Any, file: Path) -> dict[str, dict[str, Any]]:
    """Return the sources of a results file by name: real tables first, then the generated cities.

    Raises:
        UserError: it is not a results file of a rolling evaluation.
    """
    try:
        sources = _sources(content)
        for name, source in sources.items():
            _check_result(source, name)
    except _Wrong as wrong:
        allowed = f"is not a result of a rolling evaluation ({wrong})"
        raise UserError(str(file), allowed=allowed, remedy=ACCEPTED) from None
    return sources


def require_result(metrics: Any, file: Path, remedy: str) -> None:
    """Refuse a metrics.json that is not in the result schema with a `UserError`."""
    try:
        _check_result(metrics, "it")
    except _Wrong as wrong:
        raise UserError(str(file), allowed=f"is not whole ({wrong})", remedy=remedy) from None


def read_json(file: Path) -> Any:
    """Read a results file, or raise `UserError` where it cannot be read or is not JSON."""
    try:
        text = file.read_text(encoding="utf-8")
        for older, name in OLDER_NAMES.items():
            text = text.replace(f'"{older}"', f'"{name}"')
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
    _check(presets, dict, "presets")
    real = {name: one for name, one in content.items() if isinstance(one, dict) and "forecasts" in one}
    if not real and not presets:
        raise _Wrong("lacks forecasts and presets")
    return {**real, **presets}


def _check(value: Any, schema: Any, where: str) -> None:
    """Refuse a value that lacks a part of its schema, naming where."""
    if isinstance(schema, dict):
        _check(value, dict, where)
        lacking = [name for name in schema if name[-1] not in "?*" and name not in value]
        if lacking:
            raise _Wrong(f"{where} lacks {lacking[0]}")
        for key, one in value.items():
            if key in schema or one is not None:
                _check(one, schema.get(key, schema.get(f"{key}?", schema.get("*", object))), f"{where}.{key}")
    elif isinstance(schema, list | tuple):
        _check(value, list, where)
        if isinstance(schema, tuple) and len(value) != len(schema):
            raise _Wrong(f"{where} is not an interval")
        for i, one in enumerate(value):
            _check(one, schema[0], f"{where}.{i}")
    elif schema is datetime:
        _check(value, str, where)
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise _Wrong(f"{where} is a date that is none") from None
    elif schema is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong(f"{where} is not a number")
    elif not isinstance(value, schema):
        raise _Wrong(f"{where} is not {NAMED[schema]}")


def _check_result(result: Any, name: str) -> None:
    """Refuse what is not in the schema, and what could not be compared or drawn although it is."""
    _check(result, RESULT, name)
    if not result["protocol"]["folds"]:
        raise _Wrong(f"{name}.protocol.folds is empty")
    forecasts = result["forecasts"]
    if not Comparison({key: {"against": {}} for key in forecasts}).contenders:
        raise _Wrong(f"{name}.forecasts holds nothing to compare with the climatology")
    for method, scores in forecasts.items():
        if method != CLIMATOLOGY:
            _check(scores["against"], {CLIMATOLOGY: GAIN}, f"{name}.forecasts.{method}.against")
    for axis, points in (result.get("curves") or {}).items():
        drawn: dict[str, Any] = {key: {} for key in forecasts if any(key in point["forecasts"] for point in points)}
        for i, point in enumerate(points):
            _check(point["forecasts"], drawn, f"{name}.curves.{axis}.{i}.forecasts")
