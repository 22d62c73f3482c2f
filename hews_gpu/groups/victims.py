"""The rows of a span as codes of a few columns, in an order that depends on what they say alone.

Each row is one victim of one crime: when, where, which category, and, where the table has them, inside or outside,
premise and weapon. Nothing says who: a table with a column that describes a person is refused. Levels of few rows are
joined, so that no figure made of them tells of less than `LEAST_GROUP` rows.

Shapes: R rows, N neighborhoods, L levels of a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import normal_category, parse_local_time
from hews_gpu.data.clean import NULL_CATEGORIES
from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import CHARTS, Prepared
from hews_gpu.data.readers.schemas import is_person_level
from hews_gpu.errors import UserError
from hews_gpu.progress import log
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["LEAST_GROUP", "OTHER", "PLACE", "Victims", "read_victims", "span_of"]

OF_CHARTS = {
    "inside or outside": ("Inside/Outside",),
    "premise": ("Premise", "PremiseType", "Location Description"),
    "weapon": ("Weapon",),
}
"""Column -> what it may be called in the table; the first that is there is read."""
PLACE = "neighborhood"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SEASONS = ("December to February", "March to May", "June to August", "September to November")
SPELLINGS = {"I": "INSIDE", "O": "OUTSIDE"}
BLANK, OTHER = "not stated", "other"
LEAST_GROUP = 20
"""Rows of a group, a level or a place of which anything is told."""
LEAST_SHARE = 0.005  # of a level; rarer ones are joined
LEAST_ROWS = 10 * LEAST_GROUP


@dataclass(frozen=True, kw_only=True)
class Victims:
    """Rows of a span, sorted by what they say: equal rows are next to each other, and any of them is as good."""

    row_id: Int64  # [R]
    time_s: Int64  # [R] local seconds
    is_target: Bool  # [R]
    codes: Mapping[str, Int64]  # column -> [R] index into its levels; of PLACE the row of the neighborhoods
    levels: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]
    """Column -> why it is not among the codes."""

    def __len__(self) -> int:
        return len(self.row_id)

    def take(self, rows: Any) -> Victims:
        """Return some of the rows, in this order."""
        codes = {name: codes[rows] for name, codes in self.codes.items()}
        own = {"row_id": self.row_id[rows], "time_s": self.time_s[rows], "is_target": self.is_target[rows]}
        return replace(self, codes=codes, **own)


def span_of(prepared: Prepared, begin: str | None, end: str | None) -> tuple[int, int]:
    """Return begin and end in local seconds: as given, else the last whole year that is covered and not locked.

    Raises:
        UserError: the end is not after the begin, or lies in the locked block.
    """
    coverage, splits = coverage_of_events(prepared.events), prepared.city.splits
    if not coverage.rows:
        raise UserError("data folder", prepared.folder, allowed="holds no row", remedy="Prepare a longer table")
    locked_s = splits.span_s("locked")[0] if splits.locked is not None else None
    open_s = coverage.end_s if locked_s is None else min(coverage.end_s, locked_s)
    begin_s = parse_local_time("--from", begin) if begin is not None else None
    end_s = parse_local_time("--to", end) if end is not None else None
    if begin_s is None and end_s is None:
        year = int(np.datetime64(open_s + DAY_S, "s").astype("datetime64[Y]").astype(np.int64))
        first, last = (int(np.datetime64(y, "Y").astype("datetime64[s]").astype(np.int64)) for y in (year - 1, year))
        begin_s, end_s = (first, last) if first >= coverage.begin_s - DAY_S else (coverage.begin_s, open_s)
    begin_s = coverage.begin_s if begin_s is None else begin_s
    end_s = open_s if end_s is None else end_s
    if locked_s is not None and end_s > locked_s:
        allowed = f"must not be after {_text(locked_s)}, where the locked block begins"
        raise UserError("--to", _text(end_s), allowed=allowed)
    if begin_s >= end_s:
        raise UserError("--from", _text(begin_s), allowed=f"must be before the end of the span, {_text(end_s)}")
    return begin_s, end_s


def read_victims(prepared: Prepared, begin_s: int, end_s: int) -> Victims:
    """Read the rows of a span of a PREPARED folder.

    Raises:
        UserError: there are too few, all are of one neighborhood, a column describes a person, or fewer than two
            columns vary.
    """
    columns = ["row_id", "time_s", "longitude", "latitude", "category", "neighborhood_id", "is_target", "is_overlap"]
    within = [("time_s", ">=", begin_s), ("time_s", "<", end_s), ("is_overlap", "=", False)]
    table = pq.read_table(prepared.folder / "incidents.parquet", columns=columns, filters=within)
    span = f"{_text(begin_s)} to {_text(end_s)}"
    if len(table) < LEAST_ROWS:
        coverage = coverage_of_events(prepared.events)
        remedy = f"The table covers {_text(coverage.begin_s)} to {_text(coverage.end_s)}"
        many = f"holds {len(table)} rows; at least {LEAST_ROWS} are needed"
        raise UserError("--from and --to", span, allowed=many, remedy=remedy)
    time_s, place = (table[name].to_numpy().astype(np.int64) for name in ("time_s", "neighborhood_id"))
    if len(np.unique(place)) < 2:
        allowed = f"has all rows of {span} in '{prepared.names[int(place[0])]}'; at least 2 neighborhoods are needed"
        raise UserError(str(prepared.folder), allowed=allowed, remedy="Give a longer span, or polygons of more areas")
    month = time_s.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12
    hours = tuple(f"{hour:02d}:00" for hour in range(24))
    columned: dict[str, tuple[Int64, tuple[str, ...]]] = {
        "category": _levels(table["category"].cast(pa.string())),
        "hour": (time_s // HOUR_S % 24, hours),
        "weekday": ((time_s // DAY_S + 3) % 7, WEEKDAYS),  # 1970-01-01 was a Thursday
        "season": ((month + 1) % 12 // 3, SEASONS),
        PLACE: (place, tuple(prepared.names)),
        **{name: _levels(texts) for name, texts in _chart_texts(prepared, table["row_id"]).items()},
    }
    left_out = {name: why for name, (codes, levels) in columned.items() if (why := _useless(codes, levels))}
    for name, why in left_out.items():
        log(f"{name}: {why}, so that it is left out")
        del columned[name]
    if len(columned) < 3:  # beside the place
        allowed = f"has no two columns that vary in {span}: {', '.join(f'{n} ({w})' for n, w in left_out.items())}"
        raise UserError(str(prepared.folder), allowed=allowed, remedy="Give a longer span")
    codes = {name: codes for name, (codes, _) in columned.items()}
    exact = [table[name].to_numpy() for name in ("latitude", "longitude")]
    order = np.lexsort([*reversed(codes.values()), *exact, time_s])
    victims = Victims(
        row_id=table["row_id"].to_numpy(),
        time_s=time_s,
        is_target=table["is_target"].to_numpy(),
        codes=codes,
        levels={name: levels for name, (_, levels) in columned.items()},
        left_out=left_out,
    )
    return victims.take(order)


def _chart_texts(prepared: Prepared, row_id: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return the texts that are kept for charts alone, by column, for some rows."""
    path = prepared.folder / CHARTS
    if not path.is_file():
        return {}
    names = pq.read_schema(path).names
    if persons := [name for name in names if is_person_level(name)]:
        allowed = f"has a column that describes a person ('{persons[0]}'): who was harmed is no matter of this job"
        raise UserError(str(path), allowed=allowed, remedy="Prepare the table anew without it")
    known = {name: next((one for one in called if one in names), None) for name, called in OF_CHARTS.items()}
    chosen = {name: column for name, column in known.items() if column is not None}
    charts = pq.read_table(path, columns=["row_id", *chosen.values()])
    at = pc.index_in(row_id, charts["row_id"])
    return {name: charts[column].take(at) for name, column in chosen.items()}


