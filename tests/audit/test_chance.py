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
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.forecasters.climatology import fit_climatology, hour_of_week
from hews_gpu.forecasters.registry import BASELINES

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


def test_labels_exchanged_in_a_city_say_nothing(cities):
    for seed in range(2):
        found = permuted_gate(cities.experiment(cities.strong), entries=BASELINES, seed=seed)
        assert found.verdict == "pass", found.summary
        assert set(found.figures["forecasters"]) == set(BASELINES)


def test_nothing_is_found_where_nothing_is():
    """40 cities: the fitted clock, the truth itself, and a forecast that is off by noise."""
    chances = []
    for seed in range(40):
        y, fitted, truth = drawn(seed)
        noisy = expit(logit(truth) + np.random.default_rng(seed).normal(0, 0.05, len(y)))
        found = null_skill("null", y, {"climatology": fitted, "noisy": noisy}, truth, 84)
        assert found.verdict == "pass", (seed, found.summary)
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
        assert found.verdict == "pass", found.summary
        told = np.where(np.random.default_rng(seed).random(len(y)) < 0.1, np.where(y, 0.5, 0.1), truth)
        found = beats_the_truth("null", y, {"climatology": fitted, "told": told}, truth, 84)
        assert found.verdict == "fail" and "told" in found.summary


def test_beating_the_truth_by_chance_is_as_rare_as_stated():
    """Forecasts a little off the truth either way: as good as it but for chance, so one in 44 is two errors better."""
    warned = failed = 0
    for seed in range(60):
        y, _, truth = drawn(seed)
        off = expit(logit(truth) + np.random.default_rng(seed).normal(0, 0.02, len(y)))
        found = beats_the_truth("null", y, {"off": off}, truth, 84)
        one = found.figures["forecasters"]["off"]
        assert (one["p"] < 0.025) == (one["standard_errors"] > 2) or abs(one["p"] - 0.025) < 0.02
        warned, failed = warned + (found.verdict != "pass"), failed + (found.verdict == "fail")
    assert warned <= 5 and failed <= 1  # 1.4 and 0.06 expected, less what being off costs


def test_the_interval_of_what_is_too_good_holds_what_it_should():
    """Noise beside the truth: the difference of two cities' worth of windows lies in 95 of 100 intervals."""
    y, _, truth = drawn(0)
    begin_s, covered = BEGIN_S[2 * YEAR :], 0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        y = rng.random(len(truth)) < truth
        noise = rng.normal(0, 1, len(truth))
        found = strata_gate("city", y, begin_s, {"climatology": truth, "noise": noise}).figures["forecasters"]
        low, high = found["noise"]["interval"]
        covered += low <= 0 <= high  # neither tells apart what is within an hour of the week
        assert found["noise"]["false_alarms"] < 0.02 and found["climatology"]["interval"] == [0, 0]
    assert covered >= 13


@pytest.mark.parametrize("preset", ["null", "strong", "spatial", "pairs", "realistic"])
def test_no_forecaster_beats_the_truth_of_a_city(young, preset):
    """Gates 3 and 4 on generated cities of a year, seed 0: every registered forecaster, p < 0.001 over all."""
    from hews_gpu.audit.future import AUDITED
    from hews_gpu.audit.run import skill_gates
    from hews_gpu.evaluation.folds import Plan
    from hews_gpu.forecasters.city import generated_city

    source = getattr(young, preset, None) or generated_city(preset, years=young.years)
    found = {one.gate[0]: one for one in skill_gates(source, Plan(blocks=1, seeds=(0,)))}
    assert set(found) == ({"3", "4"} if preset == "null" else {"4"})
    for gate, one in found.items():
        assert one.verdict == "pass", (gate, one.summary)
        assert one.figures["false_alarms"] == 0.001
        assert one.figures["level_each"] == 0.001 / len(AUDITED)
        assert set(one.figures["forecasters"]) == set(AUDITED)
        assert all(each["p"] > one.figures["level_each"] for each in one.figures["forecasters"].values())


def test_within_hours_only_the_clock_is_taken_out():
    y, fitted, truth = drawn(0)
    begin_s = BEGIN_S[2 * YEAR :]
    assert strata_gate("city", y, begin_s, {"climatology": fitted, "truth": truth}).verdict == "pass"
    told = truth + 0.05 * y + np.random.default_rng(0).normal(0, 0.1, len(y))
    found = strata_gate("city", y, begin_s, {"climatology": fitted, "told": told})
    assert found.verdict == "warning" and "told" in found.summary
