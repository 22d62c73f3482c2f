"""Warnings as messages of the Common Alerting Protocol 1.2 (OASIS, 2010), checked against its schema.

What the protocol asks for and a forecast does not say by itself follows rules, the same for every message:

- certainty: Likely above one half, Possible from 1 % on, Unlikely below, by the standard's own words of probability;
- severity: Severe, for what is warned of is a threat to life, however likely;
- urgency: Expected if the window begins within the hour, else Future;
- response: Monitor, for a probability calls for attention and for nothing else; None in what is withdrawn.

Names are data: lxml escapes them, and characters that XML has none of are replaced before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hews_gpu import __version__
from hews_gpu.alerts.explain import target_words
from hews_gpu.alerts.policy import Delivery
from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError, printable
from hews_gpu.units import HOUR_S

if TYPE_CHECKING:
    import xmlschema
    from shapely.geometry.base import BaseGeometry

__all__ = ["INSTALL", "City", "cap_message", "city_of", "instant_in", "local_time", "plain"]

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
INSTALL = "Install it with pip install 'hews-gpu[alerts]'"
CITY_DETAIL_DEG = 0.001  # about 100 m: a city's outline in full would be most of the message
PLACES = 5  # decimals of a degree: about 1 m
NOT_XML = re.compile("[^\x09\x0a\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
RESTRICTION = "For those whom the sender names; a forecast, not to be passed on as a report of what happened"


@dataclass(frozen=True, kw_only=True)
class City:
    """What messages say of a city."""

    name: str
    timezone: str
    names: Sequence[str]  # [N] of its neighborhoods
    targets: Sequence[str]  # names of the categories that are warned of
    outlines: Callable[[], Sequence[bytes]]  # [N] their polygons as well-known binary, longitude before latitude

    def place(self, index: int) -> str:
        """Return what a place of a warning is called."""
        return plain(self.name if index < 0 else f"{self.names[index]}, {self.name}") or "place without a name"


def city_of(prepared: Prepared) -> City:
    """Return what messages say of the city of a prepared folder; its polygons are read when they are asked for."""
    info = prepared.city.city
    return City(
        name=info.name,
        timezone=info.timezone,
        names=prepared.names,
        targets=prepared.city.incidents.target_names,
        outlines=lambda: prepared.outlines.wkb,
    )


def plain(text: str) -> str:
    """Return text as one line without characters that steer a terminal or that XML lacks."""
    return NOT_XML.sub("\ufffd", printable(" ".join(text.split())))


def local_time(seconds: int, city: City) -> datetime:
    """Return local wall-clock seconds as a time of the city's zone; of an hour that occurs twice, the first."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=ZoneInfo(city.timezone))


def instant_in(city: City, instant: str) -> datetime:
    """Return an instant of the record as a time of the city's zone, to the second."""
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(city.timezone)).replace(microsecond=0)


def cap_message(
    warning: Mapping[str, Any],
    instant: str,
    city: City,
    delivery: Delivery,
    *,
    replaced: str | None = None,
    cancel: tuple[str, str] | None = None,
    explanation: str | None = None,
) -> bytes:
    """Return one message: an Alert, an Update of the watch that a warning raises, or the Cancel of either.

    Args:
        warning: as it stands in the record.
        instant: when it was recorded; the message says that it was sent then, and so is the same whenever it is made.
        city: names, zone and polygons.
        delivery: sender, status and scope.
        replaced: when the watch that it raises was recorded.
        cancel: when it was withdrawn, and why.
        explanation: why it was given, in words.

    Raises:
        UserError: lxml or xmlschema is missing.
        ValueError: it does not fit the schema, which is a defect.
    """
    sent = _stamp(instant_in(city, instant))
    kind, identifier, references = "Alert", warning["id"], ""
    if warning.get("replaces") and replaced is not None:
        kind, references = "Update", f"{delivery.sender},{warning['replaces']},{_stamp(instant_in(city, replaced))}"
    if cancel is not None:
        kind, identifier = "Cancel", f"{warning['id']}-cancel"
        references, sent = f"{delivery.sender},{warning['id']},{sent}", _stamp(instant_in(city, cancel[0]))
    head = {
        "identifier": identifier,
        "sender": delivery.sender,
        "sent": sent,
        "status": delivery.status,
        "msgType": kind,
        "source": f"HEWS-GPU {__version__}",
        "scope": delivery.scope,
        "restriction": RESTRICTION if delivery.scope == "Restricted" else "",
        "addresses": delivery.sender if delivery.scope == "Private" else "",  # which the standard then asks for
        "note": plain(cancel[1]) if cancel is not None else "",
        "references": references,
    }
    info = _info(warning, sent, city, cancel, explanation)
    area = {"areaDesc": city.place(warning["place"]), "polygon": list(_rings(warning["place"], city))}
    return _checked(head, info, area)


