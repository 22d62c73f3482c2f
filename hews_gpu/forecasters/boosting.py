"""Gradient boosting on past counts: what is there to gain from recent incidents by category and neighborhood?

Columns: the calendar, the climatology's log-odds, the level of the last 28 and 365 days; city-wide, of every category
and of all together, counts by how long ago, and decayed counts. Of thousands more the training windows choose those
that go together best with what the climatology left unexplained: counts of a category in a neighborhood, and city-wide
counts of near pairs (two categories close together within one step), each faded at once or after a delay; and what
layers measure of the whole city, such as a temperature, as last known.
Trees are scikit-learn's HistGradientBoostingClassifier (after LightGBM: Ke et al., 2017, NeurIPS). The climatology is a
column and not an offset: where it is overfitted, trees give it less than its full weight.

Shapes: E rows, S windows, K columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np

from hews_gpu.arrays import Bool, Float32, Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.climatology import hour_of_week, month_of_year
from hews_gpu.forecasters.forward import latest, thinned
from hews_gpu.forecasters.hewsnet_layers import pair_rows
from hews_gpu.forecasters.level import Recent
from hews_gpu.forecasters.threads import one_thread
from hews_gpu.forecasters.trees import Trees, grow_trees
from hews_gpu.units import HOUR_S

__all__ = ["Boosting", "BoostingFit", "Columns", "chosen_columns", "strongest"]

EDGES_H = (0, 1, 2, 4, 6, 8, 12, 16, 24, 36, 48, 72)  # of how long ago
CITY_DECAYS_S = (2 * HOUR_S, 8 * HOUR_S, 24 * HOUR_S, 168 * HOUR_S)
AREA_LAGS_S = ((0, 4 * HOUR_S), (0, 12 * HOUR_S), (0, 168 * HOUR_S), (4 * HOUR_S, 16 * HOUR_S))
PAIR_LAGS_S = ((0, 4 * HOUR_S), (0, 12 * HOUR_S))
PAIRS_M = (160.0, 300.0, 500.0)
AREA_COLUMNS, PAIR_COLUMNS = 64, 24  # at most
LEAST = 3.0  # score statistic of a column worth a look: under chance alone one in 370 has it
MOST_EVENTS, MOST_QUIET = 8_000, 20_000  # the last target events, and quiet windows among them, that trees learn from
MOST_STREAMS = 20
FORGOTTEN_S = 110 * 168 * HOUR_S  # exp(-110) is 0 in single precision
SCORED_WINDOWS = 16_000  # the last of the training windows choose columns: more would cost memory
CHUNK = 1 << 23  # counts at once: 64 MB
TREES = {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 4, "min_samples_leaf": 200, "max_features": 0.3}
L2 = 50.0


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Columns of one kind that the trees look at."""

    within_m: float | None
    """Of near pairs: how far apart at most; None: counts by neighborhood."""
    lag_s: tuple[int, int]
    columns: Int64  # sorted


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the trees look at."""

    streams: tuple[str, ...]
    recent: Recent
    step_s: int
    """Of the steps within which two incidents are near."""
    anchor_s: int
    chosen: tuple[Chosen, ...] = ()
    """Of thousands, these."""
    measured: tuple[str, ...] = ()
    """Numbers of the whole city."""

    def rows(
        self, seen: Catalog, within_m: float | None, only: tuple[tuple[str, str], ...] | None
    ) -> tuple[Catalog, Int64, int]:
        """Return what is counted, the column of each row, and how many columns there are.

        Args:
            seen: incidents.
            within_m: of near pairs; None: by neighborhood.
            only: pairs of streams that are looked for; all unless given.
        """
        streams = len(self.streams)
        if within_m is None:
            return seen, seen.columns(self.streams, by_area=True), streams * seen.areas
        pairs = pair_rows(seen, self.step_s, self.anchor_s, only, PAIRS_M[-1])
        place = {name: k for k, name in enumerate(self.streams)}
        names = np.array([place.get(name, -1) for name in seen.streams])
        a, b = names[pairs.stream // len(seen.streams)], names[pairs.stream % len(seen.streams)]
        return pairs, np.where((0 <= a) & (a <= b), a * streams + b, -1), streams**2

    def of(self, seen: Catalog, windows: Windows) -> Float32:
        """Return all that the trees look at [S, K]."""
        ratios = self.recent.ratios(seen, windows)
        seen = seen.since(int(windows.issue_s[0]) - FORGOTTEN_S)
        logit, hour = self.recent.climatology.logit(windows.begin_s), hour_of_week(windows.begin_s)
        calendar = np.stack([logit, hour % 24, hour // 24, month_of_year(windows.begin_s)], axis=1)
        city, streams = seen.columns(self.streams), len(self.streams)
        parts = [calendar, ratios]
        ago = [seen.counted(windows.issue_s - hours * HOUR_S, city, streams) for hours in EDGES_H]
        parts += [_with_total(since - until) for since, until in pairwise(ago)]
        parts += [_with_total(seen.decayed(windows.issue_s, city, streams, decay_s)) for decay_s in CITY_DECAYS_S]
        of_what: dict[bool, tuple[Catalog, Int64, int]] = {}
        wanted = [each.columns for each in self.chosen if each.within_m is not None]
        only = tuple(
            (self.streams[k // streams], self.streams[k % streams])
            for k in np.unique(np.hstack([[], *wanted])).astype(int)
        )
        for each in self.chosen:
            is_pair = each.within_m is not None
            if is_pair not in of_what:
                of_what[is_pair] = self.rows(seen, each.within_m, only)
            rows, kind, columns = of_what[is_pair]
            lookup = np.full(columns + 1, -1)
            lookup[each.columns] = np.arange(len(each.columns))
            column = lookup[_column(rows, kind, each.within_m)]
            parts.append(_faded(rows, windows.issue_s, column, len(each.columns), each.lag_s))
        measured = {one.name: one for one in seen.measured}
        parts += [measured[name].at(windows)[:, None] for name in self.measured]
        return np.hstack([np.asarray(part, dtype=np.float32) for part in parts])


@dataclass(frozen=True, kw_only=True)
class BoostingFit:
    """What `Boosting` learns."""

    columns: Columns
    trees: Trees


class Boosting:
    """The forecaster; a seed decides which columns each split may use."""

    fitted: BoostingFit

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        columns = chosen_columns(past, train)
        some, shift = thinned(latest(past, train, MOST_EVENTS), MOST_QUIET)
        trees = grow_trees(columns.of(past, some.windows), some.y, self._seed, l2_regularization=L2, **TREES)
        self.fitted = BoostingFit(columns=columns, trees=replace(trees, start=trees.start - shift))

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.fitted.trees.probability(self.fitted.columns.of(seen, windows))


def chosen_columns(past: Catalog, train: Outcomes) -> Columns:
    """Return the columns to look at, of which the training windows choose some."""
    plain = Columns(
        streams=past.busiest(MOST_STREAMS),
        recent=Recent.fitted(past, train),
        step_s=train.windows.horizon_s,
        anchor_s=int(train.windows.begin_s[0]),
        measured=tuple(one.name for one in past.measured),
    )
    return replace(plain, chosen=_chosen(plain, past, train))


def _chosen(plain: Columns, past: Catalog, train: Outcomes) -> tuple[Chosen, ...]:
    """Return the columns by neighborhood and of pairs that look most informative."""
    last = train.windows.select(np.arange(max(0, len(train) - SCORED_WINDOWS), len(train)))
    past = past.since(int(last.issue_s[0]) - FORGOTTEN_S)
    y, p = train.y[-len(last) :], plain.recent.climatology.probability(last.begin_s)
    by_area: list[tuple[float | None, tuple[int, int]]] = [(None, lag_s) for lag_s in AREA_LAGS_S]
    of_pairs: list[tuple[float | None, tuple[int, int]]] = list(product(PAIRS_M, PAIR_LAGS_S))
    chosen = []
    for most, kinds in ((AREA_COLUMNS, by_area), (PAIR_COLUMNS, of_pairs)):
        rows, kind, columns = plain.rows(past, kinds[0][0], None)
        scores = np.concatenate(
            [_scores(rows, _column(rows, kind, within_m), columns, lag_s, last, y, p) for within_m, lag_s in kinds]
        )
        best = np.argsort(-scores, kind="stable")[:most]
        best = best[scores[best] >= LEAST]
        for i, (within_m, lag_s) in enumerate(kinds):
            mine = np.sort(best[best // columns == i] % columns)
            chosen.append(Chosen(within_m=within_m, lag_s=lag_s, columns=mine))
    return tuple(each for each in chosen if len(each.columns))


def _column(rows: Catalog, kind: Int64, within_m: float | None) -> Int64:
    """Return the column [E] of each row; of pairs only those so near each other have one."""
    return kind if within_m is None else np.where(rows.xy_m[:, 0] <= within_m, kind, -1)


def _with_total(x: Float64) -> Float64:
    """Return columns and their sum [S, K + 1]."""
    return np.column_stack([x, x.sum(axis=1)])


def _faded(rows: Catalog, issue_s: Int64, column: Int64, columns: int, lag_s: tuple[int, int]) -> Float64:
    """Return decayed counts [S, K]; with a first lag, of what comes to act after it and then fades with the second."""
    delay_s, decay_s = lag_s
    x = rows.decayed(issue_s, column, columns, decay_s)
    return x - rows.decayed(issue_s, column, columns, delay_s) if delay_s else x


def _scores(
    rows: Catalog, column: Int64, columns: int, lag_s: tuple[int, int], windows: Windows, y: Bool, p: Float64
) -> Float64:
    """Return how far each column [K] goes with what a forecast left unexplained, a few columns at a time."""
    width = max(1, CHUNK // len(windows))
    parts = []
    for first in range(0, columns, width):
        count = min(width, columns - first)
        mine = np.where((column >= first) & (column < first + count), column - first, -1)
        parts.append(strongest(_faded(rows, windows.issue_s, mine, count, lag_s), y, p))
    return np.concatenate(parts)


def strongest(x: Float64, y: Bool, p: Float64) -> Float64:
    """Return how far each column [K] goes with what a forecast left unexplained: |score statistic| of its slope.

    Args:
        x: [S, K] columns.
        y: outcomes [S].
        p: the forecast [S].
    """
    weight = p * (1 - p)
    with one_thread():
        centered_sum = (y - p) @ x - (y - p).sum() * (weight @ x) / weight.sum()
        spread = weight @ x**2 - (weight @ x) ** 2 / weight.sum()
    return np.asarray(np.abs(centered_sum) / np.sqrt(np.maximum(spread, 1e-12)), dtype=np.float64)