def _levels(texts: pa.ChunkedArray) -> tuple[Int64, tuple[str, ...]]:
    """Return codes [R] and levels [L] of a column of text, sorted by name; rare ones are joined, blanks are one."""
    coded = pc.fill_null(texts, "").combine_chunks().dictionary_encode()
    words = [normal_category(text) for text in coded.dictionary.to_pylist()]
    words = [BLANK if not word or word in NULL_CATEGORIES else SPELLINGS.get(word, word) for word in words]
    rows: dict[str, int] = {}
    for word, count in zip(words, np.bincount(coded.indices.to_numpy(), minlength=len(words)).tolist(), strict=True):
        rows[word] = rows.get(word, 0) + count
    least = max(LEAST_GROUP, LEAST_SHARE * len(texts))
    kept = [word if word == BLANK or rows[word] >= least else OTHER for word in words]
    levels = tuple(sorted(set(kept)))
    of = np.array([levels.index(word) for word in kept], np.int64)
    return of[coded.indices.to_numpy()], levels


def _useless(codes: Int64, levels: tuple[str, ...]) -> str:
    """Return why a column tells nothing; an empty text where it does."""
    there = np.unique(codes)
    if len(there) > 1:
        return ""
    return "all are blank" if levels[there[0]] == BLANK else f"all are '{levels[there[0]]}'"


def _text(local_s: int) -> str:
    return str(np.datetime64(local_s, "s"))[:16]
