"""`hews train --devices N`: the command itself is the first of N processes and starts the others.

They run `hews_gpu.runs.worker` with the same arguments, so that it does not matter how the first was started (the
command, `python -m hews_gpu`, a call from a program). One that is lost takes all with it: they could only wait.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from hews_gpu.progress import log
from hews_gpu.train.preempt import EXIT_PREEMPTED
from hews_gpu.train.team import PORT, RANK, SIZE, Place, free_port

__all__ = ["started", "use_own_threads"]

EXIT_USER_ERROR = 2
PATIENCE_S = 10.0  # for the others to end by themselves once the first has
WATCH_S = 0.2


@contextmanager
def started(place: Place, arguments: Mapping[str, Any]) -> Iterator[Place]:
    """Start the other processes where nobody else has; they are gone when the block ends.

    Args:
        place: of this process.
        arguments: of `train`, as JSON can hold them.

    Yields:
        The place, with the port at which the first process is met.
    """
    if place.size == 1 or not place.is_first or place.started_by != "hews":
        yield place
        return
    place = replace(place, port=free_port())
    command = [sys.executable, "-m", "hews_gpu.runs.worker", json.dumps(arguments)]
    others: list[subprocess.Popen[bytes]] = []
    done = threading.Event()
    try:
        for rank in range(1, place.size):
            told = {RANK: str(rank), SIZE: str(place.size), PORT: str(place.port)}
            others.append(subprocess.Popen(command, env={**os.environ, **told}, stdin=subprocess.DEVNULL))
        threading.Thread(target=_watch, args=(others, done), name="watch", daemon=True).start()
        yield place
    finally:
        done.set()
        _end(others)


def _watch(others: list[subprocess.Popen[bytes]], done: threading.Event) -> None:
    """End this process when another is lost: it could only wait for it. What is on disk is whole."""
    while not done.wait(WATCH_S):
        for rank, other in enumerate(others, start=2):
            code = other.poll()
            if code not in (None, 0, EXIT_USER_ERROR, EXIT_PREEMPTED) and not done.wait(1.0):
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                log(f"hews: process {rank} of {len(others) + 1} {how}; --resume goes on from the last checkpoint")
                _end(others, patience_s=0.0)
                os._exit(1)


def _end(others: list[subprocess.Popen[bytes]], patience_s: float = PATIENCE_S) -> None:
    """Wait for the others a little, then end those that are left."""
    until = time.monotonic() + patience_s
    for other in others:
        try:
            other.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def use_own_threads(place: Place) -> None:
    """Share the machine's processors out evenly, unless the environment has its own mind."""
    if place.local_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // place.local_size))
