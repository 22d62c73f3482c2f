"""A synthetic history as a table in the old portal schema, with the dirt that real tables come with.

A target event becomes one row per victim, and often a second report under another category: a twin at the same minute
and corner, or an echo some minutes later. What the truth depends on stays whole: rows of target events and triggers
keep their minute and place, and dirt on them is of the readable kind (``112``, ``24:00:00``).

The formatting gives the label away just as the real table's does, so that a model that reads a column it must not read
gets caught here too: on target rows `Inside/Outside` is spelled out, the premise is in mixed case, an avenue is "AV",
not "AVE", and times are more often written as ``2305``.

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

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.synthetic.geography import Layout, to_degrees
from hews_gpu.synthetic.simulate import Points
from hews_gpu.units import MINUTE_S

__all__ = ["COLUMNS", "HOMICIDE", "Cases", "Entries", "Role", "make_cases", "make_entries", "portal_table"]

Text = npt.NDArray[np.object_]

VICTIMS = (0.82, 0.13, 0.04, 0.01)  # chance of 1, 2, 3, 4 victims of a target event
DUPLICATES = 0.03  # share of other cases that are entered twice
TWIN, TWIN_REACH_M = 0.40, 80.0  # chance of a second report at the same minute; its distance at most
ECHO, ECHO_REACH_M, ECHO_MINUTES = 0.15, 150.0, 29  # ... of one after the event (never before: that would foretell it)
SECOND_REPORT = "AGG. ASSAULT"
DIED, HOMICIDE = 0.3, "HOMICIDE"  # share of the victims, and what their rows say
ROUNDED = ((0.30, 60), (0.12, 30), (0.20, 5))  # share of times rounded down to so many minutes
BLANK, ZERO, NEAR_OUTSIDE, FAR_OUTSIDE = 0.012, 1e-4, 4e-4, 1e-4  # share of other cases with such coordinates
NEAR_OUTSIDE_M, FAR_OUTSIDE_M = (5.0, 180.0), (900.0, 6_000.0)  # meters from the city's edge

COLUMNS = (
    *("CrimeDate", "CrimeTime", "CrimeCode", "Location", "Description", "Inside/Outside", "Weapon", "Post", "District"),
    *("Neighborhood", "Longitude", "Latitude", "Location 1", "Premise", "Total Incidents"),
)
MINUTES_PER_DAY = 24 * 60
COMPACT, COMPACT_TARGET = 0.02, 0.10  # share of times written as 112 or 2305
LATE_MIDNIGHT = 0.3  # share of midnights written as 24:00:00 of the day before
BLOCK_M, STREET_M = 110.0, 240.0
NAME_CUT = 25  # the portal cuts neighborhood names here

CODES = {
    "SHOOTING": ("9S",),
    "HOMICIDE": ("1F",),
    "ROBBERY - STREET": ("3AF", "3B", "3AK"),
    "ROBBERY - COMMERCIAL": ("3CF", "3D"),
    "ROBBERY - RESIDENCE": ("3JF", "3K"),
    "ROBBERY - CARJACKING": ("3AJF",),
    "BURGLARY": ("5A", "5D", "5C", "5B"),
    "LARCENY": ("6G", "6C", "6E", "6J", "6B"),
    "LARCENY FROM AUTO": ("6D",),
    "AUTO THEFT": ("7A", "7C"),
    "COMMON ASSAULT": ("4E",),
    "AGG. ASSAULT": ("4C", "4B", "4A", "4D"),
    "ASSAULT BY THREAT": ("4F",),
    "RAPE": ("2A",),
    "ARSON": ("8J",),
}
WEAPONS = {
    "SHOOTING": ("FIREARM",),
    "HOMICIDE": ("FIREARM",),
    "ROBBERY - STREET": ("FIREARM", "FIREARM", "KNIFE", ""),
    "ROBBERY - COMMERCIAL": ("FIREARM", "KNIFE", ""),
    "ROBBERY - RESIDENCE": ("FIREARM", "OTHER", ""),
    "ROBBERY - CARJACKING": ("FIREARM",),
    "COMMON ASSAULT": ("HANDS",),
    "AGG. ASSAULT": ("FIREARM", "KNIFE", "OTHER", "HANDS"),
    "RAPE": ("", "OTHER"),
}
PREMISES = ("STREET", "STREET", "ROW/TOWNHO", "PARKING LO", "APT/CONDO", "OTHER - IN", "CONVENIENC", "SCHOOL", "")
TARGET_PREMISES = ("Street", "Street", "Dwelling", "Alley", "")
DISTRICTS = (
    *("EASTERN", "NORTHEASTERN", "NORTHERN", "NORTHWESTERN"),
    *("WESTERN", "SOUTHWESTERN", "SOUTHERN", "SOUTHEASTERN", "CENTRAL"),
)
CENTRAL_M = 2_600.0  # around the center
STREET_NAMES = (
    *("ANCHOR", "BAYARD", "CEDAR", "DUNMORE", "ELM", "FERRY", "GRANT", "HOLLIS", "IRONWOOD", "JASPER", "KEEL"),
    *("LINDEN", "MERCER", "NORTH", "ORIEL", "PEARL", "QUINCE", "RIVER", "SEXTON", "TIDE", "UNION", "VINE", "WHARF"),
)
STREET_KINDS = ("ST", "AV", "RD", "ST", "LN")


class Role(IntEnum):
    """What a case is to the truth."""

    OTHER = 0
    TRIGGER = 1
    TARGET = 2
    SECOND = 3


@dataclass(frozen=True, kw_only=True)
class Cases:
    """E cases, each of which becomes one or more rows."""

    minute: Int64  # [E]
    xy_m: Float64  # [E, 2]; blank coordinates are nan
    category: Text  # [E]
    role: Int64  # [E] of Role
    rows: Int64  # [E] victims, or 2 where a case is entered twice
    is_zero: Bool  # [E] coordinates are written as 0,0


def make_cases(
    rng: np.random.Generator, events: Mapping[str, Points], roles: Mapping[str, Role], end_minute: int, layout: Layout
) -> Cases:
    """Make the cases that a simulated history is reported as, dirt included.

    Args:
        rng: of what is drawn.
        events: by category, with the target events under one name; places in meters.
        roles: of the categories that matter to the truth; the rest is dirty.
        end_minute: of the simulation.
        layout: where.
    """
    parts = [(name, points, roles.get(name, Role.OTHER)) for name, points in events.items()]
    (target,) = (points for _, points, role in parts if role == Role.TARGET)
    seconds = _second_reports(rng, target, end_minute)
    parts.append((SECOND_REPORT, seconds, Role.SECOND))
    role = np.concatenate([np.full(len(points.minute), kind, dtype=np.int64) for _, points, kind in parts])
    minute = np.concatenate([points.minute for _, points, _ in parts])
    is_other = role == Role.OTHER
    rows = np.where(
        role == Role.TARGET, rng.choice(4, size=len(role), p=VICTIMS), is_other & (rng.random(len(role)) < DUPLICATES)
    )
    xy_m, is_zero = _misplaced(rng, np.concatenate([points.place for _, points, _ in parts]), is_other, layout)
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
    """Draw the rows that cases are entered as."""
    case = np.repeat(np.arange(len(cases.minute)), cases.rows)
    order = np.lexsort([rng.random(len(case)), -(cases.minute[case] // (24 * 60))])
    is_target = (cases.role == Role.TARGET)[case[order]]
    return Entries(case=case[order], died=is_target & (rng.random(len(is_target)) < DIED))


def portal_table(
    rng: np.random.Generator, cases: Cases, layout: Layout, begin_s: int, words: np.random.Generator | None = None
) -> tuple[pd.DataFrame, Entries]:
    """Write cases as rows of text in the columns of the portal [R], and say what the rows are.

    Args:
        rng: of the order of the rows.
        cases: what they report.
        layout: names of the neighborhoods.
        begin_s: local wall-clock seconds of minute 0, a midnight.
        words: of the wording; the same as `rng`, and before it, unless given.
    """
    rows = portal_rows(words or rng, cases, layout, begin_s)
    rows.loc[cases.is_zero, ["Longitude", "Latitude"]] = "0.0"
    entries = make_entries(rng, cases)
    table = rows.iloc[entries.case].reset_index(drop=True)
    table.loc[entries.died, "Description"], table.loc[entries.died, "CrimeCode"] = HOMICIDE, "1F"
    return table, entries


def _second_reports(rng: np.random.Generator, targets: Points, end_minute: int) -> Points:
    """Draw twins at the same minute, and echoes later, of some target events."""
    kind = rng.choice(3, size=len(targets.minute), p=(TWIN, ECHO, 1 - TWIN - ECHO))
    minute = targets.minute + (kind == 1) * rng.integers(1, ECHO_MINUTES + 1, size=len(kind))
    reach_m = np.where(kind == 1, ECHO_REACH_M, TWIN_REACH_M) * np.sqrt(rng.random(len(kind)))
    angle = rng.uniform(0, 2 * np.pi, size=len(kind))
    xy_m = targets.place + reach_m[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    kept = (kind < 2) & (minute < end_minute)
    return Points(minute[kept], xy_m[kept])


def _rounded(rng: np.random.Generator, minute: Int64) -> Int64:
    """Round some times down, as people and forms do."""
    shares = [share for share, _ in ROUNDED]
    unit = rng.choice([step for _, step in ROUNDED] + [1], size=len(minute), p=[*shares, 1 - sum(shares)])
    return np.asarray(minute // unit * unit, dtype=np.int64)


def _misplaced(rng: np.random.Generator, xy_m: Float64, may: Bool, layout: Layout) -> tuple[Float64, Bool]:
    """Replace some places that `may` be: by nan, by a place outside the city, or by a mark that they are 0,0."""
    xy_m = xy_m.copy()
    shares = (BLANK, ZERO, NEAR_OUTSIDE, FAR_OUTSIDE)
    kind = np.where(may, rng.choice(5, size=len(xy_m), p=(*shares, 1 - sum(shares))), 4)
    xy_m[kind == 0] = np.nan
    for wanted, (low_m, high_m) in ((2, NEAR_OUTSIDE_M), (3, FAR_OUTSIDE_M)):
        for k in np.flatnonzero(kind == wanted):
            edge = layout.outline.buffer(rng.uniform(low_m, high_m)).exterior
            xy_m[k] = shapely.get_coordinates(edge.interpolate(rng.random(), normalized=True))[0]
    return xy_m, kind == 1


# ---------------------------------------------------------------- the wording


def portal_rows(rng: np.random.Generator, cases: Cases, layout: Layout, begin_s: int) -> pd.DataFrame:
    """Write one row of text per case [E], in the portal's columns; arguments as for `portal_table`."""
    minute, xy_m, category, is_target = cases.minute, cases.xy_m, cases.category, cases.role == Role.TARGET
    date, time = _date_and_time(rng, minute, is_target, begin_s)
    longitude, latitude, pair = _coordinates(xy_m)
    cell = layout.neighborhood(xy_m)
    is_inside = rng.random(len(minute)) < np.where(is_target, 0.15, 0.5)
    short = np.where(rng.random(len(minute)) < 0.04, "", np.where(is_inside, "I", "O"))
    columns = {
        "CrimeDate": date,
        "CrimeTime": time,
        "CrimeCode": _one_of(rng, category, CODES),
        "Location": _address(rng, xy_m, is_target),
        "Description": category,
        "Inside/Outside": np.where(is_target, np.where(is_inside, "Inside", "Outside"), short),
        "Weapon": _one_of(rng, category, WEAPONS),
        "Post": np.array([*(f"{k % 9 + 1}{k % 4 + 1}{k % 3 + 1}.0" for k in range(len(layout.cells))), ""])[cell],
        "District": _district(xy_m),
        "Neighborhood": np.array([*(name[:NAME_CUT] for name in layout.names), ""])[cell],
        "Longitude": longitude,
        "Latitude": latitude,
        "Location 1": pair,
        "Premise": np.where(is_target, rng.choice(TARGET_PREMISES, len(minute)), rng.choice(PREMISES, len(minute))),
        "Total Incidents": np.full(len(minute), "1"),
    }
    assert tuple(columns) == COLUMNS
    return pd.DataFrame({name: np.asarray(values, dtype=object) for name, values in columns.items()})


