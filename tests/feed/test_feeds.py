"""Every feed gives the same batches to the bit, stops when its reader stops, and tells what went wrong.

Batches are compared with what the NumPy reference draws, so that feeds cannot be wrong alike.
"""

import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch

from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.feeds import FEEDS, open_feed
from hews_gpu.feed.plan import Share, shares
from tests.feed.toy import VALUES, toy_source

SEED, BATCH = 5, 8


@pytest.fixture(params=FEEDS)
def name(request):
    return request.param


@pytest.fixture
def make(name, toy_prepared, toy_stores):
    """A feed of the given style and values."""

    def make(style="reference", values="uint8"):
        named = f"zarr:{toy_stores[style]}" if name == "zarr" else name
        return open_feed(named, toy_source(toy_prepared, style, values))

    return make


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


@pytest.fixture(scope="session")
def drawn(toy_prepared):
    """All maps as the NumPy reference draws them, [S, C, H, X]."""
    found = {}
    for style in ("reference", "channels"):
        for values in VALUES:
            source = toy_source(toy_prepared, style, values, backend="numpy")
            maps = source.rasterizer.maps(source.pairs)
            maps = maps.view(np.int16) if values == "bfloat16" else maps
            maps = torch.from_numpy(maps).permute(0, 3, 1, 2)
            found[style, values] = maps.view(torch.bfloat16) if values == "bfloat16" else maps
    return found


