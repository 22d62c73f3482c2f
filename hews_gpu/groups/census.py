"""Census columns of the places where rows lie, joined by name: one row per place, never one per person.

They serve to describe groups here and to audit fairness; no forecast reads them. A column of whole numbers counts
people or households and is divided by the place's inhabitants, where the table has them. A place that the table misses,
or of fewer than `LEAST_PEOPLE` inhabitants, has no shares: its rows are left out and counted.

Shapes: N neighborhoods, C census columns.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.census import is_csv, plain_name, read_places
from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.progress import log

__all__ = ["Census", "read_census"]

LEAST_PEOPLE = 100
MOST_BLANK = 0.1  # of the places; a column with more is left out
MOST_MISSED = 0.2  # of the rows
MOSTLY = 0.9
NAMED = 8  # places in one line
CLOSE = 0.9  # of difflib's ratio
PERSON = re.compile(
    r"victim(?!i[sz])|vict?[ _]|suspect|offender|perpetrat|arrestee|surname|(first|last|full).?name|\bdob\b|birth.?da",
    re.I,
)
POPULATION = re.compile(r"(t|total)?pop(ulation)?\d*")
NO_CENSUS = re.compile(r"(object|f|g|o|geo)?id\d*|shape.*|x|y|lon(gitude)?|lat(itude)?|area.*|perimeter")


@dataclass(frozen=True, kw_only=True)
class Census:
    """Columns of the city's neighborhoods."""

    names: tuple[str, ...]  # [C]
    numbers: Float64  # [N, C]
    is_known: Bool  # [N]
    missed: tuple[str, ...]
    """Neighborhoods with rows that have none of it."""
    left_out: dict[str, str]
    """Column -> why it is not among the names."""
    rows_missed: int


