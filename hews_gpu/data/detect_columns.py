"""Which column of an unknown table is what, from the names and above all from the values of its first rows.

Each column is scored for each role: for coordinates by the share of numbers in range (and neither whole nor all one),
for the category as a text with few distinct values. When something happened may stand in one column, in two, or be
known by day only; of several the one with more clock counts: with more distinct times of the day. A table may say when
something happened, when it ended and when it was reported: the first counts, and the others only where it is missing.
Columns that describe a person are never looked at.

Shapes: R rows of the sample, D distinct texts of a column.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from hews_gpu.arrays import Bool, Int64
from hews_gpu.data.clean import parse_numbers
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import distinct
from hews_gpu.data.readers.schemas import TIME_ROLES, is_person_level, normal_name
from hews_gpu.data.readers.time_reading import Moments, hold_hours, read_moments, why_no_time
from hews_gpu.data.resolution import MOST
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = [
    "MOST_DEGREES",
    "Sample",
    "TimeColumn",
    "detect_columns",
    "numbers_among",
    "require_some_time",
    "times_of_day",
    "words_of",
]

LEAST = 0.5  # share of values of the right kind; below, a column is not proposed
NAMED = 1.0  # what a telling name is worth beside the share of fitting values
WORDS: Mapping[str, str] = {
    "time": r"date.?time|time.?stamp|occur|^date$|when|reported|\bdate\b",
    "date": r"date|day|\bdt\b",
    "time_of_day": r"time|hour|hhmm|\btm\b|\bhr\b",
    "longitude": r"\b(lon|lng|long|longitude|x)\b|longitude|lon$|lng$",
    "latitude": r"\b(lat|latitude|y)\b|latitude|lat$",
    "category": r"offen[cs]e|\bofns\b|primary.?type|category|crime.?type|\bcrm\b|description|charge|^type$|kind",
}
MOST_DEGREES = {"longitude": 180.0, "latitude": 90.0}
HAPPENED = re.compile(r"\bocc|occur|\bfr\b|\bfrom\b|\bfirst\b|\bbegin|\bstart|incident|offen[cs]e|crime|committed")
LATER = re.compile(
    r"\brptd?\b|report|\bto\b|updat|\bend(?:ed|ing)?\b|\blast\b|modif|creat|entered|entry|load|publi|clos|clear|arrest"
)
FROM, UNTIL = re.compile(r"\b(?:fr|from|start|begin|first)\b"), re.compile(r"\b(?:to|thru|end|last|until)\b")
ORDERED = 0.9  # of the rows, of two columns that are the begin and the end of a span
LATER_WORTH = 0.1  # of a column that says when something was reported or ended, beside one that says when it happened
CALENDAR = re.compile(r"date|time|month|year|\bday\b|occur|when")
HOURS = 24
MORE_CLOCK = 2  # times as many distinct times of the day as another column has are more clock
TELLING = ("HOMICIDE", "MURDER", "SHOOTING", "ROBBERY", "ASSAULT", "BURGLARY", "THEFT", "LARCENY", "ARSON")

Strings = Sequence[str]
Sample = Mapping[str, Strings]
"""Column name -> text of the first rows."""


def detect_columns(sample: Sample) -> dict[str, str]:
    """Return role -> column, each in one role at most; without roles for which no column seems right."""
    usable = {name: values for name, values in sample.items() if name.strip() and not is_person_level(name)}
    chosen: dict[str, str] = {}
    for role in MOST_DEGREES:
        chosen |= _best(role, usable, chosen)
    chosen |= _when({name: values for name, values in usable.items() if name not in chosen.values()})
    chosen |= _best("category", usable, chosen)
    return chosen | _end(
        {name: values for name, values in usable.items() if name not in chosen.values()}, usable, chosen
    )


def numbers_among(sample: Sample, taken: Collection[str]) -> list[str]:
    """Return the columns, but for those taken, that may hold what was measured: numbers, and no ids, years or hours."""
    result = []
    for name, values in sample.items():
        there = [value for value in values if value.strip()]
        numbers = parse_numbers(pa.array(there, pa.string()))
        good = numbers[np.isfinite(numbers)]
        is_id = len(np.unique(good)) == len(good) and bool((good % 1 == 0).all())
        is_number = len(good) > LEAST * len(there) and not is_id
        if name not in taken and is_number and not CALENDAR.search(words_of(name)):
            result.append(name)
    return result


def _best(role: str, usable: Sample, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the best column of a role among those that play none yet; none if no one will do."""
    scores = {name: _score(role, name, values) for name, values in usable.items() if name not in chosen.values()}
    best = max(scores, key=lambda name: scores[name], default=None)
    return {} if best is None or scores[best] <= 0 else {role: best}


