"""Rows by whole numbers that lie close together, such as days and months: counts that add up, as two arrays.

A table of two hundred years has seventy thousand days, and where it is not sorted each of its blocks has most of them:
adding such counts up in Python costs more than reading the rows.

Shapes: K numbers that occur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "add_up", "added", "count_values"]

Ints = npt.NDArray[np.int64]
K = TypeVar("K")


def _nothing() -> Ints:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Counts:
    """Rows by number; `+` gives those of both."""

    numbers: Ints = field(default_factory=_nothing)
    """[K] sorted."""
    rows: Ints = field(default_factory=_nothing)
    """[K] at least 1 of each."""

    @classmethod
    def of(cls, numbers: npt.ArrayLike) -> Counts:
        """A row of each number; they may repeat and come in any order."""
        numbers = np.asarray(numbers, np.int64)
        if not len(numbers):
            return cls()
        low = int(numbers.min())
        total = np.bincount(numbers - low)
        there = np.flatnonzero(total)
        return cls(there + low, total[there].astype(np.int64))

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        if not len(self.numbers):
            return other
        if not len(other.numbers):
            return self
        low = int(min(self.numbers[0], other.numbers[0]))
        total = np.zeros(int(max(self.numbers[-1], other.numbers[-1])) - low + 1, np.int64)
        total[self.numbers - low] += self.rows
        total[other.numbers - low] += other.rows
        there = np.flatnonzero(total)
        return Counts(there + low, total[there])

    def __len__(self) -> int:
        """K."""
        return len(self.numbers)

    def between(self, first: int, last: int) -> int:
        """Rows of the numbers first..last."""
        low, high = np.searchsorted(self.numbers, [first, last + 1])
        return int(self.rows[low:high].sum())

    def listed(self, numbers: Iterable[int]) -> list[int]:
        """Rows of each of some numbers."""
        known = dict(zip(self.numbers.tolist(), self.rows.tolist(), strict=True))
        return [known.get(number, 0) for number in numbers]


def added(counts: dict[K, Counts], more: Mapping[K, Counts]) -> None:
    """Add counts by name to others, in place."""
    for name, found in more.items():
        counts[name] = counts[name] + found if name in counts else found


def add_up(counts: Any, other: Any, name: str) -> None:
    """Add one count of another: counters and counts by name in place, numbers anew."""
    own, more = getattr(counts, name), getattr(other, name)
    if isinstance(own, Counter):
        own.update(more)
    elif isinstance(own, dict):
        added(own, more)
    else:
        setattr(counts, name, own + more)


def count_values(values: npt.NDArray[Any]) -> Counter[int]:
    """Rows of each value, in the order of the values; by counting where they lie close together, else by sorting."""
    if not len(values):
        return Counter()
    low, high = int(values.min()), int(values.max())
    if high - low <= 4 * len(values):
        rows = np.bincount(values.astype(np.int64) - low)
        found = np.flatnonzero(rows)
        found, rows = found + low, rows[found]
    else:
        found, rows = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), rows.tolist(), strict=True)))
