"""One block of text rows to numbers and a verdict on each row: kept, or set aside for a reason.

`block_frame` turns text into numbers on the host, each distinct value once. `clean` is a pure function of one partition
and the city's rules: it never looks at another partition, so a row's fate does not depend on how the table is cut.
A row has the first reason of REASONS that applies.

Shapes: R rows of a block, D distinct values of a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Bool, Float64, Int16, Int64, UInt64, mix_bits
from hews_gpu.config import normal_category
from hews_gpu.data.backend import array_of, as_array_like, names_of
from hews_gpu.data.geometry.point_in_polygon import OUTSIDE, Areas, Engine, find_neighborhoods
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import Block, DictionaryColumn, hashes_of
from hews_gpu.data.readers.records import PROBLEMS
from hews_gpu.data.readers.schemas import TARGET
from hews_gpu.data.readers.time_reading import TimeReading, read_moments
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = [
    "NULL_CATEGORIES",
    "NUMBERS",
    "REASONS",
    "VERDICTS",
    "Rules",
    "block_frame",
    "clean",
    "is_null_time",
    "parse_numbers",
]

REASONS = (
    *PROBLEMS,
    "table has no coordinate columns",
    "unparsable time",
    "a time that stands for none",
    "no coordinates",
    "no neighborhood of that name",
    "outside the study area",
    "no category",
    "unknown category",
    "no time at which it became known",
    "unparsable end",
    "ends before it begins",
    "may have happened within more than a year",
)
NO_COLUMNS, OUT = len(PROBLEMS), REASONS.index("outside the study area")
NOWHERE = OUT - 1  # the last of the reasons of rows that say no place
NOT_NAMED, NO_SUCH_NAME = -1, -2  # instead of a neighborhood
NULL_DAY = -25_567  # 1900-01-01: what some databases write for no time, at whatever hour
EPOCH_S = range(-14 * HOUR_S, 14 * HOUR_S + 1, HOUR_S // 2)  # others write 0, the begin of 1970, in whatever zone
NULL_WORDS = r"\N NULL (NULL) <NULL> [NULL] {NULL} NONE (NONE) (BLANK) NAN NA N/A #N/A N.A. - -- --- . ?"
NULL_CATEGORIES = frozenset([*NULL_WORDS.split(), "NOT AVAILABLE", "NOT APPLICABLE"])
LONGEST_S = 366 * DAY_S  # of the span in which a row may have happened: more tells nothing, and is a typing error
NULL_ISLAND_DEG = 1e-3  # null coordinates come as 0 or as rounding noise such as 5.68e-14
PLAIN_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]{1,25})?$"  # for Arrow's parser, which rounds as Python's does
NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
HASH_SEEDS = (0x5EED0A, 0x5EED0B)  # two 64-bit hashes: a clash has odds of 1e-20 at 1e9 rows

NUMBERS = ["row_id", "line", "source", "problem", "time_s", "longitude", "latitude", "has_place", "category"]
NUMBERS += ["is_marked", "hash_a", "hash_b", "named", "known_s", "end_s"]
"""The columns of a block that `clean` and the sort need."""
VERDICTS = ("reason", "longitude", "latitude", "neighborhood_id", "is_nearest", "is_target")
"""The columns that `clean` adds, or fills in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What `clean` needs to know of a city."""

    areas: Areas
    tolerance_m: float
    targets: frozenset[str]
    """Target categories, normal spelling."""
    marks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column that marks targets -> what it says of them, normal spelling."""
    says_known: bool = False
    """Whether a column says when each row became known: one that says nothing is set aside."""
    known: frozenset[str] | None
    """The only categories to keep, normal spelling; None keeps all."""
    engine: Engine = "shapely"
    """What looks up the neighborhoods; the answers are the same."""
    names: Mapping[str, int] = field(default_factory=dict)
    """Neighborhood in normal spelling -> its number, for rows that name theirs."""
    inner: Float64 = field(default_factory=lambda: np.zeros((0, 2)))
    """[N, 2] a point inside each, where rows stand that only name theirs."""


