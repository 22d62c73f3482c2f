"""Planted layers: one foretells, one does not, and one gives targets away, which the audit tells."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.audit import run
from hews_gpu.evaluation.folds import Plan
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.units import HOUR_S
from studies.layers import TOLD, at_random, leaking, planted


@pytest.fixture(scope="module")
def city():
    return planted("strong", years=3)


def test_a_city_of_targets_alone_has_all_else_as_a_layer(city):
    assert city.events.is_target.all() and len(city.layers[0]) > 20 * len(city.events)
    catalog = city.catalog()
    assert catalog.is_target.sum() == len(city.events)
    later = int((city.layers[0].time_s >= city.events.time_s[0]).sum())
    assert (catalog.known_s - catalog.time_s)[~catalog.is_target].tolist() == [60] * later


def test_a_layer_at_random_has_the_rows_of_another_at_other_times(city):
    (layer,), other = city.layers, at_random(city)
    for name in ("category", "neighborhood"):
        assert np.array_equal(np.bincount(getattr(other, name)), np.bincount(getattr(layer, name)))
    assert (
        abs(np.corrcoef(np.bincount(layer.time_s // HOUR_S % 24), np.bincount(other.time_s // HOUR_S % 24))[0, 1]) < 0.6
    )


def test_a_layer_that_gives_targets_away_fails_the_audit_and_is_named(city, monkeypatch):
    layer = leaking(city)
    before_s = city.events.time_s[:, None] - layer.time_s[None, :]
    is_told = ((before_s > 0.6 * HOUR_S) & (before_s < 3 * HOUR_S)).any(axis=1).mean()
    assert is_told > TOLD - 0.05
    monkeypatch.setattr(run, "AUDITED", {name: FORECASTERS[name] for name in ("climatology", "boosting")})
    results = run.skill_gates(replace(city, layers=(layer,)), Plan(blocks=1, seeds=(0,)))
    assert [one.verdict for one in results] == ["fail", "pass"]
    assert "without layer calls" in results[1].tested
