"""`hews init NAME --from FILE`: a city file for a table that no schema fits, with a mapping of its columns to confirm.

Each column is scored for each role by its name and by what is in it: for time the share of values that can be read as
dates or times, for coordinates the share of numbers in range (and not all one number), for the category a text with
few distinct values. A table may say when something happened, when it ended and when it was reported: the first counts,
and the others only where it is missing. Columns that describe a person are never looked at. The proposal is a guess
that a person confirms: ten rows are shown as they would be read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.config import city_template
from hews_gpu.data.clean import block_frame, parse_numbers
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import TEXT, Block
from hews_gpu.data.readers.files import open_table
from hews_gpu.data.readers.records import GOOD
from hews_gpu.data.readers.schemas import Columns, ReadSettings, choose_columns, is_person_level, normal_name
from hews_gpu.errors import UserError

__all__ = ["Proposal", "first_rows", "propose", "propose_city"]

SAMPLE_ROWS = 2000
PREVIEW_ROWS = 10
LEAST = 0.5  # share of values of the right kind; below, a column is not proposed
NAMED = 1.0  # what a telling name is worth beside the share of fitting values
WORDS: Mapping[str, str] = {
    "time": r"date.?time|time.?stamp|occur|^date$|when|reported",
    "date": r"date|day|\bdt\b",
    "time_of_day": r"time|hour|hhmm|\btm\b",
    "longitude": r"^(lon|lng|long|longitude|x)$|longitude|lon$|lng$",
    "latitude": r"^(lat|latitude|y)$|latitude|lat$",
    "category": r"offen[cs]e|\bofns\b|primary.?type|category|crime.?type|\bcrm\b|description|charge|^type$|kind",
}
MOMENTS = ("time", "date", "time_of_day")
HAPPENED = re.compile(r"\bocc|occur|\bfr\b|\bfrom\b|\bbegin|\bstart|incident|offen[cs]e|crime|committed")
LATER = re.compile(
    r"\brptd?\b|report|\bto\b|updat|\bend(?:ed|ing)?\b|modif|creat|entered|entry|load|publi|clos|clear|arrest"
)
LATER_WORTH = 0.1  # of a column that says when something was reported or ended, beside one that says when it happened
TARGET = re.compile(r"HOMICIDE|MURDER|SHOOTING|SHOTS", re.IGNORECASE)
TELLING = ("HOMICIDE", "MURDER", "SHOOTING", "ROBBERY", "ASSAULT", "BURGLARY", "THEFT", "LARCENY", "ARSON")

Strings = Sequence[str]
Sample = Mapping[str, Strings]
"""Column name -> text of the first rows."""


@dataclass(frozen=True)
class Proposal:
    """What a table seems to be."""

    file: Path
    schema: str
    """Name of the schema that fits, or "mapped"."""
    columns: Mapping[str, str]
    """Role -> column, where no schema fits; in doubt, roles are missing."""
    missing: tuple[str, ...]
    """Roles for which no column was found."""
    targets: tuple[str, ...]
    """Categories of the sample that sound like homicides or shootings."""
    preview: tuple[tuple[str, str, str, str], ...]
    """The first rows as they would be read: time, longitude, latitude, category."""


def propose(file: Path) -> Proposal:
    """Look at the first rows of a table and propose which column is what.

    Raises:
        UserError: not a table that can be read.
    """
    sample = first_rows(file, SAMPLE_ROWS)
    names = list(sample)
    try:
        columns = choose_columns(names, file=file.name)
    except UserError:
        mapped = _mapping(sample)
        columns = Columns(schema="mapped", names=tuple(names), roles={r: names.index(n) for r, n in mapped.items()})
    chosen = {role: names[position] for role, position in columns.roles.items()}
    for name in chosen.values():
        dates.require_month_first(file.name, dates.slash_dates(sample[name]))
    return Proposal(
        file=file,
        schema=columns.schema,
        columns=chosen if columns.schema == "mapped" else {},
        missing=_missing(chosen),
        targets=_targets(sample[chosen["category"]]) if "category" in chosen else (),
        preview=_preview(sample, columns) if chosen else (),
    )


def first_rows(path: Path, count: int) -> dict[str, list[str]]:
    """Return column name -> text of the first rows of a file of any kind, without columns that describe a person.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """
    if not path.is_file():
        raise UserError("--from", path, allowed="does not exist", remedy="Name a table of incidents")
    with open_table(path, path.name, ReadSettings(block_rows=count)) as file:
        named = {name: position for position, name in enumerate(file.names) if not is_person_level(name)}
        table = next(file.blocks(Columns(schema="mapped", names=file.names, roles={}, compared=named)), None)
    if table is None:
        raise UserError(path.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    table = table.filter(pc.equal(table["problem"], GOOD)).slice(0, count)
    return {name: table[name].cast(pa.string()).fill_null("").to_pylist() for name in table.column_names[2:]}


def _mapping(sample: Sample) -> dict[str, str]:
    """Return the best column of each role; a column plays one role."""
    usable = {name: values for name, values in sample.items() if name.strip() and not is_person_level(name)}
    chosen = _best(usable, ("longitude", "latitude"))
    rest = {name: values for name, values in usable.items() if name not in chosen.values()}
    single, pair = _best(rest, ("time",)), _best(rest, ("date", "time_of_day"))
    is_pair_better = len(pair) == 2 and not any(map(_is_later, pair.values())) and _is_later(single.get("time", ""))
    if "time" in single and not is_pair_better:
        chosen |= single
    elif "date" in pair:
        chosen |= pair
    rest = {name: values for name, values in usable.items() if name not in chosen.values()}
    return chosen | _best(rest, ("category",))


def _best(usable: Sample, roles: Sequence[str]) -> dict[str, str]:
    """Return the best column of each of some roles, one after the other; without those for which there is none."""
    chosen: dict[str, str] = {}
    for role in roles:
        scores = {name: _score(role, name, values) for name, values in usable.items() if name not in chosen.values()}
        best = max(scores, key=lambda name: scores[name], default=None)
        if best is not None and scores[best] > 0:
            chosen[role] = best
    return chosen


def _words(name: str) -> str:
    """Return the words of a column name, without capitals and digits, one space apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[^a-z]+", " ", apart.casefold()).strip()


