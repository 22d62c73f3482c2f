"""The Rasterizer: any windows of a city's incidents into a batch that the caller owns.

It validates in Python, then calls the engine that was named: "numba" (compiled, threads over windows), "cuda" (one
launch per batch), or "numpy" (the slow reference that the others equal to the bit). A window is an index pair
[first, last) into the sorted table, so nothing is copied per window; positions, cells and colors of all incidents are
computed once.

Shapes: B windows of a batch, T history steps, E incidents, H rows, X columns, C channels, G groups, N neighborhoods.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.config import MapConfig
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.kernels.scalars import FIXED_ONE
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.engines import Bank, Engine, NumbaEngine, NumpyEngine
from hews_gpu.raster.geometry import FAR_PX, MapGeometry
from hews_gpu.raster.mirror import mirrored
from hews_gpu.raster.places import Mark, Places, require_range
from hews_gpu.raster.style import FULL_DISC, ChannelsStyle, ReferenceStyle, disc_stamps, rgb
from hews_gpu.raster.targets import is_on_device
from hews_gpu.raster.values import Values

if TYPE_CHECKING:
    from hews_gpu.data.events import Prepared

__all__ = [
    "BACKENDS",
    "Backend",
    "Places",
    "Rasterizer",
    "channels_geometry",
    "channels_rasterizer",
    "reference_rasterizer",
]

Backend = Literal["numba", "numpy", "cuda"]
BACKENDS: tuple[Backend, ...] = ("numba", "numpy", "cuda")


class Rasterizer:
    """Fills batches with the maps of windows.

    Make one with `Rasterizer.reference`, `Rasterizer.channels`, or from a prepared city with `reference_rasterizer`,
    `channels_rasterizer`; then `writing` and `with_variants` say what else it shall do.

    Attributes:
        shape: (H, X, C) of one map.
        names: what each of the C channels holds.
        backend: which kernels run.
        events: E, the size of the table.
        steps: T for channels over history steps, 0 for a style that draws one window.
        geometry: the rectangle that a map shows.
        bank: the tables of each of K variants; one, unless `with_variants` added some.
        values: what a byte becomes in the output.
    """

    def __init__(
        self,
        bank: Bank,
        geometry: MapGeometry,
        names: Sequence[str],
        *,
        neighborhoods: int = 0,
        steps: int = 0,
        backend: Backend = "numba",
    ) -> None:
        if backend not in BACKENDS:
            raise UserError("backend", backend, allowed="is not known", remedy=did_you_mean(backend, BACKENDS))
        self.bank, self.geometry, self.names = bank, geometry, tuple(names)
        self.backend, self.steps, self.neighborhoods = backend, steps, neighborhoods
        self.shape = (geometry.height, geometry.width, len(self.names))
        tables = bank[0]
        self.events = len(tables.cell if isinstance(tables, ChannelsTables) else tables.x)
        self.values = Values.plain()
        self.engine = self._make_engine()

    @property
    def tables(self) -> ReferenceTables | ChannelsTables | DiscsTables:
        """The tables of the first variant."""
        return self.bank[0]

    def _make_engine(self) -> Engine:
        if self.backend == "numpy":
            return NumpyEngine(self.bank)
        if self.backend == "numba":
            return NumbaEngine(self.bank, self.neighborhoods)
        from hews_gpu.raster.cuda import CudaEngine

        return CudaEngine(self.bank, self.neighborhoods, steps=self.steps)

    def writing(self, values: Values) -> Rasterizer:
        """The same rasterizer, which writes values through a table: floats, normalized, or on a log scale."""
        other = copy.copy(self)
        other.values = values
        return other

    def with_variants(self, others: Sequence[Rasterizer], *, backend: Backend | None = None) -> Rasterizer:
        """One rasterizer that draws each window as one of several variants: itself is 0, `others` are 1, 2, ..

        Variants are the same incidents and style with basemap and points transformed alike, such as `flipped` ones;
        `hews_gpu.raster.bank` makes others. `backend` is that of the whole; this one's unless given.

        Raises:
            ValueError: another shape, style or table.
        """
        for other in others:
            same = (other.shape, other.names, other.events, other.steps, other.neighborhoods)
            if same != (self.shape, self.names, self.events, self.steps, self.neighborhoods):
                raise ValueError("others: must draw the same incidents in the same shape and style")
        bank = [*self.bank, *(tables for other in others for tables in other.bank)]
        options = {"neighborhoods": self.neighborhoods, "steps": self.steps, "backend": backend or self.backend}
        made = Rasterizer(bank, self.geometry, self.names, **options)  # type: ignore[arg-type]
        return made.writing(self.values)

    def flipped(self, *, left_right: bool = False, up_down: bool = False) -> Rasterizer:
        """The same maps mirrored: outlines stay crisp, as the tables are mirrored and not the picture."""
        bank = [mirrored(tables, left_right, up_down) for tables in self.bank]
        options = {"neighborhoods": self.neighborhoods, "steps": self.steps, "backend": self.backend}
        made = Rasterizer(bank, self.geometry, self.names, **options)  # type: ignore[arg-type]
        return made.writing(self.values)

    @classmethod
    def reference(
        cls, basemap: Basemap, style: ReferenceStyle, places: Places, *, backend: Backend = "numba"
    ) -> Rasterizer:
        """RGB maps: the basemap, lit outlines of the neighborhoods that hold an incident, a disc per incident."""
        require_range("neighborhood", places.neighborhood, -1, basemap.neighborhoods)
        x, y = _fixed(basemap.geometry, places)
        neighborhood = places.neighborhood.astype(np.int16)
        if places.hidden is not None:
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
        return cls([tables], basemap.geometry, names, neighborhoods=basemap.neighborhoods, backend=backend)

    @classmethod
    def channels(
        cls,
        geometry: MapGeometry,
        style: ChannelsStyle,
        places: Places,
        *,
        steps: int = 1,
        layers: Mapping[str, NDArray[np.uint8]] | None = None,
        backend: Backend = "numba",
    ) -> Rasterizer:
        """Counts per cell, step and group: channel t * G + g, oldest step first, at most 255 each.

        With `style.draw` "discs" the sums of their discs, in 1/`FULL_DISC` of a cell that one covers whole: those of
        incidents outside the map are in it as far as they reach.

        `layers` are uint8[H, X] that are the same in every window (outlines, long-run intensity): they come last.
        """
        if steps < 1:
            raise ValueError(f"steps = {steps}: must be 1 or more")
        group = style.group_of(places.categories)[places.category] if len(places) else np.zeros(0, np.uint8)
        names = style.names if steps == 1 else [f"{name}-{steps - t}" for t in range(steps) for name in style.names]
        layers = layers or {}
        base = np.zeros((geometry.height, geometry.width, len(names) + len(layers)), np.uint8)
        for i, (name, layer) in enumerate(layers.items()):
            if layer.dtype != np.uint8 or layer.shape != base.shape[:2]:
                raise ValueError(f"layers: {name} is {layer.dtype}{list(layer.shape)}, must be uint8{base.shape[:2]}")
            base[..., len(names) + i] = layer
        if style.draw == "discs":
            x, y = _fixed(geometry, places)
            stamp = disc_stamps(style.disc_radius_px, FULL_DISC / 255)
            discs = DiscsTables(x=x, y=y, group=group, groups=len(style.names), base=base, stamp=stamp)
            return cls([discs], geometry, [*names, *layers], steps=steps, backend=backend)
        cell = geometry.to_cells(places.longitude, places.latitude)
        if places.hidden is not None:
            cell[places.hidden] = -1
        tables = ChannelsTables(cell=cell, group=group, groups=len(style.names), base=base)
        return cls([tables], geometry, [*names, *layers], steps=steps, backend=backend)

    def fill(self, pairs: Any, out: Any, *, variants: Any = None, stream: Any = None) -> None:
        """Draw the maps of `pairs` into `out`; nothing else of `out`'s memory is touched.

        Args:
            pairs: [first, last) into the table, int64[B, 2] (reference) or int64[B, T, 2] (channels, oldest first).
                With "cuda" it may be a device array, C-contiguous. What that holds is seen only when it is drawn: a
                window that reaches outside the table is drawn empty, and a later `fill`, or `check`, raises.
            out: [B, H, X, C], C-contiguous, or [B, C, H, X], channels-last or a plane per channel; of the dtype of
                `values` (bfloat16: torch's, or uint16); of NumPy or torch, with "cuda" also of CuPy or numba. With
                "cuda" a batch on the host is drawn on the device and copied, and complete on return.
            variants: int32[B], which variant each window is drawn as; None: all as the first.
            stream: on a GPU, where to launch: a stream of numba, CuPy or torch, or its handle; None: torch's current
                one for a torch tensor, otherwise the default stream. With pairs on the host, one stream at a time.

        Raises:
            ValueError: a wrong shape or dtype, or a pair that reaches outside the table; of arrays on the device, one
                of an earlier call.
        """
        if self.backend != "cuda" and any(is_on_device(array) for array in (pairs, out, variants)):
            raise ValueError(
                f"out: lies on a GPU, pairs or variants too or alone; the backend {self.backend!r} draws on the CPU"
            )
        _require_pairs(pairs, self.steps, self.events)
        if variants is not None:
            _require_variants(variants, len(pairs), len(self.bank))
        self.engine.fill(pairs, variants, self.values, out, stream)

    def check(self, stream: Any = None) -> None:
        """Wait for what was launched on `stream` (None: on any), and raise if pairs or variants on a GPU made no sense.

        Call it where a wait costs nothing, such as after an epoch. With arrays on the host there is nothing to find.

        Raises:
            ValueError: a window of an earlier `fill` reached outside the table or the bank.
        """
        self.engine.check(stream)

    def maps(self, pairs: NDArray[np.int64], variants: NDArray[np.int32] | None = None) -> NDArray[Any]:
        """The same into a new array [B, H, X, C]; bfloat16 as uint16."""
        dtype = {"bfloat16": "uint16"}.get(self.values.dtype, self.values.dtype)
        out = np.empty((len(pairs), *self.shape), dtype)
        self.fill(pairs, out, variants=variants)
        return out


def reference_rasterizer(
    prepared: Prepared,
    *,
    style: ReferenceStyle | None = None,
    hidden: NDArray[np.bool_] | None = None,
    without: Collection[Mark] = (),
    backend: Backend = "numba",
) -> Rasterizer:
    """RGB maps of a prepared city, as its `[map]` section asks; `hidden` and `without` as of `Places.of`."""
    config = prepared.city.map
    style = style or ReferenceStyle.from_config(config)
    size = {"height": config.height, "width": config.width}
    geometry = MapGeometry.around(prepared.outlines.extent, config.bounds, **size)
    basemap = Basemap.from_outlines(prepared.outlines, geometry, style)
    return Rasterizer.reference(basemap, style, Places.of(prepared.events, hidden, without=without), backend=backend)


def channels_rasterizer(
    prepared: Prepared,
    *,
    steps: int | None = None,
    hidden: NDArray[np.bool_] | None = None,
    without: Collection[Mark] = (),
    layers: Mapping[str, NDArray[np.uint8]] | None = None,
    backend: Backend = "numba",
) -> Rasterizer:
    """Counts or discs of a prepared city, as its `[channels]` section asks; `steps` is the city's history unless given.

    `hidden` and `without` are as of `Places.of`, `layers` as of `Rasterizer.channels`. The map shows the same bounds as
    the reference map would; with "auto" they are widened for the cells' own shape.
    """
    city = prepared.city
    geometry = channels_geometry(prepared)
    style = ChannelsStyle.from_config(city.channels)
    places = Places.of(prepared.events, hidden, without=without)
    steps = city.steps if steps is None else steps
    return Rasterizer.channels(geometry, style, places, steps=steps, layers=layers, backend=backend)


def channels_geometry(prepared: Prepared) -> MapGeometry:
    """What the count maps of a prepared city show, and how many cells they have."""
    config: MapConfig = prepared.city.map
    size = {"height": prepared.city.channels.height, "width": prepared.city.channels.width}
    return MapGeometry.around(prepared.neighborhoods.total_bounds, config.bounds, **size)


def _fixed(geometry: MapGeometry, places: Places) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Column and row of each incident in 1/16 pixel; far outside if hidden."""
    x, y = geometry.to_fixed(places.longitude, places.latitude)
    if places.hidden is not None:
        x[places.hidden] = y[places.hidden] = -FAR_PX * FIXED_ONE
    return x, y


def _require_pairs(pairs: Any, steps: int, events: int) -> None:
    shape = "[B, 2]" if steps == 0 else f"[B, {steps}, 2]"
    dtype = str(pairs.dtype).removeprefix("torch.")
    if dtype != "int64" or pairs.ndim != (2 if steps == 0 else 3) or pairs.shape[1:-1] != (steps,) * (steps > 0):
        raise ValueError(f"pairs: is {dtype}{list(pairs.shape)}, must be int64{shape}")
    if pairs.shape[-1] != 2:
        raise ValueError(f"pairs: has shape {tuple(pairs.shape)}, must be {shape}")
    if is_on_device(pairs):
        return
    first, last = pairs[..., 0], pairs[..., 1]
    if len(pairs) and not (first.min() >= 0 and bool((first <= last).all()) and last.max() <= events):
        raise ValueError(f"pairs: must hold 0 <= first <= last <= {events}, the number of incidents")


def _require_variants(variants: Any, batch: int, known: int) -> None:
    dtype = str(variants.dtype).removeprefix("torch.")
    if dtype != "int32" or tuple(variants.shape) != (batch,):
        raise ValueError(f"variants: is {dtype}{list(variants.shape)}, must be int32[{batch}]")
    if batch and not is_on_device(variants) and not (variants.min() >= 0 and variants.max() < known):
        raise ValueError(f"variants: must be 0..{known - 1}, as many as this rasterizer has")
