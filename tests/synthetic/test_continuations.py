"""Simulated continuations where the answer is known without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.continuations import simulate_continuations
from hews_gpu.synthetic.draw import draw
from hews_gpu.synthetic.presets import LAWS

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))


@pytest.fixture(scope="module")
def plain():
    law = replace(LAWS["null"], categories=())
    return draw(law, np.random.SeedSequence(0), begin_s=BEGIN_S, hours=24 * 10).truth


def test_a_poisson_process_needs_no_simulation(plain):
    times = BEGIN_S + 3600 * 50, BEGIN_S + 3600 * 51 + 900, BEGIN_S + 3600 * 53
    found = simulate_continuations(plain, *times, draws=40_000, seed=1)
    mean = plain.base_per_h[51] * 0.75 + plain.base_per_h[52]
    p = 1 - np.exp(-mean)
    assert found.city == pytest.approx(p, abs=4.5 * found.standard_error(p))
    assert found.area.sum() == pytest.approx(mean, rel=0.1)
    assert found.area == pytest.approx(1 - np.exp(-mean * plain.area_share), abs=0.004)


def test_the_same_seed_gives_the_same_shares(plain):
    times = BEGIN_S + 3600 * 50, BEGIN_S + 3600 * 50, BEGIN_S + 3600 * 53
    first, again, other = (simulate_continuations(plain, *times, draws=500, seed=s).city for s in (1, 1, 2))
    assert first == again != other


def test_no_draws_are_refused(plain):
    with pytest.raises(UserError, match="draws"):
        simulate_continuations(plain, BEGIN_S, BEGIN_S, BEGIN_S + 7200, draws=0, seed=1)
