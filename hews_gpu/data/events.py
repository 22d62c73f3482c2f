"""The prepared incident table and its layers as plain arrays sorted by time: all that windows, maps and models see.

Only time, place, category and the marks made from them are loaded. The formatting columns of the source (premise,
weapon, address text, ...) live in another file that nothing here opens, so they cannot reach a model. An event that two
files of a city report is loaded once: a row that repeats one of an earlier file is left out.

When a row of a layer is known is part of it: so long after it happened, not before a step of the resolution of its
times has passed (a row that tells only the day is known the day after), and not before a column says so.

Shapes: E incidents, R rows of a layer, N neighborhoods.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hews_gpu.arrays import Bool, Float64, Int16, Int64
from hews_gpu.config import CityConfig, LayerConfig, load_city
from hews_gpu.data.geometry.outlines import Outlines, read_outlines
from hews_gpu.errors import UserError
from hews_gpu.files import MANIFEST, read_manifest
from hews_gpu.own_files import read_json

if TYPE_CHECKING:
    import geopandas

__all__ = [
    "DOUBTS",
    "LAYERS",
    "NEIGHBORHOODS",
    "NOWHERE",
    "QUALITY",
    "VALUE",
    "VALUES_FILE",
    "Events",
    "LayerRows",
    "Prepared",
    "layer_resolution_s",
    "load_events",
    "load_layer",
    "open_data_of",
    "open_prepared",
]

NEIGHBORHOODS = "neighborhoods.parquet"
LAYERS = "layers"
"""The folder of a PREPARED folder that holds one folder of each layer."""
DOUBTS = "not_known_to_be_complete"
"""The key of quality.json, and of the results of all that is made of a table, under which they say why."""
QUALITY = "quality.json"
CHARTS = "charts_only.parquet"
"""The columns that describe incidents and that no model reads."""
LABEL_COLUMN = {"column": str, "file": str, "bits": float, "share": float, "warning": bool}
ROUNDING = {"rows": int, "minute_0": float, "minute_30": float, "midnight": float}
STEP = {"category": str, "month": str, "before": float, "after": float, "ratio?": float}
COUNTED = {
    **dict.fromkeys(("rows_read", "rows_kept", "rows_quarantined"), int),
    **{f"{name}_by_reason": {"*": int} for name in ("quarantined", "targets_quarantined")},
    "warnings": [str],
    f"{DOUBTS}?": [str],
    "missing_by_month": {"months": [datetime], "columns": {"*": {"rows": [int], "blank": [int]}}},
    "label_information": {"columns": [LABEL_COLUMN]},
    "volume_steps": {"found": [STEP]},
    "rounding_by_category": {"*": ROUNDING},
    **dict.fromkeys(("seconds?", "peak_memory_bytes?"), float),
}
"""What is read again of quality.json, as `own_files.check` takes it."""
COLUMNS = ["time_s", "longitude", "latitude", "category", "neighborhood_id", "is_target"]
COLUMNS += ["duplicate_of", "is_overlap", "twin_of", "near_twin_of"]
END = "end_s"
NEVER = np.iinfo(np.int64).min
NOWHERE = -1
"""The neighborhood of a row of the whole city."""
VALUES_FILE, VALUE = "incidents.parquet", "value: "
"""Of a layer without places: its rows, and what the name of a column of values begins with."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Events:
    """The incidents of a city, sorted by time (ties in the order of the files)."""

    time_s: Int64  # [E] local wall-clock seconds since 1970-01-01T00:00, without zone
    longitude: Float64  # [E] degrees
    latitude: Float64  # [E] degrees
    category: Int16  # [E] index into `categories`
    neighborhood: Int16  # [E] row of neighborhoods.parquet
    is_target: Bool  # [E] one of the city's target categories
    is_duplicate: Bool  # [E] repeats an earlier row of its file word for word
    is_twin: Bool  # [E] reports the same event as a target row (same minute, or 30 min and 200 m)
    categories: tuple[str, ...]  # sorted by name, so that the index is the same in every run
    span_s: Int64 | None = None  # [E] how long after its time each may have happened; None: no row tells an end

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def over_s(self) -> Int64:
        """[E] when each was over, before which it is not known."""
        return self.time_s if self.span_s is None else self.time_s + self.span_s

    def take(self, rows: slice | Int64 | Bool) -> Events:
        """Return some of the incidents, in their order."""
        taken: dict[str, Any] = {name: v[rows] for name, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **taken)


