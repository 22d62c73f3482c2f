"""What follows an issue time, simulated many times: the truth by brute force, for any law and any target window.

A continuation takes what happened before the issue time as given and draws everything after it: arrivals, what past
events still set off, triggers to come, pairs of incidents to come, and all descendants. The share of continuations with
a target event in the window is the truth, up to its Monte Carlo error. It shares no formula with the closed form.

Shapes: D continuations ("draws"), E events, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hews_gpu.synthetic.law import MINUTES_PER_HOUR
from hews_gpu.synthetic.pairs import SLOT_MIN, Incidents, find_pairs
from hews_gpu.synthetic.truth import forecasts_by_lead

FORGOTTEN = 1e-9  # what an event may still set off is left out once its expectation is below this


@dataclass(frozen=True, kw_only=True)
class Continuations:
    """Shares of D continuations."""

    draws: int
    city: float
    """With a target event in the window, anywhere."""
    area: np.ndarray  # [N]
    """With one in each neighborhood."""

    def standard_error(self, p):
        return np.sqrt(p * (1 - p) / self.draws)


@dataclass(frozen=True)
class _Events:
    """Events of many continuations."""

    draw: np.ndarray  # [E]
    minute: np.ndarray  # [E]
    area: np.ndarray  # [E]


def simulate_continuations(truth, issue_s, begin_s, end_s, *, draws, seed, delay_s=0):
    """Simulate what follows one issue time; arguments as for `Truth.probability`."""
    (group,) = forecasts_by_lead(truth, issue_s, begin_s, end_s, delay_s)
    rng, end = np.random.default_rng(seed), int(group.issue[0]) + group.length
    targets = _targets(rng, truth, group, draws)
    mine = targets.minute >= end - group.horizon
    has_target = np.zeros((draws, truth.areas), dtype=np.bool_)
    has_target[targets.draw[mine], targets.area[mine]] = True
    return Continuations(draws=draws, city=float(has_target.any(axis=1).mean()), area=has_target.mean(axis=0))


def _targets(rng, truth, group, draws):
    """All target events from the issue to the window's end."""
    issue, end = int(group.issue[0]), int(group.issue[0]) + group.length
    by_target, by_trigger = truth.excited_by_targets, truth.excited_by_triggers
    triggers = _triggers(rng, truth, issue, end, draws)
    set_off = [
        _late_children(rng, *truth.triggers, by_trigger, issue, end, draws),
        _children(rng, triggers, by_trigger, end),
    ]
    if truth.in_city:
        set_off = [_Events(e.draw, e.minute, rng.choice(truth.areas, len(e.draw), p=truth.area_share)) for e in set_off]
    latest = _joined(
        _arrivals(rng, truth.base_per_h, truth.area_share, issue, end, draws),
        _late_children(rng, *truth.targets, by_target, issue, end, draws),
        *set_off,
    )
    generations = [latest]
    while len(latest.draw):
        latest = _children(rng, latest, by_target, end)
        generations.append(latest)
    return _joined(*generations)


def _triggers(rng, truth, issue, end, draws):
    """What happens after the issue and sets off target events."""
    if truth.pairs is not None:
        events = _pairs(rng, truth.pairs, issue, end, draws)
    else:
        events = _arrivals(rng, truth.trigger_per_h, truth.trigger_share, issue, end, draws)
    active = truth.gain[events.area] > 0
    return _Events(events.draw[active], events.minute[active], events.area[active])


def _minutes(rng, rate_per_h, issue, end, draws):
    """Draw [E] and minute [E] of Poisson arrivals in [issue, end)."""
    rate = rate_per_h[np.arange(issue, end) // MINUTES_PER_HOUR] / MINUTES_PER_HOUR
    count = rng.poisson(rate * draws)
    minute = np.repeat(np.arange(issue, end), count)
    return rng.integers(0, draws, size=len(minute)), minute


def _arrivals(rng, rate_per_h, share, issue, end, draws):
    draw, minute = _minutes(rng, rate_per_h, issue, end, draws)
    if not len(minute):  # the share of what never happens need not sum to 1
        return _Events(draw, minute, minute)
    return _Events(draw, minute, rng.choice(len(share), size=len(minute), p=share / share.sum()))


def _late_children(rng, minute, area, kernel, issue, end, draws):
    """What events before the issue still set off; exponential delays forget how long they have lasted."""
    left = kernel.branching * kernel.keep ** np.maximum(issue - 1 - minute, 0).astype(np.float64)
    known = np.flatnonzero((minute < issue) & (left > FORGOTTEN))
    parent = np.repeat(known, rng.poisson(left[known] * draws))
    when = issue - 1 + _delays(rng, kernel, len(parent))
    inside = when < end
    draw = rng.integers(0, draws, size=len(parent))
    return _Events(draw[inside], when[inside], area[parent[inside]])


def _children(rng, parents, kernel, end):
    parent = np.repeat(np.arange(len(parents.draw)), rng.poisson(kernel.branching, size=len(parents.draw)))
    when = parents.minute[parent] + _delays(rng, kernel, len(parent))
    parent, when = parent[when < end], when[when < end]
    return _Events(parents.draw[parent], when, parents.area[parent])


def _delays(rng, kernel, count):
    """Whole minutes, at least one: the number of minutes of which each keeps a share of the excitation."""
    return rng.geometric(1 - kernel.keep, size=count).astype(np.int64)


def _pairs(rng, law, issue, end, draws):
    """Pairs of the windows that end after the issue, at the last minute of their window."""
    first, second = (_incidents(rng, law, source, issue, end, draws) for source in (law.first, law.second))
    windows = end // SLOT_MIN + 1
    keys = [draw * windows + one.minute // SLOT_MIN for draw, one in (first, second)]
    a, _ = find_pairs(first[1], second[1], *keys, law.within_m)
    minute = (first[1].minute[a] // SLOT_MIN + 1) * SLOT_MIN - 1
    return _Events(first[0][a], minute, first[1].area[a])


def _incidents(rng, law, source, issue, end, draws):
    """Draws, and incidents of one category: the known ones of the window that has begun, in each draw, and new ones."""
    draw, minute = _minutes(rng, source.rate_per_h, issue, end, draws)
    new = law.draw(rng, source, len(minute))
    past = source.past
    known = np.flatnonzero((past.minute >= issue // SLOT_MIN * SLOT_MIN) & (past.minute < issue))
    again = np.tile(known, draws)
    return np.concatenate([np.repeat(np.arange(draws), len(known)), draw]), Incidents(
        minute=np.concatenate([past.minute[again], minute]),
        xy_m=np.concatenate([past.xy_m[again], new.xy_m]),
        area=np.concatenate([past.area[again], new.area]),
    )


def _joined(*parts):
    draw, minute, area = zip(*((part.draw, part.minute, part.area) for part in parts), strict=True)
    return _Events(np.concatenate(draw), np.concatenate(minute), np.concatenate(area))
