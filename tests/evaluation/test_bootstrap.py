"""Drawn series against a plain loop over whole series, and against the bootstrap of one mean."""

import numpy as np
import pytest

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.metrics import block_bootstrap_interval


@pytest.mark.parametrize(("length", "block"), [(100, 10), (103, 10), (9, 1)])
def test_sums_equal_a_plain_loop(length, block):
    values = np.random.default_rng(1).normal(size=(length, 3))
    blocks = Blocks.drawn(length, block, draws=50, seed=5)
    series = [np.concatenate([np.arange(s, s + blocks.size) for s in row])[:length] for row in blocks.starts]
    np.testing.assert_allclose(blocks.sums(values), [values[rows].sum(axis=0) for rows in series], atol=1e-10)
    np.testing.assert_allclose(blocks.means(values[:, 0]), [values[rows, 0].mean() for rows in series], atol=1e-12)
    for draw in range(5):
        expected = np.bincount(series[draw], minlength=length)
        np.testing.assert_array_equal(blocks.multiplicities(draw), expected)


def test_it_draws_as_the_bootstrap_of_one_mean_does():
    values = np.random.default_rng(2).normal(size=777)
    found = interval(Blocks.drawn(777, 84, seed=3).means(values))
    assert found == pytest.approx(block_bootstrap_interval(values, block=84, seed=3), abs=1e-12)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="block"):
        Blocks.drawn(0, 5)
