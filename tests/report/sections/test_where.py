"""Where: expected beside what happened, the same numbers as the judge's, and neighborhoods in their right order."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.report.folder import read_folder
from hews_gpu.report.result import read_object
from hews_gpu.report.sections.where import where

YEARS = 184 * 86_400 / (365.2425 * 86_400)  # July to December


@pytest.fixture(scope="module")
def result(run):
    return read_folder(run, read_object(run / "metrics.json", ""))


@pytest.fixture(scope="module")
def blocks(result):
    found = where(result).blocks
    return [one for block in found for one in (block.blocks if block.kind == "columns" else [block])]


def figure(blocks, title):
    return next(block for block in blocks if block.kind == "figure" and block.title == title)


def test_three_maps_share_one_scale_and_tell_their_rates(result, blocks):
    area_km2 = result.prepared.neighborhoods.to_crs("EPSG:6933").area.to_numpy() / 1e6
    counts = result.places["events"].to_numpy().reshape(-1, 9).sum(axis=0)
    expected = -np.log1p(-result.places["p"].to_numpy().reshape(-1, 9)).sum(axis=0)
    for title, sums in (("What happened", counts), ("Expected by HewsNet", expected)):
        low, high = re.search(r"from ([\d.]+) to ([\d.]+);", figure(blocks, title).drawing).groups()
        rate = sums / area_km2 / YEARS
        assert [float(low), float(high)] == pytest.approx([rate.min(), rate.max()], rel=0.06)
    assert "per square kilometer and year" in figure(blocks, "Expected from the long-run rate").drawing


def test_hot_spots_are_those_of_the_judge(result, blocks):
    spot = result.metrics["places"]["forecasts"]["hewsnet"]["hot_spots"][0]
    assert f"HewsNet {spot['hit_rate']:.3g} in 0.5%" in figure(blocks, "Hit rate").drawing
    assert f"HewsNet {spot['pai']:.3g} in 0.5%" in figure(blocks, "PAI").drawing
    before = result.prepared.events.time_s < result.test["window_start"].iloc[0].timestamp()
    earlier = result.prepared.events.neighborhood[before & result.prepared.events.is_target]
    counts = result.places["events"].to_numpy().reshape(-1, 9).sum(axis=0)
    top = int(np.bincount(earlier).argmax())  # the hot spot of every window: areas are about equal
    ratio = (counts[top] / counts.sum()) / (np.bincount(earlier)[top] / len(earlier))
    assert f"HewsNet {ratio:.3g} in 0.5%" in figure(blocks, "RRI").drawing


def test_neighborhoods_are_in_the_order_of_the_forecast_with_what_happened_in_its_interval(blocks):
    table = next(block for block in blocks if block.kind == "table" and block.heads[0] == "Neighborhood")
    assert len(table.rows) == 9 and table.rows[0].name == "1. Alder Hill"
    forecasts = [float(row.cells[0][0]) for row in table.rows]
    assert forecasts == sorted(forecasts, reverse=True)
    for row in table.rows:
        happened, interval = row.cells[2]
        low, high = map(float, interval.split(" to "))
        assert low <= float(happened) <= high
        rank, ends = row.cells[3]
        assert 1 <= int(ends.split(" to ")[0]) <= int(rank) <= int(ends.split(" to ")[1]) <= 9
    assert "Alder Hill" in figure(blocks, "Neighborhoods in order of the forecast").drawing


def test_names_of_neighborhoods_are_escaped(blocks):
    drawing = figure(blocks, "Neighborhoods in order of the forecast").drawing
    assert "Cedar &lt;b&gt;Park&lt;/b&gt;" in drawing and "<b>" not in drawing


def test_without_polygons_only_scores_are_told(result):
    from dataclasses import replace

    kinds = [block.kind for block in where(replace(result, prepared=None)).blocks]
    assert kinds == ["table"]
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
    from dataclasses import replace

    places = change(result.places.assign(neighborhood=result.places["neighborhood"].astype(str)))
    with pytest.raises(UserError, match="every neighborhood of the prepared folder once a window"):
        where(replace(result, places=places))
