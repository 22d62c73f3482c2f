"""How cases are worded in the portal's fifteen columns: dates and times, coordinates, addresses, codes.

None of it may reach a model. As in the real table, target rows are worded unlike all others: `Inside/Outside` is spelt
out, the premise is in mixed case, an avenue is "AV", not "AVE", and times are more often written as ``2305``.

Shapes: E cases.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.arrays import Bool
from hews_gpu.synthetic.geography import Ground, to_degrees
from hews_gpu.synthetic.process import MINUTE_S, Float64, Int64

__all__ = ["COLUMNS", "portal_rows"]

Text = npt.NDArray[np.object_]

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


def portal_rows(
    rng: np.random.Generator,
    minute: Int64,
    xy_m: Float64,
    category: Text,
    is_target: Bool,
    ground: Ground,
    begin_s: int,
) -> pd.DataFrame:
    """[E] one row of text per case, in the portal's columns.

    Args:
        rng: where the randomness comes from.
        minute: [E] since `begin_s`.
        xy_m: [E, 2] places; nan becomes a blank.
        category: [E] as written under Description.
        is_target: [E]
        ground: neighborhoods, for their names.
        begin_s: local wall-clock seconds of minute 0, a midnight.
    """
    date, time = _date_and_time(rng, minute, is_target, begin_s)
    longitude, latitude, pair = _coordinates(xy_m)
    cell = ground.neighborhood(xy_m)
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
        "Post": np.array([*(f"{k % 9 + 1}{k % 4 + 1}{k % 3 + 1}.0" for k in range(len(ground.cells))), ""])[cell],
        "District": _district(xy_m),
        "Neighborhood": np.array([*(name[:NAME_CUT] for name in ground.names), ""])[cell],
        "Longitude": longitude,
        "Latitude": latitude,
        "Location 1": pair,
        "Premise": np.where(is_target, rng.choice(TARGET_PREMISES, len(minute)), rng.choice(PREMISES, len(minute))),
        "Total Incidents": np.full(len(minute), "1"),
    }
    assert tuple(columns) == COLUMNS
    return pd.DataFrame({name: np.asarray(values, dtype=object) for name, values in columns.items()})


def _date_and_time(rng: np.random.Generator, minute: Int64, is_target: Bool, begin_s: int) -> tuple[Text, Text]:
    """Dates as MM/DD/YYYY; times as HH:MM:SS, HHMM without zeros in front, or 24:00:00 of the day before."""
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
    """Longitude and latitude with five decimals (about a meter), and both as one text; blank where nan."""
    degrees = [["" if value != value else f"{value:.5f}" for value in axis] for axis in to_degrees(xy_m).T.tolist()]
    pair = [f"({lat}00000, {lon}00000)" if lat else "" for lon, lat in zip(*degrees, strict=True)]
    longitude, latitude = (np.array(axis, dtype=object) for axis in degrees)
    return longitude, latitude, np.array(pair, dtype=object)


def _one_of(rng: np.random.Generator, category: Text, choices: dict[str, tuple[str, ...]]) -> Text:
    """[E] one of each category's `choices`, at random; blank where it has none."""
    draw, texts = rng.random(len(category)), np.full(len(category), "", dtype=object)
    for name, options in choices.items():
        mine = np.flatnonzero(category == name)
        texts[mine] = np.array(options, dtype=object)[(draw[mine] * len(options)).astype(np.int64)]
    return texts


def _address(rng: np.random.Generator, xy_m: Float64, is_target: Bool) -> Text:
    """[E] the block and street of each place: on a grid, half the cases on the street across."""
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
    """[E] police district: eight sectors around a central one; blank where the place is."""
    place = np.nan_to_num(xy_m, nan=0.0)
    sector = np.round(np.arctan2(place[:, 1], place[:, 0]) / (np.pi / 4)).astype(np.int64) % 8
    sector = np.where(np.hypot(place[:, 0], place[:, 1]) < CENTRAL_M, 8, sector)
    return np.where(np.isnan(xy_m[:, 0]), "", np.array(DISTRICTS, dtype=object)[sector])
