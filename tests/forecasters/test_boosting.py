"""Boosting sees what recent incidents foretell, where the clock is blind; its choice of columns is the score test's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.data.windows import Windows
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.boosting import Boosting, strongest
from hews_gpu.forecasters.catalog import Measured, Outcomes, make_catalog
from hews_gpu.forecasters.logistic import fit_with_offset, logit


def test_the_strongest_columns_are_those_of_the_score_test():
    """The square of the statistic is twice the gain in log-likelihood, for weak effects."""
    rng = np.random.default_rng(0)
    x = 2 + rng.normal(size=(20_000, 3))
    p = expit(-1.5 + 0.5 * rng.normal(size=20_000))
    y = rng.random(20_000) < expit(logit(p) + 0.3 + x @ [0.0, 0.06, -0.1])
    found = strongest(x, y, p)
    for k in range(3):
        design = np.column_stack([np.ones(len(y)), x[:, k]])
        gains = []
        for part in (design, design[:, :1]):
            eta = logit(p) + part @ fit_with_offset(part, y, logit(p))
            gains.append(np.sum(y * eta - np.logaddexp(0, eta)))
        assert found[k] == pytest.approx(np.sqrt(2 * (gains[0] - gains[1])), rel=0.1, abs=0.05)


def test_it_finds_a_precursor_in_one_neighborhood():
    """A robbery in area 3 raises the risk for some hours; robberies elsewhere do not."""
    rng = np.random.default_rng(1)
    begin_s = np.arange(0, 5000 * 7200, 7200, dtype=np.int64)
    robbery_s = np.sort(rng.integers(0, begin_s[-1], size=5000))
    area = rng.integers(0, 6, size=5000)
    near = robbery_s[area == 3]
    hours = np.array([np.exp(-(t - near[(near < t) & (near > t - 80_000)]) / 14_400).sum() for t in begin_s])
    y = rng.random(len(begin_s)) < expit(-2.5 + 1.5 * hours)
    time_s = np.concatenate([robbery_s, begin_s[y] + 60])
    is_target = np.arange(len(time_s)) >= 5000
    catalog = make_catalog(
        time_s=time_s,
        category=is_target.astype(int),
        area=np.concatenate([area, np.zeros(y.sum(), int)]),
        xy_m=np.zeros((len(time_s), 2)),
        is_target=is_target,
        categories=("ROBBERY", "SHOOTING"),
        areas=6,
    )
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    train = Outcomes(windows=windows.select(np.arange(3500)), y=y[:3500])
    boosting = Boosting(seed=0)
    boosting.fit(catalog.until(3500 * 7200), train, train)
    p = boosting.predict(catalog, windows.select(np.arange(3520, 5000)))
    assert roc_auc(y[3520:], p) > roc_auc(y[3520:], hours[3520:]) - 0.05
    assert roc_auc(y[3520:], hours[3520:]) > 0.65
    again = Boosting(seed=0)
    again.fit(catalog.until(3500 * 7200), train, train)
    np.testing.assert_array_equal(again.predict(catalog, windows.select(np.arange(3520, 5000))), p)


def test_it_finds_what_a_number_of_the_city_foretells():
    """It is warm on some days, without a rhythm, and more happens then; the temperature is told an hour late."""
    rng = np.random.default_rng(3)
    begin_s = np.arange(0, 5000 * 7200, 7200, dtype=np.int64)
    hours_s = np.arange(0, 10_000 * 3600, 3600, dtype=np.int64)
    temp = 10 + 8 * np.repeat(rng.normal(size=417), 24)[: len(hours_s)]
    y = rng.random(len(begin_s)) < expit(-2.0 + 0.12 * (temp[::2] - 10))
    catalog = make_catalog(
        time_s=begin_s[y] + 60,
        category=np.zeros(y.sum(), int),
        area=np.zeros(y.sum(), int),
        xy_m=np.zeros((y.sum(), 2)),
        is_target=np.ones(y.sum(), bool),
        categories=("SHOOTING",),
        areas=1,
    )
    told = Measured(name="weather: temp", time_s=hours_s, known_s=hours_s + 3600, value=temp)
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    train, asked = Outcomes(windows=windows.select(np.arange(3500)), y=y[:3500]), windows.select(np.arange(3500, 5000))
    auc = []
    for one in (catalog, replace(catalog, measured=(told,))):
        boosting = Boosting(seed=0)
        boosting.fit(one.until(3500 * 7200), train, train)
        auc.append(roc_auc(y[3500:], boosting.predict(one, asked)))
    best = roc_auc(y[3500:], temp[::2][3500:])
    assert auc[0] < 0.55 < best - 0.05 < auc[1] and boosting.fitted.columns.measured == ("weather: temp",)


def near_pairs_in_the_city():
    """A theft and an assault near each other, wherever that is, raise the risk of the whole city for some hours."""
    rng = np.random.default_rng(2)
    begin_s = np.arange(0, 4000 * 7200, 7200, dtype=np.int64)
    theft_s, assault_s = np.sort(rng.integers(0, begin_s[-1], (2, 16_000)), axis=1)
    theft_m, assault_m = rng.uniform(0, 4000, (2, 16_000, 2))
    pair_s = []
    for place, s in zip(theft_m, theft_s, strict=True):
        first, last = np.searchsorted(assault_s, (s // 7200 * 7200, s // 7200 * 7200 + 7200))
        near = np.hypot(*(assault_m[first:last] - place).T) <= 290
        pair_s += [s // 7200 * 7200 + 7140] * int(near.sum())
    pair_s = np.array(pair_s)
    lately = np.array([np.exp(-(t - pair_s[(pair_s < t) & (pair_s > t - 80_000)]) / 14_400).sum() for t in begin_s])
    y = rng.random(len(begin_s)) < expit(-2.5 + 1.5 * lately)
    catalog = make_catalog(
        time_s=np.concatenate([theft_s, assault_s, begin_s[y] + 60]),
        category=np.repeat([0, 1, 2], [16_000, 16_000, y.sum()]),
        area=rng.integers(0, 6, 32_000 + y.sum()),
        xy_m=np.concatenate([theft_m, assault_m, rng.uniform(0, 4000, (y.sum(), 2))]),
        is_target=np.arange(32_000 + y.sum()) >= 32_000,
        categories=("THEFT", "ASSAULT", "SHOOTING"),
        areas=6,
    )
    return catalog, Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200), y, lately


def test_it_finds_near_pairs_that_raise_the_risk_of_the_whole_city():
    catalog, windows, y, lately = near_pairs_in_the_city()
    train = Outcomes(windows=windows.select(np.arange(3000)), y=y[:3000])
    boosting = Boosting(seed=0)
    boosting.fit(catalog.until(3000 * 7200), train, train)
    later = windows.select(np.arange(3020, 4000))
    p = boosting.predict(catalog, later)
    assert roc_auc(y[3020:], lately[3020:]) > 0.6
    assert roc_auc(y[3020:], p) > roc_auc(y[3020:], lately[3020:]) - 0.05
    known = catalog.until(int(later.issue_s[500]))
    np.testing.assert_array_equal(boosting.predict(known, later.select(np.arange(501))), p[:501])


def test_of_many_windows_the_last_and_some_quiet_ones_are_learned_from(monkeypatch):
    """What it says is then as likely as before: the quiet windows left out are put back into the log-odds."""
    catalog, windows, y, _ = near_pairs_in_the_city()
    train, later = Outcomes(windows=windows.select(np.arange(3000)), y=y[:3000]), windows.select(np.arange(3020, 4000))
    said = {}
    for most_events, most_quiet in ((10_000, 10_000), (200, 10_000), (10_000, 600)):
        monkeypatch.setattr("hews_gpu.forecasters.boosting.MOST_EVENTS", most_events)
        monkeypatch.setattr("hews_gpu.forecasters.boosting.MOST_QUIET", most_quiet)
        boosting = Boosting(seed=0)
        boosting.fit(catalog.until(3000 * 7200), train, train)
        said[most_events, most_quiet] = boosting.predict(catalog, later)
    whole, some, thin = said.values()
    assert (some.mean(), thin.mean()) == pytest.approx((whole.mean(),) * 2, rel=0.15)
    assert np.abs(logit(some) - logit(whole)).mean() > 0.05
    assert np.corrcoef(logit(thin), logit(whole))[0, 1] > 0.8 > np.abs(logit(thin) - logit(whole)).mean()
