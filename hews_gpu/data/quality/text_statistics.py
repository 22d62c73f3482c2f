"""What the texts of a block say of the table's quality: blanks by month and column, and what columns give away.

Works on the columns of a block, each distinct text once, and on the verdicts of `clean` on the same rows. The counts
add up over blocks.

Shapes: R rows of a block, D distinct values of a column, M months.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hews_gpu.data.quality import label_information as leaks
from hews_gpu.data.quality.counts import Counts, added
from hews_gpu.data.quality.dictionary_column import Block, Encoded, digits_hidden, distinct
from hews_gpu.data.quality.label_information import Contingency
from hews_gpu.data.readers import dates as times
from hews_gpu.data.readers.schemas import POINT_ROLES, TIME_ROLES
from hews_gpu.units import DAY_S

__all__ = ["TextTally", "missing_by_month", "tally_texts"]

ROLES = frozenset({*TIME_ROLES, *POINT_ROLES, "category"})
LABELS = 2  # no target, target

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = dict[str, Contingency]


@dataclass(kw_only=True)
class TextTally:
    """Counts of the texts of some rows; `+=` adds those of other rows."""

    months: dict[str, Counts] = field(default_factory=dict)
    """Column -> rows of tables that have the column by month since 1970."""
    blanks: dict[str, Counts] = field(default_factory=dict)
    """The same of rows in which it is blank."""
    undated: Counter[str] = field(default_factory=Counter)
    """Column -> rows of tables that have it whose time cannot be read."""
    columns: dict[tuple[Any, str], Contingency] = field(default_factory=dict)
    """Layout of the file; column, or feature of how it is written -> kept rows by value and label."""
    zones: Counter[int] = field(default_factory=Counter)
    """Source -> rows whose time carries a zone such as +00."""
    commas: Counter[int] = field(default_factory=Counter)
    """Source -> rows with a comma in a coordinate."""

    def __iadd__(self, other: TextTally) -> TextTally:
        """Add the counts of other rows."""
        added(self.months, other.months)
        added(self.blanks, other.blanks)
        self.undated.update(other.undated)
        self.zones.update(other.zones)
        self.commas.update(other.commas)
        for name, counts in other.columns.items():
            self.columns.setdefault(name, Contingency()).__iadd__(counts)
        return self


def tally_texts(block: Block, frame: pd.DataFrame, charts: Collection[str] = (), layout: Hashable = 0) -> TextTally:
    """Count one block.

    Args:
        block: its rows.
        frame: the verdicts of `clean` on them.
        charts: the charts-only columns.
        layout: what tells the layout of the block's source from others.
    """
    counts = TextTally()
    time_s = frame["time_s"].to_numpy()
    is_dated, month = _months(time_s)
    of_all = Counts.of(month[is_dated])
    source = int(block.table["source"][0].as_py())
    columns: dict[str, Contingency] = {}
    kept, is_target = frame["reason"].to_numpy() == 0, frame["is_target"].to_numpy()
    label = np.where(kept, is_target.astype(np.int64), LABELS)
    for name, column in block.texts.items():
        counts.months[name] = of_all
        counts.undated[name] = len(is_dated) - int(is_dated.sum())
        if column.is_blank.any():
            counts.blanks[name] = Counts.of(month[column.is_blank[column.codes] & is_dated])
        if name in ("time", "time_of_day"):
            counts.zones[source] += _rows_with(column, times.HAS_ZONE)
        elif name in POINT_ROLES:
            counts.commas[source] += _rows_with(column, ",")
        cells = np.bincount(column.codes * (LABELS + 1) + label, minlength=(LABELS + 1) * len(column.values))
        rows = cells.reshape(len(column.values), LABELS + 1)[:, :LABELS]
        _count_labels(columns, name, column, rows, with_forms=name in charts)
    _count_clock(columns, time_s[kept], is_target[kept])
    counts.columns = {(layout, name): found for name, found in columns.items()}
    return counts


def _months(time_s: Ints) -> tuple[Bools, Ints]:
    """Whether each row has a time, and its month since 1970."""
    is_dated = time_s != times.NOT_A_TIME
    days = np.where(is_dated, time_s // DAY_S, 0)
    first = int(days.min(initial=0))
    month_of = np.arange(first, int(days.max(initial=0)) + 1).astype("datetime64[D]").astype("datetime64[M]")
    return is_dated, month_of.astype(np.int64)[days - first]


def _rows_with(column: Encoded, pattern: str) -> int:
    """Rows in which a text holds what a pattern of RE2 finds."""
    found = pc.match_substring_regex(column.values, pattern).to_numpy(zero_copy_only=False)
    return int(found[column.codes].sum()) if found.any() else 0


def _count_labels(columns: Columns, name: str, column: Encoded, rows: Ints, *, with_forms: bool) -> None:
    """Kept rows [D, 2] by value and label; of the columns that models read only how their numbers are written."""
    if name == "category":
        return
    if name in ROLES:
        _add(columns, f"{name}: pattern", digits_hidden(column.values), rows)
        return
    _add(columns, name, column.values, rows)
    for feature, form in leaks.forms(name).items() if with_forms else ():
        _add(columns, feature, pa.array(map(form, column.texts), pa.string()), rows)


def _add(columns: Columns, feature: str, texts: pa.Array, rows: Ints) -> None:
    """Add rows [len(texts), 2]; texts may repeat."""
    names, codes = distinct(texts)
    total = np.zeros((len(names), LABELS), np.int64)
    if len(names) == len(texts):
        total[:] = rows
    else:
        np.add.at(total, codes, rows)
    columns.setdefault(feature, Contingency()).add(names, total)


def _count_clock(columns: Columns, time_s: Ints, is_target: Bools) -> None:
    """How round the times are, by label."""
    second = time_s % DAY_S
    features = {
        "clock: minute is 0": second % 3600 < 60,
        "clock: minute is 0 or 30": second % 1800 < 60,
        "clock: exact midnight": second == 0,
        "clock: second is 0": second % 60 == 0,
    }
    for name, holds in features.items():
        rows = [[int((holds[is_target == label] == value).sum()) for label in (False, True)] for value in (False, True)]
        _add(columns, name, pa.array(["False", "True"]), np.array(rows, np.int64))


def missing_by_month(counts: TextTally) -> dict[str, Any]:
    """Rows and blank rows of each column by month, months without rows included; for quality.json."""
    found = sum(counts.months.values(), Counts()).numbers
    months = range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)
    return {
        "months": [str(np.datetime64(month, "M")) for month in months],
        "columns": {
            name: {"rows": rows.listed(months), "blank": counts.blanks.get(name, Counts()).listed(months)}
            for name, rows in counts.months.items()
        },
        "rows_without_month": {name: rows for name, rows in counts.undated.items() if rows},
    }
