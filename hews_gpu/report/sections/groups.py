"""The page of `hews groups`: whether there are groups, what each is like and where, and the join's own share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu.arrays import Float64
from hews_gpu.data.events import DOUBTS, Prepared
from hews_gpu.errors import UserError
from hews_gpu.files import read_manifest
from hews_gpu.groups.run import GROUPS, JOIN, groups_in_words, join_in_words
from hews_gpu.own_files import read_json
from hews_gpu.report.figures import city as maps
from hews_gpu.report.figures import groups as figures
from hews_gpu.report.formatting import YEAR_S, category_list, moment, number, percent, plain, range_of, seconds, span
from hews_gpu.report.page import (
    Block,
    Key,
    Page,
    Part,
    Row,
    Verdict,
    columns,
    facts,
    figure,
    prose,
    section,
    table,
    text,
)

__all__ = ["groups_page"]

Content = Mapping[str, Any]
MAP_PIXELS = 260
PARTS = {1: "the crime table alone", 2: "with census columns"}


def groups_page(folder: Path, prepared: Prepared) -> Page:
    """Return the page of a folder made by `hews groups`.

    Raises:
        UserError: its result is damaged.
    """
    content = read_json(folder / GROUPS)
    try:
        return _page(content, prepared, read_manifest(folder))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        allowed = f"is not a whole result of groups ({type(error).__name__}: {error})"
        raise UserError(str(folder / GROUPS), allowed=allowed, remedy="Make it anew with 'hews groups'") from None


def _page(content: Content, prepared: Prepared, notes: Content) -> Page:
    begin_s, end_s = moment(content["begin"]), moment(content["end"])
    verdict, *join = groups_in_words(content).splitlines()
    more = [*join, text("groups").words("text")]
    more += [f"The table is not known to be complete: {doubt}." for doubt in content.get(DOUBTS) or ()]
    agree, own = content["stability"], content["silhouette"]
    null = next(row["null_silhouette"] for row in content["curve"] if row["k"] == content["k"])
    tiles = [
        ("Rows", number(content["rows"]), f"{number(content['sample_rows'])} of them looked at closely"),
        ("Groups", str(content["k"]) if content["is_real"] else "none", f"{content['k']} were cut"),
        ("Silhouette", number(own["value"], 3), f"{number(null['value'], 3)} with columns permuted"),
        ("Stability", number(agree["value"], 2), f"adjusted Rand index, {range_of(agree['interval'], 2, plain)}"),
    ]
    sections = [_evidence(content), _groups(content, prepared), _city(content, prepared, begin_s, end_s)]
    sections += [
        section("run_of_groups", facts("run", _facts(content, notes))),
        section("limits", prose("limits.html.j2")),
    ]
    return Page(
        title=f"{content['city']}: groups of victims, part {content['part']}",
        kicker=f"Groups of victims, part {content['part']}: {PARTS[content['part']]}",
        heading=str(content["city"]),
        about=f"{span(begin_s, end_s)} · describes what was reported, forecasts nothing",
        verdict=Verdict(verdict, "good" if content["is_real"] else "flat", more),
        tiles=tiles,
        parts=[Part(sections)],
        foot="The group of each row is in groups.parquet.",
    )


def _evidence(content: Content) -> Block:
    """Say whether the groups are real, and how much the join alone makes."""
    drawing, key = figures.curves(content)
    blocks: list[Block] = [figure("group_curves", drawing, key)]
    if "join" in content:
        rows = [
            Row(
                name, [(number(content["join"][key]["value"], 3), range_of(content["join"][key]["interval"], 3, plain))]
            )
            for key, name in JOIN.items()
        ]
        blocks += [table("join", rows, k=str(content["k"])), text("join", words=join_in_words(content))]
    other = [
        Row(one["method"], [str(one["groups"]), number(one["agreement"], 2), percent(one["in_no_group"], 0)])
        for one in content["alternatives"]
    ]
    null = content["null_stability"]
    return section(
        "groups_real",
        *blocks,
        table("alternatives", other),
        null=f"{number(null['value'], 2)} ({range_of(null['interval'], 2, plain)})",
        stable=f"{number(content['stability']['value'], 2)} ({range_of(content['stability']['interval'], 2, plain)})",
        tables=str(content["null_tables"]),
    )


def _groups(content: Content, prepared: Prepared) -> Block:
    """Show what each group is like, and where it is common, all maps in the same colors."""
    flat = maps.outlines(prepared.neighborhoods, pixels=MAP_PIXELS)
    where = [
        100 * np.array([np.nan if one is None else one for one in group["of_place"]]) for group in content["groups"]
    ]
    known = np.concatenate(where)
    _, edges = maps.classes(known[np.isfinite(known)])
    drawing, key = figures.plane(content["picture"], len(content["groups"]))
    blocks: list[Block] = [columns(figure("group_plane", drawing, key), table("groups", _rows(content)))]
    for group, shares in zip(content["groups"], where, strict=True):
        blocks.append(text("group", words=_in_words(group)))
        blocks.append(
            columns(
                figure("group_profile", figures.profile(group), number=str(group["group"])),
                _where(flat, group, shares, edges),
            )
        )
    cut = "" if content["is_real"] else " They are a cut through the rows, not kinds of crime."
    joined = (
        f" {content['joined_groups']} of fewer than {content['least_rows']} rows were joined to the nearest."
        if content["joined_groups"]
        else ""
    )
    return section("groups", *blocks, cut=cut, joined=joined)


def _where(flat: maps.Outlines, group: Content, shares: Float64, edges: list[float]) -> Block:
    what = f"the percentage of their rows in group {group['group']}"
    drawing, key = maps.areas(flat, shares, what, edges, of="")
    if np.isnan(shares).any():
        key = [Key("land", "too few rows"), *(one for one in key if one.color != "land")]
    return figure("group_map", drawing, key, number=str(group["group"]))


def _rows(content: Content) -> list[Row]:
    return [Row(f"Group {one['group']}", [number(one["rows"]), percent(one["share"])]) for one in content["groups"]]


def _in_words(group: Content) -> str:
    """Return a group as a sentence made of its numbers."""
    told = [
        f"{'in the highest quarter by ' if one['column'] == 'census' else ''}{one['level']}"
        f"{' (weapon)' if one['column'] == 'weapon' and one['level'] == 'not stated' else ''} "
        f"{percent(one['share'], 0)}, in the city {percent(one['city'], 0)}"
        for one in group["stands_out"]
    ]
    return f"Group {group['group']}, {percent(group['share'], 0)} of the rows: {'; '.join(told) or 'as the city'}."


def _city(content: Content, prepared: Prepared, begin_s: int, end_s: int) -> Block:
    """Show the target incidents of the span by place and by hour, and inside and outside by category."""
    events = prepared.events
    hit = events.is_target & (events.time_s >= begin_s) & (events.time_s < end_s)
    what = category_list(prepared.city.incidents.target_names)
    blocks: list[Block] = []
    if hit.any():
        flat = maps.outlines(prepared.neighborhoods, pixels=MAP_PIXELS)
        rows = np.bincount(events.neighborhood[hit], minlength=len(flat.rings))
        rate = rows / np.maximum(flat.area_km2, 1e-6) / ((end_s - begin_s) / YEAR_S)
        areas = maps.areas(flat, rate, f"{what} incidents")
        rhythm = maps.rhythm(events.time_s[hit], prepared.span_s[hit])
        blocks = [figure("areas", *areas), figure("rhythm", *rhythm)]
    if content["sides"]:
        blocks.append(figure("sides", *figures.sides(content["sides"])))
    return section("groups_city", columns(*blocks, look="three"), count=number(hit.sum()), what=what)


def _facts(content: Content, notes: Content) -> list[tuple[str, str]]:
    """Return how it was made."""
    parts = content["components"]
    pairs = [
        ("Columns", ", ".join(content["columns"])),
        ("Left out", "; ".join(f"{name}: {why}" for name, why in content["left_out"].items()) or "none"),
        ("Components", f"{parts['count']}, which explain {percent(sum(parts['explained']), 0)} of the variance"),
        ("Clustering", f"k-means, {content['engine']}; seed {content['seed']}"),
        ("Null tables, resamplings", f"{content['null_tables']}, {content['resamplings']}"),
        ("Silhouettes from", f"{number(content['silhouette_rows'])} rows"),
    ]
    if census := content.get("census"):
        names = census["missed"]
        missed = f"{len(names)} neighborhoods with {number(census['rows_missed'])} rows: {', '.join(names)}"
        left_out = [f"{name} {why}" for name, why in census["left_out"].items()]
        pairs += [
            ("Census columns", ", ".join(census["columns"])),
            ("Census columns left out", "; ".join(left_out) or "none"),
            ("Missed by the census, left out", missed if names else "none"),
        ]
    if took := notes.get("seconds"):
        pairs.append(("Took", f"{seconds(took)}, at most {notes['peak_memory_bytes'] / 2**30:.1f} GiB of memory"))
    return pairs
