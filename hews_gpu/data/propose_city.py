"""The city file that `hews init NAME --from FILE` writes: all in it comes from the table, or is left to be named.

The whole table is read once, by block: when its rows are, of which categories, and where. From that follow the splits
(from what it covers), the time zone (from where most rows lie), the channels (from the words in its categories), the
size of the maps (from its extent). What the table does not say is written as a comment, never as another city's value.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.arrays import Float64
from hews_gpu.config import LayerConfig, city_template
from hews_gpu.data.clean import NULL_ISLAND_DEG, block_frame
from hews_gpu.data.coverage import coverage_of
from hews_gpu.data.detect_columns import numbers_among, words_of
from hews_gpu.data.geometry.outlines import meters_per_degree
from hews_gpu.data.propose import DAILY_ADVICE, SAMPLE_ROWS, TARGET, Proposal, first_rows, propose
from hews_gpu.data.propose_clock import Clock, zone_of
from hews_gpu.data.quality.tallies import count_rows
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import Block
from hews_gpu.data.readers.files import open_table
from hews_gpu.data.readers.schemas import POINT_ROLES, SCHEMAS, Columns, ReadSettings, choose_columns
from hews_gpu.data.resolution import DAILY
from hews_gpu.progress import step
from hews_gpu.units import DAY_S

__all__ = ["WORDS_OF_GROUPS", "Survey", "propose_city", "propose_layer", "survey"]

WORDS_OF_GROUPS: Mapping[str, str] = {
    "robbery": r"ROBB|CARJACK|MUGGING|HOLD.?UP",
    "violence": r"ASSAULT|ASSLT|BATTERY|STABB|STRANGUL|KIDNAP|RAPE|SEX|VIOLEN|MENAC|THREAT|INTIMID|ABDUCT|WOUND",
    "weapons": r"WEAPON|FIREARM|\bGUN|SHOTS|DISCHARG",
    "burglary": r"BURGL|BREAK.{0,6}ENTER|BREAKING|HOUSEBREAK",
    "theft": r"THEFT|LARCEN|STOLEN|STEAL|SHOPLIFT|POCKET|PURSE|VEHICLE TAK",
    "drugs": r"DRUG|NARCOT|CONTROLLED SUB|CANNABIS|METH",
    "damage": r"VANDAL|DAMAGE|GRAFFITI|ARSON|MISCHIEF",
}
"""Channel -> words, of which a category has the first that fits; target categories come before, the rest is `other`."""
AREA = re.compile(
    r"address|area|beat|block|district|location|neighbou?rhood|place|precinct|sector|street|ward|where|zip|zone"
)
"""In the name of a column that may say where a row lies."""
CELL_DEG = 0.01
OUTLYING = 0.001  # share of rows at each side that do not count for the extent: misplaced ones
MAP_PX, CHANNEL_CELLS, CELL_M = 216, 64, 400.0
LISTED = 40
DAYS_LEAST = 16  # then the shortest split has two days: one of history, and some windows
DAYS_LEAST_DAILY = 80  # then it has ten: a week of history, a day that is left alone, and two windows
YEAR = 12  # months
LOCKED_YEARS = 6


@dataclass(kw_only=True)
class Survey:
    """What the rows of a whole table say."""

    days: Counter[int] = field(default_factory=Counter)
    """Rows by day since 1970."""
    categories: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Rows by cell of CELL_DEG, counted east and north."""

    @property
    def targets(self) -> list[str]:
        """Categories that sound like homicides or shootings."""
        return sorted(name for name in self.categories if TARGET.search(name))

    def place(self) -> tuple[Float64, Float64] | None:
        """Return west, south, east and north of the rows but for a few, and their middle; None without any."""
        if not self.cells:
            return None
        cells, rows = np.array(list(self.cells)), np.array(list(self.cells.values()))
        ends, middle = [], []
        for axis in (0, 1):
            order = np.argsort(cells[:, axis], kind="stable")
            share = np.cumsum(rows[order]) / rows.sum()
            at = np.searchsorted(share, [OUTLYING, 0.5, 1 - OUTLYING])
            low, mid, high = cells[order[np.minimum(at, len(order) - 1)], axis] * CELL_DEG
            ends.append((low, high + CELL_DEG))
            middle.append(mid + CELL_DEG / 2)
        return np.array([ends[0][0], ends[1][0], ends[0][1], ends[1][1]]), np.array(middle)


