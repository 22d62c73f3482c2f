"""Forecast times: sorted by lead and horizon, moved back by what is known late, refused where they make no sense."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.tasks import tasks_of

TRUTH = SimpleNamespace(begin_s=7200, end_s=7200 + 86_400)


def test_a_delay_is_more_lead():
    (late,) = tasks_of(TRUTH, 7200 + 36_000, 7200 + 37_200, 7200 + 40_800, 3600)
    assert (late.issue.tolist(), late.lead, late.horizon, late.length) == ([540], 80, 60, 140)


def test_before_the_begin_nothing_happened():
    (late,) = tasks_of(TRUTH, 7200 + 1200, 7200 + 1200, 7200 + 8400, 86_400)
    assert (late.issue.tolist(), late.lead) == ([0], 20)


def test_forecasts_keep_their_place():
    issue = 7200 + 60 * np.array([5, 0, 9, 7])
    begin = issue + 60 * np.array([0, 3, 0, 3])
    tasks = list(tasks_of(TRUTH, issue, begin, begin + 600))
    assert [task.lead for task in tasks] == [0, 3]
    assert [task.which.tolist() for task in tasks] == [[0, 2], [1, 3]]
    assert tasks[1].issue.tolist() == [0, 7]


@pytest.mark.parametrize(("delay_s", "begin"), [(-60, 7200), (30, 7200), (0, 7140), (0, 7201), (0, 7200 + 86_400)])
def test_what_makes_no_sense_is_refused(delay_s, begin):
    with pytest.raises(UserError):
        list(tasks_of(TRUTH, begin, begin, begin + 600, delay_s))
