"""Layers of the past that HewsNet may read: the incidents of each category, and pairs of categories close together.

A pair is two incidents of given categories in one step of the map stack (a window's length, on the windows' grid), at
most so many meters apart: what is left of the product of one category's map with the other's, smeared over a disk. It
lies in the neighborhood of the first and stands from the last minute of its step on, when the step's maps are whole.

A candidate is a layer, a decay, and whether it acts here or anywhere. Their number is in the thousands, so each is
kept as the few events at which it is not 0.

Shapes: E target events, R rows, K candidates, J streams, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.forecasters.catalog import TARGETS, Catalog
from hews_gpu.units import HOUR_S, MINUTE_S

__all__ = [
    "FEWEST_ROWS",
    "Candidates",
    "Group",
    "Layer",
    "candidates",
    "exposure",
    "left_at",
    "pair_name",
    "pair_rows",
    "rows_of",
]


CITY_DECAYS_S = tuple(hours * HOUR_S for hours in (1, 3, 8, 24, 72, 672))
ORIGIN_DECAYS_S = tuple(hours * HOUR_S for hours in (3, 8, 24))
LOCAL_DECAYS_S = CITY_DECAYS_S[:-1]
PAIR_DECAYS_S = CITY_DECAYS_S[:4]
RADII_M = (160.0, 240.0, 360.0, 540.0, 810.0, 1000.0)  # each half as far again; adjusted afterwards
BETWEEN = "\x1f"  # separates the two names of a pair's stream: no category's name contains it
MOST_PAIRED = 30  # streams that pairs are sought among, the most frequent ones: pairs of rare ones are too few
AT_ONCE = 256  # candidates turned into a sparse matrix: thousands would take gigabytes
FEWEST_ROWS = 50  # of a layer: nothing can be learned from fewer
FORGOTTEN = 8.0  # decays after which a row is left out: exp(-8) of it is left
APART = 1 << 40  # seconds between neighborhoods laid end to end on one axis of time


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one layer of the model shows."""

    stream: str
    partner: str | None = None
    """Of pairs: the other category."""
    within_m: float = 0.0
    """Of pairs: how far apart at most."""
    decay_s: float
    is_local: bool
    """Whether it acts in its own neighborhood, instead of anywhere."""
    origin: int | None = None
    """The only neighborhood whose incidents count; all unless given."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Candidates of one kind, as a sparse matrix."""

    layers: list[Layer]  # K
    left: Any
    """scipy csc_array [E, K]: in the event's neighborhood, or in the city times the share of that neighborhood."""
    total: Float64  # [K] integral over the time learned from


@dataclass(frozen=True, kw_only=True)
class Group:
    """Target events that are learned from."""

    time_s: Int64  # [E] sorted
    area: Int64  # [E]
    begin_s: int
    end_s: int
    blind_s: int = 0
    """Rows that are no older than this do not count: an event may be reported by several of them."""


