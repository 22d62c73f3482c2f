"""`hews fetch`: a city's incident table and polygons from its public feed into a dated folder.

    data/NAME/2026-11-23/incidents-00001.geojson   pages as the feed sent them (.csv from Socrata)
                         neighborhoods.geojson
                         fetch.json                request, time, rows, keys and sha256 of each page
    data/NAME/latest -> 2026-11-23                 switched only when all is whole

A run that was cut off goes on where it stopped. At the end the rows are held against the feed's own count; a difference
(the table changed while it was read) is reported, not hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from hews_gpu.fetch.client import Client, Source
from hews_gpu.fetch.fields import choose_fields
from hews_gpu.fetch.polygons import fetch_polygons, property_names
from hews_gpu.fetch.snapshot import LATEST, Snapshot, open_snapshot, reserve
from hews_gpu.fetch.socrata import SocrataTable
from hews_gpu.fetch.tables import Page, Table
from hews_gpu.progress import log, step

__all__ = ["fetch_city", "find_city"]

INCIDENTS, NEIGHBORHOODS = "incidents", "neighborhoods"
MAX_PAGES = 99_999  # as many as five digits number; keys only rise, so that paging ends anyway


def find_city(name: str) -> tuple[CityConfig, Path]:
    """A city by the path of its file or by name, and the folder its tables go to: data/NAME beside the file.

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
    """Fetch a city's tables, or go on with a fetch that was cut off.

    Args:
        city: the city, or its name.
        folder: where the dated folders and `latest` go.
        client: asks the feeds; one with the default manners unless given.
        today: names a new folder; the current date unless given.

    Returns:
        A flat summary: folder, rows, the feed's own count, the difference, pages fetched and kept, bytes, what was not
        asked for, warnings.

    Raises:
        UserError: the city has no [fetch] section, no network, a feed that refuses or makes no sense, a full disk.
    """
    city = find_city(city)[0] if isinstance(city, str) else city
    settings = _require_settings(city)
    client = client or Client()
    with reserve(folder):
        snapshot = open_snapshot(folder, city.city.name, _query(city, settings), today or date.today())
        _drop_damaged(snapshot)
        if not snapshot.table(INCIDENTS)["whole"]:
            _fetch_incidents(client, city, settings, snapshot)
        if not snapshot.table(NEIGHBORHOODS)["whole"]:
            _fetch_neighborhoods(client, settings, snapshot)
        snapshot.finish()
    return _summary(snapshot, name=city.neighborhoods.name, requests=client.requests)


def _require_settings(city: CityConfig) -> FetchConfig:
    if city.fetch is None:
        remedy = "Add one ('hews init baltimore' shows how), or place the tables by hand"
        raise UserError("[fetch]", allowed=f"the file of {city.city.name} has no such section", remedy=remedy)
    return city.fetch


def _query(city: CityConfig, settings: FetchConfig) -> dict[str, Any]:
    """Everything that decides what is fetched; pages under different ones are never mixed."""
    return {**asdict(settings), "columns": dict(city.incidents.columns)}


def _drop_damaged(snapshot: Snapshot) -> None:
    """Check all pages on disk against their checksums."""
    dropped = sum(snapshot.keep_intact(name) for name in (INCIDENTS, NEIGHBORHOODS))
    kept = sum(len(snapshot.table(name)["pages"]) for name in (INCIDENTS, NEIGHBORHOODS))
    if dropped:
        log(f"{snapshot.folder}: {dropped} pages are missing, damaged or behind such a one, and are fetched again")
    if kept:
        log(f"{snapshot.folder}: {kept} pages are there already")


