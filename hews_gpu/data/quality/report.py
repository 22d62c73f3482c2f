"""The content of quality.json, made of the tallies of a whole table, and the part of it that `hews prepare` prints.

Steps in volume: months at which a category's count changes for good. A step says that something other than crime
changed: a category was split, a file ends and another one with other rules begins, a feed drops rows. Rule: month t is
a step if the mean of the 12 months from t on and that of the 12 before it differ by a factor of at least MIN_RATIO, and
the mean of the 12 differences between equal calendar months (so that seasons cancel) is at least MIN_Z of its standard
errors from 0. The variance of these differences is taken from them, but as no less than that of Poisson counts. Of
months within a year of each other the one with the largest change is reported. Months that the table covers only in
part, at its two ends, are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.data.clean import REASONS
from hews_gpu.data.quality.label_information import label_information
from hews_gpu.data.quality.tallies import ROUND, DuplicateTally, RowTally
from hews_gpu.data.quality.text_statistics import TextTally, marking_values, missing_by_month, missing_rows
from hews_gpu.data.readers.files import IncidentFile

__all__ = ["ALL", "quality_report", "summary_rows"]

ALL = "(all)"
MAX_PAIRS = 50  # of files, in the report: the pages of one feed are many
MIN_EXPECTED = 20.0  # rows; fewer may be missing by chance
YEAR = 12
MIN_RATIO = 1.15
MIN_Z = 5.0
MIN_MEAN = 5.0  # rows a month on the larger side; below, counts say little
RULE = (
    "12 months from the month on against the 12 before: means differ by a factor of 1.15 or more, and the differences "
    "of equal calendar months have a mean of 5 or more standard errors (at least Poisson's)"
)


def quality_report(
    rows: RowTally,
    texts: TextTally,
    duplicates: DuplicateTally,
    files: Sequence[IncidentFile],
    neighborhoods: Sequence[str],
    span_s: tuple[int, int] | None,
) -> dict[str, Any]:
    """Return what quality.json says of the rows of a table.

    All counts are of rows, and those kept and set aside add up to those read. Only the ones by month and by weekday
    and hour leave out what repeats an earlier file's row, as maps and labels do. `span_s` has the times of the first
    and of the last kept row.
    """
    categories = rows.categories
    names = sorted(categories)
    return {
        **_where_rows_went(rows),
        "span": [str(np.datetime64(time_s, "s")) for time_s in span_s] if span_s else None,
        "categories": {name: categories[name] for name in names},
        "target_columns": marking_values(texts),
        **_target_counts(duplicates, names),
        **_lost_targets(rows),
        "renamed_categories": _renamed(rows),
        "neighborhoods": len(neighborhoods),
        "neighborhoods_used": len(rows.neighborhoods),
        "rows_by_neighborhood": {neighborhoods[i]: n for i, n in sorted(rows.neighborhoods.items())},
        "nearest": rows.nearest,
        **_over_time(duplicates),
        **_roundings(rows, categories),
        "duplicates": sum(n for (_, _, is_repeat, _), n in duplicates.months.items() if is_repeat),
        "overlaps": sum(duplicates.repeats.values()),
        "target_overlaps": sum(duplicates.target_repeats.values()),
        "twins": duplicates.twins,
        "near_twins": duplicates.near_twins,
        "overlapping_files": overlapping_files(rows, duplicates, files, names),
        "vocabulary_changes": vocabulary_changes(rows, files),
        "volume_steps": {"rule": RULE, "found": volume_steps(*monthly_events(rows, duplicates, names))},
        "label_information": label_information(
            texts.columns, {file.layout: file.name for file in reversed(files) if file.columns is not None}
        ),
        "missing": missing_rows(texts),
        "missing_by_month": missing_by_month(texts),
    }


def _where_rows_went(rows: RowTally) -> dict[str, Any]:
    """Return rows kept and rows set aside by reason, of all and of targets."""
    reasons = rows.by(lambda kind: kind.reason)
    of_targets = rows.by(lambda kind: kind.reason, lambda kind: kind.is_target)
    aside, targets_aside = (
        {REASONS[code]: n for code, n in sorted(counts.items()) if code} for counts in (reasons, of_targets)
    )
    return {
        "rows_read": rows.rows,
        "rows_kept": reasons[0],
        "rows_quarantined": rows.rows - reasons[0],
        "quarantined_by_reason": aside,
        "targets_kept": of_targets[0],
        "targets_quarantined_by_reason": targets_aside,
    }


def _target_counts(duplicates: DuplicateTally, categories: Sequence[str]) -> dict[str, Any]:
    """Return kept target rows by category, with and without those that repeat another row."""
    counts = duplicates.target_rows
    codes = sorted({code for code, _ in counts})
    each = {
        categories[code]: {"rows": counts[code, False] + counts[code, True], "without_repeats": counts[code, False]}
        for code in codes
    }
    return {"targets": each, "targets_without_repeats": sum(one["without_repeats"] for one in each.values())}


def _lost_targets(rows: RowTally) -> dict[str, Any]:
    """Return target rows that were set aside, by category and reason, and by month, with those kept beside them."""
    by_category: dict[str, Any] = {}
    by_month: dict[str, list[int]] = {}
    for (name, reason, month), n in sorted(rows.lost_targets.items(), key=lambda item: (item[0][0], item[0][1])):
        entry = by_category.setdefault(name, {"kept": sum(rows.target_days.get(name, Counter()).values()), "lost": {}})
        entry["lost"][REASONS[reason]] = entry["lost"].get(REASONS[reason], 0) + n
        if month is not None:
            by_month.setdefault(str(np.datetime64(month, "M")), [0, 0])[0] += n
    for days in rows.target_days.values():
        for day, n in days.items():
            if (name := str(np.datetime64(day, "D"))[:7]) in by_month:
                by_month[name][1] += n
    months = {month: {"lost": lost, "kept": kept} for month, (lost, kept) in sorted(by_month.items())}
    return {"targets_lost_by_category": by_category, "targets_lost_by_month": months}


def _renamed(rows: RowTally) -> dict[str, dict[str, Any]]:
    """Return categories that a file spells otherwise, as spelled -> the name they were given, and rows."""
    spellings = rows.by(lambda kind: (kind.spelled, kind.category), lambda kind: kind.spelled != kind.category)
    return {spelled: {"named": named, "rows": n} for (spelled, named), n in sorted(spellings.items())}


def _over_time(duplicates: DuplicateTally) -> dict[str, Any]:
    """Return events by month, and target events by month and by weekday and hour."""
    months: Counter[int] = Counter()
    for (_, month, _, is_overlap), n in duplicates.months.items():
        months[month] += n * (not is_overlap)
    target_months: Counter[int] = Counter()
    for (_, _, day, is_overlap), n in duplicates.targets.items():
        target_months[int(np.datetime64(day, "D").astype("datetime64[M]").astype(int))] += n * (not is_overlap)
    hours = [[duplicates.target_hours[24 * weekday + hour] for hour in range(24)] for weekday in range(7)]
    return {
        "rows_by_month": _listed(months),
        "targets_by_month": _listed(target_months),
        "targets_by_weekday_and_hour": hours,
    }


def _listed(months: Counter[int]) -> dict[str, int]:
    """Return counts by month, those without any between the first and the last included."""
    there = [month for month, n in months.items() if n]
    every = range(min(there), max(there) + 1) if there else ()
    return {str(np.datetime64(month, "M")): months[month] for month in every}


def _roundings(rows: RowTally, categories: Counter[str]) -> dict[str, Any]:
    """Return how round times are, by category and by label."""
    of = rows.roundings
    kept = rows.by(lambda kind: kind.is_target, lambda kind: kind.reason == 0)
    shares: dict[str, float | None] = {}
    for label, is_target in (("targets", True), ("others", False)):
        total, at_0 = kept[is_target], sum(of[name, is_target, "minute_0"] for name in categories)
        shares[label] = at_0 / total if total else None
    return {
        "rounding_by_category": {
            name: {"rows": n, **{kind: (of[name, True, kind] + of[name, False, kind]) / n for kind in ROUND}}
            for name, n in sorted(categories.items())
        },
        "minute_zero_share": shares,
    }


def overlapping_files(
    rows: RowTally, duplicates: DuplicateTally, files: Sequence[IncidentFile], categories: Sequence[str]
) -> list[dict[str, Any]]:
    """Return pairs of files that share rows, or share days in different layouts; the largest shares first.

    Rows are those of the days that both files have, kept; repeated are rows of the later file that are left out for
    an event that the earlier one reports. Of the target categories, by name: how many rows both have in these days,
    repeated, and unmatched, rows of the later one in these days that repeat no other file's.
    """
    spans = {number: (min(days), max(days)) for number, days in rows.days.items() if days}
    layout = {number: files[number].layout for number in spans}
    repeats = {(a, b) for a, b in duplicates.repeats if a != b}  # of one file: messages on one incident
    pairs = repeats | {(a, b) for a in spans for b in spans if a < b and layout[a] != layout[b]}
    result: list[dict[str, Any]] = []
    for a, b in sorted(pairs, key=lambda pair: (-duplicates.repeats[pair], pair)):
        begin, end = max(spans[a][0], spans[b][0]), min(spans[a][1], spans[b][1])
        if begin <= end and len(result) < MAX_PAIRS:
            within = [sum(n for day, n in rows.days[i].items() if begin <= day <= end) for i in (a, b)]
            result.append(
                {
                    "files": [files[a].name, files[b].name],
                    "days": [str(np.datetime64(day, "D")) for day in (begin, end)],
                    "rows": within,
                    "repeated": duplicates.repeats[a, b],
                    "targets": _shared_targets(duplicates, (a, b), (begin, end), categories),
                }
            )
    return result


def _shared_targets(
    duplicates: DuplicateTally, pair: tuple[int, int], span: tuple[int, int], categories: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return target category -> rows of both files in the shared days, and of the later one repeated and unmatched."""
    counts: Counter[tuple[int, int, bool]] = Counter()
    for (source, code, day, is_overlap), n in duplicates.targets.items():
        if source in pair and span[0] <= day <= span[1]:
            counts[source, code, is_overlap] += n
    a, b = pair
    return {
        categories[code]: {
            "rows": [counts[source, code, False] + counts[source, code, True] for source in pair],
            "repeated": duplicates.target_repeats[a, b, code],
            "unmatched": counts[b, code, False],
        }
        for code in sorted({code for _, code, _ in counts})
    }


