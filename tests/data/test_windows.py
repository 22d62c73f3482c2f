"""Half-open windows and samples, on a table small enough to draw.

Incidents (seconds; * is a target), windows of 10 from anchor 0:

    time     0   5   10* 19  20  20* 39  40
    window  [0       )[10    )[20     )[30 )[40
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.config import (
    CityConfig,
    CityInfo,
    IncidentsConfig,
    NeighborhoodsConfig,
    SplitsConfig,
    TaskConfig,
    WindowsConfig,
)
from hews_gpu.data.events import Events
from hews_gpu.data.windows import (
    Samples,
    Task,
    issue_windows,
    make_samples,
    make_windows,
    split_windows,
    targets_within,
)
from hews_gpu.errors import UserError

TIMES = np.array([0, 5, 10, 19, 20, 20, 39, 40], dtype=np.int64)
TARGETS = np.array([0, 0, 1, 0, 0, 1, 0, 0], dtype=bool)


def events(times: np.ndarray = TIMES, targets: np.ndarray = TARGETS) -> Events:
    count = len(times)
    no = np.zeros(count, dtype=bool)
    return Events(
        time_s=times,
        longitude=np.zeros(count),
        latitude=np.zeros(count),
        category=targets.astype(np.int16),
        neighborhood=np.zeros(count, dtype=np.int16),
        is_target=targets,
        is_duplicate=no,
        is_twin=no,
        categories=("LARCENY", "SHOOTING"),
    )


def city(*, length_s: int, stride_s: int, history_s: int, lead_s: int, horizon_s: int, anchor: str) -> CityConfig:
    return CityConfig(
        city=CityInfo(name="Toy", timezone="UTC"),
        incidents=IncidentsConfig(files=("x.csv",), targets=("SHOOTING",)),
        neighborhoods=NeighborhoodsConfig(file="x.geojson", name="name"),
        splits=SplitsConfig(
            train=("2014-01-01", "2014-02-01"),
            validation=("2014-02-01", "2014-03-01"),
            test=("2014-03-01", "2014-04-01"),
        ),
        windows=WindowsConfig(length_s=length_s, stride_s=stride_s, anchor=anchor),
        task=TaskConfig(history_s=history_s, lead_s=lead_s, horizon_s=horizon_s),
    )


def samples_within(table: Events, settings: CityConfig, begin_s: int, end_s: int, **delay: int) -> Samples:
    task = replace(Task.of_city(settings), **delay)
    return make_samples(table, issue_windows(begin_s, end_s, task), settings, **delay)


def test_a_task_is_two_hours_at_once_from_a_day_of_history_unless_said_otherwise() -> None:
    expected = {"history_s": 86_400, "lead_s": 0, "horizon_s": 7200, "stride_s": 7200, "anchor_s": 0, "delay_s": 0}
    assert asdict(Task()) == expected


@pytest.mark.parametrize(
    "smallest", [{"history_s": 1}, {"horizon_s": 1}, {"stride_s": 1}, {"lead_s": 0}, {"delay_s": 0}]
)
def test_a_task_without_length_or_before_its_time_is_refused(smallest: dict[str, int]) -> None:
    assert Task(**smallest)
    (name,) = smallest
    for value in range(-2, smallest[name]):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            Task(**{name: value})


def test_an_embargo_is_what_lead_and_delay_lack_of_it() -> None:
    apart = [Task(lead_s=lead_s, delay_s=delay_s).apart(1800) for lead_s, delay_s in ((0, 0), (600, 0), (600, 3000))]
    assert [task.delay_s for task in apart] == [1800, 1200, 3000]
    assert [task.reach_s for task in apart] == [86_400 + 1800, 86_400 + 1800, 86_400 + 3600]
    assert [task.gap_s for task in apart] == [task.reach_s + 7200 for task in apart]


def test_one_window_knows_its_lead_and_its_length() -> None:
    windows = issue_windows(0, 1500, Task(history_s=600, lead_s=100, horizon_s=400, stride_s=1000))
    assert (len(windows), windows.lead_s, windows.horizon_s) == (1, 100, 400)


def test_a_split_has_the_windows_of_its_task_or_is_refused() -> None:
    settings = city(
        length_s=3600, stride_s=86_400, history_s=86_400, lead_s=0, horizon_s=7200, anchor="2014-01-01T12:00"
    )
    two_days = replace(settings, splits=replace(settings.splits, test=("2014-03-01", "2014-03-03")))
    windows = split_windows(two_days, "test", 1800)
    assert windows.begin_s.tolist() == [seconds("2014-03-02T12:00")]
    assert windows.issue_s.tolist() == windows.begin_s.tolist()
    one_day = replace(settings, splits=replace(settings.splits, test=("2014-03-01", "2014-03-02")))
    with pytest.raises(UserError, match=r"^\[splits\] test = .*together take 95400 seconds"):
        split_windows(one_day, "test", 1800)


def test_windows_are_half_open_and_empty_ones_are_kept() -> None:
    windows = make_windows(TIMES, begin_s=0, end_s=50, length_s=10, stride_s=10)
    assert windows.pairs.tolist() == [[0, 2], [2, 4], [4, 6], [6, 7], [7, 8]]
    later = make_windows(TIMES, begin_s=41, end_s=70, length_s=10, stride_s=10)
    assert later.start_s.tolist() == [50, 60]
    assert later.pairs.tolist() == [[8, 8], [8, 8]]


def test_windows_may_overlap_or_leave_gaps() -> None:
    overlapping = make_windows(TIMES, begin_s=0, end_s=30, length_s=20, stride_s=5, anchor_s=2)
    assert overlapping.start_s.tolist() == [2, 7]
    assert overlapping.pairs.tolist() == [[1, 6], [2, 6]]
    sparse = make_windows(TIMES, begin_s=-30, end_s=50, length_s=10, stride_s=25, anchor_s=5)
    assert sparse.start_s.tolist() == [-20, 5, 30]


@given(
    times=st.lists(st.integers(-500, 500), max_size=40).map(sorted),
    length=st.integers(1, 90),
    stride=st.integers(1, 90),
    anchor=st.integers(-1000, 1000),
    span=st.tuples(st.integers(-400, 400), st.integers(0, 400)),
)
def test_windows_hold_what_a_plain_loop_finds(
    times: list[int], length: int, stride: int, anchor: int, span: tuple[int, int]
) -> None:
    begin, end = span[0], span[0] + span[1]
    windows = make_windows(
        np.array(times, dtype=np.int64), begin_s=begin, end_s=end, length_s=length, stride_s=stride, anchor_s=anchor
    )
    starts = [t for t in range(begin, end - length + 1) if (t - anchor) % stride == 0]
    assert windows.start_s.tolist() == starts
    for start, first, last in zip(windows.start_s, windows.first, windows.last, strict=True):
        assert times[first:last] == [t for t in times if start <= t < start + length]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_targets_are_counted_half_open() -> None:
    counts = targets_within(events(), np.array([0, 10, 10, 11, 20]), np.array([10, 20, 21, 20, 21]))
    assert counts.tolist() == [0, 1, 2, 0, 1]


def test_samples_see_the_past_and_are_labelled_by_the_future() -> None:
    minute = 60
    base = seconds("2014-01-01")
    toy = events(base + TIMES * minute, TARGETS)
    settings = city(
        length_s=10 * minute,
        stride_s=10 * minute,
        history_s=20 * minute,
        lead_s=0,
        horizon_s=10 * minute,
        anchor="2014-01-01",
    )
    samples = samples_within(toy, settings, base, base + 50 * minute)
    assert ((samples.issue_s - base) // minute).tolist() == [20, 30, 40]
    assert samples.history.tolist() == [[[0, 2], [2, 4]], [[2, 4], [4, 6]], [[4, 6], [6, 7]]]
    assert samples.y.tolist() == [True, False, False]
    late = samples_within(
        toy, replace(settings, task=replace(settings.task, lead_s=0, history_s=600)), base, base + 1200
    )
    assert late.y.tolist() == [True]  # the target at exactly the issue time is the future
    led = samples_within(toy, replace(settings, task=replace(settings.task, lead_s=300)), base, base + 3000)
    assert ((led.target_begin_s - base) // minute).tolist() == [30, 40]  # targets lie on the grid whatever the lead
    assert led.y.tolist() == [False, False]
    assert (led.target_begin_s - led.issue_s).tolist() == [300, 300]
    assert led.history.tolist() == [[[1, 3], [3, 6]], [[3, 6], [6, 6]]]  # steps end when the forecast is issued
    delayed = samples_within(toy, settings, base, base + 3000, delay_s=300)
    assert delayed.target_begin_s.tolist() == led.target_begin_s.tolist()
    assert delayed.history.tolist() == led.history.tolist()  # as if known, so long before
    assert (delayed.target_begin_s == delayed.issue_s).all()


def test_history_reaches_to_the_second_before_the_forecast_is_issued() -> None:
    base = seconds("2014-01-01")
    settings = city(length_s=600, stride_s=600, history_s=1200, lead_s=0, horizon_s=600, anchor="2014-01-01")
    table = events(base + np.array([599, 1199, 1200]), np.zeros(3, dtype=bool))
    samples = samples_within(table, settings, base, base + 1800)
    assert samples.history.tolist() == [[[0, 1], [1, 2]]]


def test_neighboring_splits_share_no_incident() -> None:
    base = seconds("2014-01-01")
    times = base + np.arange(0, 400, dtype=np.int64) * 1800
    toy = events(times, np.arange(400) % 7 == 0)
    settings = city(length_s=7200, stride_s=7200, history_s=86_400, lead_s=3600, horizon_s=7200, anchor="2014-01-01")
    cut = base + 4 * 86_400 + 1234
    before = samples_within(toy, settings, base, cut)
    after = samples_within(toy, settings, cut, base + 8 * 86_400)
    assert before.target_end_s.max() <= cut
    assert times[after.history.min()] >= cut
    assert after.issue_s.min() - before.issue_s.max() >= 86_400 + 3600 + 7200


def test_select_takes_masks_and_positions() -> None:
    settings = city(length_s=600, stride_s=600, history_s=600, lead_s=0, horizon_s=600, anchor="2014-01-01")
    base = seconds("2014-01-01")
    samples = samples_within(events(base + TIMES * 60, TARGETS), settings, base, base + 3600)
    assert samples.select(samples.y).y.all()
    assert samples.select(np.array([2, 0])).issue_s.tolist() == [samples.issue_s[2], samples.issue_s[0]]
