"""Files of polygons: what kind a file is by its name and its content, and which of its layers are read.

GDAL opens a file with the first of its drivers that takes to the content, whatever the name says, and some drivers read
other files or the network: a VRT lists sources, a GDALG runs commands. So only kinds that hold their own polygons are
opened, and only where the content is what the name says; of JSON, which several drivers take, by a prefix that names
the driver. A file may hold several layers, such as one for each half of a city: none is left out without a word.
"""

from __future__ import annotations

import gzip
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.progress import log

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["KINDS", "read_polygons", "unusable"]

SECTION = "[neighborhoods]"
BEGINS = {".gpkg": b"SQLite format 3\0", ".shp": b"\0\0\x27\x0a", ".fgb": b"fgb"}
JSON, PARQUET = (".geojson", ".json", ".topojson"), (".parquet", ".geoparquet")
KINDS = (*JSON, *PARQUET, *BEGINS, ".kml", ".gdb", ".kmz", ".zip", ".gz")
GPKG_ID, GPKG_IDS = slice(68, 72), (b"GPKG", b"GP10", b"GP11")  # of the SQLite files that are GeoPackages
GDB_TABLE = "a00000001.gdbtable"
DRIVERS = frozenset(
    {"GeoJSON", "TopoJSON", "ESRIJSON", "GPKG", "ESRI Shapefile", "FlatGeobuf", "KML", "LIBKML", "OpenFileGDB"}
)
FOREIGN = re.compile(rb"<OGR\w+DataSource|gdal_streamed_alg", re.IGNORECASE)  # by which other drivers know their files
GEOJSON_SYSTEM = re.compile(rb'"crs"\s*:\s*\{[^{}]*\{\s*"name"\s*:\s*"[^"]*?EPSG:[^"]*?(\d+)"')
MOST_UNPACKED, CHUNK_BYTES = 4 << 30, 1 << 20
MANY = 20  # layers in one sentence
REMEDY = "Fetch or convert it again"
KNOWN_REMARKS = ("Non closed ring detected", "Measured (M) geometry types are not supported")  # both are mended
MOST_REMARKS = 3


def unusable(path: Path, allowed: str, remedy: str = REMEDY) -> UserError:
    """Return the error of a file of polygons that is of no use."""
    return UserError(f"{SECTION} file", path, allowed=allowed, remedy=remedy)


def read_polygons(path: Path, name: str, layers: Sequence[str] = ()) -> list[GeoDataFrame]:
    """Read name and geometry only, a frame for each layer: demographic columns are not even read.

    Args:
        path: a file of one of KINDS, or a folder that is a file geodatabase.
        name: the column with the polygons' names.
        layers: which layers; none: the only one there is.

    Raises:
        UserError: of another kind or damaged, no such layer or column, or several layers.
    """
    from pyogrio.errors import DataLayerError, DataSourceError
    from shapely.errors import ShapelyError

    suffix = path.suffix.casefold()
    if suffix not in KINDS:
        allowed = f"is of a kind that is not read; these are: {', '.join(KINDS)}"
        raise unusable(path, allowed, "Convert it to GeoJSON or GeoPackage")
    try:
        with warnings.catch_warnings(record=True) as remarks, np.errstate(invalid="ignore"):  # refused by the caller
            warnings.simplefilter("always")
            if suffix in PARQUET:
                frames = [_read_parquet(path, name, layers)]
            else:
                with tempfile.TemporaryDirectory() as folder:
                    frames = _read_layers(_target(path, path, Path(folder)), path, name, layers)
    except UserError:
        raise
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile, ShapelyError) as error:
        raise unusable(path, f"cannot be read as polygons ({error})") from None
    except (DataSourceError, DataLayerError) as error:
        raise unusable(path, f"cannot be read as polygons ({error})") from None
    _tell(path, [str(remark.message) for remark in remarks])
    return frames


def _tell(path: Path, remarks: Sequence[str]) -> None:
    """Tell in our own form what a library has remarked on a file."""
    texts = dict.fromkeys(" ".join(text.split())[:200] for text in remarks if not text.startswith(KNOWN_REMARKS))
    for text in list(texts)[:MOST_REMARKS]:
        log(f"{path.name}: remark of the library that reads it: {text}")


