"""The schemas of incident tables: which column plays which role, from the column names alone.

A schema is data, not code: a new one is one more entry in SCHEMAS. Names are compared without regard to case, spaces,
punctuation and a byte order mark, because one feed spells a column ``Primary Type`` in its export and ``primary_type``
in its API. Only columns named here are ever read, so that a table's other columns, above all those that describe a
person, cannot reach any output. A table that no schema fits is mapped under ``[incidents.columns]``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from hews_gpu.data.readers.records import CHUNK_BYTES
from hews_gpu.data.readers.time_reading import TimeReading
from hews_gpu.errors import UserError, did_you_mean

__all__ = [
    "SCHEMAS",
    "TARGET",
    "Columns",
    "OpenTable",
    "ReadSettings",
    "Stretch",
    "choose_columns",
    "is_person_level",
    "normal_name",
    "position_of",
    "require_header",
    "require_targets",
]

PERSON_WORDS = frozenset(
    {"age", "ages", "agegroup", "sex", "gender", "race", "races", "descent", "hispanic", "latino", "dob", "birth"}
    | {"birthdate", "birthplace", "birthday", "vic", "vict", "perp", "susp", "surname", "firstname", "lastname"}
    | {"fullname", "marital", "religion", "disability", "complexion", "occupation", "skin"}
)
# words that begin so, as tables without spaces or capitals have them: victimage, suspectrace, perpetrators, perpsex
PERSON_BEGINS = re.compile(
    r"victim(?!i[sz])|suspect(?!ed)|offender|perpetrator|arrestee|defendant|complainant|ethnic|nationalit|citizen|immigra"
    r"|(?:vic|vict|perp|susp|off|def|arr|person|subject)(?:age|sex|race|gender|ethn|descent|name|dob)"
)
VALUE = re.compile(r"\s*(?:[-+]?\d+\.\d+|\d{1,4}[-/]\d{1,2}[-/]\d{1,4}\b.*|\d{1,2}:\d{2}(?::\d{2})?.*)\s*", re.DOTALL)
"""What stands in a row and never in a header: a number with a point, a date, a time."""
ROW_BYTES = 150
"""Of a row in a file; what rows are guessed by before they are read."""
TIME_ROLES = ("time", "date", "time_of_day")
POINT_ROLES = ("longitude", "latitude")
PLACE_ROLES = (*POINT_ROLES, "category")
TARGET = "target: "
"""What the name of a column that marks targets begins with, among the columns that are read."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One known layout of an incident table."""

    name: str
    roles: Mapping[str, str]
    """Role -> column, of the columns without which a table is not of this schema: `time` (or both `date` and
    `time_of_day`), `longitude`, `latitude` and `category`."""
    charts_only: tuple[str, ...]
    """Formatting and free text: kept apart for charts, never for a model. May be absent."""
    compared: tuple[str, ...]
    """Read only to tell whether two rows are exact duplicates, and to see what they give away; not written. May be
    absent."""
    vocabulary: Mapping[str, str]
    """Category as older vintages spell it -> the name it has in the others, both in normal spelling."""
    zone_is_mislabelled: bool = False
    """Times carry +00 or are milliseconds since 1970, but are local wall-clock times all the same."""
    has_offsets: bool = False
    """Times carry their offset from UTC and mean it."""


