"""Which stretches of time a table covers: where its rows are about as dense as they usually are.

The first and the last row do not tell: a stray date a year ahead would make a year of windows count as quiet. A day is
covered if, in the days up to it or from it on, there are a fifth of the rows that are usual. These days are so many
that 30 rows are usual in them, and at least a week; no day alone is enough. Covered days that lie no more than four
weeks, or twice as many days, apart make one stretch. What is usual is the month in which the median row lies, so that
long thin years before or after do not count.

A target category is looked at by itself, within what the whole table covers: a feed may go on while it stops naming
shootings, or names them otherwise from some month on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from hews_gpu.arrays import Bool, Int64
from hews_gpu.config import SPLITS, SplitsConfig
from hews_gpu.data.events import Events
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S

__all__ = ["FEW", "Coverage", "coverage_of", "coverage_of_events", "require_covered"]

FEW = 30
"""Rows by which density is judged; fewer in all tell nothing."""
LEAST_SHARE = 0.2  # of the usual rows: crime halves and doubles over the years, feeds that end leave a few percent
LEAST_DAYS = 7
MONTH_DAYS = 28
NEAR_MONTHS = 2  # from where one name stops to where the other begins
LEAST_ROWS = 5
MOST_NAMES = 3

Stretch = tuple[int, int]
"""Begin and end, seconds."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Stretches of time, in order, with about as many rows as usual."""

    rows: tuple[Stretch, ...]
    """Of all categories; none for a table without rows."""
    targets: Mapping[str, tuple[Stretch, ...]]
    """Of each target category that has enough rows to tell."""
    other_names: Mapping[str, Sequence[str]]
    """Target category that stops, or begins late -> categories that begin, or stop, about then."""
    last_s: int
    """Time of the very last row, covered or not."""
    quiet_s: int
    """A split may reach past what is covered by so much: a quiet week, or more where rows are few; no missing year."""

    @property
    def begin_s(self) -> int:
        """Begin of the first stretch."""
        return self.rows[0][0]

    @property
    def end_s(self) -> int:
        """End of the last stretch."""
        return self.rows[-1][1]

    def first_and_last(self, time_s: Int64) -> Stretch:
        """Return the times of the first and of the last covered row of a table that is sorted by time."""
        first, beyond = np.searchsorted(time_s, [self.begin_s, self.end_s])
        return int(time_s[first]), int(time_s[beyond - 1])

    def holds(self, begin_s: Int64, end_s: Int64) -> Bool:
        """Return which windows [S] lie within a stretch of all rows, and of every target."""
        holds = np.ones(len(begin_s), bool)
        for stretches in (self.rows, *self.targets.values()):
            holds &= np.any([(begin_s >= a) & (end_s <= b) for a, b in stretches], axis=0)
        return holds

    def described(self) -> dict[str, Any]:
        """Return the stretches as quality.json holds them: first and last day."""
        days = {name: [[_day(a), _day(b - 1)] for a, b in own] for name, own in self.targets.items()}
        other_names = {name: list(others) for name, others in self.other_names.items()}
        return {"rows": [[_day(a), _day(b - 1)] for a, b in self.rows], "targets": days, "other_names": other_names}


def coverage_of(
    rows: Mapping[int, int],
    targets: Mapping[str, Mapping[int, int]],
    months: Mapping[str, Mapping[int, int]] | None = None,
) -> Coverage:
    """Return what a table covers.

    Args:
        rows: by day since 1970.
        targets: the same of each target category.
        months: rows of each category by month since 1970, to look for other names of targets in.
    """
    whole, width = _stretches(rows)
    each = {
        name: _up_to_the_ends(*_stretches(own), whole)
        for name, own in targets.items()
        if whole and sum(own.values()) >= FEW
    }
    others = {name: own for name, own in (months or {}).items() if name not in targets}
    return Coverage(
        rows=whole,
        targets=each,
        other_names={name: found for name, own in each.items() if (found := _other_names(name, own, whole, others))},
        last_s=(max(rows) + 1) * DAY_S - 1 if rows else 0,
        quiet_s=width * DAY_S,
    )


def coverage_of_events(events: Events) -> Coverage:
    """Return what a prepared table covers."""
    days = events.time_s // DAY_S
    is_target = events.is_target
    codes = np.unique(events.category[is_target])
    of_code = {events.categories[code]: days[is_target & (events.category == code)] for code in codes}
    return coverage_of(_by_day(days), {name: _by_day(own) for name, own in of_code.items()})


def _other_names(name: str, own: tuple[Stretch, ...], whole: tuple[Stretch, ...], others: Any) -> list[str]:
    """Return the categories that take a target's place where it stops, or had it where it begins; the likest first."""
    stop_s, begin_s = own[-1][1], own[0][0]
    found = []
    for other, months in others.items():
        first, last, rows = min(months), max(months), sum(months.values())
        stops = stop_s < whole[-1][1] and abs(first - _month(stop_s)) <= NEAR_MONTHS
        begins = begin_s > whole[0][0] and abs(last - _month(begin_s)) <= NEAR_MONTHS
        if (stops or begins) and rows >= LEAST_ROWS:
            found.append(other)
    return sorted(found, key=lambda other: -SequenceMatcher(a=name, b=other).ratio())[:MOST_NAMES]


def _month(time_s: int) -> int:
    return int(np.datetime64(time_s, "s").astype("datetime64[M]").astype(np.int64))


