"""The study of the season in the day takes it out of the calendar and moves it into a city."""

import numpy as np

from hews_gpu.forecasters.climatology import fit_climatology
from studies.season import APART, TOGETHER, calendar, evenings


def shift_of(table):
    """Return how much more the midnights of July exceed its noons than those of January do, in log-odds."""
    hour = np.arange(168) % 24
    by_month = table[hour == 0].mean(axis=0) - table[hour == 12].mean(axis=0)
    return by_month[6] - by_month[0]


def test_nights_are_late_in_summer_and_only_one_calendar_knows():
    city = evenings(years=3)
    begin_s = np.arange(city.begin_s, city.end_s, 7200, dtype=np.int64)
    y = np.histogram(city.events.time_s[city.events.is_target], [*begin_s, city.end_s])[0] > 0
    shifts = {}
    for which in (APART, TOGETHER, APART):
        with calendar(which):
            shifts[which] = shift_of(fit_climatology(begin_s, y).table)
    assert abs(shifts[APART]) < 0.01
    assert 1.0 < shifts[TOGETHER] < 3.0  # 2 were planted
