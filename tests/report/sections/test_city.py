"""Rows of the tables against numbers counted by hand."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from hews_gpu.report.folder import read_folder
from hews_gpu.report.result import read_object
from hews_gpu.report.sections import city


@pytest.fixture(scope="module")
def inputs(run):
    return read_folder(run, read_object(run / "metrics.json", ""))


def test_quality_shows_every_reason_with_its_share(inputs):
    rows = {row.name: row.cells for row in city.row_counts(inputs)}
    read = inputs.quality["rows_read"]
    assert rows["Rows read"] == [f"{read:,}", "100.00\u00a0%"]
    assert rows["no coordinates"][1] == f"{100 * 41 / read:.2f}\u00a0%"
    assert rows["exact duplicates of an earlier row"][0] == f"{int(inputs.prepared.events.is_duplicate.sum()):,}"


def test_formatting_that_gives_the_label_away_is_found():
    charts = pd.DataFrame({"is_target": [True, True, False, False, False, False]})
    charts = charts.assign(
        row_id=range(6), side=["Outside", "Inside", "O", "I", "", None], note=["x", None, "x", "x", "x", "x"]
    )
    rows = {row.name: row.cells for row in city.give_away(charts)}
    assert rows == {
        "side": ["50.0\u00a0%", "0.0\u00a0%", "100.0\u00a0%"],
        "note": ["0.0\u00a0%", "50.0\u00a0%", "0.0\u00a0%"],
    }


def test_without_charts_nothing_is_said_of_formatting():
    assert city.give_away(None) == []


def test_the_palette_counts_every_incident(inputs):
    key = city.palette(inputs.prepared)
    assert sum(int(one.detail.replace(",", "")) for one in key) == len(inputs.prepared.events)
    assert {one.label for one in key if one.label.endswith("▲")} == {"HOMICIDE ▲", "SHOOTING ▲"}


def test_rounded_times_are_listed_by_the_size_of_the_category(inputs):
    tables = {block.heads[0]: block.rows for block in city.data(inputs).blocks if block.kind == "table"}
    assert [row.name for row in tables["Category"]] == ["LARCENY", "SHOOTING"]
    assert tables["Category"][0].cells == ["300", "40.0\u00a0%", "20.0\u00a0%", "2.0\u00a0%"]


def test_areas_are_rates_per_square_kilometer_and_year(inputs):
    events = inputs.prepared.events
    counts = np.bincount(events.neighborhood[events.is_target], minlength=9)
    area_km2 = inputs.prepared.neighborhoods.to_crs("EPSG:6933").area.to_numpy() / 1e6
    most = (counts / area_km2).max() / ((events.time_s[-1] - events.time_s[0]) / (365.2425 * 86_400))
    drawing = city.city(inputs).blocks[0].blocks[1].drawing
    assert float(re.search(r"from [\d.]+ to ([\d.]+); 0 with none", drawing)[1]) == pytest.approx(most, rel=0.02)
