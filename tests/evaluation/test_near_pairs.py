"""The Knox test: counts against a double loop, no alarm where there is nothing, planted repeats found."""

import numpy as np
import pytest

from hews_gpu.evaluation.near_pairs import BANDS_S, knox

DAY_S = 86_400


def scattered(seed, n=600):
    """Events of two years over hot spots and quiet ground, times and places independent."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(0, 12_000, (30, 2))
    xy_m = np.where(rng.random((n, 1)) < 0.5, spots[rng.integers(0, 30, n)], rng.uniform(0, 12_000, (n, 2)))
    return rng.integers(0, 730 * DAY_S, n), xy_m + rng.normal(0, 80, (n, 2)), rng


def test_pairs_are_those_of_a_double_loop():
    time_s, xy_m, _ = scattered(0, n=300)
    expected = [0] * len(BANDS_S)
    for i in range(300):
        for j in range(i):
            if np.hypot(*(xy_m[i] - xy_m[j])) <= 200:
                for k, (low, high) in enumerate(BANDS_S):
                    expected[k] += low <= abs(time_s[i] - time_s[j]) < high
    found = knox(time_s, xy_m, exchanges=10)
    assert [one["pairs"] for one in found] == expected and sum(expected) > 10


def test_where_places_and_times_are_independent_chance_explains_it():
    p = np.array([[one["p"] for one in knox(*scattered(seed)[:2], exchanges=99)] for seed in range(30)])
    assert 0.35 < p.mean() < 0.65 and (p <= 0.05).mean() < 0.12


@pytest.mark.parametrize("days", [0.5, 2.0])
def test_near_repeats_are_found_in_their_band(days):
    time_s, xy_m, rng = scattered(1)
    again = rng.choice(600, 30, replace=False)
    time_s = np.concatenate([time_s, time_s[again] + int(days * DAY_S)])
    xy_m = np.concatenate([xy_m, xy_m[again] + rng.normal(0, 50, (30, 2))])
    found = knox(time_s, xy_m)
    band = 0 if days < 1 else 1
    assert found[band]["p"] == 0.001 and found[band]["pairs"] > found[band]["expected"] + 20
    assert all(found[i]["p"] > 0.01 for i in range(4) if i != band)
