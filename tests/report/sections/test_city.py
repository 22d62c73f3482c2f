"""Rows of the tables against numbers counted by hand."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.evaluation.vintages import agreement, in_words
from hews_gpu.files import write_json
from hews_gpu.own_files import read_json
from hews_gpu.report.result import read_folder
from hews_gpu.report.sections import city


@pytest.fixture(scope="module")
def inputs(run):
    return read_folder(run, read_json(run / "metrics.json"))


def test_quality_shows_every_reason_with_its_share(inputs):
    rows = {row.name: row.cells for row in city.row_counts(inputs)}
    read = inputs.quality["rows_read"]
    assert rows["Rows read"] == [f"{read:,}", "100.00\u00a0%"]
    assert rows["no coordinates"][1] == f"{100 * 41 / read:.2f}\u00a0%"
    assert rows["exact duplicates of an earlier row"][0] == f"{int(inputs.prepared.events.is_duplicate.sum()):,}"


def test_the_palette_counts_every_incident(inputs):
    key = city.palette(inputs.prepared)
    assert sum(int(one.detail.replace(",", "")) for one in key) == len(inputs.prepared.events)
    assert {one.label for one in key if one.label.endswith("▲")} == {"HOMICIDE ▲", "SHOOTING ▲"}


def test_rounded_times_are_listed_by_the_size_of_the_category(inputs):
    _, rows = next(block.content for block in city.data(inputs).content if block.name == "rounding")
    assert [row.name for row in rows] == ["LARCENY", "SHOOTING"]
    assert rows[0].cells == ["300", "40.0\u00a0%", "20.0\u00a0%", "2.0\u00a0%"]


def test_only_columns_that_tell_too_much_of_the_label_are_listed(inputs):
    _, rows = next(block.content for block in city.data(inputs).content if block.name == "label_information")
    assert [(row.name, row.cells) for row in rows] == [("Inside/Outside", ["0.1200", "100\u00a0%"])]


def test_what_a_network_on_maps_read_is_shown_for_such_a_network_alone(inputs):
    assert [block.name for block in city.maps(inputs).content] == ["test"]
    other = dict(inputs.metrics, model="cnn", forecasts={**inputs.forecasts, "cnn": inputs.forecasts["hewsnet"]})
    gallery = city.maps(replace(inputs, metrics=other)).content[1]
    assert gallery.name == "channels" and len(gallery.content) == 3


def test_areas_are_rates_per_square_kilometer_and_year(inputs):
    events = inputs.prepared.events
    counts = np.bincount(events.neighborhood[events.is_target], minlength=9)
    area_km2 = inputs.prepared.neighborhoods.to_crs("EPSG:6933").area.to_numpy() / 1e6
    most = (counts / area_km2).max() / ((events.time_s[-1] - events.time_s[0]) / (365.2425 * 86_400))
    drawing = city.city(inputs).content[0].content[0].content
    assert float(re.search(r"from [\d.]+ to ([\d.]+); 0 with none", drawing)[1]) == pytest.approx(most, rel=0.02)


def test_vintages_beside_a_run_are_told_and_half_a_comparison_is_refused(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    metrics = read_json(folder / "metrics.json")
    rng = np.random.default_rng(0)
    old, new = rng.random((2, 2000)) < 0.2
    compared = {"begin": "2014-01-01", "end": "2014-06-16", **agreement(old, new | old, 7200)}
    write_json(folder / "vintages.json", compared)
    told = next(block for block in city.data(read_folder(folder, metrics)).content if block.name == "vintages")
    assert told.words("text") == f"How far the labels can be trusted: {in_words(compared)}"
    assert f"agree on {old.sum():,} of the {(new | old).sum():,} windows" in told.words("text")
    assert not any(block.name == "vintages" for block in city.data(read_folder(run, metrics)).content)
    write_json(folder / "vintages.json", {"begin": "2014-01-01"})
    with pytest.raises(UserError, match=r"vintages.json.*compare-vintages"):
        read_folder(folder, metrics)