def load_events(prepared: Path) -> Events:
    """Read `incidents.parquet` of a PREPARED folder.

    Raises:
        UserError: the file is missing or not one that `hews prepare` wrote.
    """
    path = prepared / "incidents.parquet"
    try:
        columns = [*COLUMNS, *({*pq.read_schema(path).names} & {END})]  # an older version wrote no ends
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise _not_prepared(prepared, f"its incidents.parquet cannot be read ({error})") from None
    if table.column_names != columns:
        raise _not_prepared(prepared, f"incidents.parquet lacks {sorted(set(COLUMNS) - set(table.column_names))}")
    table = table.filter(pc.invert(table["is_overlap"]))
    names = table["category"].cast(pa.string())
    categories = sorted(names.unique().to_pylist())
    twin = pc.or_(pc.is_valid(table["twin_of"]), pc.is_valid(table["near_twin_of"]))
    events = Events(
        time_s=_array(table["time_s"], np.int64),
        longitude=_array(table["longitude"], np.float64),
        latitude=_array(table["latitude"], np.float64),
        category=_array(pc.index_in(names, pa.array(categories, pa.string())), np.int16),
        neighborhood=_array(table["neighborhood_id"], np.int16),
        is_target=_array(table["is_target"], np.bool_),
        is_duplicate=_array(pc.is_valid(table["duplicate_of"]), np.bool_),
        is_twin=_array(twin, np.bool_),
        categories=tuple(categories),
        span_s=_spans_s(table) if END in columns and table[END].null_count < len(table) else None,
    )
    del table, names, twin
    pa.default_memory_pool().release_unused()  # three times what the arrays take
    return events


def _spans_s(table: pa.Table) -> Int64:
    """Return how long after its time each row [E] may have happened; 0 of one that tells no end."""
    return _array(pc.fill_null(pc.subtract(table[END], table["time_s"]), 0), np.int64)


def _array(column: pa.ChunkedArray, dtype: Any) -> npt.NDArray[Any]:
    """Return a column as a contiguous array of its own memory."""
    return np.ascontiguousarray(column.to_numpy(), dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class LayerRows:
    """The rows of a layer, sorted by time."""

    name: str
    time_s: Int64  # [R] local wall-clock seconds
    known_s: Int64  # [R] from when on each is known
    category: Int16  # [R] index into `categories`
    neighborhood: Int16  # [R]
    longitude: Float64  # [R] degrees
    latitude: Float64  # [R] degrees
    categories: tuple[str, ...]
    """None of a layer that has values alone."""
    value: Float64 | None = None
    """[R, V] of a layer without places, what was measured; NaN for nothing."""
    measures: tuple[str, ...] = ()
    """[V] names of the values."""
    early: int = 0
    """Rows that would be known before they happened; they are known when they did."""
    names_areas: bool = False
    """Whether its rows name their neighborhood and no place in it."""

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def has_places(self) -> bool:
        """Whether its rows have a place; else their neighborhood is -1, and their coordinates NaN."""
        return self.value is None

    @property
    def streams(self) -> tuple[str, ...]:
        """Its categories as they are named beside those of incidents and other layers."""
        return tuple(f"{self.name}: {category}" for category in self.categories)

    def until(self, end_s: int) -> LayerRows:
        """Return the rows that happened before a moment, or were known before it, as what is published ahead."""
        kept = (self.time_s < end_s) | (self.known_s < end_s)
        columns: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **{name: value[kept] for name, value in columns.items()})


def layer_resolution_s(prepared: Path, layer: LayerConfig) -> int:
    """Return how fine the times of a layer of a PREPARED folder are; `UserError` where it is not there."""
    file, remedy = prepared / LAYERS / layer.name / QUALITY, "Run 'hews prepare' again"
    return int(read_json(file, {"times": {"resolution_s": int}}, remedy=remedy)["times"]["resolution_s"])


