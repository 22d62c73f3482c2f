"""What a gate says: plain data, for the table, for JSON and for the report page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["ALPHA", "GateResult", "Verdict", "audit_table", "worst"]

Verdict = Literal["pass", "warning", "fail"]

ALPHA = 0.001
"""How often a gate that rests on chance may raise a false alarm; shared evenly among the comparisons of a gate."""


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate on one thing."""

    gate: str
    """Its name; several results may have the same."""
    tested: str
    """What was put to the test, in words."""
    verdict: Verdict
    summary: str
    """The figures as one sentence."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """As JSON can hold them."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts."""
    all_of_them = set(verdicts)
    return "fail" if "fail" in all_of_them else "warning" if "warning" in all_of_them else "pass"


def audit_table(audited: Mapping[str, Any]) -> list[list[str]]:
    """Return what `audit` returns as rows of text, heading first."""
    rows = [[one["gate"], one["tested"], one["verdict"], one["summary"]] for one in audited["results"]]
    return [["gate", "what was tested", "verdict", "figures"], *rows]
