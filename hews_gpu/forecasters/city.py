"""A city to forecast: a prepared table, or a generated city whose true probabilities are known.

Both become a `City`: columns to make a `Catalog` of under any reporting delay, the ground, what maps are drawn from,
and the true probabilities where there are any. A prepared table is cut off where its locked block begins before
anything else looks at it; how to open that block is in `studies/inputs/locked.py`.

Shapes: E rows, S windows, N neighborhoods, K cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from hews_gpu.arrays import Float64, Int64
from hews_gpu.config import CityConfig, city_template
from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import DOUBTS, Events, LayerRows, Prepared
from hews_gpu.data.geometry.outlines import meters_per_degree, outlines_of
from hews_gpu.data.prepare.duplicates import NEAR_TWIN
from hews_gpu.data.windows import Windows
from hews_gpu.errors import UserError
from hews_gpu.forecasters.catalog import Catalog, Measured, make_catalog, with_layers
from hews_gpu.forecasters.climatology import Days
from hews_gpu.forecasters.neighborhoods import Ground
from hews_gpu.forecasters.public_holidays import public_holidays
from hews_gpu.typed_toml import build

if TYPE_CHECKING:
    import shapely

    from hews_gpu.synthetic import CityTruth

__all__ = ["CELL_M", "City", "event_groups", "generated_city", "prepared_city", "whole_city"]

TRUTH = "truth.npz"
TOUCH_M = 1.0  # outlines so near each other are one border: they are rounded
CELL_M = 250.0  # a city of 230 square kilometers has 3,700 such cells


@dataclass(frozen=True, kw_only=True)
class City:
    """A city to forecast."""

    name: str
    events: Events
    polygons: Sequence[shapely.Polygon]
    """[N] in degrees, in the order that `Events.neighborhood` counts in."""
    begin_s: int
    end_s: int
    truth: CityTruth | None = None
    reported_s: Int64 | None = None
    """[E] when each row was reported, where that is known."""
    group: Int64 | None = None
    """[E] number of the event that a row reports: for audits, never for a forecast."""
    embargo_s: int = 0
    """How far apart the times of one event's rows may be; no row is looked at from so long before a window on."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What it is, for the results."""
    prepared: Prepared | None = None
    """What maps are drawn from: all rows, of which `events` are the first, so that stored maps fit."""
    layers: tuple[LayerRows, ...] = ()
    """Other tables that forecasts may read."""
    since_s: int | None = None
    """Rows before are of another stretch of time, with a gap between, of which nobody knows anything: left out."""

    def __post_init__(self) -> None:
        rows = len(self.events)
        if self.prepared is not None and not np.array_equal(self.prepared.events.time_s[:rows], self.events.time_s):
            raise ValueError(f"maps of {self.name} would be drawn from other rows than its {rows:,}")

    @property
    def config(self) -> CityConfig:
        """How maps are drawn of it.

        Raises:
            UserError: nobody said so.
        """
        if self.prepared is None:
            raise UserError("city", self.name, allowed="has no [channels] section, so that no map of it can be drawn")
        return self.prepared.city

    def catalog(self, delay_s: int = 0, *, as_reported: bool = False) -> Catalog:
        """Return the rows, and those of layers, in the order in which they became known.

        Args:
            delay_s: after each incident was over ...
            as_reported: ... or when it was reported, if that is later. Layers say themselves when a row is known.
        """
        events, known_s = self.events, self.reported_s if as_reported else None
        if events.span_s is not None:
            over_s = events.over_s + delay_s
            known_s = over_s if known_s is None else np.maximum(known_s, over_s)
        incidents = make_catalog(
            time_s=events.time_s,
            category=events.category,
            area=events.neighborhood,
            xy_m=self.meters(events.longitude, events.latitude),
            is_target=events.is_target,
            categories=events.categories,
            areas=len(self.polygons),
            delay_s=delay_s,
            known_s=known_s,
        )
        counted = {layer.name: self._layer_catalog(layer) for layer in self.layers if layer.categories}
        every = with_layers(incidents, counted)
        if measured := [one for layer in self.layers for one in _measured(layer)]:
            every = replace(every, measured=tuple(measured))
        return every if self.since_s is None else every.take(every.time_s >= self.since_s)

    def without_layer(self, name: str) -> City:
        """Return the city as if one of its layers were not there, in forecasts or on maps."""
        prepared = self.prepared
        if prepared is not None:
            prepared = prepared.with_rows(prepared.events, [one for one in prepared.layers if one.name != name])
        return replace(self, layers=tuple(one for one in self.layers if one.name != name), prepared=prepared)

    def _layer_catalog(self, layer: LayerRows) -> Catalog:
        return make_catalog(
            time_s=layer.time_s,
            known_s=layer.known_s,
            category=layer.category,
            area=layer.neighborhood,
            xy_m=self.meters(layer.longitude, layer.latitude),
            is_target=np.zeros(len(layer), dtype=bool),
            categories=layer.categories,
            areas=len(self.polygons),
        )

    def meters(self, longitude: Float64, latitude: Float64) -> Float64:
        """Return meters [E, 2] east and north of the middle of the city."""
        middle, scale = self._plane
        return (np.stack([longitude, latitude], axis=1) - middle) * scale

    def degrees(self, xy_m: Float64) -> Float64:
        """Return longitude and latitude [E, 2] of meters east and north of the middle of the city."""
        middle, scale = self._plane
        return np.asarray(xy_m / scale + middle, dtype=np.float64)

    @property
    def _plane(self) -> tuple[Float64, Float64]:
        """Middle of the city in degrees, and meters per degree there, each east and north [2]."""
        west, south, east, north = self._bounds
        middle = np.array([(west + east) / 2, (south + north) / 2])
        return middle, np.stack(meters_per_degree(middle[1]))

    @cached_property
    def _bounds(self) -> tuple[float, float, float, float]:
        import shapely

        west, south, east, north = shapely.total_bounds(np.array(self.polygons))
        return float(west), float(south), float(east), float(north)

    @cached_property
    def ground(self) -> Ground:
        """Cells over the neighborhoods; each has at least one, at a point inside it."""
        import shapely

        west, south, east, north = self._bounds
        metric = shapely.transform(np.array(self.polygons), lambda xy: self.meters(xy[:, 0], xy[:, 1]))
        (left, low), (right, high) = self.meters(np.array([west, east]), np.array([south, north]))
        x, y = np.meshgrid(np.arange(left, right, CELL_M) + CELL_M / 2, np.arange(low, high, CELL_M) + CELL_M / 2)
        cells = np.stack([x.ravel(), y.ravel()], axis=1)
        point, area = shapely.STRtree(metric).query(shapely.points(cells), predicate="intersects")
        point, first = np.unique(point, return_index=True)
        inner = shapely.get_coordinates(shapely.point_on_surface(metric))
        return Ground(
            cells_m=np.vstack([cells[point], inner]),
            cell_area=np.concatenate([area[first], np.arange(len(metric))]),
            area_km2=self.area_km2,
        )

    @cached_property
    def cells(self) -> tuple[Ground, Int64]:
        """The same cells as places of their own, all of one size, and the neighborhood [K] of each, ascending.

        A cell belongs to the neighborhood that its middle lies in; a neighborhood without any has one at a point in it.
        """
        cells_m, area = self.ground.cells_m, self.ground.cell_area
        grid, areas = np.arange(len(area) - len(self.polygons)), np.arange(len(self.polygons))
        kept = np.concatenate([grid, len(grid) + np.flatnonzero(~np.isin(areas, area[grid]))])
        kept = kept[np.argsort(area[kept], kind="stable")]
        size_km2 = np.full(len(kept), (CELL_M / 1000) ** 2)
        return Ground(cells_m=cells_m[kept], cell_area=np.arange(len(kept)), area_km2=size_km2), area[kept]

    @cached_property
    def area_km2(self) -> Float64:
        """[N] size of each neighborhood."""
        import shapely

        metric = shapely.transform(np.array(self.polygons), lambda xy: self.meters(xy[:, 0], xy[:, 1]))
        return np.asarray(shapely.area(metric) / 1e6, dtype=np.float64)

    @cached_property
    def borders(self) -> Float64:
        """[N, N] of each neighborhood's (row's) border with others the share that it has with each; 0 if with none."""
        import shapely

        metric = shapely.transform(np.array(self.polygons), lambda xy: self.meters(xy[:, 0], xy[:, 1]))
        first, second = shapely.STRtree(metric).query(metric, predicate="dwithin", distance=TOUCH_M)
        first, second = first[first != second], second[first != second]
        length_m = np.zeros((len(metric), len(metric)))
        length_m[first, second] = shapely.length(
            shapely.intersection(shapely.boundary(metric[first]), shapely.buffer(metric[second], TOUCH_M, quad_segs=1))
        )
        total_m = np.maximum(length_m.sum(axis=1, keepdims=True), TOUCH_M)
        return np.asarray(length_m / total_m, dtype=np.float64)

    @property
    def holidays(self) -> Days:
        """Public holidays; a generated city has none."""
        if self.truth is not None or self.prepared is None:
            return {}
        return public_holidays(self.prepared.city.city.timezone)

    def oracle(self, windows: Windows, delay_s: int = 0) -> Float64 | None:
        """Return the true chance [S] of a target in each window, given all that was known; None without a truth."""
        if self.truth is None:
            return None
        return self.truth.probability(windows.issue_s, windows.begin_s, windows.end_s, delay_s=delay_s)

    def oracle_areas(self, windows: Windows, delay_s: int = 0) -> Float64 | None:
        """Return the true chances [S, N] by neighborhood; None where the truth is of the city as a whole."""
        if self.truth is None or self.truth.areas == 1:
            return None
        return self.truth.by_area(windows.issue_s, windows.begin_s, windows.end_s, delay_s=delay_s)


