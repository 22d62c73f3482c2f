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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hews_gpu.config import city_template
from hews_gpu.data.prepare.clean import block_frame, parse_numbers
from hews_gpu.data.quality.dictionary_column import Block
from hews_gpu.data.readers import dates as times
from hews_gpu.data.readers.files import day_first_error, first_rows
from hews_gpu.data.readers.schemas import Columns, choose_columns, is_person_level, normal_name
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
HAPPENED = re.compile(r"\bocc|occur|\bfr\b|\bfrom\b|\bbegin|\bstart|incident|offen[cs]e|crime|committed")
LATER = re.compile(
    r"\brptd?\b|report|\bto\b|updat|\bend(?:ed|ing)?\b|modif|creat|entered|entry|load|publi|clos|clear|arrest"
)
LATER_WORTH = 0.1  # of a column that says when something was reported or ended, beside one that says when it happened
TARGET = re.compile(r"HOMICIDE|MURDER|SHOOTING|SHOTS", re.IGNORECASE)
TELLING = ("HOMICIDE", "MURDER", "SHOOTING", "ROBBERY", "ASSAULT", "BURGLARY", "THEFT", "LARCENY", "ARSON")

Strings = Sequence[str]


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
    try:
        columns = choose_columns(list(sample), file=file.name)
    except UserError:
        mapped = _mapping(sample)
        _require_month_first(file, sample, mapped.values())
        missing = _missing(mapped)
        if missing:
            return _incomplete(file, sample, mapped, missing)
        columns = choose_columns(list(sample), file=file.name, mapped=mapped)
    names = {role: columns.found[position] for role, position in columns.roles.items()}
    _require_month_first(file, sample, names.values())
    shown = names if columns.schema == "mapped" else {}
    missing = tuple(role for role in ("longitude", "latitude") if role not in names)
    return Proposal(
        file, columns.schema, shown, missing, _targets(sample[names["category"]]), _preview(sample, columns)
    )


def _incomplete(
    file: Path, sample: Mapping[str, Strings], mapped: Mapping[str, str], missing: tuple[str, ...]
) -> Proposal:
    """A proposal that lacks roles, with what the others give."""
    found = list(sample)
    columns = Columns(
        schema="mapped", found=tuple(found), roles={role: found.index(name) for role, name in mapped.items()}
    )
    targets = _targets(sample[mapped["category"]]) if "category" in mapped else ()
    return Proposal(file, "mapped", mapped, missing, targets, _preview(sample, columns) if mapped else ())


def _require_month_first(file: Path, sample: Mapping[str, Strings], names: Iterable[str]) -> None:
    """Refuse a table of which a chosen column holds dates that would be misread."""
    for name in names:
        dates = times.slash_dates(sample[name])
        if times.is_day_first(dates):
            raise day_first_error(file.name, dates)


def _mapping(sample: Mapping[str, Strings]) -> dict[str, str]:
    """The best column of each role; a column plays one role."""
    usable = {name: values for name, values in sample.items() if name.strip() and not is_person_level(name)}
    chosen = _best(usable, ("longitude", "latitude"))
    rest = {name: values for name, values in usable.items() if name not in chosen.values()}
    single, pair = _best(rest, ("time",)), _best(rest, ("date", "time_of_day"))
    if "time" in single and not (
        len(pair) == 2 and _is_later(single["time"]) and not any(map(_is_later, pair.values()))
    ):
        chosen |= single
    elif "date" in pair:
        chosen |= pair
    return chosen | _best(
        {name: values for name, values in usable.items() if name not in chosen.values()}, ("category",)
    )


def _best(usable: Mapping[str, Strings], roles: Sequence[str]) -> dict[str, str]:
    """The best column of each of some roles, one after the other; without those for which there is none."""
    chosen: dict[str, str] = {}
    for role in roles:
        scores = {name: _score(role, name, values) for name, values in usable.items() if name not in chosen.values()}
        best = max(scores, key=lambda name: scores[name], default=None)
        if best is not None and scores[best] > 0:
            chosen[role] = best
    return chosen


