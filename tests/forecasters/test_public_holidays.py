"""Holidays go by the country of a city's time zone."""

import numpy as np
import pytest

from hews_gpu.forecasters.public_holidays import public_holidays


def day(text):
    return int(np.datetime64(text, "D").astype(np.int64))


@pytest.mark.parametrize(
    ("zone", "name", "date"),
    [
        ("America/New_York", "Independence Day", "2017-07-04"),
        ("America/Chicago", "New Year's Day", "2021-12-31"),  # in lieu of a Saturday
        ("Europe/Berlin", "German Unity Day", "2019-10-03"),
        ("US/Eastern", "Independence Day", "2017-07-04"),  # an older name of a zone
        ("Iceland", "National Day", "2019-06-17"),  # linked to Abidjan's
    ],
)
def test_a_zone_has_the_holidays_of_its_country(zone, name, date):
    assert day(date) in public_holidays(zone)[name]


def test_nobodys_zone_has_none():
    assert public_holidays("Etc/UTC") == {} == public_holidays("America/New")
    assert public_holidays("EST") == {}  # a link to Panama's
