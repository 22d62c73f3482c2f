"""The direct feed gives what the Rasterizer draws, in the plan's order, however slowly it is read.

Toy: 300 incidents of two categories on 4 by 5 cells; 40 samples of 3 steps.
"""

import threading
import time

import numpy as np
import pytest
import torch

from hews_gpu.config import ChannelsConfig
from hews_gpu.data.windows import Samples
from hews_gpu.feed.batch import FEATURES, MapSource, calendar_features
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.plan import plan
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Places
from hews_gpu.raster.rasterizer import Rasterizer
from hews_gpu.raster.style import ChannelsStyle

STEPS, SAMPLES, EVENTS = 3, 40, 300


def toy_rasterizer(steps=STEPS):
    rng = np.random.default_rng(0)
    places = Places(
        longitude=rng.random(EVENTS),
        latitude=rng.random(EVENTS),
        category=rng.integers(0, 2, EVENTS).astype(np.int16),
        neighborhood=np.zeros(EVENTS, dtype=np.int16),
        categories=("A", "B"),
    )
    geometry = MapGeometry.around(np.array([0.0, 0.0, 1.0, 1.0]), "auto", height=4, width=5)
    style = ChannelsStyle.from_config(ChannelsConfig(height=4, width=5, groups={"a": ("A",)}))
    return Rasterizer.channels(geometry, style, places, steps=steps)


def toy_samples():
    edges = np.sort(np.random.default_rng(1).integers(0, EVENTS + 1, (SAMPLES, STEPS + 1)), axis=1)
    issue_s = np.arange(SAMPLES, dtype=np.int64) * 7200
    return Samples(
        issue_s=issue_s,
        history=np.stack([edges[:, :-1], edges[:, 1:]], axis=2),
        target_begin_s=issue_s + 3600,
        target_end_s=issue_s + 7200,
        y=np.random.default_rng(2).random(SAMPLES) < 0.3,
    )


@pytest.fixture
def feed():
    return DirectFeed(MapSource.of_samples(toy_rasterizer(), toy_samples(), np.linspace(-2, 0, SAMPLES)))


@pytest.mark.parametrize("delay_s", [0.0, 0.01])
def test_batches_are_what_the_rasterizer_draws_in_the_order_of_the_plan(feed, delay_s):
    ids = [plan(3, 0, 0, 1, step, windows=SAMPLES, batch_size=7) for step in range(6)]
    samples = toy_samples()
    seen = 0
    for batch, expected in zip(feed.batches(ids), ids, strict=True):
        time.sleep(delay_s)  # the thread has all the time to draw ahead, but not into this batch
        np.testing.assert_array_equal(batch.ids, expected)
        drawn = feed.source.rasterizer.maps(samples.history[expected])
        np.testing.assert_array_equal(batch.maps.permute(0, 2, 3, 1).numpy(), drawn)
        assert drawn.any()
        np.testing.assert_array_equal(batch.calendar, calendar_features(samples.target_begin_s[expected]))
        np.testing.assert_array_equal(batch.climatology, np.linspace(-2, 0, SAMPLES)[expected].astype(np.float32))
        np.testing.assert_array_equal(batch.y, samples.y[expected])
        seen += 1
    assert seen == 6


def test_a_batch_is_channels_last_and_copies_nothing(feed):
    batch = next(iter(feed.in_order(8)))
    assert batch.maps.dtype == torch.uint8 and batch.maps.shape == (8, STEPS * 2, 4, 5)
    assert batch.maps.is_contiguous(memory_format=torch.channels_last)
    assert batch.calendar.shape == (8, FEATURES)
    assert {t.dtype for t in (batch.calendar, batch.climatology, batch.y)} == {torch.float32}


@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_in_order_gives_every_sample_once(feed, size):
    ids = np.concatenate([batch.ids for batch in feed.in_order(size)])
    np.testing.assert_array_equal(ids, np.arange(SAMPLES))


def test_slices_are_the_same_batch_in_pieces(feed):
    batch = next(iter(feed.in_order(10)))
    pieces = list(batch.slices(4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    for name in ("maps", "calendar", "climatology", "y"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), getattr(batch, name))
    assert pieces[0].maps.data_ptr() == batch.maps.data_ptr()


def test_an_error_while_drawing_reaches_the_reader(feed):
    with pytest.raises(IndexError):
        list(feed.batches([np.array([0]), np.array([SAMPLES])]))


def test_a_reader_that_stops_early_leaves_no_thread(feed):
    batches = feed.in_order(1)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]
    assert len(list(feed.in_order(1))) == SAMPLES


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match=r"climatology.*\(40,\)"):
        MapSource.of_samples(toy_rasterizer(), toy_samples(), np.zeros(3))
    with pytest.raises(ValueError, match=r"is int64\[40, 3, 2\], must be int64\[B, 2, 2\]"):
        MapSource.of_samples(toy_rasterizer(steps=2), toy_samples(), np.zeros(SAMPLES))
