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
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.raster import counting, painting
from hews_gpu.feed import direct
from hews_gpu.feed.augment import Augmentation, for_torch, warp_by_torch
from hews_gpu.feed.batch import MapSource
from hews_gpu.feed.direct import DeviceDrawer, DirectFeed
from hews_gpu.feed.plan import Share, shares
from hews_gpu.raster.output import Values

VALUES = {
    "uint8": Values.plain(),
    "float32": Values.unit("float32"),
    "bfloat16": Values.normalized(30.0, 50.0, "bfloat16"),
    "float16": Values.log_counts("float16"),
}
WITHIN = {"uint8": 1.0, "float32": 1e-4, "bfloat16": 0.04, "float16": 0.01}
"""How far resampled maps may differ: a unit in the last place of each."""


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


def drawn_source(make, backend, values, samples=37):
    """Windows of about six incidents of a city without polygons, which needs nothing but NumPy."""
    random = np.random.default_rng(4)
    size = {"height": 30, "width": 24} if make is painting else {"height": 6, "width": 5}
    rasterizer = make(backend, **size).writing(VALUES[values])
    lengths = random.poisson(6.0, (samples, max(rasterizer.steps, 1)))
    first = random.integers(0, rasterizer.events - lengths.max(), lengths.shape)
    pairs = np.stack([first, first + lengths], axis=-1)
    return MapSource.of_maps(rasterizer, pairs if rasterizer.steps else pairs[:, 0], random.random(samples) < 0.3)


@pytest.fixture
def source():
    """Its rasterizer only notes down what to draw."""
    found = drawn_source(painting, "numba", "uint8")
    real = found.rasterizer
    late = copy.copy(real)
    late.fill = lambda pairs, out, stream: stream.todo.append(lambda: real.fill(pairs.numpy(), out))
    late.check = lambda stream: None
    object.__setattr__(found, "rasterizer", late)
    return found


def drawer_of(source, cuda, device="cpu", **options):
    columns = (source.calendar, source.climatology, source.y)
    return DeviceDrawer(source, tuple(torch.from_numpy(column).to(device) for column in columns), cuda, **options)


@pytest.mark.parametrize("group", [1, 11, None])  # a batch at a time; two, and the last one alone; all at once
@pytest.mark.parametrize("eager", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_reader_finds_its_batch_whatever_the_schedule(source, seed, eager, group):
    toy = drawn_source(painting, "numba", "uint8")
    cuda = Cuda(seed, eager)
    drawer = drawer_of(source, cuda, group=group)
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


class Copies(TorchDispatchMode):
    """Counts what is copied from the host to a device that has no memory."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        inputs = [one for one in arguments if isinstance(one, torch.Tensor)]
        if isinstance(result, torch.Tensor) and result.is_meta:
            self.count += any(one.device.type == "cpu" for one in inputs)
        return result


@pytest.mark.parametrize(("uploaded", "uploads"), [(1000, 1), (15, 3)])
@pytest.mark.parametrize("augment", [None, Augmentation(seed=1, flip=True)])
def test_a_step_copies_nothing_from_the_host(source, monkeypatch, augment, uploaded, uploads):
    """37 samples in batches of 5, each drawn by a launch of its own: ids and matrices go with many batches at once."""
    monkeypatch.setattr(direct, "UPLOADED", uploaded)
    source.rasterizer.fill = lambda pairs, out, stream: None
    drawer = drawer_of(source, Cuda(0, 0.5), "meta", group=1)
    plan = shares(1, 0, 0, 1, windows=len(source), batch_size=5)
    with Copies() as copies:
        batches = list(drawer.batches(plan, augment))
    assert len(batches) == 8 and all(batch.maps.is_meta and batch.y.is_meta for batch in batches)
    assert copies.count == uploads * (1 if augment is None else 2)


def test_augmented_batches_are_each_samples_own_whatever_is_uploaded_at_once(source, monkeypatch):
    """Two ranks' shares of two epochs: places that do not follow each other."""
    toy, augment = drawn_source(painting, "numba", "uint8"), Augmentation(seed=1, flip=True)
    source.rasterizer.fill = lambda pairs, out, stream: toy.rasterizer.fill(pairs.numpy(), out)
    plan = [share for epoch in (0, 1) for share in shares(1, epoch, 1, 2, windows=len(source), batch_size=10)]
    monkeypatch.setattr(direct, "UPLOADED", 15)
    batches = drawer_of(source, Cuda(0, 0.5), group=10).batches(iter(plan), augment)
    for share, batch in zip(plan, batches, strict=True):
        maps = torch.from_numpy(toy.rasterizer.maps(source.pairs[share.ids])).permute(0, 3, 1, 2)
        matrices = augment.matrices(share.epoch, share.first, len(share), *maps.shape[2:])
        assert torch.equal(batch.maps, warp_by_torch(maps, for_torch(matrices, *maps.shape[2:])))
        np.testing.assert_array_equal(batch.ids, share.ids)
        np.testing.assert_array_equal(batch.y, source.y[share.ids])


def test_a_reader_that_stops_early_leaves_nothing_running(source):
    cuda = Cuda(0, 0.5)
    drawer = drawer_of(source, cuda, group=8)
    batches = drawer.batches(iter([Share(np.arange(4))] * 9), None)
    next(batches)
    batches.close()
    assert not cuda.side.todo


@pytest.mark.parametrize("wrong", [-1, 37])
def test_samples_that_there_are_not_are_refused_before_the_gpu_sees_them(source, wrong):
    drawer = drawer_of(source, Cuda(0, 0.5))
    with pytest.raises(IndexError, match=r"must be 0\.\.36"):
        list(drawer.batches(iter([Share(np.array([0, wrong]))]), None))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["direct", "dali"])
@pytest.mark.parametrize("backend", ["cuda", "numba"])
@pytest.mark.parametrize("make", [painting, counting])
@pytest.mark.parametrize("values", VALUES)
def test_a_gpu_gives_the_batches_of_the_cpu(name, backend, make, values):
    feed = DirectFeed
    if name == "dali":
        pytest.importorskip("nvidia.dali")
        pytest.importorskip("cupy")
        from hews_gpu.feed.dali import DaliFeed as feed
    there = feed(drawn_source(make, backend, values), device="cuda")
    here = DirectFeed(drawn_source(make, "numba", values))
    plan = list(shares(1, 0, 0, 1, windows=len(here), batch_size=8)) * 3
    for one, other in zip(there.batches(plan), here.batches(plan), strict=True):
        assert one.maps.is_cuda and one.maps.dtype == other.maps.dtype
        assert torch.equal(one.maps.cpu(), other.maps)
        assert torch.equal(one.y.cpu(), other.y) and torch.equal(one.calendar.cpu(), other.calendar)
    augment = Augmentation(seed=1, flip=True)
    for one, other in zip(there.batches(plan, augment=augment), here.batches(plan, augment=augment), strict=True):
        torch.testing.assert_close(one.maps.cpu().float(), other.maps.float(), rtol=0, atol=WITHIN[values])


def test_the_comparison_would_do_on_the_cpu():
    """What the GPU is compared with, compared with itself: the test above must not fail for want of a city."""
    source = drawn_source(counting, "numba", "uint8")
    (batch,) = DirectFeed(source).batches([np.arange(6)])
    np.testing.assert_array_equal(batch.maps.permute(0, 2, 3, 1), source.rasterizer.maps(source.pairs[:6]))
    assert batch.maps.any()
