"""Spatial libraries that look points up in polygons or put polygons on pixels: from memory, and from Parquet files.

Each is a function that loads what it needs and returns its two ways; one that is not installed raises ImportError, one
that needs a GPU raises UserError. From memory, points and polygons lie there in the library's own form, with whatever
index it keeps with them. From Parquet, files of coordinates and of polygons as WKB are read, and all is made anew.

Every answer is the number of the first polygon that covers a point, or -1: libraries give pairs, of which the first
counts. Shapes: P points, N polygons, H rows, X columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from benchmarks.pip import by_sorted_coordinates
from benchmarks.rivals.scene import library
from hews_gpu.arrays import Float64
from hews_gpu.data.geometry.point_in_polygon import Areas, Engine, find_neighborhoods, flat_rings, require_engine
from hews_gpu.raster.geometry import MapGeometry

Answer = NDArray[np.integer[Any]]
Polygons = NDArray[np.object_]
PAIRS = "SELECT p.i, a.n FROM {points} p JOIN {areas} a ON ST_Intersects(a.g, {point})"
"""Both databases plan this as a join by an index over the polygons; neither is faster with ST_Contains."""
OF_FILE = "(SELECT n, ST_GeomFromWKB(wkb) AS g FROM {file})"


class Ways(NamedTuple):
    """How to ask one library."""

    memory: Callable[[], Answer]
    parquet: Callable[[], Answer]


class Places:
    """Points, polygons, and the same as files in a folder; and how many threads there are."""

    def __init__(self, polygons: Polygons, x: Float64, y: Float64, folder: Path, *, threads: int = 1) -> None:
        self.polygons, self.x, self.y, self.threads = polygons, x, y, threads
        self.points_file, self.areas_file = folder / "points.parquet", folder / "areas.parquet"
        self.points = pa.table({"i": np.arange(len(x)), "x": x, "y": y})
        self.areas = pa.table({"n": np.arange(len(polygons)), "wkb": shapely.to_wkb(polygons)})
        pq.write_table(self.points, self.points_file)
        pq.write_table(self.areas, self.areas_file)

    def read_points(self) -> tuple[Float64, Float64]:
        """Return the file's coordinates."""
        table = pq.read_table(self.points_file, columns=["x", "y"], use_threads=self.threads > 1)
        return table["x"].to_numpy(), table["y"].to_numpy()

    def read_polygons(self) -> Polygons:
        """Return the file's polygons as objects of shapely."""
        wkb = pq.read_table(self.areas_file, columns=["wkb"], use_threads=False)["wkb"]
        polygons: Polygons = shapely.from_wkb(wkb.to_numpy())
        return polygons

    def first(self, point: Answer, polygon: Answer) -> Answer:
        """Return int64[P], the first polygon of each point, from pairs in any order."""
        found = np.full(len(self.x), len(self.polygons))
        np.minimum.at(found, point, polygon)
        return np.where(found == len(self.polygons), -1, found)


def hews(places: Places, engine: Engine = "numba") -> Ways:
    """Ask one of our engines; cuSpatial is one of them, with the checks that we make of its answers."""
    require_engine(engine)

    def ask(areas: Areas, x: Float64, y: Float64) -> Answer:
        found: Answer = find_neighborhoods(areas, x, y, engine=engine)[0]
        return found

    kept = Areas(rings=flat_rings(places.polygons))
    return Ways(
        lambda: ask(kept, places.x, places.y),
        lambda: ask(Areas(rings=flat_rings(places.read_polygons())), *places.read_points()),
    )


def by_shapely(places: Places) -> Ways:
    """Ask shapely, in the fastest form that we found; it has one thread."""

    def ask(polygons: Polygons, x: Float64, y: Float64) -> Answer:
        shapely.prepare(polygons)
        return by_sorted_coordinates(polygons, shapely.bounds(polygons), x, y)

    return Ways(
        lambda: ask(places.polygons, places.x, places.y),
        lambda: ask(places.read_polygons(), *places.read_points()),
    )


def duckdb(places: Places) -> Ways:
    """Ask DuckDB; its spatial extension comes as a package, so that nothing is fetched while this runs."""
    extension = Path(library("duckdb_extension_spatial").__file__).parent
    connection = library("duckdb").connect(config={"threads": places.threads})
    connection.load_extension(str(next(extension.glob("extensions/*/spatial.duckdb_extension"))))
    points, areas = f"'{places.points_file}'", OF_FILE.format(file=f"'{places.areas_file}'")
    connection.execute(f"CREATE TABLE points AS SELECT i, ST_Point(x, y) AS g FROM {points}")
    connection.execute(f"CREATE TABLE areas AS SELECT * FROM {areas}")

    def ask(sql: str) -> Answer:
        pairs = connection.sql(sql).fetchnumpy()
        return places.first(pairs["i"], pairs["n"])

    return Ways(
        lambda: ask(PAIRS.format(points="points", areas="areas", point="p.g")),
        lambda: ask(PAIRS.format(points=points, areas=areas, point="ST_Point(p.x, p.y)")),
    )


