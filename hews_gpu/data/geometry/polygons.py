"""Neighborhoods: polygons in any coordinate system, whole and valid.

They leave in longitude and latitude; `point_in_polygon` says which of them a point belongs to.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from hews_gpu.config import CityConfig
from hews_gpu.data.geometry.point_in_polygon import MAX_NEIGHBORHOODS, Areas, flat_rings
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.progress import log

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["areas_of", "load_neighborhoods", "overlapping"]

WGS84 = "EPSG:4326"
GEOJSON_SYSTEM = re.compile(rb'"crs"\s*:\s*\{[^{}]*\{\s*"name"\s*:\s*"[^"]*?EPSG:[^"]*?(\d+)"')
SHARED_AREA = 0.01  # of the smaller polygon
SECTION = "[neighborhoods]"


def load_neighborhoods(city: CityConfig) -> GeoDataFrame:
    """Read the polygons of a city: columns name, geometry (EPSG:4326) and was_repaired; no other column is kept.

    Raises:
        UserError: no such file or column, no polygons, names that repeat or are blank, coordinates not in degrees.
    """
    path = city.resolve(city.neighborhoods.file)
    if not path.is_file():
        remedy = f"Names are relative to {city.path.parent}; put the polygons there or correct the name"
        raise UserError(f"{SECTION} file", city.neighborhoods.file, allowed="does not exist", remedy=remedy)
    frame = _in_degrees(_read(path, city.neighborhoods.name), path)
    return _checked(frame, path)


def _read(path: Path, name: str) -> GeoDataFrame:
    """Read name and geometry only: demographic columns are not even read."""
    import geopandas
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError
    from shapely.errors import ShapelyError

    def require_name(columns: list[str]) -> None:
        if name not in columns:
            allowed = f"is not a column of {path.name}"
            raise UserError(f"{SECTION} name", name, allowed=allowed, remedy=did_you_mean(name, columns))

    try:
        if path.suffix.casefold() in (".parquet", ".geoparquet"):
            frame = geopandas.read_parquet(path)
            require_name([column for column in frame.columns if column != frame.geometry.name])
        else:
            data: Any = path if path.suffix.casefold() != ".gz" else gzip.decompress(path.read_bytes())
            about = pyogrio.read_info(data)
            if about["features"]:
                require_name(list(about["fields"]))
            _require_known_system(data, path)
            source = io.BytesIO(data) if isinstance(data, bytes) else data
            with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # not numbers are refused below
                warnings.filterwarnings("ignore", "Non closed ring detected")
                frame = geopandas.read_file(source, engine="pyogrio", columns=[name])
    except (EOFError, OSError, ValueError, zlib.error, ShapelyError, DataSourceError, DataLayerError) as error:
        if isinstance(error, UserError):
            raise
        raise _unusable(path, f"cannot be read as polygons ({error})", "Fetch or convert it again") from None
    if not isinstance(frame, geopandas.GeoDataFrame) or name not in frame or frame.geometry.isna().all():
        raise _unusable(path, "holds no polygons", "Name a file of polygons")
    return geopandas.GeoDataFrame({"name": frame[name]}, geometry=frame.geometry, crs=frame.crs)


def _require_known_system(data: Path | bytes, path: Path) -> None:
    """Refuse GeoJSON in an unknown EPSG system, which would be read as degrees without a word."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if isinstance(data, Path) and data.suffix.casefold() not in (".geojson", ".json"):
        return
    named = GEOJSON_SYSTEM.search(data if isinstance(data, bytes) else data.read_bytes())
    if named:
        system = f"EPSG:{named[1].decode()}"
        try:
            CRS.from_user_input(system)
        except CRSError:
            allowed = f"names a coordinate system that is not known: {system}"
            raise _unusable(path, allowed, f"Save it as {WGS84}") from None


def _unusable(path: Path, allowed: str, remedy: str = "") -> UserError:
    return UserError(f"{SECTION} file", path, allowed=allowed, remedy=remedy)


