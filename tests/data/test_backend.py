"""The same partition cleaned with pandas and with cuDF: the same verdicts and the same rows on disk, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.inputs.polygons import patchwork, points_near
from hews_gpu.data.backend import (
    array_of,
    as_array_like,
    concat,
    names_of,
    sort_by_time,
    to_arrow,
    to_backend,
    to_host,
    to_pandas,
)
from hews_gpu.data.clean import LONGEST_S, NUMBERS, Rules, clean
from hews_gpu.data.geometry.point_in_polygon import Areas, find_neighborhoods
from hews_gpu.data.prepare.sort import events_of
from hews_gpu.data.readers.dates import NOT_A_TIME


@pytest.fixture(params=["pandas", pytest.param("cudf", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Any:
    if request.param == "cudf":
        pytest.importorskip("cudf", reason="cuDF is not installed")
    return request.param


def block(rows: int = 3000) -> pd.DataFrame:
    """Numbers as `block_frame` makes them, with every reason to set a row aside."""
    rng = np.random.default_rng(0)
    near_x, near_y = points_near(patchwork(5, 6, 9))
    pick = rng.integers(0, len(near_x), rows)
    seconds = rng.integers(0, 10**9, rows) // 1800 * 1800
    frame = pd.DataFrame(
        {
            "row_id": np.arange(rows),
            "line": np.arange(2, rows + 2),
            "source": np.zeros(rows, np.int32),
            "problem": np.where(rng.random(rows) < 0.05, rng.integers(1, 5, rows), 0).astype(np.uint8),
            "time_s": np.where(rng.random(rows) < 0.05, NOT_A_TIME, np.where(np.arange(rows) % 31, seconds, 0)),
            "longitude": near_x[pick],
            "latitude": near_y[pick],
            "has_place": rng.random(rows) < 0.97,
            "category": pd.Categorical(rng.choice(["", "LARCENY", "ODD", "SHOOTING"], rows, p=[0.05, 0.6, 0.05, 0.3])),
            "is_marked": np.arange(rows) % 7 == 0,
            "hash_a": rng.integers(0, 2**64, rows, np.uint64),
            "hash_b": rng.integers(0, 2**64, rows, np.uint64),
            "named": rng.choice([-2, -1, 0, 1], rows, p=[0.1, 0.7, 0.1, 0.1]).astype(np.int16),
            "known_s": np.where(rng.random(rows) < 0.05, NOT_A_TIME, seconds),
        }
    )
    late_s = rng.choice([0, 3600, -60, LONGEST_S + 1], rows, p=[0.8, 0.1, 0.05, 0.05])
    frame["end_s"] = np.where(rng.random(rows) < 0.05, NOT_A_TIME, frame["time_s"] + late_s)
    return frame[NUMBERS]


def rules(engine: Any) -> Rules:
    areas = Areas(rings=patchwork(5, 6, 9))
    known = frozenset({"LARCENY", "SHOOTING"})
    inner = np.array([[0.5, 0.5], [1.5, 0.5]])
    targets = frozenset({"SHOOTING"})
    return Rules(
        areas=areas, tolerance_m=0.0, targets=targets, known=known, says_known=True, inner=inner, engine=engine
    )


def test_frames_come_back_as_they_went(backend: Any) -> None:
    frame = block(100)
    there = to_backend(frame, backend)
    pd.testing.assert_frame_equal(to_pandas(there), frame)
    assert names_of(there["category"]) == list(frame["category"].cat.categories)
    assert to_host(array_of(there["time_s"])).tolist() == frame["time_s"].tolist()
    again = to_backend(to_arrow(there[["time_s", "longitude", "has_place", "hash_a"]]), backend)
    pd.testing.assert_frame_equal(to_pandas(again), frame[["time_s", "longitude", "has_place", "hash_a"]])
    like = as_array_like(np.arange(3), array_of(there["time_s"]))
    assert type(like) is type(array_of(there["time_s"]))
    assert len(concat([there, there])) == 200


def test_rows_of_one_time_stay_in_the_order_of_their_ids(backend: Any) -> None:
    """Three parts as `load_bucket` puts them together, each sorted by both, with a thousand rows of the same hour."""
    times = np.sort(np.random.default_rng(1).integers(0, 3, (3, 1000)) * 3600, axis=1)
    parts = [pd.DataFrame({"time_s": time_s, "row_id": 1000 * n + np.arange(1000)}) for n, time_s in enumerate(times)]
    found = to_pandas(sort_by_time(concat([to_backend(part, backend) for part in parts])))
    expected = sorted(zip(*(found[name].tolist() for name in ("time_s", "row_id")), strict=True))
    assert list(zip(found["time_s"].tolist(), found["row_id"].tolist(), strict=True)) == expected
    assert found.index.tolist() == list(range(3000))


def test_verdicts_and_rows_are_those_of_pandas(backend: Any) -> None:
    expected = clean(block(), rules("numba"))
    found = clean(to_backend(block(), backend), rules("cuda" if backend == "cudf" else "numba"))
    for name in ("reason", "neighborhood_id", "is_nearest", "is_target"):
        column = to_host(array_of(found[name]))
        assert column.dtype == expected[name].dtype and np.array_equal(column, expected[name].to_numpy()), name
    assert len(set(expected["reason"])) > 10 and (expected["reason"] == 0).sum() > 500
    places: list[dict[str, int]] = [{}, {}]
    both = [
        [events_of(v, place) for v in (of, of.assign(row_id=of["row_id"] + 3000))]
        for of, place in zip((expected, found), places, strict=True)
    ]
    one, other = (to_arrow(sort_by_time(concat(frames))) for frames in both)
    assert places[0] == places[1] and expected["is_target"][expected["is_marked"]].all()
    assert one.to_pylist() == other.to_pylist()


@pytest.mark.gpu
@pytest.mark.parametrize("on_device", [False, True])
def test_points_are_placed_on_a_gpu_as_on_the_host(on_device: bool) -> None:
    areas = rules("numba").areas
    x, y = points_near(areas.rings)
    expected, _ = find_neighborhoods(areas, x, y, engine="numba")
    if on_device:
        cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
        found, _ = find_neighborhoods(areas, cupy.asarray(x), cupy.asarray(y), engine="cuda")
        assert isinstance(found, cupy.ndarray)
    else:
        found, _ = find_neighborhoods(areas, x, y, engine="cuda")
    assert np.array_equal(to_host(found), expected)


def test_no_points_are_placed_nowhere() -> None:
    areas = rules("numba").areas
    for engine in ("numba", "cuda"):
        found, nearest = find_neighborhoods(areas, np.zeros(0), np.zeros(0), engine=engine)  # type: ignore[arg-type]
        assert len(found) == len(nearest) == 0
