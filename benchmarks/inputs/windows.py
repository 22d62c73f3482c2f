"""Cities cut into windows of two hours, as benchmarks draw them: the generated one, and Baltimore where it is.

The generated city goes the way that a user's table goes: written, prepared, opened. Shapes: W windows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from benchmarks.inputs.baltimore import load_baltimore
from benchmarks.inputs.random_city import RandomCity
from hews_gpu.config import DAY_S, MapConfig, load_city
from hews_gpu.data.events import open_prepared
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.windows import make_windows
from hews_gpu.raster.rasterizer import Backend, Places, Rasterizer
from hews_gpu.raster.style import ReferenceStyle
from hews_gpu.synthetic import write_city

__all__ = ["SEVEN_YEARS", "WindowedCity", "baltimore", "generated", "windowed_cities"]

SEVEN_YEARS = 29_952
"""Windows of two hours in 2,496 days: as many as the reference system drew of its city."""
WINDOW_S = 7200
DAYS_PER_YEAR = 365


@dataclass(frozen=True, eq=False)
class WindowedCity:
    """Polygons, incidents, how they look, and windows."""

    name: str
    city: RandomCity
    pairs: NDArray[np.int64]  # [W, 2] index pairs [first, last) into the incidents, in order of time
    style: ReferenceStyle

    def rasterizer(self, backend: Backend = "numba", config: MapConfig | None = None) -> Rasterizer:
        """RGB maps of this city, 216 x 172 unless `config` says otherwise."""
        basemap = self.city.basemap(config or MapConfig(), self.style)
        return Rasterizer.reference(basemap, self.style, self.city.places, backend=backend)

    def plain_windows(self, count: int) -> NDArray[np.int64]:
        """The first so many windows that have incidents, each in the area that it is counted in and not on its edge.

        Who joins points to polygons anew then finds the same areas, as prepared incidents may lie a little outside.
        """
        areas, places = self.city.neighborhoods.geometry.to_numpy(), self.city.places
        chosen: list[NDArray[np.int64]] = []
        for first, last in self.pairs.tolist():
            area = places.neighborhood[first:last]
            inside = shapely.contains_xy(areas[area], places.longitude[first:last], places.latitude[first:last])
            if last > first and (area >= 0).all() and inside.all():
                chosen.append(np.array([first, last], np.int64))
            if len(chosen) == count:
                break
        return np.stack(chosen)

    @property
    def mean_incidents(self) -> float:
        """Of a window."""
        return float((self.pairs[:, 1] - self.pairs[:, 0]).mean())


def windows_of(time_s: NDArray[np.int64], windows: int | None = None) -> NDArray[np.int64]:
    """The first so many windows from the first midnight on, or all whole days."""
    begin_s = int(time_s[0]) // DAY_S * DAY_S
    end_s = int(time_s[-1]) // DAY_S * DAY_S if windows is None else begin_s + windows * WINDOW_S
    made = make_windows(time_s, begin_s=begin_s, end_s=end_s, length_s=WINDOW_S, stride_s=WINDOW_S, anchor_s=begin_s)
    return made.pairs


def generated(windows: int = SEVEN_YEARS) -> WindowedCity:
    """The city of ``hews demo``, for as many years as the windows take."""
    years = -(-windows * WINDOW_S // (DAYS_PER_YEAR * DAY_S))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(load_city(write_city(folder / "city", years=years)), folder / "prepared")
        prepared = open_prepared(folder / "prepared")
        city = RandomCity(prepared.neighborhoods, Places.of(prepared.events))
    style = ReferenceStyle.from_config(prepared.city.map)
    name = f"generated, {len(city.neighborhoods)} areas"
    return WindowedCity(name, city, windows_of(prepared.events.time_s, windows), style)


def baltimore(folder: Path, areas: Literal[55, 278]) -> WindowedCity:
    """All whole days of the portal's table, drawn over its 55 or 278 polygons."""
    city = load_baltimore(folder, areas)
    return WindowedCity(f"Baltimore, {areas} areas", city, windows_of(city.time_s), ReferenceStyle())


def windowed_cities(folder: Path | None, windows: int = SEVEN_YEARS) -> Iterator[WindowedCity]:
    """The generated city, then Baltimore's two where `folder` has them, one at a time to save memory."""
    yield generated(windows)
    if folder:
        yield baltimore(folder, 55)
        yield baltimore(folder, 278)
