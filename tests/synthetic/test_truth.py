"""The closed form against brute force, against naive sums, and against what then happened.

The brute force walks minute by minute and draws from the conditional intensity. It shares neither the generations of
the simulation nor the recursion of the closed form with the package.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hews_gpu.errors import UserError
from hews_gpu.synthetic.law import Kernel
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.truth import (
    excitation,
    expected,
    forecasts_by_lead,
    silence,
)
from tests.synthetic.histories import BEGIN_S, history, one_area

NONE = np.array([], dtype=np.int64)
TASKS = [(0, 120), (0, 45), (60, 120), (300, 90)]  # lead and horizon in minutes


def small_truth():
    """A lively 2 days: strong kernels and uneven rates, so that every term of the formula matters."""
    rng = np.random.default_rng(5)
    return one_area(
        preset="demo",
        begin_s=BEGIN_S,
        base_per_h=np.where(np.arange(48) // 3 % 2, 0.25, 0.02),
        trigger_per_h=rng.uniform(0.6, 1.2, 48),
        excited_by_targets=Kernel(branching=0.5, decay_s=2 * 3600),
        excited_by_triggers=Kernel(branching=0.6, decay_s=3 * 3600),
        target_s=BEGIN_S + 60 * np.array([100, 700, 701, 990, 1200, 1200]),
        incident_s=BEGIN_S + 60 * np.array([30, 600, 800, 1100, 1199, 1200, 1300]),
    )


def share_with_a_target(truth, issue, lead, horizon, *, draws, seed):
    """Brute force: continuations from the history before `issue` (minutes); the share with a target in the window."""
    rng = np.random.default_rng(seed)
    by_target, by_trigger = truth.excited_by_targets, truth.excited_by_triggers

    def level(times_s, kernel):
        past = [m for m in (times_s - truth.begin_s) // 60 if m < issue]
        return np.full(draws, sum(np.exp(-(issue - 1 - m) * 60 / kernel.decay_s) for m in past))

    excited, primed = level(truth.target_s, by_target), level(truth.incident_s, by_trigger)
    found = np.zeros(draws, dtype=bool)
    for minute in range(issue, issue + lead + horizon):
        rate = truth.base_per_h[minute // 60] / 60
        rate = rate + by_target.branching * (1 - np.exp(-60 / by_target.decay_s)) * excited
        rate = rate + by_trigger.branching * (1 - np.exp(-60 / by_trigger.decay_s)) * primed
        targets = rng.poisson(rate)
        triggers = rng.poisson(truth.trigger_per_h[minute // 60] / 60, size=draws)
        excited = excited * np.exp(-60 / by_target.decay_s) + targets
        primed = primed * np.exp(-60 / by_trigger.decay_s) + triggers
        if minute >= issue + lead:
            found |= targets > 0
    return found.mean()


def p_at(truth, issue, lead, horizon):
    issue_s = truth.begin_s + 60 * issue
    return truth.probability(issue_s, issue_s + 60 * lead, issue_s + 60 * (lead + horizon))[0]


@pytest.mark.parametrize(("lead", "horizon"), TASKS)
@pytest.mark.parametrize("issue", [0, 702, 1201, 1230])
def test_the_closed_form_agrees_with_brute_force(issue, lead, horizon):
    truth, draws = small_truth(), 20_000
    p = p_at(truth, issue, lead, horizon)
    share = share_with_a_target(truth, issue, lead, horizon, draws=draws, seed=issue + lead)
    assert share == pytest.approx(p, abs=4.5 * (p * (1 - p) / draws) ** 0.5)


PLANTED = {
    "triggers to come forgotten": lambda t: replace(t, trigger_per_h=0 * t.trigger_per_h),
    "past targets forgotten": lambda t: replace(t, target_s=NONE, target_area=NONE),
    "past triggers forgotten": lambda t: replace(t, incident_s=NONE, incident_area=NONE),
    "base forgotten": lambda t: replace(t, base_per_h=0 * t.base_per_h),
    "base an hour late": lambda t: replace(t, base_per_h=np.roll(t.base_per_h, 1)),
    "decay in wrong units": lambda t: replace(t, excited_by_triggers=Kernel(branching=0.6, decay_s=3 * 60)),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_brute_force_would_catch_a_wrong_formula(bug):
    truth, draws = small_truth(), 20_000
    wrong = p_at(PLANTED[bug](truth), 1201, 0, 120)
    share = share_with_a_target(truth, 1201, 0, 120, draws=draws, seed=1)
    assert abs(share - wrong) > 6 * (share * (1 - share) / draws) ** 0.5


def test_brute_force_would_catch_a_lead_without_offspring():
    truth, draws = small_truth(), 20_000
    sterile = p_at(
        replace(truth, excited_by_targets=Kernel(branching=0, decay_s=7200), target_s=NONE, target_area=NONE),
        1201,
        300,
        90,
    )
    share = share_with_a_target(truth, 1201, 300, 90, draws=draws, seed=2)
    assert abs(share - sterile) > 6 * (share * (1 - share) / draws) ** 0.5


def test_without_a_lead_it_equals_the_textbook_sum():
    truth = small_truth()
    issue, horizon = 1201, 130
    by_target, by_trigger = truth.excited_by_targets, truth.excited_by_triggers

    def mass(kernel, low, high):  # of a kernel between two delays in minutes
        return kernel.branching * (np.exp(-60 * low / kernel.decay_s) - np.exp(-60 * high / kernel.decay_s))

    total, end = 0.0, issue + horizon
    for m in range(issue, end):
        total += truth.base_per_h[m // 60] / 60
        total += truth.trigger_per_h[m // 60] / 60 * (1 - np.exp(-mass(by_trigger, 0, end - 1 - m)))
    for times_s, kernel in ((truth.target_s, by_target), (truth.incident_s, by_trigger)):
        past = [m for m in (times_s - BEGIN_S) // 60 if m < issue]
        total += sum(mass(kernel, issue - 1 - m, end - 1 - m) for m in past)
    assert p_at(truth, issue, 0, horizon) == pytest.approx(1 - np.exp(-total), abs=1e-12)


@pytest.mark.parametrize(("lead", "horizon"), TASKS)
def test_it_knows_the_minute_before_the_issue_and_nothing_after(lead, horizon):
    truth, issue = small_truth(), 900
    p = p_at(truth, issue, lead, horizon)

    def with_target_at(minute):
        times_s = np.sort(np.append(truth.target_s, BEGIN_S + 60 * minute))
        return p_at(replace(truth, target_s=times_s, target_area=0 * times_s), issue, lead, horizon)

    assert with_target_at(issue) == p
    assert with_target_at(issue + 10) == p
    assert with_target_at(issue - 1) > p + 1e-3


def test_nothing_excited_is_plain_poisson_over_parts_of_hours():
    still = Kernel(branching=0, decay_s=3600)
    truth = replace(small_truth(), excited_by_targets=still, excited_by_triggers=still)
    expected = truth.base_per_h[1] * 15 / 60 + truth.base_per_h[2] * 60 / 60 + truth.base_per_h[3] * 5 / 60
    assert p_at(truth, 105, 0, 80) == pytest.approx(1 - np.exp(-expected), abs=1e-14)
    assert p_at(truth, 5, 100, 80) == pytest.approx(1 - np.exp(-expected), abs=1e-14)


def test_mixed_tasks_in_one_call_equal_single_calls():
    truth = small_truth()
    rows = [(issue, lead, horizon) for issue in (0, 200, 1300) for lead, horizon in TASKS]
    issue, lead, horizon = np.array(rows).T
    issue_s = BEGIN_S + 60 * issue
    together = truth.probability(issue_s, issue_s + 60 * lead, issue_s + 60 * (lead + horizon))
    assert together == pytest.approx([p_at(truth, *row) for row in rows], abs=1e-14)


# ---------------------------------------------------------------- against what happened


@pytest.fixture(scope="module")
def decades():
    """Fifty years of the demo's target process, without the categories that do not matter to it."""
    return history(LAWS["demo"], seed=8, days=18_262).truth


