"""`hews init NAME --from FILE`: a city file for a table that no schema fits, with a mapping of its columns to confirm.

Which column is what is proposed by `detect_columns`; by whose clock the times are, from what the source states, from a
second column that holds the local hour, or from the hours in which least happens. The proposal is a guess that a person
confirms: its reasons are told, and ten rows are shown as they would be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hews_gpu.data.clean import block_frame
from hews_gpu.data.detect_columns import MOST_DEGREES, Sample, detect_columns, require_some_time
from hews_gpu.data.propose_clock import Clock, propose_clock
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import TEXT, Block
from hews_gpu.data.readers.files import first_texts
from hews_gpu.data.readers.schemas import (
    Columns,
    ReadSettings,
    choose_columns,
    is_person_level,
    position_of,
    require_header,
)
from hews_gpu.data.readers.time_reading import TimeReading
from hews_gpu.errors import UserError

__all__ = ["DAILY_ADVICE", "SAMPLE_ROWS", "TARGET", "Proposal", "first_rows", "propose"]

SAMPLE_ROWS = 10_000
PREVIEW_ROWS = 10
DAILY_ADVICE = (
    "Its times are days, so that windows of a day are proposed: shorter ones would hold what is not known. If a column "
    "holds the time of the day, name it: time_of_day under [incidents.columns]."
)
TARGET = re.compile(r"HOMICIDE|MURDER|SHOOTING|SHOTS", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """What a table seems to be."""

    schema: str
    """Name of the schema that fits, or "mapped"."""
    columns: Mapping[str, str]
    """Role -> column, where no schema fits; in doubt, roles are missing."""
    missing: list[str]
    """Roles for which no column was found."""
    targets: list[str]
    """Categories of the sample that sound like homicides or shootings."""
    preview: list[list[str]]
    """The first rows as they would be read: time, longitude, latitude, category."""
    clock: Clock
    """By whose clock the times are."""
    is_daily: bool
    """Whether only the day of a row is known."""


def propose(file: Path) -> Proposal:
    """Look at the first rows of a table and propose which column is what.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """
    names, sample = first_rows(file, SAMPLE_ROWS)
    try:
        columns = choose_columns(names, file=file.name)
    except UserError:
        mapped = detect_columns(sample)
        roles = {role: position_of(name, names, file.name) for role, name in mapped.items()}
        columns = Columns(schema="mapped", names=names, roles=roles)
    chosen = {role: names[position] for role, position in columns.roles.items()}
    for name in chosen.values():
        dates.require_month_first(file.name, dates.slash_dates(pa.array(sample[name], pa.string())))
    require_some_time(file.name, sample, chosen)
    needed = "time" if "date" not in chosen else "date"
    categories = sample[chosen["category"]] if "category" in chosen else []
    clock = Clock() if columns.schema != "mapped" else propose_clock(file, sample, chosen)
    return Proposal(
        schema=columns.schema,
        columns=chosen if columns.schema == "mapped" else {},
        missing=[role for role in (needed, *MOST_DEGREES, "category") if role not in chosen],
        targets=sorted({" ".join(text.split()).upper() for text in categories if TARGET.search(text)}),
        preview=_preview({role: sample[name] for role, name in chosen.items()}, clock.reading) if chosen else [],
        clock=clock,
        is_daily="date" in chosen and "time_of_day" not in chosen,
    )


def first_rows(path: Path, count: int) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Return the names of all columns, and the text of the first rows by name without those that describe a person.

    Of several columns of one name the first is taken, as `prepare` does of those that it does not need.

    Raises:
        UserError: the file is missing, of no known kind, or damaged.
    """
    if not path.is_file():
        raise UserError("--from", path, allowed="does not exist", remedy="Name a table of incidents")
    names: list[str] = []

    def choose(of_file: tuple[str, ...]) -> dict[str, int]:
        require_header(of_file, path.name)
        names.extend(of_file)
        return {name: names.index(name) for name in names if not is_person_level(name)}

    sample = first_texts(path, path.name, choose, ReadSettings(block_rows=count))
    return tuple(names), sample


def _preview(columns: Sample, reading: TimeReading) -> list[list[str]]:
    """Return the first rows of the columns by role as `hews prepare` would read them."""
    columns = {role: values[:PREVIEW_ROWS] for role, values in columns.items()}
    count = len(next(iter(columns.values())))
    content: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("line", "problem")}
    texts = {role: pa.array(values, pa.string()).dictionary_encode().cast(TEXT) for role, values in columns.items()}
    frame: pd.DataFrame = block_frame(Block(pa.table({**content, **texts})), reading=reading)
    times = frame["time_s"].to_numpy().astype("datetime64[s]")  # what is not a time is not a time of NumPy's either
    shown = ["unreadable" if np.isnat(time) else str(time).replace("T", " ") for time in times]
    if "date" in columns and "time_of_day" not in columns:
        shown = [text if text == "unreadable" else f"{text[:10]} at no time" for text in shown]
    rows = []
    for when, x, y, category in zip(shown, frame["longitude"], frame["latitude"], frame["category"], strict=True):
        place = ["none" if np.isnan(degrees) else f"{degrees:.5f}" for degrees in (x, y)]
        rows.append([when, *place, str(category) or "none"])
    return rows
