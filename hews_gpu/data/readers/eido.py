"""NENA EIDO-JSON (NENA-STA-021.1, Emergency Incident Data Object): one incident of a dispatch center as a row of text.

An object tells the state of one incident, with its calls, locations and whatever else is known, and is sent again as
that changes. What is read, by the names of the published schema (https://github.com/NENA911/EIDO-JSON, version 1.0):

- ``$id`` of the object, which is the incident's;
- of ``incidentComponent`` the type (``incidentTypeCommonRegistryText``, else ``incidentTypeInternalText``, else
  ``incidentTypeInternalCode``), ``beatOrDispatchGroupText``, and the references of its locations;
- when: the earliest ``callStartTimestamp`` of ``callComponent``, else ``lastUpdateTimeStamp`` of ``incidentComponent``;
- when it was known: ``lastUpdateTimeStamp`` of the object;
- where: of ``locationComponent`` the first ``locationByValue`` (PIDF-LO) that holds one position in degrees, those that
  the incident refers to before others. A civic address alone is no place: nothing here looks addresses up.

Nothing of callers, persons and vehicles is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["EIDO_KEY", "eido_row", "incident_id", "is_eido", "sent_s"]

KEYS = ("eidoVersion", "incidentComponent")
EIDO_KEY = re.compile(rf'"(?:{"|".join(KEYS)})"\s*:')
POSITION = re.compile(r"<(?:\w+:)?pos\b[^>]*>\s*([^<]*?)\s*</(?:\w+:)?pos\s*>")
SYSTEM = re.compile(r'srsName\s*=\s*["\']([^"\']*)["\']')
DEGREES = ("4326", "4979")  # WGS 84 in two and in three dimensions; latitude first in both
ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)

Object = Mapping[str, Any]


def is_eido(item: Object) -> bool:
    """Return whether a JSON object is an EIDO."""
    return any(key in item for key in KEYS)


def incident_id(item: Object) -> str:
    """Return the incident's identifier, empty where the object has none."""
    return _text(item.get("$id"))


def eido_row(item: Object) -> dict[str, str | None]:
    """Return what is read of an object, by column; empty where it does not say."""
    incidents = list(_objects(item.get("incidentComponent")))
    incident = incidents[0] if incidents else {}
    kinds = [_text(incident.get(f"incidentType{name}")) for name in ("CommonRegistryText", "InternalText")]
    kinds.append(_text(incident.get("incidentTypeInternalCode")))
    calls = [_text(call.get("callStartTimestamp")) for call in _objects(item.get("callComponent"))]
    when = min(filter(_moment, calls), key=_instant, default=_text(incident.get("lastUpdateTimeStamp")))
    known = _text(item.get("lastUpdateTimeStamp"))
    latitude, longitude = _place(item, incident)
    return {
        "incidentId": incident_id(item),
        "incidentTime": when if _moment(when) else "",
        "incidentType": next(filter(None, kinds), ""),
        "lastUpdateTimeStamp": known if _moment(known) else "",
        "beatOrDispatchGroupText": _text(incident.get("beatOrDispatchGroupText")),
        "Longitude": longitude,
        "Latitude": latitude,
    }


def sent_s(text: str) -> float:
    """Return when a message was sent, in seconds since 1970; one that does not say before all others."""
    moment = _moment(text)
    return float("-inf") if moment is None else moment.timestamp()


def _objects(value: Any) -> Iterator[Object]:
    """Give the objects of a component, which is a list of them, or one alone."""
    yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Mapping))


def _text(value: Any) -> str:
    """Return a text, or the first of a list of them, without halves of characters."""
    value = value[0] if isinstance(value, list) and value else value
    return value.strip().encode("utf-8", errors="replace").decode() if isinstance(value, str) else ""


def _moment(text: str) -> datetime | None:
    """Return a moment as the schema has it, with its offset from UTC; None of any other text."""
    try:
        return datetime.fromisoformat(text) if ZONE.search(text) else None
    except ValueError:
        return None


def _instant(text: str) -> datetime:
    return _moment(text) or datetime.max.replace(tzinfo=UTC)


def _place(item: Object, incident: Object) -> tuple[str, str]:
    """Return latitude and longitude as text, empty where there is no position."""
    meant = [_text(one.get("$ref")) for one in _objects(incident.get("locationReference"))]
    locations = list(_objects(item.get("locationComponent")))
    locations.sort(key=lambda one: one.get("$id") not in meant)  # of each kind in their order
    for location in locations:
        text = _text(location.get("locationByValue"))
        positions, systems = POSITION.findall(text), SYSTEM.findall(text)
        in_degrees = all(name.endswith(DEGREES) for name in systems)
        if len(positions) == 1 and in_degrees and len(numbers := positions[0].split()) in (2, 3):
            return numbers[0], numbers[1]
    return "", ""
