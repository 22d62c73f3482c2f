"""What the texts of a block say of the table's quality: blanks by month and column, and what columns give away.

Works on the columns of a block, each distinct text once, and on the verdicts of `clean` on the same rows. The counts
add up over blocks.

Shapes: R rows of a block, D distinct values of a column, M months.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import normal_category
from hews_gpu.data.quality.label_information import Contingency, forms
from hews_gpu.data.quality.tallies import Tally, count_rows, months_of
from hews_gpu.data.readers import dates
from hews_gpu.data.readers.dictionary_column import Block, DictionaryColumn, digits_hidden, distinct
from hews_gpu.data.readers.schemas import POINT_ROLES, TARGET, TIME_ROLES
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

__all__ = ["TextTally", "marking_values", "missing_by_month", "missing_rows", "tally_texts"]

ROLES = frozenset({*TIME_ROLES, *POINT_ROLES, "category"})
LABELS = 2  # no target, target
MOST_VALUES = 100  # of a column that marks targets: more than a flag or a list has

Months = Counter[int | None]
"""Rows by month since 1970, or None where the time cannot be read."""


@dataclass(kw_only=True)
class TextTally(Tally):
    """Counts of the texts of some rows."""

    months: dict[tuple[str, ...], Months] = field(default_factory=dict)
    """All columns that are read of a table -> rows of such tables."""
    blanks: dict[str, Months] = field(default_factory=dict)
    """Column -> rows in which it is blank."""
    columns: dict[tuple[Hashable, str], Contingency] = field(default_factory=dict)
    """Layout of the file; column, or feature of how it is written -> kept rows by value and label."""
    marking: dict[str, Counter[str]] = field(default_factory=dict)
    """Column that marks targets -> rows by what it says, in normal spelling; the most frequent."""
    zones: Counter[int] = field(default_factory=Counter)
    """Source -> rows whose time carries a zone such as +00."""
    commas: Counter[int] = field(default_factory=Counter)
    """Source -> rows with a comma in a coordinate."""
    slash_dates: dict[int, set[dates.SlashDate]] = field(default_factory=dict)
    """Source -> distinct dates with slashes."""
    noticed: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Source, what its reader noticed -> rows."""


def tally_texts(block: Block, frame: pd.DataFrame, charts: Collection[str] = (), layout: Hashable = ()) -> TextTally:
    """Count one block, given the verdicts of `clean`, the charts-only columns and the layout of the block's file."""
    time_s = frame["time_s"].to_numpy()
    kept, is_target = frame["reason"].to_numpy() == 0, frame["is_target"].to_numpy()
    is_dated = time_s != dates.NOT_A_TIME
    month = months_of(np.where(is_dated, time_s // DAY_S, 0))

    def by_month(rows: Bool) -> Months:
        return Counter({**count_rows(month[rows & is_dated]), None: int((rows & ~is_dated).sum())})

    tally = TextTally(months={tuple(block.texts): by_month(np.ones(len(block), bool))})
    label = np.where(kept, is_target.astype(np.int64), LABELS)
    for name, column in block.texts.items():
        if column.is_blank.any():
            tally.blanks[name] = by_month(column.is_blank[column.codes])
        if name in ("time", "time_of_day"):
            tally.zones[block.file] += _rows_with(column, dates.HAS_ZONE)
        elif name in POINT_ROLES:
            tally.commas[block.file] += _rows_with(column, ",")
        if name in ("time", "date"):
            tally.slash_dates[block.file] = dates.slash_dates(column.values)
        if name.startswith(TARGET):  # it is the label
            tally.marking[name.removeprefix(TARGET)] = _rows_by_value(column)
            continue
        cells = np.bincount(column.codes * (LABELS + 1) + label, minlength=(LABELS + 1) * len(column.values))
        rows = cells.reshape(len(column.values), LABELS + 1)[:, :LABELS]
        for feature, texts in _features(name, column, with_forms=name in charts):
            tally.columns[layout, feature] = _contingency(texts, rows)
    for feature, counts in _clock_features(time_s[kept] % DAY_S, is_target[kept]):
        tally.columns[layout, feature] = counts
    return tally


def _rows_by_value(column: DictionaryColumn) -> Counter[str]:
    rows: Counter[str] = Counter()
    for text, n in zip(column.texts, np.bincount(column.codes, minlength=len(column.texts)).tolist(), strict=True):
        rows[normal_category(text)] += n
    return Counter(dict(rows.most_common(MOST_VALUES)))


def _rows_with(column: DictionaryColumn, pattern: str) -> int:
    """Return the number of rows in whose text a pattern of RE2 occurs."""
    matches = pc.match_substring_regex(column.values, pattern).to_numpy(zero_copy_only=False)
    return int(matches[column.codes].sum()) if matches.any() else 0


def _features(name: str, column: DictionaryColumn, *, with_forms: bool) -> Iterator[tuple[str, pa.Array]]:
    """Give the texts [D] of a column and of how it is written; of those that models read, how their numbers are."""
    if name not in ROLES:
        yield name, column.values
        for feature, form in forms(name).items() if with_forms else ():
            yield feature, pa.array(map(form, column.texts), pa.string())
    elif name != "category":
        yield f"{name}: pattern", digits_hidden(column.values)


def _clock_features(second: Int64, is_target: Bool) -> Iterator[tuple[str, Contingency]]:
    """Give how round the times are, by label."""
    clock = {
        "clock: minute is 0": second % HOUR_S < MINUTE_S,
        "clock: minute is 0 or 30": second % (HOUR_S // 2) < MINUTE_S,
        "clock: exact midnight": second == 0,
        "clock: second is 0": second % MINUTE_S == 0,
    }
    for name, holds in clock.items():
        rows = np.bincount(2 * holds + is_target, minlength=4).reshape(2, LABELS)
        yield name, _contingency(pa.array(["False", "True"]), rows)


def _contingency(texts: pa.Array, rows: Int64) -> Contingency:
    """Count rows [len(texts), 2] by value and label; texts may repeat."""
    values, codes = distinct(texts)
    if len(values) < len(texts):
        total = np.zeros((len(values), LABELS), np.int64)
        np.add.at(total, codes, rows)
        rows = total
    result = Contingency()
    result.add(values, rows)
    return result


def missing_rows(tally: TextTally) -> dict[str, int]:
    """Return column -> rows in which it is blank or could not be read, over all files; for quality.json."""
    columns = dict.fromkeys(name for columns in tally.months for name in columns)
    return {name: sum(tally.blanks.get(name, Months()).values()) for name in columns}


def marking_values(tally: TextTally) -> dict[str, dict[str, int]]:
    """Return column that marks targets -> rows by what it says, the most frequent first; for quality.json."""
    return {name: dict(rows.most_common(MOST_VALUES)) for name, rows in sorted(tally.marking.items())}


def missing_by_month(tally: TextTally) -> dict[str, Any]:
    """Return rows and blank rows of each column by month, months without rows included; for quality.json."""
    columns: dict[str, Months] = {}  # rows of tables that have a column
    for names, rows in tally.months.items():
        for name in names:
            columns[name] = columns.get(name, Months()) + rows
    there = {month for months in columns.values() for month in months if month is not None}
    months = range(min(there), max(there) + 1) if there else range(0)

    def listed(counts: Months) -> list[int]:
        return [counts[month] for month in months]

    return {
        "months": [str(np.datetime64(month, "M")) for month in months],
        "columns": {
            name: {"rows": listed(rows), "blank": listed(tally.blanks.get(name, Months()))}
            for name, rows in columns.items()
        },
        "rows_without_month": {name: rows[None] for name, rows in columns.items() if rows[None]},
    }
