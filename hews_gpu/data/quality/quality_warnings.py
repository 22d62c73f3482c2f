"""What a user should know of a table before trusting anything made of it, as sentences.

Each warning names its rows and what was or was not done about them; nothing here changes the table.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from hews_gpu.config import CityConfig
from hews_gpu.data.quality.label_information import WARN_SHARE
from hews_gpu.data.quality.report import ALL
from hews_gpu.data.quality.tallies import RowTally
from hews_gpu.data.quality.text_statistics import TextTally
from hews_gpu.data.readers.files import IncidentFile
from hews_gpu.data.readers.schemas import SCHEMAS
from hews_gpu.data.readers.time_reading import QUIET_AT
from hews_gpu.units import DAY_S

__all__ = ["quality_warnings"]

MANY = 6  # names in one sentence
FEW = 20  # rows that may be of one corner
LOST_SHARE = 0.05
VAGUE = frozenset(["UNKNOWN", "UNK", "UNSPECIFIED", "NOT SPECIFIED", "NOT REPORTED", "UNDEFINED", "TBD"])
MANY_AT_ONE_TIME = 0.1  # of the rows of a real table 0.02 to 0.05 lie at the commonest time, a round hour
NEAR_NAME = 0.8  # of difflib: one or two letters of a category's name


def quality_warnings(
    quality: dict[str, Any], city: CityConfig, rows: RowTally, texts: TextTally, files: Sequence[IncidentFile]
) -> list[str]:
    """Return the warnings, of what quality.json holds so far, of the city's file and of the tallies behind it."""
    return [
        *_of_names(city, rows),
        *_of_places(quality, rows, texts),
        *_of_lost_targets(quality),
        *_of_times(quality["times"], city),
        *_of_files(quality, texts, files, city.incidents.times),
        *_of_volume(quality),
        *_of_leaks(quality),
    ]


def _of_names(city: CityConfig, rows: RowTally) -> list[str]:
    """Name categories that mean nothing, and those that a channel lists and no row has.

    A misspelled one would be counted under `other` without a word.
    """
    there = {kind.category for kind in rows.kinds if kind.category}
    vague = [f"'{name}' ({n:,} rows)" for name, n in sorted(rows.categories.items()) if name in VAGUE]
    warnings = [f"categories that may stand for none are kept as any other: {', '.join(vague)}"] if vague else []
    absent = []
    for names in city.channels.groups.values():
        for name in sorted(set(names) - there):
            near = difflib.get_close_matches(name, there, n=1, cutoff=NEAR_NAME)
            absent.append(f"'{name}' (did you mean '{near[0]}'?)" if near else f"'{name}'")
    if not absent:
        return warnings
    return [*warnings, f"[channels.groups] lists {len(absent)} categories that no row has: {', '.join(absent[:MANY])}"]


def _of_places(quality: dict[str, Any], rows: RowTally, texts: TextTally) -> list[str]:
    commas = sum(texts.commas.values())
    told = {
        "rows outside would lie in the city with longitude and latitude exchanged; they are in quarantine.parquet, and "
        "nothing was exchanged: correct the file or [incidents.columns]": rows.swapped,
        "rows have coordinates that are no degrees but look like meters or feet; they are in quarantine.parquet: "
        "convert them to longitude and latitude": rows.not_degrees,
        "coordinates hold a comma and were not read as numbers: write them with a decimal point": commas,
    }
    warnings = [f"{n:,} {what}" for what, n in told.items() if n]
    if len(rows.corners) == 1 and rows.kept >= FEW:
        warnings.append(f"all {rows.kept:,} rows lie at one point: check the columns of the coordinates")
    if pairs := quality["overlapping_neighborhoods"]:
        shown = ", ".join(f"'{a}' and '{b}'" for a, b in pairs[:MANY])
        warnings.append(
            f"{len(pairs):,} pairs of neighborhoods overlap ({shown}); a point in both belongs to the one that comes "
            "first in the file"
        )
    return warnings


def _of_lost_targets(quality: dict[str, Any]) -> list[str]:
    lost = quality["targets_quarantined_by_reason"]
    total = sum(lost.values()) + quality["targets_kept"]
    is_told = sum(lost.values()) >= LOST_SHARE * total or lost.get("unparsable time")
    if not total or not is_told:
        return []
    reasons = ", ".join(f"{reason}: {n:,}" for reason, n in lost.items())
    return [f"{sum(lost.values()):,} of {total:,} target rows were set aside ({reasons})"]