def _read_parquet(path: Path, name: str, layers: Sequence[str]) -> GeoDataFrame:
    import geopandas

    if layers:
        raise UserError(f"{SECTION} layer", list(layers), allowed="is for no Parquet: it has none", remedy="Remove it")
    frame = geopandas.read_parquet(path)
    _require_name(name, [column for column in frame.columns if column != frame.geometry.name], path)
    return frame


def _target(path: Path, shown: Path, folder: Path) -> str:
    """Return what GDAL is to open; what is packed is unpacked into a folder.

    Raises:
        UserError: the content is not what the name says.
    """
    suffix = path.suffix.casefold()
    if suffix == ".gz":
        is_named = Path(path.stem).suffix.casefold() in KINDS
        inner = folder / (path.stem if is_named else f"{path.stem}.geojson")
        with gzip.open(path) as packed, inner.open("wb") as unpacked:
            while chunk := packed.read(CHUNK_BYTES):
                if unpacked.tell() > MOST_UNPACKED:
                    raise unusable(shown, f"unpacks to more than {MOST_UNPACKED >> 30} GB", "Unpack it")
                unpacked.write(chunk)
        return _target(inner, shown, folder)
    if suffix in (".zip", ".kmz"):
        return _target(_unzipped(path, shown, folder), shown, folder)
    if suffix == ".gdb":
        is_what_it_says = path.is_dir() and (path / GDB_TABLE).is_file()
    elif suffix in JSON:
        content = path.read_bytes()
        is_what_it_says = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
        if is_what_it_says:
            _require_known_system(content, shown)
            return f"{_json_driver(content)}:{path}"
    elif suffix == ".kml":
        is_what_it_says = _is_kml(path)
    elif suffix in PARQUET:  # within a packed file, where it is of no use: it is packed itself
        is_what_it_says = False
    else:
        with path.open("rb") as file:
            begin = file.read(128)
        is_what_it_says = begin.startswith(BEGINS[suffix]) and (suffix != ".gpkg" or begin[GPKG_ID] in GPKG_IDS)
    if not is_what_it_says:
        allowed = f"cannot be read as polygons: its content is not that of a {suffix} file"
        raise unusable(shown, allowed, "Fetch it again, or name it as what it is")
    if "!" not in str(path):
        return str(path)
    if "!" in path.name:
        raise unusable(shown, "has a name with '!', which GDAL takes for that of an archive", "Rename it")
    around = folder / "around"  # a way to the file without the '!' of some folder
    around.symlink_to(path.parent.absolute())
    return str(around / path.name)


def _json_driver(content: bytes) -> str:
    """Return the driver for some JSON, by what the three kinds do not share."""
    if not re.search(rb'"type"\s*:\s*"Feature', content):
        if re.search(rb'"type"\s*:\s*"Topology"', content):
            return "TopoJSON"
        if re.search(rb'"(?:rings|esriGeometry\w*)"', content):
            return "ESRIJSON"
    return "GEOJSON"


def _is_kml(path: Path) -> bool:
    """Return whether a file is one XML document whose root is kml, and would be taken for nothing else."""
    if FOREIGN.search(path.read_bytes()):
        return False
    try:
        with path.open("rb") as file:
            _, element = next(ElementTree.iterparse(file, events=("start",)))
            return str(element.tag).rpartition("}")[2] == "kml"
    except (ElementTree.ParseError, StopIteration):
        return False


