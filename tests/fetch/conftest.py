"""A local server that speaks ArcGIS and Socrata over one generated table, and stumbles when told to.

The table lives in SQLite, so that filters, orders and limits are evaluated, not imitated. Socrata's row ids are made so
that their order is not that of their text, as on the real portals.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import re
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.fetch.client import Client, Clock, RequestPolicy

COLUMNS = ("RowID", "CrimeDateTime", "Description", "Latitude", "Longitude", "Age", "Gender", "Race", "Internal_Note")
SYSTEM = ("row_id", "position")
SQUARE = [[-76.7, 39.2], [-76.7, 39.4], [-76.5, 39.4], [-76.5, 39.2], [-76.7, 39.2]]
HOLE = [[-76.62, 39.28], [-76.6, 39.28], [-76.6, 39.3], [-76.62, 39.3], [-76.62, 39.28]]
AREAS = [
    {"OBJECTID": 1, "CSA2010": "Canton", "tpop10": 8100},
    {"OBJECTID": 2, "CSA2010": "Harbor East", "tpop10": 5400},
]


class Fault:
    """What goes wrong with one answer."""

    def __init__(self, kind: str, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.kind, self.status, self.headers, self.body = kind, status, headers or {}, body


class Feed:
    """The table, the faults to come, and what was asked."""

    def __init__(self, rows: int) -> None:
        self.lock = threading.Lock()
        self.base = sqlite3.connect(":memory:", check_same_thread=False)
        self.base.execute(f"CREATE TABLE rows ({', '.join((*COLUMNS, *SYSTEM))})")
        self.last_row = 0
        self.insert(rows)
        self.edited = 1_700_000_000_000
        self.faults: deque[Fault] = deque()
        self.page_requests: list[dict[str, str]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.before_page: Callable[[int], None] = lambda number: None
        self.max_record_count = 1000
        self.formats = "JSON, geoJSON, PBF"
        self.gzipped = False
        self.ignores_filter = False
        self.sends_all_fields = False
        self.paginates = True
        self.counts_as: int | None = None
        self.release = threading.Event()
        self.address = ""
        self.areas = AREAS

    def insert(self, rows: int) -> None:
        """Add rows; ids leave gaps, as in a table that was edited."""
        for _ in range(rows):
            self.last_row += 3
            n = self.last_row
            token = hashlib.sha256(str(n).encode()).hexdigest()
            kind = "SHOOTING" if n % 7 == 0 else 'LARCENY, "OTHER"\nTHEFT' if n % 11 == 0 else "BURGLARY"
            place = (39.2 + n % 19 / 100, -76.7 + n % 17 / 100)
            row = (n, 1_400_000_000_000 + n * 60_000, kind, *place, 30, "M", "W", "secret")
            ids = (f"row-{token[:4]}-{token[4:8]}-{token[8:12]}", n)
            self.base.execute(f"INSERT INTO rows VALUES ({','.join('?' * 11)})", (*row, *ids))

    def delete(self, row: int) -> None:
        self.base.execute("DELETE FROM rows WHERE RowID = ?", (row,))

    def keys(self) -> list[int]:
        return [key for (key,) in self.base.execute("SELECT RowID FROM rows ORDER BY RowID")]

    def row_ids(self) -> list[str]:
        return [key for (key,) in self.base.execute("SELECT row_id FROM rows ORDER BY position")]

    def select(self, columns: str, where: str, order: str = "", limit: int = -1) -> list[dict[str, Any]]:
        cursor = self.base.execute(f"SELECT {columns} FROM rows WHERE {where} {order} LIMIT {limit}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    feed: Feed

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        with self.feed.lock:
            self.feed.requests.append((parts.path, query, dict(self.headers)))
            is_page = parts.path.endswith(".csv") or ("/Crime/" in parts.path and "resultRecordCount" in query)
            if is_page:
                self.feed.page_requests.append(query)
                self.feed.before_page(len(self.feed.page_requests))
            fault = self.feed.faults.popleft() if is_page and self.feed.faults else None
            content, kind = self._answer(parts.path, query)
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._send(body, kind, fault)

    def _send(self, body: bytes, kind: str, fault: Fault | None) -> None:
        headers = {"Content-Type": kind}
        if self.feed.gzipped and "gzip" in self.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        if fault is not None:
            headers |= fault.headers
        if fault is not None and fault.kind == "answer":
            body, headers = fault.body, {"Content-Type": "text/plain", **fault.headers}
        if fault is not None and fault.kind == "slow":
            self.feed.release.wait(2.0)
            self.close_connection = True
            return
        self.send_response(fault.status if fault is not None else 200)
        for header, value in headers.items():
            self.send_header(header, value)
        if fault is not None and fault.kind == "cut unannounced":
            body = body[: len(body) // 2]
        else:
            self.send_header("Content-Length", str(len(body)))
        if fault is not None and fault.kind.startswith("cut"):
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault is not None and fault.kind == "cut" else body)

    def _answer(self, path: str, query: dict[str, str]) -> tuple[Any, str]:
        """The content and its type."""
        if path.startswith("/arcgis/"):
            return self._arcgis(path, query), "application/json"
        if path.startswith("/api/views/"):
            names = COLUMNS if "crim-0001" in path else ("the_geom", "community")
            columns = [{"fieldName": name.lower(), "dataTypeName": "text"} for name in names]
            return {"columns": columns, "rowsUpdatedAt": self.feed.edited}, "application/json"
        if path.endswith(".geojson"):
            return _collection([_area(area) for area in self.feed.areas]), "application/vnd.geo+json"
        if path == "/resource/area-0001.json":
            return [{"count": str(len(self.feed.areas))}], "application/json"
        return self._socrata(path, query)

    def _arcgis(self, path: str, query: dict[str, str]) -> Any:
        is_crime = "/Crime/" in path
        if path.endswith("/query"):
            try:
                return self._arcgis_query(query) if is_crime else self._arcgis_areas(query)
            except sqlite3.Error as error:
                details = [f"'where' is invalid: {error}"]
                return {"error": {"code": 400, "message": "Unable to perform query.", "details": details}}
        if not path.endswith("/0"):
            return {"currentVersion": 11.4}
        key = "RowID" if is_crime else "OBJECTID"
        names = COLUMNS if is_crime else tuple(AREAS[0])
        return {
            "name": "Crime",
            "objectIdField": key,
            "maxRecordCount": self.feed.max_record_count,
            "supportedQueryFormats": self.feed.formats,
            "advancedQueryCapabilities": {"supportsPagination": self.feed.paginates, "supportsOrderBy": True},
            "editingInfo": {"lastEditDate": self.feed.edited},
            "dateFieldsTimeReference": {"timeZone": "Eastern Standard Time", "timeZoneIANA": "America/New_York"},
            "fields": [{"name": n, "type": "esriFieldTypeOID" if n == key else "esriFieldTypeString"} for n in names],
        }

    def _arcgis_query(self, query: dict[str, str]) -> Any:
        feed = self.feed
        where = "1=1" if feed.ignores_filter else query["where"]
        if query.get("returnCountOnly") == "true":
            count = feed.select("count(*) AS n", query["where"])[0]["n"]
            return {"count": count if feed.counts_as is None else feed.counts_as}
        limit = min(int(query["resultRecordCount"]), feed.max_record_count)
        assert query["outSR"] == "4326"
        columns = ",".join(COLUMNS) if feed.sends_all_fields else query["outFields"]
        found = feed.select(
            f"{columns}, Latitude AS y, Longitude AS x", where, f"ORDER BY {query['orderByFields']}", limit + 1
        )
        exceeded, found = len(found) > limit, found[:limit]
        points = [(row.pop("x"), row.pop("y")) for row in found]
        if query["f"] == "json":
            features = [
                {"attributes": r, "geometry": {"x": x, "y": y}} for r, (x, y) in zip(found, points, strict=True)
            ]
            return {"features": features, "exceededTransferLimit": exceeded}
        features = [
            {"type": "Feature", "id": r["RowID"], "geometry": {"type": "Point", "coordinates": p}, "properties": r}
            for r, p in zip(found, points, strict=True)
        ]
        return {**_collection(features), **({"properties": {"exceededTransferLimit": True}} if exceeded else {})}

    def _arcgis_areas(self, query: dict[str, str]) -> Any:
        if query.get("returnCountOnly") == "true":
            return {"count": len(self.feed.areas)}
        after = int((re.search(r"OBJECTID > (\d+)", query["where"]) or ["", "0"])[1])
        there = [area for area in self.feed.areas if area["OBJECTID"] > after][: int(query["resultRecordCount"])]
        if query["f"] == "json":
            return {"features": [{"attributes": area, "geometry": {"rings": [SQUARE, HOLE]}} for area in there]}
        return _collection([_area(area) for area in there])

    def _socrata(self, path: str, query: dict[str, str]) -> tuple[Any, str]:
        feed = self.feed
        where = "1=1" if feed.ignores_filter else query.get("$where", "1=1")
        where = re.sub(r":id > ('[^']*')", r"position > (SELECT position FROM rows WHERE row_id = \1)", where)
        if query["$select"] == "count(*)":
            return [{"count": str(feed.select("count(*) AS n", where)[0]["n"])}], "application/json"
        assert query["$order"] == ":id"
        header = query["$select"].split(",")
        iso = "strftime('%Y-%m-%dT%H:%M:%S.000', crimedatetime / 1000, 'unixepoch')"
        columns = query["$select"].replace(":id", "row_id").replace("crimedatetime", iso)
        rows = feed.select(columns, where, "ORDER BY position", int(query["$limit"]))
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(row.values() for row in rows)
        return text.getvalue().encode(), "text/csv; charset=utf-8"


def _collection(features: list[Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features}


def _area(area: dict[str, Any]) -> dict[str, Any]:
    outline = {"type": "Polygon", "coordinates": [SQUARE]}
    properties = {**area, "community": area["CSA2010"].upper()}
    return {"type": "Feature", "id": area["OBJECTID"], "geometry": outline, "properties": properties}


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now_s=lambda: self.now_s, wall_s=lambda: self.now_s, sleep=self.sleep)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost,feed.invalid")
    monkeypatch.delenv("HEWS_SOCRATA_APP_TOKEN", raising=False)


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A server with 50 rows."""
    feed = Feed(50)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"feed": feed}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    feed.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield feed
    feed.release.set()
    server.shutdown()
    server.server_close()
    thread.join()
    feed.base.close()


