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
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hews_gpu.arrays import Bool, Float64, Int64, UInt64
from hews_gpu.data.geometry.outlines import meters_per_degree
from hews_gpu.units import DAY_S, MINUTE_S

if TYPE_CHECKING:  # a forecast asks for the reach alone
    import pandas as pd

__all__ = ["NEAR_TWIN", "NONE", "TWIN", "FileGroups", "Places", "nearest_target", "targets_of", "with_duplicates"]

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


def targets_of(frame: pd.DataFrame, files: FileGroups) -> pd.DataFrame:
    """Add to all kept target rows of a table what each repeats of an earlier file, whatever day either gives."""
    frame = frame.sort_values("row_id", ignore_index=True)
    duplicate_of, is_overlap = _repeats(frame, files, (SAME_EVENT, REVISED_EVENT))
    return frame.assign(duplicate_of=duplicate_of, is_overlap=is_overlap)


def with_duplicates(frame: pd.DataFrame, targets: pd.DataFrame, files: FileGroups) -> pd.DataFrame:
    """Return all kept rows of some whole days with what each repeats, given `targets_of` of the table.

    Added are duplicate_of, twin_of and near_twin_of, row ids or NONE; and is_overlap, whether another download has the
    event before.
    """
    is_target = frame["is_target"].to_numpy()
    others = frame[~is_target]
    known = np.searchsorted(targets["row_id"], frame["row_id"].to_numpy()[is_target])
    by_time = Places.of(targets).sorted_by_time()
    duplicate_of, twin_of, near_twin_of = np.full((3, len(frame)), NONE, np.int64)
    is_overlap = np.zeros(len(frame), bool)
    duplicate_of[is_target], is_overlap[is_target] = (
        targets[name].to_numpy()[known] for name in ("duplicate_of", "is_overlap")
    )
    duplicate_of[~is_target], is_overlap[~is_target] = _repeats(others, files, (SAME_EVENT,))
    twin_of[~is_target] = nearest_target(Places.of(others), by_time, TWIN)
    near_twin_of[~is_target] = nearest_target(Places.of(others), by_time, NEAR_TWIN)
    return frame.assign(duplicate_of=duplicate_of, is_overlap=is_overlap, twin_of=twin_of, near_twin_of=near_twin_of)


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

    All are [R]: the numbers of the layout and of the download of each row's file, these in the order of the files; and
    what is returned, row ids or NONE.
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
    import pandas as pd

    shared = np.flatnonzero(pd.Series(keys[0]).duplicated(keep=False))
    shared = shared[np.lexsort([key[shared] for key in reversed(by)])]
    groups = pd.Series(shared).groupby([key[shared] for key in keys], sort=False)
    first, rank = np.arange(len(keys[0])), np.zeros(len(keys[0]), np.int64)
    first[shared], rank[shared] = groups.transform("first"), groups.cumcount()
    return first, rank


def nearest_target(rows: Places, targets: Places, reach: Reach) -> Int64:
    """Return, for each row that is no target, the row id of the target that it is a twin of, or NONE; int64[R].

    Of the T targets within reach, given sorted by time, the nearest in time, then in distance, then the lowest row id.
    """
    result = np.full(len(rows.time_s), NONE, np.int64)
    for row, target, apart_m, apart_s in _pairs_within(rows, targets, reach):
        order = np.lexsort((targets.row_id[target], apart_m, apart_s, row))
        of, best = np.unique(row[order], return_index=True)
        result[of] = targets.row_id[target[order[best]]]
    return result


def _pairs_within(rows: Places, others: Places, reach: Reach) -> Iterator[tuple[Int64, Int64, Float64, Int64]]:
    """Give all pairs of a row and one of the others, sorted by time, within reach; and meters and seconds apart [P]."""
    low, high = (np.searchsorted(others.time_s, edge_s) for edge_s in reach.span_s(rows.time_s))
    for i, j in _pairs(low, high):
        apart_m = distance_m(rows.longitude[i], rows.latitude[i], others.longitude[j], others.latitude[j])
        near = apart_m <= reach.distance_m
        row, other = i[near], j[near]
        yield row, other, apart_m[near], np.abs(rows.time_s[row] - others.time_s[other])


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

    All rows within reach must be there, in any order; layouts are numbered in the order of the files. All are [R].
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
    for code in np.unique(category[second]):
        of_first, of_second = (index[category[index] == code] for index in (first, second))
        of_first = of_first[np.argsort(rows.time_s[of_first], kind="stable")]
        near = list(_pairs_within(rows.at(of_second), rows.at(of_first), reach))
        if not near:
            continue
        later, earlier, apart_m, apart_s = (np.concatenate(part) for part in zip(*near, strict=True))
        a, b = of_first[earlier], of_second[later]
        order = np.lexsort((rows.row_id[b], rows.row_id[a], apart_m, apart_s * (reach.within_s > 0)))
        taken: set[int] = set()
        for i, j in zip(a[order].tolist(), b[order].tolist(), strict=True):
            if not taken & {i, j}:
                taken |= {i, j}
                yield i, j
