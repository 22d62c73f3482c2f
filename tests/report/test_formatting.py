"""Numbers as people write them."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.report import formatting


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (formatting.number(12345), "12,345"),
        (formatting.number(0.65749, 3), "0.657"),
        (formatting.number(None), "\u2013"),
        (formatting.number(float("nan"), 2), "\u2013"),
        (formatting.signed(0.01234), "+0.0123"),
        (formatting.signed(-0.01234), "\u22120.0123"),
        (formatting.signed(0.0), "0.0000"),
        (formatting.signed(-0.00001), "0.0000"),
        (formatting.signed(None), "\u2013"),
        (formatting.range_of([-0.01, 0.02]), "\u22120.0100 to +0.0200"),
        (formatting.range_of([0.51, 0.62], 2, formatting.plain), "0.51 to 0.62"),
        (formatting.range_of(None), ""),
        (formatting.hours(5400), "1.5\u00a0h"),
        (formatting.percent(0.123), "12.3\u00a0%"),
        (formatting.percent(0.0), "0.0\u00a0%"),
        (formatting.percent(0.00001, 2), "<\u00a00.01\u00a0%"),
        (formatting.percent(0.0005, 1), "0.1\u00a0%"),
        (formatting.percent(0.0004999, 1), "<\u00a00.1\u00a0%"),
        (formatting.percent(1), "100.0\u00a0%"),
        (formatting.seconds(3.44), "3.4 s"),
        (formatting.seconds(10), "10 s"),
        (formatting.seconds(45), "45 s"),
        (formatting.seconds(119), "119 s"),
        (formatting.seconds(120), "2 min 0 s"),
        (formatting.seconds(200), "3 min 20 s"),
        (formatting.duration(0), "none"),
        (formatting.duration(1), "1.0 s"),
        (formatting.duration(60), "minute"),
        (formatting.duration(90), "90 s"),
        (formatting.duration(1800), "30 minutes"),
        (formatting.duration(3600), "hour"),
        (formatting.duration(7200), "2 hours"),
        (formatting.duration(86_400), "day"),
        (formatting.duration(604_800), "7 days"),
        (formatting.span(0, 86_400), "1 January 1970 to 1 January 1970"),
        (formatting.span(0, 86_401), "1 January 1970 to 2 January 1970"),
        (formatting.category_list(["HOMICIDE"]), "homicide"),
        (formatting.category_list(["HOMICIDE", "SHOOTING"]), "homicide and shooting"),
        (formatting.category_list(["A", "B", "C"]), "a, b and c"),
    ],
)
def test_numbers_and_times_are_written_as_people_do(call, text):
    assert call == text


def test_a_year_is_the_mean_one_of_the_calendar():
    assert formatting.YEAR_S * 400 == (formatting.moment("2400-01-01") - formatting.moment("2000-01-01"))


def test_a_moment_is_local_seconds():
    assert formatting.moment("1970-01-02T01:00") == 90_000


def test_day_is_the_local_day():
    assert formatting.day(int(np.datetime64("2017-02-28T23:59", "s").astype(int))) == "28 February 2017"
