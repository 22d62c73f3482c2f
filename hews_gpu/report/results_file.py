"""The result schema: what JSON must hold to be shown, checked whole before anything is made of it.

One result is the metrics.json of a run or a backtest, or what ``hews backtest --preset NAME --json`` prints; a results
file of ``hews bench`` holds several, by source. What is more than the schema is left alone.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from hews_gpu.data.events import DOUBTS
from hews_gpu.errors import UserError
from hews_gpu.own_files import check, parse_json, read_text
from hews_gpu.report.significance import CLIMATOLOGY, Comparison

__all__ = ["read_results", "read_results_file", "require_result"]

ACCEPTED = (
    "Give RUN, a file of benchmarks/results/forecasts-*.json, or what 'hews backtest --preset NAME --json' printed"
)
OLDER_NAMES = {"neighbourhoods": "neighborhoods", "one_week": "interval"}
"""Keys of files from before December 2026."""
PAIR = (float, float)
# The notation is `own_files.check`'s.
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
HOT_SPOT = {
    **dict.fromkeys(("area_share", "hit_rate", "pai", "pei", "pei_star", "rri?"), float),
    "hit_rate_interval": PAIR,
    **dict.fromkeys([f"{name}_interval?" for name in ("pai", "pei", "pei_star", "rri")], PAIR),
}
APART = {
    **dict.fromkeys(("geography_bits", "foresight_bits"), float),
    **dict.fromkeys(("geography_bits_interval", "foresight_bits_interval"), PAIR),
}
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
        "forecasts": {"*": {**POINT, "apart?": APART, "against?": {"*": GAIN}, "auc": float, "hot_spots": [HOT_SPOT]}},
        "cells?": {"size_m": float, "cells": float, "forecasts": {"*": {"hot_spots": [HOT_SPOT]}}},
        "near_pairs?": [dict.fromkeys(("from_s", "to_s", "within_m", "pairs", "expected", "p"), float)],
    },
    **dict.fromkeys(("model?", "preset?", "city?"), str),
    f"{DOUBTS}?": [str],
    "parts?": {"*": {**dict.fromkeys(("windows", "positives", "log_loss_bits"), float), "auc?": float}},
}


def read_results_file(file: Path) -> Any:
    """Read a results file, or raise `UserError` where it cannot be read or is not JSON."""
    text = read_text(file, ACCEPTED)
    for older, name in OLDER_NAMES.items():
        text = text.replace(f'"{older}"', f'"{name}"')
    return parse_json(text, str(file), object, remedy=ACCEPTED)


def read_results(content: Any, file: Path) -> dict[str, dict[str, Any]]:
    """Return the sources of a results file by name: real tables first, then the generated cities.

    Raises:
        UserError: it is not a results file of a rolling evaluation.
    """
    check(content, {"presets?": dict, "preset?": str, "city?": str}, str(file), ACCEPTED)
    if "forecasts" in content:
        sources = {str(content.get("preset") or content.get("city") or "source"): content}
    else:
        real = {name: one for name, one in content.items() if isinstance(one, dict) and "forecasts" in one}
        sources = {**real, **(content.get("presets") or {})}
    if not sources:
        allowed = "is not a result of a rolling evaluation: it lacks forecasts and presets"
        raise UserError(str(file), allowed=allowed, remedy=ACCEPTED)
    for name, source in sources.items():
        require_result(source, file, ACCEPTED, "" if source is content else name)
    return sources


def require_result(result: Any, file: Path, remedy: str, way: str = "") -> None:
    """Refuse a result that is not in the schema, and one that could not be compared or drawn although it is.

    Raises:
        UserError: names the key; `way` leads to the result.
    """

    def need(value: Any, schema: Any, *keys: object) -> None:
        check(value, schema, str(file), remedy, ".".join(map(str, filter(None, (way, *keys)))))

    def refuse(key: str, allowed: str) -> NoReturn:
        raise UserError(f"{file}: {way}.{key}" if way else f"{file}: {key}", allowed=allowed, remedy=remedy)

    need(result, RESULT)
    if not result["protocol"]["folds"]:
        refuse("protocol.folds", "is empty")
    forecasts = result["forecasts"]
    if not Comparison({key: {"against": {}} for key in forecasts}).contenders:
        refuse("forecasts", "holds nothing to compare with the climatology")
    for method, scores in forecasts.items():
        if method != CLIMATOLOGY:
            need(scores["against"], {CLIMATOLOGY: GAIN}, "forecasts", method, "against")
    for axis, points in (result.get("curves") or {}).items():
        drawn: dict[str, Any] = {
            key: {} for key in forecasts if any(key in point["forecasts"] for point in points or ())
        }
        for i, point in enumerate(points or ()):
            need(point["forecasts"], drawn, "curves", axis, str(i), "forecasts")