def _measured(layer: LayerRows) -> Iterator[Measured]:
    """Yield each number that a layer tells of the whole city, without the rows that tell none."""
    for name, value in zip(layer.measures, () if layer.value is None else layer.value.T, strict=True):
        rows = ~np.isnan(value)
        times = {"time_s": layer.time_s[rows], "known_s": layer.known_s[rows]}
        yield Measured(name=f"{layer.name}: {name}", **times, value=value[rows])


def generated_city(preset: str, *, years: int, seed: int = 0) -> City:
    """Generate a city, without files.

    Raises:
        UserError: no such preset, or years or seed out of range.
    """
    import tomllib

    import shapely

    from hews_gpu.synthetic import simulate_city

    city = simulate_city(preset, seed=seed, years=years)
    drawn = Prepared(Path(), build(CityConfig, tomllib.loads(city_template("demo")), section=""), city.events)
    drawn.__dict__["outlines"] = outlines_of(shapely.to_wkb(np.array(city.polygons)))
    return City(
        name=preset,
        events=city.events,
        polygons=city.polygons,
        begin_s=city.begin_s,
        end_s=city.end_s,
        truth=city.truth,
        reported_s=city.known_s,
        notes={"preset": preset, "years": years, "seed": seed},
        prepared=drawn,
    )