def read_census(prepared: Prepared, place: Int64, file: Path | None, crosswalk: Path | None) -> Census:
    """Read a table of places and join it to a city's neighborhoods.

    Args:
        prepared: the city.
        place: [R] the row of the neighborhoods of each victim.
        file: CSV, Parquet or GeoJSON; the city's file of polygons unless given.
        crosswalk: CSV that names, for each neighborhood, the place of the census table it belongs to.

    Raises:
        UserError: no such file, no column of names that fits, several rows of one place, a column that describes
            persons, no column that varies, or too many rows of places that it misses.
    """
    file = file or prepared.city.resolve(prepared.city.neighborhoods.file)
    frame = read_places(file)
    if persons := [name for name in frame if PERSON.search(str(name))]:
        allowed = f"has a column that describes persons ('{persons[0]}'); only columns of places are read"
        raise UserError("--census", file, allowed=allowed, remedy="Give a table with one row per place")
    frame = _by_name(frame, _wanted(prepared, crosswalk, frame), file)
    frame.index = pd.Index(prepared.names)
    if is_csv(file):
        frame = frame.apply(_as_numbers)
    names, numbers, left_out = _numbers(frame)
    for name, why in left_out.items():
        log(f"{file.name}: {name} {why}, so that it is left out")
    if not names and not left_out:
        remedy = "Give a table with census columns by place"
        raise UserError("--census", file, allowed="has no column of numbers beside the names", remedy=remedy)
    is_known: Bool = np.isfinite(numbers).all(axis=1) & frame.notna().any(axis=1).to_numpy()
    rows = np.bincount(place, minlength=len(is_known))
    missed = [name for name, known, some in zip(prepared.names, is_known, rows, strict=True) if some and not known]
    rows_missed = int(rows[~is_known].sum())
    if missed:
        told = f"misses {len(missed)} neighborhoods ({_some(missed)}) with {rows_missed:,} of {len(place):,} rows"
        if rows_missed > MOST_MISSED * len(place):
            remedy = "Name its places as the city does, or give a --crosswalk"
            raise UserError("--census", file, allowed=f"{told}; at most {MOST_MISSED:.0%} may be missed", remedy=remedy)
        log(f"{file.name} {told}, which are left out (blank, or fewer than {LEAST_PEOPLE} inhabitants)")
    if not names:
        why = "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "none"
        allowed = f"has no column of numbers that varies ({why})"
        raise UserError("--census", file, allowed=allowed, remedy="Give a table with census columns by place")
    return Census(
        names=tuple(names),
        numbers=np.where(is_known[:, None], numbers, 0.0),
        is_known=is_known,
        missed=tuple(missed),
        left_out=left_out,
        rows_missed=rows_missed,
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _named_by(frame: pd.DataFrame, names: Iterable[str]) -> tuple[str, int]:
    """Return the column of text that holds the most of some names, and how many."""
    wanted = {plain_name(name) for name in names}
    texts = [name for name in frame if pd.api.types.is_string_dtype(frame[name]) or frame[name].dtype == object]
    hits = {str(name): len(wanted & {*map(plain_name, frame[name].dropna())}) for name in texts}
    return max(hits.items(), key=lambda hit: hit[1], default=("", 0))


def _wanted(prepared: Prepared, crosswalk: Path | None, census: pd.DataFrame) -> list[str]:
    """Return, for each neighborhood, the place of the census table that it belongs to, by its name."""
    if crosswalk is None:
        return prepared.names
    frame = read_places(crosswalk, "--crosswalk").dropna()
    own, hits = _named_by(frame, prepared.names)
    others = {name: _named_by(census, frame[name])[1] for name in frame if name != own}
    place = max(others, key=lambda name: others[name], default="")
    if not hits or not others.get(place):
        what = "the census table's places" if hits else "the city's neighborhoods"
        allowed = f"has no column with names of {what}"
        raise UserError("--crosswalk", crosswalk, allowed=allowed, remedy="Name both as their tables do")
    places = {plain_name(name): str(of) for name, of in zip(frame[own], frame[place], strict=True)}
    return [places.get(plain_name(name), name) for name in prepared.names]


def _by_name(frame: pd.DataFrame, wanted: Sequence[str], file: Path) -> pd.DataFrame:
    """Return the table's row of each neighborhood; blanks where it has none.

    Raises:
        UserError: no column of names fits, or a place has several rows.
    """
    column, hits = _named_by(frame, wanted)
    remedy = "Name its places as the city does, or give a --crosswalk"
    if not hits:
        raise UserError("--census", file, allowed="names none of the city's neighborhoods", remedy=remedy)
    frame = frame[frame[column].notna()]
    plain = frame[column].map(plain_name)
    if (twice := plain[plain.duplicated()]).size:
        name = frame.loc[twice.index[0], column]
        allowed = f"has {int((plain == twice.iloc[0]).sum())} rows of '{name}', and must have one row per place"
        raise UserError(
            "--census", file, allowed=allowed, remedy="Rows of persons are never read: add them up by place"
        )
    there = set(plain)
    keys = [key if (key := plain_name(name)) in there else "" for name in wanted]
    left = there - set(keys)
    for at, name in enumerate(wanted):
        if not keys[at] and (near := difflib.get_close_matches(plain_name(name), left, 1, CLOSE)):
            keys[at] = near[0]
            left.remove(near[0])
            log(f"{file.name}: '{name}' is taken for '{frame.loc[plain == near[0], column].iloc[0]}'")
    return frame.drop(columns=column).set_index(plain).reindex(keys)


def _as_numbers(texts: pd.Series) -> pd.Series:
    """Return a column of texts as numbers, if all are."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers if numbers.notna().equals(texts.notna()) else texts


def _is_count(values: Float64) -> bool:
    """Return whether values count something: whole numbers, but for the places that a table had to cut in two."""
    positive = values[values > 0]
    return len(positive) > 0 and bool((positive == np.round(positive)).mean() >= MOSTLY and positive.max() > 1)


def _numbers(frame: pd.DataFrame) -> tuple[list[str], Float64, dict[str, str]]:
    """Return names and numbers [N, C] of the columns of use, and why others are of none."""
    numeric = {
        str(name): frame[name].to_numpy(np.float64, na_value=np.nan)
        for name in frame
        if pd.api.types.is_numeric_dtype(frame[name]) and not NO_CENSUS.fullmatch(plain_name(name))
    }
    blank = [str(name) for name in frame if frame[name].isna().all()]
    left_out = dict.fromkeys(blank, "is blank everywhere")
    people = next((name for name in numeric if POPULATION.fullmatch(plain_name(name)) and name not in blank), None)
    is_known = np.isfinite(numeric[people]) if people else frame.notna().any(axis=1).to_numpy()
    kept: dict[str, Any] = {}
    for name, values in numeric.items():
        if name in left_out:
            continue
        there = values[np.isfinite(values)]
        if np.isnan(values[is_known]).mean() > MOST_BLANK and people != name:
            left_out[name] = f"is blank in {np.isnan(values[is_known]).mean():.0%} of the places"
        elif there.min() == there.max():
            left_out[name] = f"is {there[0]:g} everywhere"
        elif people and name != people and _is_count(there):
            with np.errstate(divide="ignore", invalid="ignore"):
                kept[f"{name} per inhabitant"] = values / numeric[people]
        else:
            kept[name] = values
    numbers = np.column_stack(list(kept.values())) if kept else np.zeros((len(frame), 0))
    if people is not None:
        numbers[~(numeric[people] >= LEAST_PEOPLE)] = np.nan
    return list(kept), numbers, left_out