def vocabulary_changes(rows: RowTally, files: Sequence[IncidentFile]) -> list[dict[str, Any]]:
    """Return categories that one layout of files lacks or hardly has, though by the others' share it should.

    Reported where at least MIN_EXPECTED rows are expected and less than a tenth of them are there.
    """
    there = [file for file in files if file.columns is not None]
    layouts = list(dict.fromkeys(file.layout for file in there))
    number = {file.number: layouts.index(file.layout) for file in there}
    counts = rows.by(lambda kind: (kind.category, number[kind.source]))
    of_name, of_layout = rows.by(lambda kind: kind.category), rows.by(lambda kind: number[kind.source])
    result = []
    for name in sorted(filter(None, of_name)):  # a blank one is no word of a vocabulary
        for layout, own in sorted(of_layout.items()):
            others, n = rows.rows - own, counts[name, layout]
            expected = (of_name[name] - n) / others * own if others else 0.0
            if expected >= MIN_EXPECTED and n < expected / 10:
                named = [file.name for file in there if file.layout == layouts[layout]][:MAX_PAIRS]
                result.append({"category": name, "files": named, "rows": n, "expected": round(expected, 1)})
    return result


def monthly_events(
    rows: RowTally, duplicates: DuplicateTally, categories: Sequence[str]
) -> tuple[list[str], dict[str, list[int]]]:
    """Return whole months, and events (repeats left out) in each of them by category and in all."""
    days = [day for of_source in rows.days.values() for day in of_source]
    if not days:
        return [], {}
    first, beyond = np.datetime64(min(days), "D"), np.datetime64(max(days) + 1, "D")
    begin, end = first.astype("datetime64[M]"), beyond.astype("datetime64[M]")
    months = np.arange(begin + int(first != begin), end).astype(np.int64).tolist()  # the first of the month is there
    counts: Counter[tuple[int, int]] = Counter()
    for (code, month, is_repeat, _), n in duplicates.months.items():
        counts[code, month] += n * (not is_repeat)
    series = {name: [counts[code, month] for month in months] for code, name in enumerate(categories)}
    series[ALL] = np.sum(list(series.values()), axis=0).astype(int).tolist()
    return [str(np.datetime64(month, "M")) for month in months], series