POINT = {"longitude": "Longitude", "latitude": "Latitude"}
ASSAULTS = ("AGG. ASSLT.- GUN", "AGG. ASSLT.- CUT", "AGG. ASSLT.- OTH.", "AGG. ASSLT.- HAND")
# Baltimore's tables of victims say HOMICIDE and AGG. ASSAULT; its tables of arrests and older extracts name the charge
# by its code (1A, 4A to 4D), with or without it in front. Only names that mean one thing are listed.
BALTIMORE_VOCABULARY = {
    **dict.fromkeys(("MURDER", "1A-MURDER"), "HOMICIDE"),
    **dict.fromkeys(ASSAULTS, "AGG. ASSAULT"),
    **dict.fromkeys((f"4{code}-{name}" for code, name in zip("ABCD", ASSAULTS, strict=True)), "AGG. ASSAULT"),
}
# Chicago renamed one category in 2020 and spelled another in three ways.
CHICAGO_VOCABULARY = {"CRIM SEXUAL ASSAULT": "CRIMINAL SEXUAL ASSAULT", "NON - CRIMINAL": "NON-CRIMINAL"}
PORTAL = Schema(
    name="portal",
    roles={"date": "CrimeDate", "time_of_day": "CrimeTime", **POINT, "category": "Description"},
    charts_only=("Inside/Outside", "Premise", "Weapon", "Location"),
    compared=("CrimeCode", "Post", "District", "Neighborhood", "Location 1", "Total Incidents"),
    vocabulary=BALTIMORE_VOCABULARY,
)
ARCGIS = Schema(
    name="arcgis",
    roles={"time": "CrimeDateTime", **POINT, "category": "Description"},
    charts_only=("Inside/Outside", "Premise", "PremiseType", "Weapon", "Location"),
    compared=tuple(
        "CCNumber CrimeCode Post District Old_District New_District Neighborhood GeoLocation Total_Incidents".split()
    ),
    vocabulary=BALTIMORE_VOCABULARY,
    zone_is_mislabelled=True,
)
CHICAGO = Schema(
    name="chicago",
    roles={"time": "Date", **POINT, "category": "Primary Type"},
    charts_only=("Block", "Description", "Location Description"),
    compared=("Case Number", "IUCR", "FBI Code", "Beat", "District", "Ward", "Community Area"),
    vocabulary=CHICAGO_VOCABULARY,
)
INCIDENT, TOLD = "incidentId", "told"
"""Of a message on an incident: which one, and the role of the column that says when it was sent."""
EIDO = Schema(  # rows as `eido.eido_row` makes them
    name="eido",
    roles={"time": "incidentTime", **POINT, "category": "incidentType", TOLD: "lastUpdateTimeStamp"},
    charts_only=(),
    compared=(INCIDENT,),
    vocabulary={},
    has_offsets=True,
)
SCHEMAS: tuple[Schema, ...] = (PORTAL, ARCGIS, CHICAGO, EIDO)


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How the files of a city are read."""

    schema: str = "auto"
    """Name of a schema, or auto."""
    mapped: Mapping[str, str] = field(default_factory=dict)
    """Role -> column name, from ``[incidents.columns]``; goes before what the schema says."""
    targets: tuple[str, ...] = ()
    """Columns that mark targets, from ``[[incidents.target]]``; of a layer without places those of its values."""
    is_layer: bool = False
    """Whether they are those of a layer."""
    is_citywide: bool = False
    """Whether its rows have no place: then no column for one is needed, nor for a category."""
    times: str = "auto"
    """By whose clock times are written, as ``[incidents] times`` says."""
    timezone: str = "UTC"
    """The city's zone."""
    block_rows: int = 200_000
    """Rows of a block, at most."""
    chunk_bytes: int = CHUNK_BYTES
    """How much is read at a time."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of one file are read, by position in the file."""

    schema: str
    """Name of the schema, or "mapped" for one given under ``[incidents.columns]``."""
    names: tuple[str, ...]
    """All column names of the file, as they stand there."""
    roles: Mapping[str, int]
    """Role -> position; without longitude and latitude if the table has no such columns."""
    charts_only: Mapping[str, int] = field(default_factory=dict)
    """The schema's spelling of a charts-only column -> position."""
    compared: Mapping[str, int] = field(default_factory=dict)
    """The schema's spelling of a compared column -> position."""
    targets: Mapping[str, int] = field(default_factory=dict)
    """The city file's spelling of a column that marks targets -> position; those that the file has."""
    reading: TimeReading = field(default_factory=TimeReading)
    """How the times are read."""
    are_times_known: bool = True
    """Whether a schema says which columns hold the times; else their values have to be looked at."""

    @property
    def read(self) -> dict[str, int]:
        """Name used from here on (role, or column) -> position, of everything that is read."""
        targets = {f"{TARGET}{name}": position for name, position in self.targets.items()}
        return {**self.roles, **self.charts_only, **self.compared, **targets}

    @property
    def has_place(self) -> bool:
        """Whether the table has columns for the coordinates, or for the neighborhood's name."""
        return set(POINT_ROLES) <= set(self.roles) or "area" in self.roles

    @property
    def vocabulary(self) -> Mapping[str, str]:
        """That of the schema; empty for a mapped table."""
        return {known.name: known.vocabulary for known in SCHEMAS}.get(self.schema, {})

    @property
    def person_level(self) -> int:
        """How many columns of the file describe a person and are left unread."""
        return sum(is_person_level(name) for name in self.names)


@dataclass(frozen=True)
class Stretch:
    """Rows of a file that follow each other: records of a CSV file, or row groups of a Parquet file."""

    begin: int
    """First byte, where a record starts; or first row group."""
    end: int
    """First byte or row group beyond."""
    first: int
    """Number of the first line or row, from 1."""
    rows: int
    is_simple: bool = False
    """Whether each line of it is a record whose quotes close: this need not be determined again."""


