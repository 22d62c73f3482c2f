"""Marks that tie rows together: exact duplicates, and rows that report the same event as a target row.

All are array searches over rows sorted by time. The search for twins looks up, for each row, the stretch of target
rows within reach in time, and measures all pairs of it, a bounded number at once.

Files of equal layout (same schema, kind and columns) hold the same row in the same words. Files of different layouts
do not: of the rows that two vintages of one city's table share, three quarters were geocoded anew, by 7 m in the
median and less than 100 m in 98 of 100 cases. There, rows of the same minute and category within 100 m are taken
for one, each with one other row at most, nearest pairs first, so that two victims stay two. A row whose time was
revised between the vintages, as that of four in ten shootings was, by minutes, is not recognised.

Shapes: R rows, T target rows, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hews_gpu.data.polygons import metres_per_degree

__all__ = [
    "NEAR_TWIN",
    "NONE",
    "SAME_EVENT_M",
    "TWIN",
    "Places",
    "Reach",
    "distance_m",
    "first_duplicates",
    "nearest_target",
    "repeats_of_earlier_layouts",
]

NONE = -1
MAX_PAIRS = 2_000_000  # at once: 100 MB of working arrays

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Rows in time and space."""

    time_s: Ints  # [R]
    longitude: Floats  # [R] degrees
    latitude: Floats  # [R] degrees
    row_id: Ints  # [R]

    def sorted_by_time(self) -> Places:
        """The same rows in order of time, then row id."""
        order = np.lexsort((self.row_id, self.time_s))
        return Places(self.time_s[order], self.longitude[order], self.latitude[order], self.row_id[order])


@dataclass(frozen=True)
class Reach:
    """How near a target row must be for a row to count as its twin."""

    distance_m: float
    within_s: int = 0
    """At most this far apart in time; 0: in the same minute of the clock."""

    def span_s(self, time_s: Ints) -> tuple[Ints, Ints]:
        """First second within reach of each time, and the first one beyond it."""
        if self.within_s == 0:
            minute = time_s - time_s % 60
            return minute, minute + 60
        return time_s - self.within_s, time_s + self.within_s + 1


TWIN = Reach(distance_m=100.0)
NEAR_TWIN = Reach(distance_m=200.0, within_s=1800)
SAME_EVENT_M = 100.0  # between the places that two files of different layouts give to one event


