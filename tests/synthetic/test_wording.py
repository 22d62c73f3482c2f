"""How a case is worded: three cases by hand, and what must hold for all."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.synthetic.geography import make_ground
from hews_gpu.synthetic.wording import COLUMNS, portal_rows

MONDAY_S = int(np.datetime64("2024-01-01", "s").astype(np.int64))


@pytest.fixture(scope="module")
def ground():
    return make_ground(np.random.default_rng(0))


def words(ground, minute, category, *, xy_m=None, seed=0):
    minute = np.asarray(minute, dtype=np.int64)
    xy_m = ground.spots_m[np.arange(len(minute)) % len(ground.spots_m)] if xy_m is None else xy_m
    category = np.full(len(minute), category, dtype=object)
    return portal_rows(np.random.default_rng(seed), minute, xy_m, category, category == "SHOOTING", ground, MONDAY_S)


def test_a_midnight_is_written_in_one_of_two_ways(ground):
    rows = words(ground, np.full(500, 24 * 60), "LARCENY")
    assert set(zip(rows.CrimeDate, rows.CrimeTime, strict=True)) == {
        ("01/02/2024", "00:00:00"),
        ("01/01/2024", "24:00:00"),
        ("01/01/2024", "2400"),
    }


def test_a_minute_past_one_is_written_in_one_of_two_ways(ground):
    rows = words(ground, np.full(300, 59 * 24 * 60 + 72), "SHOOTING")
    assert set(zip(rows.CrimeDate, rows.CrimeTime, strict=True)) == {("02/29/2024", "01:12:00"), ("02/29/2024", "112")}
    assert 0.02 < (rows.CrimeTime == "112").mean() < 0.25


def test_a_place_has_one_address_name_and_pair(ground):
    xy_m = np.array([[100.0, 4000.0], [np.nan, np.nan]])
    rows = words(ground, [0, 0], "ARSON", xy_m=xy_m)
    known, blank = rows.iloc[0], rows.iloc[1]
    assert known["Location 1"] == f"({known.Latitude}00000, {known.Longitude}00000)"
    assert known.Latitude == f"{18.3 + 4000 / 111_320:.5f}"
    assert known.Neighborhood in {name[:25] for name in ground.names}
    assert known.District == "NORTHERN"
    assert (blank[["Location", "Longitude", "Latitude", "Location 1", "Neighborhood", "District", "Post"]] == "").all()
    assert (known.CrimeCode, known.Weapon, known["Total Incidents"]) == ("8J", "", "1")


def test_columns_are_the_portals_in_order(ground):
    assert tuple(words(ground, [0], "ARSON").columns) == COLUMNS
