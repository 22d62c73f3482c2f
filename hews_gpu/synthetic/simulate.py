"""One city's history drawn from its recipe: every category's events in time and space, and the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.synthetic.geography import Ground
from hews_gpu.synthetic.process import (
    HOUR_S,
    MINUTE_S,
    MINUTES_PER_HOUR,
    Float64,
    Int64,
    Points,
    arrivals,
    children,
    cluster,
    joined,
)
from hews_gpu.synthetic.recipe import Category, Recipe
from hews_gpu.synthetic.truth import Truth

__all__ = ["History", "simulate"]

HOURS_PER_DAY = 24
SPOT_CONTRAST = 1.1  # log standard deviation of what hot spots have in common over all categories ...
SPOT_TASTE = 0.9  # ... and of what each category adds of its own


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened in a simulated city."""

    events: dict[str, Points]
    """By category; the target events, whatever they are reported as, under the target's name."""
    truth: Truth


def simulate(recipe: Recipe, ground: Ground, seed: np.random.SeedSequence, *, begin_s: int, hours: int) -> History:
    """Draw a history; the same arguments give the same history.

    Args:
        recipe: the law.
        ground: where.
        seed: each category has its own stream of random numbers below it.
        begin_s: local wall-clock seconds of the begin, a whole hour.
        hours: how long.
    """
    assert begin_s % HOUR_S == 0
    plain = (recipe.target, recipe.precursor, recipe.near_repeat, *recipe.others)
    common_seed, *seeds = seed.spawn(len(plain) + 1)
    common = np.random.default_rng(common_seed).normal(0, SPOT_CONTRAST, size=len(ground.spots_m))
    streams = [np.random.default_rng(s) for s in seeds]
    rates = [category.per_day / HOURS_PER_DAY * category.rhythm.hourly(begin_s, hours) for category in plain]
    first = [_immigrants(*each, ground, common) for each in zip(plain, streams, rates, strict=True)]
    events = dict(zip((category.name for category in plain), first, strict=True))

    end_minute = hours * MINUTES_PER_HOUR
    precursors = events[recipe.precursor.name]

    def near(rng: np.random.Generator, places_m: Float64) -> Float64:
        return ground.near(rng, places_m, recipe.spread_m)

    def near_repeat(rng: np.random.Generator, places_m: Float64) -> Float64:
        return ground.near(rng, places_m, recipe.spread_repeat_m)

    rng, repeats = streams[0], recipe.near_repeat.name
    set_off = children(rng, precursors, recipe.excited_by_precursors, end_minute, near)
    targets = cluster(rng, joined(first[0], set_off), recipe.excited_by_targets, end_minute, near)
    events[recipe.target.name] = targets
    events[repeats] = cluster(streams[2], events[repeats], recipe.excited_by_repeats, end_minute, near_repeat)
    truth = Truth(
        begin_s=begin_s,
        base_per_h=rates[0],
        precursor_per_h=rates[1],
        excited_by_targets=recipe.excited_by_targets,
        excited_by_precursors=recipe.excited_by_precursors,
        target_s=_seconds(targets, begin_s),
        precursor_s=_seconds(precursors, begin_s),
        precursor=recipe.precursor.name,
    )
    return History(events=events, truth=truth)


def _immigrants(
    category: Category, rng: np.random.Generator, rate_per_h: Float64, ground: Ground, common: Float64
) -> Points:
    """The events of one category that nothing set off; `common` [K] is the log weight that all hot spots start from."""
    minute = arrivals(rng, rate_per_h)
    weights = np.exp(common + rng.normal(0, SPOT_TASTE, size=len(common)))
    return Points(minute, ground.mixture(rng, len(minute), category.hot_share, weights / weights.sum()))


def _seconds(points: Points, begin_s: int) -> Int64:
    return begin_s + points.minute * MINUTE_S
