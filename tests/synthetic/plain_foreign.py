"""The foreign laws once more, row by row in plain Python, and all paths of their hidden states one by one.

Nothing of the package is used but the numbers of a law and the rows.
"""

from __future__ import annotations

import itertools
import math

from hews_gpu.synthetic.foreign_law import Field

WINDOW, LATE = 120, 30  # minutes


def plain_mean(truth, value):
    """Target events expected in each window and neighborhood, as nested lists."""
    fields = {id(effect): plain_field(truth.past, effect) for effect in truth.law.effects if isinstance(effect, Field)}
    return [
        [mean_of(truth, fields, window, area, value) for area in range(truth.areas)]
        for window in range(truth.past.windows)
    ]


def mean_of(truth, fields, window, area, value):
    law, past, begin = truth.law, truth.past, window * WINDOW
    lift = law.hidden.strength * value if law.hidden is not None else 0.0
    for effect in law.effects:
        if isinstance(effect, Field):
            lift += math.log(1 + effect.gain * fields[id(effect)][window][area])
            continue
        wanted = {"area": [area], "origin": [past.origin], "city": range(truth.areas)}[effect.where]
        ages = [begin - minute for minute, place in zip(*past.rows[effect.source], strict=True) if place in wanted]
        count = sum(60 * effect.until_h < age <= 60 * effect.since_h for age in ages)
        lift += effect.gain * min(max(count - (effect.threshold - 1), 0), effect.most)
    base = truth.base[window] * truth.area_share[area]
    mean = math.log(1 + (math.exp(base) - 1) * math.exp(lift)) if law.on_odds else base * math.exp(lift)
    if law.renewal is None:
        return mean
    minutes = [minute for minute, place in zip(*truth.targets, strict=True) if place == area]
    last = max((minute for minute in minutes if minute < begin - LATE), default=-(10**9))
    hours = (begin - LATE - last) / 60
    back = 1 - math.exp(-((hours / law.renewal.refractory_h) ** 2))
    rise = hours / law.renewal.peak_h
    return mean * back * (1 + law.renewal.boost * rise * math.exp(1 - rise))


def plain_field(past, effect):
    """Level of the field in each neighborhood, an hour before each window."""
    areas = range(past.areas)
    rows = list(zip(*past.rows[effect.source], strict=True))
    level, seen = [0.0] * past.areas, []
    for hour in range(2 * past.windows):  # the level holds what happened before this hour
        if hour % 2 == 1:
            seen.append(list(level))
        kept = [
            (1 - effect.moving) * level[n] + effect.moving * sum(level[m] * past.neighbors[m][n] for m in areas)
            for n in areas
        ]
        level = [math.exp(-1 / effect.decay_h) * share for share in kept]
        for minute, area in rows:
            if minute // 60 == hour:
                for n in areas:
                    level[n] += past.neighbors[area][n] if effect.is_displaced else float(n == area)
    return [[0.0] * past.areas, *seen[:-1]]


def by_enumeration(truth, window, late):
    """P(a target event in a window) in the city and in each neighborhood, over all paths of all chains."""
    hidden, chains = truth.law.hidden, truth.areas if truth.law.hidden.by_area else 1
    states = range(len(hidden.values))
    means = [plain_mean(truth, value) for value in hidden.values]
    total, silent, silent_areas = 0.0, 0.0, [0.0] * truth.areas
    for path in itertools.product(itertools.product(states, repeat=chains), repeat=window + 1):
        weight = math.prod(hidden.stationary[z] for z in path[0])
        for before, after, k in zip(path, path[1:], range(1, window + 1), strict=False):
            if k * 2 % hidden.every_h == 0:
                weight *= math.prod(hidden.transition[z][after[chain]] for chain, z in enumerate(before))
            elif before != after:
                weight = 0.0
        for k in range(window):
            until = WINDOW - late if k == window - 1 else WINDOW
            for area in range(truth.areas):
                z = path[k][area % chains]
                weight *= poisson(truth.targets, k, area, until, means[z][k][area])
                for number, (name, gain) in enumerate(hidden.categories):
                    mean = truth.category_means[number][k] * truth.category_shares[number][area]
                    weight *= poisson(truth.past.rows[name], k, area, until, mean * math.exp(gain * hidden.values[z]))
        quiet = [math.exp(-means[path[window][area % chains]][window][area]) for area in range(truth.areas)]
        total += weight
        silent += weight * math.prod(quiet)
        silent_areas = [sum_ + weight * one for sum_, one in zip(silent_areas, quiet, strict=True)]
    return 1 - silent / total, [1 - one / total for one in silent_areas]


def poisson(rows, window, area, until, mean):
    """Chance of as many rows as there are in the first `until` minutes of a window."""
    begin, mean = window * WINDOW, mean * until / WINDOW
    count = sum(begin <= minute < begin + until and place == area for minute, place in zip(*rows, strict=True))
    return math.exp(-mean) * mean**count / math.factorial(count)