def block_frame(
    block: Block,
    vocabulary: Mapping[str, str] | None = None,
    marks: Mapping[str, frozenset[str]] | None = None,
    reading: TimeReading | None = None,
    names: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Turn text columns into numbers, distinct values once.

    Args:
        block: rows of one file.
        vocabulary: category as the file spells it -> the name it is given.
        marks: see `Rules`.
        reading: how the file's times are read; by the city's own clock unless given.
        names: see `Rules`.

    Returns:
        row_id, line, source (number of the file), problem; time_s (int64, NOT_A_TIME if it cannot be read), longitude
        and latitude (float64, NaN if blank or no number), has_place (bool, whether the table says where at all), named
        (int16, number of the neighborhood that the row names, NOT_NAMED or NO_SUCH_NAME), known_s (int64, when it
        became known, NOT_A_TIME if nobody says), end_s (int64, until when it may have happened, time_s if nobody says,
        NOT_A_TIME if that cannot be read);
        category (normal spelling, in the words of the vocabulary) and raw_category (normal spelling only); is_marked
        (bool, whether a column marks the row as a target); hash_a and hash_b (uint64 over all texts that are read, for
        exact duplicates).
    """
    category, longitude, latitude = (block.text(role) for role in ("category", "longitude", "latitude"))
    raw = [normal_category(text) for text in category.texts]
    named = [(vocabulary or {}).get(name, name) for name in raw]
    is_marked = np.zeros(len(block), bool)
    for name, values in (marks or {}).items():
        column = block.text(f"{TARGET}{name}")
        is_marked |= np.array([normal_category(text) in values for text in column.texts], bool)[column.codes]
    hash_a, hash_b = _row_hashes(block)
    time_s = _seconds(block, reading or TimeReading())
    columns = {
        "row_id": block.row_id,
        "line": block.table["line"].to_numpy(),
        "source": np.full(len(block), block.file, np.int32),
        "problem": block.table["problem"].to_numpy(),
        "time_s": time_s,
        "end_s": _end_seconds(block, time_s, reading or TimeReading()),
        "longitude": parse_numbers(longitude.values)[longitude.codes],
        "latitude": parse_numbers(latitude.values)[latitude.codes],
        "has_place": np.full(len(block), {"longitude", "latitude"} <= {*block.texts} or "area" in block.texts),
        "named": _named(block.text("area"), names or {}),
        "known_s": _known_seconds(block, reading or TimeReading()),
        "category": pd.Categorical(named).take(category.codes),
        "raw_category": pd.Categorical(raw).take(category.codes),
        "is_marked": is_marked,
        "hash_a": hash_a,
        "hash_b": hash_b,
    }
    return pd.DataFrame(columns)


def _named(column: DictionaryColumn, names: Mapping[str, int]) -> Int16:
    """Return int16[R], the neighborhood that each row names."""
    texts = [normal_category(text) for text in column.texts]
    ids = [NOT_NAMED if text in NULL_CATEGORIES or not text else names.get(text, NO_SUCH_NAME) for text in texts]
    return np.array(ids, np.int16)[column.codes]


def _known_seconds(block: Block, reading: TimeReading) -> Int64:
    """Return int64[R] local seconds at which rows became known."""
    if "known" not in block.texts:
        return np.full(len(block), dates.NOT_A_TIME)
    column = block.text("known")
    moments = read_moments(column.values, with_zones=bool(reading.zone))
    return reading.convert(moments.seconds, moments.ahead_s)[column.codes]


def _end_seconds(block: Block, time_s: Int64, reading: TimeReading) -> Int64:
    """Return int64[R] local seconds until which rows may have happened; a day without a clock until its last minute."""
    if "end" not in block.texts:
        return time_s
    column = block.text("end")
    moments = read_moments(column.values, with_zones=bool(reading.zone))
    ends = reading.convert(moments.seconds, moments.ahead_s)
    days = dates.distinct_values(column.texts, dates.day_number)
    is_day = (ends == dates.NOT_A_TIME) & (days != dates.NOT_A_TIME)
    ends = np.where(is_day, np.where(is_day, days, 0) * DAY_S + DAY_S - MINUTE_S, ends)
    blank = np.array([not text.strip() or text.strip().upper() in NULL_CATEGORIES for text in column.texts], bool)
    return np.where(blank[column.codes], time_s, ends[column.codes])


def _seconds(block: Block, reading: TimeReading) -> Int64:
    """Return int64[R] local seconds of the column with date and time of day, or of the one or two with a part each."""
    if single := block.texts.get("time"):
        moments = read_moments(single.values, with_zones=bool(reading.zone))
        return reading.convert(moments.seconds, moments.ahead_s)[single.codes]
    day, has_clock = _days(block.text("date"), reading)
    if "time_of_day" not in block.texts:
        return dates.join_seconds(day, np.zeros_like(day))
    clock = block.text("time_of_day")
    parse = dates.hour_of_day if reading.is_hours else dates.second_of_day
    seconds = dates.join_seconds(day, dates.distinct_values(clock.texts, parse)[clock.codes])
    if not reading.zone:
        return seconds
    ahead_s = dates.distinct_values(clock.texts, dates.offset_s)[clock.codes]
    return np.where(has_clock, seconds, reading.convert(seconds, ahead_s))


def _days(date: DictionaryColumn, reading: TimeReading) -> tuple[Int64, Bool]:
    """Return int64[R] days since 1970, and bool[R] whether a text has a clock of its own, which tells only the day.

    Such a clock is midnight as another zone has it, or is repeated in a column of its own.
    """
    days = dates.distinct_values(date.texts, dates.day_number)
    others = np.flatnonzero(days == dates.NOT_A_TIME)
    has_clock = np.zeros(len(days), bool)
    if len(others):
        moments = read_moments(date.values.take(pa.array(others)), with_zones=bool(reading.zone))
        local = reading.convert(moments.seconds, moments.ahead_s)
        has_clock[others] = local != dates.NOT_A_TIME
        days[others] = np.where(has_clock[others], local // DAY_S, dates.NOT_A_TIME)
    return days[date.codes], has_clock[date.codes]


def parse_numbers(texts: pa.Array) -> Float64:
    """Return float64[D] of plain decimal or scientific notation; NaN for anything else, infinities included."""
    is_plain = pc.match_substring_regex(texts, PLAIN_NUMBER)
    cast = pc.cast(pc.if_else(is_plain, texts, pa.scalar(None, pa.string())), pa.float64())
    values = cast.to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero(~is_plain.to_numpy(zero_copy_only=False))
    values[others] = [
        float(text) if NUMBER.fullmatch(text) else np.nan for text in texts.take(pa.array(others)).to_pylist()
    ]
    return np.where(np.isfinite(values), values, np.nan)


def _row_hashes(block: Block) -> list[UInt64]:
    """Return two of uint64[R] over all texts: sums of hashes, which depend on the column's name, too."""
    totals = [np.zeros(len(block), np.uint64) for _ in HASH_SEEDS]
    for name, column in block.texts.items():
        of_name = hashes_of(pa.array([name]), HASH_SEEDS)
        for total, own, hashes in zip(totals, of_name, hashes_of(column.values, HASH_SEEDS), strict=True):
            total += mix_bits(hashes ^ own)[column.codes]
    return totals


def is_null_time(time_s: Any) -> Any:
    """Return which times [R], of NumPy or CuPy, are those that databases write for none."""
    is_null = (time_s >= EPOCH_S[0]) & (time_s <= EPOCH_S[-1]) & (time_s % EPOCH_S.step == 0)
    return is_null | (time_s // DAY_S == NULL_DAY)


def clean(frame: Any, rules: Rules) -> Any:
    """Judge each row of a partition: NUMBERS of `block_frame`, or more, of pandas or cuDF.

    Returns:
        The same rows with reason (uint8, index into REASONS; 0 keeps), neighborhood_id (int16), is_nearest and
        is_target (bool; of rows set aside too, so that lost targets can be counted). A row without coordinates that
        names its neighborhood stands at a point inside that.
    """
    longitude, latitude, problem = (array_of(frame[name]) for name in ("longitude", "latitude", "problem"))
    located = ~(np.isnan(longitude) | np.isnan(latitude))
    located &= (np.abs(longitude) > NULL_ISLAND_DEG) | (np.abs(latitude) > NULL_ISLAND_DEG)
    time_s = array_of(frame["time_s"])
    stands_for_none = is_null_time(time_s)
    legible = (problem == 0) & (time_s != dates.NOT_A_TIME)
    ids = np.full_like(problem, OUTSIDE, dtype=np.int16)
    is_nearest = np.zeros_like(legible)
    here = np.flatnonzero(located & legible & ~stands_for_none & (np.abs(longitude) <= 180) & (np.abs(latitude) <= 90))
    if len(here):
        ids[here], is_nearest[here] = find_neighborhoods(
            rules.areas, longitude[here], latitude[here], rules.tolerance_m, engine=rules.engine
        )
    named = array_of(frame["named"])
    by_name = ~located & (named >= 0)
    if by_name.any():
        inner = as_array_like(rules.inner, named)
        longitude, latitude = (np.where(by_name, inner[named, i], each) for i, each in enumerate((longitude, latitude)))
        ids, located = np.where(by_name, named, ids), located | by_name
    names, code = names_of(frame["category"]), array_of(frame["category"].cat.codes)

    def of_names(holds: Callable[[str], bool]) -> Any:
        return as_array_like(np.array([holds(name) for name in names], bool), code)[code]

    is_blank = of_names(lambda name: not name or (name in NULL_CATEGORIES and name not in rules.targets))
    is_unknown = of_names(lambda name: rules.known is not None and name not in rules.known)
    is_unnamed = ~located & (named == NO_SUCH_NAME)
    unplaced = [~located & ~is_unnamed, is_unnamed, ids == OUTSIDE]
    not_known = array_of(frame["known_s"]) == dates.NOT_A_TIME if rules.says_known else np.zeros_like(located)
    end_s = array_of(frame["end_s"])
    bad_end = [end_s == dates.NOT_A_TIME, end_s < time_s, end_s > time_s + LONGEST_S]
    verdicts = [~array_of(frame["has_place"]), ~legible, stands_for_none, *unplaced, is_blank, is_unknown, not_known]
    verdicts += bad_end
    reason = np.zeros_like(problem)
    for number, holds in reversed([*enumerate(verdicts, NO_COLUMNS)]):
        reason[holds] = number
    reason = np.where(problem > 0, problem, reason)
    is_target = of_names(lambda name: name in rules.targets) | array_of(frame["is_marked"])
    columns = dict(zip(VERDICTS, (reason, longitude, latitude, ids, is_nearest, is_target), strict=True))
    return frame.assign(**columns)
