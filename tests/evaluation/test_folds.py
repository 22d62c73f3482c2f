"""Parts of the rolling origin share nothing."""

import numpy as np
import pytest

from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.evaluation.folds import Plan, rolling_origin, split_fold

WEEK_S = 604_800
BEGIN_S, DAY_S = 1_577_836_800, 86_400


def folds_of(task, **changes):
    windows = issue_windows(BEGIN_S, BEGIN_S + 200 * DAY_S, task)
    plan = {"first_test_s": BEGIN_S + 120 * DAY_S, "blocks": 3, "calibration_s": 20 * DAY_S}
    return windows, rolling_origin(windows, task, end_s=BEGIN_S + 200 * DAY_S, **{**plan, **changes})


@pytest.mark.parametrize("delay_s", [0, 3600, 7 * DAY_S])
@pytest.mark.parametrize("lead_s", [0, 6 * 3600])
def test_parts_lie_a_gap_apart_and_share_no_incident(lead_s, delay_s):
    task = Task(lead_s=lead_s, delay_s=delay_s)
    windows, folds = folds_of(task)
    for fold in folds:
        for earlier, later in ((fold.train, fold.calibration), (fold.calibration, fold.test)):
            first_issue_s = windows.issue_s[later[0]]
            assert first_issue_s - windows.issue_s[earlier[-1]] >= task.history_s + lead_s + task.horizon_s + delay_s
            history_begins_s = first_issue_s - delay_s - task.history_s
            assert windows.end_s[earlier[-1]] + delay_s <= first_issue_s - task.history_s
            assert windows.end_s[earlier[-1]] <= history_begins_s
        assert fold.known_until_s <= windows.issue_s[fold.test[0]] - task.history_s
        assert windows.end_s[fold.calibration[-1]] + delay_s <= fold.known_until_s


def test_the_gap_is_no_longer_than_it_must_be():
    windows, folds = folds_of(Task())
    fold = folds[0]
    assert windows.issue_s[fold.calibration[-1]] == windows.issue_s[fold.test[0]] - Task().gap_s
    assert windows.issue_s[fold.train[-1]] == windows.issue_s[fold.calibration[0]] - Task().gap_s
    assert windows.begin_s[fold.calibration[0]] == windows.begin_s[fold.test[0]] - 20 * DAY_S


def test_blocks_cover_the_test_time_once_and_training_grows():
    windows, folds = folds_of(Task())
    tests = np.concatenate([fold.test for fold in folds])
    assert (np.diff(tests) == 1).all()
    assert windows.begin_s[tests[0]] == BEGIN_S + 120 * DAY_S and windows.end_s[tests[-1]] == BEGIN_S + 200 * DAY_S
    assert [fold.train[0] for fold in folds] == [0, 0, 0]
    assert len(folds[0].train) < len(folds[1].train) < len(folds[2].train)
    days = [(windows.begin_s[f.test[0]] - windows.begin_s[f.calibration[0]]) / DAY_S for f in folds]
    assert days == pytest.approx([20, 20, 20], abs=0.1)


def test_a_split_holds_every_window_from_a_history_after_its_begin_to_its_end():
    windows = issue_windows(BEGIN_S, BEGIN_S + 90 * DAY_S, Task())
    edges_s = [BEGIN_S + days * DAY_S for days in (0, 30, 60, 90)]
    spans_s = {name: (edges_s[i], edges_s[i + 1]) for i, name in enumerate(("train", "calibration", "test"))}
    fold = split_fold(windows, Task(), spans_s)
    for part, (begin_s, end_s) in zip((fold.train, fold.calibration, fold.test), spans_s.values(), strict=True):
        assert (windows.begin_s[part[0]], windows.end_s[part[-1]]) == (begin_s + DAY_S, end_s)
    with pytest.raises(ValueError, match="no windows in train of the block from 2020-03-01T00:00:00"):
        split_fold(windows, Task(), spans_s | {"train": (BEGIN_S, BEGIN_S + DAY_S)})


def test_a_plan_is_four_blocks_with_four_months_to_calibrate_unless_said_otherwise():
    plan = Plan()
    assert (plan.blocks, plan.calibration_s, plan.seeds) == (4, 120 * DAY_S, (0, 1, 2))
    assert (plan.task, plan.splits_s, plan.first_test_s) == (Task(), None, None)


def test_windows_are_the_same_whatever_the_lead():
    plain, ahead = (issue_windows(BEGIN_S, BEGIN_S + 9 * DAY_S, Task(lead_s=lead)) for lead in (0, 6 * 3600))
    assert set(ahead.begin_s) <= set(plain.begin_s)
    assert (ahead.begin_s - ahead.issue_s == 6 * 3600).all()
    assert ahead.issue_s[0] - BEGIN_S >= DAY_S and ahead.end_s[-1] == BEGIN_S + 9 * DAY_S
    late = issue_windows(BEGIN_S, BEGIN_S + 9 * DAY_S, Task(delay_s=DAY_S))
    assert late.issue_s[0] - BEGIN_S == 2 * DAY_S


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="no windows in train"):
        folds_of(Task(), first_test_s=BEGIN_S + 21 * DAY_S)
    with pytest.raises(ValueError, match="no windows in train and calibration of the block from 2020-04-30"):
        folds_of(Task(), calibration_s=0)
    with pytest.raises(ValueError, match="positive"):
        Task(horizon_s=0)
