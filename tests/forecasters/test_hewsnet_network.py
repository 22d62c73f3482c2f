"""HewsNet's weights are learned by a likelihood that never falls; gains are shared where they mean the same."""

import numpy as np
import pytest
import torch

from hews_gpu.forecasters.hewsnet_network import Evidence, HewsNet, _gains

AREAS, EVENTS = 4, 300


def evidence(seed=0):
    """Events with a local and a city layer at each, and what they were exposed to."""
    rng = np.random.default_rng(seed)
    return Evidence(
        base=torch.from_numpy(rng.uniform(0.5, 2.0, EVENTS)),
        area=torch.from_numpy(rng.choice(AREAS, EVENTS, p=[0.5, 0.3, 0.15, 0.05])),
        left=torch.from_numpy(rng.exponential(1.0, (EVENTS, 2)) * (rng.random((EVENTS, 2)) < 0.4)),
        base_total=200.0,
        exposure=torch.from_numpy(rng.uniform(5, 10, (2, AREAS))),
    )


def test_learning_with_one_gain_for_all_never_lowers_the_likelihood_and_ends_at_its_maximum():
    seen, net = evidence(), HewsNet(AREAS, (False, False))
    values = []
    for _ in range(400):
        net.learn(seen, 1)
        values.append(net.log_likelihood(seen))
    assert (np.diff(values) > -1e-2).all()  # the prior of the shares costs a trace
    best = values[-1]
    assert float(net.gain.min()) > 0.1
    for name, which in (("gain", 0), ("gain", 1), ("level", ...)):
        for factor in (0.97, 1.03):
            kept = getattr(net, name)[which].clone()
            getattr(net, name)[which] = kept * factor
            assert net.log_likelihood(seen) < best
            getattr(net, name)[which] = kept


def test_what_the_model_owes_adds_up_to_the_events():
    seen, net = evidence(1), HewsNet(AREAS, (False, False))
    net.learn(seen, 50)
    owed = float(net.level) * seen.base_total + float((net.gain[:, 0] * seen.exposure.sum(1)).sum())
    assert owed == pytest.approx(EVENTS, rel=1e-9)
    counts = np.bincount(seen.area, minlength=AREAS) + 0.5  # nothing is local: each event tells where events fall
    np.testing.assert_allclose(net.share, counts / counts.sum(), rtol=1e-9)


def test_a_layer_that_means_the_same_everywhere_has_one_gain():
    exposure = torch.full((30,), 200.0, dtype=torch.float64)
    counts = torch.from_numpy(np.random.default_rng(0).poisson(20, 30).astype(float))
    gains = _gains(counts, exposure)
    assert float(gains.std()) < 0.3 * float((counts / exposure).std())
    assert float(gains.mean()) == pytest.approx(float(counts.sum() / exposure.sum()), rel=0.02)


def test_a_layer_that_means_something_in_a_few_places_keeps_its_gains_there():
    exposure = torch.full((30,), 200.0, dtype=torch.float64)
    counts = torch.zeros(30, dtype=torch.float64)
    counts[:4] = torch.tensor([180.0, 200.0, 220.0, 210.0])
    gains = _gains(counts, exposure)
    np.testing.assert_allclose(gains[:4], counts[:4] / exposure[:4], rtol=0.03)
    assert float(gains[4:].max()) < 0.002
    assert float(_gains(torch.zeros(30, dtype=torch.float64), exposure).max()) == 0.0


def test_excitation_reaches_the_window_that_follows_by_its_decay():
    net = HewsNet(2, (True,))
    decay_s = torch.tensor([3 * 3600.0], dtype=torch.float64)
    reach = net.reach(decay_s, torch.tensor([False]), 0, 120, 60)
    np.testing.assert_allclose(reach.sent[0], -np.expm1(-2 / 3), rtol=1e-12)
    assert torch.equal(reach.target, torch.ones(120, 2, dtype=torch.float64))
    late = net.reach(decay_s, torch.tensor([False]), 180, 120, 60)  # issued three hours before
    np.testing.assert_allclose(late.sent[0], np.exp(-1) * -np.expm1(-2 / 3), rtol=1e-12)
    assert float(late.target[:180].max()) == 0.0


def test_settings_are_checked():
    with pytest.raises(ValueError, match="areas = 0 must be 1 or more"):
        HewsNet(0)