def volume_steps(months: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return the steps of each category's counts over whole months without gaps, largest change first."""
    steps = [
        {"category": name, "month": months[t], "before": before, "after": after, "ratio": ratio, "z": z}
        for name, series in counts.items()
        for t, before, after, ratio, z in _steps_of(np.asarray(series, np.float64))
    ]
    return sorted(steps, key=lambda step: (-abs(step["z"]), step["category"], step["month"]))


def _steps_of(series: Float64) -> list[tuple[int, float, float, float | None, Any]]:
    """Return place, mean before, mean after, ratio and z of each step."""
    candidates = []
    for t in range(YEAR, len(series) - YEAR + 1):
        earlier, later = series[t - YEAR : t], series[t : t + YEAR]
        before, after = float(earlier.mean()), float(later.mean())
        if max(before, after) < MIN_MEAN or max(before, after) < MIN_RATIO * min(before, after):
            continue
        change = later - earlier
        variance = max(float(change.var(ddof=1)), before + after)
        z = float(change.mean() / np.sqrt(variance / YEAR))
        if abs(z) >= MIN_Z:
            candidates.append((t, before, after, after / before if before else None, z))
    chosen: list[tuple[int, float, float, float | None, Any]] = []
    for step in sorted(candidates, key=lambda step: (-abs(step[2] - step[1]), step[0])):
        if all(abs(step[0] - other[0]) >= YEAR for other in chosen):
            chosen.append(step)
    return chosen


def summary_rows(quality: Mapping[str, Any]) -> list[list[str]]:
    """Return the counts of quality.json that a user should see, as rows of text under a heading.

    The rows kept and the rows set aside, reason by reason, add up to the rows read.
    """
    read = quality["rows_read"]

    def row(name: str, count: int) -> list[str]:
        return [name, f"{count:,}", f"{100 * count / read:.2f} %" if read else ""]

    aside = [row(f"  {reason}", count) for reason, count in quality["quarantined_by_reason"].items()]
    return [
        ["", "rows", "share"],
        row("read", read),
        row("kept", quality["rows_kept"]),
        row("  of these targets", quality["targets_kept"]),
        row("  targets without repeats", quality["targets_without_repeats"]),
        row("set aside in quarantine.parquet", quality["rows_quarantined"]),
        *aside,
    ]
