"""ArcGIS feature layers: the query operation of the ArcGIS REST API, paged by object id.

Sources: developers.arcgis.com, "Query (Feature Service/Layer)" and "Layer / Table (Feature Service)". A layer reports
an error as JSON with the status 200. Dates come as milliseconds since 1970 and are kept as they are; whether they mean
UTC or wall-clock time is for the reader of the table to know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from hews_gpu.fetch.client import Answer, Endpoint, RequestError, read_json, require
from hews_gpu.fetch.pages import Key, Table, TablePage, require_collection

__all__ = ["ArcgisTable", "layer_address"]

T = TypeVar("T")

LAYER = {"fields": [{"name": str, "type?": str}], "maxRecordCount?": int, "objectIdField?": str}
LAYER |= {"advancedQueryCapabilities?": dict, "editingInfo?": dict}
NEEDS_SIGN_IN = frozenset({401, 403, 498, 499})


class ArcgisTable(Table):
    """One layer or table of a feature service; `where` is in the layer's SQL."""

    suffix = ".geojson"

    def _open(self) -> list[str]:
        self.address = layer_address(self.endpoint)
        layer = self._ask("", {}, _read_layer)
        self.key = _object_id(layer, self.endpoint)
        self.page_rows = min(self.page_rows, int(layer.get("maxRecordCount") or self.page_rows))
        self.geojson = "geojson" in str(layer.get("supportedQueryFormats", "geoJSON")).lower()
        self.edited = _last_edit(layer)
        self.time_zone = stated_zone(layer)
        return [spec["name"] for spec in layer["fields"]]

    def count(self) -> int:
        """Return how many rows the layer says there are."""
        parameters = {"where": self._filter(None), "returnCountOnly": "true"}
        return self._ask("/query", parameters, _read_count)

    def edited_now(self) -> str:
        """Ask again when the layer was last edited."""
        return _last_edit(self._ask("", {}, _read_layer))

    def page(self, after: Key | None) -> TablePage:
        """Return the rows with the smallest object ids above `after`, with points and outlines in degrees (WGS 84)."""
        parameters = {
            "where": self._filter(after),
            "outFields": ",".join(self.fields),
            "orderByFields": f"{self.key} ASC",
            "resultOffset": "0",
            "resultRecordCount": str(self.page_rows),
            "returnGeometry": "true",
            "outSR": "4326",
            "f": "geojson" if self.geojson else "json",
        }
        return self._ask("/query", parameters, self._read_page)

    def _filter(self, after: Key | None) -> str:
        parts = [f"({self.where})"] if self.where else []
        if after is not None:
            parts.append(f"{self.key} > {int(after)}")
        return " AND ".join(parts) or "1=1"

    def _ask(self, path: str, parameters: Mapping[str, str], read: Callable[[Answer], T]) -> T:
        url = f"{self.address}{path}?{urlencode({'f': 'json', **parameters})}"
        return self.client.get(url, read, endpoint=self.endpoint)

    def _read_page(self, answer: Answer) -> TablePage:
        """Return a page as GeoJSON without fields that were not asked for, should a layer send them all the same."""
        features = require_collection(_read_content(answer))
        body, allowed = answer.body, set(self.fields)
        if not self.geojson:
            features = [
                {
                    "type": "Feature",
                    "geometry": _geometry(feature.get("geometry") or {}),
                    "properties": feature.get("attributes") or {},
                }
                for feature in features
            ]
        if not self.geojson or any(not allowed.issuperset(_properties(feature)) for feature in features):
            features = [
                {**feature, "properties": {k: v for k, v in _properties(feature).items() if k in allowed}}
                for feature in features
            ]
            body = json.dumps({"type": "FeatureCollection", "features": features}).encode()
        return TablePage(url=answer.url, body=body, keys=[self._key_of(feature) for feature in features])

    def _key_of(self, feature: Mapping[str, Any]) -> int:
        key = _properties(feature).get(self.key, feature.get("id"))
        if not isinstance(key, int):
            raise RequestError(f"sent a row without its '{self.key}'", retry="never")
        return key


