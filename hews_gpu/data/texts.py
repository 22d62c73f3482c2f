"""What the texts of a block say of the table's quality: blanks by month and column, and what columns give away.

Works on the dictionary-encoded columns of a block of `read_sources`, each distinct text once, and on the verdicts of
`clean` on the same rows. The counts add up over blocks.

Shapes: R rows of a block, D distinct values of a column, M months.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from hews_gpu.data import leaks, times
from hews_gpu.data.leaks import Contingency
from hews_gpu.data.schemas import POINT_ROLES, TIME_ROLES

__all__ = ["TextTally", "missing_by_month", "tally_texts"]

NO_MONTH = -1_000_000  # of a row whose time cannot be read
ROLES = frozenset({*TIME_ROLES, *POINT_ROLES, "category"})
FIRST_COLUMN = 4  # of a block, after source, row_id, line and problem
DIGIT = str.maketrans("123456789", "0" * 9)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = dict[str, Contingency]


@dataclass(kw_only=True)
class TextTally:
    """Counts of the texts of some rows; `+=` adds those of other rows."""

    months: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Column, months since 1970 (or NO_MONTH) -> rows of tables that have the column."""
    blanks: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The same of rows in which it is blank."""
    columns: dict[tuple[Any, str], Contingency] = field(default_factory=dict)
    """Layout of the file; column, or feature of how it is written -> kept rows by value and label."""
    zones: Counter[int] = field(default_factory=Counter)
    """Source -> rows whose time carries a zone such as +00."""
    commas: Counter[int] = field(default_factory=Counter)
    """Source -> rows with a comma in a coordinate."""

    def __iadd__(self, other: TextTally) -> TextTally:
        """Add the counts of other rows."""
        self.months += other.months
        self.blanks += other.blanks
        self.zones += other.zones
        self.commas += other.commas
        for name, counts in other.columns.items():
            self.columns.setdefault(name, Contingency()).__iadd__(counts)
        return self


def tally_texts(table: pa.Table, frame: pd.DataFrame, charts: Collection[str] = (), layout: Hashable = 0) -> TextTally:
    """Count one block.

    Args:
        table: the block.
        frame: the verdicts of `clean` on its rows.
        charts: the charts-only columns.
        layout: what tells the layout of the block's source from others.
    """
    counts = TextTally()
    time_s = frame["time_s"].to_numpy()
    month = np.full(len(frame), NO_MONTH, np.int64)
    known = time_s != times.NOT_A_TIME
    month[known] = time_s[known].astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    source = int(table["source"][0].as_py())
    columns: dict[str, Contingency] = {}
    kept, is_target = frame["reason"].to_numpy() == 0, frame["is_target"].to_numpy()
    for name in table.column_names[FIRST_COLUMN:]:
        column = table[name].combine_chunks()
        texts = [text or "" for text in column.dictionary.to_pylist()]
        codes = column.indices.fill_null(len(texts)).to_numpy().astype(np.int64)
        texts.append("")
        is_blank = np.array([not text.strip() for text in texts], bool)[codes]
        counts.months += _by_month(name, month)
        counts.blanks += _by_month(name, month[is_blank])
        if name in ("time", "time_of_day"):
            counts.zones[source] += _rows_with(texts, codes, lambda text: bool(times.HAS_ZONE.search(text)))
        elif name in POINT_ROLES:
            counts.commas[source] += _rows_with(texts, codes, lambda text: "," in text)
        rows = np.zeros((len(texts), 2), np.int64)
        for label in (False, True):
            rows[:, int(label)] = np.bincount(codes[kept & (is_target == label)], minlength=len(texts))
        _count_labels(columns, name, texts, rows, with_forms=name in charts)
    _count_clock(columns, time_s[kept], is_target[kept])
    counts.columns = {(layout, name): found for name, found in columns.items()}
    return counts


def _by_month(name: str, month: Ints) -> Counter[tuple[str, int]]:
    found, rows = np.unique(month, return_counts=True)
    return Counter({(name, m): n for m, n in zip(found.tolist(), rows.tolist(), strict=True)})


def _rows_with(texts: list[str], codes: Ints, test: Callable[[str], bool]) -> int:
    return int(np.array([test(text) for text in texts], bool)[codes].sum())


def _count_labels(columns: Columns, name: str, texts: list[str], rows: Ints, *, with_forms: bool) -> None:
    """Kept rows [D, 2] by value and label; of the columns that models read only how their numbers are written."""
    if name == "category":
        return
    if name in ROLES:
        _add(columns, f"{name}: pattern", [text.translate(DIGIT) for text in texts], rows)
        return
    _add(columns, name, texts, rows)
    for feature, form in leaks.forms(name).items() if with_forms else ():
        _add(columns, feature, [form(text) for text in texts], rows)


def _add(columns: Columns, feature: str, values: list[str], rows: Ints) -> None:
    """Add rows [len(values), 2]; values may repeat."""
    codes, names = pd.factorize(np.array(values, object))
    total = np.stack([np.bincount(codes, rows[:, label], len(names)) for label in (0, 1)], axis=1).astype(np.int64)
    columns.setdefault(feature, Contingency()).add(names.tolist(), total)


def _count_clock(columns: Columns, time_s: Ints, is_target: Bools) -> None:
    """How round the times are, by label."""
    second = time_s % times.DAY_S
    features = {
        "clock: minute is 0": second % 3600 < 60,
        "clock: minute is 0 or 30": second % 1800 < 60,
        "clock: exact midnight": second == 0,
        "clock: second is 0": second % 60 == 0,
    }
    for name, holds in features.items():
        rows = [[int((holds[is_target == label] == value).sum()) for label in (False, True)] for value in (False, True)]
        _add(columns, name, ["False", "True"], np.array(rows, np.int64))


def missing_by_month(counts: TextTally) -> dict[str, Any]:
    """Rows and blank rows of each column by month, months without rows included; for quality.json."""
    found = [month for _, month in counts.months if month != NO_MONTH]
    months = list(range(min(found), max(found) + 1)) if found else []
    columns = dict.fromkeys(name for name, _ in counts.months)

    def series(by: Mapping[tuple[str, int], int], name: str) -> list[int]:
        return [by.get((name, month), 0) for month in months]

    return {
        "months": [str(np.datetime64(month, "M")) for month in months],
        "columns": {
            name: {"rows": series(counts.months, name), "blank": series(counts.blanks, name)} for name in columns
        },
        "rows_without_month": {name: n for (name, month), n in counts.months.items() if month == NO_MONTH},
    }
