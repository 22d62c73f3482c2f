"""Numbers, times and lists as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

YEAR_S = 365.2425 * DAY_S
SPACE = "\u00a0"  # one that no line breaks at, between a number and its unit
MISSING = "–"  # noqa: RUF001 - the dash that tables use for no value


def number(value: Any, digits: int = 0) -> str:
    """Return ``12,345`` or ``0.657``; a dash for none."""
    return MISSING if not _known(value) else f"{float(value):,.{digits}f}"


def signed(value: Any, digits: int = 4) -> str:
    """Return ``+0.0123`` or, with a real minus sign, ``−0.0123``; zero has no sign."""  # noqa: RUF002 - that very sign
    if not _known(value):
        return MISSING
    text = f"{float(value):+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")


def plain(value: Any, digits: int) -> str:
    """Return ``0.51`` or, with a real minus sign, a negative number."""
    return signed(value, digits).removeprefix("+")


def range_of(ends: Any, digits: int = 4, write: Callable[[Any, int], str] = signed) -> str:
    """Return ``+0.0012 to +0.0034``, or with `plain` without plus signs; nothing where there is no interval."""
    return " to ".join(write(end, digits) for end in ends or ())


def percent(value: Any, digits: int = 1) -> str:
    """Return a share as ``12.3 %``; one that is not zero never looks like zero."""
    if not _known(value):
        return MISSING
    share = float(value) * 100
    least = 10.0**-digits
    text = f"<{SPACE}{least:.{digits}f}" if 0 < share < least / 2 else f"{share:.{digits}f}"
    return f"{text}{SPACE}%"


def seconds(value: Any) -> str:
    """Return ``0.4 s``, ``12 s`` or ``3 min 20 s``."""
    if not _known(value):
        return MISSING
    whole = float(value)
    if whole < 10:
        return f"{whole:.1f} s"
    return f"{whole:.0f} s" if whole < 120 else f"{int(whole) // 60} min {int(whole) % 60} s"


def duration(length_s: int) -> str:
    """Return ``2 hours``, ``day`` (one of them, as in "the past day"), or ``none``."""
    if length_s == 0:
        return "none"
    for unit_s, unit in ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute")):
        if length_s % unit_s == 0:
            return unit if length_s == unit_s else f"{length_s // unit_s} {unit}s"
    return seconds(length_s)


def hours(length_s: float, digits: int = 1) -> str:
    """Return ``1.5 h``."""
    return f"{number(length_s / HOUR_S, digits)}{SPACE}h"


def moment(text: str) -> int:
    """Return the local seconds of an ISO date, with or without a time of day."""
    return int(np.datetime64(text, "s").astype(np.int64))


def day(time_s: int) -> str:
    """Return local seconds as ``3 January 2014``."""
    return f"{np.datetime64(int(time_s), 's').astype(object):%-d %B %Y}"


def span(begin_s: int, end_s: int) -> str:
    """Return a half-open stretch of local time by its first and last day."""
    return f"{day(begin_s)} to {day(end_s - 1)}"


def listed(words: Sequence[str]) -> str:
    """Return ``homicide, assault and shooting``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def category_list(names: Sequence[str]) -> str:
    """Return names of categories as ``homicide and shooting``."""
    return listed([name.lower() for name in names])


def _known(value: Any) -> bool:
    return value is not None and not isinstance(value, str) and math.isfinite(float(value))
