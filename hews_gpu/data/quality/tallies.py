"""What the table was like: counts of one partition that add up to counts of the whole, and the summary made of them.

A `Tally` is a mergeable state, so that the counts do not depend on how the table was cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hews_gpu.data.prepare.clean import NOWHERE, OUT, REASONS
from hews_gpu.data.quality.counts import Counts, add_up, count_values
from hews_gpu.data.readers.files import Source
from hews_gpu.units import DAY_S

__all__ = [
    "Marks",
    "Tally",
    "monthly_events",
    "overlapping_files",
    "summary",
    "tally",
    "vocabulary",
]

MAX_PAIRS = 50  # of files, in the report: the pages of one feed are many
MIN_EXPECTED = 20.0  # rows; fewer may be missing by chance
ALL = "(all)"
ROUND: Mapping[str, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]] = {
    "minute_0": lambda second: second % 3600 < 60,
    "minute_30": lambda second: (second % 3600 >= 1800) & (second % 3600 < 1860),
    "full_hour": lambda second: second % 3600 == 0,
    "midnight": lambda second: second == 0,
}  # of the second of the day
WEEKDAY_OF_1970 = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(kw_only=True)
class Tally:
    """Counts of some rows; `+=` adds those of other rows."""

    rows: int = 0
    reasons: Counter[int] = field(default_factory=Counter)
    """Index into REASONS -> rows; 0 is kept."""
    target_reasons: Counter[int] = field(default_factory=Counter)
    """The same of target rows."""
    categories: Counter[str] = field(default_factory=Counter)
    """Of kept rows."""
    all_categories: Counter[str] = field(default_factory=Counter)
    """Of all rows, set aside or not."""
    neighborhoods: Counter[int] = field(default_factory=Counter)
    nearest: int = 0
    raw_categories: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    """Source, category as spelt, category as named -> rows, set aside or not."""
    source_days: dict[int, Counts] = field(default_factory=dict)
    """Source -> kept rows by day since 1970."""
    roundings: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Category, kind of round time (ROUND) -> kept rows."""
    minute_zero: Counter[bool] = field(default_factory=Counter)
    """Whether target -> kept rows on a full hour."""
    first_s: int = np.iinfo(np.int64).max
    last_s: int = np.iinfo(np.int64).min
    swapped: int = 0
    """Rows outside that would lie within the bounds of the polygons with longitude and latitude swapped."""
    not_degrees: int = 0
    """Rows outside whose coordinates are no degrees."""
    outside_example: tuple[float, float] | None = None

    @property
    def days(self) -> Counts:
        """Kept rows by day since 1970."""
        return sum(self.source_days.values(), Counts())

    def __iadd__(self, other: Tally) -> Tally:
        """Add the counts of other rows."""
        for spec in fields(self):
            if spec.name not in ("first_s", "last_s", "outside_example"):
                add_up(self, other, spec.name)
        self.first_s, self.last_s = min(self.first_s, other.first_s), max(self.last_s, other.last_s)
        self.outside_example = self.outside_example or other.outside_example
        return self


def tally(frame: pd.DataFrame, bounds: npt.NDArray[np.float64]) -> Tally:
    """Count one partition of `clean`; `bounds` [4] are west, south, east, north of the polygons."""
    reason = frame["reason"].to_numpy()
    target = frame["is_target"].to_numpy()
    kept = reason == 0
    time_s = frame["time_s"].to_numpy()[kept]
    is_target = target[kept]
    day, second = time_s // DAY_S, time_s % DAY_S
    counts = Tally(
        rows=len(frame),
        reasons=count_values(reason),
        target_reasons=count_values(reason[target]),
        categories=_count_names(frame["category"][kept]),
        all_categories=_count_names(frame["category"]),
        raw_categories=_count_raw(frame),
        source_days=_count_days(frame["source"].to_numpy()[kept], day),
        neighborhoods=count_values(frame["neighborhood_id"].to_numpy()[kept]),
        roundings=_count_round(frame["category"][kept], second),
        nearest=int(frame["is_nearest"].to_numpy()[kept].sum()),
        minute_zero=Counter({flag: int((second[is_target == flag] % 3600 < 60).sum()) for flag in (False, True)}),
    )
    if len(time_s):
        counts.first_s, counts.last_s = int(time_s.min()), int(time_s.max())
    _count_outside(counts, frame, bounds)
    return counts


