"""What a gain over the level is of: all days, quiet ones, and whole days alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.evaluation.judge import Judged
from hews_gpu.units import DAY_S
from studies.detections import _is_loud, _taken_apart

BEGIN_S = 16_436 * DAY_S  # 2015-01-01


def taken_apart(moved, days=900):
    """Take a forecast apart that moves a level of -1 by what is true."""
    rng = np.random.default_rng(0)
    begin_s = BEGIN_S + np.arange(12 * days) * 7200
    truth = -1 + moved(rng, days)
    test = SimpleNamespace(windows=SimpleNamespace(begin_s=begin_s), y=rng.random(len(begin_s)) < expit(truth))
    plan = SimpleNamespace(task=SimpleNamespace(stride_s=7200))
    judged = {"level": Judged(p=[np.full(len(truth), expit(-1))], warned={}), "x": Judged(p=[expit(truth)], warned={})}
    return _taken_apart(SimpleNamespace(test=test, plan=plan), judged, "x")


def test_what_moves_whole_days_is_of_whole_days():
    found = taken_apart(lambda rng, days: rng.choice([-1.5, 1.5], days).repeat(12))
    assert found["all"]["value"] > 0.1 and found["by_day"]["value"] == pytest.approx(found["all"]["value"], abs=1e-9)


def test_what_moves_hours_is_not():
    found = taken_apart(lambda rng, days: np.tile([-1.5, 1.5], 6 * days))
    assert found["all"]["value"] > 0.1 and abs(found["by_day"]["value"]) < 1e-9


def test_loud_days_are_those_around_new_year_and_the_fourth_of_july():
    assert np.flatnonzero(_is_loud(16_436 + np.arange(365))).tolist() == [0, 183, 184, 185, 364]
