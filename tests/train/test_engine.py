"""The engine: the learning rate, the fingerprint of an order, the moving average, turns and stages."""

import numpy as np
import pytest

from hews_gpu.feed.plan import plan
from hews_gpu.train.engine import ORDER_MODULUS, learning_rate, order_of
from hews_gpu.train.objective import Stage


def test_learning_rate_rises_then_falls_to_nothing():
    stage = Stage(epochs=1, batch_size=1, learning_rate=0.1)
    rates = [learning_rate(stage, step, 200) for step in range(200)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) == rates[9] == rates[10]
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(stage, 0, 1) == pytest.approx(0.1)


def test_a_constant_learning_rate_stays():
    stage = Stage(epochs=1, batch_size=1, learning_rate=0.1, schedule="constant")
    assert {learning_rate(stage, step, 200) for step in range(200)} == {0.1}


def shares(world, step):
    return [plan(3, 1, rank, world, step, windows=50, batch_size=12) for rank in range(world)]


def test_the_fingerprint_of_an_order_is_the_same_however_it_is_divided():
    whole = order_of(shares(1, 2)[0], 24)
    for world in (2, 3, 4):
        parts = [order_of(ids, 24 + rank * 12 // world) for rank, ids in enumerate(shares(world, 2))]
        assert sum(parts) % ORDER_MODULUS == whole


def test_the_fingerprint_knows_places_and_ids():
    ids = np.arange(12)
    swapped = ids.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    other = ids.copy()
    other[5] = 12
    assert len({order_of(ids, 0), order_of(swapped, 0), order_of(other, 0), order_of(ids, 1)}) == 4
