"""One block of text rows to numbers and a verdict on each row: kept, or set aside for a reason.

`block_frame` turns text into numbers on the host, each distinct value once. `clean` is a pure function of one partition
and the city's rules: it never looks at another partition, so a row's fate does not depend on how the table is cut.
A row has the first reason of REASONS that applies.

Shapes: R rows of a block, D distinct values of a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from hews_gpu.config import normal_category
from hews_gpu.data import times
from hews_gpu.data.backend import array_of, as_array_like, names_of
from hews_gpu.data.placing import OUTSIDE, Areas, Engine, place
from hews_gpu.data.records import PROBLEMS
from hews_gpu.data.rows import TEXT

__all__ = ["CHART", "NUMBERS", "REASONS", "Rules", "block_frame", "clean"]

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
CHART = "chart: "  # prefix of charts-only columns inside the pipeline, so that they cannot pass for anything else
NULL_ISLAND_DEG = 1e-3  # null coordinates come as 0 or as rounding noise such as 5.68e-14
NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
HASH_KEYS = ("hews duplicate a", "hews duplicate b")  # two keyed 64-bit hashes: a clash has odds of 1e-20 at 1e9 rows

NUMBERS = ["row_id", "line", "source", "problem", "time_s", "longitude", "latitude", "has_place", "category"]
NUMBERS += ["hash_a", "hash_b"]
"""The columns of a block that `clean` and the sort need; the others are text."""

Strings = list[str]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
    """What looks up the neighbourhoods; the answers are the same."""


def block_frame(table: pa.Table, charts: Sequence[str], vocabulary: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Text columns to numbers, distinct values once.

    Args:
        table: rows of one source: source, row_id, line and problem, then the texts.
        charts: charts-only columns.
        vocabulary: category as the source spells it -> the name it is given.

    Returns:
        row_id, line, source, problem; time_s (int64, NOT_A_TIME if it cannot be read), longitude and latitude
        (float64, NaN if blank or no number), has_place (bool, whether the table has columns for them); category
        (normal spelling, in the words of the vocabulary) and raw_category (normal spelling only); hash_a and hash_b
        (uint64 over all texts that are read, for exact duplicates); the texts date_text, time_text, longitude_text,
        latitude_text, category_text and the `charts` with the prefix CHART.
    """
    texts = {name: _dictionary(table, name) for name in table.column_names[4:]}
    empty = (pa.array([""]), np.zeros(len(table), np.int64))
    single = texts.get("time", empty)
    date, time = (_split(single)) if "time" in texts else (texts.get("date", empty), texts.get("time_of_day", empty))
    shown = {"date_text": texts.get("date", empty), "time_text": single if "time" in texts else time}
    shown |= {f"{role}_text": texts.get(role, empty) for role in ("longitude", "latitude", "category")}
    shown |= {CHART + name: texts.get(name, empty) for name in charts}
    hashes = [_row_hash(texts, len(table), key) for key in HASH_KEYS]
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in ("row_id", "line", "source", "problem")}
    days = times.distinct_values(date[0].to_pylist(), times.day_number)[date[1]]
    seconds = times.join_seconds(days, times.distinct_values(time[0].to_pylist(), times.second_of_day)[time[1]])
    if "time" in texts:
        stamps = times.distinct_values(single[0].to_pylist(), times.from_milliseconds)[single[1]]
        seconds = np.where(seconds == times.NOT_A_TIME, stamps, seconds)
    columns["time_s"] = seconds
    for role in ("longitude", "latitude"):
        values, codes = texts.get(role, empty)
        columns[role] = parse_numbers(values.to_pylist())[codes]
    columns["has_place"] = np.full(len(table), "longitude" in texts and "latitude" in texts)
    columns |= _categories(*texts.get("category", empty), vocabulary or {})
    columns |= {"hash_a": hashes[0], "hash_b": hashes[1]}
    columns |= {name: pd.Categorical.from_codes(codes, values.to_pylist()) for name, (values, codes) in shown.items()}
    return pd.DataFrame(columns)