def load_layer(prepared: Path, layer: LayerConfig, *, resolution_s: int | None = None) -> LayerRows:
    """Read a layer of a PREPARED folder.

    Args:
        prepared: the folder.
        layer: of the city file.
        resolution_s: how fine its times are, where the folder holds too little of it to tell.

    Raises:
        UserError: it is not there.
    """
    folder = prepared / LAYERS / layer.name
    resolution_s = layer_resolution_s(prepared, layer) if resolution_s is None else resolution_s
    if layer.citywide:
        return _load_citywide(folder, layer, resolution_s)
    events = load_events(folder)
    table = pq.read_table(folder / "incidents.parquet", columns=["known_s", "is_overlap"])
    table = table.filter(pc.invert(table["is_overlap"]))
    said = table["known_s"].fill_null(NEVER).to_numpy()
    waits_s = max(layer.delay_s, resolution_s)
    return LayerRows(
        name=layer.name,
        time_s=events.time_s,
        known_s=np.maximum(np.maximum(events.time_s + waits_s, said), events.over_s),
        category=events.category,
        neighborhood=events.neighborhood,
        longitude=events.longitude,
        latitude=events.latitude,
        categories=events.categories,
        early=int(((said < events.time_s) & (said > NEVER)).sum()),
        names_areas="area" in layer.columns and "longitude" not in layer.columns,
    )


def _load_citywide(folder: Path, layer: LayerConfig, resolution_s: int) -> LayerRows:
    """Read a layer without places; what a column says of when a row was known holds, be it before its time."""
    try:
        table = pq.read_table(folder / VALUES_FILE)
    except (OSError, pa.ArrowException) as error:
        raise _not_prepared(folder, f"its {VALUES_FILE} cannot be read ({error})") from None
    time_s, rows = _array(table["time_s"], np.int64), len(table)
    known_s = time_s + max(layer.delay_s, resolution_s)
    if "known" in layer.columns:
        said = _array(table["known_s"], np.int64)
        known_s = np.maximum(time_s + layer.delay_s, said) if layer.delay_s else said
    names = table["category"].cast(pa.string())
    categories = sorted(names.unique().to_pylist()) if "category" in layer.columns else []
    code = pc.index_in(names, pa.array(categories, pa.string())).fill_null(0)
    values = [table[f"{VALUE}{name}"].to_numpy() for name in layer.values]
    return LayerRows(
        name=layer.name,
        time_s=time_s,
        known_s=known_s,
        category=_array(code, np.int16),
        neighborhood=np.full(rows, NOWHERE, np.int16),
        longitude=np.full(rows, np.nan),
        latitude=np.full(rows, np.nan),
        categories=tuple(categories),
        value=np.stack(values, axis=1) if values else np.zeros((rows, 0)),
        measures=tuple(layer.values),
    )