def _words(name: str) -> str:
    """The words of a column name, without capitals and digits, one space apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[^a-z]+", " ", apart.casefold()).strip()


def _is_later(name: str) -> bool:
    """Whether a column seems to say when something was reported, ended or was changed, not when it happened."""
    return bool(LATER.search(_words(name)))


def _missing(mapped: Mapping[str, str]) -> tuple[str, ...]:
    needed = ["time"] if "time" in mapped or "date" not in mapped else ["date", "time_of_day"]
    return tuple(role for role in (*needed, "longitude", "latitude", "category") if role not in mapped)


def _score(role: str, name: str, values: Strings) -> float:
    """How well a column plays a role; 0 for not at all."""
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
    found = re.match(times.DATE_THEN_TIME, text)
    if found:
        return times.day_number(found["date"]) is not None and times.second_of_day(found["time"]) is not None
    return times.from_milliseconds(text) is not None


def _has_clock(there: Strings) -> float:
    """Share of moments, if not all are at midnight: then the time of day is in another column."""
    there = _month_first(there)
    clocks = {text.strip()[-8:] for text in there}
    return _share(there, _is_moment) if len(clocks) > 1 or len(there) == 1 else 0.0


def _dates(there: Strings) -> float:
    return _share(_month_first(there), lambda text: times.day_number(text) is not None)


def _month_first(there: Strings) -> Strings:
    """The same with the fields of day-first dates exchanged, so that such a column is found, and then refused."""
    if not times.is_day_first(times.slash_dates(there)):
        return there
    return [re.sub(r"^\s*(\d+)/(\d+)/", r"\2/\1/", text) for text in there]


def _in_range(limit: float) -> Callable[[Strings], float]:
    def share(there: Strings) -> float:
        numbers = parse_numbers(pa.array(there, pa.string()))
        good = np.abs(numbers) <= limit
        return float(good.mean()) if len(np.unique(numbers[good])) > 1 or len(there) == 1 else 0.0

    return share


def _few_words(there: Strings) -> float:
    """Share of texts with letters, if there are few distinct ones; more if they sound like crimes."""
    distinct = {text.strip().upper() for text in there}
    if len(distinct) > max(2, min(200, len(there) // 2)) and len(there) > 5:
        return 0.0
    letters = _share(there, lambda text: sum(c.isalpha() for c in text) >= 3)
    telling = _share(sorted(distinct), lambda text: any(word in text for word in TELLING))
    return letters * (0.6 + telling)


FITS: Mapping[str, Callable[[Strings], float]] = {
    "time": _has_clock,
    "date": _dates,
    "time_of_day": lambda there: _share(there, lambda text: times.second_of_day(text) is not None),
    "longitude": _in_range(180.0),
    "latitude": _in_range(90.0),
    "category": _few_words,
}


def _targets(values: Strings) -> tuple[str, ...]:
    return tuple(sorted({" ".join(value.split()).upper() for value in values if TARGET.search(value)}))


def _preview(sample: Mapping[str, Strings], columns: Columns) -> tuple[tuple[str, str, str, str], ...]:
    """The first rows as `hews prepare` would read them."""
    from hews_gpu.data.readers.blocks import TEXT

    count = min(PREVIEW_ROWS, len(next(iter(sample.values()), ())))
    content: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("source", "row_id", "line", "problem")}
    for role, position in columns.roles.items():
        texts = pa.array(sample[columns.found[position]][:count], pa.string())
        content[role] = texts.dictionary_encode().cast(TEXT)
    frame = block_frame(Block(pa.table(content)))
    if "date" in columns.roles and "time_of_day" not in columns.roles:
        days = [times.day_number(text) for text in sample[columns.found[columns.roles["date"]]][:count]]
        shown = ["unreadable" if day is None else f"{np.datetime64(day, 'D')} at no time" for day in days]
    else:
        shown = [_moment(int(time_s)) for time_s in frame["time_s"]]
    rows = []
    for when, x, y, category in zip(shown, frame["longitude"], frame["latitude"], frame["category"], strict=True):
        place = ["none" if np.isnan(degrees) else f"{degrees:.5f}" for degrees in (x, y)]
        rows.append((when, place[0], place[1], str(category) or "none"))
    return tuple(rows)


def _moment(time_s: int) -> str:
    return "unreadable" if time_s == times.NOT_A_TIME else str(np.datetime64(time_s, "s")).replace("T", " ")


def propose_city(name: str, table: Path, path: Path) -> tuple[str, dict[str, Any]]:
    """A city file to be written to `path`, and what was proposed in it, with advice.

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
    """What to check before the file is used."""
    found = "the schema " + proposal.schema
    if proposal.schema == "mapped":
        found = ", ".join(f"{role} = '{column}'" for role, column in proposal.columns.items()) or "no column"
    parts = [f"Found {found}."]
    if proposal.missing:
        parts.append(f"No column seems to hold: {', '.join(proposal.missing)}. Name it under [incidents.columns].")
    if not proposal.targets:
        parts.append("No category sounds like a homicide or a shooting: set [incidents] targets.")
    return " ".join([*parts, "Set the time zone, the polygons and the splits too."])


