"""Where and what the rows are that maps show: incidents, and on maps of channels those of layers that have a place.

An incident is shown in the step in which it happened, or was over where it tells an end, as forecasts know it after one
delay for all. A row of a layer is shown in the step in which it became known, and steps end before a forecast is
issued: whatever is on its maps was known by then. A row of a layer that names areas, and no coordinates, fills the
cells of its area.

Shapes: E rows shown, R rows of a layer, K cells, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.raster.geometry import MapGeometry

if TYPE_CHECKING:
    from hews_gpu.data.events import Events, LayerRows, Prepared

__all__ = ["MARKS", "Mark", "Places", "require_range", "shown_rows"]

Mark = Literal["targets", "twins", "duplicates"]
MARKS = {"targets": "is_target", "twins": "is_twin", "duplicates": "is_duplicate"}
"""What can be hidden, and the column of the table that says so."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where and what each incident is: all that a map shows of the table."""

    longitude: Float64  # [E] degrees
    latitude: Float64  # [E] degrees
    category: NDArray[np.integer[Any]]  # [E] index into `categories`
    neighborhood: NDArray[np.integer[Any]]  # [E] -1 for none
    categories: Sequence[str]
    hidden: Bool | None = None  # [E] incidents that no map shows, such as repeated rows; None: all shown

    @classmethod
    def of(cls, events: Events, *, without: Collection[Mark] = ()) -> Places:
        """Return the places of a prepared table, hiding all incidents marked as in `without`."""
        hidden: Bool | None = None
        for mark in without:
            if mark not in MARKS:
                raise UserError("without", mark, allowed="is not known", remedy=did_you_mean(mark, MARKS))
            marked = getattr(events, MARKS[mark])
            hidden = marked if hidden is None else hidden | marked
        names = ("longitude", "latitude", "category", "neighborhood", "categories")
        return cls(**{name: getattr(events, name) for name in names}, hidden=hidden)

    def __post_init__(self) -> None:
        for name in ("longitude", "latitude", "category", "neighborhood", "hidden"):
            column = getattr(self, name)
            if column is not None:
                _require_shape(name, column, len(self.longitude))
        require_range("category", self.category, 0, len(self.categories))

    def __len__(self) -> int:
        return len(self.longitude)


def shown_rows(prepared: Prepared, geometry: MapGeometry, spacing: int = 1) -> tuple[Places, Int64]:
    """Return what maps show, and from when on each row [E] may be shown, sorted.

    Args:
        prepared: the city.
        geometry: of the maps.
        spacing: an area is filled at every so many cells of it, each way: discs reach over several.
    """
    events, layers = prepared.events, prepared.placed_layers
    incidents = Places.of(events)
    if not layers and events.span_s is None:
        return incidents, events.time_s
    categories, columns = list(events.categories), [(incidents, events.over_s)]
    for layer in layers:
        row, longitude, latitude = _filled(layer, prepared, geometry, spacing)
        places = Places(
            longitude=longitude,
            latitude=latitude,
            category=layer.category[row].astype(np.int64) + len(categories),
            neighborhood=layer.neighborhood[row],
            categories=(*categories, *layer.streams),
        )
        columns.append((places, layer.known_s[row]))
        categories += layer.streams
    when_s = np.concatenate([each for _, each in columns])
    order = np.argsort(when_s, kind="stable")
    names = ("longitude", "latitude", "category", "neighborhood")
    joined = {name: np.concatenate([getattr(places, name) for places, _ in columns])[order] for name in names}
    return Places(**joined, categories=tuple(categories)), when_s[order]


def _filled(
    layer: LayerRows, prepared: Prepared, geometry: MapGeometry, spacing: int
) -> tuple[Int64, Float64, Float64]:
    """Return the row of a layer, longitude and latitude of each point that is drawn for it."""
    row = np.arange(len(layer))
    if not layer.names_areas:
        return row, layer.longitude, layer.latitude
    cell_area, longitude, latitude = _cells(prepared, geometry, spacing)
    first, last = (np.searchsorted(cell_area, layer.neighborhood, side=side) for side in ("left", "right"))
    count = np.maximum(last - first, 1)  # an area that holds the middle of no cell is drawn as a point in it
    row = np.repeat(row, count)
    cell = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    has_cells = (last > first)[row]
    cell = np.where(has_cells, cell, 0)
    own = (layer.longitude[row], layer.latitude[row])
    if not len(cell_area):
        return row, *own
    return row, np.where(has_cells, longitude[cell], own[0]), np.where(has_cells, latitude[cell], own[1])


def _cells(prepared: Prepared, geometry: MapGeometry, spacing: int) -> tuple[Int64, Float64, Float64]:
    """Return the neighborhood [K], ascending, of each cell whose middle lies in one, and where that is in degrees."""
    import shapely

    west, south, east, north = geometry.bounds
    x = west + (np.arange(0, geometry.width, spacing) + 0.5) * (east - west) / geometry.width
    y = north - (np.arange(0, geometry.height, spacing) + 0.5) * (north - south) / geometry.height
    middle = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    tree = shapely.STRtree(shapely.from_wkb(prepared.outlines.wkb))
    point, area = tree.query(shapely.points(middle), predicate="intersects")
    point, one = np.unique(point, return_index=True)
    order = np.argsort(area[one], kind="stable")
    return area[one][order], *middle[point[order]].T


def _require_shape(name: str, column: NDArray[Any], events: int) -> None:
    """Refuse a column that is not as long as the others."""
    if column.shape != (events,):
        raise ValueError(f"{name}: has shape {column.shape}, must be ({events},) like longitude")


def require_range(name: str, column: NDArray[np.integer[Any]], low: int, end: int) -> None:
    """Refuse whole numbers outside low .. end - 1."""
    if not np.issubdtype(column.dtype, np.integer):
        raise ValueError(f"{name}: has dtype {column.dtype}, must be whole numbers")
    if len(column) and not (low <= int(column.min()) and int(column.max()) < end):
        raise ValueError(f"{name}: holds {int(column.min())}..{int(column.max())}, must be {low}..{end - 1}")