@dataclass(frozen=True)
class Prepared:
    """A PREPARED folder, opened: what every later stage starts from."""

    folder: Path
    city: CityConfig
    events: Events

    def with_rows(self, events: Events, layers: Sequence[LayerRows] = (), city: CityConfig | None = None) -> Prepared:
        """Return the same ground with other rows, of which none is in the folder."""
        other = Prepared(self.folder, city or self.city, events)
        other.__dict__.update(outlines=self.outlines, layers=tuple(layers))
        return other

    @cached_property
    def layers(self) -> tuple[LayerRows, ...]:
        """Other tables of the city, in the order of its file; `UserError` where one is not there."""
        return tuple(load_layer(self.folder, layer) for layer in self.city.layers)

    @property
    def placed_layers(self) -> tuple[LayerRows, ...]:
        """Those whose rows have places, which maps show."""
        return tuple(layer for layer in self.layers if layer.has_places)

    @property
    def origin(self) -> dict[str, Any]:
        """What a manifest says of the data: its absolute path, unless that is about to change, and its fingerprint."""
        lasts = not any(".partial-" in part for part in self.folder.parts)
        place = {"prepared": str(self.folder)} if lasts else {}
        return {**place, "data_fingerprint": self.fingerprint}

    @cached_property
    def neighborhoods(self) -> geopandas.GeoDataFrame:
        """The polygons (EPSG:4326, columns name and geometry), in the order that `Events.neighborhood` counts in."""
        import geopandas as gpd

        return self._read_polygons(gpd.read_parquet)

    @cached_property
    def outlines(self) -> Outlines:
        """The polygons' edges, in the same order; needs neither geopandas nor shapely."""
        return self._read_polygons(read_outlines)

    @cached_property
    def names(self) -> list[str]:
        """[N] the polygons' names."""
        return self._read_polygons(lambda file: pq.read_table(file, columns=["name"])["name"].to_pylist())

    def _read_polygons(self, read: Callable[[Path], T]) -> T:
        try:
            return read(self.folder / NEIGHBORHOODS)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _not_prepared(self.folder, f"its {NEIGHBORHOODS} cannot be read ({error})") from None

    @property
    def span_s(self) -> Int64:
        """[E] how long after its time each incident may have happened; 0 where the table tells no end."""
        return np.zeros(len(self.events), np.int64) if self.events.span_s is None else self.events.span_s

    @cached_property
    def doubts(self) -> list[str]:
        """Why the table, or one of its layers, is not known to be complete, as `hews prepare` found."""
        doubts = list(self.quality.get(DOUBTS) or ()) if os.path.exists(self.folder / QUALITY) else []
        for layer in self.city.layers:
            file = self.folder / LAYERS / layer.name / QUALITY
            quality = read_json(file, {f"{DOUBTS}?": [str]}, remedy="Run 'hews prepare' again")
            doubts += [f"layer {layer.name}: {doubt}" for doubt in quality.get(DOUBTS) or () if doubt not in doubts]
        return doubts

    @cached_property
    def quality(self) -> dict[str, Any]:
        """What the preparation counted, or `UserError` where its file is missing or damaged."""
        file, remedy = self.folder / QUALITY, "Run 'hews prepare' again"
        quality: dict[str, Any] = read_json(file, COUNTED, remedy=remedy)
        months = quality["missing_by_month"]["months"]
        for name, one in quality["missing_by_month"]["columns"].items():
            for key, counts in one.items():
                if len(counts) != len(months):
                    where = f"{file}: missing_by_month.columns.{name}.{key}"
                    raise UserError(where, allowed=f"must hold {len(months)} values", remedy=remedy)
        return quality

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything a forecast depends on in this folder: events, their categories, polygons, layers."""
        digest = hashlib.sha256("\n".join(self.events.categories).encode())
        for name in ("time_s", "longitude", "latitude", "category", "neighborhood", "is_target"):
            digest.update(getattr(self.events, name).tobytes())
        if self.events.span_s is not None:
            digest.update(self.events.span_s.tobytes())
        for outline in self.outlines.wkb:
            digest.update(outline)
        for layer in self.city.layers:
            try:
                digest.update((self.folder / LAYERS / layer.name / "incidents.parquet").read_bytes())
            except OSError as error:
                raise _not_prepared(self.folder, f"its layer {layer.name} cannot be read ({error})") from None
        return digest.hexdigest()


def open_prepared(folder: Path) -> Prepared:
    """Open the folder that `hews prepare` wrote.

    Raises:
        UserError: it is missing or something else.
    """
    if not folder.is_dir():
        raise UserError("data folder", folder, allowed="does not exist", remedy="Make it with 'hews prepare CITY.toml'")
    kind = read_manifest(folder).get("kind")
    if kind != "prepared":
        raise _not_prepared(folder, "it has no manifest" if kind is None else f"it holds a '{kind}'")
    return Prepared(folder.absolute(), load_city(folder / "city.toml"), load_events(folder))


def open_data_of(run: Path, data: Path | None = None) -> Prepared:
    """Open the prepared folder that a run or a backtest was made from, with the city file as it was then.

    Args:
        run: the folder of the run.
        data: where the prepared folder is now; unless given, where it was, or where it lies as seen from the run.

    Raises:
        UserError: it is not there, or no longer the same data.
    """
    notes = read_manifest(run)
    recorded = [notes.get(key) for key in ("prepared", "data", "prepared_from_run")]  # "data" is the older name
    places = [data] if data else [run / name for name in recorded if isinstance(name, str)]  # an absolute path stays
    if not places:
        allowed = "has no hews.json that names its prepared folder"
        raise UserError("run folder", run, allowed=allowed, remedy="Give the prepared folder with --data")
    folder = next((place for place in places if (place / MANIFEST).is_file()), places[0])
    prepared = open_prepared(folder)
    if notes.get("data_fingerprint") not in (None, prepared.fingerprint):
        remedy = "Give the folder it was trained on with --data, or train anew"
        raise UserError("--data", folder, allowed=f"is not the data that {run} was trained on", remedy=remedy)
    own = run / "city.toml"
    return replace(prepared, city=load_city(own)) if own.is_file() else prepared


def _not_prepared(folder: Path, why: str) -> UserError:
    remedy = "Give the --out folder of 'hews prepare CITY.toml --out DIR'"
    return UserError("data folder", folder, allowed=f"is not a prepared city: {why}", remedy=remedy)
