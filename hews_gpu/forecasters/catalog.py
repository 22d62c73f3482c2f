"""What was known when: incidents in the order in which they became known, and the counts a forecast may be made from.

A row is known from `known_s` on, which is not before it happened: its time plus the reporting delay, or what the data
say. A forecast issued at t sees the rows with ``known_s < t``; since the rows are sorted by `known_s` these are the
first ones, so nothing that is counted for t can depend on a row that became known at t or later, not even in its last
bit.
Rows of one event (a target and its twins, the victims of one shooting) are not treated as one here: that two rows are
of one event is known only once both are, and whoever hid the first of them until then would tell by its absence what is
to come. That no row of an event foretells the rest of it is a matter of delay and lead: see `protocol.Task.apart`.

Shapes: E rows, S windows, K columns of counts, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.sums import faded_sums

__all__ = [
    "TARGETS",
    "Catalog",
    "Measured",
    "Outcomes",
    "area_counts",
    "label_known_s",
    "make_catalog",
    "outcomes",
    "settling_s",
    "target_events",
    "with_layers",
]


TARGETS = "TARGETS"
"""The stream of all target categories; every other category is a stream of its own."""
LAYER = ": "
"""Between the name of a layer and that of a category, in the name of a stream."""
OUTSIDE = -1
SETTLED = 0.99
"""Of the targets of a stretch of time, so many are known once it counts as settled."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Windows with what happened in them: what a forecaster is fitted on."""

    windows: Windows
    y: Bool  # [S] whether a target incident fell into the window

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number of the whole city, such as a temperature by the hour, or 1 on school days; sorted by time."""

    name: str
    time_s: Int64  # [R] from when on it is so
    known_s: Int64  # [R] from when on that is known; before it is so of what is published ahead
    value: Float64  # [R]

    def until(self, when_s: int) -> Measured:
        """Return what is known before a moment."""
        known = self.known_s < when_s
        columns = {name: getattr(self, name)[known] for name in ("time_s", "known_s", "value")}
        return Measured(name=self.name, **columns)

    def at(self, windows: Windows) -> Float64:
        """Return the number [S] as each window begins, as known when its forecast is issued; before the first one 0."""
        row = np.searchsorted(self.time_s, windows.begin_s, side="right") - 1
        while (late := (row >= 0) & (self.known_s[row] >= windows.issue_s)).any():
            row[late] -= 1
        return np.where(row >= 0, self.value[row], 0.0)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Incidents sorted by when they became known (ties in the order given). Made by `make_catalog`."""

    time_s: Int64  # [E] local wall-clock seconds at which it happened
    known_s: Int64  # [E] sorted; from when on it is known, never before `time_s`
    stream: NDArray[np.int32]  # [E] index into `streams`
    area: NDArray[np.int16]  # [E] neighborhood; -1 of a row of the whole city
    xy_m: Float64  # [E, 2] meters east and north of some origin; NaN of a row of the whole city
    is_target: Bool  # [E]
    is_first: Bool  # [E] the first known row of its kind, minute and neighborhood: counts count events, not victims
    streams: tuple[str, ...]
    areas: int  # N
    delay_s: int  # the reporting delay that `known_s` was made with
    measured: tuple[Measured, ...] = ()
    """Numbers of the whole city that layers tell."""

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def is_event(self) -> Bool:
        """[E] whether a row is a target event: the first known row of one."""
        return self.is_target & self.is_first

    def within(self, begin_s: int, end_s: int) -> Bool:
        """Return whether each row [E] happened in [begin, end)."""
        return (self.time_s >= begin_s) & (self.time_s < end_s)

    def until(self, when_s: int) -> Catalog:
        """Return the rows known before a moment: all that a fit at that moment can look at."""
        known = self.take(slice(0, int(np.searchsorted(self.known_s, when_s, side="left"))))
        return replace(known, measured=tuple(one.until(when_s) for one in self.measured)) if self.measured else known

    @property
    def placed(self) -> Catalog:
        """The rows that have a place."""
        return self if (self.area >= 0).all() else self.take(self.area >= 0)

    def since(self, when_s: int) -> Catalog:
        """Return the rows known from a moment on."""
        return self.take(slice(int(np.searchsorted(self.known_s, when_s, side="left")), None))

    def busiest(self, most: int) -> tuple[str, ...]:
        """Return the streams that have rows, in order; of more than so many, those of the targets and of most rows."""
        count = np.bincount(self.stream, minlength=len(self.streams))
        order = np.argsort(np.where([name == TARGETS for name in self.streams], -len(self), -count), kind="stable")
        return tuple(self.streams[k] for k in np.sort(order[:most]) if count[k])

    def known_at_once(self) -> Catalog:
        """Return the same rows as if each had been known when it happened: to estimate a law, not to forecast."""
        order = np.argsort(self.time_s, kind="stable")
        return replace(self.take(order), known_s=self.time_s[order], delay_s=0)

    def take(self, rows: slice | Int64 | Bool) -> Catalog:
        """Return some of the rows, in their order."""
        taken: dict[str, Any] = {name: v[rows] for name, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **taken)

    def columns(self, streams: tuple[str, ...], *, by_area: bool = False) -> Int64:
        """Return the column [E] of each row's count, -1 where it has none: one per stream, or stream and neighborhood.

        Args:
            streams: which streams are counted, by name: indices may differ between catalogs.
            by_area: column ``stream * N + neighborhood`` instead of ``stream``.
        """
        place = {name: i for i, name in enumerate(streams)}
        lookup = np.array([place.get(name, OUTSIDE) for name in self.streams], dtype=np.int64)
        column = lookup[self.stream] if len(self) else np.zeros(0, dtype=np.int64)
        if by_area:
            column = np.where((column >= 0) & (self.area >= 0), column * self.areas + self.area, OUTSIDE)
        return np.where(self.is_first, column, OUTSIDE)

    def counted(self, issue_s: Int64, column: Int64, columns: int, span_s: int | None = None) -> Float64:
        """Return the rows [S, K] per column that became known in the last `span_s` before each issue time, or ever."""
        counts, order = np.empty((len(issue_s), columns)), np.argsort(column, kind="stable")
        edges = np.searchsorted(column[order], np.arange(columns + 1))
        for k in range(columns):
            known_s = self.known_s[order[edges[k] : edges[k + 1]]]
            counts[:, k] = np.searchsorted(known_s, issue_s, side="left")
            if span_s is not None:
                counts[:, k] -= np.searchsorted(known_s, issue_s - span_s, side="left")
        return counts

    def younger(self, issue_s: Int64, span_s: int) -> tuple[Int64, Int64]:
        """Return window and row of all rows known before each issue [S], but no `span_s` old when knowledge ended."""
        first = np.searchsorted(self.known_s, issue_s - span_s, side="right")
        count = np.maximum(np.searchsorted(self.known_s, issue_s, side="left") - first, 0)
        window = np.repeat(np.arange(len(issue_s)), count)
        row = np.arange(len(window)) - np.repeat(np.cumsum(count) - count - first, count)
        kept = self.time_s[row] > issue_s[window] - self.delay_s - span_s
        return window[kept], row[kept]

    def decayed(
        self, issue_s: Int64, column: Int64, columns: int, decay_s: float, weight: Float64 | None = None
    ) -> Float64:
        """Return sums [S, K] of ``exp(-(issue - time) / decay)`` over the rows of each column known before each issue.

        Those of one issue time do not depend on the others, not in their last bit.

        Args:
            issue_s: sorted issue times [S].
            column: [E] of each row; -1 for rows that do not count.
            columns: K.
            decay_s: may be infinite: then rows are counted, or their weights added.
            weight: [E, K] of each row in each column, instead of a one in `column`.
        """
        assert np.all(np.diff(issue_s) >= 0), "issue times must be sorted"
        row = np.flatnonzero(column >= 0)
        if weight is not None and len(row) < len(weight):
            weight = weight[row]
        return faded_sums(issue_s, self.known_s[row], self.time_s[row], column[row], columns, decay_s, weight)


