"""The order of drawing and reading on a GPU, played through on streams that run as late or as early as they may.

A stream here is a list of things to do; a scheduler takes from either at random, as far as events allow. What the
reader finds in a buffer must be the batch it was given, whatever the schedule. On a machine with a GPU the feeds are
compared for real.
"""

import copy
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.on_device import DeviceDrawer
from hews_gpu.feed.plan import Share, shares
from hews_gpu.feed.registry import feed_named
from tests.feed.toy import VALUES, toy_source


class Event:
    happened = False


class Stream:
    """Things to do in order; a wait blocks until its event has happened."""

    def __init__(self):
        self.todo = []

    def wait_event(self, event):
        self.todo.append(event)

    def record_event(self):
        event = Event()
        self.todo.append(lambda: setattr(event, "happened", True))
        return event

    def step(self):
        """Do the next thing; False if there is none, or it has to wait."""
        if not self.todo or (isinstance(self.todo[0], Event) and not self.todo[0].happened):
            return False
        head = self.todo.pop(0)
        if not isinstance(head, Event):
            head()
        return True


class Cuda:
    """What `DeviceDrawer` uses of torch.cuda; `eager` is the share of turns that the side stream gets."""

    def __init__(self, seed, eager):
        self.random, self.eager = random.Random(seed), eager
        self.reader, self.side, self.current = Stream(), None, None

    def Stream(self, device):
        self.side = Stream()
        self.side.synchronize = self.run
        return self.side

    @contextmanager
    def stream(self, stream):
        self.current = stream
        yield
        self.current = None

    def current_stream(self, device):
        return self.current or self.reader

    def some(self):
        for _ in range(self.random.randrange(12)):
            (self.side if self.random.random() < self.eager else self.reader).step()

    def run(self):
        while self.side.step() or self.reader.step():
            pass
        assert not self.side.todo and not self.reader.todo, "streams wait for each other"


@pytest.fixture
def source(toy_prepared):
    """Its rasterizer only notes down what to draw."""
    found = toy_source(toy_prepared)
    real = found.rasterizer
    late = copy.copy(real)
    late.fill = lambda pairs, out, stream: stream.todo.append(lambda: real.fill(pairs.numpy(), out))
    late.check = lambda stream: None
    object.__setattr__(found, "rasterizer", late)
    return found


@pytest.mark.parametrize("eager", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_reader_finds_its_batch_whatever_the_schedule(source, toy_prepared, seed, eager):
    toy = toy_source(toy_prepared)
    cuda = Cuda(seed, eager)
    drawer = DeviceDrawer(source, torch.device("cpu"), cuda)
    plan = list(shares(seed, 0, 0, 1, windows=len(source), batch_size=5))
    found = {}
    for turn, batch in enumerate(drawer.batches(iter(plan), None)):
        np.testing.assert_array_equal(batch.ids, plan[turn].ids)
        np.testing.assert_array_equal(batch.y, source.y[batch.ids])
        cuda.some()
        for _ in range(3):  # a step reads its batch more than once
            cuda.reader.todo.append(lambda turn=turn, maps=batch.maps: found.setdefault(turn, []).append(maps.clone()))
        cuda.some()
    cuda.run()
    assert len(found) == len(plan)
    for turn, share in enumerate(plan):
        expected = torch.from_numpy(toy.rasterizer.maps(source.pairs[share.ids])).permute(0, 3, 1, 2)
        assert len(found[turn]) == 3 and all(torch.equal(maps, expected) for maps in found[turn])


def test_a_reader_that_stops_early_leaves_nothing_running(source):
    cuda = Cuda(0, 0.5)
    batches = DeviceDrawer(source, torch.device("cpu"), cuda).batches(iter([Share(np.arange(4))] * 6), None)
    next(batches)
    batches.close()
    assert not cuda.side.todo


@pytest.mark.parametrize("wrong", [-1, 48])
def test_samples_that_there_are_not_are_refused_before_the_gpu_sees_them(source, wrong):
    drawer = DeviceDrawer(source, torch.device("cpu"), Cuda(0, 0.5))
    with pytest.raises(IndexError, match=r"must be 0\.\.47"):
        list(drawer.batches(iter([Share(np.array([0, wrong]))]), None))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["direct", "dali"])
@pytest.mark.parametrize("backend", ["cuda", "numba"])
@pytest.mark.parametrize("values", VALUES)
def test_a_gpu_gives_the_batches_of_the_cpu(toy_prepared, name, backend, values):
    if name == "dali":
        pytest.importorskip("nvidia.dali")
        pytest.importorskip("cupy")
    for style in ("reference", "channels"):
        there = feed_named(name, toy_source(toy_prepared, style, values, backend=backend), device="cuda")
        here = feed_named("direct", toy_source(toy_prepared, style, values))
        plan = list(shares(1, 0, 0, 1, windows=len(here), batch_size=8)) * 3
        for one, other in zip(there.batches(plan), here.batches(plan), strict=True):
            assert one.maps.is_cuda and one.maps.dtype == other.maps.dtype
            assert torch.equal(one.maps.cpu(), other.maps)
            assert torch.equal(one.y.cpu(), other.y) and torch.equal(one.calendar.cpu(), other.calendar)
        augment = Augmentation(seed=1, flip=True)
        within = {"uint8": 1.0, "uint8-log": 1.0, "float32": 1e-4, "bfloat16": 0.04, "float16": 0.01}[values]
        for one, other in zip(there.batches(plan, augment=augment), here.batches(plan, augment=augment), strict=True):
            torch.testing.assert_close(one.maps.cpu().float(), other.maps.float(), rtol=0, atol=within)
