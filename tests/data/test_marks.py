"""Duplicates and twins against brute force over all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.data import marks
from hews_gpu.data.marks import NEAR_TWIN, NONE, TWIN, Places, Reach, distance_m, first_duplicates, nearest_target

M_PER_DEG = 111_000.0


def places(rng: np.random.Generator, count: int, first_id: int) -> Places:
    """Rows crowded in four hours and one kilometre, on a coarse lattice so that ties are common."""
    time_s = rng.integers(0, 480, count) * 30
    longitude = -76.6 + rng.integers(0, 12, count) * 80 / M_PER_DEG
    latitude = 39.3 + rng.integers(0, 12, count) * 60 / M_PER_DEG
    return Places(time_s, longitude, latitude, rng.permutation(count) + first_id)


def brute_force(rows: Places, targets: Places, max_m: float, max_s: int | None) -> list[int]:
    """The definition, pair by pair; `max_s` None is the same minute."""
    lon, lat = rows.longitude[:, None], rows.latitude[:, None]
    apart_m = distance_m(lon, lat, targets.longitude[None], targets.latitude[None]).tolist()
    result = []
    for i, time_s in enumerate(rows.time_s.tolist()):
        found = []
        for j, target_s in enumerate(targets.time_s.tolist()):
            in_time = time_s // 60 == target_s // 60 if max_s is None else abs(time_s - target_s) <= max_s
            if in_time and apart_m[i][j] <= max_m:
                found.append((abs(time_s - target_s), apart_m[i][j], int(targets.row_id[j])))
        result.append(min(found)[2] if found else NONE)
    return result


@pytest.mark.parametrize(("reach", "max_s"), [(TWIN, None), (NEAR_TWIN, 1800), (Reach(80.0, 60), 60)])
@pytest.mark.parametrize("max_pairs", [1, 50, marks.MAX_PAIRS])
def test_twins_equal_brute_force(
    reach: Reach, max_s: int | None, max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_PAIRS", max_pairs)
    rng = np.random.default_rng(7)
    rows, targets = places(rng, 400, 1000), places(rng, 60, 0).sorted_by_time()
    expected = brute_force(rows, targets, reach.distance_m, max_s)
    assert nearest_target(rows, targets, reach).tolist() == expected
    assert 5 < sum(found != NONE for found in expected) < 400


def test_the_edges_of_reach() -> None:
    targets = Places(np.array([3600]), np.array([-76.6]), np.array([39.3]), np.array([5]))
    times = np.array([3599, 3600, 3659, 3660, 1800, 1799, 5400, 5401])
    rows = Places(times, np.full(8, -76.6), np.full(8, 39.3), np.arange(8) + 10)
    assert (nearest_target(rows, targets, TWIN) == 5).tolist() == [False, True, True, False, False, False, False, False]
    near = (nearest_target(rows, targets, NEAR_TWIN) == 5).tolist()
    assert near == [True, True, True, True, True, False, True, False]


def test_no_targets_and_no_rows() -> None:
    empty = Places(*(np.array([], dtype) for dtype in (np.int64, float, float, np.int64)))
    rows = places(np.random.default_rng(0), 5, 0)
    assert nearest_target(rows, empty, TWIN).tolist() == [NONE] * 5
    assert nearest_target(empty, rows.sorted_by_time(), TWIN).tolist() == []
    assert first_duplicates(*(np.array([], dtype) for dtype in (np.uint64, np.uint64, np.int64))).tolist() == []


def test_distance_agrees_with_the_geodesic() -> None:
    from pyproj import Geod

    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-180, 180, 500), rng.uniform(-70, 70, 500)
    lon2, lat2 = lon + rng.uniform(-0.02, 0.02, 500), lat + rng.uniform(-0.02, 0.02, 500)
    exact = Geod(ellps="WGS84").inv(lon, lat, lon2, lat2)[2]
    np.testing.assert_allclose(distance_m(lon, lat, lon2, lat2), exact, rtol=1e-4)


def test_the_first_duplicate_is_the_one_with_the_lowest_row_id() -> None:
    a = np.array([7, 3, 7, 7, 3, 9], np.uint64)
    b = np.array([1, 1, 1, 2, 1, 1], np.uint64)
    ids = np.array([5, 4, 3, 2, 1, 0])
    assert first_duplicates(a, b, ids).tolist() == [3, 1, NONE, NONE, NONE, NONE]
