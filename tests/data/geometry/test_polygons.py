"""Reading polygons of every kind, and the one neighborhood of each point."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import geopandas
import numpy as np
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.geometry.polygons import load_neighborhoods
from hews_gpu.errors import UserError
from tests.data.toy import EAST, TWO_SQUARES, WEST, geojson, square

Toy = Callable[..., CityConfig]


def frame(*polygons: Any) -> geopandas.GeoDataFrame:
    names = [f"area {i}" for i in range(len(polygons))]
    return geopandas.GeoDataFrame({"name": names}, geometry=list(polygons), crs="EPSG:4326")


def test_names_and_outlines_only_and_in_the_order_of_the_file(toy: Toy) -> None:
    found = load_neighborhoods(toy())
    assert list(found.columns) == ["name", "geometry", "was_repaired"]
    assert found["name"].tolist() == ["West", "East"]
    assert found.crs == "EPSG:4326" and not found["was_repaired"].any()
    np.testing.assert_array_equal(found.total_bounds, [WEST[0], WEST[1], EAST[2], EAST[3]])


@pytest.mark.parametrize("kind", ["geojson", "geojson.gz", "gpkg", "parquet", "shp"])
def test_any_format_and_any_coordinate_system(toy: Toy, kind: str) -> None:
    city = toy()
    folder = city.path.parent
    source = geopandas.read_file(folder / "areas.geojson").to_crs("EPSG:32618")
    path = folder / f"other.{kind}"
    if kind == "parquet":
        source.to_parquet(path)
    elif kind == "geojson.gz":
        path.write_bytes(gzip.compress(source.to_json().encode()))
    else:
        source.to_file(path)
    city.path.write_text(city.path.read_text().replace("areas.geojson", path.name))
    found = load_neighborhoods(load_city(city.path))
    assert found["name"].tolist() == ["West", "East"] and list(found.columns) == ["name", "geometry", "was_repaired"]
    np.testing.assert_allclose(found.total_bounds, [WEST[0], WEST[1], EAST[2], EAST[3]], atol=1e-6)


def test_a_file_without_coordinate_system_is_taken_for_degrees_and_said_so(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    city = toy()
    path = city.path.parent / "plain.parquet"
    geopandas.read_file(city.path.parent / "areas.geojson").set_crs(None, allow_override=True).to_parquet(path)
    city.path.write_text(city.path.read_text().replace("areas.geojson", path.name))
    assert load_neighborhoods(load_city(city.path)).crs == "EPSG:4326"
    assert "names no coordinate system" in capsys.readouterr().err


def test_an_invalid_ring_is_repaired_and_said_so(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    bow_tie = square("Bow", *WEST)
    bow_tie["geometry"]["coordinates"] = [[[0, 0], [0.1, 0.1], [0.1, 0], [0, 0.1], [0, 0]]]
    found = load_neighborhoods(toy(areas=geojson([TWO_SQUARES[0], bow_tie])))
    assert found["was_repaired"].tolist() == [False, True]
    assert found.geometry.is_valid.all() and found.geometry[1].area == pytest.approx(0.005)
    assert set(found.geom_type) <= {"Polygon", "MultiPolygon"}
    assert "repaired 1 polygons with invalid rings: Bow" in capsys.readouterr().err


POINT = {"type": "Feature", "properties": {"Name": "x"}, "geometry": {"type": "Point", "coordinates": [0, 0]}}
NOTHING = {"type": "Feature", "properties": {"Name": "x"}, "geometry": None}


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        (geojson([]), "holds no polygons"),
        (geojson([POINT]), "holds no polygons"),
        (geojson([NOTHING]), "holds no polygons"),
        ("", "cannot be read as polygons"),
        ("{not json", "cannot be read as polygons"),
        (geojson([square("A", *WEST), square("A", *EAST)]), "more than one polygon, such as 'A'"),
        (geojson([square("A", *WEST), square(None, *EAST)]), "have no name"),
        (geojson([square("A", *WEST), square("  ", *EAST)]), "have no name"),
        (geojson([square("A", float("nan"), *WEST[1:])]), "cannot be read as polygons"),
        (geojson(TWO_SQUARES).replace("-76.62, 39.29", "NaN, 39.29"), "a coordinate that is not a number"),
        (geojson(TWO_SQUARES, crs="EPSG:999999"), "names a coordinate system that is not known: EPSG:999999"),
        (geojson([square("A", 1.4e6, 5e5, 1.5e6, 6e5)]), "not degrees"),
        (geojson([square("A", 179.9, -17, -179.9, -16)]), "'A' reaches from one side of the 180th meridian"),
        (geojson([square("A", 179.9, -17, 180, -16), square("B", -180, -17, -179.9, -16)]), "it reaches from one side"),
        (
            json.dumps({"type": "FeatureCollection", "features": [{**TWO_SQUARES[0], "properties": {"Nam": "A"}}]}),
            "Nam",
        ),
    ],
)
def test_polygons_that_cannot_be_used_are_refused_in_one_line(toy: Toy, areas: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_neighborhoods(toy(areas=areas))
    assert "\n" not in str(caught.value) and "[neighborhoods]" in str(caught.value)


def test_damaged_gzip_bytes_are_refused_in_one_line(toy: Toy) -> None:
    city = toy()
    packed = bytearray(gzip.compress((city.path.parent / "areas.geojson").read_bytes()))
    packed[10:40] = b"\xff" * 30
    (city.path.parent / "areas.gz").write_bytes(packed)
    city.path.write_text(city.path.read_text().replace("areas.geojson", "areas.gz"))
    with pytest.raises(UserError, match="cannot be read as polygons") as caught:
        load_neighborhoods(load_city(city.path))
    assert "\n" not in str(caught.value)


def test_a_missing_or_cut_off_file_is_refused(toy: Toy) -> None:
    city = toy()
    areas = city.path.parent / "areas.geojson"
    whole = gzip.compress(areas.read_bytes())
    areas.unlink()
    with pytest.raises(UserError, match="does not exist"):
        load_neighborhoods(city)
    (city.path.parent / "areas.gz").write_bytes(whole[: len(whole) // 2])
    city.path.write_text(city.path.read_text().replace("areas.geojson", "areas.gz"))
    with pytest.raises(UserError, match="cannot be read as polygons"):
        load_neighborhoods(load_city(city.path))
