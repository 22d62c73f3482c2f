"""Cities cut into windows of two hours: the generated one, and Baltimore where HEWS_REAL_DATA names its tables.

Both go the way that a user's table goes: written, prepared, opened. Shapes: W windows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import shapely

from hews_gpu.arrays import Int64
from hews_gpu.config import MapConfig, city_template, load_city
from hews_gpu.data.events import open_prepared
from hews_gpu.data.geometry.outlines import Outlines
from hews_gpu.data.prepare.command import prepare
from hews_gpu.raster.basemap import Basemap
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Backend, Rasterizer
from hews_gpu.raster.style import ReferenceStyle
from hews_gpu.synthetic import write_city
from hews_gpu.units import DAY_S

SEVEN_YEARS = 29_952
"""Windows of two hours in 2,496 days: as many as the reference system drew of its city."""
WINDOW_S = 7200
DAYS_PER_YEAR = 365
PORTAL = "portal_2012_2017.csv.gz"
POLYGONS = {55: ("csa_55_vitalsigns16", "CSA2010"), 278: ("neighborhoods_278_census2010", "Name")}


@dataclass(frozen=True, eq=False)
class WindowedCity:
    """Polygons, incidents, how they look, and windows."""

    name: str
    neighborhoods: gpd.GeoDataFrame
    outlines: Outlines
    places: Places
    pairs: Int64  # [W, 2] index pairs [first, last) into the incidents, in order of time
    style: ReferenceStyle

    def rasterizer(self, backend: Backend = "numba", config: MapConfig | None = None) -> Rasterizer:
        """RGB maps of this city, 216 x 172 unless `config` says otherwise."""
        config = config or MapConfig()
        geometry = MapGeometry.around(self.outlines.extent, config.bounds, height=config.height, width=config.width)
        basemap = Basemap.build(self.outlines, geometry, self.style)
        return Rasterizer.reference(basemap, self.style, self.places, backend=backend)

    def plain_windows(self, count: int) -> Int64:
        """The first so many windows that have incidents, each in the area that it is counted in and not on its edge.

        Who joins points to polygons anew then finds the same areas, as prepared incidents may lie a little outside.
        """
        areas, places = self.neighborhoods.geometry.to_numpy(), self.places
        chosen: list[Int64] = []
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


def windows_of(time_s: Int64, windows: int | None = None) -> Int64:
    """Return the pairs of the first so many windows from the first midnight on, or of all whole days."""
    begin_s = int(time_s[0]) // DAY_S * DAY_S
    end_s = int(time_s[-1]) // DAY_S * DAY_S if windows is None else begin_s + windows * WINDOW_S
    edges = np.searchsorted(time_s, np.arange(begin_s, end_s + 1, WINDOW_S))
    return np.stack([edges[:-1], edges[1:]], axis=1).astype(np.int64)


def write_baltimore(
    folder: Path,
    data: Path,
    *,
    tables: Sequence[str] = (PORTAL,),
    areas: Literal[55, 278] = 55,
    train: Sequence[str] | None = None,
) -> Path:
    """Write the shipped city file, pointed at the real tables, and return its path.

    Args:
        folder: where to.
        data: what HEWS_REAL_DATA names.
        tables: files of the city's folder.
        areas: how many polygons.
        train: first and last date of the training split; that of the shipped file unless given.
    """
    polygons, name = POLYGONS[areas]
    values = {
        ("[incidents]", "files"): [str(data.absolute() / "baltimore" / table) for table in tables],
        ("[neighborhoods]", "file"): str(data.absolute() / "baltimore" / f"{polygons}.geojson.gz"),
        ("[neighborhoods]", "name"): name,
        **({} if train is None else {("[splits]", "train"): list(train)}),
    }
    lines, section = [], ""
    for line in city_template("baltimore").splitlines():
        section = line.split()[0] if line.startswith("[") else section
        key = line.split(" = ")[0]
        lines.append(f"{key} = {json.dumps(values[section, key])}" if (section, key) in values else line)
    path = folder / "city.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load_polygons(data: Path, areas: Literal[55, 278]) -> gpd.GeoDataFrame:
    """Return Baltimore's 55 statistical areas or 278 neighborhoods, in EPSG:4326."""
    return gpd.read_file(f"/vsigzip/{data}/baltimore/{POLYGONS[areas][0]}.geojson.gz").to_crs(4326)


def windowed_cities(data: Path | None, windows: int = SEVEN_YEARS) -> Iterator[WindowedCity]:
    """Yield the city of ``hews demo``, then Baltimore with its 55 and its 278 areas where `data` has it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        years = -(-windows * WINDOW_S // (DAYS_PER_YEAR * DAY_S))
        city = _prepared("generated", write_city(folder / "city", years=years), folder, windows)
        yield city
        del city
        for areas in (55, 278) if data else ():
            assert data is not None
            yield _prepared("Baltimore", write_baltimore(folder, data, areas=areas), folder, None)


def _prepared(name: str, toml: Path, folder: Path, windows: int | None) -> WindowedCity:
    prepare(load_city(toml), folder / "prepared", force=True)
    prepared = open_prepared(folder / "prepared")
    style = ReferenceStyle.from_config(prepared.city.map)
    areas, places = prepared.neighborhoods, Places.of(prepared.events)
    pairs = windows_of(prepared.events.time_s, windows)
    return WindowedCity(f"{name}, {len(areas)} areas", areas, prepared.outlines, places, pairs, style)
