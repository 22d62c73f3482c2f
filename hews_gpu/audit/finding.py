"""What a gate found: plain data, for the table, for JSON and for the report page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["ALPHA", "Finding", "Result", "verdict_of"]

Result = Literal["pass", "warning", "fail"]

ALPHA = 0.001
"""How often a gate that rests on chance may raise a false alarm; shared evenly among the comparisons of a gate."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One gate on one thing."""

    gate: str
    """Its name; several findings may have the same."""
    tested: str
    """What was put to the test, in words."""
    result: Result
    said: str
    """The figures as one sentence."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """As JSON can hold them."""

    def plain(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return asdict(self)


def verdict_of(findings: Sequence[Finding]) -> Result:
    """The worst result."""
    results = {finding.result for finding in findings}
    return "fail" if "fail" in results else "warning" if "warning" in results else "pass"
