"""Tables of warnings: rows as both pages show them."""

from __future__ import annotations

import json

import pytest

from hews_gpu.alerts.explain import in_words
from hews_gpu.report.alerts.warned import lead, warning_rows, worth_tables
from hews_gpu.report.formatting import MISSING


def miss(time, place=None):
    moments = dict.fromkeys(("issue_time", "window_start", "window_end"))
    return {"outcome": "miss", "event_time": f"2017-07-01T{time}", "place": place, **moments}


def test_an_event_that_both_kinds_missed_is_one_row():
    """At 01:00 by both, at 02:00 by the city's alone, at 03:00 by its own alone; two at 04:00, one outside of all."""
    missed = [miss("01:00"), miss("01:00", "A"), miss("02:00"), miss("03:00", "B"), miss("04:00"), miss("04:00")]
    rows = warning_rows([*missed, miss("04:00", "C")], 1800)
    shown = [(row.name[-5:], *row.cells[0]) for row in rows]
    both = "no warning of it or of the city"
    assert shown == [
        ("01:00", "A", both),
        ("02:00", "Whole city", "no warning"),
        ("03:00", "B", "no warning"),
        ("04:00", "Whole city", "no warning"),
        ("04:00", "C", both),
    ]
    assert rows[0].at == 1_498_870_800 - 1800  # half an hour before: when a warning could have covered it


def test_years_are_named_where_there_are_several():
    assert [row.name for row in warning_rows([miss("01:00")], 0)] == ["Sat\u00a01\u00a0Jul, 01:00"]
    other = miss("01:00") | {"event_time": "2018-01-01T02:00"}
    assert warning_rows([miss("01:00"), other], 0)[1].name == "Mon\u00a01\u00a0Jan\u00a02018, 02:00"


@pytest.mark.parametrize(
    ("lead_s", "words"),
    [(None, MISSING), (float("nan"), MISSING), (0, "0 min"), (6540, "109 min"), (45_000, "12.5 h")],
)
def test_lead_times(lead_s, words):
    assert lead(lead_s).replace("\u00a0", " ") == words


def test_a_model_that_is_a_reference_is_told_from_it():
    one = {"pod": 0.5, "far": 0.5, "median_lead_s": 60, "per_week": 1, "caught": 1, "events": 2, "hits": 1}
    one |= {"false_alarms": 1, "given": 2, "withheld": 3}
    (block,) = worth_tables({"city": {name: {"any": one} for name in ("p", "climatology", "level")}}, "level")
    _, rows = block.content
    assert [row.name for row in rows[1:]] == ["recent level, this run", "climatology", "recent level"]
    assert rows[1].cells[3] == ("1.0", "2 in all, 3 withheld")


def test_a_row_says_below_what_moved_the_warning():
    told = {"shares": [["climatology", -2.0], ["level", 0.5]], "incidents": []}
    moments = dict.fromkeys(("issue_time", "window_start", "window_end", "event_time"), "2017-07-01T01:00")
    row = {
        "outcome": "hit",
        "place": "B",
        "tier": "watch",
        "lead_s": 60,
        "probability": 0.2,
        "threshold": 0.1,
        **moments,
    }
    (shown,) = warning_rows([row | {"explanation": json.dumps(told)}], 0, ["A", "B"], ["ARSON"])
    assert shown.below == in_words(told, 1, ["A", "B"], ["ARSON"]) and "see arson in B." in shown.below
    assert warning_rows([row | {"explanation": None}], 0, ["A", "B"])[0].below == warning_rows([row], 0)[0].below == ""
