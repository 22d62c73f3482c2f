"""The plain baselines; and of all: nothing that is known only after an issue time moves a forecast by a bit."""

import numpy as np
import pytest

from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.forecasters.base import Setting
from hews_gpu.forecasters.catalog import Outcomes, make_catalog, outcomes
from hews_gpu.forecasters.climatology import BaseRate, HourOfWeekMonth, fit_climatology
from hews_gpu.forecasters.level import Recent
from hews_gpu.forecasters.registry import FORECASTERS
from tests.invented_city import BEGIN_S, DAY_S, GROUND, columns


def parts(catalog, task, days=200):
    """Outcomes of the first two thirds, and the windows of the rest."""
    every = outcomes(catalog, issue_windows(BEGIN_S, BEGIN_S + days * DAY_S, task))
    cut = len(every) * 2 // 3
    train = Outcomes(windows=every.windows.select(np.arange(cut)), y=every.y[:cut])
    return train, every.windows.select(np.arange(cut + 30, len(every)))


def test_base_rate_and_climatology_are_what_they_say(city):
    train, asked = parts(city, Task())
    plain = BaseRate()
    plain.fit(city, train, train)
    assert np.unique(plain.predict(city, asked)) == pytest.approx([(train.y.sum() + 0.5) / (len(train) + 1)])
    clock = HourOfWeekMonth()
    clock.fit(city, train, train)
    begin_s, y = np.tile(train.windows.begin_s, 2), np.tile(train.y, 2)  # those to calibrate on, too
    expected = fit_climatology(begin_s, y).probability(asked.begin_s)
    np.testing.assert_array_equal(clock.predict(city, asked), expected)


@pytest.mark.parametrize("delay_s", [0, 10 * DAY_S])
def test_the_ratio_is_that_of_counts_to_what_was_expected(delay_s):
    city = make_catalog(**columns(), delay_s=delay_s)
    train, asked = parts(city, Task(delay_s=delay_s))
    climatology = fit_climatology(train.windows.begin_s, train.y)
    recent = Recent.fitted(city, train)
    found = recent.ratios(city, asked)
    first = city.is_target & city.is_first
    t = int(asked.issue_s[50]) - delay_s
    hits = (first & (city.time_s < t) & (city.time_s >= t - 28 * DAY_S)).sum()
    grid_s = np.arange(t - 28 * DAY_S, t, 7200)
    hazard = -np.log1p(-climatology.probability(grid_s)).sum() * recent.events_per_hazard
    assert found[50, 0] == pytest.approx(np.log((hits + 20) / (hazard + 20)), rel=1e-9)
    in_train = first & (city.time_s >= train.windows.begin_s[0]) & (city.time_s < train.windows.end_s[-1])
    expected = recent.events_per_hazard * -np.log1p(-climatology.probability(train.windows.begin_s)).sum()
    assert expected == pytest.approx(in_train.sum())


@pytest.mark.parametrize("delay_s", [0, 86_400])
@pytest.mark.parametrize("name", [name for name, entry in FORECASTERS.items() if not entry.is_network])
def test_what_is_known_later_changes_no_bit(name, delay_s):
    task = Task(delay_s=delay_s, lead_s=7200)
    rows = columns()
    catalog = make_catalog(**rows, delay_s=delay_s)
    train, asked = parts(catalog, task)
    cut_s = int(asked.issue_s[len(asked) // 2])
    late = rows["time_s"] + delay_s >= cut_s
    rng = np.random.default_rng(1)
    changed = {
        **rows,
        "time_s": np.where(late, cut_s + rng.integers(0, 10**7, size=len(late)), rows["time_s"]),
        "category": np.where(late, 2, rows["category"]),
        "is_target": rows["is_target"] | late,
        "area": np.where(late, 0, rows["area"]),
    }
    found = []
    for one in (rows, changed):
        catalog = make_catalog(**one, delay_s=delay_s)
        forecaster = FORECASTERS[name].make(Setting(city=GROUND))
        forecaster.fit(catalog.until(int(train.windows.issue_s[-1])), train, train)
        p = forecaster.predict(catalog, asked)
        assert p.shape == (len(asked),) and ((p > 0) & (p < 1)).all()
        found.append(p[asked.issue_s <= cut_s])
    np.testing.assert_array_equal(*found)
    if name in ("hawkes", "boosting"):  # it does look at what is known
        assert np.ptp(found[0]) > 0.02