def _info(
    warning: Mapping[str, Any], sent: str, city: City, cancel: tuple[str, str] | None, explanation: str | None
) -> dict[str, Any]:
    """Return what a message says of the event, in the order of the schema."""
    place, probability = city.place(warning["place"]), warning["probability"]
    begin, end = local_time(warning["begin_s"], city), local_time(warning["end_s"], city)
    window = f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    target = plain(target_words(city.targets))
    event = f"{target[:1].upper()}{target[1:]} {warning['tier']}"
    headline = f"{event}: {place}, {begin:%H:%M} to {end:%H:%M}"
    said = (
        f"The forecast probability of at least one {target} from {window} local time is {probability:.1%}. "
        f"A {warning['tier']} is given from {warning['threshold']:.1%} on."
    )
    said = said if explanation is None else f"{said} {explanation}"
    return {
        "language": "en-US",
        "category": "Security",
        "event": event,
        "responseType": "Monitor" if cancel is None else "None",
        "urgency": "Expected" if warning["begin_s"] - warning["issue_s"] <= HOUR_S else "Future",
        "severity": "Severe",
        "certainty": "Likely" if probability > 0.5 else "Possible" if probability >= 0.01 else "Unlikely",
        "effective": sent,
        "onset": _stamp(begin),
        "expires": _stamp(end),
        "senderName": "HEWS-GPU, a forecast made by a machine",
        "headline": (headline if cancel is None else f"Withdrawn: {headline}")[:160],  # as long as the standard advises
        "description": said if cancel is None else f"Withdrawn: {plain(cancel[1])}. It said: {said}",
        "parameter": [(name, str(warning[name])) for name in ("tier", "probability", "threshold")],
    }


def _stamp(time: datetime) -> str:
    """Return a time as the protocol writes it: with its offset, which for UTC is -00:00 and never Z."""
    text = time.isoformat(timespec="seconds")
    return f"{text[:-6]}-00:00" if text.endswith("+00:00") else text


def _rings(index: int, city: City) -> Iterator[str]:
    """Yield the outer rings of a neighborhood, or of the whole city simplified, as latitude,longitude pairs."""
    import shapely

    outlines = city.outlines()
    shape = shapely.make_valid(shapely.from_wkb(outlines if index < 0 else outlines[index]))
    if index < 0:
        shape = shapely.simplify(shapely.union_all(shape), CITY_DETAIL_DEG)
    for part in _polygons(shape):
        points = [f"{y:.{PLACES}f},{x:.{PLACES}f}" for x, y, *_ in part.exterior.coords]
        ring = [point for n, point in enumerate(points) if n == 0 or point != points[n - 1]]
        if len(ring) >= 4:  # a smaller one is less than a meter wide
            yield " ".join(ring)


def _polygons(shape: BaseGeometry) -> Iterator[Any]:
    """Yield the polygons of a shape, of several parts or one."""
    for part in getattr(shape, "geoms", [shape]):
        if part.geom_type == "Polygon" and not part.is_empty:
            yield part
        elif hasattr(part, "geoms"):
            yield from _polygons(part)


def _checked(head: Mapping[str, str], info: Mapping[str, Any], area: Mapping[str, Any]) -> bytes:
    """Return the message as XML, after it was checked against the schema."""
    try:
        from lxml import etree
    except ImportError:
        raise UserError("[delivery] cap", allowed="needs lxml and xmlschema", remedy=INSTALL) from None
    alert = etree.Element(f"{{{NAMESPACE}}}alert", nsmap={None: NAMESPACE})

    def add(parent: Any, content: Mapping[str, Any]) -> Any:
        for name, value in content.items():
            for one in value if isinstance(value, list) else [value] if value else []:
                child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
                if isinstance(one, tuple):
                    add(child, dict(zip(("valueName", "value"), one, strict=True)))
                else:
                    child.text = one
        return parent

    body = add(etree.SubElement(add(alert, head), f"{{{NAMESPACE}}}info"), info)
    add(etree.SubElement(body, f"{{{NAMESPACE}}}area"), area)
    text: bytes = etree.tostring(alert, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    _schema().validate(text.decode())
    return text


@cache
def _schema() -> xmlschema.XMLSchema:
    """Return the OASIS schema."""
    try:
        import xmlschema
    except ImportError:
        raise UserError("[delivery] cap", allowed="needs lxml and xmlschema", remedy=INSTALL) from None
    text = (resources.files("hews_gpu") / "alerts" / "schema" / "CAP-v1.2.xsd").read_text(encoding="utf-8")
    return xmlschema.XMLSchema(text)