def first_duplicates(
    hash_a: npt.NDArray[np.uint64], hash_b: npt.NDArray[np.uint64], row_id: Ints, layout: Ints | None = None
) -> Ints:
    """For each row, the row id of the first row with the same two hashes (and layout); NONE for that row itself.

    The hashes are over every text that is read of a row: time, place and category as spelt in the file, the
    charts-only columns and the schema's `compared` ones. Person-level columns are never read, so two victims of one
    event who differ in nothing else count as duplicates.
    """
    kind = np.zeros(len(row_id), np.int64) if layout is None else layout
    order = np.lexsort((row_id, kind, hash_b, hash_a))
    ids = row_id[order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = False
    for part in (hash_a[order], hash_b[order], kind[order]):
        is_first[1:] |= part[1:] != part[:-1]
    first = ids[is_first][np.cumsum(is_first) - 1]
    result = np.empty(len(ids), np.int64)
    result[order] = np.where(is_first, NONE, first)
    return result


def nearest_target(rows: Places, targets: Places, reach: Reach) -> Ints:
    """The target row that each row is a twin of.

    Args:
        rows: R rows that are no targets, in any order.
        targets: T target rows, sorted by time.
        reach: how near they must be.

    Returns:
        int64[R] row id of the target nearest in time, then in distance, then of the lowest row id; or NONE.
    """
    begin_s, end_s = reach.span_s(rows.time_s)
    low = np.searchsorted(targets.time_s, begin_s)
    count = np.searchsorted(targets.time_s, end_s) - low
    result = np.full(len(low), NONE, np.int64)
    busy = np.flatnonzero(count)
    pairs = np.cumsum(count[busy])
    begin = 0
    while begin < len(busy):
        done = int(pairs[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(pairs, done + MAX_PAIRS, side="right")))
        _best_of(rows, targets, reach, busy[begin:end], low, count, result)
        begin = end
    return result


def _best_of(rows: Places, targets: Places, reach: Reach, chosen: Ints, low: Ints, count: Ints, result: Ints) -> None:
    """Fill in `result` for the chosen rows, each with the targets low..low+count-1 in reach in time."""
    row = np.repeat(chosen, count[chosen])  # [P]
    start = np.cumsum(count[chosen]) - count[chosen]
    target = np.arange(len(row)) - np.repeat(start, count[chosen]) + low[row]  # [P]
    apart_m = distance_m(rows.longitude[row], rows.latitude[row], targets.longitude[target], targets.latitude[target])
    near = apart_m <= reach.distance_m
    row, target, apart_m = row[near], target[near], apart_m[near]
    apart_s = np.abs(rows.time_s[row] - targets.time_s[target])
    order = np.lexsort((targets.row_id[target], apart_m, apart_s, row))
    row, target = row[order], target[order]
    best = np.ones(len(row), bool)
    best[1:] = row[1:] != row[:-1]
    result[row[best]] = targets.row_id[target[best]]


def distance_m(lon_a: Floats, lat_a: Floats, lon_b: Floats, lat_b: Floats) -> Floats:
    """Metres between points a few kilometres apart at most, scaled at their middle latitude; right to 0.01 percent."""
    east, north = metres_per_degree((lat_a + lat_b) / 2)
    result: Floats = np.hypot((lon_a - lon_b) * east, (lat_a - lat_b) * north)
    return result


def repeats_of_earlier_layouts(rows: Places, category: Ints, layout: Ints) -> Ints:
    """For each row, the row of a file of an earlier layout that reports the same event; or NONE.

    Same minute and category, at most SAME_EVENT_M apart; one to one between any two layouts, nearest pairs first, then
    the lowest row ids. A row that matches rows of several layouts names the one of the first.

    Args:
        rows: R rows in any order; all rows of a minute must be there.
        category: int64[R].
        layout: int64[R] number of the layout of each row's file, in the order of the files.

    Returns:
        int64[R] row ids.
    """
    result = np.full(len(layout), NONE, np.int64)
    for later in np.unique(layout)[1:]:
        for earlier in np.unique(layout[layout < later]):
            first = np.flatnonzero(layout == earlier)
            second = np.flatnonzero((layout == later) & (result == NONE))
            for a, b in _nearest_pairs(rows, category, first, second):
                result[b] = rows.row_id[a]
    return result


def _nearest_pairs(rows: Places, category: Ints, first: Ints, second: Ints) -> list[tuple[int, int]]:
    """One-to-one pairs of rows of the same minute and category, chosen by distance, then row ids."""
    minute = rows.time_s // 60
    group = minute * (int(category.max(initial=0)) + 1) + category
    first = first[np.argsort(group[first], kind="stable")]
    low = np.searchsorted(group[first], group[second])
    count = np.searchsorted(group[first], group[second], side="right") - low
    b = np.repeat(second, count)  # [P]
    start = np.repeat(np.cumsum(count) - count, count)
    a = first[np.arange(len(b)) - start + np.repeat(low, count)]  # [P]
    apart_m = distance_m(rows.longitude[a], rows.latitude[a], rows.longitude[b], rows.latitude[b])
    near = apart_m <= SAME_EVENT_M
    a, b, apart_m = a[near], b[near], apart_m[near]
    order = np.lexsort((rows.row_id[b], rows.row_id[a], apart_m))
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    pairs = []
    for i, j in zip(a[order].tolist(), b[order].tolist(), strict=True):
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            pairs.append((i, j))
    return pairs
