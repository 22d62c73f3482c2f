"""Sums that fade, against a plain loop; with short decays, so that many stretches after which all fades are crossed."""

import numpy as np
import pytest

from hews_gpu.forecasters.sums import FAR, faded_sums, own_faded_sums, product

K = 4


@pytest.fixture(params=[50.0, 3_000.0, np.inf], ids=["many-stretches", "few", "none"])
def case(request):
    rng = np.random.default_rng(7)
    known_s = np.sort(rng.integers(1_600_000_000, 1_600_000_000 + 100_000, size=400))
    time_s = known_s - rng.integers(0, 60, size=400)
    when_s = np.sort(np.append(rng.integers(known_s[0] - 100, known_s[-1] + 1000, size=60), known_s[::40]))
    assert request.param == np.inf or len(np.unique(known_s // (FAR * request.param))) > 1
    return when_s, known_s, time_s, rng.integers(0, K, size=400), request.param


def plain(when_s, known_s, time_s, column, decay_s):
    sums = np.zeros((len(when_s), K))
    for s, when in enumerate(when_s):
        for row in np.flatnonzero(known_s < when):
            sums[s, column[row]] += np.exp((time_s[row] - when) / decay_s)
    return sums


def test_sums_are_those_of_a_plain_loop(case):
    when_s, *rows, decay_s = case
    expected = plain(when_s, *rows, decay_s)
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(faded_sums(when_s, *rows, K, decay_s), expected, **close)
    own = np.arange(len(when_s)) % K
    here, anywhere = own_faded_sums(when_s, own, *rows, K, decay_s)
    np.testing.assert_allclose(here, expected[np.arange(len(when_s)), own], **close)
    np.testing.assert_allclose(anywhere, expected.sum(axis=1), **close)


def test_each_moment_has_the_bits_that_it_has_alone(case):
    when_s, *rows, decay_s = case
    together = faded_sums(when_s, *rows, K, decay_s)
    for s in range(len(when_s)):
        np.testing.assert_array_equal(faded_sums(when_s[s : s + 1], *rows, K, decay_s)[0], together[s])
    a, b = np.random.default_rng(1).normal(size=(9, 30)), np.random.default_rng(2).normal(size=(30, 5))
    np.testing.assert_allclose(product(a, b), a @ b, rtol=1e-12)
    np.testing.assert_array_equal(np.concatenate([product(row[None], b) for row in a]), product(a, b))
