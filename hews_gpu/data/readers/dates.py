"""Dates and times of day as they stand in incident tables, to seconds of local wall-clock time.

One column holds many spellings (``23:30:00``, ``1:12``, the unpadded ``112`` for 01:12, ``2400`` for the next
midnight), and the odd ones often sit on exactly the rows that matter, so nothing here is strict about spelling; it is
strict about meaning. There are few distinct dates and times of day: each is parsed once, then mapped. A zone is
not applied here: a day has 24 wall-clock hours. Whether the clock of a file is another than the city's is for
`time_reading` to know; `offset_s` and `to_local` then convert.

Dates with slashes are month first. A file whose slash dates are day first must not be read so, since every date up to
the 12th would get an invented month. Rule, over the distinct slash dates of a file: it is day first if at least
LEAST_DAY_FIRST of them, and a fifth of them, have a first field of 13 to 31, and those with such a second field are no
more than a twentieth as many. Three dates in five of a real table lie past the 12th, so that a month-first table with a
few bad rows is far from either bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Int64
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = [
    "NOT_A_TIME",
    "day_number",
    "distinct_values",
    "from_epoch",
    "hour_of_day",
    "is_day_first",
    "join_seconds",
    "offset_s",
    "require_month_first",
    "second_of_day",
    "slash_dates",
    "to_local",
]

NOT_A_TIME = int(np.iinfo(np.int64).min)
EPOCH = date(1970, 1, 1).toordinal()
FIRST_YEAR, LAST_YEAR = 1900, 2100  # years outside are typing errors or null values such as 0001 and 9999
END_S = DAY_S * (date(LAST_YEAR + 1, 1, 1).toordinal() - EPOCH)

ZONE = r"(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
# a date column may repeat the midnight that means "no time here"
MIDNIGHT = rf"(?:[T\s]+(?:0?0:00(?::00(?:\.0*)?)?|12:00(?::00)?\s*AM)\s*{ZONE}?)?"
AMERICAN = re.compile(rf"\s*(\d{{1,2}})/(\d{{1,2}})/(\d{{4}}){MIDNIGHT}\s*", re.ASCII)
ISO = re.compile(rf"\s*(\d{{4}})[-/](\d{{1,2}})[-/](\d{{1,2}}){MIDNIGHT}\s*", re.ASCII)
COLONS = re.compile(
    rf"\s*(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:\.\d*)?)?\s*(?:([AaPp])\.?[Mm]\.?)?\s*{ZONE}?\s*", re.ASCII
)
DIGITS = re.compile(r"\s*(\d{1,4})(?:\.0*)?\s*", re.ASCII)
# one column with both, and one with a zone; for the linear-time regular expressions of Arrow
DATE_THEN_TIME = r"^\s*(?P<date>[0-9/-]+)[Tt\s]\s*(?P<time>[0-9].*?)\s*$"
SPACE = r"[\s\v\x1c-\x1f\x85\p{Z}]"  # what Python takes for one, in the words of RE2
HAS_ZONE = rf":\d{{2}}(?:\.\d*)?{SPACE}*{ZONE}{SPACE}*$"
OFFSET = re.compile(r":\d{2}(?:\.\d*)?\s*(?:Z|UTC|GMT|([+-])(\d{2})(?::?(\d{2}))?)\s*", re.ASCII)
HOURS = re.compile(r"\s*(\d{1,2})(?:\.0*)?\s*", re.ASCII)
EPOCH_NUMBER = re.compile(r"\s*(\d{9,10}|\d{12,13})(?:\.0*)?\s*", re.ASCII)
EXPONENT = re.compile(r"\s*(\d(?:\.\d{0,15})?)[eE]\+?(09|9|1[12])\s*", re.ASCII)  # 1.391e+12, as floats are written
LEADING_SLASHES = re.compile(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)", re.ASCII)
LEAST_DAY_FIRST = 3
SLASH_DATE = 11  # characters that tell whether a text begins with MM/DD/YYYY
KNOWN: dict[Callable[[str], int | None], dict[str, int]] = {}
"""What `distinct_values` has parsed: the blocks of a table share most texts."""
MOST_KNOWN = 1 << 17  # texts of a kind: more than a day has seconds
LONGEST = 64  # characters of a text that is kept
# July 1979 to March 2030: digits such as 201401312330 or 2014013123 mean a date, and are none of either kind
LEAST_SECONDS, MOST_SECONDS, LEAST_MILLISECONDS = 300_000_000, 1_900_000_000, 300_000_000_000

SlashDate = tuple[int, int, int]
"""First field, second field and year of a date with slashes."""


def day_number(text: str) -> int | None:
    """Return days since 1970-01-01 of MM/DD/YYYY, YYYY-MM-DD or YYYY/MM/DD; None if it is no date of 1900 to 2100."""
    if match := AMERICAN.fullmatch(text):
        month, day, year = map(int, match.groups())
    elif match := ISO.fullmatch(text):
        year, month, day = map(int, match.groups())
    else:
        return None
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return date(year, month, day).toordinal() - EPOCH
    except ValueError:
        return None


def slash_dates(texts: pa.Array) -> set[SlashDate]:
    """Return the distinct dates with slashes and the year last that some texts begin with."""
    starts = pc.unique(pc.utf8_slice_codeunits(pc.utf8_ltrim_whitespace(texts), 0, SLASH_DATE)).to_pylist()
    matches = [match for match in map(LEADING_SLASHES.match, starts) if match]
    return {(int(match[1]), int(match[2]), int(match[3])) for match in matches}


def is_day_first(dates: Set[SlashDate]) -> bool:
    """Return whether the slash dates of a file are DD/MM/YYYY, by the rule above."""
    fields = [(a, b) for a, b, _ in dates if 1 <= a <= 31 and 1 <= b <= 31 and min(a, b) <= 12]
    day_first, month_first = sum(a > 12 for a, _ in fields), sum(b > 12 for _, b in fields)
    return day_first >= max(LEAST_DAY_FIRST, len(fields) / 5) and 20 * month_first <= day_first


def require_month_first(name: str, dates: Set[SlashDate]) -> None:
    """Refuse a file whose slash dates are DD/MM/YYYY: they would be misread."""
    if is_day_first(dates):
        first, second, year = max(dates, key=lambda date: (date[1] <= 12, date))
        example = f"{first:02d}/{second:02d}/{year}"
        allowed = f"its dates look day-first, such as {example}, but slashes are read month first"
        raise UserError(name, allowed=allowed, remedy="Write them as YYYY-MM-DD")


def second_of_day(text: str) -> int | None:
    """Return seconds since midnight, 0..86400, of HH:MM:SS, HH:MM or unpadded HHMM; None if it is no time of day.

    24:00:00 and 2400 are 86400, the next midnight. 12 AM is 0 and 12 PM is 43200. Parts of a second are dropped, and a
    zone is ignored.
    """
    if match := COLONS.fullmatch(text):
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if match[4]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if match[4] in "Pp" else 0)
    elif match := DIGITS.fullmatch(text):
        (hour, minute), second = divmod(int(match[1]), 100), 0
    else:
        return None
    seconds = HOUR_S * hour + MINUTE_S * minute + second
    return seconds if minute < 60 and second < 60 and seconds <= DAY_S else None


def hour_of_day(text: str) -> int | None:
    """Return seconds since midnight, 0..86400, of a whole hour from 0 to 24; of anything else, as `second_of_day`."""
    if match := HOURS.fullmatch(text):
        return HOUR_S * int(match[1]) if int(match[1]) <= 24 else None
    return None if DIGITS.fullmatch(text) else second_of_day(text)


def from_epoch(text: str) -> int | None:
    """Return seconds since 1970 of seconds or milliseconds since then, exponent or not; None for any other text."""
    if match := EPOCH_NUMBER.fullmatch(text):
        number = int(match[1])
    elif match := EXPONENT.fullmatch(text):
        number = int(Decimal(match[1]).scaleb(int(match[2])))
    else:
        return None
    if LEAST_SECONDS <= number < MOST_SECONDS:
        return number
    seconds = number // 1000
    return seconds if number >= LEAST_MILLISECONDS and seconds < END_S else None


def offset_s(text: str) -> int | None:
    """Return how far the clock of a text that ends in a zone is ahead of UTC; None if it ends in none."""
    match = OFFSET.search(text)
    if match is None or match.end() < len(text):
        return None
    ahead = HOUR_S * int(match[2] or 0) + MINUTE_S * int(match[3] or 0)
    return -ahead if match[1] == "-" else ahead


def to_local(seconds: Int64, city: str, zone: str = "UTC") -> Int64:
    """Return wall-clock seconds of a city of those of another zone; NOT_A_TIME stays.

    Of an hour that the zone's clocks show twice, the first is meant; one that they leave out counts from the hour
    before on.
    """
    there = seconds != NOT_A_TIME
    moments = pd.DatetimeIndex(seconds[there].astype("datetime64[s]"))
    if zone != "UTC":
        twice = np.ones(len(moments), bool)
        moments = moments.tz_localize(zone, ambiguous=twice, nonexistent=pd.Timedelta(HOUR_S, "s"))
    else:
        moments = moments.tz_localize("UTC")
    result = seconds.copy()
    result[there] = moments.tz_convert(city).tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    return result


def distinct_values(texts: Sequence[str], parse: Callable[[str], int | None]) -> Int64:
    """Return `parse` of each text, NOT_A_TIME where it gives None; the answers for texts that are not long are kept."""
    known = KNOWN.setdefault(parse, {})
    values: list[Any] = list(map(known.get, texts))
    for i in [i for i, value in enumerate(values) if value is None]:
        number = parse(texts[i])
        values[i] = NOT_A_TIME if number is None else number
        if len(texts[i]) <= LONGEST:
            known[texts[i]] = values[i]
    if len(known) > MOST_KNOWN:
        known.clear()
    return np.array(values, np.int64)


def join_seconds(days: Int64, seconds: Int64) -> Int64:
    """Return local wall-clock seconds since 1970-01-01T00:00; NOT_A_TIME where either part is."""
    bad = (days == NOT_A_TIME) | (seconds == NOT_A_TIME)
    return np.where(bad, NOT_A_TIME, np.where(bad, 0, days) * DAY_S + np.where(bad, 0, seconds))