def forecasts(truth, lead_s=0, stride_s=7200):
    """Probabilities and outcomes; windows that share no time, so that y - p are martingale differences."""
    issue_s = np.arange(BEGIN_S + 86_400, truth.end_s - lead_s - 7200, stride_s)
    begin_s = issue_s + lead_s
    y = np.searchsorted(truth.target_s, begin_s + 7200) > np.searchsorted(truth.target_s, begin_s)
    return truth.probability(issue_s, begin_s, begin_s + 7200), y


def reliability(p, y, bins=20):
    """Chi-square of outcomes against forecasts, summed over `bins` equal groups by p."""
    groups = np.array_split(np.argsort(p, kind="stable"), bins)
    return sum((y[g].sum() - p[g].sum()) ** 2 / (p[g] * (1 - p[g])).sum() for g in groups)


@pytest.mark.parametrize(("lead_s", "stride_s"), [(0, 7200), (4 * 3600, 6 * 3600)])
def test_the_oracle_is_calibrated(decades, lead_s, stride_s):
    p, y = forecasts(decades, lead_s, stride_s)
    assert abs((y - p).sum()) / np.sqrt((p * (1 - p)).sum()) < 4
    assert reliability(p, y) < 50  # 20 d.o.f., p = 2e-4


@pytest.mark.parametrize("bug", ["triggers to come forgotten", "past targets forgotten", "past triggers forgotten"])
def test_a_wrong_oracle_is_not_calibrated(decades, bug):
    p, _ = forecasts(PLANTED[bug](decades))
    _, y = forecasts(decades)
    assert reliability(p, y) > 100