@dataclass(kw_only=True)
class OpenTable(ABC):
    """An open file of any kind."""

    name: str
    """Of the file, for messages."""
    settings: ReadSettings
    names: tuple[str, ...]
    """Of all columns."""
    noticed: Counter[str] = field(default_factory=Counter)
    """What a user may want to know of what was read -> rows."""

    @abstractmethod
    def blocks(self, columns: Columns, part: Stretch | None = None) -> Iterator[pa.Table]:
        """Read the chosen columns of the file, or of a part of it that its kind's `cut` gave."""


def normal_name(name: str) -> str:
    """Return a column name as it is compared: its letters and digits without capitals, or as it is if it has none."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name.strip()


def is_person_level(name: str) -> bool:
    """Return whether a column seems to describe a person (age, sex, race, ...), judged by the words of its name."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name.replace("\ufeff", ""))
    return any(word in PERSON_WORDS or PERSON_BEGINS.match(word) for word in map(str.casefold, words))


def require_header(names: Sequence[str], file: str) -> None:
    """Refuse a table whose first line holds values instead of names.

    Raises:
        UserError: names some of the values.
    """
    values = [name.strip() for name in names if VALUE.fullmatch(name)]
    if len(values) >= 2 and 4 * len(values) >= len(names):
        allowed = f"has no header: its first line holds values such as {', '.join(map(repr, values[:3]))}"
        raise UserError(file, allowed=allowed, remedy="Put a line with the column names first")


def choose_columns(names: Sequence[str], *, file: str, settings: ReadSettings | None = None) -> Columns:
    """Decide which columns of a file, whose name for messages is `file`, are read.

    Raises:
        UserError: no schema fits, a needed column is missing, is there twice or describes a person; names the columns
            of the file.
    """
    settings = settings or ReadSettings()
    require_header(names, file)
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        positions.setdefault(normal_name(name), position)
    mapped = _mapping_for(positions, settings)
    schema = None
    if not settings.is_citywide:
        schema = _schema_for(names, positions, settings.schema, is_mapped=bool(mapped), file=file)
    roles = {**({} if schema is None else schema.roles), **mapped}
    if "time" in mapped:
        roles = {role: name for role, name in roles.items() if role not in ("date", "time_of_day")}
    elif {"date", "time_of_day"} & set(mapped):
        roles.pop("time", None)
    _require_roles(roles, settings)
    if not any(role in mapped or normal_name(roles.get(role, "")) in positions for role in POINT_ROLES):
        roles = {role: name for role, name in roles.items() if role not in POINT_ROLES}
    for role, name in roles.items():
        _require_column(role, name, positions, names, file)
    for name in settings.targets:
        _require_no_person("[[layers]] values" if settings.is_citywide else "[[incidents.target]] column", name)
    targets = {name: position_of(name, names, file) for name in settings.targets if normal_name(name) in positions}
    taken = {normal_name(name) for name in (*roles.values(), *targets)}

    def optional(wanted: Sequence[str]) -> dict[str, int]:
        """Return those that the file has, that describe no person and play no role already."""
        free = positions.keys() - taken
        there = [name for name in wanted if normal_name(name) in free and not is_person_level(name)]
        return {name: positions[normal_name(name)] for name in there}

    times = {role: normal_name(name) for role, name in roles.items() if role in TIME_ROLES}
    own = {} if schema is None else {role: normal_name(name) for role, name in schema.roles.items()}
    auto = "UTC" if schema is not None and schema.has_offsets else ""
    zone = {"auto": auto, "local": "", "utc": "UTC"}.get(settings.times, settings.times)
    return Columns(
        schema="mapped" if schema is None else schema.name,
        reading=TimeReading(zone=zone, city=settings.timezone),
        are_times_known=times.items() <= own.items(),
        names=tuple(names),
        roles={role: position_of(name, names, file) for role, name in roles.items()},
        charts_only=optional(schema.charts_only if schema else ()),
        compared=optional(schema.compared if schema else ()),
        targets=targets,
    )


def require_targets(
    tables: Sequence[Columns], targets: Sequence[str], field: str = "[[incidents.target]] column"
) -> None:
    """Refuse a column that a field of the city file names, such as one that marks targets, if no table has it.

    Raises:
        UserError: names the columns that there are.
    """
    for name in targets:
        if not any(name in table.targets for table in tables):
            there = dict.fromkeys(column for table in tables for column in table.names if column.strip())
            allowed = f"is a column of no file; there are {_listed(list(there))}"
            raise UserError(field, name, allowed=allowed, remedy=did_you_mean(name, there))


