"""What moved a warning away from the calendar: each part of the forecast, and the incidents that moved it most.

The shares of calendar, recent level and experts are in log-odds and add up to those of the forecast, each part taken in
after the ones before it. What an incident contributes is defined by its absence: the log-odds of the whole forecast,
less those of the same forecast made as if the incident had never been reported. For rates that add this is exact;
where they do not, contributions need not add up. An incident is all rows of one category, minute and neighborhood.

Nobody can forecast without each of a week's incidents in turn. So those are sought that move the experts most, at all
places at once: the rows of a category are left out together, and the newest part of those that matter again, down to
single incidents. They and the latest target incidents are then left out one by one. What is told of an incident is its
category, its place and how many hours old it is. Forecasts are made from the rows that can move them alone.

Shapes: E rows known, P places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hews_gpu.alerts.decide import CITY
from hews_gpu.arrays import Float64, Int64
from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.base import (
    CLIMATOLOGY,
    LEVEL,
    DrawsMaps,
    Explains,
    Forecaster,
    ReadsFew,
    Step,
    predictions,
)
from hews_gpu.forecasters.catalog import TARGETS, Catalog
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.logistic import expit, logit
from hews_gpu.forecasters.stack import Stack
from hews_gpu.units import HOUR_S, WEEK_S

__all__ = ["explain", "in_words", "target_words"]

TOLD = 5
"""Incidents told of a warning, at most."""
LATEST = 2  # target incidents that are left out whatever the experts say
RECENT_S, MEMORY_S = WEEK_S, 4 * WEEK_S  # older incidents are not looked at; nor, in the search, so much older rows
MOST_ASKED = 20  # forecasts of an expert in search of a place's incidents, beside one of each group at first
PART = 8  # of a group that matters the newest rows are looked at first, one in so many
NOTHING = 1e-6  # of log-odds, or of events expected
ALMOST = 1 - 1e-12  # a probability of 1 expects no number of events
UNITS = (100, 1_000, 10_000, 100_000)
FEWEST = 5  # cases of a unit
NAMED = {
    LEVEL: "what was reported in the last weeks and months",
    "calibration": "a correction learned from earlier forecasts",
    "incidents": "the pattern of recent incidents",
    "model": "the model itself",
}
COUNTED = frozenset({"HOMICIDE", "SHOOTING"})  # other categories may be no nouns, or have other articles


def explain(
    forecaster: Forecaster, level: Forecaster, seen: Catalog, windows: Windows, places: Sequence[int]
) -> list[dict[str, Any]]:
    """Explain the forecast of one issue time at some places.

    Args:
        forecaster: fitted.
        level: the calendar at its recent level, fitted; the first steps of a forecaster that tells none.
        seen: rows; later ones do no harm.
        windows: one.
        places: P of them, `CITY` or the index of a neighborhood.

    Returns:
        Of each place ``shares``, pairs of name and log-odds of which the first is the calendar's and which add up to
        the forecast's, and ``incidents``, the largest first: category, place, whole hours of age at issue, log-odds;
        None of a forecaster that draws maps.
    """
    seen, issue_s = seen.until(int(windows.issue_s[0])), int(windows.issue_s[0])
    if isinstance(forecaster, ReadsFew):
        seen = seen.take(forecaster.reads(seen) | seen.is_target)  # all that level reads is targets
    steps, since_s = _steps(forecaster, level, seen, windows), issue_s - seen.delay_s - RECENT_S
    said = np.array([_at(step.p, step.areas, places) for step in steps])
    chosen, without = _chosen(forecaster, seen, windows, places, since_s), _eraser(seen, since_s)
    moved: dict[int, Float64] = {}
    for row in sorted(set().union(*chosen)):
        moved[row] = said[-1] - _at(*predictions(forecaster, without(np.array([row])), windows), places)
    told = []
    for k, each in enumerate(chosen):
        order = sorted(each, key=lambda row: (-abs(moved[row][k]), -int(seen.time_s[row]), row))[:TOLD]
        largest = [_incident(seen, row, issue_s, moved[row][k]) for row in order if abs(moved[row][k]) > NOTHING]
        shares = [[steps[0].name, float(said[0, k])]]
        shares += [[step.name, float(b[k] - a[k])] for step, (a, b) in zip(steps[1:], pairwise(said), strict=True)]
        told.append({"shares": shares, "incidents": None if _draws_maps(forecaster) else largest})
    return told


def _incident(seen: Catalog, row: int, issue_s: int, moved: float) -> dict[str, Any]:
    """Return what is told of an incident."""
    return {
        "category": seen.streams[seen.stream[row]],
        "place": int(seen.area[row]),
        "age_h": int(issue_s - seen.time_s[row]) // HOUR_S,
        "log_odds": float(moved),
    }


def _steps(forecaster: Forecaster, level: Forecaster, seen: Catalog, windows: Windows) -> list[Step]:
    """Return the steps from the calendar to the forecast."""
    if isinstance(forecaster, Explains):
        return forecaster.steps(seen, windows)
    assert isinstance(level, Explains)
    p, areas = predictions(forecaster, seen, windows)
    return [*level.steps(seen, windows), Step(name="model", p=p, areas=areas)]


def _at(p: Float64, areas: Float64 | None, places: Sequence[int]) -> Float64:
    """Return the log-odds [P] at some places."""
    assert areas is not None or set(places) == {CITY}
    return logit(np.array([p[0] if place == CITY or areas is None else areas[0, place] for place in places]))


# ------------------------------------------------------------ which incidents

Without = Callable[[Int64], Catalog]


def _eraser(seen: Catalog, since_s: int) -> Without:
    """Return what leaves the incidents of some rows out of a catalog; they happened after a moment."""
    late = np.flatnonzero(seen.time_s > since_s)
    key = np.stack([seen.time_s[late] // 60, seen.stream[late], seen.area[late]])
    number = np.full(len(seen), -1)
    number[late] = np.unique(key, axis=1, return_inverse=True)[1].ravel()
    return lambda rows: seen.take(~np.isin(number, number[rows]))


def _chosen(
    forecaster: Forecaster, seen: Catalog, windows: Windows, places: Sequence[int], since_s: int
) -> list[set[int]]:
    """Return for each place the rows of `seen` to leave out one by one; maps would still show them."""
    if _draws_maps(forecaster):
        return [set() for _ in places]
    row = np.flatnonzero(seen.is_target | (seen.time_s > since_s - MEMORY_S))  # what is searched need not be exact
    lately = seen.take(row)
    targets = np.flatnonzero(seen.is_event & (seen.time_s > since_s))
    here = [targets[(seen.area[targets] == place) | (place == CITY)] for place in places]
    chosen = [{*targets[-LATEST:].tolist(), *of_place[-LATEST:].tolist()} for of_place in here]
    for one in _asked(forecaster):
        for so_far, found in zip(chosen, _found(one, lately, windows, places, since_s), strict=True):
            so_far |= {int(row[k]) for k in found}
    return chosen


def _draws_maps(forecaster: Forecaster) -> bool:
    if isinstance(forecaster, Stack):
        return any(_draws_maps(one) for one in forecaster.parts.values())
    return isinstance(forecaster, DrawsMaps)


def _asked(forecaster: Forecaster) -> list[Forecaster]:
    """Return what single incidents move: of a stack the experts it keeps; a level hardly follows any."""
    if isinstance(forecaster, Stack):
        return [one for name, one in forecaster.parts.items() if name != "base"]
    return [] if isinstance(forecaster, Level) else [forecaster]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Incidents that were left out together."""

    rows: Int64  # the newest first
    moved: Float64  # [P] by how many events expected


