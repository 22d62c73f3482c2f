"""An optimizer step as one CUDA graph, captured once and replayed for each batch after.

A step of a small network is some hundred kernels of a few microseconds, which the interpreter launches more slowly than
a GPU runs them. Replaying a graph launches all of them at once. It repeats the same operations on the same memory: the
batch is copied into buffers that stay, and learning rate and number of steps, which the optimizer reads, are on the
device. Whatever else the host decides anew for each step has no place within it.

The first steps run as they are, on the stream that is captured later, and count like any other: libraries choose their
algorithms in them, and the optimizer makes its state.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["StepGraph", "set_learning_rate"]

WARM = 3
"""Steps before the capture; PyTorch's notes on CUDA graphs take as many."""


class StepGraph:
    """Calls `step` with batches that lie where those of the call before lay, the later times by replaying it.

    Args:
        step: learns from the batches (frozen dataclasses, in part of tensors) of one optimizer step, always of the same
            sizes. It may not wait for the device, nor leave anything but in tensors that exist before it.
        optimizer: of that step, Adam or AdamW; its settings are changed to those that a graph needs.
        cuda: where streams and graphs come from.
    """

    def __init__(
        self, step: Callable[[Iterable[Any]], None], optimizer: torch.optim.Optimizer, cuda: Any = torch.cuda
    ) -> None:
        self.step, self.cuda = step, cuda
        for group in optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=group["params"][0].device)
        self.batches: list[Any] = []
        self._side, self._warm = cuda.Stream(), 0
        self._graph: Any = None

    def __call__(self, batches: Iterable[Any]) -> None:
        """Take one step; the batches need not last until it is done."""
        for k, batch in enumerate(batches):
            self._keep(k, batch)
        if self._warm < WARM:
            self._warm += 1
            self._run_on_side()
            return
        if self._graph is None:
            self._graph = self.cuda.CUDAGraph()
            # a feed's thread may use the device meanwhile
            with self.cuda.graph(self._graph, stream=self._side, capture_error_mode="thread_local"):
                self.step(self.batches)
        self._graph.replay()

    def _keep(self, k: int, batch: Any) -> None:
        """Copy the k-th batch of a step to where it stays."""
        if k == len(self.batches):
            self.batches.append(replace(batch, **{name: tensor.clone() for name, tensor in _tensors(batch)}))
        for (_, kept), (name, tensor) in zip(_tensors(self.batches[k]), _tensors(batch), strict=True):
            assert kept.shape == tensor.shape, f"{name}: {tuple(tensor.shape)}, was {tuple(kept.shape)}"
            kept.copy_(tensor)

    def _run_on_side(self) -> None:
        """Take the step as it is, between what the current stream does before and after."""
        current = self.cuda.current_stream()
        self._side.wait_stream(current)
        with warnings.catch_warnings(), self.cuda.stream(self._side):
            warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
            self.step(self.batches)
        current.wait_stream(self._side)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters; one that a graph reads stays where it is."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _tensors(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of the fields of a batch that are tensors."""
    for each in fields(batch):
        if isinstance(value := getattr(batch, each.name), Tensor):
            yield each.name, value