def test_the_oracle_beats_the_climatology(decades):
    p, y = forecasts(decades)
    issue_s = np.arange(BEGIN_S + 86_400, decades.end_s - 7200, 7200)
    slot = (issue_s // 7200) % 84 * 12 + issue_s.astype("datetime64[s]").astype("datetime64[M]").astype(int) % 12
    climatology = np.bincount(slot, y) / np.bincount(slot)  # fitted on the very windows it is judged on
    gain = np.log2(np.where(y, p, 1 - p)) - np.log2(np.where(y, climatology[slot], 1 - climatology[slot]))
    assert 0.12 < y.mean() < 0.20
    assert gain.mean() > 0.01
    assert gain.mean() > 5 * gain.std() / len(gain) ** 0.5


def test_skill_is_attainable_from_past_counts(decades):
    """A logistic regression on the climatology and decayed counts of triggers and targets: half of what there is."""
    p, y = forecasts(decades)
    issue_s = np.arange(BEGIN_S + 86_400, decades.end_s - 7200, 7200)
    month = issue_s.astype("datetime64[s]").astype("datetime64[M]").astype(int) % 12
    calendar = np.concatenate([np.eye(84)[issue_s // 7200 % 84], np.eye(12)[month]], axis=1)
    past, judged = slice(0, len(y) // 2), slice(len(y) // 2, None)

    def fitted(features):
        return LogisticRegression(C=1.0, max_iter=500).fit(features[past], y[past]).predict_proba(features)[:, 1]

    def decayed(times_s, decay_h):
        hours = np.arange(0, 24, 2)
        edges = [np.searchsorted(times_s, issue_s - 3600 * h) for h in (*hours, 24)]
        return -np.diff(edges, axis=0).T @ np.exp(-(hours + 1) / decay_h)

    climatology = fitted(calendar)
    counts = [decayed(decades.incident_s, 8), decayed(decades.target_s, 3)]
    model = fitted(np.stack([np.log(climatology / (1 - climatology)), *counts], axis=1))
    y, p, climatology, model = y[judged], p[judged], climatology[judged], model[judged]
    auc = [roc_auc_score(y, q) for q in (climatology, model, p)]
    assert auc == pytest.approx([0.65, 0.705, 0.72], abs=0.012)
    bits = [np.mean(np.log2(np.where(y, q, 1 - q))) for q in (climatology, model, p)]
    assert (bits[1] - bits[0]) / (bits[2] - bits[0]) > 0.5  # of the gap between climatology and truth
    assert bits[2] > bits[1]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("issue", "begin", "end", "said"),
    [
        (30, 60, 120, "whole minute"),
        (60, 0, 120, "at or after the issue"),
        (60, 120, 120, "end after it begins"),
        (-60, 60, 120, "as simulated"),
        (60, 60, 49 * 3600, "as simulated"),
    ],
)
def test_times_the_truth_does_not_know_are_refused(issue, begin, end, said):
    with pytest.raises(UserError, match=said):
        small_truth().probability(BEGIN_S + issue, BEGIN_S + begin, BEGIN_S + end)


# ---------------------------------------------------------------- forecasts in minutes

DAY = SimpleNamespace(begin_s=7200, end_s=7200 + 86_400)


def test_a_delay_is_more_lead():
    (late,) = forecasts_by_lead(DAY, 7200 + 36_000, 7200 + 37_200, 7200 + 40_800, 3600)
    assert (late.issue.tolist(), late.lead, late.horizon, late.length) == ([540], 80, 60, 140)


def test_before_the_begin_nothing_happened():
    (late,) = forecasts_by_lead(DAY, 7200 + 1200, 7200 + 1200, 7200 + 8400, 86_400)
    assert (late.issue.tolist(), late.lead) == ([0], 20)


def test_forecasts_keep_their_place():
    issue = 7200 + 60 * np.array([5, 0, 9, 7])
    begin = issue + 60 * np.array([0, 3, 0, 3])
    groups = list(forecasts_by_lead(DAY, issue, begin, begin + 600))
    assert [group.lead for group in groups] == [0, 3]
    assert [group.which.tolist() for group in groups] == [[0, 2], [1, 3]]
    assert groups[1].issue.tolist() == [0, 7]


@pytest.mark.parametrize(("delay_s", "begin"), [(-60, 7200), (30, 7200), (0, 7140), (0, 7201), (0, 7200 + 86_400)])
def test_what_makes_no_sense_is_refused(delay_s, begin):
    with pytest.raises(UserError):
        list(forecasts_by_lead(DAY, begin, begin, begin + 600, delay_s))


# ---------------------------------------------------------------- parts of the closed form


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
