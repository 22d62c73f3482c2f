"""The schemas of incident tables: which column plays which role, found from the column names alone.

A schema is data, not code: a new one is one more entry in SCHEMAS. Names are compared without regard to case, spaces
and a byte order mark. Only columns named here are ever read, so that a table's other columns, above all those that
describe a person, cannot reach any output. A table that no schema fits is mapped under ``[incidents.columns]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hews_gpu.errors import UserError, did_you_mean

__all__ = ["PORTAL", "SCHEMAS", "Columns", "Schema", "choose_columns", "is_person_level", "normal_name"]

PERSON_WORDS = frozenset(
    {"age", "ages", "agegroup", "sex", "gender", "race", "races", "ethnicity", "ethnic", "hispanic"}
    | {"victim", "suspect", "offender", "dob", "birth", "birthdate"}
)
TIME_ROLES = ("time", "date", "time_of_day")
PLACE_ROLES = ("longitude", "latitude", "category")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One known layout of an incident table. Either `time`, or both `date` and `time_of_day`."""

    name: str
    time: str | None = None
    """Column that holds date and time of day."""
    date: str | None = None
    """Column that holds the date."""
    time_of_day: str | None = None
    """Column that holds the time of day."""
    longitude: str
    latitude: str
    category: str
    charts_only: tuple[str, ...] = ()
    """Formatting and free text: kept apart for charts, never for a model. May be absent."""
    compared: tuple[str, ...] = ()
    """Read only to tell whether two rows are exact duplicates; not written. May be absent."""

    @property
    def roles(self) -> dict[str, str]:
        """Role -> column name, of the columns without which a table is not of this schema."""
        named = {role: getattr(self, role) for role in (*TIME_ROLES, *PLACE_ROLES)}
        return {role: column for role, column in named.items() if column is not None}


PORTAL = Schema(
    name="portal",
    date="CrimeDate",
    time_of_day="CrimeTime",
    longitude="Longitude",
    latitude="Latitude",
    category="Description",
    charts_only=("Inside/Outside", "Premise", "Weapon", "Location"),
    compared=("CrimeCode", "Post", "District", "Neighborhood", "Location 1", "Total Incidents"),
)
SCHEMAS: tuple[Schema, ...] = (PORTAL,)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of one file are read, by position in the file."""

    schema: str
    """Name of the schema, or "mapped" for one given under ``[incidents.columns]``."""
    found: tuple[str, ...]
    """All column names of the file, as they stand there."""
    roles: Mapping[str, int]
    """Role -> position."""
    charts_only: Mapping[str, int] = field(default_factory=dict)
    """The schema's spelling of a charts-only column -> position."""
    compared: Mapping[str, int] = field(default_factory=dict)
    """The schema's spelling of a compared column -> position."""

    @property
    def read(self) -> dict[str, int]:
        """Name used from here on (role, or column) -> position, of everything that is read."""
        return {**self.roles, **self.charts_only, **self.compared}

    @property
    def person_level(self) -> int:
        """How many columns of the file describe a person and are left unread."""
        return sum(is_person_level(name) for name in self.found)


def normal_name(name: str) -> str:
    """A column name as it is compared: no spaces, no byte order mark, no capitals."""
    return "".join(name.replace("\ufeff", "").split()).casefold()


def is_person_level(name: str) -> bool:
    """Whether a column seems to describe a person (age, sex, race, ...), judged by the words of its name."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name.replace("\ufeff", ""))
    return any(word.casefold() in PERSON_WORDS for word in words)


def choose_columns(
    found: Sequence[str], *, file: str, schema: str = "auto", mapped: Mapping[str, str] | None = None
) -> Columns:
    """Decide which columns of a file are read.

    Args:
        found: the column names of the file.
        file: its name, for messages.
        schema: name of a schema, or auto.
        mapped: role -> column name, from ``[incidents.columns]``; goes before what the schema says.

    Raises:
        UserError: no schema fits, a needed column is missing or describes a person; names what was found.
    """
    mapped = dict(mapped or {})
    known = _schema(found, schema, complete=not mapped, file=file)
    roles = {**({} if known is None else known.roles), **mapped}
    if "time" in mapped:
        roles = {role: name for role, name in roles.items() if role not in ("date", "time_of_day")}
    elif {"date", "time_of_day"} & set(mapped):
        roles.pop("time", None)
    _require_roles(roles)
    positions = _positions(found)
    for role, name in roles.items():
        _require_column(role, name, positions, found, file)
    return Columns(
        schema="mapped" if known is None else known.name,
        found=tuple(found),
        roles={role: positions[normal_name(name)] for role, name in roles.items()},
        charts_only=_optional(known.charts_only if known else (), positions),
        compared=_optional(known.compared if known else (), positions),
    )


def _schema(found: Sequence[str], name: str, *, complete: bool, file: str) -> Schema | None:
    """The schema asked for, or the first that fits; None if none fits and the user mapped the columns."""
    if name != "auto":
        by_name = {schema.name: schema for schema in SCHEMAS}
        if name not in by_name:
            remedy = did_you_mean(name, ["auto", *by_name])
            raise UserError("[incidents] schema", name, allowed="is not a known schema", remedy=remedy)
        return by_name[name]
    there = set(_positions(found))
    missing = {s.name: [c for c in s.roles.values() if normal_name(c) not in there] for s in SCHEMAS}
    for schema in SCHEMAS:
        if not missing[schema.name]:
            return schema
    if complete:
        nearest = min(missing, key=lambda schema: len(missing[schema]))
        lacks = ", ".join(f"'{column}'" for column in missing[nearest])
        allowed = f"lacks {lacks} of the schema '{nearest}', and no other known schema fits; it has {_listed(found)}"
        raise UserError(file, allowed=allowed, remedy="Name the columns under [incidents.columns]")
    return None


def _require_roles(roles: Mapping[str, str]) -> None:
    needed = ["time"] if "time" in roles else ["date", "time_of_day"]
    for role in (*needed, *PLACE_ROLES):
        if role not in roles:
            instead = " (or 'time' for both in one column)" if role in ("date", "time_of_day") else ""
            allowed = f"must name the column for '{role}'{instead}"
            raise UserError("[incidents.columns]", allowed=allowed, remedy=f'Add {role} = "COLUMN"')


def _require_column(role: str, name: str, positions: Mapping[str, int], found: Sequence[str], file: str) -> None:
    if normal_name(name) not in positions:
        remedy = did_you_mean(name, [column for column in found if column.strip()] or [""])
        allowed = f"has no column '{name}' for the {role.replace('_', ' ')}; it has {_listed(found)}"
        raise UserError(file, allowed=allowed, remedy=remedy)
    if is_person_level(name):
        allowed = f"the column '{name}' describes a person, and such columns are never read"
        raise UserError(f"[incidents.columns] {role}", name, allowed=allowed, remedy="Name another column")


def _positions(found: Sequence[str]) -> dict[str, int]:
    """Normal name -> position of its first column."""
    positions: dict[str, int] = {}
    for position, name in enumerate(found):
        positions.setdefault(normal_name(name), position)
    return positions


def _optional(names: Sequence[str], positions: Mapping[str, int]) -> dict[str, int]:
    """Those of the names that the file has and that describe no person."""
    there = [name for name in names if normal_name(name) in positions and not is_person_level(name)]
    return {name: positions[normal_name(name)] for name in there}


def _listed(found: Sequence[str], limit: int = 30) -> str:
    """Column names for a message; those that are too many are counted."""
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(f"'{name.strip()[:40]}'" for name in found[:limit]) + more
