"""Banks: K variants of one city in one Rasterizer, its polygons and incidents transformed alike, for augmentation.

Each variant is drawn from its own polygons and points, not warped from a picture, so outlines stay crisp. Which
variant a window is drawn as is an argument of `Rasterizer.fill`: augmenting costs nothing while training.

Shapes: K variants, T history steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ChannelsStyle, ReferenceStyle
from hews_gpu.raster.transform import Transform

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["channels_bank", "reference_bank"]

Layers = Mapping[str, NDArray[np.uint8]]


def reference_bank(
    neighborhoods: GeoDataFrame,
    geometry: MapGeometry,
    style: ReferenceStyle,
    places: Places,
    transforms: Sequence[Transform],
    *,
    backend: Backend = "numba",
) -> Rasterizer:
    """RGB maps: variant 0 is the city as it is, variant k + 1 the city under transforms[k]."""

    def make(shown: MapGeometry) -> Rasterizer:
        return Rasterizer.reference(Basemap.from_geometry(neighborhoods, shown, style), style, places, backend="numpy")

    return _bank(make, geometry, transforms, backend)


def channels_bank(
    geometry: MapGeometry,
    style: ChannelsStyle,
    places: Places,
    transforms: Sequence[Transform],
    *,
    steps: int = 1,
    layers: Callable[[MapGeometry], Layers] | None = None,
    backend: Backend = "numba",
) -> Rasterizer:
    """Counts or discs, with the same variants; `layers` makes the static layers, such as `hews_gpu.raster.layers`."""

    def make(shown: MapGeometry) -> Rasterizer:
        made = layers(shown) if layers else None
        return Rasterizer.channels(shown, style, places, steps=steps, layers=made, backend="numpy")

    return _bank(make, geometry, transforms, backend)


def _bank(
    make: Callable[[MapGeometry], Rasterizer],
    geometry: MapGeometry,
    transforms: Sequence[Transform],
    backend: Backend,
) -> Rasterizer:
    """The variants drawn by `make`, which needs no plan or GPU of its own for each."""
    first, *others = [make(geometry), *(make(geometry.transformed(transform)) for transform in transforms)]
    return first.with_variants(others, backend=backend)