def _is_later(name: str) -> bool:
    """Return whether a column seems to say when something was reported, ended or changed, not when it happened."""
    return bool(LATER.search(_words(name)))


def _missing(mapped: Mapping[str, str]) -> tuple[str, ...]:
    needed = ["time"] if "time" in mapped or "date" not in mapped else ["date", "time_of_day"]
    return tuple(role for role in (*needed, "longitude", "latitude", "category") if role not in mapped)


def _score(role: str, name: str, values: Strings) -> float:
    """Return how well a column plays a role; 0 for not at all."""
    there = [value for value in values if value.strip()]
    if not there:
        return 0.0
    share = FITS[role](there)
    named = re.search(WORDS[role], _words(name)) or re.search(WORDS[role], normal_name(name))
    if share < LEAST or (role in ("longitude", "latitude", "time_of_day") and not named):
        return 0.0
    score = share * len(there) / len(values) + (NAMED if named else 0.0)
    if role in MOMENTS:
        score = score * LATER_WORTH if _is_later(name) else score + (NAMED if HAPPENED.search(_words(name)) else 0.0)
    return score


def _share(there: Strings, test: Callable[[str], bool]) -> float:
    return sum(map(test, there)) / len(there)


def _is_moment(text: str) -> bool:
    if match := re.match(dates.DATE_THEN_TIME, text):
        return dates.day_number(match["date"]) is not None and dates.second_of_day(match["time"]) is not None
    return dates.from_milliseconds(text) is not None


def _has_clock(there: Strings) -> float:
    """Return the share of moments, if not all are at midnight: then the time of day is in another column."""
    there = _month_first(there)
    clocks = {text.strip()[-8:] for text in there}
    return _share(there, _is_moment) if len(clocks) > 1 or len(there) == 1 else 0.0


def _dates(there: Strings) -> float:
    return _share(_month_first(there), lambda text: dates.day_number(text) is not None)


def _month_first(there: Strings) -> Strings:
    """Exchange the fields of day-first dates, so that such a column is proposed, and then refused."""
    if not dates.is_day_first(dates.slash_dates(there)):
        return there
    return [re.sub(r"^\s*(\d+)/(\d+)/", r"\2/\1/", text) for text in there]


def _in_range(limit: float) -> Callable[[Strings], float]:
    def share(there: Strings) -> float:
        numbers = parse_numbers(pa.array(there, pa.string()))
        good = np.abs(numbers) <= limit
        return float(good.mean()) if len(np.unique(numbers[good])) > 1 or len(there) == 1 else 0.0

    return share