def survey(file: Path, proposal: Proposal) -> Survey:
    """Read the whole table in the columns that were proposed.

    Raises:
        UserError: it is damaged.
    """
    result = Survey()
    settings = ReadSettings(schema="auto")
    with open_table(file, file.name, settings) as table:
        columns = _columns_of(file, proposal, table.names)
        vocabulary = next((schema.vocabulary for schema in SCHEMAS if schema.name == proposal.schema), {})
        with step("looking at the table", 0, "rows") as bar:
            for rows in table.blocks(columns) if columns.roles else ():
                _count_block(result, block_frame(Block(rows), vocabulary, reading=proposal.clock.reading))
                bar.advance(len(rows))
    return result


def _columns_of(file: Path, proposal: Proposal, names: tuple[str, ...]) -> Columns:
    """Return what to read of the table: nothing but the columns that play a role."""
    if proposal.schema != "mapped":
        roles = choose_columns(names, file=file.name).roles
    else:
        roles = {role: names.index(name) for role, name in proposal.columns.items()}
    return Columns(schema=proposal.schema, names=names, roles=roles)


def _count_block(result: Survey, frame: pd.DataFrame) -> None:
    time_s = frame["time_s"].to_numpy()
    result.days.update(count_rows(time_s[time_s != dates.NOT_A_TIME] // DAY_S))
    names, codes = list(frame["category"].cat.categories), frame["category"].cat.codes.to_numpy()
    result.categories.update({names[code]: n for code, n in count_rows(codes).items() if names[code]})
    x, y = (frame[name].to_numpy() for name in ("longitude", "latitude"))
    here = (np.abs(x) <= 180) & (np.abs(y) <= 90) & ((np.abs(x) > NULL_ISLAND_DEG) | (np.abs(y) > NULL_ISLAND_DEG))
    cell = [np.floor(of[here] / CELL_DEG).astype(np.int64) for of in (x, y)]
    result.cells.update(count_rows(*cell))


def propose_city(name: str, table: Path, path: Path) -> tuple[str, dict[str, Any]]:
    """Return a city file to be written to `path`, and what was proposed in it, with advice.

    Raises:
        UserError: not a table that can be read.
    """
    proposal = propose(table)
    surveyed = survey(table, proposal)
    about = {key: value for key, value in asdict(proposal).items() if key not in ("targets", "clock")}
    place = surveyed.place()
    about |= {
        "times": proposal.clock.times,
        "times_because": list(proposal.clock.reasons),
        "targets": surveyed.targets,
        "timezone": None if place is None else zone_of(*place[1].tolist()),
        "splits": splits_of(surveyed.days, DAYS_LEAST_DAILY if proposal.is_daily else DAYS_LEAST),
        "groups": groups_of(surveyed.categories, surveyed.targets),
        "categories": dict(surveyed.categories.most_common()),
    }
    size = None if place is None else _extent_m(place[0])
    return _city_text(name, table, proposal, about, size, path), {**about, "advice": _advice(proposal, about)}


def _extent_m(bounds: Float64) -> tuple[float, float]:
    """Return how far a box in degrees reaches from west to east and from south to north, meters."""
    west, south, east, north = bounds.tolist()
    per_east, per_north = meters_per_degree(np.array((south + north) / 2))
    return float((east - west) * per_east), float((north - south) * per_north)


def splits_of(days: Mapping[int, int], least_days: int = DAYS_LEAST) -> dict[str, list[str]]:
    """Return splits of what a table covers; empty where that is too short for three of them.

    A year is tested on where there are three and a half, else a quarter; half as long validates. Where there are
    LOCKED_YEARS, the last fifth, of two years at most, is locked. Splits of two years or more begin on the first of a
    month.

    Args:
        days: rows by day since 1970.
        least_days: of fewer there are no splits.
    """
    coverage = coverage_of(days, {})
    if not coverage.rows:
        return {}
    begin_s, end_s = max(coverage.rows, key=lambda stretch: stretch[1] - stretch[0])
    begin, end = (np.datetime64(edge_s, "s").astype("datetime64[D]") for edge_s in (begin_s, end_s))
    first, last = (begin - 1).astype("datetime64[M]") + 1, end.astype("datetime64[M]")
    months, length = (int((b - a).astype(np.int64)) for a, b in ((first, last), (begin, end)))
    if months >= 2 * YEAR:
        locked = min(2 * YEAR, months // 5) if months >= LOCKED_YEARS * YEAR else 0
        edges, end = _edges(first, months - locked, YEAR), last.astype("datetime64[D]")
    elif length >= least_days:
        locked, edges = 0, _edges(begin, length, length)
    else:
        return {}
    names = ("train", "validation", "test")
    result = {name: [str(a), str(b)] for name, (a, b) in zip(names, pairwise(edges), strict=True)}
    return {**result, "locked": [str(edges[-1]), str(end)]} if locked else result


def _edges(begin: np.datetime64, length: int, most: int) -> list[np.datetime64]:
    """Return the four edges of three splits, in days; `most` is the length of a test split at most."""
    tested = most if length >= 3.5 * most else length // 4
    at = (0, length - tested - tested // 2, length - tested, length)
    return [(begin + units).astype("datetime64[D]") for units in at]


def groups_of(categories: Mapping[str, int], targets: Sequence[str]) -> dict[str, list[str]]:
    """Return the channels that the vocabulary gives: the targets, and each group of which some category has a word."""
    groups: dict[str, list[str]] = {"targets": list(targets)}
    for name in sorted(set(categories) - set(targets)):
        group = next((group for group, words in WORDS_OF_GROUPS.items() if re.search(words, name)), None)
        if group is not None:
            groups.setdefault(group, []).append(name)
    return {group: groups[group] for group in ("targets", *WORDS_OF_GROUPS) if groups.get(group)}


def _advice(proposal: Proposal, about: Mapping[str, Any]) -> str:
    """Return what to check before the file is used."""
    shown = "the schema " + proposal.schema
    if proposal.schema == "mapped":
        shown = ", ".join(f"{role} = '{column}'" for role, column in proposal.columns.items()) or "no column"
    parts = [f"Found {shown}."]
    if proposal.missing:
        parts.append(f"No column seems to hold: {', '.join(proposal.missing)}. Name it under [incidents.columns].")
    if proposal.is_daily:
        parts.append(DAILY_ADVICE)
    parts += proposal.clock.advice()
    if not about["targets"]:
        parts.append("No category sounds like a homicide or a shooting: set [incidents] targets.")
    if about["timezone"] is None:
        parts.append("No coordinates tell the time zone: set [city] timezone.")
    if not about["splits"]:
        parts.append("No dates, or too few days, to cut into splits: set [splits].")
    return " ".join([*parts, "Name the polygons under [neighborhoods], and check the rest."])


def propose_layer(name: str, table: Path) -> str:
    """Return the section of a city file that adds a table as a layer, to be confirmed like `propose_city`'s.

    Raises:
        UserError: the name is none, or the table is missing, of no known kind, or damaged.
    """
    proposal = propose(table)
    layer = LayerConfig(name=name, files=(str(table),))
    _, sample = first_rows(table, SAMPLE_ROWS)
    where = {role: column for role, column in proposal.columns.items() if role not in POINT_ROLES}
    has_points = set(POINT_ROLES) <= set(proposal.columns) or proposal.schema != "mapped"
    missing = [role for role in proposal.missing if role not in POINT_ROLES]
    numbers, no_place = numbers_among(sample, {*where.values()}), list[str]()
    if not has_points and ("category" in where or numbers) and not any(AREA.search(words_of(one)) for one in sample):
        no_place = ["citywide = true                     # no column says where: its rows are of the whole city"]
        if numbers:
            no_place.append(f"values = {_toml(numbers)} # columns of numbers; leave out what tells nothing")
            missing = [role for role in missing if role != "category"]
    elif not has_points:
        missing = ["area", *missing]
    columns = _mapping(proposal if has_points else replace(proposal, columns=where, missing=missing))
    return "\n".join(
        [
            "[[layers]]                          # another table that forecasts may read",
            f"name = {_toml(layer.name)}",
            f"files = {_toml([str(table.absolute())])}",
            *no_place,
            *_clock_lines(proposal.clock),
            "# delay_s = 0                       # how long after it happened a row is known",
            *(line.replace("[incidents.columns]   ", "[layers.columns]      ") for line in columns),
            '# known = "COLUMN"                  # of the time at which each row became known, where the table says so',
            "",
        ]
    )


def _city_text(
    name: str,
    table: Path,
    proposal: Proposal,
    about: Mapping[str, Any],
    size_m: tuple[float, float] | None,
    path: Path,
) -> str:
    """Return the template with the proposal filled in; the table is named from the file's own folder."""
    text = city_template("baltimore")
    file = os.path.relpath(table.absolute(), path.absolute().parent)
    targets, zone, splits = about["targets"], about["timezone"], about["splits"]
    given = {
        r"^name = [^\n]*": f"name = {_toml(name)}",
        r"^timezone = [^\n]*": _given_or_not("timezone", zone, "by where most rows lie: UTC times are converted to it"),
        r"^files = [^\n]*": f"files = {_toml([file])} # files or globs, relative to this file",
        r"^targets = \[[^\n]*": "\n".join(
            [_given_or_not("targets", targets, "what to be warned of"), *_vocabulary(about["categories"])]
        ),
        r'^file = "[^\n]*': 'file = "neighborhoods.geojson"      # any format geopandas reads',
        r'^name = "CSA2010"[^\n]*': 'name = "name"                       # the column with each polygon\'s name',
    }
    shown = "".join(c if c.isprintable() else "?" for c in table.name)
    checks = "Check [incidents], [neighborhoods] and [splits]."
    pixels, cells = [MAP_PX, MAP_PX], [54, 54]
    if size_m is not None:
        longer = max(size_m)
        cell_m = max(CELL_M, longer / CHANNEL_CELLS)
        pixels = [max(64, round(MAP_PX * side_m / longer / 4) * 4) for side_m in size_m]
        cells = [max(16, min(CHANNEL_CELLS, round(side_m / cell_m))) for side_m in size_m]
    sections = {
        r"^# Baltimore: .*?(?=^# Every key)": f"# Proposed from {shown}. {checks}\n",
        r"^# \[incidents\.columns\].*?\n\n": "\n".join([*_mapping(proposal), "", ""]),
        r"^\[fetch\].*?(?=^\[map\])": "",
        r"^height = 216[^\n]*\nwidth = [^\n]*": f"height = {pixels[1]:<27}# rows; in the shape of the table's extent"
        f"\nwidth = {pixels[0]:<28}# columns",
        r"^\[map\.palette\].*?(?=^\[channels\])": "",
        r"^height = 54[^\n]*\nwidth = [^\n]*": f"height = {cells[1]:<27}# rows of cells, about 400 m each, at most 64"
        f"\nwidth = {cells[0]:<28}# columns of cells",
        r"^\[channels\.groups\].*?(?=^\[windows\])": "\n".join([*_groups(about["groups"]), "", ""]),
        r'^anchor = "[^"]*"': f"anchor = {_toml(splits['train'][0] if splits else '1970-01-01')}",
        r"^\[splits\].*?\n\n": "\n".join([*_splits(splits), "", ""]),
    }
    for pattern, section in {**given, **sections}.items():
        text = _replaced(text, pattern, section)
    text = _replaced(text, r"^# times = [^\n]*\n", "\n".join([*_clock_lines(proposal.clock), ""]))
    for key, length in (DAILY if proposal.is_daily else {}).items():
        text = _replaced(text, rf"^{key} = [^\n]*", f"{key} = {length}{' ' * 20} # days: the times know no hour")
    return text


def _clock_lines(clock: Clock) -> list[str]:
    """Return the line of the city file that says by whose clock times are, below the reasons for it."""
    line = f"times = {_toml(clock.times or 'utc')}"
    return [
        *(f"# {reason}" for reason in clock.reasons),
        line if clock.times else f"# {line} # or \"local\": nothing decides it; 'hews prepare' asks for it",
    ]


def _given_or_not(key: str, value: Any, comment: str) -> str:
    """Return a line with a value that was found; or as a comment, so that the file is refused until it is named."""
    if value:
        return f"{key} = {_toml(value)} # {comment}"
    example = {"timezone": "Etc/UTC", "targets": ["CATEGORY"]}[key]
    return f"# {key} = {_toml(example)} # not found: name it; {comment}"


def _vocabulary(categories: Mapping[str, int]) -> list[str]:
    """Return the table's categories with their rows, as comments."""
    shown = [f"#   {rows:>9,}  {_toml(name)}" for name, rows in list(categories.items())[:LISTED]]
    more = [f"#   and {len(categories) - LISTED:,} more"] if len(categories) > LISTED else []
    return ["# its categories, by rows:", *shown, *more] if shown else []


def _mapping(proposal: Proposal) -> list[str]:
    """Return the section that says which column is what."""
    if proposal.schema != "mapped" and not proposal.missing:
        return [f"# The columns are those of the schema '{proposal.schema}', which is found by itself."]
    lines = ["[incidents.columns]                 # a guess by names and contents: confirm it"]
    lines += [f"{role} = {_toml(column)}" for role, column in proposal.columns.items()]
    return lines + [f'# {role} = "COLUMN" # not found: name it' for role in proposal.missing]


def _groups(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the section of the channels, with the words by which categories were put there."""
    lines = ['[channels.groups]                   # one channel each; a last one, "other", takes the rest']
    for group, names in groups.items():
        words = f"# words: {WORDS_OF_GROUPS[group]}" if group in WORDS_OF_GROUPS else ""
        lines += [words] * bool(words) + [f"{group} = {_toml(list(names))}"]
    return lines


def _splits(splits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the section of the splits."""
    heading = "[splits]                            # [begin, end), in this order; by what the table covers"
    if not splits:
        days = ["2000-01-01", "2000-01-02", "2000-01-03", "2000-01-04"]
        names = ("train", "validation", "test")
        lines = [f"# {key} = {_toml([a, b])}" for key, a, b in zip(names, days, days[1:], strict=False)]
        return [heading, "# no dates were found, or too few days: set them", *lines]
    kept = " # kept for the very end: no split may reach into it"
    return [heading, *(f"{key} = {_toml(list(span))}{kept * (key == 'locked')}" for key, span in splits.items())]


def _replaced(text: str, pattern: str, new: str) -> str:
    """Replace the first match of a pattern, in which ^ is the begin of a line and . any character."""
    text, count = re.subn(pattern, lambda _: new, text, count=1, flags=re.DOTALL | re.MULTILINE)
    assert count, f"the template has no {pattern}"
    return text


def _toml(value: Any) -> str:
    """Return a text or a list of texts as TOML, of which JSON's are a part but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
