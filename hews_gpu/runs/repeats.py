"""`hews repeats`: whether target events come in near pairs, and the zones in which more are to be expected now.

The Knox table says for which distances and delays pairs are more frequent than chance explains. Where that
holds from the event itself on, out to some distance, every recent event gets a zone: a circle that wide, from when the
delay begins until it ends. A far band alone makes none: what is frequent some hundred meters away but not nearer is a
slow shift of crime over the city, no repeat. Where the table shows nothing there is no zone, and the result says so.

Shapes: E events, Z zones, D bands of distance, T bands of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hews_gpu.arrays import Float64, Int64
from hews_gpu.config import normal_category, parse_local_time
from hews_gpu.data.coverage import FEW, coverage_of_events
from hews_gpu.data.events import DOUBTS, Prepared, open_prepared
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.evaluation.aoristic import mean_clipped
from hews_gpu.evaluation.near_pairs import EXCHANGES, KnoxTable, knox
from hews_gpu.files import require_free_names, write_json, write_together
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.city import City, prepared_city
from hews_gpu.units import DAY_S, HOUR_S

if TYPE_CHECKING:
    import geopandas

__all__ = ["GEOJSON", "GEOPACKAGE", "REPEATS", "Bands", "repeats", "repeats_in_words", "repeats_table"]
GEOPACKAGE, GEOJSON, REPEATS = "zones.gpkg", "zones.geojson", "repeats.json"
LAYER = "near_repeat_zones"
EDGES_M: tuple[float, ...] = (0.0, 100.0, 200.0, 400.0, 800.0)
EDGES_S: tuple[int, ...] = (HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S)
SHIFT_S = 8 * HOUR_S
LEVEL = 0.05
MOST_EVENTS = 10_000  # the latest; pairs grow with the square
MOST_BANDS = 12
WGS84 = "EPSG:4326"
PER_SHIFT = ("expected_per_shift", "risk_per_shift")


@dataclass(frozen=True)
class Bands:
    """Edges of the bands of distance and of time; the first hour after an event belongs to none."""

    edges_m: tuple[float, ...] = EDGES_M
    edges_s: tuple[int, ...] = EDGES_S

    @classmethod
    def parse(cls, meters: str | None, days: str | None) -> Bands:
        """Read the upper ends of the bands, such as ``100,200,400`` and ``1,3,7``; as usual where there are none.

        Raises:
            UserError: no ascending numbers within bounds.
        """
        edges_m, edges_s = EDGES_M, EDGES_S
        if meters is not None:
            edges_m = (0.0, *_numbers("--meters", meters, 1, 10_000))
        if days is not None:
            edges_s = (HOUR_S, *(round(one * DAY_S) for one in _numbers("--days", days, 0.25, 365)))
        return cls(edges_m, edges_s)


def _numbers(option: str, text: str, least: float, most: float) -> list[float]:
    """Return the ascending numbers of a list."""
    allowed = f"must be up to {MOST_BANDS} ascending numbers from {least:g} to {most:,g}, with commas between them"
    try:
        ends = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(option, text, allowed=allowed) from None
    within = all(least <= end <= most for end in ends)  # a NaN is not
    if not (within and len(ends) <= MOST_BANDS and all(a < b for a, b in pairwise(ends))):
        raise UserError(option, text, allowed=allowed)
    return ends


def repeats(
    folder: Path,
    *,
    categories: Sequence[str] = (),
    at: str | None = None,
    out: Path | None = None,
    bands: Bands | None = None,
    seed: int = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Test the target events of a prepared folder for near repeats, and draw the zones that follow from it.

    Args:
        folder: made by ``hews prepare``.
        categories: what to look at instead of the city's targets.
        at: local time up to which events are known; the end of the table, or of what is not locked, unless given.
        out: folder for ``zones.gpkg``, ``zones.geojson`` (both EPSG:4326) and ``repeats.json``; none unless given.
        bands: of distance and time.
        seed: of the exchanges.
        force: replace files that `out` holds.

    Returns:
        What ``repeats.json`` holds.

    Raises:
        UserError: the folder is not prepared, `at` lies outside its table or in its locked block, there is no such
            category, there are too few events, or `out` may not be written.
    """
    if out is not None:
        require_free_names(out, (GEOPACKAGE, GEOJSON, REPEATS), force=force)
    bands = bands or Bands()
    prepared = open_prepared(folder)
    city, at_s = _known(prepared, at, _chosen(prepared, categories))
    past = replace(city, events=replace(city.events, span_s=None)).catalog().until(at_s)  # in order of their begins
    span_s = _spans_s(prepared, city, past)
    over = past.is_event & (past.time_s >= city.begin_s) & (past.time_s + span_s <= at_s)  # others are not known yet
    rows = np.flatnonzero(over)[-MOST_EVENTS:]
    if len(rows) < FEW:
        allowed = f"holds {len(rows)} events before {_text(at_s)}, at least {FEW} are needed"
        raise UserError("data folder", folder, allowed=allowed, remedy="Give a later --at, or other categories")
    time_s, xy_m, span_s = past.time_s[rows], past.xy_m[rows], span_s[rows]
    table = knox(time_s, xy_m, span_s=span_s, edges_m=bands.edges_m, edges_s=bands.edges_s, seed=seed)
    found = _significant(table, time_s, span_s, at_s)
    zones = _zones(city, prepared, found, time_s, span_s, xy_m, at_s)
    result = {
        "kind": "repeats",
        "city": city.name,
        "data_fingerprint": prepared.fingerprint,
        "categories": list(categories) or list(prepared.city.incidents.target_names),
        **{"begin": _text(int(time_s.min())), "at": _text(at_s), "events": len(rows)},
        "events_with_a_span": int((span_s > 0).sum()),
        **{"exchanges": EXCHANGES, "seed": seed, "level": LEVEL, "shift_s": SHIFT_S},
        "cells": table.cells(),
        "bands": found,
        "zones": len(zones),
        **({DOUBTS: prepared.doubts} if prepared.doubts else {}),
    }
    if out is not None:
        _write(out, zones, result)
    return result


