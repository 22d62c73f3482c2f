"""A city's polygons as one GeoJSON file, whatever protocol their feed speaks. They are few, so that no page is kept."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.fetch.arcgis import ArcgisTable
from hews_gpu.fetch.client import Answer, Client, Source, read_json
from hews_gpu.fetch.socrata import SocrataTable
from hews_gpu.fetch.tables import Page, require_collection

__all__ = ["fetch_polygons", "property_names"]

MAX_PAGES = 1000  # of polygons: a city has hundreds of them, not millions


def fetch_polygons(client: Client, source: Source, protocol: str) -> tuple[int, Page]:
    """All polygons of a feed, and how many the feed says there are.

    Args:
        client: asks the feed.
        source: address of a layer, a dataset or a file.
        protocol: arcgis, socrata, or geojson for a file.

    Raises:
        UserError: the feed refuses, makes no sense or is empty.
    """
    if protocol == "geojson":
        page = client.get(source.address, partial(_read_file, url=source.address), source=source)
        count = page.rows
    elif protocol == "socrata":
        dataset = SocrataTable(client, source, choose=list)
        count, page = dataset.count(), dataset.polygons()
    else:
        layer = ArcgisTable(client, source, choose=list)
        count, page = layer.count(), _merge(layer)
    if page.rows == 0:
        raise UserError(source.field, source.address, allowed="has no polygon", remedy="Check the address")
    return count, page


def property_names(page: Page) -> list[str]:
    """The columns that polygons can be named by."""
    features = json.loads(page.body)["features"]
    return sorted({name for feature in features for name in (feature.get("properties") or {})})


def _read_file(answer: Answer, *, url: str) -> Page:
    features = require_collection(read_json(answer))
    return Page(url=url, body=answer.body, keys=range(len(features)))


def _merge(layer: ArcgisTable) -> Page:
    """All pages of a layer as one."""
    features: list[Any] = []
    keys: list[Any] = []
    for _ in range(MAX_PAGES):
        page = layer.page(keys[-1] if keys else None)
        if page.rows == 0:
            body = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()
            return Page(url=page.url, body=body, keys=keys)
        features += json.loads(page.body)["features"]
        keys += page.keys
        if len(set(keys)) < len(keys):
            break
    allowed = f"does not give its rows in the order of '{layer.key}'"
    raise UserError(layer.source.field, layer.address, allowed=allowed, remedy="Name another layer, or a GeoJSON file")
