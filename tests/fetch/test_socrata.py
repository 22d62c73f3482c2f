"""Socrata datasets: addresses, the token, row ids without an order of their own, pages that are not whole."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from hews_gpu.errors import UserError
from hews_gpu.fetch.client import Client, Endpoint
from hews_gpu.fetch.socrata import SocrataTable


def source(address: str) -> Endpoint:
    return Endpoint(field="[fetch] incidents", address=address)


@pytest.fixture
def table(feed: Any, client: Client) -> Any:
    def make(**options: Any) -> SocrataTable:
        choose = options.pop("choose", lambda found: ["crimedatetime", "description"])
        return SocrataTable(client, source(f"{feed.address}/resource/crim-0001"), choose=choose, **options)

    return make


@pytest.mark.parametrize(
    "path",
    [
        "/resource/crim-0001",
        "/resource/crim-0001.json?$limit=5",
        "/resource/crim-0001.csv",
        "/d/crim-0001",
        "/Public-Safety/Crimes-2001-to-Present/crim-0001/about_data",
    ],
)
def test_any_address_of_a_dataset_is_understood(path: str, feed: Any, client: Client) -> None:
    table = SocrataTable(client, source(feed.address + path), choose=lambda found: ["description"])
    assert table.address == f"{feed.address}/resource/crim-0001"


@pytest.mark.parametrize("path", ["", "/", "/resource/crimes", "/resource/crim-00012"])
def test_what_is_no_dataset_is_refused(path: str, client: Client) -> None:
    with pytest.raises(UserError, match=r"\[fetch\] incidents = .*must hold a dataset's id"):
        SocrataTable(client, source(f"https://feed.invalid{path}"), choose=list)


def test_pages_follow_each_other_although_row_ids_are_not_in_order_of_text(table: Any, feed: Any) -> None:
    crimes = table(page_rows=20)
    assert feed.row_ids() != sorted(feed.row_ids())
    keys: list[Any] = []
    for _ in range(3):
        keys += crimes.page(keys[-1] if keys else None).keys
    assert keys == feed.row_ids()
    assert crimes.page(keys[-1]).rows == 0


def test_filter_and_key_go_together(table: Any, feed: Any) -> None:
    crimes = table(where="description = 'SHOOTING' OR description = 'BURGLARY'", page_rows=5)
    page = crimes.page(crimes.page(None).keys[-1])
    assert feed.page_requests[-1]["$where"].startswith(
        "(description = 'SHOOTING' OR description = 'BURGLARY') AND :id > 'row-"
    )
    rows = list(csv.DictReader(io.StringIO(page.body.decode(), newline="")))
    assert {row["description"] for row in rows} <= {"SHOOTING", "BURGLARY"}
    assert len(rows) == 5


def test_quotes_in_a_key_cannot_leave_the_filter(table: Any) -> None:
    assert table()._filter("a' OR '1'='1") == {"$where": ":id > 'a'' OR ''1''=''1'"}


def test_quoted_commas_and_line_ends_are_part_of_a_row(table: Any, feed: Any) -> None:
    page = table(page_rows=50).page(None)
    assert page.rows == 50
    assert b'""OTHER""\nTHEFT' in page.body


def test_the_token_goes_into_a_header_only(table: Any, feed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = table().page(None)
    assert not any("X-App-Token" in headers for _, _, headers in feed.requests)
    monkeypatch.setenv("HEWS_SOCRATA_APP_TOKEN", "t0ken")
    again = table().page(None)
    assert feed.requests[-1][2]["X-App-Token"] == "t0ken"
    assert "t0ken" not in again.url and again.url == page.url


@pytest.mark.parametrize("token", ["t0ken\nX-Other: 1", "t0 ken", "tökén"])
def test_what_is_no_token_is_refused_and_not_shown(table: Any, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("HEWS_SOCRATA_APP_TOKEN", token)
    with pytest.raises(UserError, match="HEWS_SOCRATA_APP_TOKEN: must be one word") as caught:
        table()
    assert token[:2] not in str(caught.value)


def test_the_token_never_travels_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEWS_SOCRATA_APP_TOKEN", "t0ken")
    endpoint = Endpoint(field="[fetch] incidents", address="http://data.invalid/resource/ijzp-q8t2")
    with pytest.raises(UserError, match="would show the token") as caught:
        SocrataTable(Client(), endpoint, choose=list)
    assert "t0ken" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected", "attempts"),
    [
        (
            b'{"error": true, "code": "query.compiler", "message": "No such column"}',
            "query.compiler: No such column",
            1,
        ),
        (b'[{"a": 1}]', "answered with the columns", 6),
        (b'{"a": 1}', "JSON instead of CSV", 6),
        (b"<html>", "web page", 6),
        (b"", "answered with the columns none", 6),
        (b'":id","description"\n', "answered with the columns :id, description", 6),
        (b'":id","crimedatetime","description"\n"row-1","2","THE', "middle of a row", 6),
        (b'":id","crimedatetime","description"\n"row-1","2"\n', "middle of a row", 6),
        (b'":id","crimedatetime","description"\n"row-1","2","THEFT"', "middle of a row", 6),
        (b'":id","crimedatetime","description"\n"row-1","2","\xff"\n', "not UTF-8", 6),
    ],
)
def test_what_is_not_a_whole_page_is_not_accepted(
    body: bytes, expected: str, attempts: int, table: Any, feed: Any, answer_fault: Any
) -> None:
    crimes = table()
    feed.faults.extend([answer_fault(body)] * 6)
    with pytest.raises(UserError, match=expected):
        crimes.page(None)
    assert len(feed.page_requests) == attempts