def _date_and_time(rng: np.random.Generator, minute: Int64, is_target: Bool, begin_s: int) -> tuple[Text, Text]:
    """Write dates as MM/DD/YYYY; times as HH:MM:SS, HHMM without zeros in front, or 24:00:00 of the day before."""
    day, of_day = np.divmod(minute + begin_s // MINUTE_S, MINUTES_PER_DAY)
    is_late = (of_day == 0) & (rng.random(len(minute)) < LATE_MIDNIGHT)
    day, of_day = day - is_late, of_day + MINUTES_PER_DAY * is_late
    clock = [divmod(m, 60) for m in range(MINUTES_PER_DAY + 1)]
    plain = np.array([f"{hour:02d}:{m:02d}:00" for hour, m in clock], dtype=object)
    compact = np.array([f"{hour}{m:02d}" for hour, m in clock], dtype=object)
    is_compact = (of_day >= 60) & (rng.random(len(minute)) < np.where(is_target, COMPACT_TARGET, COMPACT))
    days, which = np.unique(day, return_inverse=True)
    dates = np.array([d.strftime("%m/%d/%Y") for d in days.astype("datetime64[D]").tolist()], dtype=object)
    return dates[which], np.where(is_compact, compact[of_day], plain[of_day])


def _coordinates(xy_m: Float64) -> tuple[Text, Text, Text]:
    """Write longitude and latitude with five decimals (about a meter), and both as one text; blank where nan."""
    degrees = [["" if value != value else f"{value:.5f}" for value in axis] for axis in to_degrees(xy_m).T.tolist()]
    pair = [f"({lat}00000, {lon}00000)" if lat else "" for lon, lat in zip(*degrees, strict=True)]
    longitude, latitude = (np.array(axis, dtype=object) for axis in degrees)
    return longitude, latitude, np.array(pair, dtype=object)


def _one_of(rng: np.random.Generator, category: Text, choices: dict[str, tuple[str, ...]]) -> Text:
    """Draw one of each category's `choices` [E]; blank where it has none."""
    draw, texts = rng.random(len(category)), np.full(len(category), "", dtype=object)
    for name, options in choices.items():
        mine = np.flatnonzero(category == name)
        texts[mine] = np.array(options, dtype=object)[(draw[mine] * len(options)).astype(np.int64)]
    return texts


def _address(rng: np.random.Generator, xy_m: Float64, is_target: Bool) -> Text:
    """Return the block and street of each place [E]: on a grid, half the cases on the street across."""
    place = np.nan_to_num(xy_m, nan=0.0)
    across = rng.integers(0, 2, size=len(place))
    along = np.take_along_axis(place, across[:, None], axis=1)[:, 0]
    side = np.take_along_axis(place, 1 - across[:, None], axis=1)[:, 0]
    street = np.floor(side / STREET_M).astype(np.int64) * 2 + across
    block = np.abs(np.floor(along / BLOCK_M).astype(np.int64)) * 100
    codes, which = np.unique(np.stack([street, block, is_target], axis=1), axis=0, return_inverse=True)
    texts = np.array([_address_text(*code) for code in codes.tolist()], dtype=object)[which.reshape(-1)]
    return np.where(np.isnan(xy_m[:, 0]), "", texts)


def _address_text(street: int, block: int, is_target: int) -> str:
    kind = STREET_KINDS[street % len(STREET_KINDS)]
    return f"{block} {STREET_NAMES[street % len(STREET_NAMES)]} {kind}{'E' if kind == 'AV' and not is_target else ''}"


def _district(xy_m: Float64) -> Text:
    """Return the police district [E]: eight sectors around a central one; blank where the place is."""
    place = np.nan_to_num(xy_m, nan=0.0)
    sector = np.round(np.arctan2(place[:, 1], place[:, 0]) / (np.pi / 4)).astype(np.int64) % 8
    sector = np.where(np.hypot(place[:, 0], place[:, 1]) < CENTRAL_M, 8, sector)
    return np.where(np.isnan(xy_m[:, 0]), "", np.array(DISTRICTS, dtype=object)[sector])
