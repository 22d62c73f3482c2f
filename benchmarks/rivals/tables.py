"""The cleaning of `prepare` as one would write it in a script, with pandas and with polars.

Both read the table, parse times and numbers, set rows aside for the same reasons, look up the area of each distinct
place with shapely, mark exact repeats, sort by time and write Parquet. What they leave out of what `prepare` does: line
numbers, rows with a wrong number of fields, twins, several files and layouts, counts of quality, a bound on memory.

Run as ``python -m benchmarks.rivals.tables pandas|polars|bare TABLE.csv AREAS.geojson OUT.parquet``; prints the rows
kept.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT = {"CrimeDate": str, "CrimeTime": str, "Longitude": str, "Latitude": str}


def by_pandas(table: Path, areas: Path, out: Path) -> int:
    """With pandas and its own CSV parser; returns the rows kept."""
    import pandas as pd

    frame = pd.read_csv(table, dtype=TEXT, keep_default_na=False)
    when = pd.to_datetime(frame["CrimeDate"] + " " + frame["CrimeTime"], format="%m/%d/%Y %H:%M:%S", errors="coerce")
    frame["longitude"] = pd.to_numeric(frame["Longitude"], errors="coerce")
    frame["latitude"] = pd.to_numeric(frame["Latitude"], errors="coerce")
    frame["category"] = frame["Description"].str.strip().str.upper()
    frame["area"] = _areas_of(areas, frame["longitude"].to_numpy(), frame["latitude"].to_numpy())
    frame["repeats"] = frame.duplicated(list(frame.columns[:10]))
    reason = np.select(
        [when.isna(), frame["longitude"].isna() | frame["latitude"].isna(), frame["area"] < 0, frame["category"] == ""],
        ["unparsable time", "no coordinates", "outside", "no category"],
        "",
    )
    frame = frame.assign(time=when, reason=reason)
    kept = frame[frame["reason"] == ""].sort_values("time", kind="stable")
    kept.to_parquet(out, compression="zstd")
    frame[frame["reason"] != ""].to_parquet(out.with_suffix(".aside.parquet"), compression="zstd")
    return len(kept)


def by_polars(table: Path, areas: Path, out: Path) -> int:
    """With polars; returns the rows kept."""
    import polars as pl

    texts = dict.fromkeys(TEXT, pl.String)
    frame = pl.read_csv(table, schema_overrides=texts)
    columns = frame.columns
    frame = frame.with_columns(
        time=pl.concat_str("CrimeDate", pl.lit(" "), "CrimeTime").str.to_datetime("%m/%d/%Y %H:%M:%S", strict=False),
        longitude=pl.col("Longitude").cast(pl.Float64, strict=False),
        latitude=pl.col("Latitude").cast(pl.Float64, strict=False),
        category=pl.col("Description").fill_null("").str.strip_chars().str.to_uppercase(),
        repeats=~pl.struct(columns).is_first_distinct(),
    )
    place = [frame[name].fill_null(np.nan).to_numpy() for name in ("longitude", "latitude")]
    frame = frame.with_columns(pl.Series("area", _areas_of(areas, *place)))
    reason = (
        pl.when(pl.col("time").is_null())
        .then(pl.lit("unparsable time"))
        .when(pl.col("longitude").is_null() | pl.col("latitude").is_null())
        .then(pl.lit("no coordinates"))
        .when(pl.col("area") < 0)
        .then(pl.lit("outside"))
        .when(pl.col("category") == "")
        .then(pl.lit("no category"))
        .otherwise(pl.lit(""))
    )
    frame = frame.with_columns(reason=reason)
    kept = frame.filter(pl.col("reason") == "").sort("time", maintain_order=True)
    kept.write_parquet(out, compression="zstd")
    frame.filter(pl.col("reason") != "").write_parquet(out.with_suffix(".aside.parquet"), compression="zstd")
    return len(kept)


def bare(table: Path, areas: Path, out: Path) -> str:
    """PyArrow reads the file and nothing is done with it; its rows, and the processor seconds without the start."""
    import pyarrow.csv

    del areas, out
    begin = time.process_time()
    with pyarrow.csv.open_csv(table) as reader:  # in blocks: the whole table need not fit in memory
        rows = sum(batch.num_rows for batch in reader)
    return f"{rows} {time.process_time() - begin}"


def _areas_of(areas: Path, longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first area that covers each distinct place, or -1."""
    import geopandas
    import shapely

    polygons = geopandas.read_file(areas).geometry.to_numpy()
    places, inverse = np.unique(np.column_stack([longitude, latitude]), axis=0, return_inverse=True)
    is_place = np.isfinite(places).all(axis=1)
    polygon, point = shapely.STRtree(shapely.points(places[is_place])).query(polygons, predicate="intersects")
    found = np.full(int(is_place.sum()), len(polygons), np.int64)
    np.minimum.at(found, point, polygon)
    ids = np.full(len(places), -1, np.int64)
    ids[is_place] = np.where(found == len(polygons), -1, found)
    result: NDArray[np.int64] = ids[inverse.ravel()]
    return result


RIVALS: dict[str, Any] = {"pandas": by_pandas, "polars": by_polars, "bare": bare}

if __name__ == "__main__":
    print(RIVALS[sys.argv[1]](*map(Path, sys.argv[2:5])))
