"""By whose clock the times of an unknown table are, as far as its first rows and its source tell.

What counts, in this order: a second column with the hour, which portals compute in local time; the hours in which least
happens; what the source states, which is often stated of local times as well. Without any of them, times that carry no
zone are local, and those that do are for a person to decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from hews_gpu.arrays import Int64
from hews_gpu.data.clean import parse_numbers
from hews_gpu.data.detect_columns import MOST_DEGREES, Sample, TimeColumn, times_of_day
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.fetched import fetch_record
from hews_gpu.data.readers.time_reading import (
    DEGREES_AN_HOUR,
    TimeReading,
    hint_of_hours,
    hold_hours,
    hours_in_words,
    hours_of,
    usual_quiet_hours,
)
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["Clock", "propose_clock", "zone_of"]

AGREE = 0.9  # share of the rows in which a second column must tell the same
LEAST_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Clock:
    """By whose clock the times of a table are."""

    times: str = "auto"
    """As `[incidents] times` has it; empty where nobody can tell."""
    reasons: tuple[str, ...] = ()
    """What speaks for it, as sentences."""
    reading: TimeReading = field(default_factory=TimeReading)

    def advice(self) -> list[str]:
        """Return what to tell a person."""
        if not self.times:
            return [*self.reasons, 'Say by whose clock the times are: [incidents] times = "utc" or "local".']
        return [*self.reasons, f'So times = "{self.times}" is proposed.'] if self.reasons else []


def propose_clock(file: Path, sample: Sample, roles: Mapping[str, str]) -> Clock:
    """Say by whose clock the times of a table seem to be.

    Args:
        file: the table.
        sample: its first rows.
        roles: which column plays which role.
    """
    clock_name = roles.get("time_of_day", "")
    is_hours = bool(hold_hours(sample.get(clock_name, ()), clock_name))
    name = roles.get("time") or roles.get("date")
    if name is None:
        return Clock(reading=TimeReading(is_hours=is_hours))
    longitude, latitude = (_middle(sample, roles, role) for role in ("longitude", "latitude"))
    times, reasons = _decide(sample, roles, TimeColumn(name, sample[name]), longitude, _stated(file))
    city = zone_of(longitude, latitude) or "UTC"
    reading = TimeReading(is_hours=is_hours, zone="UTC" if times == "utc" else "", city=city)
    return Clock(times=times, reasons=tuple(reasons), reading=reading)


def zone_of(longitude: float, latitude: float) -> str | None:
    """Return the IANA zone of a place; None at sea."""
    from tzfpy import get_tz

    zone = get_tz(longitude, latitude)
    return None if not zone or zone.startswith("Etc/") else zone


def _decide(
    sample: Sample, roles: Mapping[str, str], column: TimeColumn, longitude: float, stated: str
) -> tuple[str, list[str]]:
    """Return whose clock it is, empty if nobody can tell, and why."""
    moments, offset = column.moments, round(longitude / DEGREES_AN_HOUR)
    marked = moments.ahead_s[moments.ahead_s != dates.NOT_A_TIME]
    seconds = moments.seconds
    if "time" not in roles:
        if len(marked) and _are_midnights(seconds, offset):
            return "utc", [f"The dates in '{column.name}' are local midnights written in UTC."]
        clock = TimeColumn(roles.get("time_of_day", ""), sample.get(roles.get("time_of_day", ""), ())).clock
        by_hour, marked = hours_of(clock), marked[:0]
    else:
        by_hour = hours_of(seconds)
        if marked.any():
            return "utc", [f"The times in '{column.name}' carry the offset of their zone and are converted by it."]
    hint = hint_of_hours(by_hour, longitude, usual_quiet_hours(Counter(sample.get(roles.get("category", ""), ()))))
    reasons = []
    told, reason = _second_column(sample, roles, seconds, offset) if "time" in roles else ("", "")
    if told:
        reasons.append(reason)
    if hint == "utc" or (hint and len(marked)):
        fits = "UTC" if hint == "utc" else hint
        reasons.append(f"The hours fit if times are {fits}{hours_in_words(by_hour, longitude)}.")
    if (told, hint) == ("utc", "local"):
        return "", [*reasons, "These contradict each other."]
    hint = hint if hint == "utc" else told or hint  # a second column may be by the same clock as the first, whose ever
    if not len(marked):
        return hint or "local", reasons
    if stated:
        reasons.append(f"The source states the zone of its dates, {stated}: its numbers of milliseconds are UTC then.")
        hint = hint or "utc"
    unclear = f"The times in '{column.name}' are numbers or carry a zone: some sources mean UTC by it, some do not."
    return hint, reasons or [unclear]


def _hours_ahead(offset: int) -> list[list[int]]:
    """Return the hours, 0 to 23, that a city may be ahead of UTC in winter and in summer: by the sun, or about."""
    return [[ahead % 24, (ahead + 1) % 24] for ahead in range(offset - 2, offset + 2)]


def _are_midnights(seconds: Int64, offset: int) -> bool:
    """Return whether all times, if UTC, are midnight in the city, and not all are midnight as written."""
    there = seconds[seconds != dates.NOT_A_TIME] % DAY_S
    midnights = (np.array([-hours % 24 for hours in both]) * HOUR_S for both in _hours_ahead(offset))
    return bool(there.any()) and any(np.isin(there, both).all() for both in midnights)


def _second_column(sample: Sample, roles: Mapping[str, str], seconds: Int64, offset: int) -> tuple[str, str]:
    """Return whose clock it is by another column with the hour, and the reason; empty if there is none that agrees."""
    hour = np.where(seconds == dates.NOT_A_TIME, -1, seconds % DAY_S // HOUR_S)
    for name, values in sample.items():
        column = TimeColumn(name, values)
        is_clock = column.score("time_of_day") > 0 and times_of_day(column.clock)
        if name in roles.values() or column.is_later or not is_clock:
            continue
        both = (hour >= 0) & (column.clock != dates.NOT_A_TIME)
        if both.sum() < LEAST_ROWS:
            continue
        ahead = (column.clock[both] // HOUR_S - hour[both]) % 24
        if (ahead == 0).mean() >= AGREE:
            return "local", f"The hour in '{name}' is that of '{roles['time']}'."
        if any(np.isin(ahead, hours).mean() >= AGREE for hours in _hours_ahead(offset)):
            return "utc", f"The hour in '{name}' is the local one, and that of '{roles['time']}' is UTC."
    return "", ""


def _middle(sample: Sample, roles: Mapping[str, str], role: str) -> float:
    """Return the middle longitude or latitude of the rows; 0 if they have none."""
    degrees = parse_numbers(pa.array(sample.get(roles.get(role, ""), ()), pa.string()))
    degrees = degrees[(np.abs(degrees) <= MOST_DEGREES[role]) & (degrees != 0)]
    return float(np.median(degrees)) if len(degrees) else 0.0


def _stated(file: Path) -> str:
    """Return the zone that the record of `hews fetch` beside a table states; empty if there is none."""
    record = fetch_record(file.parent)
    return str(record["tables"].get("incidents", {}).get("time_zone") or "") if record else ""
