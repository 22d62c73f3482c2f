"""One city, described by one TOML file and read into frozen dataclasses.

Each section is a dataclass; each key a field whose docstring says what it means and in which unit. A key that is not
known, of the wrong type or out of range is refused with one line. Relative file names start at the TOML file's folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.own_files import read_text
from hews_gpu.typed_toml import build_file, require
from hews_gpu.units import DAY_S, HOUR_S

__all__ = [
    "SPLITS",
    "ChannelsConfig",
    "CityConfig",
    "CityInfo",
    "FetchConfig",
    "IncidentsConfig",
    "LayerConfig",
    "MapConfig",
    "NeighborhoodsConfig",
    "SplitsConfig",
    "SyntheticConfig",
    "TargetRule",
    "TaskConfig",
    "TrainingConfig",
    "WindowsConfig",
    "city_template",
    "known_cities",
    "load_city",
    "normal_category",
    "parse_local_time",
]

ROLES = ("time", "date", "time_of_day", "end", "longitude", "latitude", "area", "category")
LAYER_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
DEMOGRAPHIC = frozenset(
    "age ages census demographics demography ethnicity gender households income population poverty race sex".split()
)
SPLITS = ("train", "validation", "test")
"""A city file's splits, in order of time, but for the locked one."""


def parse_local_time(key: str, text: str) -> int:
    """Seconds since 1970-01-01T00:00 of a local wall-clock time such as ``2014-01-01`` or ``2014-01-01T06:00``.

    Raises:
        UserError: not an ISO date or time, or one with a zone.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is not None:
        raise UserError(key, text, allowed="must be a local date or time such as 2014-01-01 or 2014-01-01T06:00")
    return int(when.replace(tzinfo=UTC).timestamp())


def normal_category(text: str) -> str:
    """A category as it is compared and written: stripped, single spaces, upper case, nothing that cannot be seen."""
    if not text.isascii() or not text.isprintable():  # a zero byte, a zero-width space, letters and accents apart
        text = unicodedata.normalize("NFC", text)
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
    return " ".join(text.split()).upper()


def _normal(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names in normal spelling, each once."""
    return tuple(dict.fromkeys(normal_category(name) for name in names))


