"""What a census says of the neighborhoods: for audits and descriptions only; nothing that forecasts may read it.

A file (CSV, Parquet, or the properties of GeoJSON) has one row per place. Names are matched to those of the prepared
city without regard to case, spaces and punctuation; which ones have no row is told, never filled in.

Shapes: N neighborhoods.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.own_files import parse_json

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Census", "is_csv", "plain_name", "read_census", "read_places"]

FLAG = "--census"


@dataclass(frozen=True, kw_only=True)
class Census:
    """Values of the neighborhoods [N] by what was asked for, NaN where the file has none."""

    values: dict[str, Float64]
    without: tuple[str, ...]
    """Neighborhoods that the file has no row of."""


def read_census(path: Path, *, name: str, asked: Sequence[str], neighborhoods: Sequence[str]) -> Census:
    """Read columns, or quotients of columns such as ``Vacant/Housing``, by neighborhood.

    Args:
        path: as of `read_places`.
        name: the column with the neighborhoods' names.
        asked: columns and quotients; a division by nothing gives NaN.
        neighborhoods: [N] names of the prepared city.

    Raises:
        UserError: the file cannot be read, has no such column or none of numbers, names a neighborhood twice, or not
            one of the city's.
    """
    frame = read_places(path)
    if name not in frame:
        raise UserError("--name", name, allowed=f"is not a column of {path.name}", remedy=did_you_mean(name, frame))
    keys = frame[name].astype("string").fillna("").map(plain_name)
    if (keys == "").any() or keys.duplicated().any():
        twice = frame[name][keys.duplicated() | (keys == "")].iloc[0]
        raise UserError(f"{FLAG} {path.name}", str(twice), allowed="names no neighborhood, or one twice")
    rows = dict(zip(keys, range(len(keys)), strict=True))
    place = np.array([rows.get(plain_name(one), -1) for one in neighborhoods], dtype=np.int64)
    if (place < 0).all():
        remedy = "Give the column of their names with --name"
        raise UserError(f"{FLAG} {path.name}", name, allowed="names not one of the city's neighborhoods", remedy=remedy)

    def column(one: str) -> Float64:
        return np.asarray(np.where(place < 0, np.nan, _numbers(frame, one, path)[place]))

    values = {}
    for one in asked:
        top, _, bottom = one.partition("/")
        values[one] = column(top.strip())
        if bottom:
            below = column(bottom.strip())
            values[one] = np.divide(values[one], below, out=np.full(len(place), np.nan), where=below > 0)
    without = tuple(one for one, row in zip(neighborhoods, place, strict=True) if row < 0)
    return Census(values=values, without=without)


def plain_name(name: object) -> str:
    """Return what of a name counts: letters and digits, whatever their case."""
    return re.sub(r"[\W_]+", "", str(name).casefold())


def _kind_of(file: Path) -> str:
    return file.name.casefold().removesuffix(".gz").rpartition(".")[2]


def is_csv(file: Path) -> bool:
    """Return whether a table of places is CSV, whose values are texts."""
    return _kind_of(file) == "csv"


def read_places(file: Path, flag: str = FLAG) -> DataFrame:
    """Return a table of places; of GeoJSON the properties, of CSV texts: a name may be 01, or 100 beside 1000.5.

    Raises:
        UserError: there is no such file, or it is damaged or of another kind.
    """
    import pandas as pd

    kind = _kind_of(file)
    remedy = f"Give a CSV, Parquet or GeoJSON file with {flag}"
    if not file.is_file():
        allowed = "is no file" if file.exists() else "does not exist"
        raise UserError(flag, file, allowed=allowed, remedy=remedy)
    try:
        if kind in ("geojson", "json"):
            content = gzip.open(file).read() if file.suffix == ".gz" else file.read_bytes()
            shapes = parse_json(content, str(file), {"features": [{"properties": dict}]})["features"]
            return pd.DataFrame([shape["properties"] for shape in shapes])
        if kind == "csv":
            return pd.read_csv(file, encoding="utf-8-sig", dtype=str)
        if kind in ("parquet", "geoparquet"):
            frame = pd.read_parquet(file)
            return frame[[name for name in frame if not isinstance(frame[name].iloc[0], bytes)]]
    except (OSError, EOFError, ValueError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        told = " ".join(str(error).split())
        raise UserError(flag, file, allowed=f"cannot be read ({told})", remedy=remedy) from None
    raise UserError(flag, file, allowed=f"is of a kind that is not read ('{kind}')", remedy=remedy)


def _numbers(frame: DataFrame, column: str, path: Path) -> Float64:
    """Return a column as numbers."""
    import pandas as pd

    if column not in frame:
        remedy = did_you_mean(column, [str(one) for one in frame])
        raise UserError(f"{FLAG} {path.name}", column, allowed="is not a column of it", remedy=remedy)
    given: Series = frame[column]
    numbers = pd.to_numeric(given, errors="coerce")
    if (numbers.isna() & given.notna()).any() or numbers.isna().all():
        example = given[numbers.isna()].iloc[0]
        raise UserError(
            f"{FLAG} {path.name}, {column}", str(example), allowed="must be a number, for every neighborhood"
        )
    if not np.isfinite(numbers.dropna()).all() or (numbers.dropna() < 0).any():
        raise UserError(f"{FLAG} {path.name}, {column}", allowed="must hold finite numbers of 0 or more")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
