"""The maps that the reference project published, and how they were drawn: windows, palette, geometry.

Windows are closed at both ends, unlike ours, so the index pairs are made here. The geometry was fitted once to the
published outlines: a degree of longitude is narrower than one of latitude by the cosine of the middle latitude.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.style import ReferenceStyle
from tests.inputs.baltimore import Baltimore

__all__ = ["PALETTE", "STYLE", "WINDOWS", "published_geometry", "published_map", "published_pair"]

WINDOWS = {"201401_03407": 7, "201401_06008": 8, "201401_0530122": 122, "201401_0400355": 355}
"""File and number of the window, two hours each from 2014-01-01 00:01 on."""
BEGIN_S = 1_388_534_460
LENGTH_S = 7200
PALETTE = {
    "LARCENY": "#D5AE41",  # this and COMMON ASSAULT the other way round from the legend: the data's README says why
    "COMMON ASSAULT": "#3F69AA",
    "ROBBERY - STREET": "#E47A2E",
    "SHOOTING": "#BD3D3A",
    "HOMICIDE": "#BD3D3A",
    "AGG. ASSAULT": "#006E6D",
    "BURGLARY": "#7F4145",
    "ROBBERY - CARJACKING": "#223A5E",
    "AUTO THEFT": "#BD3D3A",
    "LARCENY FROM AUTO": "#3F69AA",
    "ARSON": "#D5AE41",
    "ROBBERY - COMMERCIAL": "#766F57",
    "ROBBERY - RESIDENCE": "#E47A2E",
    "RAPE": "#006E6D",
}
STYLE = ReferenceStyle(palette=PALETTE, line_width_px=0.3)
WEST_PX, NORTH_PX, PX_PER_DEGREE = 7.969, 9.477, 1130.67


def published_map(folder: Path, name: str) -> NDArray[np.uint8]:
    """uint8[H, X, 3] of one published file, over white."""
    from PIL import Image

    with Image.open(folder / "seed_maps" / f"{name}.png") as image:
        rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def published_pair(city: Baltimore, name: str) -> NDArray[np.int64]:
    """int64[1, 2]: the incidents of a published window, both ends included."""
    begin = BEGIN_S + WINDOWS[name] * LENGTH_S
    first = np.searchsorted(city.time_s, begin, side="left")
    last = np.searchsorted(city.time_s, begin + LENGTH_S, side="right")
    return np.array([[first, last]], np.int64)


def published_geometry(city: Baltimore, height: int, width: int) -> MapGeometry:
    """Where a published picture of this size shows the polygons."""
    west, south, _, north = city.neighborhoods.total_bounds
    across = PX_PER_DEGREE * np.cos(np.radians((south + north) / 2))
    left, top = west - WEST_PX / across, north + NORTH_PX / PX_PER_DEGREE
    right, bottom = left + width / across, top - height / PX_PER_DEGREE
    return MapGeometry(west=left, south=bottom, east=right, north=top, height=height, width=width)
