"""The table that `hews audit` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["audit_table"]

HEADING = ["gate", "what was tested", "result", "figures"]


def audit_table(found: Mapping[str, Any]) -> list[list[str]]:
    """What `audit` returns as rows of text, heading first."""
    rows = [[one["gate"], one["tested"], one["result"], one["said"]] for one in found["findings"]]
    return [HEADING, *rows]
