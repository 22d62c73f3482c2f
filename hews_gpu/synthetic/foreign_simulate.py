"""One history of a city, drawn from a foreign law window by window: every category's rows, and the truth behind them.

Shapes: K windows, N neighborhoods, E rows, A addresses, G chains: N or 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import shapely

from hews_gpu.arrays import Float64, Int64
from hews_gpu.synthetic.foreign_law import LATE_MIN, NEAR_PAIR, ForeignLaw, Hidden, Past, Renewal, Rows
from hews_gpu.synthetic.foreign_truth import ForeignTruth
from hews_gpu.synthetic.geography import Layout, make_layout
from hews_gpu.synthetic.law import SLOT_H, LogOddsRhythm, Wave
from hews_gpu.synthetic.pairs import SLOT_MIN, Incidents, find_pairs
from hews_gpu.synthetic.places import Addresses, make_addresses
from hews_gpu.synthetic.simulate import History, Points, Seeds
from hews_gpu.units import MINUTE_S

__all__ = ["simulate_foreign"]

WAVE_Y = (0.6, 1.7)  # years from one high of the wave to the next, from and to
TOUCH_M = 1.0  # shared border of neighborhoods between which risk moves, at least


class _Drawn(NamedTuple):
    """E rows of one category, in order of time."""

    rows: Rows
    xy_m: Float64  # [E, 2]


def simulate_foreign(law: ForeignLaw, seeds: Seeds, *, begin_s: int, hours: int) -> History:
    """Draw a city and its history; the same arguments give the same.

    Args:
        law: what to draw from.
        seeds: everything random derives from them.
        begin_s: local wall-clock seconds of the begin, a midnight.
        hours: how long, an even number.
    """
    layout = make_layout(np.random.default_rng(seeds.layout), areas=law.areas)
    places = make_addresses(np.random.default_rng(seeds.places), layout)
    rng = np.random.default_rng(seeds.hidden_areas)  # of all that no row shows
    base = _by_window(_clock(rng, law.base).hourly(begin_s, hours) * _wave(rng, law.wave_swing).hourly(hours))
    values = _hidden_values(rng, law.hidden, len(base), law.areas)
    drawn: dict[str, _Drawn] = {}
    means, shares = {}, {}
    for category, seed in zip(law.categories, seeds.categories, strict=True):
        own = np.random.default_rng(seed)
        weights = places.weights(own, category.hot_share)
        mean, share = _by_window(category.hourly(begin_s, hours)), places.shares(weights)
        means[category.name], shares[category.name] = mean, share
        gain = dict(law.hidden.categories).get(category.name, 0.0) if law.hidden is not None else 0.0
        count = own.poisson(mean[:, None] * share * np.exp(gain * values))
        drawn[category.name] = _placed(own, _spread(own, count), places, weights)

    target_rng = np.random.default_rng(seeds.target)
    weights = places.weights(target_rng, law.target_hot_share)
    truth = ForeignTruth(
        law=law,
        begin_s=begin_s,
        base=base,
        area_share=places.shares(weights),
        past=_past(law, layout, drawn, shares, len(base)),
        category_means=np.array([means[name] for name in law.observed]).reshape(-1, len(base)),
        category_shares=np.array([shares[name] for name in law.observed]).reshape(-1, law.areas),
        target_s=np.empty(0, np.int64),
        target_area=np.empty(0, np.int64),
    )
    rows = _targets(target_rng, truth, values)
    target = _placed(np.random.default_rng(seeds.target_positions), rows, places, weights)
    truth = replace(truth, target_s=begin_s + target.rows.minute * MINUTE_S, target_area=target.rows.area)
    events = {name: Points(each.rows.minute, each.xy_m) for name, each in {law.target: target, **drawn}.items()}
    return History(layout=layout, events=events, truth=truth)


def _by_window(rate_per_h: Float64) -> Float64:
    """Return what is expected in each window [K] of a rate by hour."""
    return np.asarray(rate_per_h.reshape(-1, SLOT_H).sum(axis=1))


def _clock(rng: np.random.Generator, base: LogOddsRhythm) -> LogOddsRhythm:
    """Draw when a city's targets are most and least likely."""
    return replace(
        base,
        peak_hour=rng.uniform(19, 28),
        swing=rng.uniform(0.5, 1.0),
        weekend=rng.uniform(0.0, 0.6),
        peak_month=rng.uniform(5, 10),
        season=rng.uniform(0.1, 0.3),
    )


def _wave(rng: np.random.Generator, swing: float) -> Wave:
    return Wave(swing=swing, period_y=rng.uniform(*WAVE_Y), phase=rng.uniform(0, 2 * np.pi))