def position_of(name: str, names: Sequence[str], file: str) -> int:
    """Return where a column is that the file has: spelled exactly so, or else the one whose name is compared as equal.

    Raises:
        UserError: there are several, and which of them is meant cannot be known.
    """
    same = [position for position, other in enumerate(names) if other == name]
    same = same or [position for position, other in enumerate(names) if normal_name(other) == normal_name(name)]
    if len(same) > 1:
        which = ", ".join(f"number {position + 1} '{names[position].strip()[:40]}'" for position in same)
        allowed = f"has {len(same)} columns of the name '{name}': {which}"
        raise UserError(file, allowed=allowed, remedy="Rename or remove all but the one that is meant")
    return same[0]


def _mapping_for(there: Collection[str], settings: ReadSettings) -> Mapping[str, str]:
    """Return the user's mapping, or none if it is whole, of another file, and a known schema fits this one."""
    mapped = settings.mapped
    says_where = "area" in mapped or set(POINT_ROLES) <= set(mapped)
    is_whole = says_where and "category" in mapped and bool({"time", "date"} & set(mapped))
    is_elsewhere = (
        is_whole and not settings.is_citywide and not any(normal_name(name) in there for name in mapped.values())
    )
    fits = any(not _lacking(schema, there) for schema in SCHEMAS)
    return {} if is_elsewhere and fits and settings.schema == "auto" else mapped


def _lacking(schema: Schema, there: Collection[str]) -> list[str]:
    """Return the columns that a table lacks of a schema; one without any coordinates lacks none of these."""
    missing = {role: name for role, name in schema.roles.items() if normal_name(name) not in there}
    if set(POINT_ROLES) <= set(missing):
        missing = {role: name for role, name in missing.items() if role not in POINT_ROLES}
    return list(missing.values())


def _schema_for(
    names: Sequence[str], there: Collection[str], name: str, *, is_mapped: bool, file: str
) -> Schema | None:
    """Return the schema asked for, or the first that fits; None if none fits and the user mapped the columns."""
    if name != "auto":
        by_name = {schema.name: schema for schema in SCHEMAS}
        if name not in by_name:
            remedy = did_you_mean(name, ["auto", *by_name])
            raise UserError("[incidents] schema", name, allowed="is not a known schema", remedy=remedy)
        return by_name[name]
    for schema in SCHEMAS:
        if not _lacking(schema, there):
            return schema
    if is_mapped:
        return None
    nearest = max(SCHEMAS, key=lambda schema: len(set(there) & set(map(normal_name, schema.roles.values()))))
    lacks = ", ".join(f"'{column}'" for column in _lacking(nearest, there))
    allowed = f"lacks {lacks} of the schema '{nearest.name}', and no other known schema fits; it has {_listed(names)}"
    remedy = "Name the columns under [incidents.columns]; 'hews init NAME --from FILE' proposes them"
    raise UserError(file, allowed=allowed, remedy=remedy)


def _require_roles(roles: Collection[str], settings: ReadSettings) -> None:
    places: Sequence[str] = ("category",) if "area" in roles and not set(POINT_ROLES) & set(roles) else PLACE_ROLES
    places = () if settings.is_citywide else places
    for role in ("date" if {"date", "time_of_day"} & set(roles) else "time", *places):
        if role not in roles:
            instead = " (or 'date', and 'time_of_day' where there is one)" if role == "time" else ""
            allowed = f"must name the column for '{role}'{instead}"
            remedy = f'Add {role} = "COLUMN"'
            if role == "time" and settings.is_layer:
                remedy += ", or leave the layer out: places that never change, such as bars, are in the rates of where "
                remedy += "they are already, and a forecast learns nothing more from them"
            raise UserError("[incidents.columns]", allowed=allowed, remedy=remedy)


def _require_column(role: str, name: str, there: Collection[str], names: Sequence[str], file: str) -> None:
    if normal_name(name) not in there:
        remedy = did_you_mean(name, [column for column in names if column.strip()] or [""])
        allowed = f"has no column '{name}' for the {role.replace('_', ' ')}; it has {_listed(names)}"
        raise UserError(file, allowed=allowed, remedy=remedy)
    _require_no_person(f"[incidents.columns] {role}", name)


def _require_no_person(field: str, name: str) -> None:
    if is_person_level(name):
        allowed = f"the column '{name}' describes a person, and such columns are never read"
        raise UserError(field, name, allowed=allowed, remedy="Name another column")


def _listed(names: Sequence[str], limit: int = 30) -> str:
    """Return column names for a message; those that are too many are counted."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"'{name.strip()[:40]}'" for name in names[:limit]) + more
