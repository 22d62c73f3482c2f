"""Rows that belong together: exact duplicates, and rows that report the same event as a target row.

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

from hews_gpu.arrays import Bool, Float64, Int64, UInt64
from hews_gpu.data.geometry.point_in_polygon import meters_per_degree
from hews_gpu.units import DAY_S, MINUTE_S

__all__ = [
    "NEAR_TWIN",
    "NONE",
    "TWIN",
    "FileGroups",
    "Places",
    "Targets",
    "nearest_target",
    "targets_of",
    "with_duplicates",
]

NONE = -1
MAX_PAIRS = 2_000_000  # at once: 100 MB of working arrays


@dataclass(frozen=True)
class Places:
    """Rows in time and space."""

    time_s: Int64  # [R]
    longitude: Float64  # [R] degrees
    latitude: Float64  # [R] degrees
    row_id: Int64  # [R]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Places:
        """Take them from a frame with columns of these names."""
        return cls(*(frame[name].to_numpy() for name in ("time_s", "longitude", "latitude", "row_id")))

    def at(self, index: npt.NDArray[Any]) -> Places:
        """Return some of the rows."""
        return Places(self.time_s[index], self.longitude[index], self.latitude[index], self.row_id[index])

    def sorted_by_time(self) -> Places:
        """Return the same rows in order of time, then row id."""
        return self.at(np.lexsort((self.row_id, self.time_s)))


@dataclass(frozen=True)
class Reach:
    """How near two rows must be to count as twins, or as one event."""

    distance_m: float
    within_s: int = 0
    """At most this far apart in time; 0: in the same minute of the clock."""

    def span_s(self, time_s: Int64) -> tuple[Int64, Int64]:
        """Return the first second within reach of each time, and the first one beyond it."""
        if self.within_s == 0:
            minute = time_s // MINUTE_S * MINUTE_S
            return minute, minute + MINUTE_S
        return time_s - self.within_s, time_s + self.within_s + 1


TWIN = Reach(distance_m=100.0)
NEAR_TWIN = Reach(distance_m=200.0, within_s=1800)
SAME_EVENT = Reach(distance_m=100.0)
"""Between the times and places that two files of different layouts give to one event."""
REVISED_EVENT = Reach(distance_m=200.0, within_s=DAY_S)
"""The same of target rows that are left over then."""


@dataclass(frozen=True)
class FileGroups:
    """What files have in common, by number of the file."""

    layout: Int64
    """Number of its layout: files of equal layout spell the same row the same way."""
    download: Int64
    """Number of its download: the pages of one hold different rows, two may hold the same ones."""


@dataclass(frozen=True)
class Targets:
    """All kept target rows of a table, and what they repeat."""

    by_time: Places
    row_id: Int64  # [T] sorted
    duplicate_of: Int64  # [T] in this order
    is_overlap: Bool  # [T]


def targets_of(frame: pd.DataFrame, files: FileGroups) -> Targets:
    """Find which of all kept target rows of a table repeat one of an earlier file, whatever day either gives."""
    frame = frame.sort_values("row_id", ignore_index=True)
    repeated, is_overlap = _repeats(frame, files, (SAME_EVENT, REVISED_EVENT))
    return Targets(Places.of(frame).sorted_by_time(), frame["row_id"].to_numpy(), repeated, is_overlap)


def with_duplicates(frame: pd.DataFrame, targets: Targets, files: FileGroups) -> pd.DataFrame:
    """Add what each row of some whole days repeats.

    Args:
        frame: all kept rows of these days.
        targets: all of the table.
        files: where the rows come from.

    Returns:
        The same with duplicate_of, twin_of and near_twin_of, row ids or NONE; and is_overlap, whether another download
        has the event before.
    """
    is_target = frame["is_target"].to_numpy()
    others = frame[~is_target]
    known = np.searchsorted(targets.row_id, frame["row_id"].to_numpy()[is_target])
    duplicate_of, is_overlap = np.full(len(frame), NONE, np.int64), np.zeros(len(frame), bool)
    duplicate_of[is_target], is_overlap[is_target] = targets.duplicate_of[known], targets.is_overlap[known]
    duplicate_of[~is_target], is_overlap[~is_target] = _repeats(others, files, (SAME_EVENT,))
    twins = {}
    for name, reach in (("twin_of", TWIN), ("near_twin_of", NEAR_TWIN)):
        twins[name] = np.full(len(frame), NONE, np.int64)
        twins[name][~is_target] = nearest_target(Places.of(others), targets.by_time, reach)
    return frame.assign(duplicate_of=duplicate_of, is_overlap=is_overlap, **twins)


def _repeats(frame: pd.DataFrame, files: FileGroups, reaches: Sequence[Reach]) -> tuple[Int64, Bool]:
    """Return the row that each row repeats, never a repeat itself; and whether it is another download's same entry.

    Word by word within a layout; as an event, of what is left, in an earlier one.
    """
    source, ids = frame["source"].to_numpy(), frame["row_id"].to_numpy()
    layout, download = files.layout[source], files.download[source]
    hashes = (frame["hash_a"].to_numpy(), frame["hash_b"].to_numpy())
    repeated, is_overlap = repeats_of_earlier_downloads(hashes, ids, layout, download)
    if (layout != layout[:1]).any():
        left = np.flatnonzero(~is_overlap)
        category = frame["category"].to_numpy(np.int64)[left]
        earlier = repeats_of_earlier_layouts(Places.of(frame).at(left), category, layout[left], reaches)
        paired = earlier >= 0
        repeated[left[paired]] = earlier[paired]
        is_overlap[left[paired]] = True
    order = np.argsort(ids)
    while True:  # where a row repeats a repeat, take what this one repeats: a few steps, at most one per file
        of = np.flatnonzero(repeated >= 0)
        further = repeated[order[np.searchsorted(ids[order], repeated[of])]]
        if not (further >= 0).any():
            return repeated, is_overlap
        repeated[of] = np.where(further >= 0, further, repeated[of])


def repeats_of_earlier_downloads(
    hashes: tuple[UInt64, UInt64], row_id: Int64, layout: Int64, download: Int64
) -> tuple[Int64, Bool]:
    """Return, for each row, a row of the same words and layout that comes before it; and whether it is the same entry.

    Of the rows of the same words, the k-th of a download is the same entry as the k-th of an earlier one, and names it;
    one that no earlier download has names the first row of all as a duplicate. The hashes are over every text that is
    read of a row: time, place and category as spelled in the file, the charts-only columns and the schema's `compared`
    ones. Person-level columns are never read, so two victims of one event who differ in nothing else are duplicates.

    Args:
        hashes: two of the words of each of R rows.
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