def _require_known_system(content: bytes, path: Path) -> None:
    """Refuse GeoJSON in an unknown EPSG system, which would be read as degrees without a word."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if named := GEOJSON_SYSTEM.search(content):
        system = f"EPSG:{named[1].decode()}"
        try:
            CRS.from_user_input(system)
        except CRSError:
            allowed = f"names a coordinate system that is not known: {system}"
            raise unusable(path, allowed, "Save it as EPSG:4326") from None


def _unzipped(path: Path, shown: Path, folder: Path) -> Path:
    """Unpack the one file of polygons that a ZIP file holds, with what belongs to it, and return it.

    Raises:
        UserError: it holds none or several, or far too much.
    """
    with zipfile.ZipFile(path) as archive:
        members = [PurePosixPath(info.filename) for info in archive.infolist() if not info.is_dir()]
        whole = [*dict.fromkeys(parent for m in members for parent in m.parents if parent.suffix.casefold() == ".gdb")]
        inside = [m for m in members if m.suffix.casefold() in (*JSON, *BEGINS, ".kml")]
        polygons = whole + [m for m in inside if not any(part in whole for part in m.parents)]
        if len(polygons) != 1:
            named = ", ".join(f"'{member}'" for member in polygons[:MANY])
            allowed = f"holds {len(polygons)} files of polygons" + (f": {named}" if named else "")
            raise unusable(shown, allowed, "Unpack it, and name one of its files")
        (chosen,) = polygons
        parts = [m for m in members if chosen in m.parents or m.with_suffix("") == chosen.with_suffix("")]
        if sum(archive.getinfo(str(part)).file_size for part in parts) > MOST_UNPACKED:
            raise unusable(shown, f"unpacks to more than {MOST_UNPACKED >> 30} GB", "Unpack it")
        for part in parts:
            archive.extract(str(part), folder)
    return folder / chosen


def _read_layers(target: str, path: Path, name: str, layers: Sequence[str]) -> list[GeoDataFrame]:
    import pyogrio

    kinds = {str(layer): kind for layer, kind in pyogrio.list_layers(target)}
    about = {layer: pyogrio.read_info(target, layer=layer) for layer in kinds}
    driver = next((info["driver"] for info in about.values()), "GeoJSON")
    if driver not in DRIVERS:
        raise unusable(path, f"would be read by the driver {driver}, which is not one of those that are allowed")
    fields = {layer: list(info["fields"]) for layer, info in about.items()}
    chosen = list(layers) or [_only_layer(target, kinds, fields, name, path)]
    for layer in chosen:
        if layer not in kinds:
            allowed = f"is no layer of {path.name}, which has {_quoted(kinds)}"
            raise UserError(f"{SECTION} layer", layer, allowed=allowed, remedy=did_you_mean(layer, kinds))
        if about[layer]["features"]:
            _require_name(name, fields[layer], path)
    return [pyogrio.read_dataframe(target, layer=layer, columns=[name]) for layer in chosen]


def _only_layer(target: str, kinds: dict[str, str | None], fields: dict[str, list[str]], name: str, path: Path) -> str:
    """Return the one layer that can be meant: of those that hold polygons, the one with the column of names."""
    if len(kinds) == 1:
        return next(iter(kinds))
    areas = [layer for layer, kind in kinds.items() if kind and _holds_polygons(target, layer, kind)]
    named = [layer for layer in areas if name in fields[layer]] or areas
    if not named:
        raise unusable(path, f"holds no layer of polygons, but {_quoted(kinds)}", "Name a file of polygons")
    if len(named) > 1:
        allowed = f"must name one or a list, for {path.name} has {len(named)} layers of polygons: {_quoted(named)}"
        raise UserError(f"{SECTION} layer", allowed=allowed, remedy=f'Add layer = "{named[0]}"')
    log(f"{path.name}: reading the layer '{named[0]}' of {_quoted(kinds)}")
    return named[0]


def _holds_polygons(target: str, layer: str, kind: str) -> bool:
    """Return whether a layer holds polygons, by its geometries where it does not say so, as those of KML never do."""
    import pyogrio

    if kind != "Unknown" and "Collection" not in kind:
        return "Point" not in kind and "LineString" not in kind
    kinds = pyogrio.read_dataframe(target, layer=layer, columns=[]).geom_type
    return bool(kinds.isin(["Polygon", "MultiPolygon", "GeometryCollection"]).any())


def _quoted(layers: Sequence[str] | dict[str, str | None]) -> str:
    names = list(layers)
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(f"'{layer[:60]}'" for layer in names[:MANY]) + more


def _require_name(name: str, columns: Sequence[str], path: Path) -> None:
    if name not in columns:
        allowed = f"is not a column of {path.name}"
        raise UserError(f"{SECTION} name", name, allowed=allowed, remedy=did_you_mean(name, columns))
