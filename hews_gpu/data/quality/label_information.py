"""How much a column that no model reads gives away of the label: mutual information, from counts that add up.

Formatting may betray the answer: in one real table a column is spelled out on exactly the target rows.
For each text column, and for a few features of how a value is written, this measures the mutual information with
`is_target` over the kept rows, in bits, and as a share of the label's entropy.

Estimator: plug-in, minus the bias of Miller and Madow, (cells - values - 2 + 1) / (2 rows) nats, where cells and values
are those that occur (Miller, "Note on the bias of information estimates", 1955); at least 0. The correction holds
where cells hold several rows. So a column with more than MAX_VALUES distinct values, or with fewer than
ROWS_PER_VALUE rows for each, is hashed into at most BINS bins that have as many; this bounds memory too. It hides what
single addresses say of crime, which is geography, and so the way values are written is measured apart (`forms`), where
formatting shows with few values.

Shapes: R rows, D distinct values of a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from hews_gpu.arrays import Int64
from hews_gpu.data.readers.dictionary_column import hashes_of

__all__ = ["WARN_SHARE", "Contingency", "forms", "information", "label_information"]

MAX_VALUES = 1024
BINS = 256
ROWS_PER_VALUE = 20
WARN_SHARE = 0.05  # of the label's entropy: about what the small-scale geography of crime says (a post, an area)
MIN_ROWS = 300  # chance alone passes WARN_SHARE with 5 values in 2 of 1000 such tables, with 15 in 43
MIN_LABELS = 50  # rows that are targets, and rows that are none
HASH_SEED = 0x1EAC
STREET = re.compile(r"([A-Z]+)\W*$")

ESTIMATOR = (
    f"plug-in with the correction of Miller and Madow; columns of more than {MAX_VALUES} values, or of "
    f"fewer than {ROWS_PER_VALUE} rows for each, in at most {BINS} hashed bins"
)


def forms(name: str) -> Mapping[str, Callable[[str], str]]:
    """Return features of how a text is written, by the name they are reported under."""
    return {
        f"{name}: blank": lambda text: str(not text.strip()),
        f"{name}: length": lambda text: str(min(len(text), 40)),
        f"{name}: case": lambda text: "upper" if text.isupper() else "lower" if text.islower() else "mixed",
        f"{name}: last word": lambda text: match[1][:4] if (match := STREET.search(text.upper())) else "",
    }


@dataclass
class Contingency:
    """Rows by value of a column and by label; `+=` adds those of other rows, in whatever order with one result."""

    values: dict[str, Int64] = field(default_factory=dict)
    """Value -> [rows that are no targets, targets]; while there are at most MAX_VALUES."""
    bins: Int64 | None = None
    """[BINS, 2] of hashed values, once there are more."""

    def add(self, texts: pa.Array, counts: Int64) -> None:
        """Count D distinct values with int64[D, 2] rows each."""
        there = np.flatnonzero(counts.any(axis=1))
        if len(there) < len(texts):
            texts, counts = texts.take(pa.array(there)), counts[there]
        if self.bins is not None or len(texts) > MAX_VALUES:
            self.bins, self.values = self._binned() + _bins_of(texts, counts), {}
            return
        for text, rows in zip(texts.to_pylist(), counts, strict=True):
            self.values[text] = self.values.get(text, 0) + rows
        if len(self.values) > MAX_VALUES:
            self.bins, self.values = self._binned(), {}

    def _listed(self) -> tuple[pa.Array, Int64]:
        """Return the values, and int64[D, 2] rows of each."""
        counts = np.array(list(self.values.values()), np.int64).reshape(-1, 2)
        return pa.array(self.values, pa.string()), counts

    def _binned(self) -> Int64:
        """Return int64[BINS, 2] rows of hashed values."""
        return _bins_of(*self._listed()) if self.bins is None else self.bins

    def __iadd__(self, other: Contingency) -> Contingency:
        """Add the counts of other rows."""
        if other.bins is None:
            self.add(*other._listed())
        else:
            self.bins, self.values = self._binned() + other.bins, {}
        return self

    @property
    def is_hashed(self) -> bool:
        """Whether `table` holds bins instead of values."""
        return self.bins is not None or len(self.values) * ROWS_PER_VALUE > self._rows

    @property
    def _rows(self) -> int:
        return int(sum(rows.sum() for rows in self.values.values()) if self.bins is None else self.bins.sum())

    @property
    def table(self) -> Int64:
        """int64[values or bins, 2] rows."""
        if not self.is_hashed:
            return np.array([self.values[name] for name in sorted(self.values)], np.int64).reshape(-1, 2)
        bins = BINS
        while bins > 2 and bins * ROWS_PER_VALUE > self._rows:
            bins //= 2
        table: Int64 = self._binned().reshape(-1, bins, 2).sum(axis=0)
        return table[table.any(axis=1)]


def _bins_of(texts: pa.Array, counts: Int64) -> Int64:
    """Return int64[BINS, 2] rows of the hashes of D values with int64[D, 2] rows each."""
    (hashes,) = hashes_of(texts, (HASH_SEED,))
    bins = np.zeros((BINS, 2), np.int64)
    np.add.at(bins, (hashes % np.uint64(BINS)).astype(np.int64), counts)
    return bins


def information(table: Int64) -> tuple[float, float]:
    """Return mutual information with the label, and entropy of the label; in bits, corrected as the module says.

    `table` is int64[D, 2]; both are 0 where there is only one label.
    """
    rows = table.sum()
    labels = table.sum(axis=0)
    if rows == 0 or not labels.all():
        return 0.0, 0.0
    joint = _entropy(table)
    cells, values = int((table > 0).sum()), int(table.any(axis=1).sum())
    bias = (cells - values - 2 + 1) / (2 * rows * np.log(2))
    label = _entropy(labels)
    return float(np.clip(label + _entropy(table.sum(axis=1)) - joint - bias, 0.0, label)), label


def _entropy(counts: Int64) -> float:
    """Return the plug-in entropy in bits."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def label_information(
    columns: Mapping[tuple[Hashable, str], Contingency], files: Mapping[Hashable, str]
) -> dict[str, Any]:
    """Return what each column gives away, most first, for quality.json; `warning` where it is more than WARN_SHARE.

    None is a warning with fewer than MIN_ROWS rows or MIN_LABELS of either label: there, chance says as much.

    Args:
        columns: layout and column -> its counts. Layouts are measured apart: mixed, each would hide what the other
            gives away.
        files: layout -> name of its first file.
    """
    entries: list[dict[str, Any]] = []
    for (layout, name), counts in columns.items():
        table = counts.table
        bits, entropy = information(table)
        share = bits / entropy if entropy else 0.0
        labels = table.sum(axis=0)
        is_enough = bool(labels.sum() >= MIN_ROWS and labels.min() >= MIN_LABELS)
        entry = {"column": name, "file": files[layout], "bits": bits, "share": share}
        entry["warning"] = is_enough and share > WARN_SHARE
        entries.append(entry | {"values": None if counts.is_hashed else len(counts.values)})
    entries.sort(key=lambda entry: (-entry["bits"], entry["column"], entry["file"]))
    rule = {"warn_share": WARN_SHARE, "warn_min_rows": MIN_ROWS, "warn_min_rows_of_each_label": MIN_LABELS}
    return {**rule, "estimator": ESTIMATOR, "columns": entries}
