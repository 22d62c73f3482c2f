"""One history of a city with neighborhoods, drawn from its law: every category's incidents, and the truth behind them.

By generations: arrivals are Poisson, each event has a Poisson number of children with delays of its kernel, and so
on. This draws the process exactly (the cluster form of Hawkes and Oakes, J. Appl. Prob. 11, 1974), as thinning does
(Ogata, IEEE Trans. Inf. Theory 27, 1981), in the time of a few array operations per generation.

Shapes: E events, A addresses, N neighborhoods, H hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hews_gpu.synthetic.addresses import Addresses, make_addresses, meters
from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.geography import Ground, make_ground
from hews_gpu.synthetic.law import NOTHING, Category, Law, Trigger
from hews_gpu.synthetic.pairs import Incidents, PairLaw, Source
from hews_gpu.synthetic.presets import AREAS
from hews_gpu.synthetic.process import (
    MINUTE_S,
    MINUTES_PER_HOUR,
    Float64,
    Int64,
    Kernel,
    Points,
    arrivals,
)

__all__ = ["Drawn", "Marked", "draw"]

CHOICES = 400  # of hidden neighborhoods, of which the one nearest to the wanted share is taken
PAIR_DRAWS = 400_000  # places of two incidents, to learn how often they are near each other


@dataclass(frozen=True, kw_only=True)
class Marked:
    """Events of one category, in order of time."""

    minute: Int64  # [E] since the begin
    address: Int64  # [E]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What happened in a simulated city."""

    ground: Ground
    addresses: Addresses
    events: dict[str, Points]
    """By category; the target events, whatever they are reported as, under the target's name."""
    truth: AreaTruth


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One category while it is drawn."""

    category: Category
    weights: Float64  # [A]
    rate_per_h: Float64  # [H]
    rng: np.random.Generator


def draw(law: Law, seed: np.random.SeedSequence, *, begin_s: int, hours: int) -> Drawn:
    """Draw a city and its history; the same arguments give the same.

    Args:
        law: what to draw from.
        seed: everything random derives from it.
        begin_s: local wall-clock seconds of the begin, a midnight.
        hours: how long.
    """
    ground_seed, address_seed, area_seed, target_seed, place_seed, *seeds = seed.spawn(5 + len(law.categories))
    ground = make_ground(np.random.default_rng(ground_seed), areas=AREAS)
    addresses = make_addresses(np.random.default_rng(address_seed), ground)
    parts = {
        category.name: _part(np.random.default_rng(s), category, addresses, begin_s, hours)
        for category, s in zip(law.categories, seeds, strict=True)
    }
    trigger = law.trigger
    if trigger is not None and len(trigger.sources) == 2:
        _scale_to_pairs(parts, trigger, addresses)
    rng = np.random.default_rng(target_seed)
    weights = addresses.weights(rng, law.target_hot_share)
    marked = {name: _arrivals(part, addresses, law, hours) for name, part in parts.items()}
    places = {name: addresses.places(part.rng, marked[name].address) for name, part in parts.items()}
    gain = _gain(np.random.default_rng(area_seed), trigger, parts, addresses)
    truth = _truth(law, addresses, parts, marked, places, weights, gain, begin_s=begin_s, hours=hours)
    causes = _causes(law, truth, marked, addresses)
    targets = _targets(rng, law, causes, weights, truth, addresses)
    minute, area = targets.minute, addresses.area[targets.address]
    truth = replace(truth, target_s=begin_s + minute * MINUTE_S, target_area=area)
    where = addresses.places(np.random.default_rng(place_seed), targets.address)
    events = {name: Points(marked[name].minute, meters(places[name])) for name in parts}
    return Drawn(
        ground=ground, addresses=addresses, events={law.target: Points(minute, meters(where)), **events}, truth=truth
    )


def _part(rng: np.random.Generator, category: Category, addresses: Addresses, begin_s: int, hours: int) -> _Part:
    weights = addresses.weights(rng, category.hot_share)
    return _Part(category=category, weights=weights, rate_per_h=category.hourly(begin_s, hours), rng=rng)


def _scale_to_pairs(parts: dict[str, _Part], trigger: Trigger, addresses: Addresses) -> None:
    """Scale the rates of both categories: as many pairs are to be expected in every city, whatever its ground."""
    first, second = (parts[name] for name in trigger.sources)
    rng = np.random.default_rng(first.rng.integers(2**63))
    a, b = (meters(addresses.point[addresses.draw(rng, PAIR_DRAWS, part.weights)]) for part in (first, second))
    near = (((a - b) ** 2).sum(axis=1) <= trigger.within_m**2).mean()
    slots = [part.rate_per_h.reshape(-1, 2).sum(axis=1) for part in (first, second)]
    per_day = 12 * (slots[0] * slots[1]).mean() * near
    scale = np.sqrt(trigger.pairs_per_day / per_day)
    for name in trigger.sources:
        parts[name] = replace(parts[name], rate_per_h=parts[name].rate_per_h * scale)


def _arrivals(part: _Part, addresses: Addresses, law: Law, hours: int) -> Marked:
    """All incidents of one category that is not the target: near repeats included, where it has them."""
    minute = arrivals(part.rng, part.rate_per_h)
    first = Marked(minute=minute, address=addresses.draw(part.rng, len(minute), part.weights))
    if part.category.name != law.near_repeat:
        return first
    return _cluster(part.rng, first, law.excited_by_repeats, hours * MINUTES_PER_HOUR, addresses)


def _children(rng: np.random.Generator, parents: Marked, kernel: Kernel, end: int, addresses: Addresses) -> Marked:
    """What each parent sets off directly before the end, at an address near its own."""
    parent = np.repeat(np.arange(len(parents.minute)), rng.poisson(kernel.branching, size=len(parents.minute)))
    delay = np.ceil(rng.exponential(kernel.decay_s / MINUTE_S, size=len(parent))).astype(np.int64)
    minute = parents.minute[parent] + np.maximum(delay, 1)
    address = addresses.draw_near(rng, parents.address[parent])
    return _sorted(Marked(minute=minute[minute < end], address=address[minute < end]))


def _cluster(rng: np.random.Generator, first: Marked, kernel: Kernel, end: int, addresses: Addresses) -> Marked:
    """`first` and all descendants."""
    assert kernel.branching < 1
    generations = [first]
    while len(generations[-1].minute):
        generations.append(_children(rng, generations[-1], kernel, end, addresses))
    return _sorted(*generations)


def _sorted(*parts: Marked) -> Marked:
    minute = np.concatenate([part.minute for part in parts])
    order = np.argsort(minute, kind="stable")
    return Marked(minute=minute[order], address=np.concatenate([part.address for part in parts])[order])


def _gain(rng: np.random.Generator, trigger: Trigger | None, parts: dict[str, _Part], addresses: Addresses) -> Float64:
    """[N] 1 where a cause sets something off; of some choices of areas the one nearest to the wanted share."""
    areas = int(addresses.area.max()) + 1
    if trigger is None or trigger.hidden_areas is None:
        return np.ones(areas)
    share = _shares(addresses, parts[trigger.sources[0]].weights, areas)
    choices = [rng.choice(areas, size=trigger.hidden_areas, replace=False) for _ in range(CHOICES)]
    gain = np.zeros(areas)
    gain[min(choices, key=lambda choice: abs(share[choice].sum() - trigger.hidden_share))] = 1.0
    return gain


def _truth(
    law: Law,
    addresses: Addresses,
    parts: dict[str, _Part],
    marked: dict[str, Marked],
    places: dict[str, Int64],
    weights: Float64,
    gain: Float64,
    *,
    begin_s: int,
    hours: int,
) -> AreaTruth:
    """The law as the truth holds it; the target events are still to be drawn."""
    areas, trigger = len(gain), law.trigger
    none = np.empty(0, np.int64)
    one = trigger is not None and len(trigger.sources) == 1
    cause = parts[trigger.sources[0]] if trigger is not None and one else None
    past = marked[cause.category.name] if cause is not None else Marked(minute=none, address=none)
    pairs = None
    if trigger is not None and not one:
        first, second = (_source(parts[n], marked[n], places[n], addresses) for n in trigger.sources)
        pairs = PairLaw(
            within_m=trigger.within_m, point=addresses.point, area=addresses.area, first=first, second=second
        )
    return AreaTruth(
        preset=law.name,
        begin_s=begin_s,
        base_per_h=law.base.hourly(begin_s, hours) * law.base_trend.hourly(hours),
        area_share=_shares(addresses, weights, areas),
        excited_by_targets=law.excited_by_targets,
        excited_by_triggers=trigger.kernel if trigger is not None else NOTHING,
        in_city=trigger is not None and trigger.in_city,
        gain=gain,
        trigger_per_h=cause.rate_per_h if cause is not None else np.zeros(hours),
        trigger_share=_shares(addresses, cause.weights, areas) if cause is not None else np.zeros(areas),
        target_s=none,
        target_area=none,
        incident_s=begin_s + past.minute * MINUTE_S,
        incident_area=addresses.area[past.address],
        pairs=pairs,
    )


def _shares(addresses: Addresses, weights: Float64, areas: int) -> Float64:
    """[N] share of each neighborhood in what happens at addresses by their weights."""
    return np.bincount(addresses.area, weights, minlength=areas).astype(np.float64)


def _source(part: _Part, marked: Marked, places: Int64, addresses: Addresses) -> Source:
    past = Incidents(minute=marked.minute, xy_m=meters(places), area=addresses.area[marked.address])
    return Source(rate_per_h=part.rate_per_h, weights=part.weights, past=past)


def _causes(law: Law, truth: AreaTruth, marked: dict[str, Marked], addresses: Addresses) -> Marked:
    """What sets off target events: minutes and addresses of incidents, or of the first one of each pair."""
    if law.trigger is None:
        return Marked(minute=np.empty(0, np.int64), address=np.empty(0, np.int64))
    first = marked[law.trigger.sources[0]]
    if truth.pairs is not None:
        minute, which = truth.pairs.pairs_of_first
        first = Marked(minute=minute, address=first.address[which])
    active = truth.gain[addresses.area[first.address]] > 0
    return Marked(minute=first.minute[active], address=first.address[active])


def _targets(
    rng: np.random.Generator, law: Law, causes: Marked, weights: Float64, truth: AreaTruth, addresses: Addresses
) -> Marked:
    """All target events."""
    end = len(truth.base_per_h) * MINUTES_PER_HOUR
    minute = arrivals(rng, truth.base_per_h)
    first = Marked(minute=minute, address=addresses.draw(rng, len(minute), weights))
    if law.trigger is None:
        return _cluster(rng, first, law.excited_by_targets, end, addresses)
    set_off = _children(rng, causes, law.trigger.kernel, end, addresses)
    if law.trigger.in_city:
        set_off = Marked(minute=set_off.minute, address=addresses.draw(rng, len(set_off.minute), weights))
    return _cluster(rng, _sorted(first, set_off), law.excited_by_targets, end, addresses)
