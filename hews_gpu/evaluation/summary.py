"""The table that `hews evaluate --preset` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.registry import FORECASTERS

__all__ = ["preset_table"]

HEADING = ["forecast", "AUC", "within hours", "Brier", "log skill, bits [95 %]", "oracle gap closed [95 %]", "slope"]


def preset_table(found: Mapping[str, Any]) -> list[list[str]]:
    """The test blocks' scores as rows of text, heading first: every baseline, the model, the oracle last.

    Args:
        found: what `evaluate_preset` returns.
    """
    titles = {**{name: entry.title for name, entry in FORECASTERS.items()}, "oracle": "oracle (best possible)"}
    return [HEADING, *(_row(titles.get(name, name), name, scores) for name, scores in found["forecasts"].items())]


def _row(title: str, name: str, scores: Mapping[str, Any]) -> list[str]:
    plain = [f"{scores[key]:.4f}" for key in ("auc", "auc_within_hours", "brier")]
    skill = "0" if name == CLIMATOLOGY else _with_interval(scores["against"][CLIMATOLOGY]["log_skill_bits"], "+.4f")
    slope = scores["calibration"]["slope"]
    closure = _with_interval(scores.get("oracle_gap_closure"), "+.2f")
    return [title, *plain, skill, closure, "" if slope is None else f"{slope:.2f}"]


def _with_interval(value: Mapping[str, Any] | None, form: str) -> str:
    """A value and its interval over one-week blocks; nothing where there is none."""
    if value is None:
        return ""
    low, high = value["one_week"]
    return f"{value['value']:{form}} [{low:{form}}, {high:{form}}]"
