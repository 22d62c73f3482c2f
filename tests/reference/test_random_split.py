"""The reference's random split: every window once, the same share of either class, the same for a seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.reference.random_split import random_split

classes = st.lists(st.booleans(), min_size=1, max_size=300).map(lambda found: np.array(found, dtype=bool))
parts = st.sampled_from([(1.0,), (0.5, 0.5), (0.7, 0.15, 0.15), (0.1, 0.2, 0.3, 0.4)])


@settings(deadline=None, max_examples=60)
@given(classes, parts, st.integers(0, 2**63 - 1))
def test_parts_hold_every_window_once_and_their_share_of_either_class(y, shares, seed):
    found = random_split(y, shares, seed)
    assert sorted(np.concatenate(found)) == list(range(len(y)))
    for ids, share in zip(found, shares, strict=True):
        assert ids.dtype == np.int64 and (np.diff(ids) > 0).all()
        for value in (False, True):
            assert abs((y[ids] == value).sum() - share * (y == value).sum()) <= 1.0 + 1e-9
    for ids, again in zip(found, random_split(y, shares, seed), strict=True):
        np.testing.assert_array_equal(ids, again)


def test_seeds_differ_and_windows_are_mixed():
    y = np.arange(1000) % 3 == 0
    first, other = random_split(y, (0.5, 0.5), 1)[0], random_split(y, (0.5, 0.5), 2)[0]
    assert 0.35 < len(np.intersect1d(first, other)) / len(first) < 0.65
    assert abs(first.mean() - 499.5) < 60  # 5 sigma of the mean of 500 of 1,000


def test_the_split_never_changes_between_versions():
    """Golden: argsort of Philox's raw words, seeded by SeedSequence(seed, spawn_key=(class, 3))."""
    y = np.array([False, True] * 5)
    expected = []
    for value in (0, 1):
        bits = np.random.Philox(np.random.SeedSequence(7, spawn_key=(value, 3)))
        words = [int(bits.random_raw()) for _ in range(5)]
        expected += [2 * k + value for k in sorted(range(5), key=words.__getitem__)[:2]]
    assert list(random_split(y, (0.4, 0.6), 7)[0]) == sorted(expected)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (1.0, 0.0), ()])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="add up to 1"):
        random_split(np.array([True, False]), shares, 0)
