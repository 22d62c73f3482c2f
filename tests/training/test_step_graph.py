"""A step that is captured and replayed, on a CPU that records operations as a CUDA graph does.

While it captures, every operation of torch is noted down with the memory that it reads and writes, and undone after; to
replay is to do them again on that memory. What Python decides is as it was at the capture, and a number that Python
asks for is an error, as on a GPU.
"""

import importlib
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hews_gpu.errors import UserError
from hews_gpu.training import loop
from hews_gpu.training.step_graph import WARM, StepGraph
from tests.training.test_loop import TWO, Toy, decided, loop_of, trained


def tensors_in(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def place(tensor):
    return tensor.untyped_storage().data_ptr()


class Graph(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations, self.before, self.own, self.replays = [], {}, set(), 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        assert function is not torch.ops.aten._local_scalar_dense.default, "waits for the device while it captures"
        if function.namespace == "profiler":
            return function(*arguments, **(named or {}))
        given = tensors_in((arguments, named))
        for tensor in given:
            if place(tensor) not in self.own:
                self.before.setdefault(place(tensor), (tensor, tensor.untyped_storage().clone()))
        results = function(*arguments, **(named or {}))
        self.own |= {place(tensor) for tensor in tensors_in(results)} - {place(tensor) for tensor in given}
        self.operations.append((function, arguments, named or {}, results))
        return results

    def undo(self):
        for tensor, storage in self.before.values():
            tensor.untyped_storage().copy_(storage)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, arguments, named, results in self.operations:
            again = function(*arguments, **named)
            for old, new in zip(tensors_in(results), tensors_in(again), strict=True):
                if place(old) != place(new):
                    old.copy_(new)


class Stream:
    def wait_stream(self, other):
        pass


class Cuda:
    """What `StepGraph` uses of torch.cuda."""

    def __init__(self):
        self.graphs = []

    def Stream(self):
        return Stream()

    current_stream = Stream

    def stream(self, stream):
        return nullcontext()

    def CUDAGraph(self):
        self.graphs.append(Graph())
        return self.graphs[-1]

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        with graph:
            yield
        graph.undo()


@pytest.fixture
def cuda(monkeypatch):
    """Lets a loop capture, and an optimizer compute as it does on a GPU, where it keeps its count on the device."""
    monkeypatch.setattr(
        importlib.import_module("torch.optim.adam"), "_get_capturable_supported_devices", lambda **_: ["cpu"]
    )
    monkeypatch.setattr(loop, "_require_graphs", lambda device, ranks: None)
    made = Cuda()
    monkeypatch.setattr(loop, "StepGraph", partial(StepGraph, cuda=made))
    return made


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_graph_learns_what_single_operations_do(cuda, precision):
    """Over two stages of other batches, rates and turns, with an average of the weights and schedules of the rate."""
    plain = trained(loop_of(Toy(TWO, 0.9, dropout=0.0), precision=precision))[0]
    graph = trained(loop_of(Toy(TWO, 0.9, dropout=0.0), precision=precision, graph=True))[0]
    assert [graph.replays for graph in cuda.graphs] == [2 * 4 - WARM, 2 * 6 - WARM]
    pairs = zip(plain.notes["position"]["history"], graph.notes["position"]["history"], strict=True)
    for mine, other in pairs:
        assert mine["order"] == other["order"]
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    assert plain.tensors.keys() == graph.tensors.keys()
    for name, tensor in plain.tensors.items():
        if not name.startswith("random"):
            torch.testing.assert_close(graph.tensors[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("at_step", [2, 6, 13])
def test_put_back_at_any_step_a_graph_ends_with_the_same_bits(cuda, at_step):
    whole, taken = trained(loop_of(Toy(TWO, dropout=0.0), graph=True), at_step=at_step)
    later = loop_of(Toy(TWO, dropout=0.0), graph=True)
    later.restore(taken)
    assert decided(trained(later, start=False)[0]) == decided(whole)


def test_a_graph_needs_one_gpu():
    with pytest.raises(
        UserError, match=r"\[engine\] graph = True: needs a GPU, and this runs on cpu\. Set it to false"
    ):
        loop_of(Toy(), graph=True)
    with pytest.raises(UserError, match=r"\[engine\] graph = True: needs a single process, not 2\. Set it to false"):
        loop._require_graphs(torch.device("cuda"), 2)


def test_a_batch_of_another_size_is_not_taken_for_the_same(cuda):
    made = loop_of(Toy(dropout=0.0), graph=True)
    made.start()
    batch = next(made.objective.batches(made.stage, 0, 0, 0, 1))
    made._take([batch])
    with pytest.raises(AssertionError, match=r"x: \(5, 4\), was \(12, 4\)"):
        made._take([next(batch.slices(5))])
