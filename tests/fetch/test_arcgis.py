"""ArcGIS layers: addresses, errors that come as successes, the two forms of JSON, and limits of the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from shapely.geometry import Point, shape

from hews_gpu.errors import UserError
from hews_gpu.fetch.arcgis import ArcgisTable, _geometry, layer_address
from hews_gpu.fetch.client import Client, Endpoint

LAYER = "/arcgis/rest/services/Crime/FeatureServer/0"


def source(address: str) -> Endpoint:
    return Endpoint(field="[fetch] incidents", address=address)


@pytest.fixture
def table(feed: Any, client: Client) -> Any:
    def make(**options: Any) -> ArcgisTable:
        choose = options.pop("choose", lambda found: ["CrimeDateTime", "Description"])
        return ArcgisTable(client, source(feed.address + LAYER), choose=choose, **options)

    return make


@pytest.mark.parametrize(
    "tail", ["", "/", "/query", "/query/", "/query?where=1%3D1&outFields=*&f=geojson", "?f=json", "?"]
)
def test_any_address_of_a_layer_is_understood(tail: str) -> None:
    address = "https://host/ArcGIS/rest/services/Crime/FeatureServer/0"
    assert layer_address(source(address + tail)) == address


@pytest.mark.parametrize("address", ["https://host/x/FeatureServer", "https://host/", "https://host/x/FeatureServer/a"])
def test_what_is_no_layer_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"\[fetch\] incidents = .*must be a layer's address.*FeatureServer/0"):
        layer_address(source(address))


def test_pages_go_by_object_id_within_the_filter(table: Any, feed: Any) -> None:
    crime = table(where="Description = 'BURGLARY' OR Description = 'SHOOTING'", page_rows=7)
    first = crime.page(None)
    second = crime.page(first.keys[-1])
    assert len(first.keys) == len(second.keys) == 7
    assert [*first.keys, *second.keys] == sorted({*first.keys, *second.keys})
    query = feed.page_requests[-1]
    assert query["where"] == f"(Description = 'BURGLARY' OR Description = 'SHOOTING') AND RowID > {first.keys[-1]}"
    assert query["orderByFields"] == "RowID ASC"
    kinds = {f["properties"]["Description"] for page in (first, second) for f in json.loads(page.body)["features"]}
    assert kinds == {"BURGLARY", "SHOOTING"}
    assert crime.count() == feed.select("count(*) AS n", crime.where)[0]["n"]


def test_no_more_rows_are_asked_for_than_the_layer_gives(table: Any, feed: Any) -> None:
    feed.max_record_count = 8
    assert table(page_rows=20).page(None).rows == 8
    assert feed.page_requests[-1]["resultRecordCount"] == "8"


def test_dates_and_answers_stay_as_the_feed_gives_them(table: Any) -> None:
    page = table().page(None)
    first = json.loads(page.body)["features"][0]
    assert first["properties"] == {"RowID": 3, "CrimeDateTime": 1_400_000_180_000, "Description": "BURGLARY"}
    assert first["geometry"]["type"] == "Point"


def test_a_layer_without_geojson_gives_the_same_rows(table: Any, feed: Any) -> None:
    expected = json.loads(table().page(None).body)["features"]
    feed.formats = "JSON"
    page = table().page(None)
    assert feed.page_requests[-1]["f"] == "json"
    got = json.loads(page.body)
    assert got["type"] == "FeatureCollection"
    assert [f["properties"] for f in got["features"]] == [f["properties"] for f in expected]
    assert [f["geometry"] for f in got["features"]] == [f["geometry"] for f in expected]


def test_columns_that_a_layer_sends_unasked_are_not_kept(table: Any, feed: Any) -> None:
    feed.sends_all_fields = True
    page = table().page(None)
    assert set(json.loads(page.body)["features"][0]["properties"]) == {"RowID", "CrimeDateTime", "Description"}
    assert b"secret" not in page.body


def test_an_error_with_status_200_is_recognized(table: Any) -> None:
    with pytest.raises(UserError, match=r"error 400: Unable to perform query.; 'where' is invalid.*\[fetch\] where"):
        table(where="Nonsense = 3").count()


@pytest.mark.parametrize(
    ("error", "expected", "attempts"),
    [
        ({"code": 499, "message": "Token Required"}, "error 499: Token Required.*sign-in", 1),
        ({"code": 503, "message": "Busy"}, "error 503: Busy.*tried 6 times", 6),
        ({"code": 429, "message": "Too many"}, "error 429.*tried 6 times", 6),
        ({"message": "odd"}, "error None: odd", 1),
        ("odd", "error None: odd", 1),
    ],
)
def test_errors_of_the_feed_are_repeated_only_if_they_may_pass(
    error: Any, expected: str, attempts: int, table: Any, feed: Any, answer_fault: Any
) -> None:
    crime = table()
    feed.faults.extend([answer_fault(json.dumps({"error": error}).encode())] * 6)
    with pytest.raises(UserError, match=expected):
        crime.page(None)
    assert len(feed.page_requests) == attempts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "JSON of an unknown form"),
        ({"features": "none"}, "holds no features"),
        ({"features": [3]}, "holds no features"),
        ({"features": [{"properties": "x"}]}, "holds no features"),
        ({"features": [{"properties": {"Description": "THEFT"}}]}, "a row without its 'RowID'"),
    ],
)
def test_json_of_another_form_is_refused(content: Any, expected: str, table: Any, feed: Any, answer_fault: Any) -> None:
    crime = table()
    feed.faults.extend([answer_fault(json.dumps(content).encode())] * 6)
    with pytest.raises(UserError, match=expected):
        crime.page(None)


def test_a_layer_that_cannot_be_paged_is_refused(table: Any, feed: Any) -> None:
    feed.paginates = False
    with pytest.raises(UserError, match=r"cannot be read in pages.*by hand"):
        table()


def test_an_address_that_leads_elsewhere_is_refused(feed: Any, client: Client) -> None:
    elsewhere = source(f"{feed.address}/arcgis/rest/services/Areas/FeatureServer/0/query")
    assert ArcgisTable(client, elsewhere, choose=list).key == "OBJECTID"
    with pytest.raises(UserError, match="is not a layer or table with fields"):
        ArcgisTable(client, source(f"{feed.address}/arcgis/rest/info/FeatureServer/1"), choose=list)


@pytest.mark.parametrize("turn", range(8))
@pytest.mark.parametrize("way", [1, -1])
def test_a_ring_may_begin_anywhere_and_go_either_way(turn: int, way: int) -> None:
    """Every other vertex lies in the middle of a side, where a ring does not turn."""
    square = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    ring = (square[turn:] + square[:turn])[::way]
    hole = [(x / 4 + 0.5, y / 4 + 0.5) for x, y in ring]
    apart = [(x + 5, y) for x, y in ring]
    outline = shape(_geometry({"rings": [[*one, one[0]] for one in (ring, hole, apart)]}))
    assert outline.area == pytest.approx(4 - 0.25 + 4) and len(outline.geoms) == 2
    assert not outline.contains(Point(0.75, 0.75)) and outline.contains(Point(6, 1))
