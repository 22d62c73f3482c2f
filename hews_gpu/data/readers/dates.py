"""Dates and times of day as they stand in incident tables, to seconds of local wall-clock time.

One column holds many spellings (``23:30:00``, ``1:12``, the unpadded ``112`` for 01:12, ``2400`` for the next
midnight), and the odd ones often sit on exactly the rows that matter, so nothing here is strict about spelling; it is
strict about meaning. There are few distinct dates and times of day: each is parsed once, then mapped. A zone is
neither read nor applied: a day has 24 wall-clock hours.

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
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Int64
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = ["NOT_A_TIME", "day_number", "require_month_first", "second_of_day", "slash_dates"]

NOT_A_TIME = int(np.iinfo(np.int64).min)
EPOCH = date(1970, 1, 1).toordinal()
FIRST_YEAR, LAST_YEAR = 1900, 2100  # years outside are typing errors or null values such as 0001 and 9999
END_S = DAY_S * (date(LAST_YEAR + 1, 1, 1).toordinal() - EPOCH)

ZONE = r"(?:Z|[+-]\d{2}(?::?\d{2})?)"
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
MILLISECONDS = re.compile(r"\s*(\d{12,13})(?:\.0*)?\s*", re.ASCII)
EXPONENT = re.compile(r"\s*(\d(?:\.\d{0,15})?)[eE]\+?(1[12])\s*", re.ASCII)  # 1.391e+12, as floats are written
LEADING_SLASHES = re.compile(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)", re.ASCII)
LEAST_DAY_FIRST = 3
SLASH_DATE = 11  # characters that tell whether a text begins with MM/DD/YYYY
KNOWN: dict[Callable[[str], int | None], dict[str, int]] = {}
"""What `distinct_values` has parsed: the blocks of a table share most texts."""
MOST_KNOWN = 1 << 17  # texts of a kind: more than a day has seconds
LONGEST = 64  # characters of a text that is kept
LEAST_MILLISECONDS = 300_000_000_000  # July 1979; digits such as 201401312330 mean a date, and are all below

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


def from_milliseconds(text: str) -> int | None:
    """Return seconds since 1970 of milliseconds since then, exponent or not; None if before 1979 or no such number."""
    if match := MILLISECONDS.fullmatch(text):
        milliseconds = int(match[1])
    elif match := EXPONENT.fullmatch(text):
        milliseconds = int(Decimal(match[1]).scaleb(int(match[2])))
    else:
        return None
    if milliseconds < LEAST_MILLISECONDS:
        return None
    seconds = milliseconds // 1000
    return seconds if seconds < END_S else None


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