def _require_zone(key: str, name: str, allowed: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(key, name, allowed=f"must be {allowed} such as America/New_York") from None


@dataclass(frozen=True, kw_only=True)
class CityInfo:
    """``[city]``: what the city is called and which clock it goes by."""

    name: str
    """The city's name, for titles."""
    timezone: str
    """IANA zone, such as America/New_York: times in UTC or another zone are converted to it, and it tells which
    wall-clock hours happened twice or not at all."""

    def __post_init__(self) -> None:
        _require_zone("[city] timezone", self.timezone, "an IANA time zone")


@dataclass(frozen=True, kw_only=True)
class TargetRule:
    """``[[incidents.target]]``: a column that marks targets, such as a flag; no model reads it."""

    column: str
    """Name of the column; a file without it has no such targets."""
    values: tuple[str, ...]
    """What it says of a target; compared without regard to case and spacing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _normal(self.values))
        ok = bool(self.values) and "" not in self.values
        require(ok, "[[incidents.target]] values", self.values, "must name at least one value, and no blank one")

    @property
    def name(self) -> str:
        """How the rule is named to a user."""
        return f"{self.column} = {' or '.join(self.values)}"


@dataclass(frozen=True, kw_only=True)
class IncidentsConfig:
    """``[incidents]``: the table of reported crimes."""

    files: tuple[str, ...]
    """Files or globs."""
    targets: tuple[str, ...] = ()
    """Categories to be warned of; compared without regard to case and spacing."""
    target: tuple[TargetRule, ...] = ()
    """Other columns that mark targets; a row is a target if its category or any of these says so."""
    schema: str = "auto"
    """Name of a schema in the registry, or auto: found by the columns."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column names where the schema is not known: time (or date, and time_of_day), longitude, latitude, category; area
    for the name of a polygon, of rows without coordinates; end for until when it may have happened, where time is the
    earliest; of a layer known for when a row became known."""
    times: str = "auto"
    """By whose clock the tables give times: local, utc, or an IANA zone. auto: local, as the known schemas mean it; a
    table of no known schema whose times carry a zone such as Z, or are numbers of seconds, is refused."""
    categories: tuple[str, ...] = ()
    """All categories the city uses; empty: whatever the table holds."""
    unknown_categories: Literal["keep", "quarantine"] = "keep"
    """What to do with a category that is not among `categories` (which must then be given)."""
    damaged_files: Literal["stop", "quarantine"] = "stop"
    """What to do with a file that cannot be read as a table: stop, or leave it out whole and name it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", _normal(self.targets))
        object.__setattr__(self, "categories", _normal(self.categories))
        require(len(self.files) > 0, "[incidents] files", self.files, "must name at least one file")
        columns = [rule.column for rule in self.target]
        ok = len({*columns}) == len(columns)
        require(ok, "[[incidents.target]] column", columns, "must be another in each", "List its values in one")
        self._require_targets()
        for name in self.columns:
            if name not in self._roles():
                remedy = did_you_mean(name, self._roles())
                raise UserError("[incidents.columns]", name, allowed="is not a known role", remedy=remedy)
        if self.times not in ("auto", "local", "utc"):
            _require_zone("[incidents] times", self.times, "auto, local, utc or an IANA time zone")
        if self.unknown_categories == "quarantine":
            remedy = "List the known categories in [incidents] categories"
            require(bool(self.categories), "[incidents] categories", self.categories, "must not be empty", remedy)
            missing = set(self.targets) - set(self.categories)
            require(not missing, "[incidents] targets", sorted(missing), "must be among [incidents] categories")

    def _require_targets(self) -> None:
        allowed = "must name at least one category, unless [[incidents.target]] names a column and its values"
        require(bool(self.targets or self.target), "[incidents] targets", self.targets, allowed)

    def _roles(self) -> tuple[str, ...]:
        """What a column can be."""
        return ROLES

    @property
    def target_names(self) -> tuple[str, ...]:
        """What a target is, in words: categories, then columns with their values."""
        return (*self.targets, *(rule.name for rule in self.target))


@dataclass(frozen=True, kw_only=True)
class LayerConfig(IncidentsConfig):
    """``[[layers]]``: another table of what happened where and when, which forecasts may read beside the incidents.

    Its keys are those of ``[incidents]``, but for the targets: what is warned of stands in the incidents.
    """

    name: str
    """What it is called in results: small letters, digits and underscores."""
    delay_s: int = 0
    """How long after it happened a row is known; later where the column `known` says so."""
    citywide: bool = False
    """Whether its rows have no place: they happen to the whole city, or are measured of it."""
    values: tuple[str, ...] = ()
    """Of a layer without places: columns of numbers, such as a temperature."""

    def __post_init__(self) -> None:
        allowed = "must be 1 to 32 small letters, digits and underscores, a letter first"
        require(bool(LAYER_NAME.fullmatch(self.name)), "[[layers]] name", self.name, allowed)
        words = sorted(DEMOGRAPHIC & {*self.name.split("_")})
        remedy = "Leave it out; 'hews audit' is where demographics belong"
        require(not words, "[[layers]] name", self.name, "demographics are for auditing, never for input", remedy)
        require(0 <= self.delay_s <= 366 * DAY_S, "[[layers]] delay_s", self.delay_s, "must be 0..31622400 seconds")
        self._require_place_or_none()
        with self.named():
            super().__post_init__()

    def _require_place_or_none(self) -> None:
        """Refuse a layer that says neither where its rows are nor that they have no place, or both."""
        place = f"[[layers]] {self.name}"
        roles = [role for role in ("longitude", "latitude", "area") if role in self.columns]
        both = "is true, but columns say where its rows are"
        require(not (self.citywide and roles), f"{place} citywide", roles, both, "Leave out one of the two")
        spans = "is for rows that have a place"
        require(not (self.citywide and "end" in self.columns), f"{place} columns", "end", spans, "Leave it out")
        alone = "belong to a layer without places"
        remedy = "Say citywide = true, and name no column for a place"
        require(self.citywide or not self.values, f"{place} values", self.values, alone, remedy)
        is_whole = "category" in self.columns and bool({"time", "date"} & {*self.columns})
        nowhere = "name no place"
        remedy = "Name longitude and latitude, or area; or say citywide = true if its rows happen to the whole city"
        require(self.citywide or bool(roles) or not is_whole, f"{place} columns", [*self.columns], nowhere, remedy)
        fixed = {"schema": "auto", "categories": (), "unknown_categories": "keep", "damaged_files": "stop"}
        for key in fixed if self.citywide else ():
            value = getattr(self, key)
            require(value == fixed[key], f"{place} {key}", value, "is not for a layer without places", "Leave it out")
        ok = len({*self.values}) == len(self.values) and "" not in self.values
        require(ok, f"{place} values", self.values, "must name columns, each once")
        ok = not self.citywide or "category" in self.columns or bool(self.values)
        nothing = "name neither a category nor values"
        require(ok, f"{place} columns", list(self.columns), nothing, 'Add category = "COLUMN", or values = ["COLUMN"]')

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let what is wrong with the incidents, where this stands for them, name the layer."""
        try:
            yield
        except UserError as error:
            place = f"[[layers]] {self.name}"
            field, remedy = (text.replace("[incidents]", place) for text in (error.field, error.remedy))
            field, remedy = (text.replace("[incidents.columns]", f"{place} columns") for text in (field, remedy))
            field = field if "[[layers]]" in field else f"{place}, {field}"
            raise UserError(field, error.value, allowed=error.allowed, remedy=remedy) from None

    def _require_targets(self) -> None:
        given = (*self.targets, *(rule.column for rule in self.target))
        require(not given, "[[layers]] targets", given, "has none", "Make the table that holds targets [incidents]")

    def _roles(self) -> tuple[str, ...]:
        return (*ROLES, "known")


@dataclass(frozen=True, kw_only=True)
class NeighborhoodsConfig:
    """``[neighborhoods]``: the polygons."""

    file: str
    """GeoJSON, GeoPackage, Shapefile, GeoParquet, FlatGeobuf, KML or a file geodatabase, in any coordinate system."""
    name: str
    """Column with each polygon's name."""
    layer: str | tuple[str, ...] = ()
    """Which layer of the file, or several; needed only where it has more than one with polygons."""
    tolerance_m: float = 250.0
    """An incident outside every polygon goes to the nearest one within this distance, and is marked."""
    engine: Literal["auto", "shapely", "numba", "cuda", "cuspatial"] = "auto"
    """What looks points up; all give the same answers."""

    def __post_init__(self) -> None:
        require(0 <= self.tolerance_m <= 50_000, "[neighborhoods] tolerance_m", self.tolerance_m, "must be 0..50000")


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """``[map]``: the picture of one window."""

    style: Literal["reference", "channels"] = "reference"
    """What `hews rasterize` draws unless told: reference RGB maps, or channels of counts."""
    bounds: tuple[float, ...] | Literal["auto"] = "auto"
    """West, south, east, north in degrees, stretched onto the map; auto: all polygons plus a margin, equal meters."""
    height: int = 216
    """Rows of a reference map."""
    width: int = 172
    """Columns of a reference map."""
    disc_radius_px: float = 3.5
    """Radius of an incident's disc (a matplotlib marker of size 50 at 72 dpi is 3.5 px)."""
    line_width_px: float = 1.0
    """Width of every outline (matplotlib's default; 0.3 gives the fine lines of the published reference maps)."""
    palette: Mapping[str, str] = field(default_factory=dict)
    """A color such as #CC7722 per category, in any spelling; others get a stable color from their name."""

    def __post_init__(self) -> None:
        palette = {normal_category(name): color for name, color in self.palette.items()}
        object.__setattr__(self, "palette", palette)
        if self.bounds != "auto":
            require(len(self.bounds) == 4, "[map] bounds", self.bounds, "must be auto or [west, south, east, north]")
            west, south, east, north = (float(value) for value in self.bounds)
            ok = -180 <= west < east <= 180 and -90 <= south < north <= 90
            require(ok, "[map] bounds", self.bounds, "must be west < east and south < north, in degrees")
        for key, size in (("height", self.height), ("width", self.width)):
            require(8 <= size <= 4096, f"[map] {key}", size, "must be 8..4096 pixels")
        require(0.5 <= self.disc_radius_px <= 15, "[map] disc_radius_px", self.disc_radius_px, "must be 0.5..15")
        require(0.1 <= self.line_width_px <= 8, "[map] line_width_px", self.line_width_px, "must be 0.1..8")
        for name, color in self.palette.items():
            ok = len(color) == 7 and color[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in color[1:])
            require(ok, f"[map.palette] {name}", color, "must be a color such as #CC7722")


@dataclass(frozen=True, kw_only=True)
class ChannelsConfig:
    """``[channels]``: the count tensors that the model reads."""

    height: int = 54
    """Rows of cells."""
    width: int = 43
    """Columns of cells."""
    draw: Literal["counts", "discs"] = "counts"
    """What an incident adds: 1 to its cell, or a disc with soft edges: 32 where it covers a cell whole; at most 255."""
    disc_radius_px: float = 1.0
    """Radius of a disc in cells; counts have none."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of each channel and its categories in any spelling; a last channel, other, takes all that are not listed."""

    def __post_init__(self) -> None:
        for key, size in (("height", self.height), ("width", self.width)):
            require(1 <= size <= 4096, f"[channels] {key}", size, "must be 1..4096 cells")
        require(0.5 <= self.disc_radius_px <= 15, "[channels] disc_radius_px", self.disc_radius_px, "must be 0.5..15")
        object.__setattr__(self, "groups", {group: _normal(names) for group, names in self.groups.items()})
        require("other" not in self.groups, "[channels.groups]", "other", "is made by itself", "Remove it")
        seen: dict[str, str] = {}
        for group, categories in self.groups.items():
            for category in categories:
                allowed = f"is in both '{seen.get(category)}' and '{group}'"
                require(category not in seen, "[channels.groups]", category, allowed, "Keep it in one")
                seen[category] = group

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names in order, `other` last."""
        return (*self.groups, "other")


@dataclass(frozen=True, kw_only=True)
class WindowsConfig:
    """``[windows]``: how time is cut. Every window is half-open: [t, t + length)."""

    length_s: int = 2 * HOUR_S
    """Length of a window."""
    stride_s: int = 2 * HOUR_S
    """From the start of one window to the next; also from one issue time to the next."""
    anchor: str = "1970-01-01"
    """A local time at which some window starts."""

    def __post_init__(self) -> None:
        for key, value in (("length_s", self.length_s), ("stride_s", self.stride_s)):
            require(60 <= value <= 366 * DAY_S, f"[windows] {key}", value, "must be 60..31622400 seconds")
        parse_local_time("[windows] anchor", self.anchor)

    @property
    def anchor_s(self) -> int:
        """`anchor` as seconds."""
        return parse_local_time("[windows] anchor", self.anchor)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """``[task]``: what is forecast. Issued at t, from [t - history, t), for [t + lead, t + lead + horizon)."""

    history_s: int = 24 * HOUR_S
    """How far back the maps reach; cut into steps of one window length."""
    lead_s: int = HOUR_S // 2
    """From the issue time to the target window. Rows of one event differ by up to half an hour in time: with less lead,
    a map may show the assault by which the very shooting that it is asked for was reported too."""
    horizon_s: int = 2 * HOUR_S
    """Length of the target window."""

    def __post_init__(self) -> None:
        require(self.history_s > 0, "[task] history_s", self.history_s, "must be positive seconds")
        require(self.lead_s >= 0, "[task] lead_s", self.lead_s, "must be 0 or more seconds")
        require(self.horizon_s > 0, "[task] horizon_s", self.horizon_s, "must be positive seconds")


@dataclass(frozen=True, kw_only=True)
class SplitsConfig:
    """``[splits]``: three stretches of time, each [begin, end), in this order and without overlap; a fourth is kept."""

    train: tuple[str, str]
    """Fitted on."""
    validation: tuple[str, str]
    """Stops the training; thresholds are set here."""
    test: tuple[str, str]
    """Judged on, never used before."""
    locked: tuple[str, str] | None = None
    """Kept for the very end, after the others: nothing trains on it or is judged on it but by a flag that is logged."""

    def __post_init__(self) -> None:
        last = None
        for name in SPLITS if self.locked is None else (*SPLITS, "locked"):
            begin, end = self.span_s(name)
            pair = getattr(self, name)
            require(begin < end, f"[splits] {name}", pair, "must begin before it ends")
            require(last is None or last <= begin, f"[splits] {name}", pair, "must not begin before the last one ends")
            last = end

    def span_s(self, name: str) -> tuple[int, int]:
        """Begin and end of one split as seconds."""
        begin, end = getattr(self, name)
        return parse_local_time(f"[splits] {name}", begin), parse_local_time(f"[splits] {name}", end)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """``[training]``: how the model is fitted."""

    epochs: int = 8
    """At most this many passes over the training windows."""
    batch_size: int = 128
    """Windows per step."""
    learning_rate: float = 0.003
    """Peak step size of AdamW."""
    weight_decay: float = 0.01
    """Of AdamW."""
    patience: int = 3
    """Stop after this many epochs without a better validation score."""
    seed: int = 0
    """Everything random derives from it."""

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size", "patience"):
            require(getattr(self, key) >= 1, f"[training] {key}", getattr(self, key), "must be 1 or more")
        require(self.learning_rate > 0, "[training] learning_rate", self.learning_rate, "must be positive")
        require(self.weight_decay >= 0, "[training] weight_decay", self.weight_decay, "must be 0 or more")
        require(0 <= self.seed < 2**63, "[training] seed", self.seed, "must be 0 or more, below 2**63")


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """``[fetch]``: where `hews fetch` gets the city's public tables."""

    protocol: Literal["arcgis", "socrata"]
    """ArcGIS feature layers or Socrata (SODA 2.1) datasets."""
    incidents: str
    """Address of the incident layer or dataset."""
    neighborhoods: str
    """Address of the polygons."""
    neighborhoods_protocol: Literal["arcgis", "socrata", "geojson"] | None = None
    """Where the polygons speak another protocol than the incidents; geojson is one file at that address."""
    where: str = ""
    """Filter in the feed's own query language, such as a year to begin with; empty: all rows."""
    page_rows: int = 2000
    """Rows asked for at once."""

    def __post_init__(self) -> None:
        for key, url in (("incidents", self.incidents), ("neighborhoods", self.neighborhoods)):
            require(url.startswith(("https://", "http://")), f"[fetch] {key}", url, "must be an http(s) address")
        require(1 <= self.page_rows <= 100_000, "[fetch] page_rows", self.page_rows, "must be 1..100000")


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """``[synthetic]``: only for a generated city, whose true probabilities are known."""

    truth: str
    """The file with the parameters that the city was drawn from."""


@dataclass(frozen=True, kw_only=True)
class CityConfig:
    """The whole file."""

    city: CityInfo
    incidents: IncidentsConfig
    neighborhoods: NeighborhoodsConfig
    splits: SplitsConfig
    map: MapConfig = field(default_factory=MapConfig)
    channels: ChannelsConfig = field(default_factory=ChannelsConfig)
    windows: WindowsConfig = field(default_factory=WindowsConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fetch: FetchConfig | None = None
    synthetic: SyntheticConfig | None = None
    layers: tuple[LayerConfig, ...] = ()
    """Other tables that forecasts may read."""
    path: Path = Path()
    """Where the file was read from; not a key of the file."""

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        require(len({*names}) == len(names), "[[layers]] name", names, "must be another in each")
        length = self.windows.length_s
        ok = self.task.history_s % length == 0
        require(ok, "[task] history_s", self.task.history_s, f"must be a multiple of [windows] length_s = {length}")

    @property
    def steps(self) -> int:
        """T: how many history steps a sample holds."""
        return self.task.history_s // self.windows.length_s

    @property
    def deciding(self) -> dict[str, Any]:
        """The keys that decide what is learned of a prepared table, flat, as JSON gives them back."""
        bounds = self.map.bounds
        settings = {
            "[city] timezone": self.city.timezone,  # public holidays
            "[incidents] targets": list(self.incidents.target_names),
            "[channels] groups": list(self.channels.groups),  # in order
            "[map] bounds": bounds if isinstance(bounds, str) else list(bounds),
            "[[layers]]": [[layer.name, layer.delay_s, *layer.values] for layer in self.layers],
        }
        return settings | self.flat("windows", "task", "splits", "channels", "training")

    def flat(self, *sections: str) -> dict[str, Any]:
        """Return the keys of some sections, flat, as JSON gives them back: what decides a result."""
        keys: dict[str, Any] = {}
        for section in sections:
            for key, value in asdict(getattr(self, section)).items():
                if isinstance(value, dict):
                    keys |= {f"[{section}.{key}] {name}": list(item) for name, item in value.items()}
                else:
                    keys[f"[{section}] {key}"] = list(value) if isinstance(value, tuple) else value
        return keys

    def resolve(self, name: str) -> Path:
        """A file name of the TOML as a path: relative names are relative to the TOML's folder."""
        return self.path.parent / Path(name).expanduser()


def load_city(path: Path) -> CityConfig:
    """Read and check a city's TOML file.

    Raises:
        UserError: missing, not TOML, an unknown key, a wrong type or a value out of range.
    """
    text = read_text(path, f"Write one with 'hews init NAME' (known: {', '.join(known_cities())})")
    example = "'hews init' writes an example with every key"
    return build_file(CityConfig, text, str(path), example=example, extra={"path": path.absolute()})


def known_cities() -> tuple[str, ...]:
    """Names of the cities that come with the package."""
    folder = resources.files("hews_gpu") / "cities"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def city_template(name: str) -> str:
    """The text of a shipped city file.

    Raises:
        UserError: no such city is shipped.
    """
    if name not in known_cities():
        raise UserError("city", name, allowed="is not shipped", remedy=did_you_mean(name, known_cities()))
    return (resources.files("hews_gpu") / "cities" / f"{name}.toml").read_text(encoding="utf-8")