def _city_text(name: str, proposal: Proposal, path: Path) -> str:
    """The proposal filled in, everything else as in the template; the table is named from the file's own folder."""
    table = os.path.relpath(proposal.file.absolute(), path.absolute().parent)
    text = city_template("baltimore")
    text = re.sub(
        r"^# Baltimore: .*?(?=^# Every key)",
        lambda _: _opening(proposal),
        text,
        count=1,
        flags=re.DOTALL | re.MULTILINE,
    )
    text = _set(text, "name", name)
    text = _set(text, "files", [table])
    text = _set(text, "targets", list(proposal.targets) or ["HOMICIDE", "SHOOTING"])
    text = re.sub(
        r"^# \[incidents\.columns\].*?\n\n", _columns(proposal), text, count=1, flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"^\[fetch\].*?(?=^\[map\])", "", text, count=1, flags=re.DOTALL | re.MULTILINE)
    text = _set(text, "file", "neighborhoods.geojson")
    text = re.sub(r"^\[map\.palette\].*?(?=^\[channels\])", "", text, count=1, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^\[channels\.groups\].*?(?=^\[windows\])", _groups(proposal), text, flags=re.DOTALL | re.MULTILINE)


def _opening(proposal: Proposal) -> str:
    return f"# Proposed from {proposal.file.name}. Check [city] timezone, [incidents], [neighborhoods] and [splits].\n"


def _set(text: str, key: str, value: str | list[str]) -> str:
    """Replace the first value of a key; JSON strings and lists are TOML too."""
    shown = json.dumps(value, ensure_ascii=False)
    return re.sub(
        rf'^{key} = (?:\[[^\n]*?\]|"[^"\n]*")', lambda _: f"{key} = {shown}", text, count=1, flags=re.MULTILINE
    )


def _columns(proposal: Proposal) -> Callable[[re.Match[str]], str]:
    lines = [f"# The columns are those of the schema '{proposal.schema}', which is found by itself."]
    if proposal.schema == "mapped":
        lines = ["[incidents.columns]                 # a guess by names and contents: confirm it"]
        lines += [f"{role} = {json.dumps(column, ensure_ascii=False)}" for role, column in proposal.columns.items()]
    lines += [f'# {role} = "COLUMN" # not found: name it' for role in proposal.missing]
    return lambda _: "\n".join([*lines, "", ""])


def _groups(proposal: Proposal) -> Callable[[re.Match[str]], str]:
    lines = ['[channels.groups]                   # one channel each; a last one, "other", takes the rest']
    lines += [f"targets = {json.dumps(list(proposal.targets) or ['HOMICIDE', 'SHOOTING'], ensure_ascii=False)}", "", ""]
    return lambda _: "\n".join(lines)
