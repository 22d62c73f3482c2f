"""What a user should know of a table before trusting anything made of it, as sentences.

Each warning names its rows and what was or was not done about them; nothing here changes the table.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hews_gpu.config import CityConfig
from hews_gpu.data.events import DOUBTS
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
LEAST_LOST = 3  # rows; fewer are an accident
UNEVEN_Z = 4.0  # standard deviations; a table has some hundred months
NEAR_DAYS = 7
NEAR_NAME = 0.8  # of difflib: one or two letters of a category's name


def quality_warnings(
    quality: dict[str, Any], city: CityConfig, rows: RowTally, texts: TextTally, files: Sequence[IncidentFile]
) -> list[str]:
    """Return the warnings, of what quality.json holds so far, of the city's file and of the tallies behind it."""
    return [
        *_of_names(city, rows),
        *_of_places(quality, rows, texts),
        *_of_completeness(quality),
        *_of_missing_targets(quality["coverage"]),
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


def _of_completeness(quality: dict[str, Any]) -> list[str]:
    """Tell why the table may not be all there is, and where its rows thin out."""
    warnings = [f"the table is not known to be complete: {doubt}" for doubt in quality[DOUBTS]]
    stretches, span = quality["coverage"]["rows"], quality["span"]
    ends = (stretches[0][0], stretches[-1][1]) if stretches else ()
    if span and ends and (len(stretches) > 1 or not _is_near(ends, span)):
        dense = ", ".join(f"{first} to {last}" for first, last in stretches[:MANY])
        warnings.append(
            f"rows are as dense as usual from {dense}; the few beyond, of {span[0][:10]} to {span[1][:10]}, are kept, "
            "but what happened there is not known"
        )
    return warnings


def _of_missing_targets(coverage: dict[str, Any]) -> list[str]:
    """Tell of target categories that stop, or begin late, and what may be their other name there."""
    warnings = []
    for name, own in coverage["targets"].items():
        begin, end = coverage["rows"][0][0], coverage["rows"][-1][1]
        begins, stops = own[0][0] > begin, own[-1][1] < end
        if begins or stops:
            when = " and ".join([f"before {own[0][0]}"] * begins + [f"after {own[-1][1]}"] * stops)
            others = ", ".join(f"'{other}'" for other in coverage["other_names"].get(name, ()))
            more = f": {others} may be its other name there" if others else ""
            warnings.append(f"the target '{name}' is missing {when}, though the table covers {begin} to {end}{more}")
    return warnings


def _is_near(ends: Sequence[str], span: Sequence[str]) -> bool:
    """Return whether first and last days are no more than a week apart."""
    days = [np.array([day[:10] for day in pair], "datetime64[D]").astype(np.int64) for pair in (ends, span)]
    return bool((np.abs(days[0] - days[1]) <= NEAR_DAYS).all())


def _of_lost_targets(quality: dict[str, Any]) -> list[str]:
    """Tell of target rows that were set aside: many in all, of a category, or of a month; or any for their time.

    Losses that are spread evenly blur a forecast; those of one category or one month teach it what is not so.
    """
    lost = quality["targets_quarantined_by_reason"]
    total = sum(lost.values()) + quality["targets_kept"]
    warnings = []
    if total and (sum(lost.values()) >= LOST_SHARE * total or lost.get("unparsable time")):
        warnings.append(f"{sum(lost.values()):,} of {total:,} target rows were set aside ({_listed(lost)})")
    share = sum(lost.values()) / max(1, total)

    def is_uneven(of: dict[str, int]) -> bool:
        """Whether more rows are lost than chance would have it where all lose the same share."""
        n, rows = of["lost"], of["lost"] + of["kept"]
        expected = share * rows
        return bool(n >= max(LEAST_LOST, LOST_SHARE * rows, expected + UNEVEN_Z * (expected * (1 - share)) ** 0.5))

    for name, of in quality["targets_lost_by_category"].items():
        n, rows = sum(of["lost"].values()), sum(of["lost"].values()) + of["kept"]
        if is_uneven({"lost": n, "kept": of["kept"]}):
            those = f"{n:,} of {rows:,} rows of the target '{name}'"
            warnings.append(f"{those} were set aside ({_listed(of['lost'])}), of all targets {share:.1%}")
    months = [
        f"{month} ({of['lost']:,} of {of['lost'] + of['kept']:,})"
        for month, of in quality["targets_lost_by_month"].items()
        if is_uneven(of)
    ]
    if months:
        more = f" and {len(months) - MANY} more" if len(months) > MANY else ""
        warnings.append(f"target rows were set aside unevenly, above all in {', '.join(months[:MANY])}{more}")
    return warnings


def _listed(lost: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {n:,}" for reason, n in lost.items())


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