def make_catalog(
    *,
    time_s: Int64,
    category: NDArray[np.integer],
    area: NDArray[np.integer],
    xy_m: Float64,
    is_target: Bool,
    categories: tuple[str, ...],
    areas: int,
    delay_s: int = 0,
    known_s: Int64 | None = None,
) -> Catalog:
    """Return a catalog of columns in any order.

    They are those of `Catalog`; `category` counts in `categories`, of which those of targets become one stream. A row
    is known `delay_s` after it happened, unless `known_s` says when, and not before that delay has passed.
    """
    known = time_s + delay_s if known_s is None else np.maximum(known_s, time_s + delay_s)
    names = (TARGETS, *categories)
    stream = np.where(is_target, 0, np.asarray(category, dtype=np.int64) + 1)
    order = np.lexsort((np.arange(len(known)), time_s, known))
    stream, place = stream[order], np.asarray(area, dtype=np.int64)[order]
    key = (time_s[order] // 60 * len(names) + stream) * (areas + 1) + place  # a row of the whole city has place -1
    is_first = np.zeros(len(key), dtype=bool)
    is_first[np.unique(key, return_index=True)[1]] = True
    return Catalog(
        time_s=time_s[order],
        known_s=known[order],
        stream=stream.astype(np.int32),
        area=place.astype(np.int16),
        xy_m=xy_m[order],
        is_target=is_target[order],
        is_first=is_first,
        streams=names,
        areas=areas,
        delay_s=delay_s,
    )


def with_layers(incidents: Catalog, layers: Mapping[str, Catalog]) -> Catalog:
    """Return a catalog with the rows of others, by name, in the order in which all became known.

    Their streams come after those of the incidents and are named `layer: CATEGORY`; none of them holds targets. Rows
    that happened before all incidents are left out: a level would take that time for one without any.
    """
    if not layers:
        return incidents
    every, streams = [incidents], list(incidents.streams)
    first_s = incidents.time_s.min(initial=np.iinfo(np.int64).max)
    for name, whole in layers.items():
        layer = whole.take(whole.time_s >= first_s)
        stream = layer.stream - 1 + len(streams)  # the first stream of any catalog is that of targets
        every.append(replace(layer, stream=stream.astype(np.int32)))
        streams += [f"{name}{LAYER}{category}" for category in layer.streams[1:]]
    names = [name for name, value in vars(incidents).items() if isinstance(value, np.ndarray)]
    columns: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in every]) for name in names}
    joined = replace(incidents, streams=tuple(streams), **columns)
    return joined.take(np.lexsort((np.arange(len(joined)), joined.time_s, joined.known_s)))


