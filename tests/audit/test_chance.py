"""Gates 2, 3, 4 and 7: how often they cry wolf, and how small a leak they see."""

import numpy as np
import pytest
from scipy.special import expit, logit

from hews_gpu.audit.chance import (
    BLOCK,
    _against_chance,
    beats_the_truth,
    null_skill,
    permuted_gate,
    permuted_labels,
    strata_gate,
)
from hews_gpu.evaluation.registry import BASELINES
from hews_gpu.forecast.baselines import fit_climatology, hour_of_week
from hews_gpu.forecast.metrics import roc_auc

YEAR = 12 * 365
BEGIN_S = np.arange(3 * YEAR, dtype=np.int64) * 7200
TRUTH = expit(-1.7 + 0.7 * np.sin(2 * np.pi * (hour_of_week(BEGIN_S) % 24) / 24))


def drawn(seed):
    """Outcomes of three years, and the climatology of the last one, fitted on the first two."""
    y = np.random.default_rng(seed).random(len(TRUTH)) < TRUTH
    fitted = fit_climatology(BEGIN_S[: 2 * YEAR], y[: 2 * YEAR]).probability(BEGIN_S[2 * YEAR :])
    return y[2 * YEAR :], fitted, TRUTH[2 * YEAR :]


def test_exchanged_labels_are_whole_blocks():
    y = np.arange(10 * BLOCK + 7) % 5 == 0
    moved = permuted_labels(y, np.random.default_rng(0))
    assert moved.sum() == y.sum() and (moved != y).any() and (moved[10 * BLOCK :] == y[10 * BLOCK :]).all()
    before = sorted(y[: 10 * BLOCK].reshape(10, BLOCK).tolist())
    assert sorted(moved[: 10 * BLOCK].reshape(10, BLOCK).tolist()) == before
    assert np.gcd(BLOCK, 84) == np.gcd(BLOCK, 12) == 1


def test_the_auc_and_its_chance_are_right():
    """Against scikit-learn, and against exchanging and scoring anew."""
    rng = np.random.default_rng(0)
    y, p = rng.random(20 * BLOCK + 11) < 0.3, np.round(rng.random(20 * BLOCK + 11), 1)
    found = _against_chance(y, p, 0.05, np.random.default_rng(1), draws=2000)
    assert found["auc"] == pytest.approx(roc_auc(y, p), abs=1e-12)
    drawn = [roc_auc(permuted_labels(y, rng), p) for _ in range(500)]
    width = np.quantile(np.abs(np.array(drawn) - 0.5), 0.95)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(width, rel=0.15)


def test_false_alarms_of_exchanged_labels_are_as_many_as_stated():
    """Labels and forecasts that both follow the clock, which makes AUCs wilder than those of coins."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = permuted_labels(rng.random(YEAR) < TRUTH[:YEAR], rng)
        found = _against_chance(y, TRUTH[:YEAR] + rng.normal(0, 0.05, YEAR), 0.05, rng, draws=400)
        assert (found["low"] <= 0.5 <= found["high"]) == (found["p"] > 0.05) or abs(found["p"] - 0.05) < 0.01
        hits += not found["low"] <= 0.5 <= found["high"]
    assert 2 <= hits <= 20  # 10 expected


def test_labels_exchanged_in_a_city_say_nothing(stage):
    for seed in range(2):
        found = permuted_gate(stage.rolling(stage.strong), entries=BASELINES, seed=seed)
        assert found.result == "pass", found.said
        assert set(found.figures["forecasters"]) == set(BASELINES)


def test_nothing_is_found_where_nothing_is():
    """40 cities: the fitted clock, the truth itself, and a forecast that is off by noise."""
    chances = []
    for seed in range(40):
        y, fitted, truth = drawn(seed)
        noisy = expit(logit(truth) + np.random.default_rng(seed).normal(0, 0.05, len(y)))
        found = null_skill("null", y, {"climatology": fitted, "noisy": noisy}, truth, 84)
        assert found.result == "pass", (seed, found.said)
        chances += [one["p"] for one in found.figures["forecasters"].values()]
    assert np.mean(np.array(chances) < 0.05) < 0.08


def test_a_leak_of_the_stated_size_is_found_about_as_often_as_stated():
    """A forecast that knows a little of the outcome, as much as the gate says that it finds 4 times out of 5."""
    seen, sizes = 0, []
    for seed in range(20):
        y, fitted, truth = drawn(seed)
        rng = np.random.default_rng(1000 + seed)
        hint = np.where(y, 1.0, 0.0) + rng.normal(0, 2.2, len(y))  # a noisy message about the outcome
        told = expit(logit(truth) + (hint - 0.5) / 2.2**2)
        found = null_skill("null", y, {"climatology": fitted, "told": told}, truth, 84).figures["forecasters"]["told"]
        sizes.append(found["beyond_truth_bits"] / found["detectable_bits"])
        seen += found["p"] < 0.001 / 2
    assert 0.8 < np.mean(sizes) < 2.5
    assert seen >= 14


def test_nobody_beats_the_truth_but_who_knows_more():
    for seed in range(10):
        y, fitted, truth = drawn(seed)
        found = beats_the_truth("null", y, {"climatology": fitted, "flat": np.full(len(y), y.mean())}, truth, 84)
        assert found.result == "pass", found.said
        told = np.where(np.random.default_rng(seed).random(len(y)) < 0.1, np.where(y, 0.5, 0.1), truth)
        found = beats_the_truth("null", y, {"climatology": fitted, "told": told}, truth, 84)
        assert found.result == "fail" and "told" in found.said


def test_within_hours_only_the_clock_is_taken_out():
    y, fitted, truth = drawn(0)
    begin_s = BEGIN_S[2 * YEAR :]
    assert strata_gate("city", y, begin_s, {"climatology": fitted, "truth": truth}).result == "pass"
    told = truth + 0.05 * y + np.random.default_rng(0).normal(0, 0.1, len(y))
    found = strata_gate("city", y, begin_s, {"climatology": fitted, "told": told})
    assert found.result == "warning" and "told" in found.said
