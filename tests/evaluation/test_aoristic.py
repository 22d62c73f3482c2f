"""Aoristic weights against what other tools say: areas of polygons, and minutes counted one by one."""

from itertools import pairwise

import numpy as np
import pytest
import shapely

from hews_gpu.evaluation.aoristic import band_chances, mean_clipped, spread
from hews_gpu.evaluation.near_pairs import knox

HOUR_S, DAY_S = 3600, 86_400
EDGES_S = (0, 2 * HOUR_S, DAY_S, 3 * DAY_S)


def test_weights_of_windows_are_those_of_counted_minutes():
    rng = np.random.default_rng(0)
    time_s = rng.integers(0, 10 * DAY_S, 60) // 60 * 60
    span_s = np.where(rng.random(60) < 0.3, 0, rng.integers(0, 2 * DAY_S, 60) // 60 * 60)
    time_s[0], span_s[0] = 4 * HOUR_S, 2 * HOUR_S  # ends with a window
    for width_s in (2 * HOUR_S, 8 * HOUR_S):
        row, window, weight = spread(time_s, span_s, width_s)
        expected = np.zeros((60, 200))
        for i in range(60):
            minutes = np.arange(time_s[i], time_s[i] + max(60, span_s[i]), 60)
            np.add.at(expected[i], minutes // width_s, 1 / len(minutes))
        found = np.zeros_like(expected)
        np.add.at(found, (row, window), weight)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def polygon_chance(apart_s, span_s, other_s, low_s, high_s):
    """Share of the rectangle of both moments, or of a line, that lies in the strips of the band; by shapely."""

    def share(a, b):
        far = 1e7
        strip = shapely.Polygon([(-far, -far - b), (far, far - b), (far, far - a), (-far, -far - a)])  # a <= x - y < b
        if span_s and other_s:
            shape = shapely.box(apart_s, 0, apart_s + span_s, other_s)
            return shape.intersection(strip).area / shape.area
        line = shapely.LineString([(apart_s, 0), (apart_s + span_s, other_s)])
        return line.intersection(strip).length / line.length

    return share(low_s, high_s) + share(-high_s, -low_s)


def test_chances_of_bands_are_areas_of_polygons():
    rng = np.random.default_rng(1)
    n = 200
    apart_s = rng.integers(-2 * DAY_S, 2 * DAY_S, n)
    span_s, other_s = rng.integers(60, 3 * DAY_S, (2, n)) * (rng.random((2, n)) < 0.75)
    span_s[span_s + other_s == 0] = HOUR_S
    found = band_chances(apart_s, span_s, other_s, EDGES_S)
    expected = [
        [polygon_chance(*map(int, pair), *band) for band in pairwise(EDGES_S)]
        for pair in zip(apart_s, span_s, other_s, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    far = band_chances(np.array([400 * DAY_S]), np.array([60]), np.array([366 * DAY_S]), (0, 399 * DAY_S, 800 * DAY_S))
    assert far.sum() == pytest.approx(1, abs=1e-9)


def test_exposure_is_the_mean_over_the_span():
    rng = np.random.default_rng(2)
    upper_s, span_s = (
        rng.integers(-DAY_S, 4 * DAY_S, 50),
        rng.integers(0, 2 * DAY_S, 50) * (rng.random(50) < 0.7).astype(int),
    )
    found = mean_clipped(upper_s, span_s, DAY_S)
    for k in range(50):
        values = upper_s[k] - np.linspace(0, span_s[k], 100_001)
        assert found[k] == pytest.approx(np.clip(values, 0, DAY_S).mean(), abs=2)


def test_pairs_with_spans_are_sums_of_chances_and_without_are_whole():
    rng = np.random.default_rng(3)
    time_s, xy_m = rng.integers(0, 20 * DAY_S, 80), rng.uniform(0, 500, (80, 2))
    span_s = rng.integers(0, 2 * DAY_S, 80) * (rng.random(80) < 0.6)
    bands = {"edges_m": (0.0, 100.0, 300.0), "edges_s": EDGES_S, "exchanges": 5}
    expected = np.zeros((2, 3))
    for i in range(80):
        for j in range(i):
            far = np.hypot(*(xy_m[i] - xy_m[j]))
            if far > 300:
                continue
            apart_s = time_s[i] - time_s[j]
            if span_s[i] + span_s[j]:
                chances = band_chances(*(np.array([v]) for v in (apart_s, span_s[i], span_s[j])), EDGES_S)[0]
            else:
                chances = np.histogram(abs(apart_s), EDGES_S)[0]
            expected[int(far > 100)] += chances
    np.testing.assert_allclose(knox(time_s, xy_m, span_s=span_s, **bands).seen, expected, rtol=1e-9)
    exact, none = knox(time_s, xy_m, **bands), knox(time_s, xy_m, span_s=np.zeros(80, np.int64), **bands)
    assert (
        exact.seen.dtype == np.int64
        and (exact.drawn == none.drawn).all()
        and isinstance(exact.cells()[0]["pairs"], int)
    )
