"""Units of time in seconds and of length, each defined once, and durations as people write them: 30min, 2h, 7d."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["DAY_S", "HOUR_S", "KM_PER_DEGREE", "MINUTE_S", "WEEK_S", "parse_duration", "short_duration"]

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
WEEK_S = 604_800
KM_PER_DEGREE = 111.195  # of a sphere with the Earth's mean radius, 6371 km
SUFFIXES = {"min": MINUTE_S, "h": HOUR_S, "d": DAY_S}
LONGEST_S = 366 * DAY_S


def parse_duration(text: str) -> int:
    """Return the whole seconds of ``30min``, ``0.5h`` or ``7d``.

    Raises:
        ValueError: it is not a number with a unit, not a whole number of minutes, or not within 1 minute to a year.
    """
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(min|h|d)", text.strip(), re.ASCII)
    length_s = Fraction(match[1]) * SUFFIXES[match[2]] if match else 0
    if not MINUTE_S <= length_s <= LONGEST_S or length_s % MINUTE_S:
        raise ValueError(f"not a duration: {text!r}")
    return int(length_s)


def short_duration(length_s: int) -> str:
    """Return ``30min``, ``36h`` or ``7d``: in days from two on, where they are whole."""
    if length_s % DAY_S == 0 and length_s >= 2 * DAY_S:
        return f"{length_s // DAY_S}d"
    return f"{length_s / HOUR_S:g}h" if length_s >= HOUR_S else f"{length_s / MINUTE_S:g}min"
