"""Drawn series against a plain loop over whole series, and intervals of a mean against what is known of it."""

import numpy as np
import pytest

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.metrics import Z_95


@pytest.mark.parametrize(("length", "block"), [(100, 10), (103, 10), (9, 1)])
def test_sums_equal_a_plain_loop(length, block):
    values = np.random.default_rng(1).normal(size=(length, 3))
    blocks = Blocks.drawn(length, block, draws=50, seed=5)
    series = [np.concatenate([np.arange(s, s + blocks.size) for s in row])[:length] for row in blocks.starts]
    np.testing.assert_allclose(blocks.sums(values), [values[rows].sum(axis=0) for rows in series], atol=1e-10)
    np.testing.assert_allclose(blocks.means(values[:, 0]), [values[rows, 0].mean() for rows in series], atol=1e-12)


def of_the_mean(values, *, block, draws=2000, seed=0):
    return interval(Blocks.drawn(len(values), block, draws=draws, seed=seed).means(values))


def plain_bootstrap(values, block, draws, seed):
    """The same procedure as a loop over whole drawn series."""
    rng = np.random.default_rng(seed)
    n = len(values)
    blocks = -(-n // block)
    starts = rng.integers(0, n - block + 1, size=(draws, blocks))
    means = [np.concatenate([values[s : s + block] for s in row])[:n].mean() for row in starts]
    return np.quantile(means, [0.025, 0.975])


@pytest.mark.parametrize(("n", "block"), [(100, 10), (103, 10), (84, 21), (9, 1)])
def test_bootstrap_equals_a_plain_loop(n, block):
    values = np.random.default_rng(1).normal(size=n)
    found = of_the_mean(values, block=block, draws=300, seed=5)
    np.testing.assert_allclose(found, plain_bootstrap(values, block, 300, 5), rtol=0, atol=1e-12)


def test_bootstrap_of_independent_values_has_the_standard_error_of_the_mean():
    values = np.random.default_rng(2).normal(0.3, 2.0, size=8000)
    low, high = of_the_mean(values, block=1)
    error = values.std() / np.sqrt(len(values))
    assert (high - low) / (2 * Z_95 * error) == pytest.approx(1, abs=0.06)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.2 * error)


def test_blocks_see_the_dependence_that_single_windows_hide():
    """Each value lasts 20 windows: the mean's standard error is sqrt(20) times that of independent windows."""
    values = np.repeat(np.random.default_rng(3).normal(size=400), 20)
    low, high = of_the_mean(values, block=200)
    low_1, high_1 = of_the_mean(values, block=1)
    assert (high - low) / (high_1 - low_1) == pytest.approx(np.sqrt(20), rel=0.25)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(0.1, 1, size=400)
        low, high = of_the_mean(values, block=10, draws=400, seed=seed)
        inside += low <= 0.1 <= high
    assert 175 <= inside <= 198


def test_a_short_series_keeps_some_spread():
    low, high = of_the_mean([1.0, 0.0, 0.0, 0.0, 1.0], block=84)
    assert low < high


@pytest.mark.parametrize(
    ("length", "block", "size"), [(100, 10, 10), (100, 25, 25), (100, 26, 25), (3, 2, 1), (1, 1, 1)]
)
def test_a_block_is_a_quarter_of_the_series_at_most(length, block, size):
    blocks = Blocks.drawn(length, block, draws=200)
    assert blocks.size == size and blocks.starts.shape == (200, length // size)
    assert (blocks.starts.min(), blocks.starts.max()) == (0, length - size)


@pytest.mark.parametrize(("stride_s", "weeks", "size"), [(7200, 1, 84), (7200, 4, 336), (500_000, 1, 1), (10**7, 1, 1)])
def test_weeks_are_as_many_windows_as_begin_in_them(stride_s, weeks, size):
    blocks = Blocks.by_weeks(9000, stride_s, weeks=weeks, draws=3)
    assert blocks.size == size
    np.testing.assert_array_equal(blocks.starts, Blocks.drawn(9000, size, draws=3, seed=0).starts)
    assert Blocks.by_weeks(9000, stride_s, draws=3).size == size // weeks
    assert len(Blocks.by_weeks(9, stride_s).starts) == 2000


@pytest.mark.parametrize(("length", "block"), [(0, 5), (5, 0), (-1, 1)])
def test_too_little_is_refused(length, block):
    with pytest.raises(ValueError, match="block"):
        Blocks.drawn(length, block)
