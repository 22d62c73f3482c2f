"""Where: expected beside what happened, the same numbers as the judge's, and neighborhoods in their right order."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.own_files import read_json
from hews_gpu.report.result import read_folder
from hews_gpu.report.sections.where import _read, where

YEARS = 184 * 86_400 / (365.2425 * 86_400)  # July to December


@pytest.fixture(scope="module")
def result(run):
    return read_folder(run, read_json(run / "metrics.json"))


@pytest.fixture(scope="module")
def blocks(result):
    found = where(result).content
    return [one for block in found for one in (block.content if block.kind == "columns" else [block])]


def drawn(blocks, title):
    return next(block.content for block in blocks if block.kind == "figure" and block.words("title") == title)


def test_three_maps_share_one_scale_and_tell_their_rates(result, blocks):
    area_km2 = result.prepared.neighborhoods.to_crs("EPSG:6933").area.to_numpy() / 1e6
    counts = result.places["events"].to_numpy().reshape(-1, 9).sum(axis=0)
    expected = -np.log1p(-result.places["p"].to_numpy().reshape(-1, 9)).sum(axis=0)
    for title, sums in (("What happened", counts), ("Expected by HewsNet", expected)):
        low, high = re.search(r"from ([\d.]+) to ([\d.]+);", drawn(blocks, title)).groups()
        rate = sums / area_km2 / YEARS
        assert [float(low), float(high)] == pytest.approx([rate.min(), rate.max()], rel=0.06)
    assert "per square kilometer and year" in drawn(blocks, "Expected from the long-run rate")


def test_hot_spots_are_those_of_the_judge(result, blocks):
    spot = result.metrics["places"]["forecasts"]["hewsnet"]["hot_spots"][0]
    assert f"HewsNet {spot['hit_rate']:.3g} in 0.5%" in drawn(blocks, "Hit rate")
    assert f"HewsNet {spot['pai']:.3g} in 0.5%" in drawn(blocks, "PAI")
    before = result.prepared.events.time_s < result.test["window_start"].iloc[0].timestamp()
    earlier = result.prepared.events.neighborhood[before & result.prepared.events.is_target]
    counts = result.places["events"].to_numpy().reshape(-1, 9).sum(axis=0)
    top = int(np.bincount(earlier).argmax())  # the hot spot of every window: areas are about equal
    ratio = (counts[top] / counts.sum()) / (np.bincount(earlier)[top] / len(earlier))
    assert f"HewsNet {ratio:.3g} in 0.5%" in drawn(blocks, "RRI")


def test_two_victims_before_are_one_event(result):
    """As in the judge's numbers."""
    area_km2, events = np.ones(9), result.prepared.events
    more = events.take(np.repeat(np.arange(len(events)), 1 + (events.neighborhood == 4)))
    other = replace(result, prepared=replace(result.prepared, events=more))
    assert _read(other, area_km2).before.tolist() == _read(result, area_km2).before.tolist()


def test_neighborhoods_are_in_the_order_of_the_forecast_with_what_happened_in_its_interval(blocks):
    heads, rows = next(block.content for block in blocks if block.kind == "table" and block.name == "ranked")
    assert len(rows) == 9 and rows[0].name == "1. Alder Hill" and heads[-1] == "Rank by what happened"
    forecasts = [float(row.cells[0][0]) for row in rows]
    assert forecasts == sorted(forecasts, reverse=True)
    for row in rows:
        happened, interval = row.cells[2]
        low, high = map(float, interval.split(" to "))
        assert low <= float(happened) <= high
        rank, ends = row.cells[4]
        assert 1 <= int(ends.split(" to ")[0]) <= int(rank) <= int(ends.split(" to ")[1]) <= 9


def test_places_and_time_are_told_apart_and_cells_beside_neighborhoods(result, blocks):
    places = result.metrics["places"]
    (heads, rows), (cell_heads, cell_rows) = (
        next(block.content for block in blocks if block.kind == "table" and block.name == name)
        for name in ("places", "cells")
    )
    assert heads[2:4] == ["Geography, bits", "Foresight, bits"] and len(heads) == 7 and len(cell_heads) == 4
    own, apart = next(row for row in rows if row.name == "HewsNet"), places["forecasts"]["hewsnet"]["apart"]
    assert float(own.cells[1][0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(apart["geography_bits"], abs=6e-5)
    spot = places["cells"]["forecasts"]["hewsnet"]["hot_spots"][2]
    told = next(row for row in cell_rows if row.name == "HewsNet").cells[2]
    assert told[0].startswith(f"{100 * spot['hit_rate']:.1f}") and f"RRI {spot['rri']:.2f}" in told[3]


def test_results_of_before_are_told_without_what_they_lack(result):
    forecasts = {name: {**one, "apart": None} for name, one in result.metrics["places"]["forecasts"].items()}
    for one in forecasts.values():
        one["hot_spots"] = [
            {key: value for key, value in spot.items() if "rri" not in key} for spot in one["hot_spots"]
        ]
    old = {**result.metrics, "places": {**result.metrics["places"], "forecasts": forecasts, "cells": None}}
    (block,) = where(replace(result, prepared=None, metrics=old)).content
    assert len(block.content[0]) == 5 and "RRI" not in block.content[1][0].cells[2][3]


def test_without_polygons_only_scores_are_told(result):
    assert [block.name for block in where(replace(result, prepared=None)).content] == ["places", "cells"]
    metrics = {key: value for key, value in result.metrics.items() if key != "places"}
    assert where(replace(result, prepared=None, metrics=metrics)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[1:],
        lambda table: table.replace({"neighborhood": {"Elm": "Nowhere"}}),
        lambda table: pd.concat([table.iloc[:9], table.iloc[:9]]),
    ],
)
def test_a_table_that_does_not_hold_every_neighborhood_once_is_refused(result, change):
    places = change(result.places.assign(neighborhood=result.places["neighborhood"].astype(str)))
    with pytest.raises(UserError, match="every neighborhood of the prepared folder once a window"):
        where(replace(result, places=places))
