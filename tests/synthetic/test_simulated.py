"""The city as arrays: the same as what is prepared from its files, and decades of it in seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hews_gpu.config import load_city
from hews_gpu.data.events import open_prepared
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.windows import make_samples
from hews_gpu.errors import UserError
from hews_gpu.synthetic import load_truth, simulate_city, write_city

SHOWN = ("time_s", "longitude", "latitude", "category", "neighborhood", "is_target", "is_duplicate", "is_twin")


@pytest.mark.parametrize("preset", ["demo", "strong", "spatial", "pairs"])  # the others are as strong, for less
def test_the_arrays_are_those_of_the_prepared_table(tmp_path, preset):
    toml = write_city(tmp_path / "city", preset=preset, seed=6, years=1, under_reporting=0.3 * (preset == "spatial"))
    assert toml.name == f"{preset}.toml"
    city = load_city(toml)
    prepare(city, tmp_path / "prepared")
    prepared = open_prepared(tmp_path / "prepared")
    fast = simulate_city(preset, seed=6, years=1, under_reporting=0.3 * (preset == "spatial"))
    assert fast.events.categories == prepared.events.categories
    for name in SHOWN:
        ours, wanted = getattr(fast.events, name), getattr(prepared.events, name)
        assert ours.dtype == wanted.dtype, name
        assert np.array_equal(ours, wanted), name
    assert fast.names == tuple(prepared.neighborhoods["name"])
    assert (fast.known_s >= fast.events.time_s).all()

    truth = load_truth(tmp_path / "prepared" / "truth.npz")
    samples = make_samples(prepared.events, city, truth.begin_s, truth.end_s)
    times = samples.issue_s, samples.target_begin_s, samples.target_end_s
    p = truth.probability(*times)
    assert np.array_equal(p, fast.truth.probability(*times))
    assert np.array_equal(samples.y, truth.happened(*times[1:]))  # no label is lost or made on the way
    assert truth.preset == preset
    assert abs((samples.y - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_neighborhoods_of_targets_and_twins_are_in_the_table():
    city = simulate_city("strong", seed=2, years=2)
    events = city.events
    rows = np.stack([events.time_s, events.neighborhood.astype(np.int64)], axis=1)[events.is_target]
    assert np.array_equal(
        np.unique(rows, axis=0), np.unique(np.stack([city.truth.target_s, city.truth.target_area], axis=1), axis=0)
    )
    shootings = events.time_s[events.is_target]
    twin_s = events.time_s[events.is_twin & (np.array(events.categories) == "AGG. ASSAULT")[events.category]]
    assert 0.35 < np.isin(np.unique(shootings), twin_s).mean() < 0.5


def test_twenty_years_take_less_than_a_minute():
    began = time.process_time()
    city = simulate_city("strong", seed=1, years=20)
    issue_s = np.arange(city.begin_s + 86_400, city.end_s, 7200)
    city.truth.probability(issue_s, issue_s, issue_s + 7200)
    assert time.process_time() - began < 60
    assert len(city.events) > 800_000


def test_an_unknown_preset_is_refused():
    with pytest.raises(UserError, match="null"):
        simulate_city("nul")
