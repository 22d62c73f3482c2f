"""A generated table of any number of rows, with areas made by NumPy alone: nothing but NumPy and PyArrow is needed.

Rows are spread over as many days as asked for, in no order, over a patchwork of polygons whose sides are shared; one in
fifty is dirty in one of the ways of real tables. What a row holds depends on the seed and its number only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from benchmarks.inputs.polygons import Rings, patchwork
from hews_gpu.arrays import Bool, Int64

HEADER = "CrimeDate,CrimeTime,Description,Longitude,Latitude,Premise,Weapon,Location,CrimeCode,District"
CATEGORIES = ("LARCENY", "COMMON ASSAULT", "BURGLARY", "AGG. ASSAULT", "AUTO THEFT", "ROBBERY - STREET", "SHOOTING")
SHARES = (0.31, 0.22, 0.16, 0.13, 0.1, 0.065, 0.015)
PREMISES = ("STREET", "ROW/TOWNHOUSE-OCC", "APT/CONDO", "PARKING LOT-OUTSIDE", "RETAIL/SMALL STORE", "")
STREETS = 2_000
BLOCK = 500_000
DIRTY, REPEATED, TWINS = 0.02, 0.04, 0.1
"""Shares of rows, of rows, and of repeated rows."""
FIRST_DAY = np.datetime64("1905-01-01")
PLACES = 80_000
"""Distinct places: incidents are geocoded to addresses, which repeat."""


def areas(most: int = 278) -> Rings:
    """Return polygons of some 129,000 vertices in all for 278 of them; in a unit square and a little more."""
    return patchwork(16, 16, 130, most=most)


def write_table(path: Path, rows: int, *, days: int, rings: Rings, seed: int = 0) -> None:
    """Write a CSV file in the portal's schema.

    Args:
        path: the file to write.
        rows: how many.
        days: over how many days from 1905 on they are spread; at most 71,000 are read back.
        rings: of the areas; places are drawn in their bounding box.
        seed: of everything random.
    """
    places = _places(rings, seed)
    with path.open("wb") as file:
        file.write(f"{HEADER}\n".encode())
        for table in _blocks(rows, days, places, seed):
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))


def _places(rings: Rings, seed: int) -> tuple[pa.Array, pa.Array]:
    """Return texts of longitude and latitude of each place."""
    random = np.random.default_rng([seed, 1])
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    at = low + (high - low) * random.random((PLACES, 2))
    x, y = (pa.array([f"{value:.5f}" for value in column.tolist()]) for column in at.T)
    return x, y


def _blocks(rows: int, days: int, places: tuple[pa.Array, pa.Array], seed: int) -> Iterator[pa.Table]:
    of_day = pa.array([f"{day:%m/%d/%Y}" for day in (FIRST_DAY + np.arange(days)).tolist()])
    of_minute = pa.array([f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in range(1440)])
    streets = pa.array([f"{100 * (i % 50)} {chr(65 + i % 26)}{i} {('ST', 'AVE', 'RD')[i % 3]}" for i in range(STREETS)])
    for begin in range(0, rows, BLOCK):
        random = np.random.default_rng([seed, 2, begin])
        count = min(BLOCK, rows - begin)
        place = random.integers(0, PLACES, count)
        minute = np.minimum(random.integers(0, 1440, count), random.integers(0, 2880, count))
        minute = np.where(random.random(count) < 0.36, minute // 60 * 60, minute)
        dirt = np.where(random.random(count) < DIRTY, random.integers(1, 5, count), 0)
        category = random.choice(len(CATEGORIES), count, p=SHARES)
        columns = [
            _take(of_day, random.integers(0, days, count)),
            _spoilt(_take(of_minute, minute), dirt == 1, "?"),
            _spoilt(_take(pa.array(CATEGORIES), category), dirt == 2, ""),
            _spoilt(_take(places[0], place), dirt == 3, ""),
            _spoilt(_take(places[1], place), dirt == 4, "9"),
            _take(pa.array(PREMISES), random.integers(0, len(PREMISES), count)),
            _take(pa.array(["", "FIREARM", "KNIFE", "OTHER"]), random.integers(0, 4, count)),
            _take(streets, place % STREETS),
            _take(pa.array([f"{i}{'ABCD'[i % 4]}" for i in range(len(CATEGORIES))]), category),
            _take(pa.array(["CENTRAL", "EASTERN", "WESTERN", "NORTHERN"]), place % 4),
        ]
        yield _with_repeats(pa.table(columns, names=HEADER.split(",")), random)


def _with_repeats(table: pa.Table, random: np.random.Generator) -> pa.Table:
    """Repeat some rows, as they are or as a shooting that another report goes with."""
    row = np.arange(len(table))
    again = random.random(len(row)) < REPEATED
    table = table.take(pa.array(np.where(again, np.maximum(row - 1, 0), row)))
    twin = again & (random.random(len(row)) < TWINS)
    return table.set_column(2, "Description", _spoilt(table["Description"].combine_chunks(), twin, "SHOOTING"))


def _take(values: pa.Array, index: Int64) -> pa.Array:
    return values.take(pa.array(index))


def _spoilt(column: pa.Array, where: Bool, text: str) -> pa.Array:
    return pc.if_else(pa.array(where), text, column)


def geojson(rings: Rings) -> dict[str, object]:
    """Return the areas as a FeatureCollection with the property name; of each, the first ring is the shell."""
    vertex, start, polygon = rings
    features = []
    for number in range(int(polygon.max()) + 1):
        own = np.flatnonzero(polygon == number)
        loops = [vertex[start[ring] : start[ring + 1]].tolist() for ring in own.tolist()]
        geometry = {"type": "Polygon", "coordinates": loops}
        features.append({"type": "Feature", "properties": {"name": f"Area {number}"}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}
