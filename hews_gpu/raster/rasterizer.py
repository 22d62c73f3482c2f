"""The Rasterizer: any windows of a city's incidents into a batch that the caller owns.

It validates in Python, then calls a kernel of the backend that was named: "numba" (compiled, threads over windows) or
"numpy" (the slow reference that the other equals to the bit). A window is an index pair [first, last) into the sorted
table, so nothing is copied per window; positions, cells and colours of all incidents are computed once.

Shapes: B windows of a batch, T history steps, E incidents, H rows, X columns, C channels, G groups, N neighbourhoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.config import MapConfig
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.kernels import raster_cpu, reference_numpy
from hews_gpu.kernels.plan_cpu import ReferencePlan, plan_reference
from hews_gpu.kernels.scalars import FIXED_ONE
from hews_gpu.kernels.tables import ChannelsTables, ReferenceTables
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import FAR_PX, MapGeometry
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle, disc_stamps, rgb

if TYPE_CHECKING:
    from hews_gpu.data.events import Events, Prepared

__all__ = ["BACKENDS", "Backend", "Places", "Rasterizer", "channels_rasterizer", "reference_rasterizer"]

Backend = Literal["numba", "numpy"]
BACKENDS: tuple[Backend, ...] = ("numba", "numpy")


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where and what each incident is: all that a map needs to know of the table."""

    longitude: NDArray[np.float64]  # [E] degrees
    latitude: NDArray[np.float64]  # [E] degrees
    category: NDArray[np.integer[Any]]  # [E] index into `categories`
    neighborhood: NDArray[np.integer[Any]]  # [E] -1 for none
    categories: Sequence[str]
    hidden: NDArray[np.bool_] | None = None  # [E] incidents that no map shows, such as repeated rows; None: all shown

    @classmethod
    def of(cls, events: Events, hidden: NDArray[np.bool_] | None = None) -> Places:
        """The places of a prepared table."""
        names = ("longitude", "latitude", "category", "neighborhood", "categories")
        return cls(**{name: getattr(events, name) for name in names}, hidden=hidden)

    def __post_init__(self) -> None:
        for name in ("longitude", "latitude", "category", "neighborhood", "hidden"):
            column = getattr(self, name)
            if column is not None:
                _require_shape(name, column, len(self.longitude))
        _require_range("category", self.category, 0, len(self.categories))

    def __len__(self) -> int:
        return len(self.longitude)


