"""The level follows what happens of late, as fast as that has paid, and not what nobody can know yet."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import Outcomes, make_catalog
from hews_gpu.forecasters.climatology import HourOfWeekMonth
from hews_gpu.forecasters.level import FILLS, HALF_LIVES_S, PLACE_HALF_LIVES_S, Level, Recent, _faded, _posterior
from hews_gpu.forecasters.logistic import log_loss_each_bits
from tests.invented_city import BEGIN_S, DAY_S

PER_DAY = 12


def drawn(log_odds, seed=0, delay_s=0, areas=1, area=None):
    """Targets at random moments of windows with such log-odds."""
    rng = np.random.default_rng(seed)
    begin_s = BEGIN_S + np.arange(len(log_odds), dtype=np.int64) * 7200
    y = rng.random(len(begin_s)) < expit(log_odds)
    time_s = begin_s[y] + rng.integers(0, 120, size=y.sum()) * 60
    n = len(time_s)
    place = np.zeros(n, int) if area is None else area(time_s, rng)
    rows = {"category": np.zeros(n, int), "area": place, "xy_m": np.zeros((n, 2))}
    catalog = make_catalog(
        time_s=time_s, **rows, is_target=np.ones(n, bool), categories=("SHOOTING",), areas=areas, delay_s=delay_s
    )
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    return catalog, Outcomes(windows=windows, y=y)


def cut_at(every, share):
    """The first windows, and those that follow."""
    cut = round(len(every) * share)
    return tuple(
        Outcomes(windows=every.windows.select(index), y=every.y[index])
        for index in np.split(np.arange(len(every)), [cut])
    )


def fitted(forecaster, catalog, train):
    nothing = Outcomes(windows=train.windows.select(np.arange(0)), y=train.y[:0])
    forecaster.fit(catalog.until(int(train.windows.end_s[-1])), train, nothing)
    return forecaster


def test_it_follows_a_trend_that_the_climatology_cannot():
    log_odds = np.linspace(-2.5, -1.0, 1500 * PER_DAY)
    catalog, every = drawn(log_odds)
    train, asked = cut_at(every, 0.75)
    truth = expit(log_odds[len(train) :]).mean()
    clock, level = (
        abs(fitted(one, catalog, train).predict(catalog, asked.windows).mean() - truth)
        for one in (HourOfWeekMonth(), Level())
    )
    assert level < 0.5 * clock


def weights(level, catalog, windows):
    grid = level._grid(windows)
    likely = level._log_likelihoods(catalog, grid, 0, level._ratios(catalog, grid, grid))
    return _posterior(likely, level._lag, np.array([len(grid)]))[0]


def test_it_believes_short_half_lives_only_where_the_level_moves():
    calm, every = drawn(np.full(2000 * PER_DAY, -2.0))
    level = fitted(Level(), calm, cut_at(every, 0.5)[0])
    assert weights(level, calm, every.windows)[-3:].sum() > 0.6
    weeks = np.arange(2000 * PER_DAY) // (60 * PER_DAY)
    moving, every = drawn(-2.0 + np.where(weeks % 2, 0.8, -0.8))
    level = fitted(Level(), moving, cut_at(every, 0.5)[0])
    assert weights(level, moving, every.windows)[:2].sum() > 0.99


def test_a_level_that_never_moved_costs_almost_nothing():
    catalog, every = drawn(np.full(1500 * PER_DAY, -2.0), seed=3)
    train, asked = cut_at(every, 0.6)
    p = fitted(Level(), catalog, train).predict(catalog, asked.windows)
    lost = log_loss_each_bits(asked.y, p) - log_loss_each_bits(asked.y, np.full(len(asked), expit(-2.0)))
    assert lost.mean() < 0.0008


@pytest.mark.parametrize("delay_s", [0, 10 * DAY_S])
def test_the_ratio_is_that_of_faded_counts_to_what_was_expected(delay_s):
    catalog, every = drawn(np.full(300 * PER_DAY, -1.5), delay_s=delay_s)
    level = fitted(Level(), catalog, cut_at(every, 0.6)[0])
    grid, at = level._grid(every.windows), 3000
    ratio = level._ratios(catalog, grid, grid)[at]
    now_s = int(grid[at])
    known = catalog.time_s[catalog.is_event & (catalog.known_s < now_s) & (catalog.time_s + delay_s <= now_s)]
    hazard = -np.log1p(-level.fitted.climatology.probability(grid)) * level.fitted.events_per_hazard
    lag = delay_s // 7200
    for h, half_life_s in enumerate(HALF_LIVES_S):
        counted_s = np.ceil((known + delay_s + (delay_s == 0) - BEGIN_S) / 7200) * 7200 + BEGIN_S  # from which step on
        hits = (0.5 ** ((now_s - counted_s) / half_life_s)).sum()
        usual = (hazard[: at - lag] * 0.5 ** ((at - lag - 1 - np.arange(at - lag)) * 7200 / half_life_s)).sum()
        assert ratio[h] == pytest.approx(np.log((hits + 20) / (usual + 20)), abs=2e-3)


def test_a_report_that_comes_late_is_in_no_weight_before_it_came():
    catalog, every = drawn(np.full(400 * PER_DAY, -1.5))
    train, asked = cut_at(every, 0.6)
    late_s = int(asked.windows.issue_s[500])
    fields = {
        "time_s": catalog.time_s, "category": np.zeros(len(catalog), int), "area": catalog.area, "xy_m": catalog.xy_m,
        "is_target": catalog.is_target, "categories": ("SHOOTING",), "areas": 1,
    }  # fmt: skip
    withheld = (catalog.time_s > late_s - 90 * DAY_S) & (catalog.time_s < late_s)
    reported = make_catalog(**fields, known_s=np.where(withheld, late_s, catalog.known_s))
    never = catalog.take(~withheld)
    level = fitted(Level(), catalog, train)
    p, q = (level.predict(one, asked.windows) for one in (reported, never))
    before = asked.windows.issue_s <= late_s
    np.testing.assert_array_equal(p[before], q[before])
    assert (p[~before] > q[~before]).all()


def test_shares_are_the_mean_of_counts_under_each_half_life():
    def area(time_s, rng):
        return np.where(rng.random(len(time_s)) < 0.7, 0, rng.integers(0, 3, len(time_s)))

    catalog, every = drawn(np.full(700 * PER_DAY, -1.5), areas=3, area=area)
    level = fitted(Level(area_km2=np.array([1.0, 1.0, 4.0])), catalog, cut_at(every, 0.6)[0])
    issue_s = every.windows.issue_s[[4000, 8000]]
    shares = level.shares(catalog, issue_s)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[:, 0].min() > 0.7
    likely, each = [], []
    for half_life_s in PLACE_HALF_LIVES_S:
        for fill in FILLS:
            logs = []
            for t in [*catalog.time_s.tolist(), int(issue_s[1])]:
                known = catalog.known_s < t
                faded = 0.5 ** ((t - catalog.time_s[known]) / half_life_s)
                counts = np.bincount(catalog.area[known], weights=faded, minlength=3) + fill * np.array([0.5, 0.5, 2.0])
                logs.append(np.log(counts / counts.sum()))
            known = catalog.known_s < issue_s[1]
            likely.append(np.array(logs)[:-1][known, catalog.area[known]].sum())
            each.append(np.exp(logs[-1]))
    weight = np.exp(np.array(likely) - max(likely))
    np.testing.assert_allclose(shares[1], weight / weight.sum() @ np.array(each), rtol=1e-9)


@pytest.mark.parametrize("keep", [0.9, 0.99, 1.0])
def test_steps_fade_as_in_a_plain_loop_and_know_nothing_later(keep):
    values, total, expected = np.random.default_rng(0).poisson(0.3, 4000).astype(float), 0.0, []
    for value in values.tolist():
        total = total * keep + value
        expected.append(total)
    sums = _faded(values, keep)
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-12)
    for until in (1, 303, 3999):
        np.testing.assert_array_equal(_faded(values[:until], keep), sums[:until])


def test_what_was_worked_out_before_is_told_of_the_same_rows_and_windows_alone():
    catalog, every = drawn(np.full(300 * PER_DAY, -1.5), areas=2, area=lambda t, rng: rng.integers(0, 2, len(t)))
    level = fitted(Level(), catalog, cut_at(every, 0.6)[0])
    one, other = (every.windows.select(np.array([at])) for at in (3000, 3007))
    of_the_past = np.flatnonzero(catalog.known_s < one.issue_s[0])
    gone = np.delete(np.arange(len(catalog)), of_the_past[-1])
    area = catalog.area.copy()
    area[of_the_past[-3]] ^= 1
    is_first = catalog.is_first.copy()
    is_first[of_the_past[-2]] = False
    later = replace(one, begin_s=one.begin_s + 6 * 3600, end_s=one.end_s + 6 * 3600)
    first = level.predict_both(catalog, one)
    of_others = (catalog.take(gone), replace(catalog, area=area), replace(catalog, is_first=is_first))
    for seen, windows in (*((each, one) for each in of_others), (catalog, other), (catalog, later)):
        level.predict_both(catalog, one)
        told, fresh = level.predict_both(seen, windows), Level()
        fresh.fitted = replace(level.fitted)
        for mine, theirs in zip(told, fresh.predict_both(seen, windows), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert not np.array_equal(told[1], first[1])


def test_neighborhoods_and_city_agree():
    catalog, every = drawn(np.full(300 * PER_DAY, -1.5), areas=2, area=lambda t, rng: rng.integers(0, 2, len(t)))
    train, asked = cut_at(every, 0.6)
    level = fitted(Level(), catalog, train)
    areas = level.predict_areas(catalog, asked.windows)
    np.testing.assert_allclose(1 - (1 - areas).prod(axis=1), level.predict(catalog, asked.windows), rtol=1e-12)


def test_reports_that_take_longer_than_the_table_leave_all_half_lives_alike():
    weight = _posterior(np.log(np.random.default_rng(0).random((5, 3))), 9, np.arange(6))
    np.testing.assert_allclose(weight, 1 / 3)


@pytest.mark.parametrize("wait", [0, 2])
def test_what_happened_counts_once_it_is_known_and_no_sooner(wait):
    likely = np.log(np.random.default_rng(0).random((30, 3)))
    other = likely.copy()
    other[12] = np.log([0.9, 0.05, 0.05])
    one, two = (_posterior(each, wait, np.arange(31)) for each in (likely, other))
    np.testing.assert_array_equal(one[: 13 + wait], two[: 13 + wait])
    assert (np.abs(one[13 + wait :] - two[13 + wait :]).max(axis=1) > 1e-6).all()


@pytest.mark.parametrize("early_s", [-7201, -1, 0, 1, 7200, 30_000])
def test_the_recent_level_expects_events_in_the_first_step_that_has_rows(early_s):
    """Rows begin before the training windows do, or after them: neither is a row counted that nobody expected."""
    catalog, every = drawn(np.full(60 * PER_DAY, -1.0))
    first_s = int(every.windows.begin_s[0]) - early_s
    kept = catalog.take(catalog.time_s >= first_s)
    kept = replace(kept, time_s=np.r_[first_s, kept.time_s[1:]], known_s=np.r_[first_s, kept.known_s[1:]])
    recent = Recent.fitted(kept, every)
    assert recent.begin_s <= first_s < recent.begin_s + recent.step_s
    assert (recent.begin_s - every.windows.begin_s[0]) % recent.step_s == 0
