"""Baltimore's real polygons and incidents, where HEWS_REAL_DATA names their folder.

Read by hand here, so that rasterizing can be tested without the rest of the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.inputs.cities import load_polygons
from hews_gpu.raster.places import Places
from tests.inputs.random_city import RandomCity


@dataclass(frozen=True, eq=False)
class Baltimore(RandomCity):
    """Polygons and incidents as for a random city, and the incidents' times."""

    time_s: NDArray[np.int64]


def load_baltimore(folder: Path, areas: Literal[55, 278]) -> Baltimore:
    """The portal's table with coordinates, sorted by time; -1 where an incident lies in no polygon."""
    polygons = load_polygons(folder, areas)
    table = _read_table(folder)
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(table["Longitude"], table["Latitude"]), crs=4326)
    joined = gpd.sjoin(points, polygons[["geometry"]], predicate="within")
    neighborhood = np.full(len(table), -1, np.int16)
    neighborhood[joined.index] = joined["index_right"]
    kinds = pd.Categorical(table["Description"])
    places = Places(
        longitude=table["Longitude"].to_numpy(copy=True),
        latitude=table["Latitude"].to_numpy(copy=True),
        category=kinds.codes.astype(np.int16),
        neighborhood=neighborhood,
        categories=tuple(kinds.categories),
    )
    return Baltimore(polygons, places, table["time_s"].to_numpy(copy=True))


def _read_table(folder: Path) -> Any:
    """Time, place and category of the rows that have coordinates."""
    columns = ["CrimeDate", "CrimeTime", "Description", "Longitude", "Latitude"]
    table = pd.read_csv(folder / "baltimore" / "portal_2012_2017.csv.gz", usecols=columns)
    days = pd.to_datetime(table["CrimeDate"], format="%m/%d/%Y").astype("datetime64[s]").astype("int64")
    clock = pd.to_timedelta(table["CrimeTime"]).dt.total_seconds().astype("int64")  # 24:00:00 is the next midnight
    table["time_s"] = days + clock
    table["Description"] = table["Description"].str.strip().str.upper()
    return table.dropna(subset=["Longitude"]).sort_values("time_s", kind="stable").reset_index(drop=True)
