"""Run independent work side by side: partitions of a table in threads or on Dask workers, fits in processes.

A job is a function of a folder that all workers see and a partition's number; what it makes lies in the folder, so
that no data travels, a lost worker costs the partitions it was at, and the results do not depend on who did what. Dask
workers are in `cluster.dask_workers`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal, Protocol, TypeVar

from hews_gpu.errors import UserError

__all__ = ["STOPPING", "Opener", "PartitionJob", "Unfinished", "Workers", "end_with", "in_this_process", "processes"]

T = TypeVar("T")
PartitionJob = Callable[[Path, int], T]
STOPPING = Event()
"""Set while the threads of this process are asked to end: a long partition looks at it and gives up."""
POLL_S = 0.5
MOST_THREADS = 4  # each holds one partition; more would trade the memory bound for little time


class Unfinished(UserError):
    """A job ended through no fault of its input: what is done of it is kept, and can be gone on with."""


class Workers(Protocol):
    """Threads or processes that do partitions."""

    backend: Literal["pandas", "cudf"]
    """The DataFrame library that they hold numbers in."""

    def run(self, job: PartitionJob[T], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """Do some partitions; yield each number and what the job returned, as they are done."""


Opener = Callable[[int, Path], AbstractContextManager[Workers]]
"""Opens workers while a block lasts, given how many rows there are and the folder that all must see."""


class Threads:
    """A few threads of this process."""

    backend: Literal["pandas", "cudf"] = "pandas"

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool

    def run(self, job: PartitionJob[T], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """Do some partitions."""
        of: dict[Future[T], int] = {self.pool.submit(job, folder, number): number for number in numbers}
        try:
            for future in as_completed(of):
                yield of.pop(future), future.result()
        finally:
            for future in of:
                future.cancel()


@contextmanager
def in_this_process(rows: int, folder: Path) -> Iterator[Threads]:
    """Open threads that have all ended when the block ends, also after Ctrl-C: none writes on afterwards."""
    del rows, folder
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))
    try:
        yield Threads(pool)
    finally:
        STOPPING.set()
        pool.shutdown(cancel_futures=True)
        STOPPING.clear()


@contextmanager
def processes(jobs: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a function like `map`, over so many processes where there is more than one job."""
    if jobs <= 1:
        yield map
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each of the processes to come
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_settle, initargs=(os.getpid(),)) as pool:
        yield pool.map


def _settle(parent: int) -> None:
    """Let a process write lines, not bars over those of others, and end with the one that started it."""
    sys.stderr.isatty = lambda: False  # type: ignore[method-assign]
    end_with(parent)


def end_with(parent: int) -> None:
    """End this process within a second of the one that started it, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os._exit(1)

    Thread(target=watch, name="parent", daemon=True).start()
