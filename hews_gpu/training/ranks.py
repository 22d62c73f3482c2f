"""The ranks of a command: how many there are, which one this process is, how the others are started and watched.

The ranks are started by torchrun, by srun, or by `hews train --devices N`, which starts N - 1 processes beside itself
with the environment that torchrun would give them. Nothing here loads torch before a rank claims its device.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from hews_gpu.environment.device import Choice
from hews_gpu.errors import EXIT_USER_ERROR, UserError
from hews_gpu.progress import log
from hews_gpu.training.preempt import EXIT_PREEMPTED
from hews_gpu.typed_toml import require
from hews_gpu.workers import end_with

__all__ = [
    "ProcessInfo",
    "claim_device",
    "environment",
    "first_rank_reports",
    "free_port",
    "meeting_place",
    "process_info",
    "run_rank",
    "start_ranks",
]

GRACE_S = 10.0  # for the other ranks to end by themselves once the first has
POLL_S = 0.5
PORTS = 15_000  # the first of those at which tasks of srun meet
RANK_COMMAND = "import sys; from hews_gpu.training.ranks import run_rank; run_rank(*sys.argv[1:])"


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


def meeting_place(info: ProcessInfo, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what torch's environment lacks to say where the ranks meet.

    Tasks of srun meet on the first node of their step, at a port that follows from the job's number, unless MASTER_ADDR
    and MASTER_PORT say otherwise; torchrun has set both.
    """
    place: dict[str, str] = {}
    if info.launcher == "srun" and not environ.get("MASTER_ADDR"):
        nodes = environ.get("SLURM_STEP_NODELIST") or environ["SLURM_NODELIST"]  # as in gpu[03-05,08],big1
        place["MASTER_ADDR"] = re.sub(r"\[(\w+).*?\]", r"\1", nodes).partition(",")[0]
    if info.launcher == "srun" and not environ.get("MASTER_PORT"):
        place["MASTER_PORT"] = str(PORTS + int(environ["SLURM_JOB_ID"]) % 10_000)
    return place


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

    On a CPU the ranks divide the machine's cores evenly, unless OMP_NUM_THREADS says otherwise; of one rank nothing is
    asked, and torch is not loaded.

    Raises:
        UserError: this machine has fewer GPUs than ranks.
    """
    if info.local_world_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // info.local_world_size))
    if choice.device == "cpu":
        return "cpu"
    import torch

    gpus, remedy = torch.cuda.device_count(), "Start fewer, or let each process see all GPUs of its machine"
    ranks = info.local_world_size
    require(ranks <= gpus, "--devices", ranks, f"must be at most the {gpus} GPUs here", remedy)
    index = info.local_rank if info.world_size > 1 else torch.cuda.current_device()
    torch.cuda.set_device(index)
    torch.zeros(1, device=f"cuda:{index}")  # numba draws on the GPU whose context is the thread's
    return f"cuda:{index}"


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
    with environment({**shared, "RANK": "0", "LOCAL_RANK": "0"}):
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
def environment(values: Mapping[str, str]) -> Iterator[None]:
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