def _found(one: Forecaster, seen: Catalog, windows: Windows, places: Sequence[int], since_s: int) -> list[set[int]]:
    """Return for each place the rows of incidents after a moment that move a forecaster most there."""
    without = _eraser(seen, since_s)

    def ask(catalog: Catalog) -> Float64:
        """Return the events [P] expected, which nearly add up over incidents."""
        p, areas = predictions(one, catalog, windows)
        each = [p[0] if place == CITY or areas is None else areas[0, place] for place in places]
        return np.asarray(-np.log1p(-np.minimum(each, ALMOST)), dtype=np.float64)

    said, recent = ask(seen), np.flatnonzero(seen.is_first & (seen.time_s > since_s))
    recent = recent[np.argsort(-seen.time_s[recent], kind="stable")]
    kind = seen.stream[recent] * 2 + np.isin(seen.area[recent], places)
    rows = [recent[kind == each] for each in np.unique(kind)]
    groups = [_Group(rows=each, moved=said - ask(without(each))) for each in rows]
    for asked in range(MOST_ASKED * len(places)):
        several = [each for each in _largest(groups, asked % len(places)) if len(each.rows) > 1]
        if several:
            newest, rest = np.split(several[0].rows, [-(-len(several[0].rows) // PART)])
            moved = said - ask(without(newest))
            groups = [each for each in groups if each is not several[0]]
            groups += [_Group(rows=newest, moved=moved), _Group(rows=rest, moved=several[0].moved - moved)]
    return [{int(each.rows[0]) for each in _largest(groups, k)} for k in range(len(places))]


def _largest(groups: list[_Group], k: int) -> list[_Group]:
    """Return the groups that move the forecast of the kth place most, the largest first."""
    moving = [each for each in groups if abs(each.moved[k]) > NOTHING]
    return sorted(moving, key=lambda each: -abs(each.moved[k]))[:TOLD]


# ------------------------------------------------------------ in words


def in_words(told: Mapping[str, Any], place: int, names: Sequence[str], targets: Sequence[str]) -> str:
    """Return an explanation as plain sentences, in numbers of cases.

    Args:
        told: as `explain` returns it.
        place: that it is of.
        names: [N] of the neighborhoods.
        targets: names of the categories that are warned of; unknown of older replays, and then empty.
    """
    target = f"{'a ' if COUNTED.issuperset(targets) else ''}{target_words(targets)}"
    each = expit(np.cumsum([share for _, share in told["shares"]]))
    p = float(each[-1])
    unit = next((unit for unit in UNITS if min(each[0], p) * unit >= FEWEST), UNITS[-1])
    where = "somewhere in the city" if place == CITY else f"in {names[place]}"
    text = f"Of {unit:,} times like this, {_cases(p, unit)} see {target} {where}."
    beside = "" if place == CITY else " and where such events have been"
    text += f" By the hour and the season{beside} it would be {_cases(each[0], unit)}"
    for (name, share), now, before in zip(told["shares"][1:], each[1:], each, strict=False):
        if share and _cases(now, unit) != _cases(before, unit):
            text += f"; {NAMED.get(name, f'the pattern of recent incidents ({name})')} brings it to {_cases(now, unit)}"
    if not any(share for name, share in told["shares"] if name not in (CLIMATOLOGY, LEVEL)):
        text += ". It follows from the calendar and the recent level alone"
    if told["incidents"] is None:
        return f"{text}. What single reports did is not told of a forecast that reads maps."
    without = [(one, float(expit(logit(np.array([p])) - one["log_odds"])[0])) for one in told["incidents"]]
    told_of = [(one, q) for one, q in without if abs(p - q) * unit >= 0.5 and _cases(q, unit) != _cases(p, unit)]
    single = [f"{_cases(q, unit)} without {_named(one, names, target)}" for one, q in told_of]
    if not single:
        return f"{text}. Of the reports of the last week that were looked at, none changes it by 1 of {unit:,}."
    return f"{text}. Had a single report not come, it would be {'; '.join(single)}."


def _named(one: Mapping[str, Any], names: Sequence[str], target: str) -> str:
    """Return an incident in words."""
    what = target if one["category"] == TARGETS else f"'{one['category']}'"
    where = "" if one["place"] < 0 else f" in {names[one['place']]}"
    hours = one["age_h"]
    return (
        f"{what}{where}, {'less than an hour' if hours < 1 else 'an hour' if hours == 1 else f'{hours} hours'} before"
    )


def target_words(targets: Sequence[str]) -> str:
    """Return target categories as ``homicide or shooting``; of what a table calls them only the case changes."""
    names = [name.lower() for name in targets] or ["target incident"]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _cases(p: float, unit: int) -> str:
    """Return how many of so many cases a probability is."""
    return f"{round(p * unit):,}" if round(p * unit) else "less than 1"