def _count_outside(counts: Tally, frame: pd.DataFrame, bounds: npt.NDArray[np.float64]) -> None:
    """What may explain that rows lie outside: swapped coordinates, or ones that are no degrees."""
    outside = frame["reason"].to_numpy() == OUT
    x, y = frame["longitude"].to_numpy()[outside], frame["latitude"].to_numpy()[outside]
    west, south, east, north = bounds
    counts.swapped = int(((west <= y) & (y <= east) & (south <= x) & (x <= north)).sum())
    counts.not_degrees = int(((np.abs(x) > 180) | (np.abs(y) > 180)).sum())
    if len(x):
        counts.outside_example = (float(x[0]), float(y[0]))


def _count_names(category: pd.Series) -> Counter[str]:
    codes = count_values(category.cat.codes.to_numpy())
    names = list(category.cat.categories)
    return Counter({names[code]: count for code, count in codes.items()})


def _count_round(category: pd.Series, second: npt.NDArray[np.int64]) -> Counter[tuple[str, str]]:
    result: Counter[tuple[str, str]] = Counter()
    for kind, holds in ROUND.items():
        result += Counter({(name, kind): n for name, n in _count_names(category[holds(second)]).items()})
    return result


def _count_pairs(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Counter[tuple[int, int]]:
    low = int(second.min(initial=0))
    width = int(second.max(initial=0)) - low + 1
    codes = count_values(first.astype(np.int64) * width + (second - low))
    return Counter({(code // width, code % width + low): count for code, count in codes.items()})


def _count_days(source: npt.NDArray[Any], day: npt.NDArray[np.int64]) -> dict[int, Counts]:
    return {number: Counts.of(day[source == number]) for number in np.unique(source).tolist()}


def _count_raw(frame: pd.DataFrame) -> Counter[tuple[int, str, str]]:
    raw, category = frame["raw_category"], frame["category"]
    names, named = list(raw.cat.categories), list(category.cat.categories)
    pairs = _count_pairs(frame["source"].to_numpy(), raw.cat.codes.to_numpy(np.int64))
    first = dict(zip(*np.unique(raw.cat.codes.to_numpy(), return_index=True), strict=True))
    codes = category.cat.codes.to_numpy()
    return Counter({(source, names[code], named[codes[first[code]]]): n for (source, code), n in pairs.items()})


@dataclass(kw_only=True)
class Marks:
    """Counts of the marks that tie rows together, and counts over time that leave out what another file has before."""

    rows_of: Sequence[int]
    """Rows of each source, set aside or not: what tells a row's source from its row id."""
    duplicates: int = 0
    overlaps: int = 0
    """Rows that report an event of an earlier download."""
    target_overlaps: int = 0
    twins: int = 0
    near_twins: int = 0
    days: Counter[int] = field(default_factory=Counter)
    """Day since 1970 -> rows that are no overlaps."""
    target_days: Counter[int] = field(default_factory=Counter)
    target_hours: Counter[int] = field(default_factory=Counter)
    """24 * weekday + hour -> target rows that are no overlaps; Monday is 0."""
    months: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Category, months since 1970 -> rows that repeat no other."""
    repeats: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Source of a row, source of the later overlap that repeats it -> rows."""
    target_repeats: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """The same two sources, category -> target rows."""
    targets: Counter[tuple[int, int, int, bool]] = field(default_factory=Counter)
    """Source, category, day since 1970, whether it is an overlap -> target rows."""

    def add(self, bucket: pd.DataFrame) -> None:
        """Count a bucket of `tables.finish`."""
        duplicate_of, overlap = bucket["duplicate_of"].to_numpy(), bucket["is_overlap"].to_numpy()
        self.duplicates += int((duplicate_of >= 0).sum())
        self.overlaps += int(overlap.sum())
        self.twins += int((bucket["twin_of"] >= 0).sum())
        self.near_twins += int((bucket["near_twin_of"] >= 0).sum())
        events = bucket[["time_s", "category"]][duplicate_of < 0]
        month = events["time_s"].to_numpy().astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        self.months += _count_pairs(events["category"].to_numpy(), month)
        self.days += count_values(bucket["time_s"].to_numpy()[~overlap] // DAY_S)
        self._add_targets(bucket[bucket["is_target"]])
        later = bucket["source"].to_numpy()[overlap]
        self.repeats += _count_pairs(self._source_of(duplicate_of[overlap]), later)

    def __iadd__(self, other: Marks) -> Marks:
        """Add the counts of other buckets of the same table."""
        for spec in fields(self):
            if spec.name != "rows_of":
                add_up(self, other, spec.name)
        return self

    def _source_of(self, row_id: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(np.cumsum(self.rows_of), row_id, side="right")

    def _add_targets(self, targets: pd.DataFrame) -> None:
        overlap, time_s = targets["is_overlap"].to_numpy(), targets["time_s"].to_numpy()
        day = time_s // DAY_S
        hour = 24 * ((day + WEEKDAY_OF_1970) % 7) + time_s % DAY_S // 3600
        self.target_overlaps += int(overlap.sum())
        self.target_days += count_values(day[~overlap])
        self.target_hours += count_values(hour[~overlap])
        source, category = targets["source"], targets["category"]
        self.targets.update(
            Counter(zip(source.tolist(), category.tolist(), day.tolist(), overlap.tolist(), strict=True))
        )
        repeated = targets[overlap]
        first = self._source_of(repeated["duplicate_of"].to_numpy()).tolist()
        of = zip(first, repeated["source"].tolist(), repeated["category"].tolist(), strict=True)
        self.target_repeats.update(Counter(of))

    def summary(self) -> dict[str, int]:
        """The counts for quality.json."""
        names = ("duplicates", "overlaps", "target_overlaps", "twins", "near_twins")
        return {name: getattr(self, name) for name in names}


def overlapping_files(
    counts: Tally, marks: Marks, sources: Sequence[Source], categories: Sequence[str]
) -> list[dict[str, Any]]:
    """Pairs of files that share rows, or that share days in different layouts; the largest shares first.

    Rows are those of the days that both files have, kept; repeated are rows of the later file that are left out for
    an event that the earlier one reports. Of the target categories, by name: how many rows both have in these days,
    repeated, and unmatched, rows of the later one in these days that repeat no other file's.
    """
    days = counts.source_days
    spans = {number: (int(found.numbers[0]), int(found.numbers[-1])) for number, found in days.items() if len(found)}
    pairs = set(marks.repeats)
    if len({source.layout for source in sources}) > 1:
        pairs |= {(a, b) for a in spans for b in spans if a < b and sources[a].layout != sources[b].layout}
    result = []
    for a, b in sorted(pairs, key=lambda pair: (-marks.repeats[pair], pair)):
        begin, end = max(spans[a][0], spans[b][0]), min(spans[a][1], spans[b][1])
        if begin > end:
            continue
        rows_of = [days[number].between(begin, end) for number in (a, b)]
        span = [str(np.datetime64(day, "D")) for day in (begin, end)]
        files = [sources[a].name, sources[b].name]
        entry = {"files": files, "days": span, "rows": rows_of, "repeated": marks.repeats[a, b]}
        result.append(entry | {"targets": _shared_targets(marks, (a, b), (begin, end), categories)})
        if len(result) == MAX_PAIRS:
            break
    return result


def _shared_targets(
    marks: Marks, pair: tuple[int, int], span: tuple[int, int], categories: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Target category -> rows of both files in the shared days, and of the later one's repeated and unmatched."""
    found: Counter[tuple[int, int, bool]] = Counter()
    for (source, code, day, is_overlap), n in marks.targets.items():
        if source in pair and span[0] <= day <= span[1]:
            found[source, code, is_overlap] += n
    a, b = pair
    return {
        categories[code]: {
            "rows": [sum(found[source, code, flag] for flag in (False, True)) for source in pair],
            "repeated": marks.target_repeats[a, b, code],
            "unmatched": found[b, code, False],
        }
        for code in sorted({code for _, code, _ in found})
    }


def summary(counts: Tally, marks: Marks, names: list[str]) -> dict[str, Any]:
    """The part of quality.json that follows from the counts; `names` are those of the neighborhoods.

    All counts are of rows, and those kept and set aside add up to those read. Only the ones by month and by weekday
    and hour leave out what repeats an earlier file's row, as maps and labels do.
    """
    kept = counts.reasons[0]
    quarantined = {REASONS[code]: n for code, n in sorted(counts.reasons.items()) if code}
    assert counts.rows == kept + sum(quarantined.values()), "rows were lost"
    targets = counts.target_reasons[0]
    others = kept - targets
    used = {names[i]: n for i, n in sorted(counts.neighborhoods.items())}
    hours = [[marks.target_hours[24 * weekday + hour] for hour in range(24)] for weekday in range(7)]
    return {
        "rows_read": counts.rows,
        "rows_kept": kept,
        "rows_quarantined": counts.rows - kept,
        "quarantined_by_reason": quarantined,
        "targets_kept": targets,
        "targets_quarantined_by_reason": {
            REASONS[code]: n for code, n in sorted(counts.target_reasons.items()) if code
        },
        "span": [_iso(counts.first_s), _iso(counts.last_s)] if kept else None,
        "categories": dict(sorted(counts.categories.items())),
        "renamed_categories": _renamed(counts),
        "neighborhoods": len(names),
        "neighborhoods_used": len(used),
        "rows_by_neighborhood": used,
        "nearest": counts.nearest,
        "rows_by_month": _by_month(marks.days),
        "targets_by_month": _by_month(marks.target_days),
        "targets_by_weekday_and_hour": hours,
        "rounding_by_category": {
            name: {"rows": n, **{kind: counts.roundings[name, kind] / n for kind in ROUND}}
            for name, n in sorted(counts.categories.items())
        },
        "minute_zero_share": {
            "targets": counts.minute_zero[True] / targets if targets else None,
            "others": counts.minute_zero[False] / others if others else None,
        },
    }


def monthly_events(counts: Tally, marks: Marks, categories: Sequence[str]) -> tuple[list[str], dict[str, list[int]]]:
    """Whole months, and events (repeats left out) in each of them by category and in all; for volume steps."""
    found = counts.days.numbers
    if not len(found):
        return [], {}
    days = np.array([found[0], found[-1] + 1], "datetime64[D]")
    begin, end = days.astype("datetime64[M]")
    begin += int(days[0] != begin)  # the first of the month is there
    months = np.arange(begin, end).astype(np.int64)
    series = {name: [marks.months[code, month] for month in months.tolist()] for code, name in enumerate(categories)}
    series[ALL] = np.sum(list(series.values()), axis=0).astype(int).tolist()
    return [str(np.datetime64(month, "M")) for month in months.tolist()], series


def vocabulary(counts: Tally, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Categories that one layout of files lacks or hardly has, though its rows should hold some by the others' share.

    Reported where at least MIN_EXPECTED rows are expected and less than a tenth of them are there.
    """
    layouts = list(dict.fromkeys(source.layout for source in sources))
    rows: dict[str, Counter[int]] = {}
    for (number, _, named), n in counts.raw_categories.items():
        rows.setdefault(named, Counter())[layouts.index(sources[number].layout)] += n
    total: Counter[int] = Counter()
    for by_layout in rows.values():
        total += by_layout
    found = []
    for name, by_layout in sorted(rows.items()):
        for layout, own in sorted(total.items()):
            others = sum(total.values()) - own
            expected = (sum(by_layout.values()) - by_layout[layout]) / others * own if others else 0.0
            if expected >= MIN_EXPECTED and by_layout[layout] < expected / 10:
                files = [source.name for source in sources if source.layout == layouts[layout]][:MAX_PAIRS]
                entry = {"category": name, "files": files, "rows": by_layout[layout], "expected": round(expected, 1)}
                found.append(entry)
    return found


def _renamed(counts: Tally) -> dict[str, dict[str, Any]]:
    """Categories that an older vintage spells otherwise, as spelt -> the name they were given, and rows."""
    result: dict[str, dict[str, Any]] = {}
    for (_, raw, named), rows in sorted(counts.raw_categories.items()):
        if raw != named:
            entry = result.setdefault(raw, {"named": named, "rows": 0})
            entry["rows"] += rows
    return dict(sorted(result.items()))


def located(counts: Tally) -> int:
    """Rows that have coordinates and a time, inside the study area or not."""
    return sum(n for code, n in counts.reasons.items() if code == 0 or code > NOWHERE)


def _iso(seconds: int) -> str:
    return str(np.datetime64(seconds, "s"))


def _by_month(days: Counter[int]) -> dict[str, int]:
    """Counts per calendar month, months without any between the first and the last included."""
    if not days:
        return {}
    of_day = {day: np.datetime64(day, "D").astype("datetime64[M]") for day in days}
    months = np.arange(min(of_day.values()), max(of_day.values()) + 1)
    counts = {str(month): 0 for month in months}
    for day, n in days.items():
        counts[str(of_day[day])] += n
    return counts