def _groups(keys: Sequence[npt.NDArray[Any]], by: Sequence[Int64]) -> tuple[Int64, Int64]:
    """Return, for each row, the index of the first row of equal keys in the order of `by`, and its own rank among them.

    Few rows share even their first key, a hash: only those are sorted.
    """
    codes, values = pd.factorize(keys[0])
    shared = np.flatnonzero((np.bincount(codes, minlength=len(values)) > 1)[codes])
    keys, by = [key[shared] for key in keys], [key[shared] for key in by]
    order = np.lexsort((*by[::-1], *keys))
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for key in keys:
        is_first[1:] |= key[order[1:]] != key[order[:-1]]
    begin = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    first, rank = np.arange(len(codes)), np.zeros(len(codes), np.int64)
    first[shared[order]], rank[shared[order]] = shared[order[begin]], np.arange(len(order)) - begin
    return first, rank


def nearest_target(rows: Places, targets: Places, reach: Reach) -> Int64:
    """Find the target row that each row is a twin of.

    Args:
        rows: R rows that are no targets, in any order.
        targets: T target rows, sorted by time.
        reach: how near they must be.

    Returns:
        int64[R] row id of the target nearest in time, then in distance, then of the lowest row id; or NONE.
    """
    begin_s, end_s = reach.span_s(rows.time_s)
    low = np.searchsorted(targets.time_s, begin_s)
    high = np.searchsorted(targets.time_s, end_s)
    result = np.full(len(low), NONE, np.int64)
    for row, target in _pairs(low, high):
        apart_m = _apart_m(rows, row, targets, target)
        near = apart_m <= reach.distance_m
        row, target, apart_m = row[near], target[near], apart_m[near]
        apart_s = np.abs(rows.time_s[row] - targets.time_s[target])
        order = np.lexsort((targets.row_id[target], apart_m, apart_s, row))
        row, target = row[order], target[order]
        best = np.ones(len(row), bool)
        best[1:] = row[1:] != row[:-1]
        result[row[best]] = targets.row_id[target[best]]
    return result


