"""Gradient boosting by neighborhood: one law for all neighborhoods, learned from what lately happened in each.

The rate of target events in a neighborhood is a base, how many are to be expected there by the clock and the long run,
times a factor that trees make of recent counts: of every category in the neighborhood, in the nearest ones and in the
city, and of the time since its last target event. The factor is learned by telling the target events from moments and
places drawn from the base: of a classifier trained on both, the odds are the ratio of the two rates, up to the ratio of
their numbers (noise-contrastive estimation: Gutmann & Hyvarinen, 2012, JMLR 13; for point processes: Baddeley et al.,
2014, Biometrika 101). So the many quiet windows and places need not be gone through, and where nothing is to be learned
the trees have nothing to tell.

Shapes: S windows, N neighborhoods, J streams, M samples (a window and a neighborhood each), K columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hews_gpu.arrays import Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import TARGETS, Catalog, Outcomes
from hews_gpu.forecasters.climatology import hour_of_week
from hews_gpu.forecasters.level import Recent
from hews_gpu.forecasters.trees import Trees, grow_trees
from hews_gpu.units import HOUR_S

__all__ = ["LocalBoosting", "LocalBoostingFit"]

EDGES_H = (0, 2, 4, 8, 12, 16, 24, 36, 48, 72, 168, 672)  # of how long ago
WITHIN_H = (8, 16, 24, 72)  # counts from 0 on as well: trees do not add
AROUND_H = (0, 12, 48)  # of the neighborhoods around and of the city
AROUND = 5  # neighborhoods
LONGEST_H = 10_000.0  # since the last target event
DRAWN = 10  # samples of the base per target event
MOST_EVENTS, MOST_DRAWN = 6_000, 40_000  # learned from: the last events, and samples of the base
MOST_STREAMS = 20
MOST_COUNTS = 1 << 24  # at once: 64 MB
PRIOR_EVENTS = 0.5  # in each neighborhood before anything happened (Jeffreys)
TREES = {"max_iter": 120, "learning_rate": 0.08, "max_leaf_nodes": 8, "min_samples_leaf": 100, "max_features": 0.3}
L2 = 50.0


@dataclass(frozen=True, kw_only=True)
class LocalColumns:
    """What the trees look at."""

    streams: tuple[str, ...]  # J
    recent: Recent
    share: Float64  # [N] of each neighborhood in the target events
    around: Float32  # [N, N] a 1 where the first is among the nearest to the second

    def of(self, seen: Catalog, windows: Windows, window: Int64, area: Int64) -> Iterator[tuple[slice, Float32]]:
        """Return the columns [M, K] of samples in order of their windows, some windows at a time."""
        ratios, hour = self.recent.ratios(seen, windows), hour_of_week(windows.begin_s)
        clock = self.recent.climatology.logit(windows.begin_s)
        since_h = _since_last(seen, windows.issue_s[window], area)
        many = max(1, MOST_COUNTS // (seen.areas * len(EDGES_H) * len(self.streams)))
        for first in range(0, len(windows), many):
            part = slice(*np.searchsorted(window, [first, first + many]).tolist())
            w, n = window[part], area[part]
            columns = [clock[w], hour[w] % 24, hour[w] // 24, *ratios[w].T, np.log(self.share[n]), since_h[part]]
            for ago in _ago(seen, self.streams, windows.issue_s[first : first + many]):
                columns += _counts(ago, self.around, w - first, n)
            yield part, np.stack(columns, axis=1, dtype=np.float32, casting="same_kind")

    def expected(self, windows: Windows) -> Float64:
        """Return the events [S] that the clock alone expects in the city."""
        clock = np.logaddexp(0.0, self.recent.climatology.logit(windows.begin_s))
        return np.asarray(clock * self.recent.events_per_hazard, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class LocalBoostingFit:
    """What `LocalBoosting` learns."""

    columns: LocalColumns
    drawn_per_event: float
    """Samples of the base per target event that it expects."""
    trees: Trees


class LocalBoosting:
    """The forecaster; a seed decides which samples are drawn and which columns each split may use."""

    fitted: LocalBoostingFit

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        area, window = _events(past, train.windows)
        count = np.bincount(area, minlength=past.areas) + PRIOR_EVENTS
        columns = LocalColumns(
            streams=past.busiest(MOST_STREAMS),
            recent=Recent.fitted(past, train),
            share=count / count.sum(),
            around=_nearest(past),
        )
        area, window = area[-MOST_EVENTS:], window[-MOST_EVENTS:]
        windows, drawn = train.windows.select(np.arange(window[0], len(train))), min(DRAWN * len(area), MOST_DRAWN)
        expected, rng = columns.expected(windows), np.random.default_rng(self._seed)
        area = np.concatenate([area, rng.choice(past.areas, drawn, p=columns.share)])
        window = np.concatenate([window - window[0], rng.choice(len(windows), drawn, p=expected / expected.sum())])
        order = np.argsort(window, kind="stable")
        x = np.concatenate([part for _, part in columns.of(past, windows, window[order], area[order])])
        trees = grow_trees(x, order < len(area) - drawn, self._seed, l2_regularization=L2, **TREES)
        drawn_per_event = float(drawn / expected.sum())
        self.fitted = LocalBoostingFit(columns=columns, drawn_per_event=drawn_per_event, trees=trees)

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.predict_both(seen, windows)[0]

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        return self.predict_both(seen, windows)[1]

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] of the city and [S, N] of the neighborhoods."""
        hazards = self.hazards(seen, windows)
        return -np.expm1(-hazards.sum(axis=1)), -np.expm1(-hazards)

    def hazards(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the events [S, N] expected."""
        fitted, columns = self.fitted, self.fitted.columns
        window, area = np.divmod(np.arange(len(windows) * seen.areas), seen.areas)
        odds = np.empty(len(window))
        for part, x in columns.of(seen, windows, window, area):
            p = fitted.trees.probability(x)
            odds[part] = p / (1 - p)
        factor = odds.reshape(len(windows), seen.areas) * fitted.drawn_per_event
        return columns.expected(windows)[:, None] * columns.share * factor


def _counts(ago: Float32, around: Float32, window: Int64, area: Int64) -> Iterator[Float32]:
    """Return counts [M] of one stream by how long ago, of the edges [L, S, N]: here, around, and in the city."""
    here = ago[:, window, area]
    yield from here[:-1] - here[1:]
    for hours in WITHIN_H:
        yield here[0] - here[EDGES_H.index(hours)]
    for since, until in pairwise(EDGES_H.index(hours) for hours in AROUND_H):
        lately = ago[since] - ago[until]
        yield (lately @ around)[window, area]
        yield lately.sum(axis=1)[window]


def _events(past: Catalog, windows: Windows) -> tuple[Int64, Int64]:
    """Return neighborhood and window of the target events in some windows, in order of time."""
    rows = np.flatnonzero(past.is_event)
    rows = rows[np.argsort(past.time_s[rows], kind="stable")]
    window = np.searchsorted(windows.begin_s, past.time_s[rows], side="right") - 1
    inside = (window >= 0) & (past.time_s[rows] < windows.end_s[np.maximum(window, 0)])
    return past.area[rows[inside]].astype(np.int64), window[inside]


def _nearest(past: Catalog) -> Float32:
    """Return which neighborhoods are nearest to each [N, N], by the middles of their incidents: a 1 in its column."""
    count = np.maximum(np.bincount(past.area, minlength=past.areas), 1)
    middle = np.stack([np.bincount(past.area, weights=x, minlength=past.areas) / count for x in past.xy_m.T], axis=1)
    apart = ((middle[:, None] - middle) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    around = np.zeros((past.areas, past.areas), dtype=np.float32)
    nearest = np.argsort(apart, axis=0, kind="stable")[: min(AROUND, past.areas - 1)]
    np.put_along_axis(around, nearest, 1.0, axis=0)
    return around


def _since_last(seen: Catalog, issue_s: Int64, area: Int64) -> Float64:
    """Return the hours [M] since the last target event known of each sample's neighborhood."""
    column = seen.columns((TARGETS,), by_area=True)
    since = np.full(len(area), LONGEST_H)
    for n in range(seen.areas):
        mine, known_s = np.flatnonzero(area == n), seen.known_s[column == n]
        place = np.searchsorted(known_s, issue_s[mine], side="left") - 1
        mine, place = mine[place >= 0], place[place >= 0]
        since[mine] = np.minimum((issue_s[mine] - known_s[place]) / HOUR_S, LONGEST_H)
    return since


def _ago(seen: Catalog, streams: tuple[str, ...], issue_s: Int64) -> Iterator[Float32]:
    """Return for each stream how many rows [L, S, N] were known so long before each issue, of those not too old."""
    oldest_s = int(issue_s[0]) - EDGES_H[-1] * HOUR_S
    rows = seen.take(slice(*np.searchsorted(seen.known_s, [oldest_s, int(issue_s[-1])]).tolist()))
    column, shape = rows.columns(streams), (len(issue_s) + 1, seen.areas)
    for k in range(len(streams)):
        mine = column == k
        known_s, area = rows.known_s[mine], rows.area[mine].astype(np.int64)
        ago = np.empty((len(EDGES_H), len(issue_s), seen.areas), dtype=np.float32)
        for i, hours in enumerate(EDGES_H):
            first = np.searchsorted(issue_s, known_s + hours * HOUR_S, side="right")
            entered = np.bincount(first * seen.areas + area, minlength=shape[0] * shape[1]).reshape(shape)
            ago[i] = entered[:-1].cumsum(axis=0)
        yield ago
