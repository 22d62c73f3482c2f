"""Dates and times of day: every spelling of one meaning gives one number, and nothing else gives any."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hews_gpu.data.readers.dates import (
    DATE_THEN_TIME,
    NOT_A_TIME,
    SlashDate,
    day_number,
    distinct_values,
    from_epoch,
    hour_of_day,
    is_day_first,
    join_seconds,
    offset_s,
    second_of_day,
    slash_dates,
    to_local,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("23:30:00", 84_600),
        ("00:00:00", 0),
        ("1:12", 4_320),
        ("01:12", 4_320),
        ("112", 4_320),
        ("0112", 4_320),
        ("112.0", 4_320),
        ("5", 300),
        ("0", 0),
        ("2400", 86_400),
        ("24:00:00", 86_400),
        ("24:00", 86_400),
        (" 23:30:59.999 ", 84_659),
    ],
)
def test_each_spelling_of_a_time_of_day(text: str, seconds: int) -> None:
    assert second_of_day(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "24:00:01", "2401", "25:00", "1260", "12:60", "12:00:60", "noon", "-5", "12345", "1:2", "1e3", "١٢"],
)
def test_what_is_no_time_of_day(text: str) -> None:
    assert second_of_day(text) is None


@pytest.mark.parametrize(
    "text",
    ["01/31/2012", "1/31/2012", "2012-01-31", "2012/01/31", "2012-1-31", " 2012-01-31 ", "2012-01-31T00:00:00.000"],
)
def test_each_spelling_of_a_date(text: str) -> None:
    assert day_number(text) == (date(2012, 1, 31) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    "text",
    [
        *("", "31/01/2012", "02/30/2012", "0001-01-01", "9999-12-31", "01/31/12", "2012-01-31 13:00", "CrimeDate"),
        *("02/29/1900", "01/01/2101", "1899-12-31", "\u0660\u0661/31/2014", "\u00e92/29/2000"),
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert day_number(text) is None


@pytest.mark.parametrize("day", [date(1900, 1, 1), date(2000, 2, 29), date(2100, 12, 31)])
def test_the_first_date_the_last_one_and_a_leap_day(day: date) -> None:
    assert day_number(f"{day:%m/%d/%Y}") == day_number(day.isoformat()) == (day - date(1970, 1, 1)).days


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 12, 31)), st.data())
def test_round_trip_of_any_time_in_any_spelling(when: datetime, data: st.DataObject) -> None:
    when = when.replace(microsecond=0)
    hhmm = str(int(when.strftime("%H%M")))
    times = [when.strftime("%H:%M:%S")]
    if when.second == 0:
        times += [when.strftime("%H:%M"), hhmm, hhmm.zfill(4), f"{hhmm}.0"]
    dates = [when.strftime("%m/%d/%Y"), f"{when.month}/{when.day}/{when.year}", when.date().isoformat()]
    days = distinct_values([data.draw(st.sampled_from(dates))], day_number)
    seconds = distinct_values([data.draw(st.sampled_from(times))], second_of_day)
    assert datetime(1970, 1, 1) + timedelta(seconds=int(join_seconds(days, seconds)[0])) == when


@given(st.integers(0, 2400))
def test_unpadded_digits_are_hours_and_minutes(number: int) -> None:
    hour, minute = divmod(number, 100)
    expected = 3600 * hour + 60 * minute if minute < 60 else None
    assert second_of_day(str(number)) == expected


@given(st.text(max_size=12))
def test_no_text_raises(text: str) -> None:
    assert second_of_day(text) is None or 0 <= second_of_day(text) <= 86_400
    assert day_number(text) is None or isinstance(day_number(text), int)


def test_the_next_midnight_is_the_start_of_the_next_day() -> None:
    days = distinct_values(["12/31/2014", "2015-01-01", "bad"], day_number)
    seconds = distinct_values(["2400", "0", "12:00"], second_of_day)
    joined = join_seconds(days, seconds)
    assert joined[0] == joined[1] == np.datetime64("2015-01-01", "s").astype(int)
    assert joined[2] == NOT_A_TIME


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2019-08-23T13:18:00", ("2019-08-23", "13:18:00")),
        (" 08/23/2019  1:18 ", ("08/23/2019", "1:18")),
        ("2019-08-23", (None, None)),
        ("", (None, None)),
    ],
)
def test_one_column_is_split_into_two(text: str, parts: tuple[str | None, str | None]) -> None:
    found = pc.extract_regex(pa.array([text]), pattern=DATE_THEN_TIME)[0].as_py() or {"date": None, "time": None}
    assert (found["date"], found["time"]) == parts


def dates_of(texts: list[str]) -> set[SlashDate]:
    return slash_dates(pa.array(texts, pa.string()))


@given(st.lists(st.one_of(
    st.text("0129/ -", max_size=12),
    st.from_regex(r" ?[0-3]?[0-9]/[0-3]?[0-9]/(19|20)[0-9]{2}[0-9 T]?", fullmatch=True),
)))  # fmt: skip
@example(["31/12/2014", "31/12/20145", " 1/2/2014 23:00", "31/12/2014", "2014/12/31", "a 31/12/2014"])
def test_slash_dates_are_those_of_the_regular_expression(texts: list[str]) -> None:
    pattern = re.compile(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)", re.ASCII)
    expected = {tuple(map(int, found.groups())) for found in map(pattern.match, texts) if found}
    dates = dates_of(texts)
    assert sorted(expected) == sorted(dates)


def test_more_than_a_twentieth_of_month_first_dates_make_a_table_not_day_first() -> None:
    day_first = [f"{day}/05/{year}" for day in range(13, 32) for year in (2012, 2013)]
    assert is_day_first(dates_of([*day_first, "05/31/2014"]))
    assert not is_day_first(dates_of([*day_first, "05/31/2014", "05/30/2014"]))


def spelt(days: range, form: str) -> list[str]:
    return [(date(2014, 1, 1) + timedelta(days=day)).strftime(form) for day in days]


@pytest.mark.parametrize("days", [range(16), range(31), range(365), range(100, 1500)])
@pytest.mark.parametrize("tail", ["", " 23:30:00", " 11:30 PM"])
def test_day_first_dates_are_told_from_month_first_ones_with_bad_rows(days: range, tail: str) -> None:
    day_first = spelt(days, f"%d/%m/%Y{tail}")
    assert is_day_first(dates_of(day_first)) and is_day_first(dates_of([*day_first, "13/13/2014", "", "x"]))
    if len(days) > 31:
        assert is_day_first(dates_of([*day_first, "01/31/2014"]))  # one bad row does not hide it
    bad = ["13/01/2014", "31/12/2014", "25/06/2014", "99/99/2014", "00/00/0000"]
    assert not is_day_first(dates_of([*spelt(days, f"%m/%d/%Y{tail}"), *bad]))
    assert not is_day_first(dates_of(spelt(days, "%Y/%m/%d") + spelt(days, "%Y-%m-%d")))


def test_two_dates_alone_or_a_few_bad_ones_among_early_days_do_not_make_a_table_day_first() -> None:
    assert not is_day_first(dates_of(["13/01/2014", "14/01/2014"]))
    early = [f"{month:02d}/{day:02d}/2014" for month in range(1, 4) for day in range(1, 13)]
    assert not is_day_first(dates_of([*early, "13/01/2014", "14/01/2014", "15/01/2014"]))


@pytest.mark.parametrize(
    "text", ["1391211000000", "1391211000000.0", "1.391211e+12", " 1.391211E12 ", "1.391211000999e+12"]
)
def test_milliseconds_with_and_without_an_exponent(text: str) -> None:
    assert from_epoch(text) == 1_391_211_000


@pytest.mark.parametrize("text", ["1391211000", " 1391211000.0", "1.391211e+09", "1.391211E9"])
def test_seconds_with_and_without_an_exponent(text: str) -> None:
    assert from_epoch(text) == 1_391_211_000


@pytest.mark.parametrize(
    "text", ["2014013123", "1.39e+10", "1e+11", "9e+12", "1.39e-12", "e12", "1.39", "201401312330"]
)
def test_what_is_no_milliseconds(text: str) -> None:
    assert from_epoch(text) is None


@pytest.mark.parametrize(
    ("text", "hour"), [("0", 0), ("7", 7), ("07", 7), ("23.0", 23), ("24", 24), ("21:30", 21.5), ("9:00 PM", 21)]
)
def test_whole_hours(text: str, hour: float) -> None:
    assert hour_of_day(text) == hour * 3600


@pytest.mark.parametrize("text", ["25", "130", "2130", "-1", "", "noon"])
def test_what_is_no_whole_hour(text: str) -> None:
    assert hour_of_day(text) is None


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        *(("13:18:00Z", 0), ("2019-08-23T13:18:00.000+00", 0), ("2019/08/23 13:18:00 UTC", 0), ("13:18 GMT", 0)),
        *(("2019-08-23T13:18:00-04:00", -4), ("13:18:00-0430", -4.5), ("2019-08-23 13:18:00.5 +05:45", 5.75)),
        *(("2019-08-23", None), ("2019-08-23T13:18:00", None), ("13:18:00Zulu", None), ("", None)),
    ],
)
def test_how_far_a_clock_is_ahead_of_utc(text: str, hours: float | None) -> None:
    assert offset_s(text) == (None if hours is None else 3600 * hours)


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        ("2019-03-10T06:59:59", "2019-03-10T01:59:59"),  # the clocks go on to 03:00
        ("2019-03-10T07:00:00", "2019-03-10T03:00:00"),
        ("2019-11-03T05:30:00", "2019-11-03T01:30:00"),  # and show 01:30 twice
        ("2019-11-03T06:30:00", "2019-11-03T01:30:00"),
        ("2019-11-03T07:00:00", "2019-11-03T02:00:00"),
        ("1970-01-01T00:00:00", "1969-12-31T19:00:00"),
    ],
)
def test_utc_becomes_local_time_over_the_changes_of_the_clocks(utc: str, local: str) -> None:
    seconds = np.array([np.datetime64(utc, "s").astype(np.int64), NOT_A_TIME])
    converted = to_local(seconds, "America/New_York")
    assert converted[0] == np.datetime64(local, "s").astype(np.int64) and converted[1] == NOT_A_TIME


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2037, 12, 31)))  # pandas 2 knows no later rule
def test_a_round_trip_over_another_zone_ends_where_it_began(when: datetime) -> None:
    """But for the hour that is shown twice or left out on the way."""
    seconds = np.array([np.datetime64(when, "s").astype(np.int64)])
    there = to_local(seconds, "America/New_York")
    back = to_local(there, "UTC", "America/New_York")
    assert back[0] - seconds[0] in (0, -3600) and (back[0] == seconds[0] or when.month == 11)
    zone = ZoneInfo("America/New_York")
    expected = when.replace(microsecond=0, tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    assert datetime(1970, 1, 1) + timedelta(seconds=int(there[0])) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1000000000000", 1_000_000_000), ("999999999999", 999_999_999), ("999999999000.0", 999_999_999)),
        *(("300000000000", 300_000_000), ("3e+11", 300_000_000), ("299999999999", None), ("99999999999", None)),
        *(("300000000", 300_000_000), ("299999999", None), ("1899999999", 1_899_999_999), ("1900000000", None)),
        *(("4133980799999", 4_133_980_799), ("4133980800000", None), ("10000000000000", None)),
    ],
)
def test_milliseconds_of_twelve_digits_or_thirteen_reach_from_1979_to_2100_and_seconds_to_2030(
    text: str, seconds: int | None
) -> None:
    assert from_epoch(text) == seconds
