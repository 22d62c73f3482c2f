"""Polygons from every protocol end as one GeoJSON file that geopandas reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest

from hews_gpu.errors import UserError
from hews_gpu.fetch.client import Client, Source
from hews_gpu.fetch.polygons import fetch_polygons, property_names

PATHS = {
    "arcgis": "/arcgis/rest/services/Areas/FeatureServer/0",
    "socrata": "/resource/area-0001",
    "geojson": "/files/areas.geojson",
}


def source(feed: Any, protocol: str) -> Source:
    return Source(field="[fetch] neighborhoods", address=feed.address + PATHS[protocol])


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("page_rows", [1, 1000])
def test_all_polygons_come_in_one_file(
    protocol: str, page_rows: int, feed: Any, client: Client, tmp_path: Path
) -> None:
    feed.max_record_count = page_rows
    count, page = fetch_polygons(client, source(feed, protocol), protocol)
    assert (count, page.rows) == (2, 2)
    assert {"CSA2010", "tpop10"} <= set(property_names(page))
    (tmp_path / "areas.geojson").write_bytes(page.body)
    areas = geopandas.read_file(tmp_path / "areas.geojson")
    assert list(areas["CSA2010"]) == ["Canton", "Harbor East"]
    assert areas.crs.to_epsg() == 4326
    assert areas.geometry.iloc[0].area == pytest.approx(0.04)


def test_rings_of_a_layer_without_geojson_keep_their_holes(feed: Any, client: Client, tmp_path: Path) -> None:
    feed.formats = "JSON"
    _, page = fetch_polygons(client, source(feed, "arcgis"), "arcgis")
    (tmp_path / "areas.geojson").write_bytes(page.body)
    outline = geopandas.read_file(tmp_path / "areas.geojson").geometry.iloc[0]
    assert outline.area == pytest.approx(0.2 * 0.2 - 0.02 * 0.02)
    assert len(outline.interiors) == 1


@pytest.mark.parametrize("protocol", PATHS)
def test_a_feed_without_polygons_is_refused(protocol: str, feed: Any, client: Client) -> None:
    feed.areas = []
    with pytest.raises(UserError, match=r"\[fetch\] neighborhoods = .*has no polygon"):
        fetch_polygons(client, source(feed, protocol), protocol)


def test_a_file_that_is_no_geojson_is_refused(feed: Any, client: Client) -> None:
    elsewhere = Source(field="[fetch] neighborhoods", address=f"{feed.address}/api/views/area-0001.json")
    with pytest.raises(UserError, match="holds no features"):
        fetch_polygons(client, elsewhere, "geojson")
