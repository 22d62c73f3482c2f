"""Few counts: the right ones, with the right sign and size, and none where there is nothing."""

import numpy as np
import pytest
from scipy.special import expit

from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.forecasters.catalog import outcomes
from hews_gpu.forecasters.counts import LEAST_GAIN, PRECISION, Counts, _picked
from hews_gpu.forecasters.level import Level
from hews_gpu.forecasters.logistic import fit_with_offset
from tests.forecasters.test_level import PER_DAY, fitted
from tests.forecasters.test_level import drawn as drawn_targets
from tests.invented_city import BEGIN_S, DAY_S


def drawn(seed, weights, rows=6000):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 300))
    offset = rng.normal(-1.5, 0.5, rows)
    return x, rng.random(rows) < expit(offset + x[:, : len(weights)] @ np.array(weights)), offset


def test_it_finds_what_raises_and_what_lowers_the_risk():
    kept, weights = _picked(*drawn(0, [0.5, 0.0, -0.4]))
    assert set(kept[:2]) == {0, 2} and len(kept) <= 3
    at = dict(zip(kept.tolist(), weights[1:], strict=True))
    assert at[0] == pytest.approx(0.5, abs=0.1) and at[2] == pytest.approx(-0.4, abs=0.1)
    assert weights[0] == pytest.approx(0, abs=0.1)


def test_of_noise_it_takes_nothing():
    taken = [len(_picked(*drawn(seed, []))[0]) for seed in range(20)]
    assert sum(taken) <= 8 and taken.count(0) >= 14
    assert np.array_equal(_picked(*drawn(0, []))[1], np.zeros(1)) or taken[0]


def test_the_gain_it_asks_for_is_counted_in_nats():
    x, y, offset = drawn(3, [0.12])
    kept, _ = _picked(x[:, :1], y, offset)
    said = offset + np.hstack([np.ones((len(x), 1)), x[:, :1]]) @ np.array([0.0, 0.12])
    gain = (np.logaddexp(0, np.where(y, -offset, offset)) - np.logaddexp(0, np.where(y, -said, said))).sum()
    assert (len(kept) == 1) == (gain > LEAST_GAIN) and gain > LEAST_GAIN


def test_robberies_that_set_targets_off_are_found_and_followed(city):
    every = outcomes(city, issue_windows(BEGIN_S, BEGIN_S + 200 * DAY_S, Task()))
    counts, level = fitted(Counts(Level()), city, every), fitted(Level(), city, every)
    assert len(counts.fitted.kept)
    said, base = counts.predict(city, every.windows), level.predict(city, every.windows)
    robberies = city.time_s[city.stream == city.streams.index("ROBBERY")]
    recent = np.searchsorted(robberies, every.windows.issue_s) - np.searchsorted(
        robberies, every.windows.issue_s - 6 * 3600
    )
    assert np.corrcoef(said - base, recent)[0, 1] > 0.5
    x = counts.fitted.columns.of(city, every.windows)[:, counts.fitted.kept].astype(np.float64)
    fresh = fit_with_offset(
        np.hstack([np.ones((len(x), 1)), (x - x.mean(axis=0)) / x.std(axis=0)]),
        every.y,
        level.log_odds(city, every.windows),
        PRECISION,
    )
    np.testing.assert_allclose(counts.fitted.weights, fresh, atol=1e-6)
    assert said.mean() == pytest.approx(every.y.mean(), abs=0.005)


def test_with_nothing_to_find_it_is_its_base_to_the_bit():
    catalog, every = drawn_targets(np.full(500 * PER_DAY, -1.5))
    counts, level = fitted(Counts(Level()), catalog, every), fitted(Level(), catalog, every)
    assert not len(counts.fitted.kept)
    np.testing.assert_array_equal(counts.log_odds(catalog, every.windows), level.log_odds(catalog, every.windows))
