"""The climatology recovers a rhythm that is known, is calibrated, and does not follow noise."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.climatology import base_rate, fit_climatology, hour_of_week, month_of_year
from hews_gpu.forecasters.logistic import log_loss_each_bits

HOUR_S = 3600
BEGIN_S = 1_388_534_400  # 2014-01-01T00:00, a Wednesday


def rhythm(begin_s):
    """True log-odds: peaks at midnight, higher on weekends and in summer."""
    hour, month = hour_of_week(begin_s), month_of_year(begin_s)
    weekend = 0.4 * (hour >= 120)
    return -2.0 + 1.0 * np.cos(2 * np.pi * hour / 24) + weekend - 0.3 * np.cos(2 * np.pi * month / 12)


def drawn(years, seed, begin_s=BEGIN_S):
    t = begin_s + np.arange(int(years * 365 * 12), dtype=np.int64) * 2 * HOUR_S
    return t, np.random.default_rng(seed).random(len(t)) < expit(rhythm(t))


@given(st.integers(-(10**9), 4 * 10**9))
def test_hour_of_week_and_month_are_the_calendars(time_s):
    when = datetime(1970, 1, 1) + timedelta(seconds=time_s)
    assert hour_of_week(np.array([time_s]))[0] == when.weekday() * 24 + when.hour
    assert month_of_year(np.array([time_s]))[0] == when.month - 1


def test_it_recovers_a_known_rhythm():
    t, y = drawn(3, seed=1)
    fit = fit_climatology(t, y)
    future, happened = drawn(2, seed=2, begin_s=int(t[-1]) + 2 * HOUR_S)
    truth, p = expit(rhythm(future)), fit.probability(future)
    assert np.abs(fit.logit(future) - rhythm(future)).mean() < 0.15
    assert roc_auc(happened, p) > roc_auc(happened, truth) - 0.01
    lost = log_loss_each_bits(happened, p).mean() - log_loss_each_bits(happened, truth).mean()
    assert lost < 0.005


def test_in_sample_mean_forecast_is_the_base_rate():
    t, y = drawn(1, seed=3)
    assert fit_climatology(t, y).probability(t).mean() == pytest.approx(y.mean(), abs=1e-6)


def test_noise_is_not_mistaken_for_a_rhythm():
    t = drawn(2, seed=0)[0]
    y = np.random.default_rng(4).random(len(t)) < 0.15
    p = fit_climatology(t, y).probability(t + 364 * 86_400)
    assert p.std() < 0.025


def test_order_of_windows_does_not_matter_and_repeats_are_identical():
    t, y = drawn(1, seed=5)
    shuffled = np.random.default_rng(0).permutation(len(t))
    once, again, other = fit_climatology(t, y), fit_climatology(t, y), fit_climatology(t[shuffled], y[shuffled])
    np.testing.assert_array_equal(once.logit(t), again.logit(t))
    np.testing.assert_array_equal(once.logit(t), other.logit(t))


def test_hours_and_months_never_seen_get_an_average():
    t, y = drawn(0.25, seed=6)
    fit = fit_climatology(t, y)
    assert np.isfinite(fit.logit(BEGIN_S + np.arange(9000, dtype=np.int64) * HOUR_S)).all()
    assert np.ptp(fit.table.mean(axis=0)) < 1


def test_base_rate_is_never_certain():
    assert base_rate(np.array([True, False, False])) == pytest.approx(1.5 / 4)
    assert 0 < base_rate(np.zeros(10, dtype=bool)) < 0.1


def test_one_class_is_refused():
    t, _ = drawn(0.1, seed=0)
    for y in (np.zeros(len(t), dtype=bool), np.ones(len(t), dtype=bool), np.zeros(0, dtype=bool)):
        with pytest.raises(ValueError, match="with and without"):
            fit_climatology(t[: len(y)], y)


def test_holidays_and_the_days_before_them_have_effects_of_their_own():
    begin_s = BEGIN_S + np.arange(6 * 365 * 12, dtype=np.int64) * 7200
    day = begin_s // 86_400
    days = {"new year": np.arange(6) * 365 + day[0] + 30, "parade": np.arange(6) * 365 + day[0] + 200}
    log_odds = -2 + 1.2 * np.isin(day, days["new year"]) - 0.8 * np.isin(day, days["parade"] - 1)
    y = np.random.default_rng(0).random(len(day)) < expit(log_odds)
    fit, plain = fit_climatology(begin_s, y, days), fit_climatology(begin_s, y)
    noon_s = np.array([days["new year"][0], days["parade"][0] - 1, days["parade"][0], day[0] + 100]) * 86_400 + 43_200
    added = fit.logit(noon_s) - plain.logit(noon_s)
    assert added[0] > 0.5 and added[1] < -0.1 and abs(added[2]) < 0.5 and abs(added[3]) < 0.02
    assert np.array_equal(fit_climatology(begin_s, y, {}).logit(begin_s), plain.logit(begin_s))


def test_a_weekly_rhythm_is_believed_as_far_as_it_is_seen():
    t = BEGIN_S + np.arange(2 * 365 * 12, dtype=np.int64) * 7200
    weekend = hour_of_week(t) >= 120
    y = np.random.default_rng(1).random(len(t)) < expit(-2.0 + 1.0 * weekend)
    fit = fit_climatology(t, y)
    assert fit.table[120:].mean() - fit.table[:120].mean() == pytest.approx(1.0, abs=0.25)
    noise = np.random.default_rng(2).random(len(t)) < 0.15
    assert np.ptp(fit_climatology(t, noise).table.mean(axis=1)) < 0.4


def test_a_day_that_changes_with_the_season_is_followed_and_one_that_does_not_is_kept():
    t = BEGIN_S + np.arange(6 * 365 * 12, dtype=np.int64) * 7200
    hour, month = hour_of_week(t) % 24, month_of_year(t)
    summer, late = -np.cos(2 * np.pi * month / 12), np.cos(2 * np.pi * (hour - 1) / 24)
    y = np.random.default_rng(3).random(len(t)) < expit(rhythm(t) + 0.5 * summer * late)
    changed, same = fit_climatology(t, y).table, fit_climatology(*drawn(6, seed=3)).table
    nights, noons = np.arange(168) % 24 < 3, abs(np.arange(168) % 24 - 13) < 2

    def more_in_summer(table):
        differs = table[:, 6] - table[:, 0]
        return differs[nights].mean() - differs[noons].mean()

    assert more_in_summer(changed) == pytest.approx(1.9, abs=0.4)
    assert abs(more_in_summer(same)) < 0.15