def _score(role: str, name: str, values: Strings) -> float:
    """Return how well a column plays the role of a coordinate or the category; 0 for not at all."""
    there = [value for value in values if value.strip()]
    is_place = role in MOST_DEGREES
    if not there or (is_place and not is_named(role, name)):
        return 0.0
    share = _share_of_degrees(role, there) if is_place else _sound_like_crimes(there)
    return share * len(there) / len(values) + NAMED * is_named(role, name) if share >= LEAST else 0.0


def is_named(role: str, name: str) -> bool:
    """Return whether the name of a column tells a role."""
    return bool(re.search(WORDS[role], words_of(name)) or re.search(WORDS[role], normal_name(name)))


def words_of(name: str) -> str:
    """Return the words of a column name, without capitals and digits, one space apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[^a-z]+", " ", apart.casefold()).strip()


def _share_of_degrees(role: str, there: Strings) -> float:
    """Return the share of numbers that may be degrees; 0 if they are one place or mostly whole."""
    numbers = parse_numbers(pa.array(there, pa.string()))
    good = numbers[np.abs(numbers) <= MOST_DEGREES[role]]
    if len(there) > 1 and (len(np.unique(good)) < 2 or (good % 1 == 0).mean() > LEAST):
        return 0.0
    return len(good) / len(there)


def _sound_like_crimes(there: Strings) -> float:
    """Return the share of texts with letters, if there are few distinct ones; more if they sound like crimes."""
    different = {text.strip().upper() for text in there}
    if len(different) > max(2, min(200, len(there) // 2)) and len(there) > 5:
        return 0.0
    letters = sum(sum(c.isalpha() for c in text) >= 3 for text in there) / len(there)
    telling = sum(any(word in text for word in TELLING) for text in different) / len(different)
    return letters * (0.6 + telling)


@dataclass(frozen=True)
class TimeColumn:
    """A column as one that may say when something happened."""

    name: str
    values: Strings  # [R]

    @cached_property
    def is_there(self) -> Bool:
        """bool[R], whether a row has any text."""
        return np.array([bool(text.strip()) for text in self.values], bool)

    @cached_property
    def _distinct(self) -> tuple[pa.Array, Int64]:
        return distinct(pa.array(self.values, pa.string()))

    @cached_property
    def moments(self) -> Moments:
        """Date and time of day of each row, [R], as written: day first where the whole column is."""
        texts, codes = self._distinct
        if dates.is_day_first(dates.slash_dates(texts)):  # is proposed, to be refused then
            turned = [re.sub(r"^\s*(\d+)/(\d+)/", r"\2/\1/", text) for text in texts.to_pylist()]
            texts = pa.array(turned, pa.string())
        of = read_moments(texts, with_zones=True)
        days = dates.distinct_values(texts.to_pylist(), dates.day_number)
        is_day = (of.seconds == dates.NOT_A_TIME) & (days != dates.NOT_A_TIME)
        seconds = np.where(is_day, np.where(is_day, days, 0) * DAY_S, of.seconds)
        return Moments(seconds=seconds[codes], ahead_s=of.ahead_s[codes], is_number=of.is_number[codes])

    @cached_property
    def clock(self) -> Int64:
        """int64[R] second of the day of a column of times of day; NOT_A_TIME."""
        texts, codes = self._distinct
        parse = dates.hour_of_day if hold_hours(self.values, self.name) else dates.second_of_day
        return dates.distinct_values(texts.to_pylist(), parse)[codes]

    @property
    def _holds_minutes(self) -> bool:
        """Whether it holds numbers from 0 to 59, which last or follow something but are no time of the day."""
        return not (hold_hours(self.values, self.name) or _has_colons(self.values)) and bool(self.clock.max() < HOUR_S)

    @cached_property
    def words(self) -> str:
        """Of the name."""
        return words_of(self.name)

    @property
    def is_later(self) -> bool:
        """Whether it seems to say when something was reported, ended or changed, not when it happened."""
        return bool(LATER.search(self.words))

    @property
    def happened(self) -> bool:
        """Whether it seems to say when something happened."""
        return bool(HAPPENED.search(self.words)) and not self.is_later

    def score(self, role: str) -> float:
        """Return how well it plays the role of a date or a time of day; 0 for not at all."""
        parsed = self.clock if role == "time_of_day" else self.moments.seconds
        share = float((parsed != dates.NOT_A_TIME)[self.is_there].mean()) if self.is_there.any() else 0.0
        named = (
            is_named("date", self.name) or is_named("time", self.name) if role == "date" else is_named(role, self.name)
        )
        must_be_named = bool(self.moments.is_number.any()) or (role == "time_of_day" and not _has_colons(self.values))
        if share < LEAST or (must_be_named and not named):
            return 0.0
        if role == "time_of_day" and self._holds_minutes:
            return 0.0
        score = share * float(self.is_there.mean()) + NAMED * named
        return score * LATER_WORTH if self.is_later else score + NAMED * self.happened


def _has_colons(values: Strings) -> bool:
    return any(":" in text for text in values)


def times_of_day(seconds: Int64) -> int:
    """Return how many distinct minutes of the day some times have; 0 where most are at one, as where none is known.

    Two are as good as one: local midnights written in UTC are at an hour in summer and at the next one in winter.
    """
    minutes = seconds[seconds != dates.NOT_A_TIME] % DAY_S // MINUTE_S
    if not len(minutes):
        return 0
    rows = np.bincount(minutes)
    is_one = rows.max() > max(1.0, MOST * len(minutes))
    different = int((rows > 0).sum())
    return 0 if is_one or not minutes.any() or (different <= 2 and len(minutes) > 20) else different


def _when(usable: Sample) -> dict[str, str]:
    """Return the columns that say when: `time`, `date` and `time_of_day`, or `date` alone where no time is known."""
    columns = [TimeColumn(name, values) for name, values in usable.items()]
    dated = sorted((c for c in columns if c.score("date") > 0), key=lambda c: -c.score("date"))
    moments = [column for column in dated if times_of_day(column.moments.seconds)]
    moments.sort(key=lambda c: (not c.is_later, c.happened, times_of_day(c.moments.seconds) > HOURS), reverse=True)
    date = next((column for column in dated if not column.is_later), None) or next(iter(dated), None)
    clocks = [column for column in columns if column.score("time_of_day") > 0 and column not in dated]
    clock = _clock_of(date, clocks) if date else None
    if clock is not None and date is not None:
        single = moments[0] if moments else None
        if single is None or _beats(date, clock, single):
            return {"date": date.name, "time_of_day": clock.name}
    if moments:
        return {"time": moments[0].name}
    return {"date": date.name} if date else {}


def _end(free: Sample, usable: Sample, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the column until when a row may have happened: called as the time is, but for start and end, and later."""
    if "time" not in chosen or not FROM.search(words_of(chosen["time"])):
        return {}
    begin, apart = TimeColumn(chosen["time"], usable[chosen["time"]]), FROM.sub("", words_of(chosen["time"])).split()
    for name, values in free.items():
        if UNTIL.search(words_of(name)) and UNTIL.sub("", words_of(name)).split() == apart:
            there = np.stack([begin.moments.seconds, TimeColumn(name, values).moments.seconds])
            there = there[:, (there != dates.NOT_A_TIME).all(axis=0)]
            if there.shape[1] and (there[1] >= there[0]).mean() >= ORDERED and (there[1] > there[0]).any():
                return {"end": name}
    return {}


