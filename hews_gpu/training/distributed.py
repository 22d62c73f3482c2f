"""Distributed training: start the ranks, join them into one process group, communicate within it.

The ranks are started by torchrun, by srun, or by `hews train --devices N`, which starts N - 1 processes beside itself
with the environment that torchrun would give them. Lightning Fabric makes the process group and places the model;
decisions go through a second group on the CPU (gloo), which never waits for a GPU.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.single_device import SingleDeviceStrategy

from hews_gpu.environment.device import Choice
from hews_gpu.errors import EXIT_USER_ERROR, UserError
from hews_gpu.progress import log
from hews_gpu.training.preempt import EXIT_PREEMPTED
from hews_gpu.typed_toml import require
from hews_gpu.workers import end_with

__all__ = [
    "ProcessGroup",
    "ProcessInfo",
    "claim_device",
    "first_rank_reports",
    "free_port",
    "is_connection_loss",
    "process_group",
    "process_info",
    "run_rank",
    "start_ranks",
]

GRACE_S = 10.0  # for the other ranks to end by themselves once the first has
POLL_S = 0.5
WAIT_S = 10.0
"""After which a rank says that it waits for the others."""
RANK_COMMAND = "import sys; from hews_gpu.training.distributed import run_rank; run_rank(*sys.argv[1:])"
CHATTY = ("fabric.utilities.rank_zero", "pytorch.utilities.rank_zero", "fabric.utilities.distributed")
"""Loggers of Lightning that announce what is no news."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """The rank of this process, the number of ranks, and what started them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Among the ranks on this machine; its GPU has the same number."""
    local_world_size: int = 1
    """Ranks on this machine."""
    launcher: Literal["hews", "srun", "torchrun"] = "hews"

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and messages."""
        return self.rank == 0


def process_info(devices: int | None, environ: Mapping[str, str] = os.environ) -> ProcessInfo:
    """Read from the environment what started this process; if nothing did, it is the first of `devices` ranks.

    Raises:
        UserError: `devices` is not the number that torchrun or srun started here.
    """
    require(devices is None or devices >= 1, "--devices", devices, "must be 1 or more")
    launcher: Literal["srun", "torchrun"]
    if "TORCHELASTIC_RUN_ID" in environ:
        launcher, names = "torchrun", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]
    elif int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, not in the batch script around it
        launcher, names = "srun", ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"]
    else:
        return ProcessInfo(world_size=devices or 1, local_world_size=devices or 1)
    rank, size, local_rank, *local = (int(environ[name]) for name in names)
    nodes = int(environ.get("SLURM_STEP_NUM_NODES", "1"))
    local_size = local[0] if local else size // nodes
    allowed = f"must be divisible by its {nodes} nodes"
    require(bool(local) or size % nodes == 0, "tasks of the srun step", size, allowed, "Use --ntasks-per-node")
    allowed = f"must be the {local_size} processes that {launcher} started on this machine"
    require(devices in (None, local_size), "--devices", devices, allowed, "Leave it out")
    return ProcessInfo(
        rank=rank, world_size=size, local_rank=local_rank, local_world_size=local_size, launcher=launcher
    )


@contextmanager
def first_rank_reports(info: ProcessInfo) -> Iterator[None]:
    """Let rank 0 alone report a mistake that every rank meets before they have joined; the others end silently."""
    try:
        yield
    except UserError:
        if info.is_first:
            raise
        raise SystemExit(EXIT_USER_ERROR) from None


def claim_device(info: ProcessInfo, choice: Choice) -> str:
    """Return the device of this rank; a GPU becomes torch's current one, on which maps are drawn.

    On a CPU the ranks divide the machine's cores evenly, unless OMP_NUM_THREADS says otherwise.

    Raises:
        UserError: this machine has fewer GPUs than ranks.
    """
    if info.local_world_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // info.local_world_size))
    if choice.device == "cpu":
        return "cpu"
    gpus, remedy = torch.cuda.device_count(), "Start fewer, or let each process see all GPUs of its machine"
    ranks = info.local_world_size
    require(ranks <= gpus, "--devices", ranks, f"must be at most the {gpus} GPUs here", remedy)
    index = info.local_rank if info.world_size > 1 else torch.cuda.current_device()
    torch.cuda.set_device(index)
    torch.zeros(1, device=f"cuda:{index}")  # numba draws on the GPU whose context is the thread's
    return f"cuda:{index}"


