"""The maps shown are the ones named, each once, with the counts of their windows."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest

from hews_gpu.own_files import read_json
from hews_gpu.report.figures import maps
from hews_gpu.report.result import read_folder


@pytest.fixture(scope="module")
def result(run):
    return read_folder(run, read_json(run / "metrics.json"))


@pytest.fixture(scope="module")
def drawn(result):
    return maps.sample_maps(result.prepared, result.test, result.p()["hewsnet"])


def test_six_maps_are_drawn_and_the_busiest_is_first(drawn):
    assert len(drawn) == 6 and len({one.caption for one in drawn[:4]}) == 4
    counts = [tuple(map(int, re.findall(r"(\d+) incidents, (\d+) of", one.caption)[0])) for one in drawn]
    assert counts[0][0] == max(incidents for incidents, _ in counts)
    assert counts[1][1] == max(targets for _, targets in counts)
    assert counts[2][1] == 0 and counts[3][1] > 0
    assert all(one.image.startswith("data:image/png") for one in drawn)
    assert (drawn[0].height, drawn[0].width) == (108, 86)


def test_counts_under_a_map_are_those_of_its_window(result, drawn):
    edges = np.searchsorted(result.prepared.events.time_s, maps.seconds_of(result.test["window_start"]))
    assert f"{np.diff(edges).max()} incidents" in drawn[0].caption


def test_the_window_before_the_highest_forecast_ends_when_it_is_issued(result, drawn):
    issued = result.test.loc[result.test["p"].idxmax(), "issue_time"]
    assert drawn[4].title == "Before the highest forecast"
    assert f"{issued - np.timedelta64(2, 'h'):%a %-d %b %Y, %H:%M} to {issued:%H:%M}" in drawn[4].caption


def test_the_channels_count_every_incident_of_the_history_once(result):
    from PIL import Image

    events, issue_s = result.prepared.events, int(maps.seconds_of(result.test["issue_time"])[500])
    strips = maps.channels(result.prepared, issue_s)
    inside = (events.time_s >= issue_s - 86_400) & (events.time_s < issue_s)
    names = np.array(events.categories)[events.category[inside]]
    counts = [int(np.isin(names, group).sum()) for group in (["HOMICIDE", "SHOOTING"], ["AGG. ASSAULT"])]
    expected = [*counts, int(inside.sum()) - sum(counts)]
    assert [one.title for one in strips] == ["targets", "assault", "other"]
    assert [one.caption for one in strips] == [f"{count} incidents in 12 steps" for count in expected]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(strips[2].image.split(",")[1]))))
    assert image.shape == (27, 12 * 22 + 11 * maps.GAP, 3)
    colored = (image == maps.FEW).all(axis=2).sum() + (image == maps.SEVERAL).all(axis=2).sum()
    assert 0 < colored <= expected[2]
