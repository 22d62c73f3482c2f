"""Run the partitions of a job: in threads of this process, or on workers of a Dask cluster (`cluster.dask_workers`).

A job is a function of a folder that all workers see and a partition's number; what it makes lies in the folder, so
that no data travels, a lost worker costs the partitions it was at, and the results do not depend on who did what.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from typing import Literal, Protocol, TypeVar

from hews_gpu.errors import UserError

__all__ = ["STOPPING", "Job", "Opener", "Unfinished", "Workers", "in_this_process"]

T = TypeVar("T")
Job = Callable[[Path, int], T]
STOPPING = Event()
"""Set while the threads of this process are asked to end: a long partition looks at it and gives up."""
MOST_THREADS = 4  # each holds one partition; more would trade the memory bound for little time


class Unfinished(UserError):
    """What ends a job through no fault of its input: what is done of it is kept, and can be gone on with."""


class Workers(Protocol):
    """Those who do the partitions."""

    backend: Literal["pandas", "cudf"]
    """The DataFrame library they hold numbers in: pandas or cudf."""

    def run(self, job: Job[T], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """Do some partitions; gives each number and what the job returned, as they are done."""


Opener = Callable[[int, Path], AbstractContextManager[Workers]]
"""Given how many rows there are and the folder that all must see: workers, while the block lasts."""


class Threads:
    """A few threads of this process."""

    backend: Literal["pandas", "cudf"] = "pandas"

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool

    def run(self, job: Job[T], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """See `Workers.run`."""
        of: dict[Future[T], int] = {self.pool.submit(job, folder, number): number for number in numbers}
        try:
            for future in as_completed(of):
                yield of.pop(future), future.result()
        finally:
            for future in of:
                future.cancel()


@contextmanager
def in_this_process(rows: int, folder: Path) -> Iterator[Threads]:
    """Threads that have all ended when the block ends, also after Ctrl-C: none writes on afterwards."""
    del rows, folder
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))
    try:
        yield Threads(pool)
    finally:
        STOPPING.set()
        pool.shutdown(cancel_futures=True)
        STOPPING.clear()
