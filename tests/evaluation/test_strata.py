"""Discrimination within strata by counting pairs, and AUC intervals against refitted draws."""

import numpy as np
import pytest

from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.evaluation.strata import auc_gain_within, aucs_drawn, average_precision_within, roc_auc_within


def rows_of(blocks, draw):
    """Return the windows of one drawn series."""
    return np.concatenate([np.arange(s, s + blocks.size) for s in blocks.starts[draw]])[: blocks.length]


def drawn(n=600, seed=0):
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, 5, n)
    p = np.round(0.1 * stratum + 0.3 * rng.random(n), 2)
    return rng.random(n) < p, p, stratum


def test_only_pairs_of_one_stratum_count():
    y, p, stratum = drawn()
    won = pairs = 0.0
    for i in np.flatnonzero(y):
        others = p[~y & (stratum == stratum[i])]
        won += (others < p[i]).sum() + 0.5 * (others == p[i]).sum()
        pairs += len(others)
    assert roc_auc_within(y, p, stratum) == pytest.approx(won / pairs, abs=1e-12)


def test_the_clock_alone_is_worth_nothing_within_its_hours():
    y, _, stratum = drawn()
    assert roc_auc(y, stratum) > 0.6
    assert roc_auc_within(y, stratum.astype(float), stratum) == 0.5


def test_average_precision_within_by_hand():
    y = np.array([1, 0, 0, 1], dtype=bool)
    assert average_precision_within(y, [0.9, 0.1, 0.8, 0.2], [0, 0, 1, 1]) == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(roc_auc_within(y, [1, 1, 1, 1], [0, 1, 2, 3]))


def test_the_interval_is_that_of_the_drawn_series():
    y, p, _ = drawn()
    blocks = Blocks.drawn(len(y), 30, draws=60, seed=4)
    series = [rows_of(blocks, draw) for draw in range(60)]
    expected = interval([roc_auc(y[rows], p[rows]) for rows in series])
    assert interval(aucs_drawn(y, p, blocks)) == pytest.approx(expected, abs=1e-12)


def test_what_windows_account_for_is_what_a_bootstrap_finds():
    """A year of four windows a day; the differences of drawn series, scored anew, scatter as the shares say."""
    rng = np.random.default_rng(0)
    n = 4 * 365
    stratum, risk = np.arange(n) % 28, rng.random(n) * 0.4
    y = rng.random(n) < risk + 0.1
    p, other = risk + rng.normal(0, 0.2, n), np.round(risk + rng.normal(0, 0.4, n), 1)
    gain, share = auc_gain_within(y, p, other, stratum)
    assert gain == pytest.approx(roc_auc_within(y, p, stratum) - roc_auc_within(y, other, stratum), abs=1e-12)
    assert share.sum() == pytest.approx(0, abs=1e-12)
    blocks = Blocks.drawn(n, 28, draws=60)
    anew = []
    for draw in range(60):
        again = rows_of(blocks, draw)
        scored = [roc_auc_within(y[again], each[again], stratum[again]) for each in (p, other)]
        anew.append(scored[0] - scored[1])
    first_order = gain + blocks.sums(share)
    assert np.std(first_order) == pytest.approx(np.std(anew), rel=0.1)
    assert np.corrcoef(first_order, anew)[0, 1] > 0.97


def test_nothing_is_gained_without_pairs_or_over_oneself():
    y = np.array([True, False, True, False])
    gain, share = auc_gain_within(y, np.arange(4.0), np.arange(4.0), [0, 0, 1, 1])
    assert gain == 0 and (share == 0).all()
    assert np.isnan(auc_gain_within(y, np.arange(4.0), np.zeros(4), [0, 1, 2, 3])[0])
