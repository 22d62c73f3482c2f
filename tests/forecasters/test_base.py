"""The plain baselines; and of all: nothing that is known only after an issue time moves a forecast by a bit."""

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.data.windows import Task, Windows, issue_windows
from hews_gpu.forecasters.base import Setting
from hews_gpu.forecasters.catalog import Outcomes, make_catalog, outcomes
from hews_gpu.forecasters.climatology import BaseRate, HourOfWeekMonth, fit_climatology
from hews_gpu.forecasters.level import Level, Recent
from hews_gpu.forecasters.registry import FORECASTERS
from tests.invented_city import BEGIN_S, DAY_S, columns


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
    expected = fit_climatology(train.windows.begin_s, train.y).probability(asked.begin_s)
    np.testing.assert_array_equal(clock.predict(city, asked), expected)


def rising(seed=0, days=1500):
    """Targets whose log-odds rise by 1.5 over the time."""
    rng = np.random.default_rng(seed)
    begin_s = BEGIN_S + np.arange(days * 12, dtype=np.int64) * 7200
    truth = expit(-2.5 + 1.5 * np.arange(days * 12) / (days * 12))
    y = rng.random(len(begin_s)) < truth
    time_s = begin_s[y] + rng.integers(0, 120, size=y.sum()) * 60
    n = len(time_s)
    rows = {"category": np.zeros(n, int), "area": np.zeros(n, int), "xy_m": np.zeros((n, 2))}
    catalog = make_catalog(time_s=time_s, **rows, is_target=np.ones(n, bool), categories=("SHOOTING",), areas=1)
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    return catalog, Outcomes(windows=windows, y=y), truth


def test_the_level_follows_a_trend_that_the_climatology_cannot():
    catalog, every, truth = rising()
    cut = len(every) * 3 // 4
    train = Outcomes(windows=every.windows.select(np.arange(cut)), y=every.y[:cut])
    asked = every.windows.select(np.arange(cut, len(every)))
    errors = []
    for forecaster in (HourOfWeekMonth(), Level()):
        forecaster.fit(catalog.until(int(asked.issue_s[0])), train, train)
        errors.append(np.abs(forecaster.predict(catalog, asked).mean() - truth[cut:].mean()))
    assert errors[1] < 0.5 * errors[0]


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
        forecaster = FORECASTERS[name].make(Setting(city=None))
        forecaster.fit(catalog.until(int(train.windows.issue_s[-1])), train, train)
        p = forecaster.predict(catalog, asked)
        assert p.shape == (len(asked),) and ((p > 0) & (p < 1)).all()
        found.append(p[asked.issue_s <= cut_s])
    np.testing.assert_array_equal(*found)
    if name in ("hawkes", "boosting"):  # it does look at what is known
        assert np.ptp(found[0]) > 0.02
