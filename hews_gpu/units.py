"""Units of time in seconds, each defined once."""

from __future__ import annotations

__all__ = ["DAY_S", "HOUR_S", "MINUTE_S", "WEEK_S"]

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
WEEK_S = 604_800
