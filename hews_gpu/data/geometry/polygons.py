"""Neighborhoods: polygons in any coordinate system, whole and valid.

They leave in longitude and latitude; `point_in_polygon` says which of them a point belongs to.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import shapely

from hews_gpu.config import CityConfig
from hews_gpu.data.geometry.point_in_polygon import MAX_NEIGHBORHOODS, Areas, flat_rings
from hews_gpu.data.geometry.polygon_files import SECTION, read_polygons, unusable
from hews_gpu.errors import UserError
from hews_gpu.progress import log
from hews_gpu.units import HOUR_S

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["areas_of", "is_latitude_first", "load_neighborhoods", "overlapping"]

WGS84 = "EPSG:4326"
SHARED_AREA = 0.01  # of the smaller polygon
DEGREES_PER_HOUR = 15
NEAR_MERIDIAN, FAR_BEYOND = 25.0, 30.0  # degrees: no city lies so far from its zone's meridian at such a latitude
LONGITUDE_FIRST = "Save the polygons with longitude first, latitude second"


def load_neighborhoods(city: CityConfig) -> GeoDataFrame:
    """Read the polygons of a city: columns name, geometry (EPSG:4326) and was_repaired; no other column is kept.

    Raises:
        UserError: no such file, layer or column, no polygons, names that repeat or are blank, coordinates not in
            degrees or of no city.
    """
    path = city.resolve(city.neighborhoods.file)
    if not path.exists():
        remedy = f"Names are relative to {city.path.parent}; put the polygons there or correct the name"
        raise UserError(f"{SECTION} file", city.neighborhoods.file, allowed="does not exist", remedy=remedy)
    layers = city.neighborhoods.layer
    read = read_polygons(path, city.neighborhoods.name, (layers,) if isinstance(layers, str) else layers)
    frames = [_in_degrees(_named(frame, city.neighborhoods.name, path), path) for frame in read]
    frame = pd.concat(frames, ignore_index=True)
    _require_city(frame, path, city.city.timezone)
    return _checked(frame, path)


def _named(frame: Any, name: str, path: Path) -> GeoDataFrame:
    """Return a layer with its names in a column of that name."""
    import geopandas

    if not isinstance(frame, geopandas.GeoDataFrame) or name not in frame or frame.geometry.isna().all():
        raise unusable(path, "holds no polygons", "Name a file of polygons")
    return geopandas.GeoDataFrame({"name": frame[name]}, geometry=frame.geometry, crs=frame.crs)


def _in_degrees(frame: GeoDataFrame, path: Path) -> GeoDataFrame:
    """Convert to longitude and latitude; a file that names no system is left as it is if it looks like degrees."""
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    is_named = frame.crs is not None
    if is_named and not frame.crs.equals(WGS84, ignore_axis_order=True):
        log(f"{path.name}: converting polygons from {frame.crs.name} to longitude and latitude")
        frame = frame.to_crs(WGS84)
    if not np.isfinite(shapely.get_coordinates(frame.geometry.to_numpy())).all():
        raise unusable(path, "holds a polygon with a coordinate that is not a number", "Fetch or convert it again")
    west, south, east, north = frame.total_bounds
    if len(frame) and not (-180 <= west and east <= 180 and -90 <= south and north <= 90):
        is_swapped = -90 <= west and east <= 90 and -180 <= south and north <= 180
        remedy = LONGITUDE_FIRST if is_swapped else "Save it with its coordinate system"
        what = "has coordinates that" if is_named else "names no coordinate system and its coordinates"
        raise unusable(path, f"{what} are not degrees {_bounds(frame)}", remedy)
    if not is_named:
        log(f"{path.name} names no coordinate system; its coordinates look like degrees, so {WGS84} is assumed")
    return frame.set_crs(WGS84, allow_override=True)


def _bounds(frame: GeoDataFrame) -> str:
    west, south, east, north = frame.total_bounds
    return f"(x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g})"


def _require_city(frame: GeoDataFrame, path: Path, timezone: str) -> None:
    """Refuse polygons that are no city's: on both sides of the 180th meridian, or in the order latitude, longitude."""
    west, south, east, north = frame.total_bounds
    if east - west > 180:
        wide = frame[frame.bounds["maxx"] - frame.bounds["minx"] > 180]
        who = f"'{wide['name'].iloc[0]}'" if len(wide) else "it"
        allowed = f"{who} reaches from one side of the 180th meridian, where longitude starts over, to the other one"
        raise unusable(path, f"{allowed} {_bounds(frame)}", "Cut the polygons there, and keep those of one side")
    meridian = _meridian(timezone)
    if meridian is not None:
        x_off, y_off = abs((west + east) / 2 - meridian), abs((south + north) / 2 - meridian)
        if y_off <= NEAR_MERIDIAN and x_off > y_off + FAR_BEYOND:
            allowed = f"its coordinates seem to be latitude, longitude {_bounds(frame)}"
            why = f"by [city] timezone = '{timezone}' the longitude is about {meridian:.0f}"
            raise unusable(path, f"{allowed}: {why}", LONGITUDE_FIRST)


def _meridian(timezone: str) -> float | None:
    """Return the longitude at which the sun goes by the standard time of a zone; None for a zone of no place."""
    if "/" not in timezone or timezone.startswith("Etc/"):
        return None
    zone = ZoneInfo(timezone)
    offsets = [zone.utcoffset(datetime(2020, month, 1)) for month in (1, 7)]
    return DEGREES_PER_HOUR * min(offset.total_seconds() for offset in offsets if offset is not None) / HOUR_S


def is_latitude_first(neighborhoods: GeoDataFrame, timezone: str) -> bool | None:
    """Return whether polygons, rather than incidents, have their coordinates exchanged; None if the zone cannot tell.

    Of use where the one fit the other only with coordinates exchanged.
    """
    west, south, east, north = neighborhoods.total_bounds
    meridian = _meridian(timezone)
    return None if meridian is None else abs((south + north) / 2 - meridian) < abs((west + east) / 2 - meridian)


def _checked(frame: GeoDataFrame, path: Path) -> GeoDataFrame:
    """Return repaired polygons with proper names, in the order of the file."""
    import geopandas

    shapes = shapely.force_2d(frame.geometry.to_numpy())
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    polygons = np.array(list(map(_polygonal, shapes)), object)
    keep = ~shapely.is_empty(polygons)
    if not keep.any():
        raise unusable(path, "holds no polygons", "Name a file of polygons")
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
        raise unusable(path, f"holds {len(names)}; at most {MAX_NEIGHBORHOODS} polygons")


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
