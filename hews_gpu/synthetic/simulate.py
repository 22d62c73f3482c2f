"""One history of a city, drawn from its law: every category's incidents, and the truth behind them.

By generations: arrivals are Poisson, each event has a Poisson number of children with delays of its kernel, and so
on. This draws the process exactly (the cluster form of Hawkes and Oakes, J. Appl. Prob. 11, 1974), as thinning does
(Ogata, IEEE Trans. Inf. Theory 27, 1981), in the time of a few array operations per generation.

Shapes: E events, N areas, H hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.synthetic.foreign_law import ForeignLaw
from hews_gpu.synthetic.geography import Layout, make_layout
from hews_gpu.synthetic.law import MINUTES_PER_HOUR, NOTHING, Kernel, Law, Trigger
from hews_gpu.synthetic.pairs import Incidents, PairCategory, PairLaw
from hews_gpu.synthetic.places import Addresses, Place, PlaceModel, choose, make_addresses, make_anywhere, meters
from hews_gpu.synthetic.presets import AREAS
from hews_gpu.synthetic.truth import Truth
from hews_gpu.synthetic.truth_file import CityTruth
from hews_gpu.units import MINUTE_S

__all__ = ["History", "Points", "Seeds", "arrivals", "children", "cluster", "joined", "simulate"]

CHOICES = 400  # of hidden neighborhoods, of which the one nearest to the wanted share is taken
PAIR_DRAWS = 400_000  # places of two incidents, to learn how often they are near each other


class Points(NamedTuple):
    """E events in order of time."""

    minute: Int64  # [E] since the begin of the simulation
    place: Place  # [E] addresses or [E, 2] meters


NO_POINTS = Points(np.empty(0, np.int64), np.empty(0, np.int64))


class Seeds(NamedTuple):
    """Seeds of the parts of a city. Every part has its own, so that none depends on how much another one draws."""

    layout: np.random.SeedSequence
    places: np.random.SeedSequence
    hidden_areas: np.random.SeedSequence | None
    target: np.random.SeedSequence
    target_positions: np.random.SeedSequence | None
    categories: list[np.random.SeedSequence]
    table: np.random.SeedSequence
    words: np.random.SeedSequence | None
    """Of the wording; None: the table's stream, before the order of the rows."""
    reports: np.random.SeedSequence | None
    """Of the reporting delays; None: every row is known at once."""

    @classmethod
    def of(cls, law: Law | ForeignLaw, seed: int) -> Seeds:
        """Return the seeds of a city; a city without addresses has its own order of them."""
        root = np.random.SeedSequence(seed)
        if law.has_addresses:
            history, table, words, reports = root.spawn(4)
            layout, places, hidden, target, positions, *categories = history.spawn(5 + len(law.categories))
            return cls(layout, places, hidden, target, positions, categories, table, words, reports)
        layout, history, table = root.spawn(3)
        places, target, *categories = history.spawn(2 + len(law.categories))
        return cls(layout, places, None, target, None, categories, table, None, None)


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened in a simulated city."""

    layout: Layout
    events: dict[str, Points]
    """By category, with places in meters around the center; the target events, whatever they are reported as, first."""
    truth: CityTruth


@dataclass(kw_only=True)
class _Stream:
    """One category while it is drawn."""

    rng: np.random.Generator
    rate_per_h: Float64  # [H]
    weights: Float64
    points: Points = field(default=NO_POINTS)
    xy_m: Float64 = field(default_factory=lambda: np.empty((0, 2)))  # [E, 2]

    def arrive(self, places: PlaceModel) -> None:
        """Draw the events that nothing sets off."""
        minute = arrivals(self.rng, self.rate_per_h)
        self.points = Points(minute, places.draw(self.rng, len(minute), self.weights))


def simulate(law: Law, seeds: Seeds, *, begin_s: int, hours: int, areas: int = AREAS) -> History:
    """Draw a city and its history; the same arguments give the same.

    Args:
        law: what to draw from.
        seeds: everything random derives from them.
        begin_s: local wall-clock seconds of the begin, a midnight.
        hours: how long.
        areas: neighborhoods of a city with addresses.
    """
    layout = make_layout(np.random.default_rng(seeds.layout), areas=areas if law.has_addresses else None)
    make_places = make_addresses if law.has_addresses else make_anywhere
    places: PlaceModel = make_places(np.random.default_rng(seeds.places), layout)

    def stream(seed: np.random.SeedSequence, rate_per_h: Float64, hot_share: float) -> _Stream:
        rng = np.random.default_rng(seed)
        return _Stream(rng=rng, rate_per_h=rate_per_h, weights=places.weights(rng, hot_share))

    base_per_h = law.base.hourly(begin_s, hours) * law.base_trend.hourly(hours)
    target = stream(seeds.target, base_per_h, law.target_hot_share)
    others = {
        category.name: stream(seed, category.hourly(begin_s, hours), category.hot_share)
        for category, seed in zip(law.categories, seeds.categories, strict=True)
    }
    causes = [others[name] for name in law.trigger.sources] if law.trigger is not None else []
    if law.trigger is not None and len(causes) == 2:
        _scale_to_pairs(causes, law.trigger, places)
    end_minute = hours * MINUTES_PER_HOUR
    for name, each in others.items():
        each.arrive(places)
        if name == law.near_repeat:
            each.points = cluster(each.rng, each.points, law.excited_by_repeats, end_minute, places)
        each.xy_m = places.position(each.rng, each.points.place)
    truth = _law_of_targets(law, seeds, places, target, causes, begin_s)
    _draw_targets(law, places, target, _active(truth, places, causes), end_minute)
    positions = np.random.default_rng(seeds.target_positions)
    target.xy_m = places.position(positions, target.points.place)
    truth = replace(
        truth,
        target_s=begin_s + target.points.minute * MINUTE_S,
        target_area=places.area_of(target.points.place),
    )
    events = {name: Points(each.points.minute, each.xy_m) for name, each in {law.target: target, **others}.items()}
    return History(layout=layout, events=events, truth=truth)


def _scale_to_pairs(causes: list[_Stream], trigger: Trigger, places: PlaceModel) -> None:
    """Scale the rates of both categories: as many pairs are to be expected in every city, whatever its layout."""
    assert isinstance(places, Addresses)
    rng = np.random.default_rng(causes[0].rng.integers(2**63))
    a, b = (meters(places.point[choose(rng, PAIR_DRAWS, cause.weights)]) for cause in causes)
    near = (((a - b) ** 2).sum(axis=1) <= trigger.within_m**2).mean()
    slots = [cause.rate_per_h.reshape(-1, 2).sum(axis=1) for cause in causes]
    per_day = 12 * (slots[0] * slots[1]).mean() * near
    for cause in causes:
        cause.rate_per_h = cause.rate_per_h * np.sqrt(trigger.pairs_per_day / per_day)


def _law_of_targets(
    law: Law, seeds: Seeds, places: PlaceModel, target: _Stream, causes: list[_Stream], begin_s: int
) -> Truth:
    """Return the law as the truth holds it; the target events are still to be drawn."""
    trigger, cause = law.trigger, causes[0] if len(causes) == 1 else None
    past = cause.points if cause is not None else NO_POINTS
    pairs = None
    if trigger is not None and len(causes) == 2:
        assert isinstance(places, Addresses)
        first, second = (_pair_category(each, places) for each in causes)
        pairs = PairLaw(within_m=trigger.within_m, point=places.point, area=places.area, first=first, second=second)
    return Truth(
        preset=law.name,
        begin_s=begin_s,
        base_per_h=target.rate_per_h,
        area_share=places.shares(target.weights),
        excited_by_targets=law.excited_by_targets,
        excited_by_triggers=trigger.kernel if trigger is not None else NOTHING,
        in_city=trigger is not None and trigger.in_city,
        gain=_gain(seeds, trigger, causes, places),
        trigger_per_h=cause.rate_per_h if cause is not None else np.zeros(len(target.rate_per_h)),
        trigger_share=places.shares(cause.weights) if cause is not None else np.zeros(places.areas),
        target_s=NO_POINTS.minute,
        target_area=NO_POINTS.minute,
        incident_s=begin_s + past.minute * MINUTE_S,
        incident_area=places.area_of(past.place),
        pairs=pairs,
    )


def _pair_category(stream: _Stream, places: Addresses) -> PairCategory:
    past = Incidents(minute=stream.points.minute, xy_m=stream.xy_m, area=places.area_of(stream.points.place))
    return PairCategory(rate_per_h=stream.rate_per_h, weights=stream.weights, past=past)


def _gain(seeds: Seeds, trigger: Trigger | None, causes: list[_Stream], places: PlaceModel) -> Float64:
    """Draw where a cause sets something off: 1, or 0 [N]; of some choices the one nearest to the wanted share."""
    if trigger is None or trigger.hidden_areas is None:
        return np.ones(places.areas)
    rng, share = np.random.default_rng(seeds.hidden_areas), places.shares(causes[0].weights)
    choices = [rng.choice(places.areas, size=trigger.hidden_areas, replace=False) for _ in range(CHOICES)]
    gain = np.zeros(places.areas)
    gain[min(choices, key=lambda choice: abs(share[choice].sum() - trigger.hidden_share))] = 1.0
    return gain


def _active(truth: Truth, places: PlaceModel, causes: list[_Stream]) -> Points:
    """Return what sets off target events: incidents, or the first one of each pair at the end of its window."""
    if not causes:
        return NO_POINTS
    minute, place = causes[0].points
    if truth.pairs is not None:
        minute, which = truth.pairs.pairs_of_first
        place = place[which]
    active = truth.gain[places.area_of(place)] > 0
    return Points(minute[active], place[active])


def _draw_targets(law: Law, places: PlaceModel, target: _Stream, causes: Points, end_minute: int) -> None:
    """Draw all target events."""
    target.arrive(places)
    if law.trigger is not None:
        set_off = children(target.rng, causes, law.trigger.kernel, end_minute, places)
        if law.trigger.in_city:
            set_off = Points(set_off.minute, places.draw(target.rng, len(set_off.minute), target.weights))
        target.points = joined(target.points, set_off)
    target.points = cluster(target.rng, target.points, law.excited_by_targets, end_minute, places)


def arrivals(rng: np.random.Generator, rate_per_h: Float64) -> Int64:
    """Draw the minutes of a Poisson process with so many events expected in each hour [H], sorted."""
    hour = np.repeat(np.arange(len(rate_per_h), dtype=np.int64), rng.poisson(rate_per_h))
    return np.sort(hour * MINUTES_PER_HOUR + rng.integers(0, MINUTES_PER_HOUR, size=len(hour)))


def children(rng: np.random.Generator, parents: Points, kernel: Kernel, end_minute: int, places: PlaceModel) -> Points:
    """Draw the events that `parents` set off directly, before `end_minute`.

    Args:
        rng: of the numbers of children, their delays and places.
        parents: events of any kind.
        kernel: how many, how soon and how far away.
        end_minute: later offspring is dropped.
        places: where children may fall.
    """
    parent = np.repeat(np.arange(len(parents.minute)), rng.poisson(kernel.branching, size=len(parents.minute)))
    delay = np.ceil(rng.exponential(kernel.decay_s / MINUTE_S, size=len(parent))).astype(np.int64)
    minute = parents.minute[parent] + np.maximum(delay, 1)
    kept = minute < end_minute
    return joined(Points(minute[kept], places.draw_near(rng, parents.place[parent], kept, kernel.spread_m)))


def cluster(rng: np.random.Generator, first: Points, kernel: Kernel, end_minute: int, places: PlaceModel) -> Points:
    """Draw all descendants of `first`, where each event sets off others of its own kind, and return all of them.

    Arguments are those of `children`; no event of `first` was set off by one of its own kind.
    """
    assert kernel.branching < 1, "the cascade may never end"
    generations = [first]
    while len(generations[-1].minute):
        generations.append(children(rng, generations[-1], kernel, end_minute, places))
    return joined(*generations)


def joined(*parts: Points) -> Points:
    """Return all points of all parts, in order of time."""
    minute = np.concatenate([part.minute for part in parts])
    order = np.argsort(minute, kind="stable")
    return Points(minute[order], np.concatenate([part.place for part in parts])[order])
