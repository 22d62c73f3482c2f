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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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

__all__ = ["Proposal", "propose", "propose_city"]

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
MOST_DEGREES = {"longitude": 180.0, "latitude": 90.0}
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

    schema: str
    """Name of the schema that fits, or "mapped"."""
    columns: Mapping[str, str]
    """Role -> column, where no schema fits; in doubt, roles are missing."""
    missing: list[str]
    """Roles for which no column was found."""
    targets: list[str]
    """Categories of the sample that sound like homicides or shootings."""
    preview: list[list[str]]
    """The first rows as they would be read: time, longitude, latitude, category."""


def propose(file: Path) -> Proposal:
    """Look at the first rows of a table and propose which column is what.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """
    sample = first_rows(file)
    names = list(sample)
    try:
        columns = choose_columns(names, file=file.name)
    except UserError:
        mapped = _mapping(sample)
        columns = Columns(schema="mapped", names=tuple(names), roles={r: names.index(n) for r, n in mapped.items()})
    chosen = {role: names[position] for role, position in columns.roles.items()}
    for name in chosen.values():
        dates.require_month_first(file.name, dates.slash_dates(pa.array(sample[name], pa.string())))
    needed = ["time"] if "time" in chosen or "date" not in chosen else ["date", "time_of_day"]
    categories = sample[chosen["category"]] if "category" in chosen else []
    return Proposal(
        schema=columns.schema,
        columns=chosen if columns.schema == "mapped" else {},
        missing=[role for role in (*needed, *MOST_DEGREES, "category") if role not in chosen],
        targets=sorted({" ".join(text.split()).upper() for text in categories if TARGET.search(text)}),
        preview=_preview({role: sample[name] for role, name in chosen.items()}) if chosen else [],
    )


def first_rows(path: Path) -> dict[str, list[str]]:
    """Return column name -> text of the first rows of a file of any kind, without columns that describe a person."""
    if not path.is_file():
        raise UserError("--from", path, allowed="does not exist", remedy="Name a table of incidents")
    with open_table(path, path.name, ReadSettings(block_rows=SAMPLE_ROWS)) as file:
        named = {name: position for position, name in enumerate(file.names) if not is_person_level(name)}
        table = next(file.blocks(Columns(schema="mapped", names=file.names, roles={}, compared=named)), None)
    if table is None:
        raise UserError(path.name, allowed="has a header but no rows", remedy="Remove it or fetch it again")
    table = table.filter(pc.equal(table["problem"], GOOD)).slice(0, SAMPLE_ROWS)
    return {name: table[name].cast(pa.string()).fill_null("").to_pylist() for name in table.column_names[2:]}


def _mapping(sample: Sample) -> dict[str, str]:
    """Return the best column of each role; a column plays one role."""
    usable = {name: values for name, values in sample.items() if name.strip() and not is_person_level(name)}
    chosen = _best(usable, tuple(MOST_DEGREES))
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


def _score(role: str, name: str, values: Strings) -> float:
    """Return how well a column plays a role; 0 for not at all."""
    there = [value for value in values if value.strip()]
    if not there:
        return 0.0
    share = _fit(role, there)
    named = re.search(WORDS[role], _words(name)) or re.search(WORDS[role], normal_name(name))
    if share < LEAST or (role in (*MOST_DEGREES, "time_of_day") and not named):
        return 0.0
    score = share * len(there) / len(values) + (NAMED if named else 0.0)
    if role in MOMENTS:
        score = score * LATER_WORTH if _is_later(name) else score + (NAMED if HAPPENED.search(_words(name)) else 0.0)
    return score


