"""Marks that tie rows together: exact duplicates, and rows that report the same event as a target row.

All are array searches over rows sorted by time. The search for twins looks up, for each row, the stretch of target
rows within reach in time, and measures all pairs of it, a bounded number at once.

An event that several downloads report counts once. Downloads of equal layout (same schema, kind and columns) hold the
same row in the same words: the k-th row of these words in one download is the k-th in another, so that an event with m
rows in one and n in the other has max(m, n). Which files are one download's pages is up to the caller.

Files of different layouts do not: of the rows that two vintages of one city's table share, three quarters were geocoded
anew, by 7 m in the median and less than 100 m in 98 of 100 cases. There, rows of the same minute and category within
100 m are taken for one, each with one other row at most, nearest pairs first, so that two victims stay two. The time of
four in ten shootings was revised between the vintages, though. Target rows that are left over are therefore paired a
second time, within 24 hours and 200 m, nearest in time first: of the later vintage's 1,628 in the months that both
hold, 829 pair by the minute and 783 more so. The price: two shootings of one day and block, of which each vintage lacks
another one, would count as one.

Shapes: R rows, T target rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.data.geometry.point_in_polygon import meters_per_degree

__all__ = [
    "NEAR_TWIN",
    "NONE",
    "REVISED_EVENT",
    "SAME_EVENT",
    "TWIN",
    "Places",
    "Reach",
    "distance_m",
    "first_duplicates",
    "nearest_target",
    "repeats_of_earlier_downloads",
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

    def at(self, index: npt.NDArray[Any]) -> Places:
        """Some of the rows."""
        return Places(self.time_s[index], self.longitude[index], self.latitude[index], self.row_id[index])

    def sorted_by_time(self) -> Places:
        """The same rows in order of time, then row id."""
        return self.at(np.lexsort((self.row_id, self.time_s)))


@dataclass(frozen=True)
class Reach:
    """How near two rows must be to count as twins, or as one event."""

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
SAME_EVENT = Reach(distance_m=100.0)
"""Between the times and places that two files of different layouts give to one event."""
REVISED_EVENT = Reach(distance_m=200.0, within_s=86_400)
"""The same of target rows that are left over then."""


def first_duplicates(hash_a: npt.NDArray[np.uint64], hash_b: npt.NDArray[np.uint64], row_id: Ints) -> Ints:
    """For each row, the row id of the first row with the same two hashes; NONE for that row itself.

    The hashes are over every text that is read of a row: time, place and category as spelt in the file, the
    charts-only columns and the schema's `compared` ones. Person-level columns are never read, so two victims of one
    event who differ in nothing else count as duplicates.
    """
    first, _ = _groups((hash_a, hash_b), (row_id,))
    return np.where(first == np.arange(len(first)), NONE, row_id[first])


def repeats_of_earlier_downloads(
    hashes: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]], row_id: Ints, layout: Ints, download: Ints
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """For each row, a row of the same words and layout that comes before it; and whether it is the same entry.

    Of the rows of the same words, the k-th of a download is the same entry as the k-th of an earlier one, and names it;
    one that no earlier download has names the first row of all as a duplicate.

    Args:
        hashes: two of the words of each of R rows, as for `first_duplicates`.
        row_id: int64[R].
        layout: int64[R] number of the layout of each row's file.
        download: int64[R] number of its download; in the order of the files.

    Returns:
        int64[R] row ids or NONE, and bool[R].
    """
    itself = np.arange(len(row_id))
    first, _ = _groups((*hashes, layout), (download, row_id))
    repeated = np.where(first == itself, NONE, row_id[first])
    if (download == download[:1]).all():
        return repeated, np.zeros(len(row_id), bool)
    _, rank = _groups((*hashes, layout, download), (row_id,))
    entry, _ = _groups((*hashes, layout, rank), (download,))
    is_overlap = entry != itself
    return np.where(is_overlap, row_id[entry], repeated), is_overlap


def _groups(keys: Sequence[npt.NDArray[Any]], by: Sequence[Ints]) -> tuple[Ints, Ints]:
    """For each row, the index of the first row of equal keys in the order of `by`, and its own rank among them.

    Few rows share even their first key, a hash: only those are sorted.
    """
    codes, values = pd.factorize(keys[0])
    shared = np.flatnonzero((np.bincount(codes, minlength=len(values)) > 1)[codes])
    first, rank = np.arange(len(codes)), np.zeros(len(codes), np.int64)
    of, rank[shared] = _sorted_groups([key[shared] for key in keys], [key[shared] for key in by])
    first[shared] = shared[of]
    return first, rank


def _sorted_groups(keys: Sequence[npt.NDArray[Any]], by: Sequence[Ints]) -> tuple[Ints, Ints]:
    order = np.lexsort((*by[::-1], *keys))
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for part in (key[order] for key in keys):
        is_first[1:] |= part[1:] != part[:-1]
    begin = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    first, rank = np.empty((2, len(order)), np.int64)
    first[order], rank[order] = order[begin], np.arange(len(order)) - begin
    return first, rank


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
    """Meters between points a few kilometers apart at most, scaled at their middle latitude; right to 0.01 percent."""
    east, north = meters_per_degree((lat_a + lat_b) / 2)
    result: Floats = np.hypot((lon_a - lon_b) * east, (lat_a - lat_b) * north)
    return result


def repeats_of_earlier_layouts(
    rows: Places, category: Ints, layout: Ints, reaches: Sequence[Reach] = (SAME_EVENT,)
) -> Ints:
    """For each row, the row of a file of an earlier layout that reports the same event; or NONE.

    Same category and within reach; one to one between any two layouts, nearest pairs first (in time, unless in the same
    minute; then in place), then the lowest row ids. What one reach leaves over is tried with the next one. A row that
    matches rows of several layouts names the one of the first.

    Args:
        rows: R rows in any order; all rows within reach must be there.
        category: int64[R].
        layout: int64[R] number of the layout of each row's file, in the order of the files.
        reaches: how near they must be.

    Returns:
        int64[R] row ids.
    """
    result = np.full(len(layout), NONE, np.int64)
    for later in np.unique(layout)[1:]:
        is_free = np.ones(len(layout), bool)
        for reach in reaches:
            for earlier in np.unique(layout[layout < later]):
                first = np.flatnonzero((layout == earlier) & is_free)
                second = np.flatnonzero((layout == later) & (result == NONE))
                for a, b in _nearest_pairs(rows, category, first, second, reach):
                    result[b] = rows.row_id[a]
                    is_free[a] = False
    return result


def _nearest_pairs(rows: Places, category: Ints, first: Ints, second: Ints, reach: Reach) -> list[tuple[int, int]]:
    """One-to-one pairs of rows of the same category within reach, chosen by time, distance, then row ids."""
    near = list(_pairs_within(rows, category, first, second, reach))
    if not near:
        return []
    a, b = (np.concatenate(part) for part in zip(*near, strict=True))
    apart_s = np.abs(rows.time_s[a] - rows.time_s[b]) * (reach.within_s > 0)
    apart_m = distance_m(rows.longitude[a], rows.latitude[a], rows.longitude[b], rows.latitude[b])
    order = np.lexsort((rows.row_id[b], rows.row_id[a], apart_m, apart_s))
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    pairs = []
    for i, j in zip(a[order].tolist(), b[order].tolist(), strict=True):
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            pairs.append((i, j))
    return pairs


def _pairs_within(rows: Places, category: Ints, first: Ints, second: Ints, reach: Reach) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of rows of the same category within reach, as indices a [P] and b [P]; bounded numbers at once."""
    if not len(first) or not len(second):
        return
    begin_s, end_s = reach.span_s(rows.time_s[second])
    low_s = min(int(rows.time_s[first].min()), int(begin_s.min()))
    width_s = max(int(rows.time_s[first].max()), int(end_s.max())) - low_s + 1
    key = category * width_s + rows.time_s - low_s  # in order of category, then time
    first = first[np.argsort(key[first], kind="stable")]
    low = np.searchsorted(key[first], category[second] * width_s + begin_s - low_s)
    count = np.searchsorted(key[first], category[second] * width_s + end_s - low_s) - low
    pairs = np.cumsum(count)
    begin = 0
    while begin < len(second):
        done = int(pairs[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(pairs, done + MAX_PAIRS, side="right")))
        of, some = slice(begin, end), count[begin:end]
        b = np.repeat(second[of], some)
        a = first[np.arange(len(b)) - np.repeat(np.cumsum(some) - some, some) + np.repeat(low[of], some)]
        apart_m = distance_m(rows.longitude[a], rows.latitude[a], rows.longitude[b], rows.latitude[b])
        near = apart_m <= reach.distance_m
        yield a[near], b[near]
        begin = end
