"""The section on where: expected risk beside what happened, hot spots, and neighborhoods in order with intervals.

Every forecast is shown beside the long-run rate of each neighborhood, which is what anybody with an old map knows.

Shapes: S windows, N neighborhoods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.arrays import Float64, Int64
from hews_gpu.errors import UserError
from hews_gpu.evaluation.bootstrap import Blocks
from hews_gpu.evaluation.neighborhood_scores import hot_spot_curve, totals_by_neighborhood
from hews_gpu.report.figures import city as maps
from hews_gpu.report.figures import where as figures
from hews_gpu.report.figures.scores import legend as looks
from hews_gpu.report.formatting import SPACE, YEAR_S, hours, number, percent, plain, range_of, signed
from hews_gpu.report.page import Block, Row, columns, figure, legend, section, table, text
from hews_gpu.report.result import JUDGE_FIRST, Result
from hews_gpu.report.significance import label
from hews_gpu.units import HOUR_S, MINUTE_S, WEEK_S

__all__ = ["where"]

SHARES = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)  # of the area
MOST_RANKED = 20
MOST_SPOTS = 3


@dataclass(frozen=True, kw_only=True)
class Places:
    """What was forecast and what happened in each neighborhood, as arrays."""

    names: list[str]  # [N]
    area_km2: Float64  # [N]
    p: dict[str, Float64]  # [S, N] by forecast, of one event or more
    counts: Int64  # [S, N]
    before: Int64  # [N] target events before the first test window
    years: float  # that the windows cover
    blocks: Blocks

    def rate(self, sums: Float64) -> Float64:
        """Turn sums over the windows [..., N] into events per square kilometer and year."""
        return np.asarray(sums / self.area_km2 / self.years, dtype=np.float64)

    def expected(self) -> dict[str, Float64]:
        """Return the expected rate [N] by forecast; of events that come one by one -log(1 - p) are expected."""
        return {name: self.rate(-np.log1p(-np.clip(p, 0, 1 - 1e-9)).sum(axis=0)) for name, p in self.p.items()}


def where(result: Result) -> Block | None:
    """Say where the forecast looks, where it happened, and what that adds to the long-run rate."""
    blocks, counts, scores = [], "", result.metrics.get("places")
    if result.places is not None and result.prepared is not None:
        flat = maps.outlines(result.prepared.neighborhoods)
        places = _read(result, flat.area_km2)
        if places.counts.any() and places.before.any():
            blocks += [*_maps(result, places, flat), *_curves(places), _ranking(result, places)]
    if scores:
        counts = f" {number(scores['events'])} target incidents in {number(scores['neighborhoods'])} neighborhoods."
        blocks += _tables(result, scores)
    return section("where", *blocks, counts=counts) if blocks else None


def _read(result: Result, area_km2: Float64) -> Places:
    """Lay the table of forecasts by neighborhood out as arrays, in the order of the polygons."""
    rows, prepared = result.places, result.prepared
    assert rows is not None and prepared is not None
    names = [str(name) for name in prepared.neighborhoods["name"]]
    named = pd.Categorical(rows["neighborhood"])  # each name once: as a text in every row a long one takes gigabytes
    place = pd.Index(names).get_indexer(pd.Index(named.categories.astype(str)))[named.codes]
    order, shape = np.lexsort([place, rows["window_start"].to_numpy()]), (len(rows) // len(names), len(names))
    if not np.array_equal(place[order], np.tile(np.arange(len(names)), shape[0])):
        allowed = "does not hold every neighborhood of the prepared folder once a window"
        raise UserError("forecasts_by_neighborhood.parquet", allowed=allowed, remedy=JUDGE_FIRST)
    rows, stride_s, events = rows.iloc[order], int(result.metrics["protocol"]["stride_s"]), prepared.events
    is_before = events.time_s < int(pd.Timestamp(rows["window_start"].iloc[0]).timestamp())
    earlier = events.take(is_before & events.is_target & (events.neighborhood >= 0))
    reported = np.stack([earlier.time_s // MINUTE_S, earlier.neighborhood], axis=1)  # a row for each victim
    columns = {result.best: "p", "long_run": "p_long_run"}
    return Places(
        names=names,
        area_km2=area_km2,
        p={name: rows[column].to_numpy(dtype=float).reshape(shape) for name, column in columns.items()},
        counts=rows["events"].to_numpy(dtype=np.int64).reshape(shape),
        before=np.bincount(np.unique(reported, axis=0)[:, 1], minlength=len(names)),
        years=shape[0] * stride_s / YEAR_S,
        blocks=Blocks.drawn(shape[0], max(1, round(WEEK_S / stride_s))),
    )


def _maps(result: Result, places: Places, flat: maps.Outlines) -> list[Block]:
    """Show what was expected, what the long-run rate expects, and what happened, in the same colors."""
    rates = {**places.expected(), "happened": places.rate(places.counts.sum(axis=0))}
    every = np.concatenate(list(rates.values()))
    _, edges = maps.classes(every)
    titles = {result.best: f"Expected by {label(result.best)}", "long_run": "Expected from the long-run rate"}
    drawn = [
        figure("risk", maps.areas(flat, rate, "target incidents", edges)[0], title=titles.get(name, "What happened"))
        for name, rate in rates.items()
    ]
    key = maps.legend(edges, float(f"{every.max():.2g}"), zeros=bool((every == 0).any()))
    return [text("risk"), legend(key), columns(*drawn, look="three")]


def _curves(places: Places) -> list[Block]:
    """Show hit rate, PAI, PEI* and RRI over the share of the area."""
    drawn_from = (places.area_km2, SHARES, places.before, places.blocks)
    curves = {name: hot_spot_curve(places.counts, p, *drawn_from) for name, p in places.p.items()}
    drawn = [figure(score, figures.hot_spots(score, curves)) for score in figures.NAMES]
    return [text("hot_spots"), legend(looks(list(curves))), columns(*drawn)]


def _ranking(result: Result, places: Places) -> Block:
    """Show the neighborhoods that the forecast puts first, with what happened there."""
    expected, totals = places.expected(), totals_by_neighborhood(places.counts, places.area_km2, places.blocks)
    order = np.argsort(-expected[result.best], kind="stable")[:MOST_RANKED]
    happened, ends = places.rate(totals["events"]), places.rate(totals["events_interval"].T).T
    rows = []
    for rank, i in enumerate(order, 1):
        cells: list[tuple[str, ...]] = [(number(rate[i], 2),) for rate in expected.values()]
        cells.append((number(happened[i], 2), range_of(ends[i].tolist(), 2, plain)))
        cells += [
            (number(totals[name][i]), range_of(totals[f"{name}_interval"][i].tolist(), 0, plain))
            for name in ("events", "rank")
        ]
        rows.append(Row(f"{rank}. {places.names[i]}", cells))
    heads = ["Neighborhood", *(f"Expected by {label(name)}" for name in expected), "Happened", "Incidents"]
    return table("ranked", rows, [*heads, "Rank by what happened"])


def _tables(result: Result, scores: Mapping[str, Any]) -> list[Block]:
    """Return proper scores and hot spots of every forecast by neighborhood and by cell, and near repeats."""
    rows, heads = [], ["Forecast", "Over the long-run rate, bits"]
    apart = all(one.get("apart") for one in scores["forecasts"].values())  # older results have them together
    for name, one in scores["forecasts"].items():
        auc = f"AUC {number(one['auc'], 3)}"
        cells: list[Sequence[str]] = [(signed(one["log_skill_bits"]), range_of(one["log_skill_bits_interval"]), auc)]
        cells += [
            (signed(one["apart"][key]), range_of(one["apart"][f"{key}_interval"]))
            for key in (("geography_bits", "foresight_bits") if apart else ())
        ]
        cells += _spots(one)
        rows.append(Row(label(name), cells, look="model" if name == result.best else ""))
    heads += ["Geography, bits", "Foresight, bits"] if apart else []
    blocks = [table("places", rows, [*heads, *_spot_heads(scores)])]
    if by_cell := scores.get("cells"):
        rows = [
            Row(label(name), _spots(one), look="model" if name == result.best else "")
            for name, one in by_cell["forecasts"].items()
        ]
        counts = {"size": f"{number(by_cell['size_m'])}{SPACE}m", "count": number(by_cell["cells"])}
        blocks.append(table("cells", rows, ["Forecast", *_spot_heads(by_cell)], **counts))
    if bands := scores.get("near_pairs"):
        told = [
            f"{number(one['pairs'])} pairs {number(one['from_s'] / HOUR_S)} to {hours(one['to_s'], 0)} apart, "
            f"{number(one['expected'], 1)} by chance (p{SPACE}={SPACE}{one['p']:.3f})"
            for one in bands
        ]
        blocks.append(text("near_pairs", within=f"{number(bands[0]['within_m'])}{SPACE}m", bands="; ".join(told)))
    return blocks


def _spot_heads(scores: Mapping[str, Any]) -> list[str]:
    spots = next(iter(scores["forecasts"].values()))["hot_spots"][-MOST_SPOTS:]
    return [f"Hit rate in {100 * spot['area_share']:g}{SPACE}%" for spot in spots]


def _spots(scores: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return the scores of the largest hot spots, as lines of a cell each; the curves show smaller ones."""
    cells: list[Sequence[str]] = []
    for spot in scores["hot_spots"][-MOST_SPOTS:]:
        interval = " to ".join(percent(end) for end in spot["hit_rate_interval"])
        lines = [percent(spot["hit_rate"]), interval, f"PAI {number(spot['pai'], 2)}, PEI {number(spot['pei'], 3)}"]
        recaptured = "" if spot.get("rri") is None else f", RRI {number(spot['rri'], 2)}"
        cells.append((*lines, f"PEI* {number(spot['pei_star'], 3)}{recaptured}"))
    return cells