def _in_degrees(frame: GeoDataFrame, path: Path) -> GeoDataFrame:
    """Convert to longitude and latitude; a file that names no system is left as it is if it looks like degrees."""
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    is_named = frame.crs is not None
    if is_named and not frame.crs.equals(WGS84, ignore_axis_order=True):
        log(f"{path.name}: converting polygons from {frame.crs.name} to longitude and latitude")
        frame = frame.to_crs(WGS84)
    if not np.isfinite(shapely.get_coordinates(frame.geometry.to_numpy())).all():
        raise _unusable(path, "holds a polygon with a coordinate that is not a number", "Fetch or convert it again")
    west, south, east, north = frame.total_bounds
    if len(frame) and not (-180 <= west and east <= 180 and -90 <= south and north <= 90):
        bounds = f"(x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g})"
        what = "has coordinates that" if is_named else "names no coordinate system and its coordinates"
        raise _unusable(path, f"{what} are not degrees {bounds}", "Save it with its coordinate system")
    if not is_named:
        log(f"{path.name} names no coordinate system; its coordinates look like degrees, so {WGS84} is assumed")
    return frame.set_crs(WGS84, allow_override=True)


def _checked(frame: GeoDataFrame, path: Path) -> GeoDataFrame:
    """Return repaired polygons with proper names, in the order of the file."""
    import geopandas

    shapes = shapely.force_2d(frame.geometry.to_numpy())
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    polygons = np.array(list(map(_polygonal, shapes)), object)
    keep = ~shapely.is_empty(polygons)
    if not keep.any():
        raise _unusable(path, "holds no polygons", "Name a file of polygons")
    names = ["" if name is None or name != name else str(name).strip() for name in frame["name"]]
    names = [name for name, kept in zip(names, keep, strict=True) if kept]
    _require_distinct(names, path)
    if not keep.all():
        log(f"{path.name}: {(~keep).sum()} of {len(keep)} shapes have no area and are left out")
    repaired = broken[keep]
    if repaired.any():
        which = ", ".join(name for name, bad in zip(names, repaired, strict=True) if bad)
        log(f"{path.name}: repaired {repaired.sum()} polygons with invalid rings: {which}")
    content = {"name": np.array(names, object), "was_repaired": repaired}
    result = geopandas.GeoDataFrame(content, geometry=polygons[keep], crs=WGS84)
    return result[["name", "geometry", "was_repaired"]]


def _require_distinct(names: list[str], path: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if "" in names:
        allowed = f"{names.count('')} polygons of {path.name} have no name in it"
        raise UserError(f"{SECTION} name", allowed=allowed, remedy="Name another column, or fill it in")
    if repeated:
        allowed = f"{len(repeated)} names in {path.name} belong to more than one polygon, such as '{repeated[0]}'"
        raise UserError(f"{SECTION} name", allowed=allowed, remedy="Name another column, or dissolve them by name")
    if len(names) > MAX_NEIGHBORHOODS:
        raise _unusable(path, f"holds {len(names)}; at most {MAX_NEIGHBORHOODS} polygons")


def _polygonal(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the polygon parts of a geometry; an empty multipolygon if it has none."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


def areas_of(neighborhoods: GeoDataFrame) -> Areas:
    """Return the polygons of `load_neighborhoods` as what points are looked up in."""
    polygons = neighborhoods.geometry.to_numpy()
    return Areas(rings=flat_rings(polygons), shapes=polygons)


def overlapping(neighborhoods: GeoDataFrame) -> list[tuple[str, str]]:
    """Return pairs of names whose polygons share more than SHARED_AREA of the smaller one, nested ones included.

    Slivers along a common border, which digitizing leaves, are no overlap. A point in both polygons of a pair belongs
    to the first.
    """
    polygons = neighborhoods.geometry.to_numpy()
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pair = first < second
    first, second = first[pair], second[pair]
    shared = shapely.area(shapely.intersection(polygons[first], polygons[second]))
    area = shapely.area(polygons)
    names = neighborhoods["name"].tolist()
    big = shared > SHARED_AREA * np.minimum(area[first], area[second])
    return [(names[a], names[b]) for a, b in sorted(zip(first[big].tolist(), second[big].tolist(), strict=True))]