class _SlurmStep(SLURMEnvironment):
    """The ranks of one step of srun, however its tasks were asked for: Lightning's own insists on --ntasks-per-node."""

    @staticmethod
    def _validate_srun_variables() -> None: ...

    def validate_settings(self, num_devices: int, num_nodes: int) -> None: ...

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])


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

    def __init__(self, info: ProcessInfo, accelerator: str, precision: str) -> None:
        self.rank, self.size, self.is_first = info.rank, info.world_size, info.is_first
        for name in CHATTY:
            logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
        strategy: Any
        if self.size == 1:
            device = torch.device("cuda", torch.cuda.current_device()) if accelerator == "cuda" else torch.device("cpu")
            strategy = SingleDeviceStrategy(device=device)
            plugins = LightningEnvironment()  # or Fabric would find SLURM's, and object to a batch script's
        else:
            environment = _SlurmStep(auto_requeue=False) if info.launcher == "srun" else TorchElasticEnvironment()
            backend = "nccl" if accelerator == "cuda" else "gloo"
            strategy = DDPStrategy(cluster_environment=environment, process_group_backend=backend)
            plugins = None
        word: Any = precision
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=info.local_world_size,
            num_nodes=info.world_size // info.local_world_size,
            strategy=strategy,
            precision=word,
            plugins=plugins,
        )
        with _waiting(info):
            self.fabric.launch()
            self._gloo: Any = dist.new_group(backend="gloo") if self.size > 1 else None

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
def process_group(info: ProcessInfo, choice: Choice, precision: str) -> Iterator[ProcessGroup]:
    """Join the ranks for the length of the block; torch's random generators are put back afterwards.

    Raises:
        SystemExit: another rank was lost, which is reported in one line; the cause comes with it.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if choice.device == "cuda" else ()):
        try:
            yield ProcessGroup(info, choice.device, precision)
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


@contextmanager
def start_ranks(info: ProcessInfo, function: str, argument: Any) -> Iterator[None]:
    """Start the other ranks of `hews train --devices N` on this machine; they have ended when the block ends.

    One that is lost ends all: the others could only wait for it.

    Args:
        info: of this process. Nothing is started unless it is the first of several that nobody else has started.
        function: what each of them calls, as "module:name".
        argument: of that function, as JSON can hold it.
    """
    if info.world_size == 1 or info.launcher != "hews":
        yield
        return
    size = str(info.world_size)
    shared = {"TORCHELASTIC_RUN_ID": "hews", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    command = [sys.executable, "-c", RANK_COMMAND, function, json.dumps(argument), str(os.getpid())]
    others: list[subprocess.Popen[bytes]] = []
    done = threading.Event()
    with _environment({**shared, "RANK": "0", "LOCAL_RANK": "0"}):
        try:
            for rank in map(str, range(1, info.world_size)):
                environ = {**os.environ, "RANK": rank, "LOCAL_RANK": rank}
                others.append(subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL))
            threading.Thread(target=_watch, args=(others, done), name="watch", daemon=True).start()
            yield
        finally:
            done.set()
            _end(others, GRACE_S)


def run_rank(function: str, argument: str, parent: str) -> None:
    """Be one of the ranks that `start_ranks` starts, by the process `parent`, with which it ends."""
    end_with(int(parent))
    module, _, name = function.partition(":")
    try:
        getattr(importlib.import_module(module), name)(json.loads(argument))
    except (UserError, KeyboardInterrupt):
        sys.exit(EXIT_USER_ERROR)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of the block."""
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)


def _watch(others: list[subprocess.Popen[bytes]], done: threading.Event) -> None:
    """End this process when another rank is lost; what is on disk is whole."""
    while not done.wait(POLL_S):
        for rank, other in enumerate(others, start=2):
            code = other.poll()
            if code not in (None, 0, EXIT_USER_ERROR, EXIT_PREEMPTED) and not done.wait(1.0):
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                log(f"hews: process {rank} of {len(others) + 1} {how}; --resume goes on from the last checkpoint")
                _end(others, 0.0)
                os._exit(1)


def _end(others: list[subprocess.Popen[bytes]], grace_s: float) -> None:
    """Wait for the other ranks for `grace_s`, then kill those that are left."""
    until = time.monotonic() + grace_s
    for other in others:
        try:
            other.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()
