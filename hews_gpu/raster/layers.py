"""Static layers of count tensors: what is the same in every window, as uint8[H, X].

Where outlines run, how often something happened in the long run, and any other points a city has, such as calls for
service, lamps or bars. `Rasterizer.channels` and `bank.channels_bank` take them by name.

Shapes: P points, H rows, X columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry

if TYPE_CHECKING:
    from hews_gpu.data.events import Prepared

__all__ = ["density_layer", "intensity_layer", "outline_layer", "static_layers"]

Floats = NDArray[np.float64]


def outline_layer(basemap: Basemap) -> NDArray[np.uint8]:
    """How much of each cell an outline covers, in 1/255; the broadest where several meet."""
    layer = np.zeros(basemap.geometry.height * basemap.geometry.width, np.uint8)
    np.maximum.at(layer, np.repeat(basemap.pixel, np.diff(basemap.start)), basemap.coverage)
    return layer.reshape(basemap.geometry.height, basemap.geometry.width)


def density_layer(geometry: MapGeometry, longitude: Floats, latitude: Floats) -> NDArray[np.uint8]:
    """How many points lie in each cell, on a log scale: log(1 + count), at most 255.

    255 is the fullest cell of the map that is not transformed, so that a variant of it has the same scale.

    Args:
        geometry: of the map.
        longitude: float64[P] degrees; what is no number or lies outside is left out.
        latitude: float64[P] degrees.
    """
    counts, plain = (_counts(one, longitude, latitude) for one in (geometry, replace(geometry, transform=None)))
    most = np.log1p(max(int(plain.max(initial=0)), 1))
    layer: NDArray[np.uint8] = np.minimum(np.rint(np.log1p(counts) * (255 / most)), 255).astype(np.uint8)
    return layer.reshape(geometry.height, geometry.width)


def _counts(geometry: MapGeometry, longitude: Floats, latitude: Floats) -> NDArray[np.int64]:
    """int64[H * X]: points in each cell."""
    cell = geometry.to_cells(longitude, latitude)
    return np.bincount(cell[cell >= 0], minlength=geometry.height * geometry.width)


def intensity_layer(prepared: Prepared, geometry: MapGeometry, *, only_targets: bool = False) -> NDArray[np.uint8]:
    """The long-run intensity: where incidents lay before the training split ends, and nothing later.

    Repeated rows count once; `only_targets` leaves out what one is not warned of.
    """
    events = prepared.events
    is_known = (events.time_s < prepared.city.splits.span_s("train")[1]) & ~events.is_duplicate
    if only_targets:
        is_known &= events.is_target
    return density_layer(geometry, events.longitude[is_known], events.latitude[is_known])


def static_layers(
    prepared: Prepared, geometry: MapGeometry, points: Mapping[str, tuple[Floats, Floats]] | None = None
) -> dict[str, NDArray[np.uint8]]:
    """The layers `outlines`, `intensity` and `target-intensity` of a city, and one for each of `points`.

    Args:
        prepared: the city.
        geometry: of the map; a transformed one gives layers transformed alike.
        points: longitude and latitude [P] by name. That they were known before the windows drawn is the caller's care.

    Raises:
        ValueError: points of a name that is taken.
    """
    from hews_gpu.raster.style import ReferenceStyle

    basemap = Basemap.from_geometry(prepared.neighborhoods, geometry, ReferenceStyle.from_config(prepared.city.map))
    layers = {
        "outlines": outline_layer(basemap),
        "intensity": intensity_layer(prepared, geometry),
        "target-intensity": intensity_layer(prepared, geometry, only_targets=True),
    }
    for name, (longitude, latitude) in (points or {}).items():
        if name in layers:
            raise ValueError(f"points: {name!r} is taken, must be other than {', '.join(layers)}")
        layers[name] = density_layer(geometry, longitude, latitude)
    return layers
