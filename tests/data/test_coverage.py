"""What a table covers comes from the density of its rows: by hand-made days, and by `hews prepare`.

rows a day   ......||||||||||||||||||||......|......      covered: the dense stretch; the stray row is not
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.config import CityConfig, SplitsConfig
from hews_gpu.data.coverage import coverage_of, require_covered
from hews_gpu.data.prepare.command import prepare
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S
from tests.data.toy import row

Toy = Callable[..., CityConfig]


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


def poisson(begin: str, end: str, rate: float, seed: int = 0) -> dict[int, int]:
    """Rows by day, without the days that have none."""
    days = range(day(begin), day(end))
    rows = np.random.default_rng(seed).poisson(rate, len(days))
    return {at: int(n) for at, n in zip(days, rows, strict=True) if n}


def stretches(rows: dict[int, int]) -> list[list[str]]:
    return coverage_of(rows, {}).described()["rows"]


def near(found: list[list[str]], expected: list[list[str]], days: int) -> bool:
    """Whether stretches are the expected ones, up to so many days at each end."""
    edges = [np.array(each, "datetime64[D]").astype(np.int64) for each in (found, expected)]
    return edges[0].shape == edges[1].shape and bool((np.abs(edges[0] - edges[1]) <= days).all())


@pytest.mark.parametrize("rate", [0.3, 0.5, 2.0, 130.0])
@pytest.mark.parametrize("stray", [{}, {day("2020-12-31"): 1}, {day("1900-01-01"): 9000, day("2030-01-01"): 9000}])
def test_a_stray_date_covers_nothing(rate: float, stray: dict[int, int]) -> None:
    dense = poisson("2015-01-01", "2020-01-01", rate)
    assert near(stretches(dense | stray), [["2015-01-01", "2019-12-31"]], days=max(1, round(10 / rate)))


def test_a_trickle_is_no_coverage() -> None:
    rows = {**poisson("2010-01-01", "2015-01-01", 3), **poisson("2015-01-01", "2019-01-01", 90)}
    rows |= poisson("2019-01-01", "2021-01-01", 4)
    assert near(stretches(rows), [["2015-01-01", "2018-12-31"]], days=6)


def test_a_missing_half_year_is_a_gap_and_a_missing_fortnight_is_none() -> None:
    rows = poisson("2013-01-01", "2018-01-01", 40)
    without = {at: n for at, n in rows.items() if not day("2015-03-01") <= at < day("2015-09-01")}
    assert near(stretches(without), [["2013-01-01", "2015-02-28"], ["2015-09-01", "2017-12-31"]], days=0)
    without = {at: n for at, n in rows.items() if not day("2015-03-01") <= at < day("2015-03-15")}
    assert stretches(without) == [["2013-01-01", "2017-12-31"]]


@given(st.integers(0, 10**6), st.floats(0.1, 60), st.floats(0.5, 2.0), st.floats(0, 0.3))
def test_years_that_rise_or_fall_and_seasons_are_covered(seed: int, rate: float, slope: float, season: float) -> None:
    days = np.arange(day("2014-01-01"), day("2019-01-01"))
    level = np.linspace(1, slope, len(days)) * (1 + season * np.sin(days / 365.25 * 2 * np.pi))
    counts = np.random.default_rng(seed).poisson(rate * level)
    rows = {at: n for at, n in zip(days.tolist(), counts.tolist(), strict=True) if n}
    found = coverage_of(rows, {})
    assert len(found.rows) == 1
    require_covered(splits(test=("2018-01-01", "2019-01-01")), found)


def test_rows_of_one_day_a_month_cover_the_whole_table() -> None:
    rows = {day(f"{year}-{month:02d}-01"): 500 for year in (2018, 2019) for month in range(1, 13)}
    assert stretches({**rows}) == [["2018-01-01", "2019-12-01"]]


def splits(**changes: tuple[str, str]) -> SplitsConfig:
    spans = {"train": ("2014-01-15", "2017-01-01"), "validation": ("2017-01-01", "2017-07-01")}
    return SplitsConfig(**{**spans, "test": ("2017-07-01", "2018-01-01"), **changes})


def test_a_split_past_the_last_dense_day_is_refused_with_both_dates() -> None:
    """A stray row a year ahead once made a year of windows count as quiet."""
    found = coverage_of(poisson("2014-01-01", "2018-01-01", 30) | {day("2019-03-04"): 1}, {})
    require_covered(splits(test=("2017-07-01", "2018-01-07")), found)
    with pytest.raises(
        UserError, match=r"\[splits\] test = .*'2019-01-01'.*covers 2014-01-01 to 2017-12-31.*2019-03-04"
    ):
        require_covered(splits(test=("2017-07-01", "2019-01-01")), found)
    with pytest.raises(UserError, match=r"\[splits\] train = .*covers 2014-01-01"):
        require_covered(splits(train=("2013-01-01", "2017-01-01")), found)


def test_a_split_with_a_gap_is_refused_with_the_gap() -> None:
    rows = {
        at: n
        for at, n in poisson("2014-01-01", "2018-01-01", 30).items()
        if not day("2015-03-01") <= at < day("2015-09-01")
    }
    with pytest.raises(UserError, match=r"\[splits\] train.*holds 2015-03-01 to 2015-08-31.*hardly a row"):
        require_covered(splits(), coverage_of(rows, {}))


def test_a_target_that_stops_is_refused_though_the_table_goes_on() -> None:
    rows = poisson("2014-01-01", "2018-01-01", 30)
    both = {"HOMICIDE": poisson("2014-01-01", "2018-01-01", 0.8), "SHOOTING": poisson("2014-01-01", "2017-03-01", 1.5)}
    with pytest.raises(UserError, match=r"\[splits\] validation.*target 'SHOOTING' from 2017-0[23]-\d\d to 2017-07-01"):
        require_covered(splits(), coverage_of(rows, both))
    few = {"HOMICIDE": both["HOMICIDE"], "ARSON": {day("2014-02-02"): 19}}
    require_covered(splits(), coverage_of(rows, few))


@pytest.mark.parametrize("stops", [True, False])
def test_another_name_of_a_target_is_looked_for_where_it_stops_or_begins(stops: bool) -> None:
    early, late = poisson("2014-01-01", "2017-03-01", 1.5), poisson("2017-03-01", "2018-01-01", 1.5)
    old, new = ("SHOOTING", "NON-FATAL SHOOTING") if stops else ("SHOOTING INCIDENT", "SHOOTING")
    series = {
        old: early,
        new: late,
        "FRAUD": poisson("2017-02-01", "2018-01-01", 9),
        "THEFT": poisson("2014-01-01", "2018-01-01", 20),
    }
    months = {
        name: {int(np.datetime64(at, "D").astype("datetime64[M]").astype(int)): n for at, n in own.items()}
        for name, own in series.items()
    }
    found = coverage_of(poisson("2014-01-01", "2018-01-01", 30), {"SHOOTING": series["SHOOTING"]}, months)
    assert found.other_names == {"SHOOTING": ["NON-FATAL SHOOTING", "FRAUD"] if stops else ["SHOOTING INCIDENT"]}
    with pytest.raises(
        UserError, match="'NON-FATAL SHOOTING', 'FRAUD' may be its" if stops else "'SHOOTING INCIDENT' may be"
    ):
        require_covered(splits(), found)
    whole = coverage_of(poisson("2014-01-01", "2018-01-01", 30), {"THEFT": series["THEFT"]}, months)
    assert whole.other_names == {}


def lines(*dates: str) -> list[str]:
    return [
        row(f"{d[5:7]}/{d[8:]}/{d[:4]}", f"{h:02d}:10:00", "SHOOTING" if h == 6 else "LARCENY")
        for d in dates
        for h in range(1, 24, 5)
    ]


def test_prepare_refuses_such_splits_and_leaves_nothing(toy: Toy, tmp_path: Path) -> None:
    days = [str(np.datetime64(at, "D")) for at in range(day("2014-01-01"), day("2014-03-11"))]
    city = toy(lines(*days, "2015-02-01"))
    with pytest.raises(UserError, match=r"\[splits\] test = .*'2014-04-01'.*2014-01-01 to 2014-03-10.*2015-02-01"):
        prepare(city, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    quality = prepare(city, tmp_path / "out", score_only=True)
    assert quality["coverage"]["rows"] == [["2014-01-01", "2014-03-10"]]
    assert json.loads((tmp_path / "out" / "quality.json").read_text())["coverage"]["targets"]["SHOOTING"] == [
        ["2014-01-01", "2014-03-10"]
    ]


def test_a_split_that_is_too_short_is_refused_before_any_file_is_looked_at(toy: Toy, tmp_path: Path) -> None:
    city = toy()
    text = city.path.read_text().replace('["2014-02-01", "2014-03-01"]', '["2014-02-01", "2014-02-02"]')
    city.path.write_text(text.replace("table.csv", "gone.csv"))
    from hews_gpu.config import load_city

    with pytest.raises(UserError, match=r"\[splits\] validation.*too short"):
        prepare(load_city(city.path), tmp_path / "out")


def test_windows_are_held_only_where_every_target_is() -> None:
    rows = poisson("2014-01-01", "2018-01-01", 30)
    found = coverage_of(rows, {"SHOOTING": poisson("2014-01-01", "2017-01-01", 20)})
    begin_s = np.array([day(at) * DAY_S for at in ("2013-12-31", "2014-01-01", "2016-06-01", "2017-06-01")])
    assert found.holds(begin_s, begin_s + 7200).tolist() == [False, True, True, False]