FAULTS = {
    "none": Fault("none"),
    "status 500": Fault("status", status=500),
    "status 429": Fault("status", status=429, headers={"Retry-After": "11"}),
    "cut": Fault("cut"),
    "cut unannounced": Fault("cut unannounced"),
    "slow": Fault("slow"),
    "web page": Fault("answer", body=b"<html>down for maintenance</html>", headers={"Content-Type": "text/html"}),
    "broken": Fault("answer", body=b'{"type": "FeatureCollection", "features": [{'),
}


@pytest.fixture
def fault() -> Callable[[str], Fault]:
    """Faults by name."""
    return FAULTS.__getitem__


@pytest.fixture
def answer_fault() -> Callable[[bytes], Fault]:
    """A fault that sends something else."""
    return lambda body: Fault("answer", body=body)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(time: Time) -> Client:
    """A client that never really waits, except for 0.2 s of silence."""
    return Client(policy=RequestPolicy(timeout_s=0.2), clock=time.clock, rng=random.Random(0))


CITY = """
[city]
name = "Toy"
timezone = "America/New_York"
[incidents]
files = ["data/toy/latest/incidents-*.*"]
targets = ["SHOOTING"]
[neighborhoods]
file = "data/toy/latest/neighborhoods.geojson"
name = "{name}"
[splits]
train = ["2014-01-01", "2015-01-01"]
validation = ["2015-01-01", "2015-06-01"]
test = ["2015-06-01", "2016-01-01"]
"""
ARCGIS = """
[fetch]
protocol = "arcgis"
incidents = "{address}/arcgis/rest/services/Crime/FeatureServer/0"
neighborhoods = "{address}/arcgis/rest/services/Areas/FeatureServer/0"
page_rows = 20
"""
SOCRATA = """
[fetch]
protocol = "socrata"
incidents = "{address}/resource/crim-0001"
neighborhoods = "{address}/resource/area-0001"
page_rows = 20
"""


@pytest.fixture(params=["arcgis", "socrata"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def city(feed: Feed, protocol: str, tmp_path: Path) -> CityConfig:
    """A city whose feed is the local server, in either protocol."""
    text = CITY.format(name="CSA2010") + {"arcgis": ARCGIS, "socrata": SOCRATA}[protocol].format(address=feed.address)
    (tmp_path / "toy.toml").write_text(text, encoding="utf-8")
    return load_city(tmp_path / "toy.toml")


@pytest.fixture
def plain_city(tmp_path: Path) -> CityConfig:
    """A city without a feed."""
    (tmp_path / "plain.toml").write_text(CITY.format(name="CSA2010"), encoding="utf-8")
    return load_city(tmp_path / "plain.toml")