def layer_address(endpoint: Endpoint) -> str:
    """Return a layer's address without a query.

    Raises:
        UserError: it does not end with a layer's number.
    """
    parts = urlsplit(endpoint.address)
    path = re.sub(r"/query/?$", "", parts.path).rstrip("/")
    if not re.search(r"/(FeatureServer|MapServer)/\d+$", path, flags=re.IGNORECASE):
        allowed = "must be a layer's address, which ends with its number, such as .../FeatureServer/0"
        raise endpoint.refusal(allowed, "Add the layer's number")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _read_content(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer that is not an error."""
    content = read_json(answer)
    if not isinstance(content, dict):
        raise RequestError("answered with JSON of an unknown form", retry="known")
    error = content.get("error")
    if error is None:
        return content
    code, details = (error.get("code"), error.get("details")) if isinstance(error, dict) else (None, None)
    message = error.get("message") if isinstance(error, dict) else error
    text = "; ".join(str(part) for part in [message, *(details if isinstance(details, list) else [])] if part)[:300]
    reason = f"answered with the error {code}: {text}"
    if isinstance(code, int) and (code == 429 or code >= 500):
        raise RequestError(reason, retry="always")
    remedy = "The feed wants a sign-in; look for one that is public" if code in NEEDS_SIGN_IN else ""
    raise RequestError(reason, retry="never", remedy=remedy or "Check the address and [fetch] where")


def _read_layer(answer: Answer) -> dict[str, Any]:
    content = _read_content(answer)
    require(content, LAYER, "is not a layer or table with fields", "never")
    return content


def _read_count(answer: Answer) -> int:
    content = _read_content(answer)
    require(content, {"count": int}, "did not say how many rows there are", "always")
    return int(content["count"])


def _object_id(layer: Mapping[str, Any], endpoint: Endpoint) -> str:
    """Return the name of the object id field; refuse a layer that cannot be paged by it."""
    can = layer.get("advancedQueryCapabilities") or {}
    if can.get("supportsPagination") is False or can.get("supportsOrderBy") is False:
        remedy = "Download the table by hand from the city's open data portal"
        raise endpoint.refusal("cannot be read in pages", remedy)
    of_type = [spec["name"] for spec in layer["fields"] if spec.get("type") == "esriFieldTypeOID"]
    name = layer.get("objectIdField") or next(iter(of_type), None)
    if not isinstance(name, str):
        raise endpoint.refusal("has no object id", "Name another layer")
    return name


def _last_edit(layer: Mapping[str, Any]) -> str:
    info = layer.get("editingInfo") or {}
    return str(info.get("dataLastEditDate") or info.get("lastEditDate") or "")


def stated_zone(layer: Mapping[str, Any]) -> str:
    """Return the zone that a layer states of its dates; empty if it states none.

    Source: developers.arcgis.com, "Layer / Table (Feature Service)", dateFieldsTimeReference. The milliseconds of a
    query are UTC wherever one is stated, unless the publisher loaded local times as if they were UTC.
    """
    reference = layer.get("dateFieldsTimeReference") or {}
    return str(reference.get("timeZoneIANA") or reference.get("timeZone") or "") if isinstance(reference, dict) else ""


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    return feature.get("properties") or {}


def _geometry(shape: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a point or the polygon that the rings enclose by the even-odd rule; None for anything else."""
    if isinstance(shape.get("x"), int | float) and isinstance(shape.get("y"), int | float):
        return {"type": "Point", "coordinates": [shape["x"], shape["y"]]}
    if not shape.get("rings"):
        return None
    from shapely import Polygon, make_valid
    from shapely.geometry import mapping

    rings = [make_valid(Polygon(ring)) for ring in shape["rings"] if len(ring) > 3]
    outline: Mapping[str, Any] = mapping(reduce(lambda a, b: a.symmetric_difference(b), rings, Polygon()))
    return outline
