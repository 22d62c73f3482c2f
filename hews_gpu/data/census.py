"""What a census says of the neighborhoods: for audits and descriptions only; nothing that forecasts may read it.

A file has one row per neighborhood: a table (CSV), or the attributes of a file of polygons. Names are matched to those
of the prepared city without regard to case, spaces and punctuation; which ones have no row is told, never filled in.

Shapes: N neighborhoods.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.data.geometry.polygon_files import KINDS, SECTION, read_attributes
from hews_gpu.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Census", "read_census"]

CSV = (".csv", ".csv.gz")
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
        path: a CSV file, or one of polygons.
        name: the column with the neighborhoods' names.
        asked: columns and quotients; a division by nothing gives NaN.
        neighborhoods: [N] names of the prepared city.

    Raises:
        UserError: the file cannot be read, has no such column or none of numbers, names a neighborhood twice, or not
            one of the city's.
    """
    frame = _read(path, name)
    keys = frame[name].astype("string").fillna("").map(_key)
    if (keys == "").any() or keys.duplicated().any():
        twice = frame[name][keys.duplicated() | (keys == "")].iloc[0]
        raise UserError(f"{FLAG} {path.name}", str(twice), allowed="names no neighborhood, or one twice")
    rows = dict(zip(keys, range(len(keys)), strict=True))
    place = np.array([rows.get(_key(one), -1) for one in neighborhoods], dtype=np.int64)
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


def _key(name: str) -> str:
    """Return what of a name counts."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _read(path: Path, name: str) -> DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UserError(FLAG, path, allowed="does not exist" if not path.exists() else "is no file")
    if not path.name.casefold().endswith(CSV):
        if path.suffix.casefold() not in KINDS:
            raise UserError(FLAG, path, allowed=f"must be a CSV file, or one of polygons: {', '.join(KINDS)}")
        try:
            return read_attributes(path, name)
        except UserError as error:
            field = "--name" if error.field == f"{SECTION} name" else FLAG
            raise UserError(field, error.value, allowed=error.allowed, remedy=error.remedy) from None
    try:
        frame = pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own errors of parsing are ValueErrors
        raise UserError(FLAG, path, allowed=f"cannot be read as CSV ({' '.join(str(error).split())})") from None
    if name not in frame:
        raise UserError("--name", name, allowed=f"is not a column of {path.name}", remedy=did_you_mean(name, frame))
    return frame


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
