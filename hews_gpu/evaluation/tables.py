"""The table of scores that `hews evaluate`, `hews backtest` and `hews demo` print."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL

__all__ = ["skill_table"]

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
