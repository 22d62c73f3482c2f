"""The truth by neighborhood against simulated continuations, and against what then happened in ten years."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hews_gpu.synthetic.law import Kernel
from hews_gpu.synthetic.presets import LAWS
from tests.synthetic.continuations import simulate_continuations
from tests.synthetic.histories import BEGIN_S, happened, happened_by_area, history

PRESETS = ("null", "strong", "spatial", "pairs", "realistic")
DRAWS = 10_000
TASKS = [(0, 0, 120, 0), (37, 0, 120, 0), (65, 130, 200, 0), (0, 120, 120, 3600), (0, 0, 240, 86_400)]


@cache
def truth_of(preset, days=3652, lively=False):
    law = LAWS[preset]
    if lively:  # strong kernels, so that every term matters
        trigger = law.trigger and replace(law.trigger, kernel=Kernel(branching=1.5, decay_s=3 * 3600))
        law = replace(law, excited_by_targets=Kernel(branching=0.5, decay_s=2 * 3600), trigger=trigger)
    return history(law, seed=11, days=days).truth


def at(truth, issue_min, lead, horizon):
    issue_s = truth.begin_s + 60 * issue_min
    return issue_s, issue_s + 60 * lead, issue_s + 60 * (lead + horizon)


def busy_minute(truth):
    """An even hour after which much is to be expected, so that every term of the formula matters."""
    issue_s = BEGIN_S + 86_400 * 9 + 7200 * np.arange(200)
    return int((issue_s[truth.probability(issue_s, issue_s, issue_s + 7200).argmax()] - BEGIN_S) // 60)


def disagreement(truth, task, wrong=None):
    """z of the city's share, and of the areas' summed squares, of simulations of `truth` against what `wrong` says."""
    offset, lead, horizon, delay_s = task
    times = at(truth, busy_minute(truth) + offset, lead, horizon)
    found = simulate_continuations(truth, *times, draws=DRAWS, seed=5, delay_s=delay_s)
    told = wrong or truth
    p, q = told.probability(*times, delay_s=delay_s)[0], told.by_area(*times, delay_s=delay_s)[0]
    some = q * DRAWS > 20  # a normal law for the rest would be far off
    squares = ((found.area - q) ** 2 / (q * (1 - q) / DRAWS))[some]
    return abs(found.city - p) / found.standard_error(p), (squares.sum() - len(squares)) / np.sqrt(2 * len(squares))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_it_agrees_with_simulated_continuations(preset, task):
    truth = truth_of(preset, days=60, lively=True)
    city, areas = disagreement(truth, task)
    assert city < 4.5
    exact = preset != "pairs" or task == TASKS[0]
    assert areas < (4.5 if exact else 12)  # what is simulated has an error of its own in each area


PLANTED = {
    "children anywhere": ("spatial", lambda t: replace(t, in_city=True)),
    "children at home": ("strong", lambda t: replace(t, in_city=False)),
    "hidden areas unknown": ("spatial", lambda t: replace(t, gain=np.ones(55))),
    "no self-excitation": ("strong", lambda t: replace(t, excited_by_targets=Kernel(branching=0.0, decay_s=7200))),
    "triggers to come forgotten": ("strong", lambda t: replace(t, trigger_per_h=0 * t.trigger_per_h)),
    "areas mixed up": ("realistic", lambda t: replace(t, area_share=np.roll(t.area_share, 1))),
    "pairs of another distance": ("pairs", lambda t: replace(t, pairs=replace(t.pairs, within_m=1000.0))),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_simulation_would_catch_a_wrong_law(bug):
    preset, plant = PLANTED[bug]
    truth = truth_of(preset, days=60, lively=True)
    assert max(disagreement(truth, TASKS[2], plant(truth))) > 12


def test_the_presets_pairs_to_come_are_right_too():
    truth = truth_of("pairs")
    times = at(truth, 24 * 60 * 40 + 17 * 60 + 13, 0, 420)
    found = simulate_continuations(truth, *times, draws=40_000, seed=2)
    p = truth.probability(*times)[0]
    assert abs(found.city - p) < 4.5 * found.standard_error(p) + 0.002


# ---------------------------------------------------------------- the simulation itself


@pytest.fixture(scope="module")
def plain():
    return history(LAWS["null"], seed=0, days=10).truth


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


# ---------------------------------------------------------------- against what happened


def forecasts(truth, *, lead_s=0, delay_s=0, stride_s=7200, told=None):
    """Probabilities and outcomes of windows that share no time, so that y - p are martingale differences."""
    issue_s = np.arange(BEGIN_S + 86_400, truth.end_s - lead_s - 7200, stride_s)
    times = issue_s + lead_s, issue_s + lead_s + 7200
    return (told or truth).probability(issue_s, *times, delay_s=delay_s), happened(truth, *times)


def reliability(p, y, bins=20):
    """Chi-square of outcomes against forecasts, summed over `bins` equal groups by p."""
    groups = np.array_split(np.argsort(p, kind="stable"), bins)
    return sum((y[g].sum() - p[g].sum()) ** 2 / (p[g] * (1 - p[g])).sum() for g in groups)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_oracle_is_calibrated(preset):
    p, y = forecasts(truth_of(preset))
    assert abs((y - p).sum()) / np.sqrt((p * (1 - p)).sum()) < 4
    assert reliability(p, y) < 50  # 20 d.o.f., p = 2e-4


@pytest.mark.parametrize("preset", ["strong", "pairs"])
def test_the_oracle_is_calibrated_with_lead_and_delay(preset):
    p, y = forecasts(truth_of(preset), lead_s=7200, delay_s=86_400, stride_s=28_800)
    assert reliability(p, y) < 50


@pytest.mark.parametrize("preset", PRESETS)
def test_the_oracle_is_calibrated_in_the_neighborhoods(preset):
    truth = truth_of(preset)
    issue_s = np.arange(BEGIN_S + 86_400, truth.end_s - 7200, 14_400)
    p, y = truth.by_area(issue_s, issue_s, issue_s + 7200), happened_by_area(truth, issue_s, issue_s + 7200)
    each = (y.sum(axis=0) - p.sum(axis=0)) ** 2 / (p * (1 - p)).sum(axis=0)
    assert each.sum() < 55 + 5 * np.sqrt(110)
    assert reliability(p.ravel(), y.ravel()) < 50


@pytest.mark.parametrize("bug", ["hidden areas unknown", "pairs of another distance", "no self-excitation"])
def test_a_wrong_oracle_is_not_calibrated(bug):
    preset, plant = PLANTED[bug]
    truth = truth_of(preset)
    wrong = (
        plant(truth)
        if preset != "strong"
        else replace(truth, excited_by_triggers=Kernel(branching=0.5, decay_s=28_800))
    )
    assert reliability(*forecasts(truth, told=wrong)) > 100


def test_later_knowledge_is_less_knowledge():
    truth = truth_of("strong")
    scores = []
    for delay_s in (0, 3600, 86_400, 7 * 86_400):
        p, y = forecasts(truth, delay_s=delay_s)
        scores.append(np.log2(np.where(y, p, 1 - p)).mean())
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[2] > 0.02


def test_nothing_after_the_issue_time_matters():
    truth = truth_of("spatial", days=60)
    issue, late = 24 * 60 * 30, BEGIN_S + 86_400 * 30
    kept, known = truth.target_s < late, truth.incident_s < late
    past = replace(
        truth,
        target_s=truth.target_s[kept],
        target_area=truth.target_area[kept],
        incident_s=truth.incident_s[known],
        incident_area=truth.incident_area[known],
    )
    assert np.array_equal(past.by_area(*at(truth, issue, 60, 120)), truth.by_area(*at(truth, issue, 60, 120)))
    earlier = at(truth, issue, 0, 120)[0] - 60
    more = replace(past, target_s=np.append(past.target_s, earlier), target_area=np.append(past.target_area, 7))
    more = replace(more, excited_by_targets=Kernel(branching=0.3, decay_s=3600))
    less = replace(past, excited_by_targets=Kernel(branching=0.3, decay_s=3600))
    gained = (more.by_area(*at(truth, issue, 0, 120)) - less.by_area(*at(truth, issue, 0, 120)))[0]
    assert gained[7] > 0.1
    assert np.count_nonzero(gained) == 1
