"""Numbers as people write them, and the verdict as one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "SPACE",
    "category_list",
    "day",
    "duration",
    "gain",
    "interval",
    "number",
    "percent",
    "seconds",
    "signed",
    "span",
    "verdict",
]

SPACE = "\u00a0"  # one that no line breaks at, between a number and its unit
MISSING = "–"  # noqa: RUF001 - the dash that tables use for no value


def number(value: Any, digits: int = 0) -> str:
    """``12,345`` or ``0.657``; a dash for none."""
    return MISSING if not _known(value) else f"{float(value):,.{digits}f}"


def signed(value: Any, digits: int = 4) -> str:
    """``+0.0123`` or, with a real minus sign, ``−0.0123``; zero has no sign."""  # noqa: RUF002 - that very sign
    if not _known(value):
        return MISSING
    text = f"{float(value):+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")


def percent(value: Any, digits: int = 1) -> str:
    """A share as ``12.3 %``; one that is not zero never looks like zero."""
    if not _known(value):
        return MISSING
    share = float(value) * 100
    least = 10.0**-digits
    said = f"<{SPACE}{least:.{digits}f}" if 0 < share < least / 2 else f"{share:.{digits}f}"
    return f"{said}{SPACE}%"


def seconds(value: Any) -> str:
    """``0.4 s``, ``12 s`` or ``3 min 20 s``."""
    if not _known(value):
        return MISSING
    whole = float(value)
    if whole < 10:
        return f"{whole:.1f} s"
    return f"{whole:.0f} s" if whole < 120 else f"{int(whole) // 60} min {int(whole) % 60} s"


def duration(length_s: int) -> str:
    """``2 hours``, ``day`` (one of them, as in "the past day"), or ``none``."""
    if length_s == 0:
        return "none"
    for unit_s, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if length_s % unit_s == 0:
            return unit if length_s == unit_s else f"{length_s // unit_s} {unit}s"
    return seconds(length_s)


def day(time_s: int) -> str:
    """Local seconds as ``3 January 2014``."""
    return f"{np.datetime64(int(time_s), 's').astype(object):%-d %B %Y}"


def span(begin_s: int, end_s: int) -> str:
    """A half-open stretch of local time by its first and last day."""
    return f"{day(begin_s)} to {day(end_s - 1)}"


def category_list(names: Sequence[str]) -> str:
    """``homicide and shooting``."""
    words = [name.lower() for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _known(value: Any) -> bool:
    return value is not None and not isinstance(value, str) and math.isfinite(float(value))


def interval(metrics: Mapping[str, Any], key: str = "log_skill_bits_interval") -> tuple[float, float] | None:
    """Low and high end of a 95 % interval of the metrics, or None."""
    found = metrics.get(key)
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(_known(value) for value in found):
        return None
    return float(found[0]), float(found[1])


def verdict(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """What came out, in one plain sentence, and its tone: good, flat or bad.

    The sentence is the one that the metrics carry, or else is made from the log skill and its interval.
    """
    skill, ends = float(metrics["log_skill_bits"]), interval(metrics)
    tone = "flat" if ends is None or ends[0] <= 0 <= ends[1] else ("good" if skill > 0 else "bad")
    given = metrics.get("verdict")
    if isinstance(given, str) and given.strip():
        return given.strip().replace(" %", f"{SPACE}%"), tone
    if ends is None:
        return f"{signed(skill)} bits per window against the calendar; how sure that is was not measured.", tone
    said = f"{signed(skill)} bits per window (95{SPACE}% interval {signed(ends[0])} to {signed(ends[1])})"
    if tone == "flat":
        return f"No significant skill: against the calendar alone the forecasts gain {said}, which includes zero.", tone
    if tone == "bad":
        return f"Worse than the calendar alone: the forecasts lose against it, {said}.", tone
    return f"The forecasts beat the calendar alone by {said}.", tone


def gain(metrics: Mapping[str, Any]) -> str:
    """How much a positive log skill is, beside what the climatology leaves open and what the oracle gains."""
    baselines = metrics.get("baselines", {})
    skill, left = float(metrics["log_skill_bits"]), baselines.get("climatology", {}).get("log_loss_bits")
    best = baselines.get("oracle", {}).get("log_skill_bits")
    if skill <= 0 or not _known(left) or not left:
        return ""
    said = f"That takes away {percent(skill / left)} of the surprise (log loss) that the climatology leaves"
    if _known(best) and best > 0:
        said += f"; the best possible forecast would take away {percent(best / left)}"
    return f"{said}."
