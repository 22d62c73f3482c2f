"""Rates: what a climatology can say exactly, and how much happens on average."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from hews_gpu.forecasters.climatology import hour_of_week, month_of_year
from hews_gpu.synthetic.law import LogOddsRhythm, Rhythm, Wave

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))
HOURS = 24 * 1461


def additive_residual(rate_per_h, step_h, shift_h=0):
    """Largest part of the windows' log-odds that no sum of hour-of-week and month effects explains."""
    windows = rate_per_h[shift_h:][: len(rate_per_h[shift_h:]) // step_h * step_h].reshape(-1, step_h).sum(axis=1)
    begin_s = BEGIN_S + 3600 * (shift_h + step_h * np.arange(len(windows)))
    log_odds = logit(-np.expm1(-windows))
    design = np.hstack([np.eye(168)[hour_of_week(begin_s)], np.eye(12)[month_of_year(begin_s)]])
    return np.abs(log_odds - design @ np.linalg.lstsq(design, log_odds, rcond=None)[0]).max()


def test_windows_of_two_hours_have_additive_log_odds():
    rate = LogOddsRhythm(p=0.17, swing=1.2, weekend=0.6, season=0.4).hourly(BEGIN_S, HOURS)
    assert additive_residual(rate[: 24 * 400], 2) < 1e-9
    assert additive_residual(np.exp(np.log(rate) * 1.2)[: 24 * 400], 2) > 1e-3  # a rate that only multiplies is not
    assert -np.expm1(-rate.reshape(-1, 2).sum(axis=1)).mean() == pytest.approx(0.17, abs=0.001)


def test_the_rate_is_highest_at_its_peak():
    rate = LogOddsRhythm(p=0.1, peak_hour=23.0, weekend=0.0, season=0.0).hourly(BEGIN_S, 24)
    assert rate.argmax() in (22, 23)
    assert rate[22] == rate[23] > 3 * rate[10]


def test_a_wave_comes_back():
    wave = Wave(swing=0.3, period_y=2.0).hourly(2 * 8766 + 1)
    assert wave[-1] == pytest.approx(wave[0]) == pytest.approx(1.0)
    assert np.log(wave.max()) == pytest.approx(0.3, abs=1e-6)


def test_a_rhythm_has_mean_one_over_whole_weeks_of_every_month():
    rate = Rhythm(peak_hour=20, swing=1.0, weekend=0.5, peak_month=7, season=0.3).hourly(BEGIN_S, 28 * 365 * 24 + 168)
    months = (BEGIN_S // 3600 + np.arange(len(rate))).astype("datetime64[h]").astype("datetime64[M]").astype(int) % 12
    assert np.mean([rate[months == m].mean() for m in range(12)]) == pytest.approx(1, abs=2e-3)


def test_a_rhythm_peaks_when_it_says():
    rhythm = Rhythm(peak_hour=22, swing=1.0, weekend=0.7, peak_month=8, season=0.2)
    year = rhythm.hourly(BEGIN_S, 365 * 24)
    best = np.datetime64("2021-01-01", "h") + int(np.argmax(year))
    assert best.astype(object).hour == 22
    assert best.astype(object).month == 8
    assert best.astype(object).weekday() in (4, 5, 6)
    day = np.log(rhythm.hourly(BEGIN_S, 24))
    assert day.max() - day[10] == pytest.approx(2 * 1.0 + 0.7)  # 22:00 is weekend on a Friday, 10:00 not yet
