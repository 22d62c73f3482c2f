"""Marks that tie rows together: exact duplicates, and rows that report the same event as a target row.

Both are array searches over rows sorted by time. The search for twins looks up, for each row, the stretch of target
rows within reach in time, and measures all pairs of it, a bounded number at once.

Shapes: R rows, T target rows, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hews_gpu.data.polygons import metres_per_degree

__all__ = ["NEAR_TWIN", "NONE", "TWIN", "Places", "Reach", "distance_m", "first_duplicates", "nearest_target"]

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


def first_duplicates(hash_a: npt.NDArray[np.uint64], hash_b: npt.NDArray[np.uint64], row_id: Ints) -> Ints:
    """For each row, the row id of the first row with the same two hashes; NONE for that first row itself.

    The hashes are over every text that is read of a row: time, place and category as spelt in the file, the
    charts-only columns and the schema's `compared` ones. Person-level columns are never read, so two victims of one
    event who differ in nothing else count as duplicates.
    """
    order = np.lexsort((row_id, hash_b, hash_a))
    a, b, ids = hash_a[order], hash_b[order], row_id[order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
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