@pytest.mark.parametrize("style", ["reference", "channels"])
@pytest.mark.parametrize("values", VALUES)
def test_batches_are_the_drawn_ones_in_every_epoch_on_every_rank(make, drawn, style, values):
    feed, expected = make(style, values), drawn[style, values]
    assert expected.float().abs().max() > 0
    for epoch in range(2):
        for rank in range(2):
            plan = list(shares(SEED, epoch, rank, 2, windows=len(feed), batch_size=BATCH))
            given = 0
            for share, batch in zip(plan, feed.batches(plan), strict=True):
                np.testing.assert_array_equal(batch.ids, share.ids)
                assert batch.maps.dtype == expected.dtype
                assert torch.equal(bits(batch.maps), bits(expected[share.ids]))
                assert batch.maps.is_contiguous(memory_format=torch.channels_last)
                for column in ("calendar", "climatology", "y"):
                    np.testing.assert_array_equal(getattr(batch, column), getattr(feed.source, column)[share.ids])
                given += 1
            assert given == len(plan) == -(-len(feed) // BATCH)


def test_in_order_gives_every_sample_once_and_the_last_batch_is_shorter(make, drawn):
    feed = make()
    sizes, ids = [], []
    for batch in feed.in_order(20):
        assert torch.equal(batch.maps, drawn["reference", "uint8"][batch.ids])
        sizes.append(len(batch))
        ids += batch.ids.tolist()
    assert sizes == [20, 20, 8] and ids == list(range(48))


def test_restarted_plans_go_on_with_the_same_batches(make):
    feed = make()
    options = {"windows": 22, "batch_size": 6}
    augment = Augmentation(seed=1)
    whole = [b.maps.clone() for b in feed.batches(shares(SEED, 1, 0, 1, **options), augment=augment)]
    rest = [b.maps.clone() for b in feed.batches(shares(SEED, 1, 0, 1, first_step=2, **options), augment=augment)]
    assert len(whole) > 3 and len(rest) == len(whole) - 2
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_a_batch_lasts_until_the_next_is_asked_for(make, drawn):
    """A reader that sleeps gives the others all the time to overwrite what it holds."""
    feed = make()
    plan = list(shares(SEED, 0, 0, 1, windows=len(feed), batch_size=4)) * 2
    for share, batch in zip(plan, feed.batches(plan), strict=True):
        time.sleep(0.01)
        assert torch.equal(batch.maps, drawn["reference", "uint8"][share.ids])


def test_any_number_of_ranks_varies_a_sample_alike(make):
    feed = make(values="float32")
    augment = Augmentation(seed=2, flip=True)
    options = {"windows": len(feed), "batch_size": BATCH}
    alone = [b.maps.clone() for b in feed.batches(shares(SEED, 3, 0, 1, **options), augment=augment)]
    ranks = [
        [b.maps.clone() for b in feed.batches(shares(SEED, 3, rank, 4, **options), augment=augment)]
        for rank in range(4)
    ]
    together = [torch.cat(pieces) for pieces in zip(*ranks, strict=True)]
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    other = next(iter(feed.batches(shares(SEED, 4, 0, 1, **options), augment=augment))).maps
    assert (other - alone[0]).abs().max() > 0.1


def test_plain_ids_cannot_be_varied(make):
    with pytest.raises(ValueError, match="shares"):
        next(make().batches([np.arange(3)], augment=Augmentation(seed=0)))


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_a_reader_that_stops_early_leaves_no_thread(make):
    feed = make()
    batches = feed.in_order(1)
    next(batches)
    batches.close()
    assert not feed_threads()
    assert sum(len(batch) for batch in feed.in_order(7)) == 48


def test_a_reader_that_fails_leaves_no_thread(make):
    def read(feed):
        for _ in feed.in_order(1):
            raise KeyError("reader")

    with pytest.raises(KeyError, match="reader"):
        read(make())
    assert not feed_threads()


@pytest.mark.parametrize("good", [0, 1, 4])
def test_an_error_comes_where_its_batch_would_have_come(make, good):
    feed, seen = make(), 0
    plan = [Share(np.arange(4))] * good + [Share(np.array([4800]))] + [Share(np.arange(4))] * 2
    with pytest.raises(IndexError):
        for _ in feed.batches(plan):
            seen += 1
    assert seen == good
    assert not feed_threads()
    assert len(next(feed.in_order(5))) == 5


def test_a_plan_that_fails_is_not_swallowed(make):
    def plan():
        yield Share(np.arange(3))
        raise KeyError("plan")

    with pytest.raises(KeyError, match="plan"):
        list(make().batches(plan()))
    assert not feed_threads()


def test_an_empty_plan_gives_nothing(make):
    assert list(make().batches([])) == []


def test_waiting_is_measured(make, monkeypatch):
    feed = make()
    began = time.perf_counter()
    sleeps = [time.sleep(0.02) for _ in feed.in_order(8)]
    assert len(sleeps) == 6
    took = time.perf_counter() - began
    assert 0 < feed.waited_s <= took - 6 * 0.02
    before = feed.waited_s
    slow = feed._batch
    monkeypatch.setattr(feed, "_batch", lambda ids, maps: (time.sleep(0.02), slow(ids, maps))[1])
    assert len(list(feed.in_order(8))) == 6
    assert feed.waited_s - before > 6 * 0.02 * 0.9


def test_several_readers_at_once_get_what_they_asked_for(make, drawn):
    """Two feeds of one rasterizer, which keeps a scratch, and two readers of each."""
    feeds = [make(values="float32"), make(values="float32")]
    feeds[1].source = feeds[0].source
    right = []

    def read(feed, size):
        expected = drawn["reference", "float32"]
        right.extend(torch.equal(batch.maps, expected[batch.ids]) for batch in feed.in_order(size))

    threads = [threading.Thread(target=read, args=(feed, size)) for feed in feeds for size in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * (2 * 16 + 2 * 12)


def test_memory_does_not_grow_with_the_epochs(make):
    feed = make()
    for _ in range(2):
        list(feed.in_order(8))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        list(feed.in_order(8))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


def test_an_unknown_feed_is_one_line(toy_prepared):
    with pytest.raises(UserError, match=r"--feed = 'dally'.*Did you mean 'dali'"):
        open_feed("dally", toy_source(toy_prepared))
