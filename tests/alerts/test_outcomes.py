"""Three squares in a row, the third apart; events by hour after midnight::

0: West   1: East   gap   2: Far        event at 2 h in West, at 4 h in East, at 30 h in Far
"""

from types import SimpleNamespace

import numpy as np
import pytest
from shapely.geometry import box

from hews_gpu.alerts.decide import CITY, Warning
from hews_gpu.alerts.forecasts import windows_at
from hews_gpu.alerts.judged import KINDS, Timeline, judge
from hews_gpu.alerts.outcomes import warning_table
from hews_gpu.data.windows import Task
from hews_gpu.units import HOUR_S

POLYGONS = [box(0, 0, 1000, 1000), box(1005, 0, 2000, 1000), box(5000, 0, 6000, 1000)]
CITY_OF_SQUARES = SimpleNamespace(polygons=POLYGONS, meters=lambda x, y: np.stack([x, y], axis=1))
EVENT_S = np.array([2, 4, 30]) * HOUR_S
EVENT_XY_M = np.array([[500.0, 500.0], [1505.0, 500.0], [5500.0, 500.0]])
TASK = Task(lead_s=1800, horizon_s=2 * HOUR_S)


def timeline(minimum_lead_s=0, hours=36, known_until_h=36):
    windows = windows_at(np.arange(0, hours * HOUR_S, 1800), TASK)
    began, ended = (np.searchsorted(EVENT_S, edge) for edge in (windows.begin_s, windows.end_s))
    y = np.where(windows.end_s > known_until_h * HOUR_S, -1, ended > began)
    return Timeline(
        windows=windows,
        stride_s=1800,
        minimum_lead_s=minimum_lead_s,
        outcome=np.full(len(windows), "issued"),
        y=y.astype(np.int8),
        p={},
        areas=None,
        shares=None,
        thresholds={},
        event_s=EVENT_S,
        event_place=np.array([0, 1, 2]),
    )


def warning(place, hour, tier="watch", withheld=False):
    issue_s = int(hour * HOUR_S)
    window = {"begin_s": issue_s + TASK.lead_s, "end_s": issue_s + TASK.lead_s + TASK.horizon_s}
    name = f"{place}-{hour}-{tier}"
    values = {"probability": 0.5, "threshold": 0.4, "withheld": withheld}
    return Warning(id=name, place=place, tier=tier, issue_s=issue_s, **window, **values)


def rows(*warnings, **about):
    due = timeline(**about)
    judged = {kind: judge(due, warnings, kind) for kind in KINDS}
    return warning_table(due, judged, CITY_OF_SQUARES, ["West", "East", "Far"], EVENT_XY_M).to_pylist()


def missed(table):
    return [(row["place"], row["event_time"].hour) for row in table if row["outcome"] == "miss"]


def test_a_warning_is_a_hit_where_its_place_has_an_event_in_its_window():
    table = rows(warning(CITY, 1), warning(0, 1), warning(1, 1), warning(CITY, 10))
    given = {row["id"]: row for row in table if row["id"]}
    assert [given[name]["outcome"] for name in ("-1-1-watch", "0-1-watch", "1-1-watch", "-1-10-watch")] == [
        "hit",
        "hit",
        "false_alarm",
        "false_alarm",
    ]
    hit = given["0-1-watch"]
    assert (hit["place"], hit["event_time"].hour, hit["lead_s"], hit["events"]) == ("West", 2, HOUR_S, 1)
    assert (hit["near_events"], hit["nearest_m"]) == (0, 0.0)
    assert given["-1-1-watch"]["place"] is None and given["1-1-watch"]["lead_s"] is None
    assert missed(table) == [(None, 4), ("East", 4), (None, 6), ("Far", 6)]
    assert [row["id"] for row in table if row["outcome"] == "miss"] == [None] * 4


def test_who_was_near_is_told_of_neighborhoods():
    given = {row["id"]: row for row in rows(warning(CITY, 1), warning(1, 1), warning(2, 1), warning(0, 20))}
    assert given["-1-1-watch"]["nearest_m"] is None and given["-1-1-watch"]["near_events"] is None
    assert given["1-1-watch"]["near_events"] == 1 and given["1-1-watch"]["nearest_m"] == pytest.approx(505)
    assert given["2-1-watch"]["near_events"] == 0 and given["2-1-watch"]["nearest_m"] == pytest.approx(4500)
    assert given["0-20-watch"]["near_events"] == 0 and given["0-20-watch"]["nearest_m"] is None


def test_only_what_comes_a_minimum_lead_after_the_issue_was_foreseen():
    assert rows(warning(0, 1), minimum_lead_s=HOUR_S)[0]["outcome"] == "hit"
    late = rows(warning(0, 1), minimum_lead_s=HOUR_S + 1)
    assert late[0]["outcome"] == "false_alarm" and late[0]["events"] == 0 and late[0]["nearest_m"] is None
    assert ("West", 2) in missed(late)


def test_a_window_that_is_not_settled_is_open_and_nothing_in_it_is_missed():
    table = rows(warning(2, 29), known_until_h=12)
    assert next(row for row in table if row["id"])["outcome"] == "open"
    assert missed(table) == [(None, 2), ("West", 2), (None, 4), ("East", 4)]


def test_what_was_withheld_covers_nothing():
    table = rows(warning(0, 1, withheld=True), warning(CITY, 1, withheld=True))
    assert [row["outcome"] for row in table if row["id"]] == ["hit", "hit"]
    assert (None, 2) in missed(table) and ("West", 2) in missed(table)
