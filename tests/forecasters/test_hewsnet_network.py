"""HewsNet's weights are learned by a likelihood that never falls; gains are shared where they mean the same."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.forecasters.hewsnet_network import Evidence, HewsNet, _gains

AREAS, EVENTS = 4, 300


def evidence(seed=0):
    """Events with a local and a city layer at each, and what they were exposed to."""
    rng = np.random.default_rng(seed)
    return Evidence(
        base=rng.uniform(0.5, 2.0, EVENTS),
        area=rng.choice(AREAS, EVENTS, p=[0.5, 0.3, 0.15, 0.05]),
        left=rng.exponential(1.0, (EVENTS, 2)) * (rng.random((EVENTS, 2)) < 0.4),
        base_total=200.0,
        exposure=rng.uniform(5, 10, (2, AREAS)),
    )


def test_learning_with_one_gain_for_all_never_lowers_the_likelihood_and_ends_at_its_maximum():
    seen, net = evidence(), HewsNet.untrained(AREAS, (False, False))
    values = []
    for _ in range(400):
        net.learn(seen, 1)
        values.append(net.log_likelihood(seen))
    assert (np.diff(values) > -1e-2).all()  # the prior of the shares costs a trace
    best = values[-1]
    assert net.gain.min() > 0.1
    for factor in (0.97, 1.03):
        assert replace(net, level=net.level * factor).log_likelihood(seen) < best
        for which in (0, 1):
            moved = np.where(np.arange(2)[:, None] == which, net.gain * factor, net.gain)
            assert replace(net, gain=moved).log_likelihood(seen) < best


def test_what_the_model_owes_adds_up_to_the_events():
    seen, net = evidence(1), HewsNet.untrained(AREAS, (False, False))
    net.learn(seen, 50)
    owed = net.level * seen.base_total + (net.gain[:, 0] * seen.exposure.sum(axis=1)).sum()
    assert owed == pytest.approx(EVENTS, rel=1e-9)
    counts = np.bincount(seen.area, minlength=AREAS) + 0.5  # nothing is local: each event tells where events fall
    np.testing.assert_allclose(net.share, counts / counts.sum(), rtol=1e-9)


def test_a_layer_that_means_the_same_everywhere_has_one_gain():
    exposure = np.full(30, 200.0)
    counts = np.random.default_rng(0).poisson(20, 30).astype(float)
    gains = _gains(counts, exposure)
    assert gains.std() < 0.3 * (counts / exposure).std()
    assert gains.mean() == pytest.approx(counts.sum() / exposure.sum(), rel=0.02)


def test_a_layer_that_means_something_in_a_few_places_keeps_its_gains_there():
    exposure = np.full(30, 200.0)
    counts = np.zeros(30)
    counts[:4] = [180.0, 200.0, 220.0, 210.0]
    gains = _gains(counts, exposure)
    np.testing.assert_allclose(gains[:4], counts[:4] / exposure[:4], rtol=0.03)
    assert gains[4:].max() < 0.002
    assert _gains(np.zeros(30), exposure).max() == 0.0


def test_excitation_reaches_the_window_that_follows_by_its_decay():
    net = HewsNet.untrained(2, (True,))
    decay_s = np.array([3 * 3600.0])
    reach = net.reach(decay_s, np.array([False]), 0, 120, 60)
    np.testing.assert_allclose(reach.sent[0], -np.expm1(-2 / 3), rtol=1e-12)
    np.testing.assert_array_equal(reach.target, np.ones((120, 2)))
    late = net.reach(decay_s, np.array([False]), 180, 120, 60)  # issued three hours before
    np.testing.assert_allclose(late.sent[0], np.exp(-1) * -np.expm1(-2 / 3), rtol=1e-12)
    assert late.target[:180].max() == 0.0


def test_settings_are_checked():
    with pytest.raises(ValueError, match="areas = 0 must be 1 or more"):
        HewsNet.untrained(0)