def sedonadb(places: Places) -> Ways:
    """Ask SedonaDB; a query is spread over as many partitions as there are threads."""
    context = library("sedonadb").connect()
    pa.table(context.sql(f"SET datafusion.execution.target_partitions = {places.threads}"))
    areas = OF_FILE.format(file="areas_file")
    context.create_data_frame(places.points).to_view("points_table", overwrite=True)
    context.create_data_frame(places.areas).to_view("areas_file", overwrite=True)
    made = {"points": "SELECT i, ST_Point(x, y) AS g FROM points_table", "areas": f"SELECT * FROM {areas}"}
    for name, sql in made.items():
        context.sql(sql).to_memtable().to_view(name, overwrite=True)

    def ask(sql: str) -> Answer:
        pairs = pa.table(context.sql(sql))
        return places.first(pairs["i"].to_numpy(), pairs["n"].to_numpy())

    def from_files() -> Answer:
        context.read_parquet(str(places.points_file)).to_view("points_file", overwrite=True)
        context.read_parquet(str(places.areas_file)).to_view("areas_file", overwrite=True)
        return ask(PAIRS.format(points="points_file", areas=areas, point="ST_Point(p.x, p.y)"))

    return Ways(lambda: ask(PAIRS.format(points="points", areas="areas", point="p.g")), from_files)


POINTS_BY: Mapping[str, Callable[[Places], Ways]] = {
    "hews": hews,
    "shapely": by_shapely,
    "DuckDB spatial": duckdb,
    "SedonaDB": sedonadb,
    "hews on a GPU": partial(hews, engine="cuda"),
    "cuSpatial": partial(hews, engine="cuspatial"),
}
"""What looks points up; ours is first."""


def hews_pixels(places: Places, geometry: MapGeometry, engine: Engine = "numba") -> Ways:
    """Look all pixel centers up: we have no filling by rows. The grid of the polygons is made anew from memory, too."""
    require_engine(engine)
    x, y = pixel_centers(geometry)

    def ask(polygons: Polygons) -> Answer:
        found: Answer = find_neighborhoods(Areas(rings=flat_rings(polygons)), x, y, engine=engine)[0]
        return found

    return Ways(lambda: ask(places.polygons), lambda: ask(places.read_polygons()))


def xarray_spatial(places: Places, geometry: MapGeometry, *, on_gpu: bool = False) -> Ways:
    """Fill polygons by xarray-spatial, which keeps nothing from one call to the next; it has one thread."""
    if on_gpu:
        require_engine("cuda")
        library("cupy")
    rasterize = library("xrspatial.rasterize").rasterize
    bounds = (geometry.west, geometry.south, geometry.east, geometry.north)
    how = {"fill": -1, "dtype": np.int32, "merge": "first", "gpu": on_gpu}

    def ask(polygons: Polygons) -> Answer:
        pairs = [(polygon, n) for n, polygon in enumerate(polygons)]
        made = rasterize(pairs, width=geometry.width, height=geometry.height, bounds=bounds, **how).data
        answer: Answer = (made.get() if on_gpu else made).ravel()
        return answer

    return Ways(lambda: ask(places.polygons), lambda: ask(places.read_polygons()))


PIXELS_BY: Mapping[str, Callable[[Places, MapGeometry], Ways]] = {
    "hews": hews_pixels,
    "xarray-spatial": xarray_spatial,
    "hews on a GPU": partial(hews_pixels, engine="cuda"),
    "xarray-spatial, CuPy": partial(xarray_spatial, on_gpu=True),
}
"""What says which polygon covers the center of each pixel; ours is first."""


def pixel_centers(geometry: MapGeometry) -> tuple[Float64, Float64]:
    """Return longitude and latitude of the center of each pixel, row by row from the north: float64[H * X] each."""
    x = geometry.west + (np.arange(geometry.width) + 0.5) * (geometry.east - geometry.west) / geometry.width
    y = geometry.north - (np.arange(geometry.height) + 0.5) * (geometry.north - geometry.south) / geometry.height
    return np.tile(x, geometry.height), np.repeat(y, geometry.width)
