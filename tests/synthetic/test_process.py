"""The process's parts, each against what its law says about it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.synthetic.process import Kernel, Points, Rhythm, arrivals, children, cluster, joined

FRIDAY_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))
LONG_AGO = 10**9


def stay(rng, places_m):
    return places_m


def at(minutes):
    return Points(np.asarray(minutes, dtype=np.int64), np.arange(len(minutes))[:, None] * np.ones(2))


def test_a_rhythm_has_mean_one_over_whole_weeks_of_every_month():
    rate = Rhythm(peak_hour=20, swing=1.0, weekend=0.5, peak_month=7, season=0.3).hourly(FRIDAY_S, 28 * 365 * 24 + 168)
    months = (FRIDAY_S // 3600 + np.arange(len(rate))).astype("datetime64[h]").astype("datetime64[M]").astype(int) % 12
    assert np.mean([rate[months == m].mean() for m in range(12)]) == pytest.approx(1, abs=2e-3)


def test_a_rhythm_peaks_when_it_says():
    rhythm = Rhythm(peak_hour=22, swing=1.0, weekend=0.7, peak_month=8, season=0.2)
    year = rhythm.hourly(FRIDAY_S, 365 * 24)
    best = np.datetime64("2021-01-01", "h") + int(np.argmax(year))
    assert best.astype(object).hour == 22
    assert best.astype(object).month == 8
    assert best.astype(object).weekday() in (4, 5, 6)
    day = np.log(rhythm.hourly(FRIDAY_S, 24))
    assert day.max() - day[10] == pytest.approx(2 * 1.0 + 0.7)  # 22:00 is weekend on a Friday, 10:00 not yet


def test_arrivals_are_poisson_with_the_given_rate():
    rate = np.tile([0.0, 0.2, 1.0, 3.0], 20_000)
    minute = arrivals(np.random.default_rng(1), rate)
    assert np.all(np.diff(minute) >= 0)
    counts = np.bincount(minute // 60, minlength=len(rate)).reshape(-1, 4)
    assert counts.mean(axis=0) == pytest.approx([0, 0.2, 1, 3], abs=0.05)
    assert counts.var(axis=0) == pytest.approx([0, 0.2, 1, 3], abs=0.1)
    in_hour = np.bincount(minute % 60, minlength=60)
    assert ((in_hour - in_hour.mean()) ** 2 / in_hour.mean()).sum() < 115  # chi-square with 59 d.o.f., p = 1e-5


def test_children_come_in_the_number_and_after_the_delay_that_the_kernel_says():
    kernel = Kernel(branching=0.4, decay_s=600)
    parents = at(np.zeros(200_000))
    found = children(np.random.default_rng(2), parents, kernel, LONG_AGO, stay)
    assert len(found.minute) == pytest.approx(80_000, abs=5 * 80_000**0.5)
    for d in (1, 2, 5, 20):
        expected = 200_000 * 0.4 * (np.exp(-(d - 1) / 10) - np.exp(-d / 10))
        assert np.sum(found.minute == d) == pytest.approx(expected, abs=5 * expected**0.5), d


def test_a_cluster_has_the_mean_size_of_a_branching_process():
    found = cluster(np.random.default_rng(3), at(np.zeros(50_000)), Kernel(branching=0.5, decay_s=60), LONG_AGO, stay)
    assert len(found.minute) / 50_000 == pytest.approx(2.0, abs=0.05)  # 1 / (1 - branching); s.d. of the mean 0.009


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=30), st.integers(0, 2**32), st.floats(10, 1e5))
def test_children_follow_their_parents_and_end_before_the_end(minutes, seed, decay_s):
    parents = at(sorted(minutes))
    found = children(np.random.default_rng(seed), parents, Kernel(branching=2.0, decay_s=decay_s), 400, stay)
    assert np.all(np.diff(found.minute) >= 0)
    assert np.all(found.minute < 400)
    parent_minute = parents.minute[found.xy_m[:, 0].astype(int)]  # a place says which parent it came from
    assert np.all(found.minute > parent_minute)


def test_joined_keeps_every_point_with_its_place():
    both = joined(at([5, 9]), at([1, 9]))
    assert both.minute.tolist() == [1, 5, 9, 9]
    assert both.xy_m[:, 0].tolist() == [0, 0, 1, 1]