def prepared_city(prepared: Prepared, *, begin_s: int, end_s: int) -> City:
    """Return a prepared table between two moments; what happened later is not in it, but for what layers publish ahead.

    Args:
        prepared: the folder.
        begin_s: no window begins before.
        end_s: begin of the locked block, or of nothing.
    """
    import shapely

    kept = slice(int(np.searchsorted(prepared.events.time_s, end_s)))  # a view: a copy of millions of rows adds up
    events = prepared.events.take(kept)
    return City(
        name=prepared.city.city.name,
        events=events,
        polygons=list(shapely.from_wkb(prepared.outlines.wkb)),
        begin_s=begin_s,
        end_s=end_s,
        embargo_s=NEAR_TWIN.within_s,
        notes={
            **{"city": prepared.city.city.name, "rows": len(events), "fingerprint": prepared.fingerprint},
            **({DOUBTS: prepared.doubts} if prepared.doubts else {}),
        },
        truth=_truth(prepared.folder),
        prepared=prepared,
        layers=tuple(layer.until(end_s) for layer in prepared.layers),
        since_s=_covered_since(events, prepared.city.splits.span_s("train")[0]),
    )


def _covered_since(events: Events, when_s: int) -> int | None:
    """Return where the stretch that the table covers at a moment begins, if rows lie before it.

    The moment is the begin of training, whoever asks, so that fits and forecasts are told the same.
    """
    begins = [begin for begin, _ in coverage_of_events(events).rows if begin <= when_s]
    return begins[-1] if begins and events.time_s[0] < begins[-1] else None


def whole_city(prepared: Prepared) -> City:
    """Return a prepared table from the begin of its training split to the end of its test split."""
    splits = prepared.city.splits
    return prepared_city(prepared, begin_s=splits.span_s("train")[0], end_s=splits.span_s("test")[1])


def _truth(folder: Path) -> CityTruth | None:
    """Read the true probabilities that a generated city's folder holds."""
    if not (folder / TRUTH).is_file():
        return None
    from hews_gpu.synthetic import load_truth

    return load_truth(folder / TRUTH)


def event_groups(prepared: Prepared) -> Int64:
    """Return the number [E] of the event that each row reports: a target row and its twins share one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = ("row_id", "duplicate_of", "twin_of", "near_twin_of", "is_overlap")
    table = pq.read_table(prepared.folder / "incidents.parquet", columns=list(names))
    table = table.filter(np.logical_not(table["is_overlap"].to_numpy()))
    row_id = table["row_id"].to_numpy()
    order = np.argsort(row_id)
    first, second = [], []
    for name in names[1:4]:
        other = table[name].fill_null(-1).to_numpy()
        rows = np.flatnonzero(other >= 0)
        place = np.minimum(np.searchsorted(row_id, other[rows], sorter=order), len(order) - 1)
        is_there = row_id[order[place]] == other[rows]  # a row of another download may have been left out
        first.append(rows[is_there])
        second.append(order[place[is_there]])
    rows, others = np.concatenate(first), np.concatenate(second)
    edges = coo_array((np.ones(len(rows)), (rows, others)), shape=(len(row_id), len(row_id)))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)