def _few_words(there: Strings) -> float:
    """Return the share of texts with letters, if there are few distinct ones; more if they sound like crimes."""
    distinct = {text.strip().upper() for text in there}
    if len(distinct) > max(2, min(200, len(there) // 2)) and len(there) > 5:
        return 0.0
    letters = _share(there, lambda text: sum(c.isalpha() for c in text) >= 3)
    telling = _share(sorted(distinct), lambda text: any(word in text for word in TELLING))
    return letters * (0.6 + telling)


FITS: Mapping[str, Callable[[Strings], float]] = {
    "time": _has_clock,
    "date": _dates,
    "time_of_day": lambda there: _share(there, lambda text: dates.second_of_day(text) is not None),
    "longitude": _in_range(180.0),
    "latitude": _in_range(90.0),
    "category": _few_words,
}


def _targets(values: Strings) -> tuple[str, ...]:
    return tuple(sorted({" ".join(value.split()).upper() for value in values if TARGET.search(value)}))


def _preview(sample: Sample, columns: Columns) -> tuple[tuple[str, str, str, str], ...]:
    """Return the first rows as `hews prepare` would read them."""
    count = min(PREVIEW_ROWS, len(next(iter(sample.values()), ())))
    content: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("line", "problem")}
    for role, position in columns.roles.items():
        texts = pa.array(sample[columns.names[position]][:count], pa.string())
        content[role] = texts.dictionary_encode().cast(TEXT)
    frame = block_frame(Block(pa.table(content)))
    if "date" in columns.roles and "time_of_day" not in columns.roles:
        days = [dates.day_number(text) for text in sample[columns.names[columns.roles["date"]]][:count]]
        shown = ["unreadable" if day is None else f"{np.datetime64(day, 'D')} at no time" for day in days]
    else:
        shown = [_moment(int(time_s)) for time_s in frame["time_s"]]
    rows = []
    for when, x, y, category in zip(shown, frame["longitude"], frame["latitude"], frame["category"], strict=True):
        place = ["none" if np.isnan(degrees) else f"{degrees:.5f}" for degrees in (x, y)]
        rows.append((when, place[0], place[1], str(category) or "none"))
    return tuple(rows)


def _moment(time_s: int) -> str:
    return "unreadable" if time_s == dates.NOT_A_TIME else str(np.datetime64(time_s, "s")).replace("T", " ")


def propose_city(name: str, table: Path, path: Path) -> tuple[str, dict[str, Any]]:
    """Return a city file to be written to `path`, and what was proposed in it, with advice.

    Raises:
        UserError: not a table that can be read.
    """
    proposal = propose(table)
    return _city_text(name, proposal, path), {
        "schema": proposal.schema,
        "columns": dict(proposal.columns),
        "missing": list(proposal.missing),
        "targets": list(proposal.targets),
        "preview": [list(row) for row in proposal.preview],
        "advice": _advice(proposal),
    }


def _advice(proposal: Proposal) -> str:
    """Return what to check before the file is used."""
    shown = "the schema " + proposal.schema
    if proposal.schema == "mapped":
        shown = ", ".join(f"{role} = '{column}'" for role, column in proposal.columns.items()) or "no column"
    parts = [f"Found {shown}."]
    if proposal.missing:
        parts.append(f"No column seems to hold: {', '.join(proposal.missing)}. Name it under [incidents.columns].")
    if not proposal.targets:
        parts.append("No category sounds like a homicide or a shooting: set [incidents] targets.")
    return " ".join([*parts, "Set the time zone, the polygons and the splits too."])


def _city_text(name: str, proposal: Proposal, path: Path) -> str:
    """Return the template with the proposal filled in; the table is named from the file's own folder."""
    text = city_template("baltimore")
    targets = list(proposal.targets) or ["HOMICIDE", "SHOOTING"]
    mapping = [f"# The columns are those of the schema '{proposal.schema}', which is found by itself."]
    if proposal.schema == "mapped":
        mapping = ["[incidents.columns]                 # a guess by names and contents: confirm it"]
        mapping += [f"{role} = {_toml(column)}" for role, column in proposal.columns.items()]
    mapping += [f'# {role} = "COLUMN" # not found: name it' for role in proposal.missing]
    groups = ['[channels.groups]                   # one channel each; a last one, "other", takes the rest']
    values: dict[str, str | Sequence[str]] = {
        "name": name,
        "files": [os.path.relpath(proposal.file.absolute(), path.absolute().parent)],
        "targets": targets,
        "file": "neighborhoods.geojson",
    }
    for key, value in values.items():
        text = _replaced(text, rf'^{key} = (?:\[[^\n]*?\]|"[^"\n]*")', f"{key} = {_toml(value)}")
    checks = "Check [city] timezone, [incidents], [neighborhoods] and [splits]."
    sections = {
        r"^# Baltimore: .*?(?=^# Every key)": f"# Proposed from {proposal.file.name}. {checks}\n",
        r"^# \[incidents\.columns\].*?\n\n": "\n".join([*mapping, "", ""]),
        r"^\[fetch\].*?(?=^\[map\])": "",
        r"^\[map\.palette\].*?(?=^\[channels\])": "",
        r"^\[channels\.groups\].*?(?=^\[windows\])": "\n".join([*groups, f"targets = {_toml(targets)}", "", ""]),
    }
    for pattern, section in sections.items():
        text = _replaced(text, pattern, section)
    return text


def _replaced(text: str, pattern: str, new: str) -> str:
    """Replace the first match of a pattern, in which ^ is the begin of a line and . any character."""
    return re.sub(pattern, lambda _: new, text, count=1, flags=re.DOTALL | re.MULTILINE)


def _toml(value: str | Sequence[str]) -> str:
    """Return a text or a list of texts as TOML, of which JSON's are a part."""
    return json.dumps(value, ensure_ascii=False)
