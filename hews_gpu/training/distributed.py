"""Distributed training: join the ranks into one process group, communicate within it.

Gradients go through the group of the ranks' devices (NCCL, or gloo on CPUs); decisions through a second one on the CPU
(gloo), which never waits for a GPU.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hews_gpu.environment.device import Choice
from hews_gpu.errors import EXIT_USER_ERROR, UserError
from hews_gpu.progress import log
from hews_gpu.training.ranks import ProcessInfo, environment, meeting_place

__all__ = ["ProcessGroup", "is_connection_loss", "process_group"]

WAIT_S = 10.0
"""After which a rank says that it waits for the others."""
EXCHANGE = timedelta(minutes=30)
"""Longer than any exchange of gradients takes ..."""
DECISION = timedelta(days=7)
"""... or anything that one rank does while the others wait; the loss of a rank ends their waiting at once."""
T = TypeVar("T")


@contextmanager
def _waiting(info: ProcessInfo) -> Iterator[None]:
    """Say so if the other ranks do not come, and let a signal end this one at once, which waits in foreign code."""
    if info.world_size == 1:
        yield
        return
    text = f"process {info.rank + 1} of {info.world_size} waits for the others to be started"
    timer = threading.Timer(WAIT_S, log, [text])
    timer.daemon = True
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


class ProcessGroup:
    """The ranks of a run, all of which have joined. Each method is a collective: all call it, in the same order."""

    def __init__(self, info: ProcessInfo, accelerator: str) -> None:
        self.rank, self.size, self.is_first = info.rank, info.world_size, info.is_first
        is_gpu = accelerator == "cuda"
        self.device = torch.device("cuda", torch.cuda.current_device()) if is_gpu else torch.device("cpu")
        self._gloo: Any = None
        if self.size > 1:
            with _waiting(info), environment(meeting_place(info)):
                dist.init_process_group(
                    "nccl" if is_gpu else "gloo",
                    timeout=EXCHANGE,
                    rank=self.rank,
                    world_size=self.size,
                    device_id=self.device if is_gpu else None,
                )
                self._gloo = dist.new_group(backend="gloo", timeout=DECISION)

    def shared(self, module: nn.Module) -> nn.Module:
        """Return a module on this rank's device such that gradients are averaged over the ranks."""
        if self.size == 1:
            return module
        if self.device.type == "cpu":
            return DistributedDataParallel(module)
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(side):  # as torch's notes on CUDA graphs ask
            return DistributedDataParallel(module, device_ids=[self.device.index])

    def all_reduce_max(self, *values: int) -> tuple[int, ...]:
        """Return the largest value over the ranks, position by position."""
        if self.size == 1:
            return values
        largest = torch.tensor(values)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._gloo)
        return tuple(largest.tolist())

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._gloo)
        return values

    def broadcast(self, value: T) -> T:
        """Return rank 0's value."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._gloo)
        return values[0]

    def on_first_rank(self, compute: Callable[[], T]) -> T:
        """Return on every rank what `compute` returns on rank 0; if it fails there, every rank ends."""
        result: Any = None
        with self.raise_on_all_ranks():
            if self.is_first:
                result = compute()
        value: T = self.broadcast(result)
        return value

    @contextmanager
    def raise_on_all_ranks(self) -> Iterator[None]:
        """Run a block without collectives that fails on every rank if it fails on one, so that none is left waiting.

        Raises:
            UserError: what was refused, on rank 0; the other ranks end silently (SystemExit).
        """
        report: tuple[str, Any] | None = None  # message and exit code
        caught: BaseException | None = None
        try:
            yield
        except UserError as error:
            caught, report = error, (str(error), EXIT_USER_ERROR)
        except (KeyboardInterrupt, SystemExit) as error:
            caught, report = error, ("", getattr(error, "code", EXIT_USER_ERROR))
        except Exception as error:  # noqa: BLE001 - told to all ranks, then raised as it is
            caught, report = error, (f"{type(error).__name__}: {error}", 1)
        reports = self.gather(report)
        if caught is not None and (self.is_first or not isinstance(caught, UserError)):
            raise caught
        for rank, other in enumerate(reports):
            if other is None:
                continue
            message, code = other
            if message and self.is_first:
                raise UserError(f"process {rank + 1} of {self.size}", allowed=message.rstrip("."))
            raise SystemExit(code)


@contextmanager
def process_group(info: ProcessInfo, choice: Choice) -> Iterator[ProcessGroup]:
    """Join the ranks for the length of the block; torch's random generators are put back afterwards.

    Raises:
        SystemExit: another rank was lost, which is reported in one line; the cause comes with it.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if choice.device == "cuda" else ()):
        try:
            yield ProcessGroup(info, choice.device)
        except RuntimeError as error:
            if not is_connection_loss(error):
                raise
            who = f"process {info.rank + 1} of {info.world_size}"
            log(f"hews: {who} has lost another; --resume goes on from the last checkpoint")
            raise SystemExit(1) from error
        finally:
            if info.world_size > 1 and dist.is_initialized():
                dist.destroy_process_group()


def is_connection_loss(error: RuntimeError) -> bool:
    """Return whether gloo or NCCL report with this error that the process at the other end is gone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)
