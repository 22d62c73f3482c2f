"""`hews fetch`: a city's incident table and polygons from its public feed into a dated folder.

    data/NAME/2026-11-23/incidents-00001.geojson   pages as the feed sent them (.csv from Socrata)
                         neighborhoods.geojson
                         fetch.json                request, time, rows, keys and sha256 of each page
    data/NAME/latest -> 2026-11-23                 switched only when all is whole

A run that was cut off resumes where it stopped. At the end the rows are compared with the feed's own count. What is not
known to be all there is (fewer or more rows than counted, a table that was edited while it was read) is recorded as
such, and is never called complete: neither here nor by `hews prepare`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from hews_gpu.config import CityConfig, FetchConfig, city_template, load_city
from hews_gpu.errors import UserError
from hews_gpu.fetch.arcgis import ArcgisTable
from hews_gpu.fetch.client import Client, Endpoint, read_json, without_secrets
from hews_gpu.fetch.pages import Table, TablePage, choose_fields, collection_page
from hews_gpu.fetch.snapshot import LATEST, Snapshot, locked_folder, open_snapshot
from hews_gpu.fetch.socrata import SocrataTable
from hews_gpu.progress import log, step

__all__ = ["fetch_city", "find_city"]

INCIDENTS, NEIGHBORHOODS = "incidents", "neighborhoods"
MAX_PAGES = 99_999  # as many as five digits number; keys only rise, so that paging ends anyway
MAX_POLYGON_PAGES = 1000  # a city has hundreds of polygons, not millions


def find_city(name: str) -> tuple[CityConfig, Path]:
    """Return a city by the path of its file or by name, and the folder its tables go to: data/NAME beside the file.

    A name means NAME.toml in the current folder if there is one (it may have been edited), else the shipped file.

    Raises:
        UserError: neither a file nor a shipped city, or the file is wrong.
    """
    path = Path(name) if name.endswith(".toml") else Path(f"{name}.toml")
    if name.endswith(".toml") or path.is_file():
        city = load_city(path)
    else:
        city_template(name)  # refuses a name that is not shipped
        with resources.as_file(resources.files("hews_gpu") / "cities" / f"{name}.toml") as shipped:
            city = replace(load_city(shipped), path=path.absolute())
    return city, path.parent / "data" / path.stem


def fetch_city(
    city: CityConfig | str, folder: Path, *, client: Client | None = None, today: date | None = None
) -> dict[str, Any]:
    """Fetch a city's tables, or resume a fetch that was cut off.

    Args:
        city: the city, or its name.
        folder: where the dated folders and `latest` go.
        client: sends the requests; one with the default policy unless given.
        today: names a new folder; the current date unless given.

    Returns:
        A flat summary: folder, whether it is known to be complete, rows, the feed's own count, the difference, pages
        fetched and kept, bytes, what was not asked for, warnings.

    Raises:
        UserError: the city has no [fetch] section, no network, a feed that refuses or makes no sense, a full disk.
    """
    city = find_city(city)[0] if isinstance(city, str) else city
    settings = city.fetch
    if settings is None:
        remedy = "Add one ('hews init baltimore' shows how), or place the tables by hand"
        raise UserError("[fetch]", allowed=f"the file of {city.city.name} has no such section", remedy=remedy)
    # everything that decides what is fetched; pages under different ones are never mixed
    query = {**asdict(settings), "columns": dict(city.incidents.columns)}
    client = client or Client()
    with locked_folder(folder):
        snapshot = open_snapshot(folder, city.city.name, query, today or date.today())
        _drop_damaged_pages(snapshot)
        if not snapshot.table(INCIDENTS)["whole"]:
            _fetch_incidents(client, city, settings, snapshot)
        if not snapshot.table(NEIGHBORHOODS)["whole"]:
            _fetch_neighborhoods(client, settings, snapshot)
        doubts = _doubts(snapshot)
        snapshot.finish(doubts)
    return _summary(snapshot, doubts, name=city.neighborhoods.name, requests=client.requests)


def _drop_damaged_pages(snapshot: Snapshot) -> None:
    """Check all pages on disk against their checksums; forget those that do not match, to fetch them again."""
    dropped = sum(snapshot.drop_damaged_pages(name) for name in (INCIDENTS, NEIGHBORHOODS))
    kept = sum(len(snapshot.table(name)["pages"]) for name in (INCIDENTS, NEIGHBORHOODS))
    if dropped:
        log(f"{snapshot.folder}: {dropped} pages are missing, damaged or follow such a page, and are fetched again")
    if kept:
        log(f"{snapshot.folder}: {kept} pages are there already")


def _fetch_incidents(client: Client, city: CityConfig, settings: FetchConfig, snapshot: Snapshot) -> None:
    endpoint = Endpoint(field="[fetch] incidents", address=settings.incidents)
    choose = partial(choose_fields, columns=city.incidents.columns, field=endpoint.field)
    kind = ArcgisTable if settings.protocol == "arcgis" else SocrataTable
    table: Table = kind(client, endpoint, choose=choose, where=settings.where, page_rows=settings.page_rows)
    expected = table.count()
    if expected == 0:
        raise UserError("[fetch] where", settings.where, allowed="matches no row of the feed", remedy="Widen it")
    _start_over_if_changed(snapshot, table)
    entry = snapshot.table(INCIDENTS)
    entry |= {"address": table.address, "protocol": settings.protocol, "key": table.key, "fields": list(table.fields)}
    entry |= {"left_out": list(table.left_out), "edited": table.edited, "count_before": expected}
    entry["time_zone"] = table.time_zone
    _read_pages(table, snapshot, expected)
    count = table.count()
    if _rows(entry) < count:  # a page may have come back empty though there are more rows
        _read_pages(table, snapshot, count)
    entry |= {"count": count, "edited_after": table.edited_now(), "whole": _rows(entry) >= count}
    snapshot.save()


def _rows(entry: Mapping[str, Any]) -> int:
    """Return the rows of all pages of a table."""
    return sum(page["rows"] for page in entry["pages"])


def _start_over_if_changed(snapshot: Snapshot, table: Table) -> None:
    """Drop the pages of a table that was edited since or has other columns now: they do not fit new ones."""
    entry = snapshot.table(INCIDENTS)
    now = {"edited": table.edited, "fields": list(table.fields), "key": table.key}
    if entry["pages"] and any(entry.get(name) != value for name, value in now.items()):
        log(f"the table was edited since {entry['pages'][-1]['time']}: all its pages are fetched again")
        snapshot.restart(INCIDENTS)


def _read_pages(table: Table, snapshot: Snapshot, expected: int) -> None:
    """Fetch the pages that are missing, until one comes back empty."""
    pages = snapshot.table(INCIDENTS)["pages"]
    with step("fetching incidents", total=expected, unit="rows") as bar:
        bar.advance(sum(page["rows"] for page in pages))
        for number in range(len(pages) + 1, MAX_PAGES + 1):
            page = table.page(pages[-1]["last"] if pages else None)
            if page.rows == 0:
                return
            _require_onward(page, pages, table)
            snapshot.add(INCIDENTS, f"incidents-{number:05d}{table.suffix}", page)
            bar.advance(page.rows)
    raise UserError("[fetch] page_rows", allowed=f"gives more than {MAX_PAGES} pages", remedy="Raise it")


def _require_onward(page: TablePage, pages: Sequence[Mapping[str, Any]], table: Table) -> None:
    """Refuse a feed that does not page by key: its rows would be lost, or come again and again."""
    keys = page.keys
    seen = {*(p["first"] for p in pages), *(p["last"] for p in pages)}
    forward = len(set(keys)) == len(keys) and not seen.intersection(keys)
    if forward and isinstance(keys[0], int):  # Socrata's row ids have an order of their own, which is not that of text
        before = [pages[-1]["last"]] if pages else []
        forward = all(a < b for a, b in pairwise([*before, *keys]))
    if not forward:
        remedy = "Download the table by hand from the city's open data portal"
        allowed = f"does not give its rows in the order of '{table.key}', so that pages would overlap"
        raise UserError("[fetch] incidents", table.address, allowed=allowed, remedy=remedy)


def _fetch_neighborhoods(client: Client, settings: FetchConfig, snapshot: Snapshot) -> None:
    endpoint = Endpoint(field="[fetch] neighborhoods", address=settings.neighborhoods)
    protocol = settings.neighborhoods_protocol or settings.protocol
    count, page = fetch_polygons(client, endpoint, protocol)
    snapshot.restart(NEIGHBORHOODS)
    snapshot.add(NEIGHBORHOODS, f"{NEIGHBORHOODS}.geojson", page)
    entry = snapshot.table(NEIGHBORHOODS)
    entry |= {"address": without_secrets(endpoint.address), "protocol": protocol, "count": count}
    entry |= {"names": property_names(page), "whole": page.rows == count}
    snapshot.save()


def fetch_polygons(client: Client, endpoint: Endpoint, protocol: str) -> tuple[int, TablePage]:
    """Return how many polygons a layer (arcgis), a dataset (socrata) or a file (geojson) has, and all of them.

    Raises:
        UserError: the feed refuses, makes no sense or is empty.
    """
    if protocol == "geojson":
        page = client.get(endpoint.address, lambda a: collection_page(a, read_json(a)), endpoint=endpoint)
        count = page.rows
    elif protocol == "socrata":
        dataset = SocrataTable(client, endpoint, choose=list)
        count, page = dataset.count(), dataset.polygons()
    else:
        layer = ArcgisTable(client, endpoint, choose=list)
        count, page = layer.count(), _all_pages(layer)
    if page.rows == 0:
        raise endpoint.refusal("has no polygon", "Check the address")
    return count, page


def property_names(page: TablePage) -> list[str]:
    """Return the columns that polygons can be named by."""
    features = json.loads(page.body)["features"]
    return sorted({name for feature in features for name in (feature.get("properties") or {})})


def _all_pages(layer: ArcgisTable) -> TablePage:
    """Return all pages of a layer as one."""
    features: list[Any] = []
    keys: list[Any] = []
    for _ in range(MAX_POLYGON_PAGES):
        page = layer.page(keys[-1] if keys else None)
        if page.rows == 0:
            body = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()
            return TablePage(url=page.url, body=body, keys=keys)
        features += json.loads(page.body)["features"]
        keys += page.keys
        if len(set(keys)) < len(keys):
            break
    allowed = f"does not give its rows in the order of '{layer.key}'"
    remedy = "Name another layer, or a GeoJSON file"
    raise UserError(layer.endpoint.field, layer.address, allowed=allowed, remedy=remedy)


def _summary(snapshot: Snapshot, doubts: Sequence[str], *, name: str, requests: int) -> dict[str, Any]:
    incidents, areas = snapshot.table(INCIDENTS), snapshot.table(NEIGHBORHOODS)
    rows, pages = _rows(incidents), [*incidents["pages"], *areas["pages"]]
    warnings = list(doubts)
    if name not in areas["names"]:
        known = ", ".join(areas["names"])
        warnings.append(f"the polygons have no '{name}'; set [neighborhoods] name to one of: {known}")
    for warning in warnings:
        log(f"warning: {warning}")
    return {
        "folder": str(snapshot.folder),
        "known_to_be_complete": not doubts,
        "latest": str(snapshot.folder.parent / LATEST),
        "incidents": rows,
        "incidents_counted_by_the_feed": incidents["count"],
        "difference": rows - incidents["count"],
        "neighborhoods": _rows(areas),
        "pages_fetched": snapshot.added,
        "pages_kept": len(pages) - snapshot.added,
        "requests": requests,
        "bytes": sum(page["bytes"] for page in pages),
        "columns_not_asked_for": ", ".join(incidents["left_out"]),
        "warnings": "; ".join(warnings),
    }


def _doubts(snapshot: Snapshot) -> list[str]:
    """Return why what was fetched is not known to be all there is."""
    incidents = snapshot.table(INCIDENTS)
    doubts = [
        f"{_rows(entry):,} {what} were fetched, but the feed counts {entry['count']:,}"
        for what, entry in (("incidents", incidents), ("polygons", snapshot.table(NEIGHBORHOODS)))
        if _rows(entry) != entry["count"]
    ]
    if incidents["edited_after"] != incidents["edited"]:
        doubts.append("the table was edited while it was read; fetch again tomorrow if you need it exact")
    return doubts
