"""One block of text rows to numbers and a verdict on each row: kept, or set aside for a reason.

`block_frame` turns text into numbers on the host, each distinct value once. `clean` is a pure function of one partition
and the city's rules: it never looks at another partition, so a row's fate does not depend on how the table is cut.
A row has the first reason of REASONS that applies.

Shapes: R rows of a block, D distinct values of a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Float64, Int64, UInt64, mix_bits
from hews_gpu.config import normal_category
from hews_gpu.data.backend import array_of, as_array_like, names_of
from hews_gpu.data.geometry.point_in_polygon import OUTSIDE, Areas, Engine, find_neighborhoods
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import Block, DictionaryColumn, distinct, hashes_of
from hews_gpu.data.readers.records import PROBLEMS

__all__ = ["NUMBERS", "REASONS", "VERDICTS", "Rules", "block_frame", "clean", "parse_numbers"]

REASONS = (
    *PROBLEMS,
    "table has no coordinate columns",
    "unparsable time",
    "no coordinates",
    "outside the study area",
    "no category",
    "unknown category",
)
NO_COLUMNS, BAD_TIME, NOWHERE, OUT, NO_CATEGORY, UNKNOWN = range(len(PROBLEMS), len(REASONS))
NULL_ISLAND_DEG = 1e-3  # null coordinates come as 0 or as rounding noise such as 5.68e-14
PLAIN_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]{1,25})?$"  # for Arrow's parser, which rounds as Python's does
NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
HASH_SEEDS = (0x5EED0A, 0x5EED0B)  # two 64-bit hashes: a clash has odds of 1e-20 at 1e9 rows

NUMBERS = ["row_id", "line", "source", "problem", "time_s", "longitude", "latitude", "has_place", "category"]
NUMBERS += ["hash_a", "hash_b"]
"""The columns of a block that `clean` and the sort need."""
VERDICTS = ("reason", "neighborhood_id", "is_nearest", "is_target")
"""The columns that `clean` adds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What `clean` needs to know of a city."""

    areas: Areas
    tolerance_m: float
    targets: frozenset[str]
    """Target categories, normal spelling."""
    known: frozenset[str] | None
    """The only categories to keep, normal spelling; None keeps all."""
    engine: Engine = "shapely"
    """What looks up the neighborhoods; the answers are the same."""


def block_frame(block: Block, vocabulary: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Turn text columns into numbers, distinct values once; the vocabulary says which categories are renamed.

    Returns:
        row_id, line, source (number of the file), problem; time_s (int64, NOT_A_TIME if it cannot be read), longitude
        and latitude (float64, NaN if blank or no number), has_place (bool, whether the table has columns for them);
        category (normal spelling, in the words of the vocabulary) and raw_category (normal spelling only); hash_a and
        hash_b (uint64 over all texts that are read, for exact duplicates).
    """
    category, longitude, latitude = (block.text(role) for role in ("category", "longitude", "latitude"))
    raw = [normal_category(text) for text in category.texts]
    named = [(vocabulary or {}).get(name, name) for name in raw]
    hash_a, hash_b = _row_hashes(block)
    columns = {
        "row_id": block.row_id,
        "line": block.table["line"].to_numpy(),
        "source": np.full(len(block), block.file, np.int32),
        "problem": block.table["problem"].to_numpy(),
        "time_s": _seconds(block),
        "longitude": parse_numbers(longitude.values)[longitude.codes],
        "latitude": parse_numbers(latitude.values)[latitude.codes],
        "has_place": np.full(len(block), "longitude" in block.texts and "latitude" in block.texts),
        "category": pd.Categorical(named).take(category.codes),
        "raw_category": pd.Categorical(raw).take(category.codes),
        "hash_a": hash_a,
        "hash_b": hash_b,
    }
    return pd.DataFrame(columns)


def _seconds(block: Block) -> Int64:
    """Return int64[R] of the columns with date and time of day, or of the one with both."""
    single = block.texts.get("time")
    date, clock = _split(single) if single else (block.text("date"), block.text("time_of_day"))
    days = dates.distinct_values(date.texts, dates.day_number)[date.codes]
    seconds = dates.join_seconds(days, dates.distinct_values(clock.texts, dates.second_of_day)[clock.codes])
    bad = np.flatnonzero(seconds == dates.NOT_A_TIME)
    if single and len(bad):
        of, codes = np.unique(single.codes[bad], return_inverse=True)
        texts = single.values.take(pa.array(of)).to_pylist()
        seconds[bad] = dates.distinct_values(texts, dates.from_milliseconds)[codes]
    return seconds


def _split(column: DictionaryColumn) -> tuple[DictionaryColumn, DictionaryColumn]:
    """Split a column with date and time of day into two; both are empty where there is no time of day."""
    parts = pc.extract_regex(column.values, pattern=dates.DATE_THEN_TIME)
    halves = (distinct(pc.fill_null(pc.struct_field(parts, i), "")) for i in (0, 1))
    date, clock = (DictionaryColumn(values, codes[column.codes]) for values, codes in halves)
    return date, clock


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


def clean(frame: Any, rules: Rules) -> Any:
    """Judge each row of a partition: NUMBERS of `block_frame`, or more, of pandas or cuDF.

    Returns:
        The same rows with reason (uint8, index into REASONS; 0 keeps), neighborhood_id (int16), is_nearest and
        is_target (bool; of rows set aside too, so that lost targets can be counted).
    """
    longitude, latitude, problem = (array_of(frame[name]) for name in ("longitude", "latitude", "problem"))
    located = ~(np.isnan(longitude) | np.isnan(latitude))
    located &= (np.abs(longitude) > NULL_ISLAND_DEG) | (np.abs(latitude) > NULL_ISLAND_DEG)
    legible = (problem == 0) & (array_of(frame["time_s"]) != dates.NOT_A_TIME)
    ids = np.full_like(problem, OUTSIDE, dtype=np.int16)
    is_nearest = np.zeros_like(legible)
    here = np.flatnonzero(located & legible & (np.abs(longitude) <= 180) & (np.abs(latitude) <= 90))
    if len(here):
        ids[here], is_nearest[here] = find_neighborhoods(
            rules.areas, longitude[here], latitude[here], rules.tolerance_m, engine=rules.engine
        )
    names, code = names_of(frame["category"]), array_of(frame["category"].cat.codes)

    def of_names(holds: Callable[[str], bool]) -> Any:
        return as_array_like(np.array([holds(name) for name in names], bool), code)[code]

    is_blank = of_names(lambda name: not name)
    is_unknown = of_names(lambda name: rules.known is not None and name not in rules.known)
    verdicts = [~array_of(frame["has_place"]), ~legible, ~located, ids == OUTSIDE, is_blank, is_unknown]
    reason = np.zeros_like(problem)
    for number, holds in reversed([*enumerate(verdicts, NO_COLUMNS)]):
        reason[holds] = number
    reason = np.where(problem > 0, problem, reason)
    is_target = of_names(lambda name: name in rules.targets)
    return frame.assign(reason=reason, neighborhood_id=ids, is_nearest=is_nearest, is_target=is_target)
