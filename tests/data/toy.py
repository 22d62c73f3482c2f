"""A toy city of two squares, and what its table is made of, for the tests of `hews prepare`.

    39.29 +---------+---------+
          |  West   |  East   |      about 860 m wide and 1110 m tall each; "West" is neighborhood 0
    39.28 +---------+---------+
       -76.62    -76.61    -76.60

Longitude runs to the right, latitude upwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.partitions import make_plan
from hews_gpu.data.readers.files import Reading, Seen, Source, incident_files, read_span

HEADER = "CrimeDate,CrimeTime,Description,Longitude,Latitude,Premise,Weapon,Location,CrimeCode"
WEST, EAST = (-76.62, 39.28, -76.61, 39.29), (-76.61, 39.28, -76.60, 39.29)
TOML = """
[city]
name = "Toy"
timezone = "America/New_York"
[incidents]
files = {files}
targets = ["Homicide", "SHOOTING"]
{incidents}
[neighborhoods]
file = "areas.geojson"
name = "Name"
tolerance_m = 250
[splits]
train = ["2014-01-01", "2014-02-01"]
validation = ["2014-02-01", "2014-03-01"]
test = ["2014-03-01", "2014-04-01"]
"""


def row(
    date: str = "01/31/2014",
    time: str = "23:30:00",
    category: str = "LARCENY",
    longitude: str = "-76.605",
    latitude: str = "39.285",
    rest: str = "STREET,,900 FAWN ST,6C",
) -> str:
    """One line of the toy table; all defaults are fine values in East."""
    return f"{date},{time},{category},{longitude},{latitude},{rest}"


def square(name: str | None, west: float, south: float, east: float, north: float, **more: Any) -> dict[str, Any]:
    """A GeoJSON feature with the outline of a rectangle."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "properties": {"Name": name, **more},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


TWO_SQUARES = [square("West", *WEST, Population=7), square("East", *EAST, Population=8)]


def geojson(features: Sequence[dict[str, Any]], crs: str | None = None) -> str:
    """A FeatureCollection; `crs` such as EPSG:3857."""
    content: dict[str, Any] = {"type": "FeatureCollection", "features": list(features)}
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs.replace(':', '::')}"}}
    return json.dumps(content)


def read_all(city: CityConfig, *, piece_bytes: int | None = None, **cut: int) -> tuple[list[pa.Table], list[Source]]:
    """Every block of every file, with source and row_id first; and what was seen of the files."""
    sources = incident_files(city)
    how = Reading(schema=city.incidents.schema, mapped=dict(city.incidents.columns), **cut)
    plan = make_plan(sources, how, city.path.parent, piece_bytes=piece_bytes)
    seen = {source.number: Seen() for source in sources}
    blocks: list[pa.Table] = []
    row_id = 0
    for span in (span for piece in plan.pieces for span in piece):
        of_span = Seen()
        for table in read_span(span, how, of_span):
            count = len(table)
            table = table.add_column(0, "row_id", pa.array(np.arange(row_id, row_id + count)))
            blocks.append(table.add_column(0, "source", pa.array(np.full(count, span.number, np.int32))))
            row_id += count
        seen[span.number] += of_span
    for source in sources:
        source.take(seen[source.number])
    return blocks, sources