def _chosen(prepared: Prepared, categories: Sequence[str]) -> list[int]:
    """Return the indices of the categories asked for."""
    known = prepared.events.categories
    for name in categories:
        if normal_category(name) not in known:
            raise UserError("--category", name, allowed="is none of the table's", remedy=did_you_mean(name, known))
    return [known.index(normal_category(name)) for name in categories]


def _known(prepared: Prepared, at: str | None, chosen: Sequence[int]) -> tuple[City, int]:
    """Return the city with nothing of its locked block, the chosen categories as targets, and the moment asked for."""
    coverage, splits = coverage_of_events(prepared.events), prepared.city.splits
    if not coverage.rows:
        raise UserError("data folder", prepared.folder, allowed="holds no row", remedy="Prepare a longer table")
    first_s, last_s = coverage.first_and_last(prepared.events.time_s)
    end_s, latest_s, why = last_s + 1, last_s + DAY_S, "a day after the table's end"
    if splits.locked is not None and (locked_s := splits.span_s("locked")[0]) < latest_s:
        end_s, latest_s, why = min(end_s, locked_s), locked_s, "where the locked block begins"
    at_s = end_s if at is None else parse_local_time("--at", at)
    if not first_s < at_s <= latest_s:
        raise UserError("--at", at, allowed=f"must lie after {_text(first_s)} and up to {_text(latest_s)}, {why}")
    city = prepared_city(prepared, begin_s=first_s, end_s=at_s)
    if chosen:
        city = replace(city, events=replace(city.events, is_target=np.isin(city.events.category, chosen)))
    return city, at_s


def _spans_s(prepared: Prepared, city: City, past: Catalog) -> Int64:
    """Return how long after its time each target row of a catalog may have happened [E]; 0 of other rows."""
    span_s = np.zeros(len(past), dtype=np.int64)
    rows, first_s = np.flatnonzero(past.is_target), past.time_s.min(initial=np.iinfo(np.int64).max)
    own = np.flatnonzero(city.events.is_target & (city.events.time_s >= first_s))
    assert np.array_equal(past.time_s[rows], city.events.time_s[own]), "targets of the catalog are those of the table"
    span_s[rows] = prepared.span_s[own]
    return span_s


def _significant(table: KnoxTable, time_s: Int64, span_s: Int64, at_s: int) -> list[dict[str, Any]]:
    """Return the bands of time in which pairs are too frequent for chance, each with what a zone says of it.

    What is to be expected in a shift is what followed earlier events: pairs per event and shift, over the shifts in
    which the table can tell. It is the same for every zone of a band, and says nothing of how busy the place is.
    """
    found, corrected = [], table.p_corrected()
    for band, (from_s, to_s) in enumerate(pairwise(table.edges_s)):
        near = int(np.argmin(np.append(corrected[:, band] <= LEVEL, False)))  # bands from the event on
        if not near:
            continue
        counted = table.ratio(near, band)
        shifts = float(mean_clipped(at_s - time_s - from_s, span_s, to_s - from_s).sum()) / SHIFT_S
        each = counted["pairs"] / shifts
        found.append(
            {
                **{"from_s": from_s, "to_s": to_s, "radius_m": table.edges_m[near], **counted},
                "p_corrected": float(corrected[:near, band].max()),
                **dict(zip(PER_SHIFT, (each, float(-np.expm1(-each))), strict=True)),
            }
        )
    return found