class Rasterizer:
    """Fills batches with the maps of windows.

    Make one with `Rasterizer.reference`, `Rasterizer.channels`, or from a prepared city with `reference_rasterizer`,
    `channels_rasterizer`.

    Attributes:
        shape: (H, X, C) of one map.
        names: what each of the C channels holds.
        backend: which kernels run.
        events: E, the size of the table.
        steps: T for counts over history steps, 0 for a style that draws one window.
        geometry: the rectangle that a map shows.
    """

    def __init__(
        self,
        tables: ReferenceTables | ChannelsTables,
        geometry: MapGeometry,
        names: Sequence[str],
        *,
        neighborhoods: int = 0,
        steps: int = 0,
        backend: Backend = "numba",
    ) -> None:
        if backend not in BACKENDS:
            raise UserError("backend", backend, allowed="is not known", remedy=did_you_mean(backend, BACKENDS))
        self.tables, self.geometry, self.names, self.backend, self.steps = (
            tables,
            geometry,
            tuple(names),
            backend,
            steps,
        )
        self.shape = (geometry.height, geometry.width, len(self.names))
        self.events = len(tables.x if isinstance(tables, ReferenceTables) else tables.cell)
        self._cpu: ReferencePlan | None = None
        if isinstance(tables, ReferenceTables) and backend == "numba":
            self._cpu = plan_reference(tables, neighborhoods)

    @classmethod
    def reference(
        cls, basemap: Basemap, style: ReferenceStyle, places: Places, *, backend: Backend = "numba"
    ) -> Rasterizer:
        """RGB maps: the basemap, lit outlines of the neighbourhoods that hold an incident, a disc per incident."""
        _require_range("neighborhood", places.neighborhood, -1, basemap.neighborhoods)
        x, y = basemap.geometry.to_fixed(places.longitude, places.latitude)
        neighborhood = places.neighborhood.astype(np.int16)
        if places.hidden is not None:
            x[places.hidden] = y[places.hidden] = -FAR_PX * FIXED_ONE
            neighborhood[places.hidden] = -1
        tables = ReferenceTables(
            base=basemap.base,
            pixel=basemap.pixel,
            start=basemap.start,
            owner=basemap.owner,
            coverage=basemap.coverage,
            lit_color=np.array(rgb(style.lit_color), np.uint8),
            x=x,
            y=y,
            color=places.category.astype(np.uint8),
            neighborhood=neighborhood,
            palette=style.colors(places.categories),
            stamp=disc_stamps(style.disc_radius_px, style.disc_alpha),
        )
        names = ("red", "green", "blue")
        return cls(tables, basemap.geometry, names, neighborhoods=basemap.neighborhoods, backend=backend)

    @classmethod
    def channels(
        cls, geometry: MapGeometry, style: ChannelsStyle, places: Places, *, steps: int = 1, backend: Backend = "numba"
    ) -> Rasterizer:
        """Counts per cell, step and group: channel t * G + g, oldest step first, at most 255 each."""
        if steps < 1:
            raise ValueError(f"steps = {steps}: must be 1 or more")
        cell = geometry.to_cells(places.longitude, places.latitude)
        if places.hidden is not None:
            cell[places.hidden] = -1
        group = style.group_of(places.categories)[places.category] if len(places) else np.zeros(0, np.uint8)
        names = style.names if steps == 1 else [f"{name}-{steps - t}" for t in range(steps) for name in style.names]
        tables = ChannelsTables(cell=cell, group=group, groups=len(style.names))
        return cls(tables, geometry, names, steps=steps, backend=backend)

    def fill(self, pairs: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Draw the maps of `pairs` into `out`; nothing else of `out`'s memory is touched.

        Args:
            pairs: [first, last) into the table, int64[B, 2] (reference) or int64[B, T, 2] (channels, oldest first).
            out: uint8[B, H, X, C], C-contiguous and writable.

        Raises:
            ValueError: a wrong shape or dtype, or a pair that reaches outside the table.
        """
        _require_pairs(pairs, self.steps, self.events)
        _require_out(out, (len(pairs), *self.shape))
        if isinstance(self.tables, ChannelsTables):
            if self.backend == "numpy":
                reference_numpy.fill_channels(self.tables, pairs, out)
            else:
                raster_cpu.draw_channels(self.tables, pairs, out)
        elif self._cpu is None:
            reference_numpy.fill_reference(self.tables, pairs, out)
        else:
            raster_cpu.draw_reference(self.tables, self._cpu, pairs, out)

    def maps(self, pairs: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The same into a new uint8[B, H, X, C]."""
        out = np.empty((len(pairs), *self.shape), np.uint8)
        self.fill(pairs, out)
        return out


def reference_rasterizer(
    prepared: Prepared,
    *,
    style: ReferenceStyle | None = None,
    hidden: NDArray[np.bool_] | None = None,
    backend: Backend = "numba",
) -> Rasterizer:
    """RGB maps of a prepared city, as its `[map]` section asks."""
    style = style or ReferenceStyle.from_config(prepared.city.map)
    basemap = Basemap.build(prepared.neighborhoods, prepared.city.map, style)
    return Rasterizer.reference(basemap, style, Places.of(prepared.events, hidden), backend=backend)


def channels_rasterizer(
    prepared: Prepared,
    *,
    steps: int | None = None,
    hidden: NDArray[np.bool_] | None = None,
    backend: Backend = "numba",
) -> Rasterizer:
    """Counts of a prepared city, as its `[channels]` section asks; `steps` is the city's history unless given.

    The map shows the same bounds as the reference map would; with "auto" they are widened for the cells' own shape.
    """
    city = prepared.city
    config: MapConfig = city.map
    size = {"height": city.channels.height, "width": city.channels.width}
    geometry = MapGeometry.around(prepared.neighborhoods.total_bounds, config.bounds, **size)
    style = ChannelsStyle.from_config(city.channels)
    places = Places.of(prepared.events, hidden)
    steps = city.steps if steps is None else steps
    return Rasterizer.channels(geometry, style, places, steps=steps, backend=backend)


def _require_shape(name: str, column: NDArray[Any], events: int) -> None:
    if column.shape != (events,):
        raise ValueError(f"{name}: has shape {column.shape}, must be ({events},) like longitude")


def _require_range(name: str, column: NDArray[np.integer[Any]], low: int, end: int) -> None:
    if not np.issubdtype(column.dtype, np.integer):
        raise ValueError(f"{name}: has dtype {column.dtype}, must be whole numbers")
    if len(column) and not (low <= int(column.min()) and int(column.max()) < end):
        raise ValueError(f"{name}: holds {int(column.min())}..{int(column.max())}, must be {low}..{end - 1}")


def _require_pairs(pairs: NDArray[np.int64], steps: int, events: int) -> None:
    shape = "[B, 2]" if steps == 0 else f"[B, {steps}, 2]"
    if pairs.dtype != np.int64 or pairs.ndim != (2 if steps == 0 else 3) or pairs.shape[1:-1] != (steps,) * (steps > 0):
        raise ValueError(f"pairs: is {pairs.dtype}{list(pairs.shape)}, must be int64{shape}")
    if pairs.shape[-1] != 2:
        raise ValueError(f"pairs: has shape {pairs.shape}, must be {shape}")
    first, last = pairs[..., 0], pairs[..., 1]
    if len(pairs) and not (first.min() >= 0 and bool(np.all(first <= last)) and last.max() <= events):
        raise ValueError(f"pairs: must hold 0 <= first <= last <= {events}, the number of incidents")


def _require_out(out: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    if out.dtype != np.uint8 or out.shape != shape:
        raise ValueError(f"out: is {out.dtype}{list(out.shape)}, must be uint8{list(shape)}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out: must be C-contiguous and writable")
