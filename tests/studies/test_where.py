"""Which blocks: Predspot gets the events before each month and its forecasts go to the windows of that month.

Predspot itself is not among the test's packages; a script that says which month it was asked about stands in for it.
"""

import json
import sys

import numpy as np
import pytest

from hews_gpu.evaluation.folds import Plan
from hews_gpu.evaluation.places import CELL_BASELINES
from studies import where

STAND_IN = """
import sys, numpy as np
given = np.load(sys.argv[1])
months, cells = given["months"], given["cells"]
assert (np.diff(given["t"]) >= 0).all() and given["t"].max() < months[-1]
west, south, east, north = given["area"]
assert ((given["lon"] > west - 0.02) & (given["lat"] < north + 0.02)).all() and len(cells) > 500
said = np.ones((len(months), len(cells)))
said[np.arange(len(months)), np.arange(len(months))] = len(cells)  # the n-th month's hot spot is the n-th cell
np.save(sys.argv[2], said)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.setattr(where, "SCRIPT", tmp_path / "stand_in.py")
    where.SCRIPT.write_text(STAND_IN)


def test_each_window_has_the_forecast_of_its_month(strong, stand_in):
    ground, _ = strong.cells
    begin_s = strong.begin_s + 400 * 86_400
    issue_s = begin_s + np.arange(100) * 86_400
    made = where.Predspot(ground, city=strong, python=sys.executable)
    shares = made.shares(strong.catalog(), issue_s)
    months = issue_s.astype("datetime64[s]").astype("datetime64[M]")
    assert shares.argmax(axis=1).tolist() == (months - months[0]).astype(int).tolist()
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_it_is_judged_beside_the_others_and_its_absence_is_told(strong, stand_in, monkeypatch, capsys):
    monkeypatch.setattr(where, "MODELS", ("level",))
    plan = Plan(blocks=1, seeds=(0,))
    found = where.judge(strong, plan, sys.executable)
    json.dumps(found, allow_nan=False)
    scores = found["places"]["cells"]["forecasts"]
    assert found["predspot"] and list(scores) == [*CELL_BASELINES, "predspot", "level"]
    assert scores["predspot"]["hot_spots"][1]["hit_rate"] < scores["long_run"]["hot_spots"][1]["hit_rate"]
    where.show({"strong": found})
    assert "foresight" in capsys.readouterr().out
    assert where.judge(strong, plan, None)["predspot"] is False