def pair_rows(
    past: Catalog,
    step_s: int,
    anchor_s: int,
    only: tuple[tuple[str, str], ...] | None = None,
    within_m: float = RADII_M[-1],
    *,
    whole_steps: bool = True,
) -> Catalog:
    """Return pairs as rows of a catalog, known when both of their incidents are and their step is over.

    Each pair is there twice, as a pair of (a, b) and of (b, a). The first column of `xy_m` is the distance between the
    two. A step that ends after the end of knowledge counts as unknown as a whole.

    Args:
        past: incidents.
        step_s: length of a step.
        anchor_s: a time at which some step begins.
        only: pairs of streams to look for; all unless given.
        within_m: how far apart at most.
        whole_steps: whether a pair stands from the end of its step on, as on maps; else from its later incident on.
    """
    row = np.flatnonzero(past.is_first & (past.area >= 0))
    if only is None:
        wanted = np.argsort(-np.bincount(past.stream[row], minlength=len(past.streams)), kind="stable")[:MOST_PAIRED]
    else:
        wanted = np.array([k for k, name in enumerate(past.streams) if any(name in pair for pair in only)], dtype=int)
    row = row[np.isin(past.stream[row], wanted)]
    a, b, slot = _near_pairs(past, row, (past.time_s[row] - anchor_s) // step_s, within_m)
    kind = past.stream[a].astype(np.int64) * len(past.streams) + past.stream[b]
    names = tuple(first + BETWEEN + second for first in past.streams for second in past.streams)
    if only is not None:
        kept = np.isin(kind, [names.index(BETWEEN.join(pair)) for pair in only])
        a, b, slot, kind = a[kept], b[kept], slot[kept], kind[kept]
    time_s = anchor_s + (slot + 1) * step_s - MINUTE_S if whole_steps else np.maximum(past.time_s[a], past.time_s[b])
    known_s = np.maximum(np.maximum(past.known_s[a], past.known_s[b]), time_s + past.delay_s)
    order = np.lexsort((time_s, known_s))
    apart = np.hypot(*(past.xy_m[a] - past.xy_m[b]).T)
    return Catalog(
        time_s=time_s[order],
        known_s=known_s[order],
        stream=kind[order].astype(np.int32),
        area=past.area[a][order],
        xy_m=np.stack([apart, np.zeros(len(a))], axis=1)[order],
        is_target=np.zeros(len(a), dtype=bool),
        is_first=np.ones(len(a), dtype=bool),
        streams=names,
        areas=past.areas,
        delay_s=past.delay_s,
    )


def pair_name(stream: str, partner: str) -> str:
    """Return the stream of `pair_rows` that pairs of two streams are in."""
    return stream + BETWEEN + partner


def _near_pairs(past: Catalog, row: Int64, slot: Int64, within_m: float) -> tuple[Int64, Int64, Int64]:
    """Return rows a and b of all ordered pairs of near rows of one slot, and the slot.

    Rows are sorted by slot and from west to east, and each is compared with the next, the next but one and so on, as
    long as that lies in the same slot and not too far east.
    """
    order = np.lexsort((past.xy_m[row, 0], slot))
    row, slot = row[order], slot[order]
    xy_m = past.xy_m[row]
    first, ahead = np.arange(len(row)), 0
    near = [np.empty((2, 0), dtype=np.int64)]
    while len(first):
        ahead += 1
        first = first[: np.searchsorted(first, len(row) - ahead)]
        east_m = xy_m[first + ahead, 0] - xy_m[first, 0]
        first = first[(slot[first + ahead] == slot[first]) & (east_m <= within_m)]
        kept = first[((xy_m[first + ahead] - xy_m[first]) ** 2).sum(axis=1) <= within_m**2]
        near.append(np.stack([kept, kept + ahead]))
    a, b = np.hstack([*near, *(pair[::-1] for pair in near)])
    order = np.lexsort((row[b], row[a], slot[a]))
    a, b = a[order], b[order]
    return row[a], row[b], slot[a]


def rows_of(layer: Layer, incidents: Catalog, pairs: Catalog) -> Catalog:
    """Return the rows that a layer shows, as the only stream of a catalog."""
    if layer.partner is None:
        source, name = incidents, layer.stream
        keep = source.is_first
    else:
        source, name = pairs, pair_name(layer.stream, layer.partner)
        keep = source.xy_m[:, 0] <= layer.within_m
    place = source.streams.index(name) if name in source.streams else -1
    if layer.origin is not None:
        keep = keep & (source.area == layer.origin)
    rows = source.take(keep & (source.stream == place))
    return replace(rows, stream=np.zeros_like(rows.stream), streams=(name,))


def left_at(rows: Catalog, layer: Layer, group: Group) -> Float64:
    """Return what is left of a layer just before each event [E], a second: in its neighborhood, or in the city."""
    if layer.is_local:
        event, row = _recent(rows.time_s, rows.area.astype(np.int64), group, layer.decay_s)
        value = np.exp((rows.time_s[row] - group.time_s[event]) / layer.decay_s) / layer.decay_s
        return np.asarray(np.bincount(event, weights=value, minlength=len(group.area)), dtype=np.float64)
    column = np.zeros(len(rows), dtype=np.int64)
    return np.asarray(_known(rows, group).decayed(group.time_s, column, 1, layer.decay_s)[:, 0] / layer.decay_s)


def exposure(rows: Catalog, decay_s: float, group: Group) -> Float64:
    """Return the integral [N] over the time learned from of what is left of the rows, each 1 in all."""
    weight = _inside(rows.time_s, decay_s, group)
    area = np.maximum(rows.area, 0)  # rows of the whole city act anywhere: of them only the sum is asked for
    return np.asarray(np.bincount(area, weights=weight, minlength=rows.areas), dtype=np.float64)


def _known(rows: Catalog, group: Group) -> Catalog:
    """Return the rows, known once they count."""
    at_once = rows.known_at_once()
    return replace(at_once, known_s=at_once.time_s + group.blind_s, delay_s=group.blind_s)


def candidates(past: Catalog, pairs: Catalog, group: Group, share: Float64) -> list[Candidates]:
    """Return all candidates by kind: in the city, of all rows, those of one neighborhood, or pairs; or where they are.

    Args:
        past: incidents, each known when it happened.
        pairs: of them.
        group: events to learn from.
        share: [N] of each neighborhood in the events, for layers that act anywhere.
    """
    known, near = _known(past, group), _known(pairs, group)
    plain = [Layer(stream=name, decay_s=0.0, is_local=False) for name in past.streams]
    others = tuple(name for name in past.streams if name != TARGETS)  # what targets set off must set off others in turn
    by_origin = [replace(layer, origin=n) for layer in plain if layer.stream in others for n in range(past.areas)]
    in_city = [_in_city(known, known.columns(past.streams), plain, group, share, CITY_DECAYS_S, 0)]
    column = known.columns(others, by_area=True)
    in_city += [_in_city(known, column, by_origin, group, share, (decay_s,)) for decay_s in ORIGIN_DECAYS_S]
    first, second = np.divmod(np.unique(near.stream), len(past.streams))
    kinds = (first * len(past.streams) + second)[first <= second]  # in the city (b, a) says the same as (a, b)
    names = [near.streams[kind].split(BETWEEN) for kind in kinds]
    for within_m in RADII_M[1::2]:
        column = np.where((near.xy_m[:, 0] <= within_m) & np.isin(near.stream, kinds), near.stream, -1)
        column = np.where(column >= 0, np.searchsorted(kinds, column), -1)
        of_pairs = [Layer(stream=a, partner=b, within_m=within_m, decay_s=0.0, is_local=False) for a, b in names]
        in_city.append(_in_city(near, column, of_pairs, group, share, ORIGIN_DECAYS_S))
    return [*in_city, _local(past, group, LOCAL_DECAYS_S, None)] + [
        _local(pairs, group, PAIR_DECAYS_S, radius) for radius in RADII_M
    ]


def _in_city(
    rows: Catalog,
    column: Int64,
    layers: list[Layer],
    group: Group,
    share: Float64,
    decays_s: tuple[int, ...],
    fewest: int = FEWEST_ROWS,
) -> Candidates:
    """Return the candidates that act anywhere, of rows known once they count.

    Args:
        rows: incidents or pairs.
        column: [R] the layer of each, -1 of none.
        layers: those that the columns show, their decays still to be set.
        group: events to learn from.
        share: [N] of each neighborhood in the events.
        decays_s: in turn.
        fewest: rows of a layer; of the others nothing could be learned.
    """
    from scipy.sparse import csc_array, hstack

    count = np.bincount(column[column >= 0], minlength=len(layers))
    enough = np.flatnonzero(count >= fewest)
    lookup = np.full(len(layers) + 1, -1)
    lookup[enough] = np.arange(len(enough))
    column = lookup[column]
    kept = column >= 0
    chosen, left, total = [], [], []
    for decay_s in decays_s:
        level = rows.decayed(group.time_s, column, len(enough), decay_s)
        level /= decay_s
        level *= share[group.area][:, None]
        left += [csc_array(level[:, first : first + AT_ONCE]) for first in range(0, max(1, len(enough)), AT_ONCE)]
        weight = _inside(rows.time_s[kept], decay_s, group)
        total.append(np.bincount(column[kept], weights=weight, minlength=len(enough)))
        chosen += [replace(layers[k], decay_s=decay_s) for k in enough]
    return Candidates(layers=chosen, left=hstack(left, format="csc"), total=np.concatenate(total))


def _local(rows: Catalog, group: Group, decays_s: tuple[int, ...], within_m: float | None) -> Candidates:
    """Return the candidates of a neighborhood's own rows; of pairs those within a distance."""
    from scipy.sparse import coo_array, hstack

    kept = np.flatnonzero(rows.is_first & (rows.area >= 0) if within_m is None else rows.xy_m[:, 0] <= within_m)
    time_s, area, kind = rows.time_s[kept], rows.area[kept].astype(np.int64), rows.stream[kept].astype(np.int64)
    layers, left, total = [], [], []
    shape = (len(group.time_s), len(rows.streams))
    for decay_s in decays_s:
        event, row = _recent(time_s, area, group, decay_s)
        value = np.exp((time_s[row] - group.time_s[event]) / decay_s) / decay_s
        left.append(coo_array((value, (event, kind[row])), shape=shape).tocsc())
        total.append(np.bincount(kind, weights=_inside(time_s, decay_s, group), minlength=shape[1]))
        for name in rows.streams:
            stream, _, partner = name.partition(BETWEEN) if within_m is not None else (name, "", "")
            layers.append(
                Layer(stream=stream, partner=partner or None, within_m=within_m or 0.0, decay_s=decay_s, is_local=True)
            )
    return Candidates(layers=layers, left=hstack(left, format="csc"), total=np.concatenate(total))


def _inside(time_s: Int64, decay_s: float, group: Group) -> Float64:
    """Return the share [R] of each row's excitation that falls into the time learned from."""
    since, until = (np.maximum(edge - time_s, group.blind_s) / decay_s for edge in (group.begin_s, group.end_s))
    return np.asarray(np.exp(-since) - np.exp(-until), dtype=np.float64)


def _recent(time_s: Int64, area: Int64, group: Group, decay_s: float) -> tuple[Int64, Int64]:
    """Return event and row of all rows of an event's neighborhood that came before it, count and are not forgotten."""
    begin_s = int(time_s.min()) if len(time_s) else 0
    key = area * APART + time_s - begin_s
    order = np.argsort(key, kind="stable")
    key = key[order]
    at = group.area * APART + np.maximum(group.time_s - group.blind_s - begin_s, 0)
    first = np.maximum(at - int(FORGOTTEN * decay_s), group.area * APART)
    low, high = np.searchsorted(key, first, side="left"), np.searchsorted(key, at, side="left")
    event = np.repeat(np.arange(len(at)), high - low)
    place = np.arange(len(event)) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[event]
    return event, order[place]