def _clock_of(date: TimeColumn, clocks: Sequence[TimeColumn]) -> TimeColumn | None:
    """Return the column of times of day that belongs to a date; none if they are all of something later."""
    fit = [column for column in clocks if times_of_day(column.clock) and column.is_later == date.is_later]

    def rank(column: TimeColumn) -> tuple[bool, bool, float]:
        likeness = difflib.SequenceMatcher(None, normal_name(date.name), normal_name(column.name)).ratio()
        return column.happened == date.happened, times_of_day(column.clock) > HOURS, likeness

    return max(fit, key=rank, default=None)


def _beats(date: TimeColumn, clock: TimeColumn, single: TimeColumn) -> bool:
    """Return whether a date and a time of day say better when it happened than one column with both."""
    standing = [(not column.is_later, column.happened) for column in (date, single)]
    if standing[0] != standing[1]:
        return standing[0] > standing[1]
    return times_of_day(clock.clock) >= MORE_CLOCK * times_of_day(single.moments.seconds)


def require_some_time(file: str, sample: Sample, roles: Mapping[str, str]) -> None:
    """Refuse a table of which no column says when, if the reason is known: it holds months only, say.

    Raises:
        UserError: names the column, with an example.
    """
    if set(TIME_ROLES) & set(roles):
        return
    for name, values in sample.items():
        if CALENDAR.search(words_of(name)) and (why := why_no_time(values)):
            remedy = "Ask the source for the date of each row"
            raise UserError(file, allowed=f"has no column with dates: '{name}' {why}", remedy=remedy)
