"""A toy city of two squares, and what its table is made of, for the tests of `hews prepare`.

    39.29 +---------+---------+
          |  West   |  East   |      about 860 m wide and 1110 m tall each; "West" is neighborhood 0
    39.28 +---------+---------+
       -76.62    -76.61    -76.60

Longitude runs to the right, latitude upwards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hews_gpu.config import CityConfig
from hews_gpu.data.prepare.partitions import plan_partitions
from hews_gpu.data.readers.dictionary_column import Block
from hews_gpu.data.readers.files import IncidentFile, incident_files, open_table, with_digests
from hews_gpu.data.readers.schemas import ReadSettings, choose_columns

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


def read_all(
    city: CityConfig, *, partition_bytes: int | None = None, **cut: int
) -> tuple[list[Block], list[IncidentFile]]:
    """Every block of every file, and the files."""
    settings = ReadSettings(schema=city.incidents.schema, mapped=dict(city.incidents.columns), **cut)
    plan = plan_partitions(with_digests(incident_files(city)), settings, city.path.parent, most_bytes=partition_bytes)
    blocks: list[Block] = []
    columns, rows = {}, 0
    for part in (part for partition in plan.partitions for part in partition):
        with open_table(part.path, part.file.name, settings) as table:
            chosen = part.columns or choose_columns(table.names, file=part.file.name, settings=settings)
            for block in table.blocks(chosen, part.part):
                blocks.append(Block(block, part.file.number, rows))
                rows += len(block)
        columns[part.file.number] = chosen
    rows_of = Counter({number: sum(len(b) for b in blocks if b.file == number) for number in columns})
    return blocks, [replace(file, columns=columns[file.number], rows=rows_of[file.number]) for file in plan.files]