def _zones(
    city: City,
    prepared: Prepared,
    found: Sequence[dict[str, Any]],
    time_s: Int64,
    span_s: Int64,
    xy_m: Float64,
    at_s: int,
) -> geopandas.GeoDataFrame:
    """Return a circle [Z] for every event and band of time that is not over yet, the latest event first.

    Of an event with a span it holds from the first moment at which the band may have begun to the last at which it may
    end, and expects as much in all as any other, so that much less in each shift.
    """
    import geopandas
    import shapely

    from_s, to_s = (np.array([band[key] for band in found], dtype=np.int64) for key in ("from_s", "to_s"))
    event, which = np.nonzero((time_s + span_s)[::-1, None] + to_s > at_s)
    event = len(time_s) - 1 - event
    span = span_s[event]

    def column(values: Sequence[float | None]) -> Float64:
        return np.array(values, dtype=np.float64)[which]  # None is not a number

    each = column([band[PER_SHIFT[0]] for band in found]) * (to_s - from_s)[which] / ((to_s - from_s)[which] + span)
    begins = {
        "event_time": np.zeros(len(which), np.int64),
        "event_until": span,
        "begins": from_s[which],
        "ends": to_s[which] + span,
    }
    columns = {
        **{name: _moments(time_s[event] + late_s, prepared.city.city.timezone) for name, late_s in begins.items()},
        "radius_m": column([band["radius_m"] for band in found]),
        "days": to_s[which] / DAY_S,
        "ratio": column([band["ratio"] for band in found]),
        "ratio_low": column([band["ratio_interval"][0] for band in found]),
        "ratio_high": column([band["ratio_interval"][1] for band in found]),
        "p_corrected": column([band["p_corrected"] for band in found]),
        **dict(zip(PER_SHIFT, (each, -np.expm1(-each)), strict=True)),
    }
    circles = shapely.buffer(shapely.points(xy_m[event]), columns["radius_m"], quad_segs=16)
    return geopandas.GeoDataFrame(columns, geometry=shapely.transform(circles, city.degrees), crs=WGS84)


def _moments(local_s: Int64, timezone: str) -> Any:
    """Return local times as moments; of an hour that happened twice the first, of one that did not the next."""
    import pandas as pd

    local = pd.to_datetime(local_s, unit="s")
    return local.tz_localize(timezone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")


def _write(out: Path, zones: geopandas.GeoDataFrame, result: dict[str, Any]) -> None:
    """Write zones in both formats and the result, all of them or none; the empty layer of no zone opens, too."""
    import pyogrio

    write = partial(pyogrio.write_dataframe, layer=LAYER, geometry_type="Polygon")
    moments = ["event_time", "event_until", "begins", "ends"]
    universal = zones.assign(**{name: zones[name].dt.tz_convert("UTC") for name in moments})  # as GeoPackage has it
    writers = {
        GEOPACKAGE: lambda path: write(universal, path, driver="GPKG"),
        GEOJSON: lambda path: write(zones, path, driver="GeoJSON", layer_options={"RFC7946": "YES"}),
        REPEATS: lambda path: write_json(path, result),
    }
    write_together(out, writers)


def _text(local_s: int) -> str:
    return str(np.datetime64(local_s, "s"))[:16]


def repeats_table(result: dict[str, Any]) -> list[list[str]]:
    """Return the Knox table as rows of text: a row per band of distance, a column per band of time."""
    cells = result["cells"]
    spans = list(dict.fromkeys((cell["from_s"], cell["to_s"]) for cell in cells))
    heads = [f"{_delay(begin)} to {_delay(end)}" for begin, end in spans]
    rows: dict[tuple[float, float], list[str]] = {}
    for cell in cells:
        row = rows.setdefault((cell["from_m"], cell["within_m"]), [])
        row.append(_cell(cell))
    return [["pairs apart", *heads], *([f"{near:g} to {far:g} m", *row] for (near, far), row in rows.items())]


def _cell(cell: dict[str, Any]) -> str:
    """Return one cell as text: ratio and pairs, and below them the interval and the corrected p."""
    if cell["ratio"] is None:
        return _pairs(cell["pairs"])
    low, high = ("" if end is None else f"{end:.2f}" for end in cell["ratio_interval"])
    star = " *" if cell["p_corrected"] <= LEVEL else ""
    return f"{cell['ratio']:.2f} of {_pairs(cell['pairs'])}{star}\n[{low}, {high}] p {cell['p_corrected']:.3f}"


def _pairs(count: float) -> str:
    """Return a number of pairs, of incidents with spans to one digit."""
    return f"{count} pairs" if isinstance(count, int) else f"{count:.1f} pairs"


def _delay(delay_s: int) -> str:
    return f"{delay_s / HOUR_S:g} h" if delay_s < DAY_S else f"{delay_s / DAY_S:g} d"


def repeats_in_words(result: dict[str, Any]) -> str:
    """Return what the table shows, and how many zones follow from it."""
    key = f"Ratio to chance; p corrected for all cells, * where it is {LEVEL} or less"
    if not result["bands"]:
        return f"Incidents do not draw others near them beyond chance: there are no zones. ({key}.)"
    told = [
        f"{_delay(band['from_s'])} to {_delay(band['to_s'])} after an incident, within {band['radius_m']:g} m: "
        f"{_pairs(band['pairs'])}, {band['expected']:.1f} by chance; {band['expected_per_shift']:.4f} incidents per "
        f"zone and shift of {SHIFT_S // HOUR_S} hours"
        for band in result["bands"]
    ]
    return "\n".join([*told, f"{result['zones']:,} zones at {result['at']}. ({key}.)"])
