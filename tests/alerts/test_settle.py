"""Labels: each once, when its window is settled, whatever was issued."""

from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from hews_gpu.alerts.policy import Policy
from hews_gpu.alerts.record import open_record, read_record
from hews_gpu.alerts.settle import due, settle
from hews_gpu.alerts.vintages.compare import ROWS
from hews_gpu.alerts.vintages.store import open_store
from tests.alerts.invented_record import BEGIN_S, STEP_S, outcome, seal

DAY_S, ZONE = 86_400, ZoneInfo("America/New_York")


def rows(*told):
    """Rows as seconds after the begin, neighborhood and whether they are targets."""
    columns = {
        "time_s": [BEGIN_S + after_s for after_s, _, _ in told],
        "longitude": [-76.6 + k / 1000 for k in range(len(told))],
        "latitude": [39.3] * len(told),
        "category": ["SHOOTING" if is_target else "THEFT" for _, _, is_target in told],
        "neighborhood_id": [place for _, place, _ in told],
        "is_target": [is_target for _, _, is_target in told],
    }
    known = {name: values for name, values in columns.items() if name in ROWS.names}
    return pa.table(known).cast(ROWS)


def delivered(tmp_path, *deliveries, delay_s=DAY_S):
    """A store of some deliveries, each with when it came."""
    store = open_store(tmp_path / "vintages", delay_s=delay_s)
    for number, (after_s, told) in enumerate(deliveries):
        store.add(rows(*told), BEGIN_S + after_s, {"file": f"{number}.csv", "sha256": str(number)})
    return store


def labels(run):
    return [entry for entry in read_record(run) if entry["kind"] == "label"]


def settled(run, store, after_s):
    with open_record(run) as record:
        return settle(record, store, BEGIN_S + after_s, ZONE)


EVERY_HOUR = [(hour * 3600, 0, False) for hour in range(1, 73)]


def test_each_window_has_one_label_once_it_is_settled_also_one_that_nothing_was_issued_for(tmp_path):
    """Due are 0 to 3, of half a day each; 1 was refused, 2 is missing. Delay: a day, as was stated.

    After 1.5 days the first alone is settled, for its last row was known after 1.5; after 2.4 the second one, too.
    """
    seal(tmp_path, outcome(0), outcome(1, said="refused", reason="stale"), outcome(3))
    told = [*EVERY_HOUR, (60, 1, True), (61, 1, True), (STEP_S, 0, True), (2 * STEP_S + 7, 1, True)]
    store = delivered(tmp_path, (3 * DAY_S, sorted(told)))
    first_s = store.deliveries[0].known_s - BEGIN_S + 1
    assert settled(tmp_path, store, first_s) == 4
    assert settled(tmp_path, store, first_s) == 0
    known = [(one["issue_time"], one["y"], one["events"]) for one in labels(tmp_path)]
    assert known == [
        ("2024-05-01T00:00:00", True, [["2024-05-01T00:01:00", 1]]),  # of two victims in one minute
        ("2024-05-01T12:00:00", True, [["2024-05-01T12:00:00", 0]]),
        ("2024-05-02T00:00:00", True, [["2024-05-02T00:00:07", 1]]),
        ("2024-05-02T12:00:00", False, []),
    ]


def test_nothing_is_settled_before_the_delay_nor_beyond_the_newest_row(tmp_path):
    """Rows reach to hour 72; a delivery at hour 73 with a delay of a day settles windows that end by hour 49.

    However long ago that is: what came late since then was never delivered.
    """
    seal(tmp_path, *[outcome(k) for k in range(7)])
    store = delivered(tmp_path, (73 * 3600, EVERY_HOUR))
    assert settled(tmp_path, store, 73 * 3600) == 0  # what is delivered now is not yet known
    assert settled(tmp_path, store, 73 * 3600 + 1) == 4  # windows end at hours 12, 24, 36, 48
    assert settled(tmp_path, store, 365 * DAY_S) == 0
    newer = rows(*EVERY_HOUR, (73 * 3600 + 1, 0, False))
    store.add(newer, BEGIN_S + 120 * 3600, {"file": "b.csv", "sha256": "b"})
    assert settled(tmp_path, store, 120 * 3600 + 1) == 2  # the seventh ends at hour 84: no row tells of it
    assert [one["issue_time"][5:13] for one in labels(tmp_path)][-1] == "05-03T12"


def test_while_no_target_has_yet_come_late_the_other_rows_say_how_long_to_wait(tmp_path):
    """Delivered daily for ten days: targets at once, each theft two days after it happened."""
    seal(tmp_path, *[outcome(k) for k in range(20)])
    told = [(hour * 3600, 0, hour % 12 == 5) for hour in range(240)]
    days = [
        (day * DAY_S, [row for row in told if row[0] + (0 if row[2] else 2 * DAY_S) < day * DAY_S])
        for day in range(1, 11)
    ]
    store = delivered(tmp_path, *days, delay_s=0)
    now_s = 10 * DAY_S + 1
    assert settled(tmp_path, store, now_s) <= 2 * (10 - 2)


def test_without_a_delivery_or_an_outcome_nothing_is_settled(tmp_path):
    seal(tmp_path, ("opened", {}))
    assert settled(tmp_path, open_store(tmp_path / "vintages"), 9 * DAY_S) == 0
    assert settled(tmp_path, delivered(tmp_path, (4 * DAY_S, EVERY_HOUR)), 9 * DAY_S) == 0


def test_the_hour_that_a_spring_night_leaves_out_was_not_due():
    """Outcomes at 1:00 and 4:00, half an hour apart: due are 1:00, 1:30, 3:00, 3:30, 4:00 and no more."""
    spring_s = int(np.datetime64("2024-03-10T01:00", "s").astype(int))
    told = [outcome(k, policy=Policy(stride_s=1800), begin_s=spring_s)[1] for k in (0, 6)]
    hours = (due(told, ZONE) - spring_s) / 3600 + 1
    assert hours.tolist() == [1, 1.5, 3, 3.5, 4]
    at_night = outcome(3, policy=Policy(stride_s=1800), begin_s=spring_s)[1]  # made by a clock that knew no better
    assert len(due([*told, at_night], ZONE)) == 6


@pytest.mark.parametrize("at_once", [1, 2, 4096])
def test_of_a_long_record_only_the_end_is_read(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("hews_gpu.alerts.settle.AT_ONCE", at_once)
    seal(tmp_path, *[outcome(k) for k in range(3)])
    store = delivered(tmp_path, (97 * 3600, EVERY_HOUR))
    assert settled(tmp_path, store, 365 * DAY_S) == 3
    seal(tmp_path, *[outcome(k) for k in range(3, 9)])
    assert settled(tmp_path, store, 365 * DAY_S) == 3
    assert (
        np.diff(
            [int(one["issue_time"][8:10]) * 2 + (one["issue_time"][11] == "1") for one in labels(tmp_path)]
        ).tolist()
        == [1] * 5
    )
