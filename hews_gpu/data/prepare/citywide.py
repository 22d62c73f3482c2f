"""Layers without places: what happens to the whole city, or is measured of it, such as weather by the hour.

These tables are small, an hour or a day a row, and are read at once. Of each row are kept its time, when it became
known, its category where the layer has any, and a number for each of `values`; a cell that holds none has no number.

Shapes: R rows, V columns of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hews_gpu.arrays import Float64, UInt8
from hews_gpu.config import CityConfig, LayerConfig
from hews_gpu.data.clean import NULL_CATEGORIES, REASONS, block_frame, is_null_time, parse_numbers
from hews_gpu.data.events import DOUBTS, QUALITY, VALUE, VALUES_FILE
from hews_gpu.data.prepare.completeness import doubts_of_fetches, doubts_of_files
from hews_gpu.data.prepare.sort import QUARANTINE, quarantined, write_parquet
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import Block
from hews_gpu.data.readers.files import IncidentFile, columns_of, open_table
from hews_gpu.data.readers.schemas import TARGET, ReadSettings, require_targets
from hews_gpu.data.resolution import count_minutes, resolution_of
from hews_gpu.errors import UserError
from hews_gpu.files import write_json
from hews_gpu.progress import log
from hews_gpu.units import MINUTE_S

__all__ = ["prepare_citywide"]

LEAST_NUMBERS = 0.5  # of the cells that hold anything, so many have to be numbers


def prepare_citywide(city: CityConfig, layer: LayerConfig, files: Sequence[IncidentFile], folder: Path) -> None:
    """Read the files of a layer without places, and write its rows, quarantine.parquet and quality.json to a folder.

    Raises:
        UserError: a file is damaged, a column is missing, none of the rows can be used, or values are no numbers.
    """
    doubts = doubts_of_fetches(files, city.resolve(city.neighborhoods.file))
    whole, aside, more = _read(city, layer, files)
    doubts += more
    for doubt in doubts:
        log(f"warning: the table is not known to be complete: {doubt}")
    for name in layer.values:
        _require_numbers(f"[[layers]] {layer.name} values", name, whole)
    kept = whole[whole["reason"] == 0].sort_values("time_s", kind="stable")
    reasons = Counter(REASONS[code] for code in whole["reason"] if code)
    if not len(kept):
        most = ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common(3))
        allowed = f"none of the {len(whole)} rows can be used ({most})"
        raise UserError("[incidents] files", allowed=allowed, remedy="Check the files and [incidents.columns]")
    known = kept["known_s"].to_numpy()
    columns = {
        "time_s": pa.array(kept["time_s"].to_numpy()),
        "known_s": pa.array(known, mask=known == dates.NOT_A_TIME),
        "category": pa.array(kept["category"].astype(str).to_numpy(), pa.string()).dictionary_encode(),
        **{f"{VALUE}{name}": pa.array(kept[f"{VALUE}{name}"].to_numpy()) for name in layer.values},
    }
    pq.write_table(pa.table(columns), folder / VALUES_FILE)
    write_parquet(folder / "quarantine.parquet", QUARANTINE, aside)
    write_json(folder / QUALITY, {**_quality(whole, kept, reasons), DOUBTS: doubts})


def _read(
    city: CityConfig, layer: LayerConfig, files: Sequence[IncidentFile]
) -> tuple[pd.DataFrame, list[pa.Table], list[str]]:
    """Return all rows, those to be set aside with their reason; the latter as quarantine.parquet has them; all doubts.

    What is doubted is whether the files are whole.
    """
    settings = ReadSettings(
        mapped=dict(layer.columns),
        targets=layer.values,
        times=layer.times,
        timezone=city.city.timezone,
        is_layer=True,
        is_citywide=True,
    )
    frames, aside, names = list[pd.DataFrame](), list[pa.Table](), [file.name for file in files]
    read, noticed = list[IncidentFile](), Counter[tuple[int, str]]()
    for file in files:
        slashed: set[tuple[int, int, int]] = set()
        with open_table(file.path, file.name, settings) as table:
            columns = columns_of(file.path, table.names, file=file.name, settings=settings)
            require_targets([columns], settings.targets, f"[[layers]] {layer.name} values")
            for rows in table.blocks(columns):
                block = Block(rows, file.number, sum(map(len, frames)))
                for role in {"time", "date", "known"} & {*block.texts}:
                    slashed |= dates.slash_dates(block.text(role).values)
                frame = block_frame(block, reading=columns.reading)
                frame["reason"] = _reasons(frame, layer)
                frames.append(frame.assign(**{f"{VALUE}{name}": _numbers(block, name) for name in layer.values}))
                aside.append(quarantined(block, frame["reason"].to_numpy(), names))
            noticed.update({(file.number, what): n for what, n in table.noticed.items()})
        dates.require_month_first(file.name, slashed)
        rows = sum(map(len, frames)) - sum(one.rows for one in read)
        read.append(replace(file, columns=columns, rows=rows))
    doubts = doubts_of_files(read, {file.number: file.path for file in files}, noticed)
    return pd.concat(frames, ignore_index=True), aside, doubts


def _reasons(frame: pd.DataFrame, layer: LayerConfig) -> UInt8:
    """Return for what reason each row [R] is set aside, index into REASONS; 0 keeps it."""
    time_s = frame["time_s"].to_numpy()
    checks: dict[str, Any] = {
        "unparsable time": time_s == dates.NOT_A_TIME,
        "a time that stands for none": is_null_time(time_s),
    }
    if "category" in layer.columns:
        checks["no category"] = frame["category"].isin(["", *NULL_CATEGORIES]).to_numpy()
    if "known" in layer.columns:
        checks["no time at which it became known"] = frame["known_s"].to_numpy() == dates.NOT_A_TIME
    reason = np.zeros(len(frame), np.uint8)
    for name, holds in reversed(checks.items()):
        reason[holds] = REASONS.index(name)
    problem = frame["problem"].to_numpy()
    return np.where(problem > 0, problem, reason).astype(np.uint8)


def _numbers(block: Block, name: str) -> Float64:
    """Return the numbers [R] of a column of values; NaN for a cell without, and infinite for one that is no number."""
    column = block.text(f"{TARGET}{name}")
    numbers = parse_numbers(column.values)
    is_blank = column.is_blank | np.array([text.strip().upper() in NULL_CATEGORIES for text in column.texts], bool)
    return np.where(np.isnan(numbers) & ~is_blank, np.inf, numbers)[column.codes]


def _require_numbers(field: str, name: str, whole: pd.DataFrame) -> None:
    """Refuse a column of values of which most cells are no numbers; of the others, those that are none have none."""
    numbers = whole[f"{VALUE}{name}"]
    wrong, right = int(np.isinf(numbers).sum()), int(np.isfinite(numbers).sum())
    if right <= LEAST_NUMBERS * (wrong + right):
        remedy = "Name it under columns as the category, or leave it out"
        raise UserError(field, name, allowed=f"is no number in {wrong:,} of {len(whole):,} rows", remedy=remedy)
    whole[f"{VALUE}{name}"] = numbers.where(~np.isinf(numbers))


def _quality(whole: pd.DataFrame, kept: pd.DataFrame, reasons: Counter[str]) -> dict[str, Any]:
    """Return the content of quality.json."""
    time_s = kept["time_s"].to_numpy()
    resolution = resolution_of(count_minutes(time_s, np.zeros(len(kept), bool)))
    return {
        "rows_read": len(whole),
        "rows_kept": len(kept),
        "rows_quarantined": len(whole) - len(kept),
        "quarantined_by_reason": dict(reasons),
        "times": {"resolution_s": MINUTE_S if resolution is None else resolution.step_s},
    }