def outcomes(catalog: Catalog, windows: Windows) -> Outcomes:
    """Return what happened in each window, whenever it became known."""
    times = np.sort(catalog.time_s[catalog.is_target])
    begin, end = (np.searchsorted(times, edge, side="left") for edge in (windows.begin_s, windows.end_s))
    return Outcomes(windows=windows, y=end > begin)


def label_known_s(catalog: Catalog, windows: Windows) -> Int64:
    """Return when [S] it became known that a target fell into each window.

    Where none did, its last second plus the constant delay: that nothing happened is never reported.
    """
    rows = np.flatnonzero(catalog.is_target)
    rows = rows[np.argsort(catalog.time_s[rows], kind="stable")]
    times, known = catalog.time_s[rows], catalog.known_s[rows]
    begin, end = (np.searchsorted(times, edge, side="left") for edge in (windows.begin_s, windows.end_s))
    known_s = windows.end_s - 1 + catalog.delay_s
    for s in np.flatnonzero(end > begin).tolist():
        known_s[s] = known[begin[s] : end[s]].min()
    return known_s


def settling_s(catalog: Catalog, when_s: int, share: float = SETTLED) -> int:
    """Return how soon a target is known, with a given probability, from the rows known before a moment."""
    known = catalog.until(when_s)
    waited_s = (known.known_s - known.time_s)[known.is_target]
    return int(np.ceil(np.quantile(waited_s, share))) if len(waited_s) else catalog.delay_s


def area_counts(catalog: Catalog, windows: Windows) -> NDArray[np.int16]:
    """Return the target events [S, N] in each window and neighborhood; windows are in order and may overlap."""
    rows = np.flatnonzero(catalog.is_event)
    first = np.searchsorted(windows.end_s, catalog.time_s[rows], side="right")  # the first window that ends later
    last = np.searchsorted(windows.begin_s, catalog.time_s[rows], side="right")
    times = np.maximum(last - first, 0)  # in how many windows each event lies
    window = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times - first, times)
    counts = np.zeros((len(windows), catalog.areas), dtype=np.int16)
    np.add.at(counts, (window, np.repeat(catalog.area[rows], times)), 1)
    return counts


def target_events(past: Catalog, windows: Windows) -> tuple[Int64, Int64]:
    """Return neighborhood and window of the target events in some windows, in order of time."""
    rows = np.flatnonzero(past.is_event)
    rows = rows[np.argsort(past.time_s[rows], kind="stable")]
    window = np.searchsorted(windows.begin_s, past.time_s[rows], side="right") - 1
    inside = (window >= 0) & (past.time_s[rows] < windows.end_s[np.maximum(window, 0)])
    return past.area[rows[inside]].astype(np.int64), window[inside]
