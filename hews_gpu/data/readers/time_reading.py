"""How the time columns of one file are read: decided from the values of its first rows, never from a name alone.

Two questions cannot be answered row by row. Whether `21` in a column of times is 21:00 or 00:21: it is an hour where
the column holds whole hours only, since the minutes of a day reach 59. And whose clock is written: a zone such as
``Z`` or a number of milliseconds means UTC in some portals, while others write local time so. Where the city file does
not say, known rhythms do: least happens in the small hours. What stays open is refused, with what is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Bool, Int64
from hews_gpu.data.readers import dates
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S

__all__ = [
    "Moments",
    "TimeReading",
    "choose_reading",
    "hint_of_hours",
    "hold_hours",
    "hours_in_words",
    "hours_of",
    "quietest_hour",
    "read_moments",
    "usual_quiet_hours",
    "why_no_time",
]

Strings = Sequence[str]

LEAST_READ = 0.5  # share of the texts that are times; below, a known reason is told at once
QUIET_ROWS = 200  # fewer say nothing of a daily rhythm
QUIET_HOURS = 5
QUIET_SHARE = 0.7  # of the mean hour: the quietest hours of crime tables have 0.4, those of gunfire 0.15
# The middle of the quietest hours by the local clock. Measured: 5 in all crime of Baltimore and Washington (4 to 7 by
# category); 7 to 9 in the shootings and gunfire of Baltimore, Boston, Washington and Cincinnati.
QUIET_AT, QUIET_AT_OF_GUNS, QUIET_WITHIN = 5, 8, 2
GUNS = re.compile(r"HOMICIDE|MURDER|SHOOTING|SHOT|GUNFIRE", re.IGNORECASE)
CRIMES = re.compile(
    r"THEFT|LARCENY|BURGLARY|ASSAULT|BATTERY|ROBBERY|VANDALISM|CRIMINAL|FRAUD|NARCOTIC|DRUG", re.IGNORECASE
)
LEAST_OF_A_KIND = 0.5  # share of the rows that makes a table one of gunfire, or of crimes of all kinds
DEGREES_AN_HOUR = 15.0

MONTHS = re.compile(
    r"\s*(?:\d{4}[-/]\d{1,2}|\d{1,2}[-/]\d{4}|[A-Za-z]{3,9}[ -]\d{4}|\d{4}[ -][A-Za-z]{3,9})\s*", re.ASCII
)
TWO_DIGITS = re.compile(r"\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2}(?![\d/.-])|\s*\d{1,2}-[A-Za-z]{3}-\d{2}(?!\d)", re.ASCII)
NAME_OF_HOURS = re.compile(r"hour|(?:^|[^a-z])hr(?:[^a-z]|$)", re.IGNORECASE)
LEAST_HOURS = 5  # distinct ones; that so many times by the minute all lie before 00:25 is as good as impossible
YEARS = re.compile(r"\s*(?:19|20)\d{2}\s*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class TimeReading:
    """How the time columns of one file are read."""

    is_hours: bool = False
    """Digits alone are whole hours; else hours and minutes."""
    zone: str = ""
    """Whose clock is written, where no text says it: UTC or an IANA zone; empty: the city's own, whatever texts say."""
    city: str = ""
    """The city's zone."""

    def convert(self, seconds: Int64, ahead_s: Int64) -> Int64:
        """Return local wall-clock seconds of seconds as written; `ahead_s` as `dates.offset_s`, or NOT_A_TIME."""
        if not self.zone:
            return seconds
        is_stated = ahead_s != dates.NOT_A_TIME
        there = seconds != dates.NOT_A_TIME
        result = seconds.copy()
        for rows, zone in ((there & is_stated, "UTC"), (there & ~is_stated, self.zone)):
            if rows.any():
                result[rows] = dates.to_local(seconds[rows] - np.where(is_stated, ahead_s, 0)[rows], self.city, zone)
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Distinct texts of one column with date and time of day, as written. Shapes: D texts."""

    seconds: Int64  # [D] since 1970 by the clock that is written, NOT_A_TIME if it cannot be read
    ahead_s: Int64  # [D] of UTC, NOT_A_TIME if the text does not say
    is_number: Bool  # [D] seconds or milliseconds since 1970


def read_moments(texts: pa.Array, *, with_zones: bool) -> Moments:
    """Read texts with date and time of day, each once; zones only where they are asked for."""
    parts = pc.extract_regex(texts, pattern=dates.DATE_THEN_TIME)
    columns = []
    for i, parse in enumerate((dates.day_number, dates.second_of_day)):
        encoded = pc.fill_null(pc.struct_field(parts, i), "").dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        columns.append(dates.distinct_values(encoded.dictionary.to_pylist(), parse)[codes])
    seconds = dates.join_seconds(*columns)
    bad = np.flatnonzero(seconds == dates.NOT_A_TIME)
    is_number = np.zeros(len(seconds), bool)
    if len(bad):
        seconds[bad] = dates.distinct_values(texts.take(pa.array(bad)).to_pylist(), dates.from_epoch)
        is_number[bad] = seconds[bad] != dates.NOT_A_TIME
    ahead_s = np.full(len(seconds), dates.NOT_A_TIME)
    if with_zones:
        zoned = np.flatnonzero(pc.match_substring_regex(texts, dates.HAS_ZONE).to_numpy(zero_copy_only=False))
        ahead_s[zoned] = dates.distinct_values(texts.take(pa.array(zoned)).to_pylist(), dates.offset_s)
        ahead_s[is_number] = 0
    return Moments(seconds=seconds, ahead_s=ahead_s, is_number=is_number)


def choose_reading(
    file: str,
    texts: Mapping[str, Strings],
    *,
    times: str,
    city: str,
    clock_name: str = "",
    longitude_deg: float = 0.0,
) -> TimeReading:
    """Decide how the time columns of a file that no schema knows are read.

    Args:
        file: its name, for messages.
        texts: role -> first texts, of time, date and time_of_day.
        times: what the city file says: auto, local, utc or an IANA zone.
        city: the city's zone.
        clock_name: of the column of time_of_day.
        longitude_deg: of some of its rows.

    Raises:
        UserError: the texts are no times, for a reason that is known, they carry a zone and nobody says which, or too
            few of them are there to tell hours from minutes.
    """
    for role in ("time", "date"):
        if role in texts and (why := why_no_time(texts[role])):
            raise UserError(file, allowed=f"its {role} column {why}", remedy="Name another under [incidents.columns]")
    is_hours = hold_hours(texts.get("time_of_day", ()), clock_name)
    if is_hours is None:
        shown = ", ".join(sorted({text.strip() for text in texts["time_of_day"] if text.strip()}))
        allowed = (
            f"its column '{clock_name}' holds only {shown}: hours, or minutes after midnight, for all one can tell"
        )
        raise UserError(file, allowed=allowed, remedy="Write times as HH:MM, or call the column hour if it holds hours")
    zone = {"auto": "", "local": "", "utc": "UTC"}.get(times, times)
    single = pa.array([text for text in texts.get("time", texts.get("date", ())) if text.strip()], pa.string())
    moments = read_moments(single, with_zones=True)
    is_clock = moments.seconds % DAY_S != 0 if "time" not in texts else moments.seconds != dates.NOT_A_TIME
    marked = is_clock & (moments.ahead_s != dates.NOT_A_TIME)
    if times == "auto" and marked.any():
        if (moments.ahead_s[marked] != 0).any():  # an offset that is not that of UTC was meant
            zone = "UTC"
        else:
            raise _open_question(file, single, moments, marked, longitude_deg)
    return TimeReading(is_hours=is_hours, zone=zone, city=city)


def _open_question(file: str, texts: pa.Array, moments: Moments, marked: Bool, longitude_deg: float) -> UserError:
    """Return what to say of times that may be UTC or local."""
    example = texts[int(np.flatnonzero(marked)[0])].as_py()
    allowed = (
        f"must say by whose clock {file} gives its times, such as {example}: some portals mean UTC by it, "
        f"others write local time so{hours_in_words(hours_of(moments.seconds), longitude_deg)}"
    )
    return UserError("[incidents] times", allowed=allowed, remedy='Set times = "utc" or times = "local"')


def hold_hours(texts: Strings, name: str) -> bool | None:
    """Return whether a column of times of day holds whole hours: digits, one or two, never above 24, and no clock.

    None where it may hold hours or a few minutes after midnight: too few distinct numbers, and a name that is silent.
    """
    there = {text for text in texts if text.strip()}
    matches = [dates.HOURS.fullmatch(text) for text in there]
    hours = {int(match[1]) for match in matches if match}
    if not all(matches) or not hours or max(hours) > 24:
        return False
    return True if len(hours) >= LEAST_HOURS or NAME_OF_HOURS.search(name) else None if any(hours) else False


def why_no_time(texts: Strings) -> str:
    """Return why most texts are no times, as the end of a sentence; empty if they are, or if nothing is known."""
    there = [text for text in texts if text.strip()]
    kinds = {
        MONTHS: "holds months such as {}, and no days: nothing shorter than a month can be forecast from it",
        TWO_DIGITS: "holds years of two digits, such as {}, whose century is not known; write years with four",
        YEARS: "holds years such as {}, and no days",
    }
    for pattern, why in kinds.items():
        matches = [text.strip() for text in there if pattern.match(text) and dates.day_number(text) is None]
        if pattern is not TWO_DIGITS:
            matches = [text for text in matches if pattern.fullmatch(text)]
        if matches and len(matches) > LEAST_READ * len(there):
            return why.format(matches[0])
    return ""


def hours_of(seconds: Int64) -> Int64:
    """Return int64[24] the number of times in each hour of the day."""
    there = seconds[seconds != dates.NOT_A_TIME]
    return np.bincount(there % DAY_S // HOUR_S, minlength=24)


def quietest_hour(by_hour: Int64) -> int | None:
    """Return the middle of the quietest five hours; None where they do not stand out, or of too few rows."""
    if by_hour.sum() < QUIET_ROWS:
        return None
    around = [by_hour.take(range(hour - 2, hour + 3), mode="wrap").sum() for hour in range(24)]
    hour = int(np.argmin(around))
    return hour if around[hour] <= QUIET_SHARE * QUIET_HOURS * by_hour.mean() else None


def usual_quiet_hours(categories: Mapping[str, int]) -> tuple[int, ...]:
    """Return about when least happens by the local clock, of rows by category; several where the kind is not known."""
    total = sum(categories.values())
    guns, crimes = (
        sum(rows for name, rows in categories.items() if kind.search(name)) > LEAST_OF_A_KIND * total
        for kind in (GUNS, CRIMES)
    )
    return (QUIET_AT_OF_GUNS,) if guns else (QUIET_AT,) if crimes else (QUIET_AT, QUIET_AT_OF_GUNS)


def hint_of_hours(by_hour: Int64, longitude_deg: float, usual: Sequence[int]) -> str:
    """Return whose clock the hours seem to be by: "local", "utc", or empty where both or none would fit.

    Args:
        by_hour: rows in each hour as written.
        longitude_deg: of the city; the sun is an hour later every 15 degrees.
        usual: of `usual_quiet_hours`; all of them have to tell the same.
    """
    quiet = quietest_hour(by_hour)
    if quiet is None:
        return ""
    ahead = {"local": 0, "utc": round(longitude_deg / DEGREES_AN_HOUR)}
    fits = {
        tuple(clock for clock, hours in ahead.items() if abs((quiet + hours - hour + 12) % 24 - 12) <= QUIET_WITHIN)
        for hour in usual
    }
    fit = fits.pop()
    return fit[0] if len(fit) == 1 and not fits else ""


def hours_in_words(by_hour: Int64, longitude_deg: float) -> str:
    """Return which hours are the quietest as written, and by the sun if that is UTC; empty if none are."""
    quiet = quietest_hour(by_hour)
    if quiet is None:
        return ""
    there = quiet + round(longitude_deg / DEGREES_AN_HOUR)
    as_written, as_utc = (f"{(hour - 2) % 24}:00 to {(hour + 3) % 24}:00" for hour in (quiet, there))
    return f". Fewest rows lie at {as_written} as written, which is {as_utc} by the sun there if it is UTC"
