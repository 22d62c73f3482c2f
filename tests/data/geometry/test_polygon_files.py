"""Which files of polygons are opened, by which driver, and which of their layers are read."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import geopandas
import pytest
import shapely

from hews_gpu.data.geometry.polygon_files import KINDS, read_polygons
from hews_gpu.errors import UserError
from tests.data.toy import TWO_SQUARES, geojson

DRIVERS = {"gpkg": "GPKG", "gdb": "OpenFileGDB", "kml": "LIBKML", "shp": "ESRI Shapefile", "fgb": "FlatGeobuf"}


def squares(*names: str, east: float = 0.0) -> geopandas.GeoDataFrame:
    shapes = [shapely.box(i + east, 0, i + east + 1, 1) for i in range(len(names))]
    return geopandas.GeoDataFrame({"Name": list(names), "age": 1.5}, geometry=shapes, crs="EPSG:4326")


STATIONS = geopandas.GeoDataFrame({"Name": ["S"]}, geometry=[shapely.Point(0, 0)], crs="EPSG:4326")
NORTH, SOUTH = squares("A", "B"), squares("C", east=5)


def write(path: Path, **layers: geopandas.GeoDataFrame) -> Path:
    for number, (layer, frame) in enumerate(layers.items()):
        frame.to_file(path, layer=layer, driver=DRIVERS[path.suffix[1:]], mode="a" if number else "w")
    return path


def names(path: Path, *layers: str) -> list[str]:
    return [name for frame in read_polygons(path, "Name", layers) for name in frame["Name"]]


@pytest.mark.parametrize("kind", ["gpkg", "gdb", "kml"])
def test_of_several_layers_all_are_named_and_one_or_more_must_be_chosen(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"two.{kind}", north=NORTH, south=SOUTH, stations=STATIONS)
    message = r"\[neighborhoods\] layer: must name one or a list.*has 2 layers of polygons: .north., .south.\. Add"
    with pytest.raises(UserError, match=message):
        names(path)
    assert names(path, "south") == ["C"] and names(path, "south", "north") == ["C", "A", "B"]
    message = r"layer = 'nort': is no layer of two\.\w+, which has 'north', 'south', 'stations'\. Did you mean"
    with pytest.raises(UserError, match=message):
        names(path, "nort")


@pytest.mark.parametrize("kind", ["gpkg", "gdb", "kml"])
def test_the_only_layer_of_polygons_is_read_and_said_so(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / f"one.{kind}", stations=STATIONS, north=NORTH)
    assert names(path) == ["A", "B"]
    assert "reading the layer 'north' of 'stations', 'north'" in capsys.readouterr().err


def test_the_column_of_names_tells_which_layer_is_meant(tmp_path: Path) -> None:
    beats = squares("1").rename(columns={"Name": "beat"})
    path = write(tmp_path / "a.gpkg", beats=beats, north=NORTH)
    assert names(path) == ["A", "B"]
    with pytest.raises(UserError, match=r"name = 'Name': is not a column of a\.gpkg"):
        names(path, "beats")


@pytest.mark.parametrize("kind", ["geojson", "fgb", "shp", "parquet"])
def test_a_layer_that_a_file_cannot_have_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    NORTH.to_parquet(path) if kind == "parquet" else NORTH.to_file(path)
    assert sorted(names(path)) == ["A", "B"]
    with pytest.raises(UserError, match=r"\[neighborhoods\] layer"):
        names(path, "elsewhere")


@pytest.mark.parametrize("folder", ["a?b#c", "x!y.zip", "[x]", "100%", "*"])
@pytest.mark.parametrize("kind", ["geojson", "gpkg", "shp", "kml", "geojson.gz"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str, kind: str) -> None:
    plain, path = tmp_path / "plain", tmp_path / folder / f"a.{kind}"
    plain.mkdir()
    if kind == "geojson.gz":
        (plain / path.name).write_bytes(gzip.compress(geojson(TWO_SQUARES).encode()))
    else:
        NORTH.to_file(plain / path.name, **({"driver": "LIBKML"} if kind == "kml" else {}))
    plain.rename(tmp_path / folder)  # the library that writes them knows no such folder
    assert names(path) == (["West", "East"] if kind == "geojson.gz" else ["A", "B"])


def test_a_name_that_the_library_takes_for_that_of_an_archive_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", north=NORTH).rename(tmp_path / "a!b.gpkg")
    with pytest.raises(UserError, match=r"has a name with '!'.*Rename it"):
        names(tmp_path / "a!b.gpkg")


@pytest.mark.parametrize("kind", ["gdb", "shp", "gpkg", "kml"])
def test_a_zip_file_with_one_file_of_polygons(tmp_path: Path, kind: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    write(inside / f"a.{kind}", north=NORTH)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
        for path in sorted(inside.rglob("*")):
            archive.write(path, path.relative_to(inside))
    assert names(tmp_path / "a.zip") == ["A", "B"]
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("other/b.geojson", geojson(TWO_SQUARES))
    with pytest.raises(UserError, match=rf"holds 2 files of polygons: 'a\.{kind}', 'other/b\.geojson'\. Unpack it"):
        names(tmp_path / "a.zip")


def test_packed_kinds(tmp_path: Path) -> None:
    write(tmp_path / "a.kml", north=NORTH)
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as archive:
        archive.write(tmp_path / "a.kml", "doc.kml")
        archive.writestr("files/icon.png", b"")
    write(tmp_path / "b.gpkg", north=NORTH, south=SOUTH)
    (tmp_path / "b.gpkg.gz").write_bytes(gzip.compress((tmp_path / "b.gpkg").read_bytes()))
    assert names(tmp_path / "a.kmz") == ["A", "B"] and names(tmp_path / "b.gpkg.gz", "south") == ["C"]
    (tmp_path / "areas.2020.gz").write_bytes(gzip.compress(geojson(TWO_SQUARES).encode()))
    assert names(tmp_path / "areas.2020.gz") == ["West", "East"]


def test_packed_files_that_are_of_no_use_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NORTH.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    with pytest.raises(UserError, match=r"its content is not that of a \.parquet file"):
        names(tmp_path / "a.parquet.gz")
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as archive:
        archive.writestr("a.geojson", geojson(TWO_SQUARES))
    content = bytearray((tmp_path / "locked.zip").read_bytes())
    content[6] |= 1  # of the member's own header, and of the list of members: it is encrypted
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as polygons \(.*encrypted"):
        names(tmp_path / "locked.zip")
    large = geojson(TWO_SQUARES).encode() + b" " * (2 << 20)
    (tmp_path / "large.gz").write_bytes(gzip.compress(large))
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as archive:
        archive.writestr("a.geojson", large)
    monkeypatch.setattr("hews_gpu.data.geometry.polygon_files.MOST_UNPACKED", 1000)
    for name in ("large.gz", "large.zip"):
        with pytest.raises(UserError, match="unpacks to more than"):
            names(tmp_path / name)


def test_topojson_and_the_json_of_a_feed(tmp_path: Path) -> None:
    ring = [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]
    topology = {
        "type": "Topology",
        "objects": {"areas": {"type": "GeometryCollection", "geometries": [
            {"type": "Polygon", "arcs": [[0]], "properties": {"Name": "A"}}]}},
        "arcs": [ring],
    }  # fmt: skip
    feed = {
        "geometryType": "esriGeometryPolygon",
        "spatialReference": {"wkid": 4326},
        "fields": [{"name": "Name", "type": "esriFieldTypeString"}],
        "features": [{"attributes": {"Name": "A"}, "geometry": {"rings": [ring]}}],
    }
    for content in (topology, feed):
        (tmp_path / "a.json").write_text(json.dumps(content))
        (frame,) = read_polygons(tmp_path / "a.json", "Name")
        assert frame["Name"].tolist() == ["A"] and frame.geometry[0].area == 1


@pytest.fixture
def visitors() -> Iterator[tuple[int, list[bytes]]]:
    """Listen on a port, and list what anybody who calls there says."""
    calls: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                calls.append(caller.recv(1000))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield server.getsockname()[1], calls
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/vsicurl/http://127.0.0.1:{port}/a.geojson</SrcDataSource>'
    "<SrcLayer>a</SrcLayer></OGRVRTLayer></OGRVRTDataSource>"
)
ALGORITHM = json.dumps(
    {
        "type": "gdal_streamed_alg",
        "command_line": "gdal vector pipeline ! read /vsicurl/http://127.0.0.1:{port}/a.geojson ! write x",
    }
).replace("{port}", "PORT")
SERVICE = "<OGRWFSDataSource><URL>http://127.0.0.1:{port}/wfs</URL></OGRWFSDataSource>"
FOREIGN = {
    "a list of sources": VRT,
    "a command": ALGORITHM,
    "a service": SERVICE,
    "a list after a document": f'<kml xmlns="http://www.opengis.net/kml/2.2"></kml>{VRT}',
    "a list in a document": f'<kml xmlns="http://www.opengis.net/kml/2.2">{VRT}</kml>',
    "a command with features": ALGORITHM.replace('{"type"', '{"x": {"type": "FeatureCollection"}, "type"', 1),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (".zip", ".kmz", ".gdb")])
@pytest.mark.parametrize("content", FOREIGN)
def test_no_name_makes_a_driver_of_another_kind_open_a_file(
    tmp_path: Path, kind: str, content: str, visitors: tuple[int, list[bytes]]
) -> None:
    port, calls = visitors
    text = FOREIGN[content].replace("{port}", str(port)).replace("PORT", str(port)).encode()
    packed = {"a.kmz": "doc.kml", "b.zip": "b.geojson", "c.zip": "c.kml"}
    for name, member in packed.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, text)
    (tmp_path / f"a{kind}").write_bytes(gzip.compress(text) if kind == ".gz" else text)
    for path in (tmp_path / f"a{kind}", *(tmp_path / name for name in packed)):
        with pytest.raises(UserError, match="cannot be read as polygons") as caught:
            names(path)
        assert "\n" not in str(caught.value)
    assert not calls


def test_the_server_of_the_test_above_is_heard(visitors: tuple[int, list[bytes]], tmp_path: Path) -> None:
    port, calls = visitors
    (tmp_path / "a.geojson").write_text(VRT.replace("{port}", str(port)))
    read = [sys.executable, "-c", "import pyogrio; pyogrio.read_dataframe('a.geojson')"]
    subprocess.run(read, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert calls and b"/a.geojson" in calls[0]


@pytest.mark.parametrize("name", ["a.vrt", "a.gml", "a.csv", "a", "a.xlsx"])
def test_other_kinds_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(geojson(TWO_SQUARES))
    with pytest.raises(UserError, match=r"is of a kind that is not read; these are: \.geojson, .*Convert it"):
        names(tmp_path / name)


def test_a_sqlite_file_or_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", north=NORTH)
    content = bytearray(path.read_bytes())
    content[68:72] = bytes(4)
    path.write_bytes(content)
    (tmp_path / "b.gdb").mkdir()
    for name in ("a.gpkg", "b.gdb"):
        with pytest.raises(UserError, match=r"its content is not that of a \.g"):
            names(tmp_path / name)


def test_what_a_library_remarks_is_told_in_one_line_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    import pyogrio

    def read(*args: object, **kwargs: object) -> geopandas.GeoDataFrame:
        for text in ("Measured (M) geometry types are not supported. Original", "odd\nthing", "odd thing"):
            warnings.warn(text, stacklevel=2)
        return NORTH

    monkeypatch.setattr(pyogrio, "read_dataframe", read)
    path = write(tmp_path / "a.gpkg", north=NORTH)
    assert names(path) == ["A", "B"]
    assert capsys.readouterr().err == "a.gpkg: remark of the library that reads it: odd thing\n"