def _pairs(low: Int64, high: Int64) -> Iterator[tuple[Int64, Int64]]:
    """Give all pairs of an i and each of low[i]..high[i]-1, a bounded number at once: two arrays [P]."""
    count = high - low
    busy = np.flatnonzero(count)
    pairs = np.cumsum(count[busy])
    begin = 0
    while begin < len(busy):
        done = int(pairs[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(pairs, done + MAX_PAIRS, side="right")))
        some = count[busy[begin:end]]
        first = np.repeat(busy[begin:end], some)
        yield first, np.arange(len(first)) - np.repeat(np.cumsum(some) - some, some) + low[first]
        begin = end


def _apart_m(rows: Places, row: Int64, others: Places, other: Int64) -> Float64:
    """Return the meters between some of the rows and some of the others, pair by pair."""
    return distance_m(rows.longitude[row], rows.latitude[row], others.longitude[other], others.latitude[other])


def distance_m(lon_a: Float64, lat_a: Float64, lon_b: Float64, lat_b: Float64) -> Float64:
    """Return meters between points a few kilometers apart, scaled at their middle latitude; right to 0.01 percent."""
    east, north = meters_per_degree((lat_a + lat_b) / 2)
    result: Float64 = np.hypot((lon_a - lon_b) * east, (lat_a - lat_b) * north)
    return result


def repeats_of_earlier_layouts(rows: Places, category: Int64, layout: Int64, reaches: Sequence[Reach]) -> Int64:
    """Return, for each row, the row of a file of an earlier layout that reports the same event; or NONE.

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


def _nearest_pairs(
    rows: Places, category: Int64, first: Int64, second: Int64, reach: Reach
) -> Iterator[tuple[int, int]]:
    """Give one-to-one pairs of rows of the same category within reach, chosen by time, distance, then row ids."""
    near = list(_pairs_within(rows, category, first, second, reach))
    if not near:
        return
    a, b = (np.concatenate(part) for part in zip(*near, strict=True))
    apart_s = np.abs(rows.time_s[a] - rows.time_s[b]) * (reach.within_s > 0)
    order = np.lexsort((rows.row_id[b], rows.row_id[a], _apart_m(rows, a, rows, b), apart_s))
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    for i, j in zip(a[order].tolist(), b[order].tolist(), strict=True):
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            yield i, j


def _pairs_within(
    rows: Places, category: Int64, first: Int64, second: Int64, reach: Reach
) -> Iterator[tuple[Int64, Int64]]:
    """Give all pairs of rows of the same category within reach, as indices [P] into the rows."""
    if not len(first) or not len(second):
        return
    begin_s, end_s = reach.span_s(rows.time_s[second])
    low_s = min(int(rows.time_s[first].min()), int(begin_s.min()))
    width_s = max(int(rows.time_s[first].max()), int(end_s.max())) - low_s + 1
    key = category * width_s + rows.time_s - low_s  # in order of category, then time
    first = first[np.argsort(key[first], kind="stable")]
    base = category[second] * width_s - low_s
    low, high = (np.searchsorted(key[first], base + time_s) for time_s in (begin_s, end_s))
    for of_second, of_first in _pairs(low, high):
        a, b = first[of_first], second[of_second]
        near = _apart_m(rows, a, rows, b) <= reach.distance_m
        yield a[near], b[near]
