"""What a column of times means, and by whose clock it is."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.data.readers.time_reading import (
    choose_reading,
    hint_of_hours,
    hold_hours,
    quietest_hour,
    usual_quiet_hours,
    why_no_time,
)
from hews_gpu.errors import UserError

# rows by local hour: all crime of Baltimore 2012 to 2017, in thousands; gunfire of Cincinnati 2017 to 2023
CRIME = [12.8, 11.3, 8.2, 5.6, 4.4, 3.8, 4.5, 7.1, 9.7, 9.9, 10.7, 10.9, 13.9, 12, 13.1, 15.7, 15.6, 16.2, 16.7, 15.2]
CRIME += [15.3, 15.4, 14.9, 13.5]
GUNS = [1198, 1085, 903, 780, 579, 309, 182, 113, 93, 113, 137, 162, 142, 177, 206, 206, 216, 299, 393, 550, 702, 962]
GUNS += [1154, 1114]


def hours(counts: list[float], ahead: int = 0) -> np.ndarray:
    """Rows by hour of a clock that is so many hours ahead."""
    return np.roll(np.array(counts, np.float64) * 100, ahead).astype(np.int64)


@pytest.mark.parametrize("longitude", [-76.6, -87.6, -105.0, -122.3])
@pytest.mark.parametrize("is_summer", [False, True])
@pytest.mark.parametrize(("counts", "usual"), [(CRIME, (5,)), (GUNS, (8,))])
def test_the_quiet_hours_tell_utc_from_local_time(
    longitude: float, is_summer: bool, counts: list[float], usual: tuple[int, ...]
) -> None:
    ahead = round(-longitude / 15) - is_summer
    assert hint_of_hours(hours(counts), longitude, usual) == "local"
    assert hint_of_hours(hours(counts, ahead), longitude, usual) == "utc"


def test_the_quiet_hours_say_nothing_in_london_of_few_rows_or_without_a_rhythm() -> None:
    assert hint_of_hours(hours(CRIME), -0.1, (5,)) == ""
    assert quietest_hour((hours(CRIME) // 200).clip(max=8)) is None
    assert quietest_hour(np.full(24, 1000)) is None


def test_gunfire_has_quiet_hours_of_its_own_and_what_is_neither_must_fit_both() -> None:
    assert usual_quiet_hours({"SINGLE GUNSHOT": 60, "MULTIPLE GUNSHOTS": 30, "FIRECRACKER": 10}) == (8,)
    assert usual_quiet_hours({"LARCENY FROM AUTO": 30, "COMMON ASSAULT": 30, "SHOOTING": 2, "OTHER": 10}) == (5,)
    assert usual_quiet_hours({"NOISE": 9, "THEFT": 3}) == usual_quiet_hours({}) == (5, 8)
    assert hint_of_hours(hours(GUNS), -84.5, (5, 8)) == "" != hint_of_hours(hours(GUNS), -84.5, (5,))


SEVEN = ["0", "3", "7", "11", "18", "21", "23"]


@pytest.mark.parametrize("texts", [SEVEN, [f"{text:0>2}" for text in SEVEN], [f"{text}.0" for text in SEVEN]])
def test_whole_hours_are_recognized_by_their_values(texts: list[str]) -> None:
    assert hold_hours([*texts, ""], "t")


@pytest.mark.parametrize(("name", "hours"), [("HOUR", True), ("Occurrence Hr", True), ("Time", None), ("three", None)])
def test_few_values_are_hours_by_their_name_or_cannot_be_told(name: str, hours: bool | None) -> None:
    assert hold_hours(["7", "21"], name) is hours
    assert hold_hours(["0", "0"], name) is (hours or False)  # midnight in either case
    if hours is None:
        with pytest.raises(
            UserError, match=rf"^t\.csv: its column '{name}' holds only 21, 7: hours, or minutes after mid"
        ):
            choose_reading("t.csv", {"time_of_day": ["7", "21"]}, times="auto", city="UTC", clock_name=name)


@pytest.mark.parametrize(
    "texts", [["0", "2359"], ["0007", "0021"], [*SEVEN, "25"], [*SEVEN, "9:30"], ["", " "], ["7", "x"]]
)
def test_what_is_no_column_of_hours(texts: list[str]) -> None:
    assert hold_hours(texts, "t") is False


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["2020-01", "2020-02"], "months such as 2020-01"),
        (["01/2020"], "months such as 01/2020"),
        (["January 2020", "Feb 2020", ""], "months such as January 2020"),
        (["01/31/12", "01/31/12 23:30"], "years of two digits, such as 01/31/12"),
        (["31-JAN-12"], "years of two digits, such as 31-JAN-12"),
        (["2019", "2020"], "years such as 2019"),
    ],
)
def test_a_known_reason_is_told(texts: list[str], why: str) -> None:
    assert why in why_no_time(texts)


@pytest.mark.parametrize(
    "texts", [["2020-01-31", "2020-01"], ["01/31/2012"], ["x"], [], ["2020-01-31T23:30:00Z"], ["1212"]]
)
def test_no_reason_is_told_where_none_is_known(texts: list[str]) -> None:
    assert why_no_time(texts) == ""


def test_an_offset_is_meant_and_the_zone_of_utc_is_asked_for() -> None:
    def zone(text: str, times: str) -> str:
        return choose_reading("t.csv", {"time": [text]}, times=times, city="America/New_York").zone

    assert zone("2019-08-23T13:18:00-04:00", "auto") == "UTC"
    assert zone("2019-08-23T13:18:00", "auto") == zone("2019-08-23T13:18:00Z", "local") == ""
    assert zone("2019-08-23T13:18:00", "America/Chicago") == "America/Chicago"
    for text in ("2019-08-23T13:18:00Z", "2019/08/23 13:18:00+00", "1566566280000", "1566566280"):
        assert zone(text, "utc") == "UTC"
        with pytest.raises(UserError, match=r"must say by whose clock t\.csv gives its times, such as (2019|15665)"):
            zone(text, "auto")
