"""What a table was like, as counts of a block or of a stretch of time that add up to counts of the whole.

A tally is a mergeable state: `+=` adds that of other rows, so that no count depends on how the table was cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hews_gpu.arrays import Bool, Int64
from hews_gpu.data.clean import NOWHERE, OUT
from hews_gpu.data.readers.dates import NOT_A_TIME
from hews_gpu.data.resolution import MINUTES, count_minutes
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = [
    "ROUND",
    "DuplicateTally",
    "RowKind",
    "RowTally",
    "Tally",
    "count_rows",
    "months_of",
    "tally_duplicates",
    "tally_rows",
]

ROUND: Mapping[str, Callable[[Int64], Bool]] = {
    "minute_0": lambda second: second % HOUR_S < MINUTE_S,
    "minute_30": lambda second: second % HOUR_S // MINUTE_S == 30,
    "full_hour": lambda second: second % HOUR_S == 0,
    "midnight": lambda second: second == 0,
}
"""Kinds of round times, of the second of the day."""
NO_MONTH = -1_000_000
WEEKDAY_OF_1970 = 3  # 1970-01-01 was a Thursday; Monday is 0

K = TypeVar("K")


class Tally:
    """A dataclass of counts; `+=` adds those of other rows, of which nothing may be used afterwards."""

    def __iadd__(self, other: Self) -> Self:
        """Add the counts of other rows."""
        for spec in fields(self):  # type: ignore[arg-type]  # each kind of tally is a dataclass
            setattr(self, spec.name, _sum(getattr(self, spec.name), getattr(other, spec.name)))
        return self


def _sum(own: Any, more: Any) -> Any:
    """Add up counters and sets, dicts key by key, and whatever has a `+=`; in place where that is possible."""
    if isinstance(own, Counter | set):
        own.update(more)
    elif isinstance(own, dict):
        for key, value in more.items():
            own[key] = _sum(own[key], value) if key in own else value
    else:
        own += more
    return own


class RowKind(NamedTuple):
    """What tells rows apart, but for time and place."""

    source: int
    """Number of the file."""
    spelled: str
    """Category as the file has it, in normal spelling."""
    category: str
    """In the words of the vocabulary."""
    is_target: bool
    reason: int
    """Index into REASONS; 0 is kept."""


@dataclass(kw_only=True)
class RowTally(Tally):
    """Counts of cleaned rows."""

    kinds: Counter[RowKind] = field(default_factory=Counter)
    """All rows, set aside or not."""
    days: dict[int, Counter[int]] = field(default_factory=dict)
    """Source -> kept rows by day since 1970."""
    target_days: dict[str, Counter[int]] = field(default_factory=dict)
    """Target category -> kept rows by day since 1970."""
    category_months: dict[str, Counter[int]] = field(default_factory=dict)
    """Category -> kept rows by month since 1970."""
    lost_targets: Counter[tuple[str, int, int | None]] = field(default_factory=Counter)
    """Target category, reason, month since 1970 (None where the time cannot be read) -> rows set aside."""
    neighborhoods: Counter[int] = field(default_factory=Counter)
    """Kept rows."""
    nearest: int = 0
    """Kept rows that lie in no neighborhood, and were given to the nearest one."""
    minutes: Int64 = field(default_factory=lambda: np.zeros((2, MINUTES), np.int64))
    """[2, 1440] kept rows by label and minute of the day."""
    roundings: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    """Category, whether it is a target, kind of round time (ROUND) -> kept rows."""
    swapped: int = 0
    """Rows outside that would lie within the bounds of the polygons with longitude and latitude swapped."""
    not_degrees: int = 0
    """Rows outside whose coordinates are no degrees."""
    corners: set[tuple[float, float]] = field(default_factory=set)
    """South-west and north-east corners of what the kept rows of each block span; one alone if all lie at one point."""
    outside: list[tuple[float, float]] = field(default_factory=list)
    """Longitude and latitude of some rows outside."""

    @property
    def rows(self) -> int:
        """All rows, set aside or not."""
        return sum(self.kinds.values())

    @property
    def kept(self) -> int:
        """Kept rows."""
        return self.by(lambda kind: kind.reason)[0]

    @property
    def located(self) -> int:
        """Rows that have coordinates and a time, inside the study area or not."""
        return sum(n for kind, n in self.kinds.items() if kind.reason == 0 or kind.reason > NOWHERE)

    @property
    def categories(self) -> Counter[str]:
        """Kept rows by category."""
        return self.by(lambda kind: kind.category, lambda kind: kind.reason == 0)

    def by(self, key: Callable[[RowKind], K], holds: Callable[[RowKind], bool] = lambda kind: True) -> Counter[K]:
        """Return the rows by something of their kind, of those kinds for which `holds`."""
        result: Counter[K] = Counter()
        for kind, rows in self.kinds.items():
            if holds(kind):
                result[key(kind)] += rows
        return result


def tally_rows(frame: pd.DataFrame, source: int, bounds: tuple[float, float, float, float]) -> RowTally:
    """Count the rows of one block of `clean`; `bounds` are west, south, east, north of the polygons."""
    reason = frame["reason"].to_numpy()
    kept = reason == 0
    time_s = frame["time_s"].to_numpy()[kept]
    longitude, latitude = (frame[name].to_numpy() for name in ("longitude", "latitude"))
    x, y = longitude[reason == OUT], latitude[reason == OUT]
    here = longitude[kept], latitude[kept]
    is_target = frame["is_target"].to_numpy()
    month = months_of(time_s // DAY_S)
    west, south, east, north = bounds
    return RowTally(
        kinds=_count_kinds(frame, source),
        days={source: count_rows(time_s // DAY_S)},
        target_days=_by_category(
            frame["category"][kept & is_target], frame["time_s"].to_numpy()[kept & is_target] // DAY_S
        ),
        category_months=_by_category(frame["category"][kept], month),
        lost_targets=_count_lost(frame[~kept & is_target]),
        neighborhoods=count_rows(frame["neighborhood_id"].to_numpy()[kept]),
        nearest=int(frame["is_nearest"].to_numpy()[kept].sum()),
        minutes=count_minutes(time_s, frame["is_target"].to_numpy()[kept]),
        roundings=_count_round(frame[kept], time_s % DAY_S),
        swapped=int(((west <= y) & (y <= east) & (south <= x) & (x <= north)).sum()),
        not_degrees=int(((np.abs(x) > 180) | (np.abs(y) > 180)).sum()),
        corners={(float(here[0].min()), float(here[1].min())), (float(here[0].max()), float(here[1].max()))}
        if kept.any()
        else set(),
        outside=[(float(x[0]), float(y[0]))] if len(x) else [],
    )


def _count_kinds(frame: pd.DataFrame, source: int) -> Counter[RowKind]:
    spelled, category = frame["raw_category"].cat, frame["category"].cat
    columns = (spelled.codes, category.codes, frame["is_target"], frame["reason"])
    counts = count_rows(*(column.to_numpy() for column in columns))
    spellings, names = list(spelled.categories), list(category.categories)
    return Counter(
        {
            RowKind(source, spellings[a], names[b], bool(is_target), reason): rows
            for (a, b, is_target, reason), rows in counts.items()
        }
    )


def _by_category(category: pd.Series, when: Int64) -> dict[str, Counter[int]]:
    """Return category -> rows by day or month, of those that have rows."""
    names, result = list(category.cat.categories), dict[str, Counter[int]]()
    for (code, at), rows in count_rows(category.cat.codes.to_numpy(), when).items():
        result.setdefault(names[code], Counter())[at] = rows
    return result


def _count_lost(targets: pd.DataFrame) -> Counter[tuple[str, int, int | None]]:
    """Count target rows that are set aside."""
    time_s = targets["time_s"].to_numpy()
    is_dated = time_s != NOT_A_TIME
    month = np.where(is_dated, months_of(np.where(is_dated, time_s // DAY_S, 0)), NO_MONTH)
    names, codes = list(targets["category"].cat.categories), targets["category"].cat.codes.to_numpy()
    return Counter(
        {
            (names[code], reason, None if at == NO_MONTH else at): rows
            for (code, reason, at), rows in count_rows(codes, targets["reason"].to_numpy(), month).items()
        }
    )


def _count_round(kept: pd.DataFrame, second: Int64) -> Counter[tuple[str, bool, str]]:
    category, is_target = kept["category"].cat, kept["is_target"].to_numpy()
    names, codes = list(category.categories), category.codes.to_numpy()
    counts = {kind: count_rows(codes[holds(second)], is_target[holds(second)]) for kind, holds in ROUND.items()}
    return Counter(
        {(names[code], bool(target), kind): rows for kind in ROUND for (code, target), rows in counts[kind].items()}
    )


def count_rows(*columns: npt.NDArray[Any]) -> Counter[Any]:
    """Return the rows by value of a column of whole numbers, or by the values of several, in order of the values."""
    names = [str(place) for place in range(len(columns))]
    table = pa.table([column.astype(np.int64) for column in columns], names=names)
    counts = table.group_by(names, use_threads=False).aggregate([([], "count_all")])
    counts = counts.sort_by([(name, "ascending") for name in names])
    values = [counts[name].to_pylist() for name in names]
    keys = values[0] if len(values) == 1 else zip(*values, strict=True)
    return Counter(dict(zip(keys, counts["count_all"].to_pylist(), strict=True)))


def months_of(days: Int64) -> Int64:
    """Return months since 1970 of days since 1970."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