def _hidden_values(rng: np.random.Generator, hidden: Hidden | None, windows: int, areas: int) -> Float64:
    """Draw the hidden value of each window and chain [K, G]; zeros where there is none."""
    if hidden is None:
        return np.zeros((windows, 1))
    chains = areas if hidden.by_area else 1
    edges = np.cumsum(hidden.moves, axis=1)[:, :-1]  # [Z, Z - 1]
    state = np.searchsorted(np.cumsum(hidden.stationary)[:-1], rng.random(chains), side="right")
    states = np.empty((windows, chains), np.int64)
    states[0] = state
    is_move = hidden.is_move(windows)
    for window in range(1, windows):
        if is_move[window]:
            state = (rng.random(chains)[:, None] >= edges[state]).sum(axis=1)
        states[window] = state
    return np.array(hidden.values)[states]


def _spread(rng: np.random.Generator, count: Int64) -> Rows:
    """Draw the minutes of so many rows in each window and neighborhood [K, N]."""
    window, area = np.divmod(np.repeat(np.arange(count.size), count.ravel()), count.shape[1])
    minute = window * SLOT_MIN + rng.integers(0, SLOT_MIN, size=len(window))
    order = np.argsort(minute, kind="stable")
    return Rows(minute[order], area[order])


def _placed(rng: np.random.Generator, rows: Rows, places: Addresses, weights: Float64) -> _Drawn:
    """Draw an address in its neighborhood for each row, by the weights [A], and where at that address it happens."""
    order = np.argsort(places.area, kind="stable")
    edges = np.concatenate([[0.0], np.cumsum(weights[order])])
    first = np.searchsorted(places.area[order], np.arange(places.areas + 1))
    low, high = edges[first[rows.area]], edges[first[rows.area + 1]]
    index = np.searchsorted(edges, low + rng.random(len(low)) * (high - low), side="right") - 1
    address = order[np.clip(index, first[rows.area], first[rows.area + 1] - 1)]
    return _Drawn(rows, places.position(rng, address))


def _past(law: ForeignLaw, layout: Layout, drawn: dict[str, _Drawn], shares: dict[str, Float64], windows: int) -> Past:
    """Return the rows that the law depends on."""
    rows = {name: drawn[name].rows for name in law.sources}
    if law.pair is not None:
        rows[NEAR_PAIR] = _near_pairs(drawn[law.pair[0]], drawn[law.pair[1]], law.within_m)
    share = shares[law.effects[0].source] if law.origin_share else np.zeros(law.areas)
    origin = int(np.argmin(np.abs(share - law.origin_share)))
    return Past(windows=windows, neighbors=_neighbors(layout), origin=origin, rows=rows)


def _near_pairs(first: _Drawn, second: _Drawn, within_m: float) -> Rows:
    """Return when each pair of rows in one window was complete, and where its first row lies."""
    one, other = (Incidents(minute=side.rows.minute, xy_m=side.xy_m, area=side.rows.area) for side in (first, second))
    a, b = find_pairs(one, other, one.minute // SLOT_MIN, other.minute // SLOT_MIN, within_m)
    minute = np.maximum(one.minute[a], other.minute[b])
    order = np.argsort(minute, kind="stable")
    return Rows(minute[order], one.area[a][order])


def _neighbors(layout: Layout) -> Float64:
    """Return the share of each neighborhood's (row's) inner border that it has in common with each other [N, N]."""
    cells = np.array(layout.cells)
    first, second = shapely.STRtree(cells).query(cells, predicate="intersects")
    border = np.zeros((len(cells), len(cells)))
    border[first, second] = shapely.length(shapely.intersection(cells[first], cells[second]))
    np.fill_diagonal(border, 0.0)
    border[border < TOUCH_M] = 0.0
    return np.asarray(border / border.sum(axis=1, keepdims=True))


def _targets(rng: np.random.Generator, truth: ForeignTruth, values: Float64) -> Rows:
    """Draw the target events, given the hidden values [K, G]."""
    hidden, renewal = truth.law.hidden, truth.law.renewal
    if renewal is not None:
        return _renewed(rng, replace(truth, law=replace(truth.law, renewal=None)).mean(), renewal)
    mean = truth.mean() if hidden is None else np.zeros((truth.past.windows, truth.areas))
    for value in hidden.values if hidden is not None else ():
        mean = np.where(values == value, truth.mean(value), mean)
    return _spread(rng, rng.poisson(mean))


def _renewed(rng: np.random.Generator, mean: Float64, renewal: Renewal) -> Rows:
    """Draw target events whose means [K, N] depend on the last one of their neighborhood."""
    last = np.full(mean.shape[1], -np.inf)
    drawn: list[tuple[int, int]] = []
    waiting: list[tuple[int, int]] = []  # events that were too late for the last window's means
    for window in range(len(mean)):
        known = window * SLOT_MIN - LATE_MIN
        for minute, area in [event for event in waiting if event[0] < known]:
            last[area] = max(last[area], minute)
        waiting = [event for event in waiting if event[0] >= known]
        count = rng.poisson(mean[window] * renewal.factor(known - last))
        for area in np.repeat(np.arange(len(count)), count).tolist():
            waiting.append((window * SLOT_MIN + int(rng.integers(SLOT_MIN)), area))
            drawn.append(waiting[-1])
    minutes, areas = np.array(sorted(drawn), dtype=np.int64).reshape(-1, 2).T
    return Rows(minutes, areas)