def _by_day(days: Int64) -> dict[int, int]:
    values, rows = np.unique(days, return_counts=True)
    return dict(zip(values.tolist(), rows.tolist(), strict=True))


def _stretches(rows: Mapping[int, int]) -> tuple[tuple[Stretch, ...], int]:
    """Return the covered stretches, and the days by which density is judged."""
    days = np.array(sorted(rows), np.int64)
    if not len(days):
        return (), LEAST_DAYS
    counts = np.array([rows[day] for day in days.tolist()], np.int64)
    usual = _usual(days, counts)
    width = max(LEAST_DAYS, int(np.ceil(FEW / usual)))
    least = LEAST_SHARE * width * usual
    total = np.concatenate([[0.0], np.cumsum(np.minimum(counts, least / 3))])
    before = total[1:] - total[np.searchsorted(days, days - width + 1)]
    after = total[np.searchsorted(days, days + width)] - total[:-1]
    is_covered = np.maximum(before, after) >= least * (1 - 1e-9)
    if not is_covered.any():  # few rows, or all of a month bear one date
        is_covered[[0, -1]], width = True, int(days[-1] - days[0]) + 1
    days = days[is_covered]
    cuts = np.flatnonzero(np.diff(days) > max(MONTH_DAYS, 2 * width))
    firsts, lasts = days[np.append(0, cuts + 1)], days[np.append(cuts, len(days) - 1)]
    return tuple((a * DAY_S, (b + 1) * DAY_S) for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True)), width


def _usual(days: Int64, counts: Int64) -> float:
    """Return the rows a day of the month in which the median row lies, months sorted by their rows.

    A day counts for no more than three times what is much for a day, so that thousands of rows of 1900-01-01 do not.
    """
    counts = np.minimum(counts, 3 * np.quantile(counts, 0.9))
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    rows = np.sort(np.bincount(month - month.min(), weights=counts))
    return float(rows[np.searchsorted(np.cumsum(rows), rows.sum() / 2)]) / 30.4


def _up_to_the_ends(own: tuple[Stretch, ...], width: int, whole: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Let a target category begin and end with the table where its silence there is no longer than elsewhere."""
    begin_s, end_s = whole[0][0], whole[-1][1]
    quiet_s = max(MONTH_DAYS, 2 * width) * DAY_S
    first, last = own[0], own[-1]
    if first[0] - begin_s <= quiet_s:
        own = ((min(begin_s, first[0]), first[1]), *own[1:])
    if end_s - last[1] <= quiet_s:
        own = (*own[:-1], (own[-1][0], max(end_s, last[1])))
    return own


def require_covered(splits: SplitsConfig, coverage: Coverage) -> None:
    """Refuse a split in which rows thin out: its windows would count as quiet though nobody knows.

    Raises:
        UserError: then; with both dates.
    """
    for name in SPLITS:
        _require_covered(splits, name, coverage)


def _require_covered(splits: SplitsConfig, name: str, coverage: Coverage) -> None:
    span_s = splits.span_s(name)
    remedy = "Move the split into what the table covers"
    key, span = f"[splits] {name}", list(getattr(splits, name))
    if not coverage.rows:
        raise UserError(key, span, allowed="reaches beyond the table, which covers nothing", remedy=remedy)
    if gap := _gap_within(span_s, coverage.rows, coverage.quiet_s):
        raise UserError(key, span, allowed=_gap_told(gap, span_s, coverage), remedy=remedy)
    for target, stretches in coverage.targets.items():
        if gap := _gap_within(span_s, stretches, coverage.quiet_s):
            begin, end = (_day(edge) for edge in (max(gap[0], span_s[0]), min(gap[1], span_s[1])))
            covered = f"covers {_day(stretches[0][0])} to {_day(stretches[-1][1] - 1)}"
            allowed = (
                f"has hardly a row of the target '{target}' from {begin} to {end}: of it the table {covered}, of all "
                f"categories {_day(coverage.begin_s)} to {_day(coverage.end_s - 1)}"
            )
            others = ", ".join(f"'{other}'" for other in coverage.other_names.get(target, ()))
            more = f"Move the split, or see [incidents] targets: {others or 'it'} may be its other name"
            raise UserError(key, span, allowed=allowed, remedy=more)


def _gap_told(gap: Stretch, span_s: Stretch, coverage: Coverage) -> str:
    """Return where the rows of all categories thin out, and where the split goes on."""
    covered = f"covers {_day(coverage.begin_s)} to {_day(coverage.end_s - 1)}"
    if coverage.begin_s < gap[0] < gap[1] < coverage.end_s:
        return f"holds {_day(gap[0])} to {_day(gap[1] - 1)}, of which the table, which {covered}, has hardly a row"
    stray = ""
    if gap[0] == coverage.end_s <= coverage.last_s:
        stray = f"; rows thin out after that, and the last of a few is of {_day(coverage.last_s)}"
    return f"reaches beyond the table, which {covered}{stray}"


def _gap_within(span_s: Stretch, stretches: tuple[Stretch, ...], quiet_s: int) -> Stretch | None:
    """Return the first gap between, before or after stretches that holds more than so much of a span."""
    far = int(np.iinfo(np.int64).max)
    begins, ends = [a for a, _ in stretches], [b for _, b in stretches]
    for begin_s, end_s in zip([-far, *ends], [*begins, far], strict=True):
        if min(end_s, span_s[1]) - max(begin_s, span_s[0]) > quiet_s:
            return begin_s, end_s
    return None


def _day(time_s: int) -> str:
    return str(np.datetime64(time_s, "s"))[:10]
