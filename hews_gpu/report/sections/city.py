"""The sections on the city and its table: what is drawn and read, where and when it was reported, data quality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import Prepared
from hews_gpu.report.figures import city as figures
from hews_gpu.report.figures import maps as map_figures
from hews_gpu.report.figures.quality import missing
from hews_gpu.report.formatting import YEAR_S, category_list, day, duration, moment, number, percent, span
from hews_gpu.report.page import Block, Key, Row, columns, facts, figure, gallery, section, table, text
from hews_gpu.report.result import Result
from hews_gpu.units import DAY_S

__all__ = ["city", "data", "maps", "palette", "row_counts"]


def maps(result: Result) -> Block | None:
    """Show reference maps of a few windows, and what a network on maps read before its highest forecast."""
    prepared, test, p = result.prepared, result.test, result.p((result.best,)).get(result.best)
    if prepared is None or test is None or p is None:
        return None
    blocks = [gallery("test", map_figures.sample_maps(prepared, test, p), palette(prepared))]
    if result.best == "cnn":
        issue_s = int(map_figures.seconds_of(test["issue_time"])[p.argmax()])
        when = f"issued on {day(issue_s)}, {issue_s % DAY_S // 3600:02d}:{issue_s % 3600 // 60:02d}"
        blocks.append(
            gallery(
                "channels",
                map_figures.channels(prepared, issue_s - int(result.metrics["protocol"]["delay_s"])),
                when=when,
            )
        )
    return section("maps", *blocks, length=duration(prepared.city.windows.length_s))


def palette(prepared: Prepared) -> list[Key]:
    """Return color, name and number of incidents per category, the most frequent first."""
    from hews_gpu.raster.style import ReferenceStyle

    events, style = prepared.events, ReferenceStyle.from_config(prepared.city.map)
    counts = np.bincount(events.category, minlength=len(events.categories))
    targets = prepared.city.incidents.targets
    names = [f"{name} ▲" if name in targets else name for name in events.categories]
    order = np.argsort(-counts, kind="stable")
    return [Key(style.color(events.categories[i]), names[i], detail=number(counts[i])) for i in order]


def city(result: Result) -> Block | None:
    """Show where and when target incidents were reported in the whole table."""
    if result.prepared is None:
        return None
    events, what = result.prepared.events, category_list(result.prepared.city.incidents.target_names)
    flat, hit = figures.outlines(result.prepared.neighborhoods), events.is_target
    coverage = coverage_of_events(events)
    years = sum(end_s - begin_s for begin_s, end_s in coverage.rows) / YEAR_S
    place = events.neighborhood[hit]
    rate = np.bincount(place[place >= 0], minlength=len(flat.rings)) / np.maximum(flat.area_km2, 1e-6) / years
    areas, areas_key = figures.areas(flat, rate, f"{what} incidents")
    rhythm, rhythm_key = figures.rhythm(events.time_s[hit], result.prepared.span_s[hit])
    folds = result.metrics["protocol"]["folds"]
    parts = (folds[0]["train"], folds[0]["calibration"], {**folds[0]["test"], "end": folds[-1]["test"]["end"]})
    shaded = [(moment(part["begin"]), moment(part["end"])) for part in parts]
    drawn = [
        figure("areas", areas, areas_key),
        figure("rhythm", rhythm, rhythm_key),
        figure("months", figures.months(events.time_s, hit, shaded)),
    ]
    covered = span(coverage.begin_s, coverage.end_s)
    return section("city", columns(*drawn), count=number(hit.sum()), what=what, covered=covered)


def data(result: Result) -> Block | None:
    """Say where every row of the input went, and what the table is like."""
    if result.prepared is None:
        return None
    quality, polygons = result.quality, result.prepared.neighborhoods
    is_repaired = polygons["was_repaired"].astype(bool) if "was_repaired" in polygons else np.zeros(len(polygons), bool)
    names = ", ".join(polygons.loc[is_repaired, "name"].astype(str))
    repaired = f" Outlines repaired because their rings crossed themselves: {names}." if names else ""
    side = []
    drawing, key = missing(quality["missing_by_month"])
    if drawing is not None:
        side.append(figure("missing", drawing, key))
    if warned := quality["warnings"]:
        side.append(facts("warnings", [("", warning) for warning in warned]))
    blocks = [table("rows", row_counts(result)), text("areas", count=str(len(polygons)), repaired=repaired)]
    blocks += [text("vintages", words=result.vintages)] if result.vintages else []
    blocks += [columns(*side)] if side else []
    tables = {"label_information": _label_information, "steps": _steps, "rounding": _rounding}
    made = {name: rows_of(quality) for name, rows_of in tables.items()}
    return section("data", *blocks, *(table(name, rows) for name, rows in made.items() if rows))


def row_counts(result: Result) -> list[Row]:
    """Return where every row went, with shares of all; then what was noticed on kept rows, with shares of those."""
    assert result.prepared is not None
    quality = result.quality
    read = quality["rows_read"]
    rows = [_share("Rows read", read, read, "all"), _share("Kept", quality["rows_kept"], read, "kept")]
    rows.append(_share("Set aside", quality["rows_quarantined"], read, "aside"))
    for reason, count in sorted(quality["quarantined_by_reason"].items(), key=lambda item: -item[1]):
        rows.append(_share(reason.replace("_", " "), count, read, "reason"))
    if targets := sum(quality["targets_quarantined_by_reason"].values()):
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


def _share(name: str, count: int, of: int, look: str) -> Row:
    share = count / of if of else 0.0
    return Row(name, [number(count), percent(share, 2)], look=look, bar=round(100 * share, 2))


def _label_information(quality: Mapping[str, Any]) -> list[Row]:
    """Return columns and ways of writing that tell more of the label than they should."""
    told = [one for one in quality["label_information"]["columns"] if one["warning"]][:16]
    several = len({one["file"] for one in told}) > 1
    rows = []
    for one in told:
        cells = [number(one["bits"], 4), percent(one["share"], 0)]
        rows.append(Row(one["column"], cells, one["file"] if several else "", bar=round(100 * one["share"], 1)))
    return rows


def _steps(quality: Mapping[str, Any]) -> list[Row]:
    """Return the largest steps in monthly volume."""
    rows = []
    for one in quality["volume_steps"]["found"][:12]:
        cells = [one["month"], number(one["before"]), number(one["after"]), number(one.get("ratio"), 2)]
        rows.append(Row(one["category"], cells))
    return rows


def _rounding(quality: Mapping[str, Any]) -> list[Row]:
    """Return the share of each category's times that look rounded, the largest category first."""
    entries = sorted(quality["rounding_by_category"].items(), key=lambda entry: -entry[1]["rows"])[:16]
    keys = ("minute_0", "minute_30", "midnight")
    return [Row(name, [number(one["rows"]), *(percent(one[key], 1) for key in keys)]) for name, one in entries]