def _fit(role: str, there: Strings) -> float:
    """Return the share of values that a role can have; 0 if they are few words, one place or one time of the day."""
    if role == "category":
        return _sound_like_crimes(there)
    if role == "time_of_day":
        return float((dates.distinct_values(there, dates.second_of_day) != dates.NOT_A_TIME).mean())
    if role in MOST_DEGREES:
        numbers = parse_numbers(pa.array(there, pa.string()))
        good = np.abs(numbers) <= MOST_DEGREES[role]
        return float(good.mean()) if len(np.unique(numbers[good])) > 1 or len(there) == 1 else 0.0
    if dates.is_day_first(dates.slash_dates(pa.array(there, pa.string()))):  # is proposed, to be refused then
        there = [re.sub(r"^\s*(\d+)/(\d+)/", r"\2/\1/", text) for text in there]
    if role == "date":
        return float((dates.distinct_values(there, dates.day_number) != dates.NOT_A_TIME).mean())
    if len({text.strip()[-8:] for text in there}) == 1 < len(there):  # midnight: the time is in another column
        return 0.0
    return float((_read({"time": there})["time_s"] != dates.NOT_A_TIME).mean())


def _sound_like_crimes(there: Strings) -> float:
    """Return the share of texts with letters, if there are few distinct ones; more if they sound like crimes."""
    distinct = {text.strip().upper() for text in there}
    if len(distinct) > max(2, min(200, len(there) // 2)) and len(there) > 5:
        return 0.0
    letters = sum(sum(c.isalpha() for c in text) >= 3 for text in there) / len(there)
    telling = sum(any(word in text for word in TELLING) for text in distinct) / len(distinct)
    return letters * (0.6 + telling)


def _read(columns: Sample) -> pd.DataFrame:
    """Read texts by role as `hews prepare` does."""
    count = len(next(iter(columns.values())))
    content: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("line", "problem")}
    texts = {role: pa.array(values, pa.string()).dictionary_encode().cast(TEXT) for role, values in columns.items()}
    return block_frame(Block(pa.table({**content, **texts})))


def _preview(columns: Sample) -> list[list[str]]:
    """Return the first rows of the columns by role as `hews prepare` would read them."""
    columns = {role: values[:PREVIEW_ROWS] for role, values in columns.items()}
    frame = _read(columns)
    times = frame["time_s"].to_numpy().astype("datetime64[s]")  # what is not a time is not a time of NumPy's either
    shown = ["unreadable" if np.isnat(time) else str(time).replace("T", " ") for time in times]
    if "date" in columns and "time_of_day" not in columns:
        days = dates.distinct_values(columns["date"], dates.day_number).astype("datetime64[D]")
        shown = ["unreadable" if np.isnat(day) else f"{day} at no time" for day in days]
    rows = []
    for when, x, y, category in zip(shown, frame["longitude"], frame["latitude"], frame["category"], strict=True):
        place = ["none" if np.isnan(degrees) else f"{degrees:.5f}" for degrees in (x, y)]
        rows.append([when, *place, str(category) or "none"])
    return rows


def propose_city(name: str, table: Path, path: Path) -> tuple[str, dict[str, Any]]:
    """Return a city file to be written to `path`, and what was proposed in it, with advice.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """
    proposal = propose(table)
    return _city_text(name, table, proposal, path), {**asdict(proposal), "advice": _advice(proposal)}


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


def _city_text(name: str, table: Path, proposal: Proposal, path: Path) -> str:
    """Return the template with the proposal filled in; the table is named from the file's own folder."""
    text = city_template("baltimore")
    targets = proposal.targets or ["HOMICIDE", "SHOOTING"]
    mapping = [f"# The columns are those of the schema '{proposal.schema}', which is found by itself."]
    if proposal.schema == "mapped":
        mapping = ["[incidents.columns]                 # a guess by names and contents: confirm it"]
        mapping += [f"{role} = {_toml(column)}" for role, column in proposal.columns.items()]
    mapping += [f'# {role} = "COLUMN" # not found: name it' for role in proposal.missing]
    groups = ['[channels.groups]                   # one channel each; a last one, "other", takes the rest']
    values: dict[str, str | Sequence[str]] = {
        "name": name,
        "files": [os.path.relpath(table.absolute(), path.absolute().parent)],
        "targets": targets,
        "file": "neighborhoods.geojson",
    }
    for key, value in values.items():
        text = _replaced(text, rf'^{key} = (?:\[[^\n]*?\]|"[^"\n]*")', f"{key} = {_toml(value)}")
    checks = "Check [city] timezone, [incidents], [neighborhoods] and [splits]."
    sections = {
        r"^# Baltimore: .*?(?=^# Every key)": f"# Proposed from {table.name}. {checks}\n",
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