def _of_times(times: dict[str, Any], city: CityConfig) -> list[str]:
    most, warnings = times["most_at_one_time"], []
    if times["resolution_s"] == DAY_S:
        if city.task.lead_s < DAY_S:
            warnings.append(
                "times are days: a row of the day before a window may have happened at its very end; "
                f"[task] lead_s = {DAY_S} leaves that day alone"
            )
    elif most["share"] >= MANY_AT_ONE_TIME:
        warnings.append(
            f"{most['share']:.0%} of the {most['of']} are at {most['time']} exactly, as times that nobody knows are "
            "often written: the window that holds it looks busier than it was"
        )
    if times["seem_to_be"] == "utc":
        quiet = times["quietest_hour"]
        warnings.append(
            f"times seem to be UTC: fewest rows lie around {quiet}:30, where crime is rarest at about "
            f'{QUIET_AT}:30 local time; if so, set [incidents] times = "utc"'
        )
    return warnings


def _of_files(quality: dict[str, Any], texts: TextTally, files: Sequence[IncidentFile], times: str) -> list[str]:
    wall_clock = {schema.name for schema in SCHEMAS if schema.zone_is_mislabelled}
    tables = [(file, file.columns) for file in files if file.columns is not None]
    return [
        *(
            f"{aside['name']} cannot be read as a table and is left out whole: it {aside['why']}"
            for aside in quality["files_quarantined"][:MANY]
        ),
        *(f"{files[number].name}: {n:,} {what}" for (number, what), n in sorted(texts.noticed.items()) if n),
        *(
            f"{file.name}: {texts.zones[file.number]:,} times carry a zone such as +00, which was ignored: they are "
            'taken as local wall-clock times; set [incidents] times = "utc" if they are UTC'
            for file, columns in tables
            if times == "auto" and texts.zones[file.number] and columns.schema not in wall_clock
        ),
        *(f"{file.name}: has no columns for coordinates" for file, columns in tables if not columns.has_place),
        *[_of_overlap(pair) for pair in quality["overlapping_files"] if pair["repeated"]][:MANY],
        *(
            f"category '{entry['category']}' has {entry['rows']:,} rows in {entry['files'][0]}; by the other files' "
            f"share it should have about {entry['expected']:,.0f}"
            for entry in quality["vocabulary_changes"][:MANY]
        ),
    ]


def _of_overlap(pair: dict[str, Any]) -> str:
    """Tell of two files that report the same events: what was left out, and which targets may still count twice."""
    a, b = pair["files"]
    text = (
        f"{a} and {b} share {pair['days'][0]} to {pair['days'][1]}: {pair['repeated']:,} rows of the second repeat "
        "the first and are left out of maps and labels"
    )
    targets = {name: of for name, of in pair["targets"].items() if of["rows"][1]}
    if any(of["unmatched"] for of in targets.values()):
        each = [f"{name} {of['repeated']:,} matched, {of['unmatched']:,} unmatched" for name, of in targets.items()]
        text += f"; of its targets there {', '.join(each[:MANY])}: these may count twice, use one file per period"
    return text


def _of_volume(quality: dict[str, Any]) -> list[str]:
    steps = quality["volume_steps"]["found"]
    overall = [f"all categories together step from {_means(step)}" for step in steps if step["category"] == ALL]
    each = [f"{step['category']} from {_means(step)}" for step in steps if step["category"] != ALL]
    single = [f"{len(each)} steps in single categories: {'; '.join(each[:MANY])}"] if each else []
    return [*overall[:MANY], *single]


def _means(step: dict[str, Any]) -> str:
    return f"{step['before']:,.0f} to {step['after']:,.0f} rows a month at {step['month']}"


def _of_leaks(quality: dict[str, Any]) -> list[str]:
    shares: dict[str, float] = {}  # features of how a column is written count as the column
    for entry in quality["label_information"]["columns"]:
        if entry["warning"]:
            column = entry["column"].split(": ")[0] if not entry["column"].startswith("clock") else entry["column"]
            shares[column] = max(shares.get(column, 0.0), entry["share"])
    if not shares:
        return []
    shown = ", ".join(f"{column} ({share:.0%})" for column, share in list(shares.items())[:MANY])
    return [
        f"{len(shares)} columns or ways of writing say more than {WARN_SHARE:.0%} of what there is to know of the "
        f"label ({shown}); no model reads them"
    ]
