"""The tables of scores that `hews evaluate`, `hews backtest`, `hews leadtime` and `hews demo` print."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

from hews_gpu.evaluation.judge import NOT_MODELS
from hews_gpu.evaluation.leadtime import SPOTS, foresees
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.units import short_duration

__all__ = ["lead_table", "skill_table"]

HEADING = [
    "forecast",
    "AUC",
    "in hours",
    "Brier",
    "log skill, bits",
    "over recent level",
    "gap closed",
    "slope",
]


def skill_table(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the test windows' scores as rows of text, heading first: every forecast, the oracle last.

    Forecasts go by the names that ``--model`` takes; a column that would be empty is left out.

    Args:
        metrics: what `evaluate` or `backtest` returns.
    """
    rows = [_row(name, scores) for name, scores in metrics["forecasts"].items()]
    filled = [any(column) for column in zip(*rows, strict=True)]
    return [list(compress(row, filled)) for row in (HEADING, *rows)]


def _row(name: str, scores: Mapping[str, Any]) -> list[str]:
    plain = [f"{scores[key]:.4f}" for key in ("auc", "auc_within_hours", "brier")]
    slope = scores["calibration"]["slope"]
    closure = _with_interval(scores.get("oracle_gap_closure"), "+.2f")
    skills = [_skill(name, scores, other) for other in (CLIMATOLOGY, LEVEL)]
    return [name, *plain, *skills, closure, "" if slope is None else f"{slope:.2f}"]


def _skill(name: str, scores: Mapping[str, Any], other: str) -> str:
    """Return the log skill over another forecast."""
    if name == other:
        return "0"
    return _with_interval(scores["against"].get(other, {}).get("log_skill_bits"), "+.4f")


def _with_interval(value: Mapping[str, Any] | None, form: str) -> str:
    """Return a value and its interval; nothing where there is none."""
    if value is None:
        return ""
    low, high = value["interval"]
    return f"{value['value']:{form}} [{low:{form}}, {high:{form}}]"


def lead_table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the skill and hit rates of every model at every lead and horizon as rows of text, heading first.

    Args:
        result: what `runs.leadtime.leadtime` returns.
    """
    spots = [f"hits in {share:.0%} of the area" for share in SPOTS]
    rows = [["windows", "lead", "forecast", "over recent level, bits", "over calendar, bits", *spots, "verdict"]]
    for point in result["points"]:
        for name, one in point["forecasts"].items():
            if name in (CLIMATOLOGY, "oracle"):
                continue
            places = point.get("places", {}).get("forecasts", {}).get(name, {"hot_spots": []})
            rates = [f"{spot['hit_rate']['value']:.1%}" for spot in places["hot_spots"]] or [""] * len(SPOTS)
            skills = [_skill(name, one, other) for other in (LEVEL, CLIMATOLOGY)]
            verdict = "foresight" if name not in NOT_MODELS and foresees(point, name) else ""
            lengths = [short_duration(point[key]) for key in ("horizon_s", "lead_s")]
            rows.append([*lengths, name, *skills, *rates, "too little" if point["too_little"] else verdict])
    return rows
