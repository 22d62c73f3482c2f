"""Sums over hours against sums over minutes."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.synthetic.process import Kernel
from hews_gpu.synthetic.silence import excitation, expected, silence


def test_expected_is_the_sum_over_minutes():
    rng = np.random.default_rng(1)
    rate, weight = rng.random(30), rng.random(391)
    issue = np.array([0, 59, 60, 61, 407, 1200])
    naive = [sum(rate[(i + m) // 60] / 60 * weight[m] for m in range(391)) for i in issue]
    assert expected(rate, weight, issue) == pytest.approx(naive)


def test_excitation_is_the_sum_over_past_events():
    minute, issue = np.array([3, 10, 10, 50]), np.array([0, 3, 4, 10, 11, 49, 51, 900])
    naive = [sum(0.9 ** (i - 1 - m) for m in minute if m < i) for i in issue]
    assert excitation(minute, issue, 0.9) == pytest.approx(naive)
    assert np.array_equal(excitation(np.empty(0, np.int64), issue, 0.9), np.zeros(8))


def test_without_a_lead_the_reach_is_the_kernels_mass():
    law = silence(Kernel(branching=0.5, decay_s=3600), Kernel(branching=1.0, decay_s=1800), 0, 120)
    assert law.from_triggers == pytest.approx(1 - np.exp(-120 * 60 / 1800))
    assert law.reach[-1] == 0
    assert np.array_equal(law.some_target, np.ones(120))
