"""The synthetic history as a table in the old portal schema, with the dirt that real tables come with.

A target event becomes one row per victim, and often a second report under another category: a twin at the same minute
and corner, or an echo some minutes later. The formatting gives the label away just as the real table's does, so that a
model that reads a column it must not read gets caught here too. What the truth depends on stays whole: rows of target
events and precursors keep their minute and place, and dirt on them is of the readable kind (``112``, ``24:00:00``).

Shapes: E cases (events and second reports), R rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from hews_gpu.arrays import Bool
from hews_gpu.synthetic.geography import Ground
from hews_gpu.synthetic.process import Float64, Int64, Points
from hews_gpu.synthetic.wording import portal_rows

__all__ = ["HOMICIDE", "Cases", "Entries", "Role", "make_cases", "make_entries", "portal_table"]


VICTIMS = (0.82, 0.13, 0.04, 0.01)  # chance of 1, 2, 3, 4 victims of a target event
DUPLICATES = 0.03  # share of other cases that are entered twice
TWIN, TWIN_REACH_M = 0.40, 80.0  # chance of a second report at the same minute; its distance at most
ECHO, ECHO_REACH_M, ECHO_MINUTES = 0.15, 150.0, 29  # ... of one after the event (never before: that would foretell it)
SECOND_REPORT = "AGG. ASSAULT"
DIED, HOMICIDE = 0.3, "HOMICIDE"  # share of the victims, and what their rows say
ROUNDED = ((0.30, 60), (0.12, 30), (0.20, 5))  # share of times rounded down to so many minutes
BLANK, ZERO, NEAR_OUTSIDE, FAR_OUTSIDE = 0.012, 1e-4, 4e-4, 1e-4  # share of other cases with such coordinates
NEAR_OUTSIDE_M, FAR_OUTSIDE_M = (5.0, 180.0), (900.0, 6_000.0)  # meters from the city's edge


class Role(IntEnum):
    """What a case is to the truth."""

    OTHER = 0
    PRECURSOR = 1
    TARGET = 2
    SECOND = 3


@dataclass(frozen=True, kw_only=True)
class Cases:
    """E cases, each of which becomes one or more rows."""

    minute: Int64  # [E]
    xy_m: Float64  # [E, 2]; blank coordinates are nan
    category: npt.NDArray[np.object_]  # [E]
    role: Int64  # [E] of Role
    rows: Int64  # [E] victims, or 2 where a case is entered twice
    is_zero: Bool  # [E] coordinates are written as 0,0


def make_cases(
    rng: np.random.Generator, events: Mapping[str, Points], roles: Mapping[str, Role], end_minute: int, ground: Ground
) -> Cases:
    """The cases that a simulated history is reported as, dirt included.

    Args:
        rng: where the randomness comes from.
        events: by category, with the target events under one name.
        roles: of the categories that matter to the truth; the rest is dirty.
        end_minute: of the simulation.
        ground: where.
    """
    parts = [(name, points, roles.get(name, Role.OTHER)) for name, points in events.items()]
    (target,) = (points for _, points, role in parts if role == Role.TARGET)
    seconds = _second_reports(rng, target, end_minute)
    parts.append((SECOND_REPORT, seconds, Role.SECOND))
    role = np.concatenate([np.full(len(points.minute), kind, dtype=np.int64) for _, points, kind in parts])
    minute = np.concatenate([points.minute for _, points, _ in parts])
    is_other = role == Role.OTHER
    rows = np.where(
        role == Role.TARGET, rng.choice(4, size=len(role), p=VICTIMS), is_other & _chance(rng, role, DUPLICATES)
    )
    xy_m, is_zero = _misplaced(rng, np.concatenate([points.xy_m for _, points, _ in parts]), is_other, ground)
    return Cases(
        minute=np.where(is_other, _rounded(rng, minute), minute),
        xy_m=xy_m,
        category=np.concatenate([np.full(len(points.minute), name, dtype=object) for name, points, _ in parts]),
        role=role,
        rows=1 + rows.astype(np.int64),
        is_zero=is_zero,
    )


@dataclass(frozen=True, kw_only=True)
class Entries:
    """R rows of the table, in its order: latest day first, in no order within a day."""

    case: Int64  # [R] which case it is of
    died: Bool  # [R] whether a row of a target event is a homicide


def make_entries(rng: np.random.Generator, cases: Cases) -> Entries:
    """The rows that cases are entered as."""
    case = np.repeat(np.arange(len(cases.minute)), cases.rows)
    order = np.lexsort([rng.random(len(case)), -(cases.minute[case] // (24 * 60))])
    is_target = (cases.role == Role.TARGET)[case[order]]
    return Entries(case=case[order], died=is_target & _chance(rng, is_target, DIED))


def portal_table(
    rng: np.random.Generator, cases: Cases, ground: Ground, begin_s: int, words: np.random.Generator | None = None
) -> tuple[pd.DataFrame, Entries]:
    """[R] rows of text in the columns of the portal, and what they are.

    Args:
        rng: of the order of the rows.
        cases: what they report.
        ground: names of the neighborhoods.
        begin_s: local wall-clock seconds of minute 0, a midnight.
        words: of the wording; the same as `rng`, and before it, unless given.
    """
    is_target = cases.role == Role.TARGET
    rows = portal_rows(words or rng, cases.minute, cases.xy_m, cases.category, is_target, ground, begin_s)
    rows.loc[cases.is_zero, ["Longitude", "Latitude"]] = "0.0"
    entries = make_entries(rng, cases)
    table = rows.iloc[entries.case].reset_index(drop=True)
    table.loc[entries.died, "Description"], table.loc[entries.died, "CrimeCode"] = HOMICIDE, "1F"
    return table, entries


def _chance(rng: np.random.Generator, like: npt.NDArray[np.generic], share: float) -> Bool:
    return np.asarray(rng.random(len(like)) < share, dtype=np.bool_)


def _second_reports(rng: np.random.Generator, targets: Points, end_minute: int) -> Points:
    """Twins at the same minute, and echoes later, of some target events."""
    kind = rng.choice(3, size=len(targets.minute), p=(TWIN, ECHO, 1 - TWIN - ECHO))
    minute = targets.minute + (kind == 1) * rng.integers(1, ECHO_MINUTES + 1, size=len(kind))
    reach_m = np.where(kind == 1, ECHO_REACH_M, TWIN_REACH_M) * np.sqrt(rng.random(len(kind)))
    angle = rng.uniform(0, 2 * np.pi, size=len(kind))
    xy_m = targets.xy_m + reach_m[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    kept = (kind < 2) & (minute < end_minute)
    return Points(minute[kept], xy_m[kept])


def _rounded(rng: np.random.Generator, minute: Int64) -> Int64:
    """Some times rounded down, as people and forms do."""
    shares = [share for share, _ in ROUNDED]
    unit = rng.choice([step for _, step in ROUNDED] + [1], size=len(minute), p=[*shares, 1 - sum(shares)])
    return np.asarray(minute // unit * unit, dtype=np.int64)


def _misplaced(rng: np.random.Generator, xy_m: Float64, may: Bool, ground: Ground) -> tuple[Float64, Bool]:
    """Places with some of those that `may` be replaced: by nan, by a place outside the city, or marked as 0,0."""
    xy_m = xy_m.copy()
    shares = (BLANK, ZERO, NEAR_OUTSIDE, FAR_OUTSIDE)
    kind = np.where(may, rng.choice(5, size=len(xy_m), p=(*shares, 1 - sum(shares))), 4)
    xy_m[kind == 0] = np.nan
    for wanted, (low_m, high_m) in ((2, NEAR_OUTSIDE_M), (3, FAR_OUTSIDE_M)):
        for k in np.flatnonzero(kind == wanted):
            edge = ground.outline.buffer(rng.uniform(low_m, high_m)).exterior
            xy_m[k] = shapely.get_coordinates(edge.interpolate(rng.random(), normalized=True))[0]
    return xy_m, kind == 1