@dataclass(kw_only=True)
class DuplicateTally(Tally):
    """Counts of what ties rows together, and counts over time that leave out what another file has before."""

    months: Counter[tuple[int, int, bool, bool]] = field(default_factory=Counter)
    """Category, months since 1970, whether it repeats another row, whether it is an overlap -> rows."""
    target_rows: Counter[tuple[int, bool]] = field(default_factory=Counter)
    """Category, whether it repeats another row -> target rows."""
    twins: int = 0
    near_twins: int = 0
    target_hours: Counter[int] = field(default_factory=Counter)
    """24 * weekday + hour -> target rows that are no overlaps; Monday is 0."""
    repeats: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Source of a row, source of the later overlap that repeats it -> rows."""
    target_repeats: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """The same two sources, category -> target rows."""
    targets: Counter[tuple[int, int, int, bool]] = field(default_factory=Counter)
    """Source, category, day since 1970, whether it is an overlap -> target rows."""


def tally_duplicates(bucket: pd.DataFrame, rows_of: Sequence[int]) -> DuplicateTally:
    """Count a bucket of `duplicates.with_duplicates`; `rows_of` has the rows of each file, set aside or not."""
    names = ("time_s", "category", "source", "is_target", "duplicate_of", "is_overlap", "twin_of", "near_twin_of")
    time_s, category, source, is_target, duplicate_of, overlap, twin, near_twin = (
        bucket[name].to_numpy() for name in names
    )
    day, second = np.divmod(time_s, DAY_S)
    first = np.searchsorted(np.cumsum(rows_of), duplicate_of, side="right")  # source of what a row repeats
    target_overlap, target_event = is_target & overlap, is_target & ~overlap
    weekday = (day + WEEKDAY_OF_1970) % 7
    return DuplicateTally(
        months=count_rows(category, months_of(day), duplicate_of >= 0, overlap),
        target_rows=count_rows(category[is_target], duplicate_of[is_target] >= 0),
        twins=int((twin >= 0).sum()),
        near_twins=int((near_twin >= 0).sum()),
        target_hours=count_rows((24 * weekday + second // HOUR_S)[target_event]),
        repeats=count_rows(first[overlap], source[overlap]),
        target_repeats=count_rows(first[target_overlap], source[target_overlap], category[target_overlap]),
        targets=count_rows(source[is_target], category[is_target], day[is_target], overlap[is_target]),
    )
