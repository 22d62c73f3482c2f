"""The rolling origin hands every forecaster its past and no more, and sets thresholds on the block before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.errors import UserError
from hews_gpu.evaluation.alarms import threshold_for
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import PARTS, Experiment, Plan
from hews_gpu.forecasters.base import Entry, Setting
from hews_gpu.forecasters.registry import BASELINES

DAY_S = 86_400


class Spy:
    """Notes what it is given; says the hour of the window, so that thresholds mean something."""

    seen: ClassVar[list] = []

    fitted = None

    def __init__(self, setting):
        self.seed = setting.seed

    def fit(self, past, train, calibration):
        self.given = (past, train, calibration)

    def predict(self, seen, windows):
        Spy.seen.append((self.seed, *self.given, windows))
        return 0.05 + (windows.begin_s // 3600 % 24) / 48


@pytest.mark.parametrize("delay_s", [0, DAY_S])
def test_a_fit_sees_its_past_only(strong, delay_s):
    Spy.seen = []
    plan = Plan(task=Task(delay_s=delay_s), blocks=2, calibration_s=60 * DAY_S)
    rolling = Experiment.open(strong, plan)
    judged = forecast_blocks(rolling, {"spy": Entry(title="", make=Spy, is_random=True)})["spy"]
    assert [seed for seed, *_ in Spy.seen] == [0, 1, 2, 0, 1, 2]
    assert len(judged.p) == 3 and len(judged.p[0]) == len(rolling.test)
    for (_, past, train, calibration, windows), fold in zip(Spy.seen[::3], rolling.folds, strict=True):
        first_test_s = rolling.all.windows.issue_s[fold.test[0]]
        assert past.known_s.max() < first_test_s - DAY_S
        assert past.time_s.max() < first_test_s - DAY_S - delay_s
        assert train.windows.end_s.max() + delay_s <= calibration.windows.issue_s.min() - DAY_S
        assert calibration.windows.end_s.max() + delay_s <= first_test_s - DAY_S
        np.testing.assert_array_equal(windows.begin_s[-len(fold.test) :], rolling.all.windows.begin_s[fold.test])


def with_very_late_reports(source):
    """Every hundred-and-fiftieth target is reported 200 days after it happened."""
    late = np.zeros(len(source.events), bool)
    late[np.flatnonzero(source.events.is_target)[::150]] = True
    return replace(source, reported_s=np.where(late, source.events.time_s + 200 * DAY_S, source.reported_s))


def test_a_label_known_too_late_takes_no_part(strong):
    """What a fit is given is what the table of that day says, of the rows that were reported by then."""
    source = with_very_late_reports(strong)
    rolling = Experiment.open(source, Plan(blocks=2, as_reported=True))
    differing = 0
    for fold in rolling.folds:
        first_s = {"train": fold.calibration[0], "calibration": fold.test[0]}
        for name, following in first_s.items():
            taken_s = rolling.all.windows.issue_s[following] - DAY_S
            events = source.events
            heard = events.time_s[events.is_target & (source.reported_s < taken_s)]
            found = rolling.learned(fold, name)
            windows = found.windows
            assert windows.end_s.max() <= taken_s - 2 * DAY_S  # one report in a hundred takes longer than 2.5 days
            expected = [((heard >= a) & (heard < b)).any() for a, b in zip(windows.begin_s, windows.end_s, strict=True)]
            np.testing.assert_array_equal(found.y, expected)
            differing += int((rolling.part(getattr(fold, name)).y != found.y).sum())
    assert differing >= 3


def test_forecasts_do_not_change_with_what_is_reported_late(strong):
    """Rows that become known after the first issue are gone from one of two tables: its forecast stays the same."""
    source = with_very_late_reports(strong)
    plan = Plan(blocks=1, seeds=(0,), as_reported=True)
    cut_s = Experiment.open(source, plan).test.windows.issue_s[0]
    kept = (source.reported_s < cut_s) | (source.events.time_s >= cut_s)
    columns = {name: value[kept] for name, value in vars(source.events).items() if isinstance(value, np.ndarray)}
    fewer = replace(source.events, **columns)
    other = replace(source, events=fewer, reported_s=source.reported_s[kept], prepared=None)
    assert (~kept).sum() > 20
    entries = {name: BASELINES[name] for name in ("climatology", "level", "hawkes", "boosting")}
    before, after = (forecast_blocks(Experiment.open(one, plan), entries) for one in (source, other))
    for name in entries:
        assert before[name].p[0][0] == after[name].p[0][0], name


def test_nothing_changes_where_all_delays_are_the_same(strong):
    rolling = Experiment.open(strong, Plan(blocks=2).with_task(delay_s=DAY_S))
    for fold in rolling.folds:
        for name in ("train", "calibration"):
            np.testing.assert_array_equal(rolling.learned(fold, name).y, rolling.part(getattr(fold, name)).y)


def test_thresholds_come_from_the_calibration_block(strong):
    plan = Plan(blocks=2, calibration_s=60 * DAY_S)
    rolling = Experiment.open(strong, plan)
    judged = forecast_blocks(rolling, {"climatology": BASELINES["climatology"]})["climatology"]
    first = rolling.folds[0]
    clock = BASELINES["climatology"].make(Setting(city=strong))
    clock.fit(rolling.catalog, rolling.part(first.train), rolling.part(first.calibration))
    before = clock.predict(rolling.catalog, rolling.all.windows.select(first.calibration))
    threshold = threshold_for(before, len(before) / 84, 7)
    n = len(first.test)
    np.testing.assert_array_equal(judged.warned[7][0][:n], judged.p[0][:n] >= threshold)
    assert 3 < judged.warned[7][0].sum() / (len(rolling.test) / 84) < 12


def test_windows_keep_their_prevalence_and_the_empty_ones(strong):
    rolling = Experiment.open(strong, Plan(blocks=1))
    assert (np.diff(rolling.all.windows.begin_s) == 7200).all()
    assert len(rolling.all) == (strong.end_s - strong.begin_s - DAY_S) // 7200


def test_too_short_a_source_is_a_users_error(strong):
    with pytest.raises(UserError, match="too short"):
        Experiment.open(strong, Plan(first_test_s=strong.begin_s + 100 * DAY_S))


def test_the_first_test_block_begins_three_fifths_into_the_citys_time(strong):
    windows = Experiment.open(strong, Plan(blocks=1)).test.windows
    assert 0 <= windows.begin_s[0] - (strong.begin_s + (strong.end_s - strong.begin_s) * 3 // 5) < 7200


def test_it_is_described_by_the_times_of_its_task_and_the_extent_of_its_parts(strong):
    rolling = Experiment.open(strong, Plan(task=Task(lead_s=3600), blocks=2))
    described = rolling.described()
    folds = described.pop("folds")
    assert described == {
        "history_s": DAY_S,
        "lead_s": 3600,
        "horizon_s": 7200,
        "stride_s": 7200,
        "delay_s": rolling.plan.task.delay_s,
        "gap_s": rolling.plan.task.gap_s,
        "embargo_s": strong.embargo_s,
        "as_reported": False,
    }
    for fold, parts in zip(rolling.folds, folds, strict=True):
        assert list(parts) == list(PARTS)
        for name, part in parts.items():
            index = getattr(fold, name)
            begin, end = (datetime.fromtimestamp(rolling.all.windows.begin_s[index[i]], UTC) for i in (0, -1))
            assert part == {
                "begin": f"{begin:%Y-%m-%dT%H:%M}",
                "end": f"{end + timedelta(hours=2):%Y-%m-%dT%H:%M}",
                "windows": len(index),
                "positives": rolling.all.y[index].sum(),
            }


def with_targets(source, is_target):
    return replace(source, events=replace(source.events, is_target=is_target), prepared=None)


def test_a_block_needs_windows_with_and_without_a_target(strong):
    """One is enough; days instead of two hours here, so that every window of the block can hold one."""
    plan = Plan(task=Task(horizon_s=DAY_S, stride_s=DAY_S), blocks=1)
    times, is_target = strong.events.time_s, strong.events.is_target
    first_s, until_s = Experiment.open(strong, plan).test.windows.begin_s[[0, -1]]
    for of_block in (np.zeros(len(times), bool), np.ones(len(times), bool)):
        source = with_targets(strong, np.where(times >= first_s, of_block, is_target))
        with pytest.raises(UserError, match=r"a block in which every window, or none, .*Take more years, fewer blocks"):
            Experiment.open(source, plan)
    one = np.flatnonzero((times >= first_s) & (times < until_s))[5]
    rare = with_targets(strong, is_target & (times < first_s) | (np.arange(len(times)) == one))
    assert Experiment.open(rare, plan).test.y.sum() == 1


@pytest.mark.parametrize("name", ["train", "calibration"])
def test_a_label_counts_from_the_second_after_it_became_known(strong, name):
    rolling = Experiment.open(strong, Plan(blocks=1))
    (fold,) = rolling.folds
    until_s = {"train": fold.train_until_s, "calibration": fold.known_until_s}[name]
    at = getattr(fold, name)[np.flatnonzero(rolling.learned(fold, name).y)[0]]
    known_s = rolling.label_known_s.copy()
    for known_s[at], counts in ((until_s - 1, True), (until_s, False)):
        found = replace(rolling, label_known_s=known_s).learned(fold, name)
        assert found.y[getattr(fold, name) == at] == counts


def test_windows_are_learned_from_as_soon_as_their_reports_have_come(strong):
    """All reports take ten days: the last windows end ten days before labels are taken; after 130, none is left."""
    late = replace(strong, reported_s=strong.events.time_s + 10 * DAY_S)
    rolling = Experiment.open(late, Plan(blocks=1, as_reported=True))
    (fold,) = rolling.folds
    windows = rolling.all.windows
    assert windows.end_s[fold.train[-1]] == fold.train_until_s - 10 * DAY_S
    assert windows.end_s[fold.calibration[-1]] == fold.known_until_s - 10 * DAY_S
    too_late = replace(strong, reported_s=strong.events.time_s + 130 * DAY_S)
    with pytest.raises(UserError, match="too short for the plan: no window is older than the 11232000 s"):
        Experiment.open(too_late, Plan(blocks=1, as_reported=True))


def test_a_fixed_split_is_a_rolling_origin_with_one_fold(strong):
    """Parts hold the windows whose history and target lie within their span; every label of the past is known."""
    edges = np.linspace(strong.begin_s + 4321, strong.end_s, 4).astype(np.int64).tolist()
    spans = dict(zip(PARTS, pairwise(edges), strict=True))
    task = Task(lead_s=1800)
    experiment = Experiment.open(strong, Plan(task=task, splits_s=spans))
    (fold,) = experiment.folds
    for name, (begin_s, end_s) in spans.items():
        windows = experiment.all.windows.select(getattr(fold, name))
        expected = issue_windows(begin_s, end_s, task)
        for edge in ("issue_s", "begin_s", "end_s"):
            np.testing.assert_array_equal(getattr(windows, edge), getattr(expected, edge))
        assert windows.issue_s.min() - task.history_s >= begin_s and windows.end_s.max() <= end_s
    assert fold.train_until_s >= experiment.all.windows.end_s[fold.train].max()
    assert fold.known_until_s == experiment.all.windows.issue_s[fold.test[0]] - task.history_s
    for name in ("train", "calibration"):
        np.testing.assert_array_equal(experiment.learned(fold, name).y, experiment.all.y[getattr(fold, name)])


def test_a_split_too_short_for_a_window_is_refused(strong):
    begin_s = strong.begin_s
    spans = {"train": (begin_s, begin_s + 90 * DAY_S), "calibration": (begin_s + 90 * DAY_S, begin_s + 91 * DAY_S)}
    spans["test"] = (begin_s + 91 * DAY_S, begin_s + 150 * DAY_S)
    with pytest.raises(UserError, match="no windows in calibration"):
        Experiment.open(strong, Plan(splits_s=spans))
