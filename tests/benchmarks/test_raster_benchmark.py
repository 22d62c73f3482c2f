"""The raster benchmark in a short form: floors and shares, refusal of wrong maps, growth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import raster
from benchmarks.inputs.cities import WindowedCity, windows_of
from benchmarks.raster import copy_floor, growth, measure
from benchmarks.rivals.race import OURS, REUSING
from benchmarks.rivals.reference import NAME
from hews_gpu.raster.style import ReferenceStyle
from tests.inputs.random_city import outlines_of, random_city, random_pairs


@pytest.fixture(scope="module")
def work():
    city = random_city(4, neighborhoods=12, events=2000)
    pairs = random_pairs(4, 2000, 512, mean_incidents=4)
    return WindowedCity(
        "toy", city.neighborhoods, outlines_of(city.neighborhoods), city.places, pairs, ReferenceStyle()
    )


def test_the_floor_writes_every_byte_of_every_map():
    source = np.arange(5, dtype=np.uint64)
    target = np.ones((3, 5), np.uint64)
    copy_floor(source, target)
    assert (target == source).all()


def test_a_measurement_draws_all_windows_and_relates_them_to_the_floor(work, monkeypatch):
    rasterizer = work.rasterizer()
    drawn = []
    fill = rasterizer.fill
    monkeypatch.setattr(rasterizer, "fill", lambda pairs, out: (drawn.append(pairs), fill(pairs, out)))
    found = measure(rasterizer, work.pairs[:300], batch=100, rounds=3)
    assert np.array_equal(np.concatenate(drawn[-3:]), work.pairs[:300]) and len(drawn) == (1 + 3) * 3
    assert found["maps"] == 300 and found["batch"] == 100
    low, high = found["share_lowest_highest"]
    assert 0 < low <= found["share_of_copy_floor"] <= high
    assert found["maps_per_s"] == pytest.approx(300 / found["seconds"])


def test_maps_that_differ_from_the_numpy_reference_are_refused(work):
    def make(backend):
        made = work.rasterizer(backend)
        if backend == "numba":
            made.tables.palette[:] ^= 1
            return type(made)(made.tables, made.geometry, made.names, neighborhoods=12, backend="numba")
        return made

    with pytest.raises(AssertionError, match="numpy and numba differ"):
        raster.same_maps(make, work.pairs[:8])


def test_history_steps_follow_each_other_oldest_first(work):
    stacks = raster.stacks_of(work.pairs)
    assert raster.counting(work).shape == (54, 43, 12 * 6)
    assert np.array_equal(stacks[5], work.pairs[5 : 5 + 12])


def test_windows_are_of_two_hours_from_midnight_on():
    time_s = np.array([5 * 86_400 + 7_100, 5 * 86_400 + 7_200, 6 * 86_400, 7 * 86_400 + 1])
    pairs = windows_of(time_s)
    assert len(pairs) == 24 and pairs[:2].tolist() == [[0, 1], [1, 2]] and pairs[12].tolist() == [2, 3]
    assert len(windows_of(time_s, 5)) == 5


def test_the_fastest_other_is_no_one_of_ours_and_not_the_reference_path():
    def row(way, rate, median):
        return {"way": way, "threads": 1, "maps_per_s": rate, "ratios": {OURS: {"median": median}}}

    rows = [row(OURS, 900.0, 1.0), row(REUSING, 990.0, 0.9), row(NAME, 1.0, 900.0)]
    alone = {"ratio_to_reference_path": 900.0, "raced_threads": 1}
    assert raster.against(rows, OURS) == {**alone, "fastest_other": "none installed"}
    result = raster.against([*rows, row("a", 50.0, 18.0), row("b", 20.0, 45.0)], OURS)
    assert result == {**alone, "ratio_to_fastest_other": 18.0, "fastest_other": "a"}


def test_tables_say_what_was_measured(capsys):
    share = {"share_of_copy_floor": 0.5, "share_lowest_highest": [0.4, 0.6]}
    rates = {"maps_per_s": 1000.0, "copies_per_s": 2000.0, "gib_per_s": 1.0, "ratio_to_numpy": 100.0}
    rows = [{"work": "reference, toy", "threads": 2, "batch": 256, **share, **rates}]
    others = {"work": "toy", "threads": 2, "way": "x", "maps_per_s": 10.0, "mean_difference": 0.5}
    ratios = {OURS: {"median": 12.3, "low": 11.0, "high": 13.0}, REUSING: {"median": 20.0, "low": 19.0, "high": 21.0}}
    raster.show({"rows": rows, "others": [{**others, "ratios": ratios}]})
    printed = capsys.readouterr().out
    assert "0.50 [0.40, 0.60]" in printed and "12.3 [11.0, 13.0]" in printed and "20.0 [19.0, 21.0]" in printed


def test_growth_has_a_row_per_size(work, monkeypatch):
    for name, less in (("BATCH_BYTES", 1), ("FEWEST", 8), ("GROWTH_ROUNDS", 3)):
        monkeypatch.setattr(raster, name, less)
    series = growth(work, windows=(256, 512), incidents=(1, 10), polygons=(10,), map_sizes=((54, 44),))
    assert [one["x"] for one in series] == ["windows", "incidents per window", "polygons", "rows of the map"]
    assert [[row["x"] for row in one["rows"]] for one in series] == [[256, 512], [1, 10], [10], [54]]
    assert all(row["ours"] > 0 and row["floor"] > 0 for one in series for row in one["rows"])
    json.dumps(series)
