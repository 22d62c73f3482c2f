"""The benchmark of feeds in a short form: the same batches, every row there, a feed that differs is refused."""

import json

import numpy as np
import pytest

from benchmarks.feed import Scale, make_feeds, make_source, reading, require_same, show, store, training
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.feeds import FEEDS

TINY = Scale(windows=128, read=128, steps={"reference2": 2}, training_rounds={"reference2": 3}, rounds=3, batch=2)


@pytest.fixture(scope="module")
def feeds(tmp_path_factory):
    source = make_source(TINY.windows, height=150, width=150)
    return make_feeds(source, store(tmp_path_factory.mktemp("feed") / "maps.zarr", source), "cpu")


def test_every_feed_takes_part_and_gives_the_same_batches(feeds):
    assert set(feeds) == set(FEEDS)
    assert 0 <= require_same(feeds, TINY.windows) <= 1


def test_a_feed_that_differs_is_refused(feeds, monkeypatch):
    source = feeds["dali"].source
    monkeypatch.setattr(feeds["dali"], "source", source.select(np.arange(len(source))[::-1].copy()))
    with pytest.raises(AssertionError, match="dali differs by"):
        require_same(feeds, TINY.windows)


def test_reading_and_training_tell_rates_ratios_and_waiting(feeds, capsys):
    rows = reading(feeds, TINY)
    assert len(rows) == 2 * len(FEEDS) + 1
    assert all(row["lowest_highest"][0] <= row["samples_per_s"] <= row["lowest_highest"][1] for row in rows)
    rate = {(row["feed"], row["how"]): row["samples_per_s"] for row in rows}
    assert rate["direct", "shuffled"] > rate["direct", "shuffled, augmented"] > 0
    trained = training("reference2", feeds, TINY, Augmentation(seed=0))
    assert trained["augmented"] and trained["cached_step_s"] > 0
    for name in FEEDS:
        low, high = trained[name]["lowest_highest"]
        assert 0 < low <= trained[name]["step_over_cached"] <= high
        assert 0 <= trained[name]["waiting_share"] < 1
    result = {"windows": 128, "map": [150, 150, 3], "threads": 1, "reading": rows, "training": [trained]}
    show(result)
    assert "reference2, augmented" in capsys.readouterr().out


def test_results_can_be_kept_as_json(feeds):
    assert json.loads(json.dumps(reading({"direct": feeds["direct"]}, TINY)))[0]["feed"] == "direct"
