"""The maps shown are the ones named, each once."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hews_gpu.report.figures import maps
from hews_gpu.report.folder import read_folder
from hews_gpu.report.result import read_object


@pytest.fixture(scope="module")
def inputs(run):
    return read_folder(run, read_object(run / "metrics.json", ""))


def test_six_different_windows_are_drawn_and_the_busiest_is_first(inputs):
    drawn = maps.sample_maps(inputs.prepared, inputs.test)
    assert len(drawn) == 6 and len({one.caption for one in drawn}) == 6
    incidents, targets = zip(
        *(map(int, re.findall(r"(\d+) incidents, (\d+) of", one.caption)[0]) for one in drawn), strict=True
    )
    assert incidents[0] == max(incidents) and targets[1] == max(targets)
    assert all(one.image.startswith("data:image/png") for one in drawn)
    assert (drawn[0].height, drawn[0].width) == (108, 86)


def test_counts_under_a_map_are_those_of_its_window(inputs):
    drawn = maps.sample_maps(inputs.prepared, inputs.test)[0]
    begin_s, end_s = inputs.prepared.city.splits.span_s("test")
    times = inputs.prepared.events.time_s
    edges = np.searchsorted(times, np.arange(begin_s, end_s + 1, 7200))
    assert f"{np.diff(edges).max()} incidents" in drawn.caption


def test_the_window_before_the_highest_forecast_ends_when_it_is_issued(inputs):
    windows = maps._windows(inputs.prepared)
    order = maps._before_forecast(windows, inputs.test, highest=True)
    top = inputs.test.loc[inputs.test["p"].idxmax(), "issue_time"]
    assert windows.start_s[order[0]] + windows.length_s == int(top.timestamp())


def test_the_channels_figure_counts_every_incident_of_the_history_once(inputs):
    drawn, when = maps.channels(inputs.prepared, inputs.test)
    top = inputs.test.loc[inputs.test["p"].idxmax()]
    issue_s = int(top["issue_time"].timestamp())
    events = inputs.prepared.events
    inside = (events.time_s >= issue_s - 86_400) & (events.time_s < issue_s)
    names = np.array(events.categories)[events.category[inside]]
    counts = [int(np.isin(names, group).sum()) for group in (["HOMICIDE", "SHOOTING"], ["AGG. ASSAULT"])]
    rest = int(inside.sum()) - sum(counts)
    assert f"targets {counts[0]}, assault {counts[1]}, other {rest}." in drawn
    assert f"{top['issue_time']:%H:%M}" in when
