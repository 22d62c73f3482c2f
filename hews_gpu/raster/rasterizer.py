"""The Rasterizer: any windows of a city's incidents into a batch that the caller owns.

It validates in Python, then calls the kernels that were named: "numba" (compiled, threads over windows), "cuda" (one
launch per batch), or "numpy" (the slow reference that the others equal to the bit). A window is an index pair
[first, last) into the sorted table, so nothing is copied per window; positions, cells and colors of all incidents are
computed once. Hiding an incident costs nothing when maps are drawn: it is moved far outside and belongs to no
neighborhood.

Shapes: B windows of a batch, T history steps, E incidents, H rows, X columns, C channels, G groups, N neighborhoods.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hews_gpu.arrays import Int32, Int64
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.kernels.scalars import FIXED_ONE
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables, ReferenceTables
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.cpu import NumbaKernels, NumpyKernels, Tables
from hews_gpu.raster.geometry import FAR_PX, MapGeometry
from hews_gpu.raster.output import Values, is_on_device, name_of
from hews_gpu.raster.places import Mark, Places, require_range, shown_rows
from hews_gpu.raster.style import FULL_DISC, ChannelsStyle, ReferenceStyle, disc_stamps, rgb

if TYPE_CHECKING:
    from hews_gpu.data.events import Prepared
    from hews_gpu.raster.cuda import CudaKernels

__all__ = [
    "BACKENDS",
    "Backend",
    "Rasterizer",
    "channels_rasterizer",
    "reference_rasterizer",
]

Backend = Literal["numba", "numpy", "cuda"]
BACKENDS: tuple[Backend, ...] = ("numba", "numpy", "cuda")


class Rasterizer:
    """Fills batches with the maps of windows.

    Make one with `Rasterizer.reference`, `Rasterizer.channels`, or from a prepared city with `reference_rasterizer`,
    `channels_rasterizer`; then `writing` says what values it writes.

    Attributes:
        shape: (H, X, C) of one map.
        names: what each of the C channels holds.
        backend: which kernels run.
        events: E, the size of the table.
        steps: T for channels over history steps, 0 for a style that draws one window.
        geometry: the rectangle that a map shows.
        tables: what the kernels read.
        values: what a byte becomes in the output.
        shown_s: of what `channels_rasterizer` returns: from when on each row [E] may be shown, sorted.
    """

    shown_s: Int64

    def __init__(
        self,
        tables: Tables,
        geometry: MapGeometry,
        names: Sequence[str],
        *,
        neighborhoods: int = 0,
        steps: int = 0,
        backend: Backend = "numba",
    ) -> None:
        if backend not in BACKENDS:
            raise UserError("backend", backend, allowed="is not known", remedy=did_you_mean(backend, BACKENDS))
        self.tables, self.geometry, self.names = tables, geometry, tuple(names)
        self.backend, self.steps, self.neighborhoods = backend, steps, neighborhoods
        self.shape = (geometry.height, geometry.width, len(self.names))
        self.events = tables.events
        self.values = Values.plain()
        self.kernels = self._make_kernels()

    def _make_kernels(self) -> NumpyKernels | NumbaKernels | CudaKernels:
        if self.backend == "numpy":
            return NumpyKernels(self.tables)
        if self.backend == "numba":
            return NumbaKernels(self.tables, self.neighborhoods)
        from hews_gpu.raster.cuda import CudaKernels

        return CudaKernels(self.tables, self.neighborhoods, steps=self.steps)

    def writing(self, values: Values) -> Rasterizer:
        """Return the same rasterizer, which writes values through a table: floats, normalized, or on a log scale."""
        other = copy.copy(self)
        other.values = values
        return other

    @classmethod
    def reference(
        cls, basemap: Basemap, style: ReferenceStyle, places: Places, *, backend: Backend = "numba"
    ) -> Rasterizer:
        """Draw RGB maps: the basemap, lit outlines of neighborhoods that hold an incident, a disc per incident."""
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
        return cls(tables, basemap.geometry, names, neighborhoods=basemap.neighborhoods, backend=backend)

    @classmethod
    def channels(
        cls, geometry: MapGeometry, style: ChannelsStyle, places: Places, *, steps: int = 1, backend: Backend = "numba"
    ) -> Rasterizer:
        """Draw counts per cell, step and group: channel t * G + g, oldest step first, at most 255 each.

        With `style.draw` "discs" the sums of their discs, in 1/`FULL_DISC` of a cell that one covers whole: those of
        incidents outside the map are in it as far as they reach.
        """
        if steps < 1:
            raise ValueError(f"steps = {steps}: must be 1 or more")
        group = style.group_of(places.categories)[places.category] if len(places) else np.zeros(0, np.uint8)
        names = style.names if steps == 1 else [f"{name}-{steps - t}" for t in range(steps) for name in style.names]
        base = np.zeros((geometry.height, geometry.width, len(names)), np.uint8)
        if style.draw == "discs":
            x, y = _fixed(geometry, places)
            stamp = disc_stamps(style.disc_radius_px, FULL_DISC / 255)
            discs = DiscsTables(x=x, y=y, group=group, groups=len(style.names), base=base, stamp=stamp)
            return cls(discs, geometry, names, steps=steps, backend=backend)
        cell = geometry.to_cells(places.longitude, places.latitude)
        if places.hidden is not None:
            cell[places.hidden] = -1
        tables = ChannelsTables(cell=cell, group=group, groups=len(style.names), base=base)
        return cls(tables, geometry, names, steps=steps, backend=backend)

    def fill(self, pairs: Any, out: Any, *, stream: Any = None) -> None:
        """Draw the maps of `pairs` into `out`; nothing else of `out`'s memory is touched.

        Args:
            pairs: [first, last) into the table, int64[B, 2] (reference) or int64[B, T, 2] (channels, oldest first).
                With "cuda" it may be a device array, C-contiguous. What that holds is seen only when it is drawn: a
                window that reaches outside the table is drawn empty, and a later `fill`, or `check`, raises.
            out: [B, H, X, C], C-contiguous, of the dtype of `values` (bfloat16: torch's, or uint16); of NumPy or torch,
                with "cuda" also of CuPy or numba. With "cuda" a batch on the host is drawn on the device and copied,
                and complete on return.
            stream: on a GPU, where to launch: a stream of numba, CuPy or torch, or its handle; None: torch's current
                one for a torch tensor, otherwise the default stream. With pairs on the host, one stream at a time.

        Raises:
            ValueError: a wrong shape or dtype, or a pair that reaches outside the table; of arrays on the device, one
                of an earlier call.
        """
        if self.backend != "cuda" and (is_on_device(pairs) or is_on_device(out)):
            raise ValueError(f"out: or pairs lie on a GPU; the backend {self.backend!r} draws on the CPU")
        self.require_pairs(pairs)
        self.kernels.fill(pairs, self.values, out, stream)

    def require_pairs(self, pairs: Any) -> None:
        """Refuse what `fill` cannot draw: a wrong shape or dtype, or on the host a pair that reaches outside the table.

        Raises:
            ValueError: that.
        """
        shape = (self.steps, 2) if self.steps else (2,)
        dtype = name_of(pairs.dtype)
        if dtype != "int64" or tuple(pairs.shape[1:]) != shape:
            allowed = ", ".join(map(str, ("B", *shape)))
            raise ValueError(f"pairs: is {dtype}{list(pairs.shape)}, must be int64[{allowed}]")
        if is_on_device(pairs):
            return
        first, last = pairs[..., 0], pairs[..., 1]
        if len(pairs) and not (first.min() >= 0 and bool((first <= last).all()) and last.max() <= self.events):
            raise ValueError(f"pairs: must hold 0 <= first <= last <= {self.events}, the number of incidents")

    def check(self, stream: Any = None) -> None:
        """Wait for what was launched on `stream` (None: on any), and raise if pairs on a GPU made no sense.

        Call it where a wait costs nothing, such as after an epoch. With arrays on the host there is nothing to find.

        Raises:
            ValueError: a window of an earlier `fill` reached outside the table.
        """
        if not isinstance(self.kernels, NumpyKernels | NumbaKernels):
            self.kernels.check(stream)

    def maps(self, pairs: Int64) -> NDArray[Any]:
        """Draw the maps of `pairs` into a new array [B, H, X, C]; bfloat16 as uint16."""
        dtype = {"bfloat16": "uint16"}.get(self.values.dtype, self.values.dtype)
        out = np.empty((len(pairs), *self.shape), dtype)
        self.fill(pairs, out)
        return out

    def fingerprint(self) -> dict[str, Any]:
        """Return everything that decides what becomes of a window, but for how many windows one map holds.

        `tables` is a digest of what the kernels read: places and colors of the incidents, outlines, discs. It is
        written beside stored maps and compared before they are read again.
        """
        digest = hashlib.sha256()
        for name, table in zip(self.tables._fields, self.tables, strict=True):
            if not (self.steps and name == "base"):  # counts start from zeros, as many as there are steps
                array = np.asarray(table)
                digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        height, width, channels = self.shape
        return {
            "style": "channels" if self.steps else "reference",
            "height": height,
            "width": width,
            "channels": channels // max(self.steps, 1),
            "bounds": [float(bound) for bound in self.geometry.bounds],
            "incidents": self.events,
            "tables": digest.hexdigest(),
        }


def reference_rasterizer(
    prepared: Prepared, *, without: Collection[Mark] = (), backend: Backend = "numba"
) -> Rasterizer:
    """Return what draws RGB maps of a prepared city, as its `[map]` section asks; `without` as of `Places.of`."""
    config = prepared.city.map
    geometry = MapGeometry.around(prepared.outlines.extent, config.bounds, height=config.height, width=config.width)
    style = ReferenceStyle.from_config(config)
    basemap = Basemap.build(prepared.outlines, geometry, style)
    return Rasterizer.reference(basemap, style, Places.of(prepared.events, without=without), backend=backend)


def channels_rasterizer(prepared: Prepared, *, steps: int | None = None, backend: Backend = "numba") -> Rasterizer:
    """Return what draws counts or discs of a prepared city, as its `[channels]` section asks.

    `steps` is the city's history unless given. The map shows the same bounds as the reference map would; with "auto"
    they are widened for the cells' own shape. Windows are index pairs into the rows sorted by `shown_s`: incidents, and
    rows of layers (`hews_gpu.raster.places`).
    """
    city = prepared.city
    size = {"height": city.channels.height, "width": city.channels.width}
    geometry = MapGeometry.around(prepared.outlines.extent, city.map.bounds, **size)
    style = ChannelsStyle.from_config(city.channels, {layer.name: layer.streams for layer in prepared.placed_layers})
    places, shown_s = shown_rows(prepared, geometry, style.spacing)
    made = Rasterizer.channels(geometry, style, places, steps=city.steps if steps is None else steps, backend=backend)
    made.shown_s = shown_s
    return made


def _fixed(geometry: MapGeometry, places: Places) -> tuple[Int32, Int32]:
    """Return column and row of each incident in 1/16 pixel; far outside if hidden."""
    x, y = geometry.to_fixed(places.longitude, places.latitude)
    if places.hidden is not None:
        x[places.hidden] = y[places.hidden] = -FAR_PX * FIXED_ONE
    return x, y