def _fetch_incidents(client: Client, city: CityConfig, settings: FetchConfig, snapshot: Snapshot) -> None:
    source = Source(field="[fetch] incidents", address=settings.incidents)
    choose = partial(choose_fields, columns=city.incidents.columns, field=source.field)
    kind: Callable[..., Table] = ArcgisTable if settings.protocol == "arcgis" else SocrataTable
    table = kind(client, source, choose=choose, where=settings.where, page_rows=settings.page_rows)
    expected = table.count()
    if expected == 0:
        raise UserError("[fetch] where", settings.where, allowed="matches no row of the feed", remedy="Widen it")
    _start_over_if_changed(snapshot, table)
    entry = snapshot.table(INCIDENTS)
    entry |= {"address": table.address, "protocol": settings.protocol, "key": table.key, "fields": list(table.fields)}
    entry |= {"left_out": list(table.left_out), "edited": table.edited, "count_before": expected}
    _read_pages(table, snapshot, expected)
    entry |= {"count": table.count(), "edited_after": table.edited_now(), "whole": True}
    snapshot.save()


def _start_over_if_changed(snapshot: Snapshot, table: Table) -> None:
    """Pages of a table that was edited since, or that has other columns now, do not go together with new ones."""
    entry = snapshot.table(INCIDENTS)
    same = (entry.get("edited"), entry.get("fields"), entry.get("key")) == (
        table.edited,
        list(table.fields),
        table.key,
    )
    if entry["pages"] and not same:
        log(f"the table was edited since {entry['pages'][-1]['time']}: all its pages are fetched again")
        snapshot.forget(INCIDENTS)


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


def _require_onward(page: Page, pages: Sequence[Mapping[str, Any]], table: Table) -> None:
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
    source = Source(field="[fetch] neighborhoods", address=settings.neighborhoods)
    protocol = settings.neighborhoods_protocol or settings.protocol
    count, page = fetch_polygons(client, source, protocol)
    snapshot.forget(NEIGHBORHOODS)
    snapshot.add(NEIGHBORHOODS, f"{NEIGHBORHOODS}.geojson", page)
    entry = snapshot.table(NEIGHBORHOODS)
    entry |= {"address": source.address, "protocol": protocol, "count": count}
    entry |= {"names": property_names(page), "whole": True}
    snapshot.save()


def _summary(snapshot: Snapshot, *, name: str, requests: int) -> dict[str, Any]:
    incidents, areas = snapshot.table(INCIDENTS), snapshot.table(NEIGHBORHOODS)
    rows = sum(page["rows"] for page in incidents["pages"])
    pages = [*incidents["pages"], *areas["pages"]]
    warnings = _warnings(incidents, areas, name)
    for warning in warnings:
        log(f"warning: {warning}")
    return {
        "folder": str(snapshot.folder),
        "latest": str(snapshot.folder.parent / LATEST),
        "incidents": rows,
        "incidents_counted_by_the_feed": incidents["count"],
        "difference": rows - incidents["count"],
        "neighborhoods": sum(page["rows"] for page in areas["pages"]),
        "pages_fetched": snapshot.added,
        "pages_kept": len(pages) - snapshot.added,
        "requests": requests,
        "bytes": sum(page["bytes"] for page in pages),
        "columns_not_asked_for": ", ".join(incidents["left_out"]),
        "warnings": "; ".join(warnings),
    }


def _warnings(incidents: Mapping[str, Any], areas: Mapping[str, Any], name: str) -> list[str]:
    """What the user should know of a fetch that went through; `name` is the polygons' column of the city file."""
    found = []
    for what, entry in (("incidents", incidents), ("polygons", areas)):
        rows = sum(page["rows"] for page in entry["pages"])
        if rows != entry["count"]:
            found.append(f"{rows:,} {what} were fetched, but the feed counts {entry['count']:,}")
    if incidents["edited_after"] != incidents["edited"]:
        found.append("the table was edited while it was read; fetch again tomorrow if you need it exact")
    if name not in areas["names"]:
        known = ", ".join(areas["names"])
        found.append(f"the polygons have no '{name}'; set [neighborhoods] name to one of: {known}")
    return found
