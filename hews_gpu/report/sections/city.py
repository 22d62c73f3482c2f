"""The sections on the city and its table: what is drawn and read, where and when it was reported, data quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.data.events import Prepared
from hews_gpu.report.figures import city as figures
from hews_gpu.report.figures import maps as map_figures
from hews_gpu.report.figures.quality import missing
from hews_gpu.report.formatting import YEAR_S, category_list, duration, number, percent, span
from hews_gpu.report.page import Block, Columns, Facts, Figure, Gallery, Key, Row, Section, Table, Text
from hews_gpu.report.result import Result
from hews_gpu.units import DAY_S

__all__ = ["city", "data", "give_away", "maps", "palette", "row_counts"]


def maps(result: Result) -> Section | None:
    """Show reference maps of a few windows, and the channels tensor."""
    prepared, test = result.prepared, result.test
    if prepared is None or test is None:
        return None
    drawing, when = map_figures.channels(prepared, test)
    caption = "Colors of the categories, with the number of incidents in the whole table; ▲ marks a target category."
    pictures = map_figures.sample_maps(prepared, test)
    gallery = Gallery("Windows of the test split", pictures, caption, palette(prepared))
    caption = (
        "One small map per group of categories (rows) and per step of the history (columns, by the hour each begins); "
    )
    caption += "a square is a cell with incidents, larger for more. Networks on maps read this and the calendar."
    tensor = Figure(f"What was known before the highest forecast: {when}", drawing, caption, look="scroll")
    length = duration(prepared.city.windows.length_s)
    lead = f"Each window of {length} becomes a map: a disc per incident, outlines of areas that saw one in red."
    return Section("maps", "What is drawn, what is read", [gallery, tensor], lead)


def palette(prepared: Prepared) -> list[Key]:
    """Return color, name and number of incidents per category, the most frequent first."""
    from hews_gpu.raster.style import ReferenceStyle

    events, style = prepared.events, ReferenceStyle.from_config(prepared.city.map)
    counts = np.bincount(events.category, minlength=len(events.categories))
    target = np.bincount(events.category, weights=events.is_target, minlength=len(events.categories)) > 0
    names = [f"{name} ▲" if is_target else name for name, is_target in zip(events.categories, target, strict=True)]
    order = np.argsort(-counts, kind="stable")
    return [Key(style.color(events.categories[i]), names[i], detail=number(counts[i])) for i in order]


def city(result: Result) -> Section | None:
    """Show where and when target incidents were reported in the whole table."""
    if result.prepared is None:
        return None
    config, events, what = result.prepared.city, result.prepared.events, ""
    flat, hit, what = (
        figures.outlines(result.prepared.neighborhoods),
        events.is_target,
        category_list(config.incidents.targets),
    )
    years = max(float(events.time_s[-1] - events.time_s[0]), DAY_S) / YEAR_S
    place = events.neighborhood[hit]
    rate = np.bincount(place[place >= 0], minlength=len(flat.rings)) / np.maximum(flat.area_km2, 1e-6) / years
    heat, heat_key, width = figures.heat_map(flat, events.longitude[hit], events.latitude[hit], what)
    areas, areas_key = figures.areas(flat, rate, f"{what} incidents")
    rhythm, rhythm_key = figures.rhythm(events.time_s[hit])
    spans = {name: config.splits.span_s(name) for name in ("train", "validation", "test")}
    months = figures.months(events.time_s, hit, spans)
    by_area = (
        "Incidents per square kilometer and year. Plain counts over area: they know nothing of how many people live, "
    )
    by_area += "work or pass there, nor of how readily crime is reported. They don't rank neighborhoods by danger."
    by_hour = (
        "Incidents of the target categories in each hour of the week, local time; bars are the totals. The climatology "
    )
    by_hour += "knows this rhythm, and it explains most of what can be forecast."
    by_month = (
        "Shaded, from left: training, validation and, darkest, test. A step in all incidents that the targets don't "
    )
    by_month += "share is usually a change in how the table was published."
    counted = f"{number(hit.sum())} incidents in hexagons {width} wide."
    blocks = [
        Columns(
            [
                Figure("Reported incidents", heat, counted, heat_key, "map"),
                Figure("By area", areas, by_area, areas_key, "map"),
            ]
        ),
        Columns([Figure("By hour and weekday", rhythm, by_hour, rhythm_key), Figure("By month", months, by_month)]),
    ]
    covered = span(int(events.time_s[0]), int(events.time_s[-1]) + 1)
    lead = (
        f"Reported incidents of {what} in the whole table, {covered}. Places are as recorded: some stand for a block, "
    )
    return Section("city", "The city", blocks, f"{lead}a hospital or a station rather than the spot itself.")


def data(result: Result) -> Section | None:
    """Say where every row of the input went, and what the table is like."""
    if result.prepared is None:
        return None
    quality, table = result.quality, result.prepared.neighborhoods
    areas = f"The city has {len(table)} areas."
    repaired = table.loc[table["was_repaired"].astype(bool), "name"].astype(str) if "was_repaired" in table else []
    if len(repaired):
        areas += f" Outlines repaired because their rings crossed themselves: {', '.join(repaired)}."
    rows = Table("Rows of the incident files", ["Rows", "Count", "Share", "of rows read"], row_counts(result))
    side: list[Block] = []
    drawing, key = missing(quality.get("missing_by_month", {}))
    if drawing is not None:
        caption = "Share of rows in which a column is blank or could not be read. A step usually means that the table "
        side.append(Figure("What is missing, by month", drawing, f"{caption}began to be filled in otherwise.", key))
    if warned := quality.get("warnings"):
        side.append(Facts("Noticed while preparing", [("", str(warning)) for warning in warned], "plain"))
    tables = [_given_away(result), _label_information(quality), _steps(quality), _rounding(quality)]
    blocks: list[Block] = [rows, Text(areas), *([Columns(side)] if side else []), *(one for one in tables if one.rows)]
    lead = "Every row of the input is either kept or set aside with a reason; nothing is dropped silently."
    return Section("data", "The data", blocks, lead)


def row_counts(result: Result) -> list[Row]:
    """Return where every row went, with shares of all; then what was noticed on kept rows, with shares of those."""
    assert result.prepared is not None
    quality = result.quality
    read = int(quality.get("rows_read") or 0)
    rows = [_share("Rows read", read, read, "all"), _share("Kept", quality.get("rows_kept"), read, "kept")]
    rows.append(_share("Set aside", quality.get("rows_quarantined"), read, "aside"))
    reasons = quality.get("quarantined_by_reason") or {}
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        rows.append(_share(reason.replace("_", " "), count, read, "reason"))
    if targets := sum((quality.get("targets_quarantined_by_reason") or {}).values()):
        rows.append(_share("target rows among those set aside", targets, read, "reason"))
    columns = ["is_target", "is_nearest", "duplicate_of", "is_overlap", "twin_of", "near_twin_of"]
    marks = pd.read_parquet(result.prepared.folder / "incidents.parquet", columns=columns)
    counts = {
        "target incidents": marks["is_target"],
        "exact duplicates of an earlier row": marks["duplicate_of"].notna() & ~marks["is_overlap"],
        "repeats from another file, left out of maps and labels": marks["is_overlap"],
        "twins of a target row (same minute, within 100 m)": marks["twin_of"].notna(),
        "near twins (within 30 minutes and 200 m)": marks["near_twin_of"].notna(),
        "outside every area, given to the nearest": marks["is_nearest"],
    }
    rows.append(Row("Of the kept rows", [], look="group"))
    return [*rows, *(_share(name, int(true.sum()), len(marks), "noticed") for name, true in counts.items())]


def _share(name: str, count: Any, of: int, look: str) -> Row:
    share = int(count or 0) / of if of else 0.0
    return Row(name, [number(count), percent(share, 2)], look=look, bar=round(100 * share, 2))


def _given_away(result: Result) -> Table:
    caption = (
        "Columns that are kept from the model. Where target rows differ in how a column is filled in, the formatting "
    )
    caption += "itself gives the answer away, often because it was written after the event was known."
    heads = ["Column", "Blank on other rows", "Blank on target rows", "Target rows spelt as no other row is"]
    return Table(caption, heads, give_away(result.charts))


def give_away(charts: pd.DataFrame | None) -> list[Row]:
    """Return how far each formatting column gives the label away: how often it is blank and how its values are spelt.

    A column leaks if target rows leave it blank more or less often than others do, or spell it in ways that no other
    row does. This is why none of them reaches a model.
    """
    if charts is None or not charts["is_target"].any() or charts["is_target"].all():
        return []
    target = charts["is_target"].to_numpy(dtype=bool)
    rows = []
    for name in (column for column in charts.columns if column not in ("row_id", "is_target")):
        text = charts[name].astype("string").fillna("").str.strip().to_numpy(dtype=str)
        blank = text == ""
        _, spelling = np.unique(text, return_inverse=True)
        elsewhere = np.bincount(spelling[~target], minlength=spelling.max() + 1) > 0
        own = ~elsewhere[spelling[target]] & ~blank[target]
        rows.append(Row(name, [percent(share) for share in (blank[~target].mean(), blank[target].mean(), own.mean())]))
    return rows


def _label_information(quality: Mapping[str, Any]) -> Table:
    told = [one for one in quality.get("label_information", {}).get("columns", []) if one["warning"]][:16]
    several = len({one["file"] for one in told}) > 1
    rows = []
    for one in told:
        cells = [number(one["bits"], 4), percent(one["share"], 0)]
        rows.append(Row(one["column"], cells, one["file"] if several else "", bar=round(100 * one["share"], 1)))
    caption = "How much the same columns, and the way they are written, tell of the label: mutual information in bits, "
    caption += "and as a share of all there is to know. None of them reaches a model."
    return Table(caption, ["Column or way of writing", "Bits", "Share", "of the label's entropy"], rows)


def _steps(quality: Mapping[str, Any]) -> Table:
    """Return the largest steps in monthly volume."""
    rows = []
    for one in quality.get("volume_steps", {}).get("found", [])[:12]:
        cells = [one["month"], number(one["before"]), number(one["after"]), number(one["ratio"], 2)]
        rows.append(Row(one["category"], cells))
    caption = (
        "Steps in volume: months from which on a category has lastingly more or fewer rows than in the year before. "
    )
    caption += "They may be crime, or a change in how it is recorded or published."
    return Table(caption, ["Category", "From", "Rows a month before", "Rows a month after", "Ratio"], rows)


def _rounding(quality: Mapping[str, Any]) -> Table:
    """Return the share of each category's times that look rounded."""
    entries = sorted(quality.get("rounding_by_category", {}).items(), key=lambda entry: -entry[1]["rows"])[:16]
    keys = ("minute_0", "minute_30", "midnight")
    rows = [Row(name, [number(one["rows"]), *(percent(one[key], 1) for key in keys)]) for name, one in entries]
    caption = (
        "Rounded times: how often a time stands on the hour, on the half hour or at midnight. By chance it would be "
    )
    caption += "1.7 % on the hour and on the half hour; more means that the time was estimated."
    return Table(caption, ["Category", "Rows", "Minute 0", "Minute 30", "Midnight"], rows)