Encoded = tuple[pa.Array, Codes]  # distinct texts [D], index into them [R]


def _dictionary(table: pa.Table, name: str) -> Encoded:
    """A text column as distinct values and codes; null becomes the empty text."""
    column = table[name].combine_chunks() if len(table) else pa.array([], TEXT)
    codes = column.indices.fill_null(-1).to_numpy().astype(np.int64)
    values = column.dictionary
    if (codes < 0).any():
        values = values.filter(pc.not_equal(values, ""))
        moved = pc.index_in(column.dictionary, values).fill_null(len(values)).to_numpy().astype(np.int64)
        codes = np.append(moved, len(values))[codes]
        values = pa.concat_arrays([values, pa.array([""])])
    return values, codes


def _split(column: Encoded) -> tuple[Encoded, Encoded]:
    """A column with date and time of day as two; both empty where there is no time of day."""
    values, codes = column
    parts = pc.extract_regex(values, pattern=times.DATE_THEN_TIME)
    halves = [pc.fill_null(pc.struct_field(parts, i), "").dictionary_encode() for i in (0, 1)]
    date, time = ((half.dictionary, half.indices.to_numpy().astype(np.int64)[codes]) for half in halves)
    return date, time


def parse_numbers(texts: Strings) -> Floats:
    """float64[D] of plain decimal or scientific notation; NaN for anything else, infinities included."""
    values = np.array([float(text) if NUMBER.fullmatch(text) else np.nan for text in texts], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _categories(values: pa.Array, codes: Codes, vocabulary: Mapping[str, str]) -> dict[str, pd.Categorical]:
    raw = [normal_category(text) for text in values.to_pylist()]
    named = {"category": [vocabulary.get(name, name) for name in raw], "raw_category": raw}
    return {column: _categorical(names, codes) for column, names in named.items()}


def _categorical(texts: Strings, codes: Codes) -> pd.Categorical:
    names = sorted(set(texts))
    position = {name: i for i, name in enumerate(names)}
    return pd.Categorical.from_codes(np.array([position[name] for name in texts], np.int64)[codes], names)


def _row_hash(texts: dict[str, Encoded], rows: int, key: str) -> npt.NDArray[np.uint64]:
    """uint64[R] over the texts of all columns; equal only for rows with equal texts in every column, order included."""
    total = np.zeros(rows, np.uint64)
    for name in sorted(texts):
        values, codes = texts[name]
        distinct = hash_array(np.array([f"{name}={text}" for text in values.to_pylist()], object), hash_key=key)
        total = _mix(total ^ distinct[codes])
    return total


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of x moves half of the result's bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def clean(frame: Any, rules: Rules) -> Any:
    """Judge each row of a partition.

    Args:
        frame: NUMBERS of `block_frame`, or more, of pandas or cuDF.
        rules: the city's.

    Returns:
        The same rows with reason (uint8, index into REASONS; 0 keeps), neighborhood_id (int16), is_nearest and
        is_target (bool; of rows set aside too, so that lost targets can be counted).
    """
    longitude, latitude, problem = (array_of(frame[name]) for name in ("longitude", "latitude", "problem"))
    located = ~(np.isnan(longitude) | np.isnan(latitude))
    located &= (np.abs(longitude) > NULL_ISLAND_DEG) | (np.abs(latitude) > NULL_ISLAND_DEG)
    legible = (problem == 0) & (array_of(frame["time_s"]) != times.NOT_A_TIME)
    ids = np.full_like(problem, OUTSIDE, dtype=np.int16)
    is_nearest = np.zeros_like(legible)
    here = np.flatnonzero(located & legible & (np.abs(longitude) <= 180) & (np.abs(latitude) <= 90))
    if len(here):
        found = place(rules.areas, longitude[here], latitude[here], rules.tolerance_m, engine=rules.engine)
        ids[here], is_nearest[here] = found
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
