"""Layers against loops over all rows: pairs, what is left of them, and its integral."""

import numpy as np
import pytest

from hews_gpu.forecasters.catalog import make_catalog
from hews_gpu.forecasters.hewsnet_layers import BETWEEN, Group, Layer, candidates, exposure, left_at, pair_rows, rows_of

HOUR_S, STEP_S, DAYS, AREAS = 3600, 7200, 40, 3
NAMES = ("LARCENY", "ASSAULT & BATTERY", "SHOOTING")


def catalog(delay_s=0, seed=0, rows=1500):
    """Incidents of three categories, the last of them targets, within two kilometers."""
    rng = np.random.default_rng(seed)
    category = rng.integers(0, 3, rows)
    return make_catalog(
        time_s=rng.integers(0, DAYS * 24 * 60, rows) * 60,
        category=category,
        area=rng.integers(0, AREAS, rows),
        xy_m=rng.uniform(0, 2000, (rows, 2)),
        is_target=category == 2,
        categories=NAMES,
        areas=AREAS,
        delay_s=delay_s,
    )


@pytest.mark.parametrize("delay_s", [0, 5400])
def test_pairs_are_those_of_two_loops(delay_s):
    """Of one step and near each other; known when both are and their step is over, as of the end of knowledge."""
    past = catalog(delay_s)
    pairs = pair_rows(past, STEP_S, 0)
    expected = []
    for a in range(len(past)):
        for b in np.flatnonzero(past.time_s // STEP_S == past.time_s[a] // STEP_S):
            apart = np.hypot(*(past.xy_m[a] - past.xy_m[b]))
            if a != b and apart <= 1000 and past.is_first[a] and past.is_first[b]:
                last_s = past.time_s[a] // STEP_S * STEP_S + STEP_S - 60
                known_s = max(past.known_s[a], past.known_s[b], last_s + delay_s)
                name = past.streams[past.stream[a]] + BETWEEN + past.streams[past.stream[b]]
                expected.append((known_s, last_s, name, past.area[a], round(apart, 6)))
    columns = (pairs.known_s, pairs.time_s, [pairs.streams[k] for k in pairs.stream], pairs.area)
    found = list(zip(*columns, pairs.xy_m[:, 0].round(6), strict=True))
    assert len(expected) > 1000
    assert sorted(found) == sorted(expected)
    assert (np.diff(pairs.known_s) >= 0).all()
    only = pair_rows(past, STEP_S, 0, ((NAMES[0], NAMES[1]),))
    assert {only.streams[k] for k in only.stream} == {NAMES[0] + BETWEEN + NAMES[1]}
    assert len(only) == sum(name == NAMES[0] + BETWEEN + NAMES[1] for _, _, name, *_ in expected)


def test_pairs_of_many_categories_keep_their_names():
    """Two hundred make forty thousand kinds of pair."""
    names = tuple(f"CATEGORY {k}" for k in range(200))
    past = make_catalog(
        time_s=np.array([600, 1200]),
        category=np.array([198, 199]),
        area=np.zeros(2, dtype=int),
        xy_m=np.zeros((2, 2)),
        is_target=np.zeros(2, dtype=bool),
        categories=names,
        areas=1,
    )
    pairs = pair_rows(past, STEP_S, 0)
    assert {pairs.streams[k] for k in pairs.stream} == {
        names[198] + BETWEEN + names[199],
        names[199] + BETWEEN + names[198],
    }


LAYERS = [
    Layer(stream=NAMES[0], decay_s=5 * HOUR_S, is_local=True),
    Layer(stream=NAMES[1], decay_s=30 * HOUR_S, is_local=False),
    Layer(stream=NAMES[0], partner=NAMES[1], within_m=400.0, decay_s=3 * HOUR_S, is_local=True),
]


@pytest.mark.parametrize("blind_s", [0, 1800])
@pytest.mark.parametrize("layer", LAYERS, ids=["local", "city", "pairs"])
def test_what_is_left_and_its_integral_are_those_of_a_loop(layer, blind_s):
    past = catalog().known_at_once()
    pairs = pair_rows(past, STEP_S, 0)
    begin_s, end_s = 10 * 24 * HOUR_S, 39 * 24 * HOUR_S
    targets = np.flatnonzero(past.is_target & (past.time_s >= begin_s) & (past.time_s < end_s))
    area = past.area[targets].astype(np.int64)
    group = Group(time_s=past.time_s[targets], area=area, begin_s=begin_s, end_s=end_s, blind_s=blind_s)
    rows = rows_of(layer, past, pairs)
    assert len(rows) > 30
    found = left_at(rows, layer, group)
    for event in range(0, len(targets), 17):
        before = rows.time_s < group.time_s[event] - blind_s
        if layer.is_local:
            before &= rows.area == group.area[event]
        value = np.exp((rows.time_s[before] - group.time_s[event]) / layer.decay_s).sum() / layer.decay_s
        assert found[event] == pytest.approx(value, abs=4 * np.exp(-8) / layer.decay_s)  # the forgotten ones
    grid_s = np.arange(begin_s, end_s, 60) + 30
    for area in range(AREAS):
        age = grid_s - rows.time_s[rows.area == area][:, None]
        integral = np.where(age > blind_s, np.exp(-np.maximum(age, 0) / layer.decay_s), 0.0).sum() * 60 / layer.decay_s
        assert exposure(rows, layer.decay_s, group)[area] == pytest.approx(integral, rel=1e-3)


def test_candidates_hold_what_their_layers_say():
    past = catalog().known_at_once()
    pairs = pair_rows(past, STEP_S, 0)
    targets = np.flatnonzero(past.is_target & (past.time_s >= 10**6))
    group = Group(
        time_s=past.time_s[targets],
        area=past.area[targets].astype(np.int64),
        begin_s=10**6,
        end_s=DAYS * 86_400,
        blind_s=600,
    )
    share = np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(0)
    for kind in candidates(past, pairs, group, share):
        assert kind.left.shape == (len(targets), len(kind.layers))
        for k in rng.permutation(np.flatnonzero(kind.total > 2))[:6]:
            layer = kind.layers[k]
            rows = rows_of(layer, past, pairs)
            weight = 1.0 if layer.is_local else share[group.area]
            column = kind.left[:, [k]].toarray()[:, 0]
            np.testing.assert_allclose(column, left_at(rows, layer, group) * weight, rtol=1e-9, atol=1e-12)
            expected = exposure(rows, layer.decay_s, group).sum()
            assert kind.total[k] == pytest.approx(expected, rel=1e-9)
