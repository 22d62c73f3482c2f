"""Dask clusters for `prepare` and `rasterize`: one started here, one worker per GPU, or one that runs already.

A batch job that starts a cluster of its own makes its keys, waits for it and closes it by

    python -m hews_gpu.cluster.dask_workers keys FOLDER
    python -m hews_gpu.cluster.dask_workers wait SCHEDULER.json COUNT
    python -m hews_gpu.cluster.dask_workers close SCHEDULER.json

What travels through Dask is the number of a partition and a small answer; rows and maps lie in a folder that every
worker sees. So any worker may be lost at any moment, and a lost scheduler costs what was not done yet.

A scheduler runs what it is sent, and any user of the machine can reach its port. So clusters that are started here
speak TLS with keys of their own and serve no web pages, unless HEWS_DASHBOARD names an address for them.

This is the only module that knows Dask.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import uuid4

from hews_gpu.errors import UserError
from hews_gpu.files import make_private
from hews_gpu.own_files import read_json
from hews_gpu.progress import log
from hews_gpu.workers import PartitionJob, Unfinished, Workers, in_this_process

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["LEAST_ROWS", "Cluster", "close_workers", "make_keys", "parse_cluster", "wait_for_workers"]

T = TypeVar("T")
LEAST_ROWS = 1_000_000
"""Below, a cluster takes longer to start than the work does."""
CONNECT_S = 30
WORKERS_S = 120
"""A batch system may take its time to start the workers."""
JOB_WORKERS_S = 300.0
"""The same for all of the workers of a batch job."""
JOB_WORKERS = "HEWS_WORKERS_TIMEOUT_S"
LOOK_S = 0.2
DASHBOARD = "HEWS_DASHBOARD"
"""Environment variable: host and port for the web pages of a cluster that is started here; else there are none."""
CLOSE_S = 20
TRIM = "MALLOC_TRIM_THRESHOLD_"
KEEP_MEMORY = {TRIM: 256 << 20, "MALLOC_MMAP_THRESHOLD_": 32 << 20}
"""For the C library of the workers: how much free memory they hold on to, and which arrays are apart from it."""
DASKS_TRIM_THRESHOLD = "65536"
"""Dask's own, which any cluster started without us leaves in the environment."""
REMEDY = "The same command with --resume does only what is missing"
FLAG = "--cluster"
BACKENDS: tuple[Literal["pandas"], Literal["cudf"]] = ("pandas", "cudf")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Which cluster to use; called with rows and a folder it gives the workers (`workers.Opener`)."""

    kind: Literal["local", "cuda", "scheduler-file", "address"]
    where: str = ""
    """Path or address of a running scheduler."""
    workers: int | None = None
    """How many to start; None: one per core, or one per GPU."""
    least_rows: int = LEAST_ROWS
    """A table with fewer rows is done in this process, unless the cluster runs already."""

    @contextmanager
    def __call__(self, rows: int, folder: Path) -> Iterator[Workers]:
        """Yield the workers, while the block lasts.

        Raises:
            UserError: the cluster cannot be started or reached, or its workers do not see the folder.
            Unfinished: the scheduler was lost.
        """
        starts = self.kind in ("local", "cuda")
        if starts and rows < self.least_rows:
            log(f"{rows:,} rows: no cluster is started below {self.least_rows:,}, it would take longer than the work")
            with in_this_process(rows, folder) as threads:
                yield threads
            return
        import distributed.client  # noqa: F401 - its loggers must be there to be made quiet

        with _quiet(), self._client() as client:
            if self._has_pages():
                log(f"cluster: {client.dashboard_link} shows what the workers do{_without_bokeh()}")
            _require_workers(client, folder)
            yield DaskWorkers(client, self._backend())

    def _has_pages(self) -> bool:
        import dask.config

        is_ours = self.kind in ("local", "cuda")
        return DASHBOARD in os.environ or (not is_ours and bool(dask.config.get("distributed.scheduler.http.routes")))

    def _backend(self) -> Literal["pandas", "cudf"]:
        """Return Dask's own setting; one worker per GPU means cuDF."""
        import dask.config

        named = "cudf" if self.kind == "cuda" else dask.config.get("dataframe.backend", "pandas")
        for backend in BACKENDS:
            if named == backend:
                return backend
        allowed = f"must be one of {', '.join(BACKENDS)}"
        raise UserError("dataframe.backend of Dask's configuration", named, allowed=allowed)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """Yield a client of the cluster, which is started for it or was there before."""
        with _started(self) as target:
            got = f"{self.kind} {self.where}" if self.kind == "scheduler-file" else self.where
            client = _connected(FLAG, got, CONNECT_S, **target)
            try:
                yield client
            finally:
                with suppress(Exception):  # of a scheduler that has gone there is nothing to take leave of
                    client.close(timeout=5)


def parse_cluster(text: str) -> Cluster:
    """Read what ``--cluster`` says: local, cuda (with :N for N workers), scheduler-file PATH, or an address.

    Raises:
        UserError: none of these.
    """
    word, _, rest = text.strip().partition(" ")
    if word == "scheduler-file":
        path = Path(rest.strip())
        if not rest.strip() or not path.is_file():
            remedy = "Give the file that 'dask scheduler --scheduler-file PATH' writes"
            raise UserError(FLAG, text, allowed="there is no such scheduler file", remedy=remedy)
        return Cluster(kind="scheduler-file", where=str(path))
    kind, _, count = text.partition(":")
    if kind in ("local", "cuda") and (not count or (count.isdigit() and 1 <= int(count) <= 1024)):
        return Cluster(kind="local" if kind == "local" else "cuda", workers=int(count) if count else None)
    if "://" in text or (kind and kind not in ("local", "cuda") and count.isdigit()):
        return Cluster(kind="address", where=text)
    allowed = "must be local, cuda, scheduler-file PATH, or an address such as tcp://host:8786"
    raise UserError(FLAG, text, allowed=allowed)


def _connected(field: str, got: str | None, timeout_s: float, **target: Any) -> Client:
    """Return a client of a scheduler.

    Raises:
        UserError: it does not answer, or not to this user; or its file is damaged.
    """
    from distributed import Client

    try:
        return Client(timeout=timeout_s, set_as_default=False, **target)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        allowed = f"no scheduler answers there ({' '.join(str(error).split())[:200]})"
        raise UserError(field, got, allowed=allowed, remedy="Start 'dask scheduler' and its workers") from None


def _address_in(scheduler_file: Path) -> str:
    """Return the address that a scheduler wrote.

    Raises:
        UserError: the file is damaged.
    """
    remedy = "Give the file that 'dask scheduler --scheduler-file PATH' writes"
    return str(read_json(scheduler_file, {"address": str}, remedy=remedy)["address"])


@contextmanager
def _started(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Start what has to be started; yield what a client needs to find it."""
    if cluster.kind == "scheduler-file":
        yield {"address": _address_in(Path(cluster.where))}
    elif cluster.kind == "address":
        yield {"address": cluster.where}
    else:
        made = _local_cuda(cluster.workers) if cluster.kind == "cuda" else _local(cluster.workers)
        try:
            yield {"address": made}
        finally:
            with suppress(TimeoutError):  # a worker that does not end in time is killed; what it did lies in files
                made.close(timeout=CLOSE_S)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from telling in pages, as it goes, what we tell in one line at the end."""
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in ("distributed", *known)]  # several have a handler of their own
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _local(workers: int | None) -> Any:
    import dask.config
    from distributed import LocalCluster

    count = workers or os.cpu_count() or 1
    with _environment_kept():
        settings = {"distributed.nanny.pre-spawn-environ": _worker_environment(count)}
        with dask.config.set(settings | _pages()):
            return LocalCluster(n_workers=count, threads_per_worker=1, processes=True, **_private(), silence_logs=50)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Give this process its own environment back: Dask leaves that of the workers in it, and obeys what it finds.

    So the next cluster would take it for the user's word. What a cluster started without us has left is set aside.
    """
    before = dict(os.environ)
    if before.get(TRIM) == DASKS_TRIM_THRESHOLD:
        del os.environ[TRIM]
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _pages() -> dict[str, Any]:
    """Return Dask's settings that leave out every web page, unless the user wants them."""
    names = ("distributed.scheduler.http.routes", "distributed.worker.http.routes")
    return {} if DASHBOARD in os.environ else {name: [] for name in names}


def _private() -> dict[str, Any]:
    """Return the arguments for a cluster that only this process and its workers can speak to."""
    from distributed.security import Security

    arguments = {"protocol": "tls://", "security": Security.temporary()}
    if DASHBOARD in os.environ:
        return {**arguments, "dashboard_address": os.environ[DASHBOARD]}
    return {**arguments, "dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}


def _worker_environment(workers: int) -> dict[str, Any]:
    """Return Dask's own, but for memory: it gives each array back at once, and every page of the next is made anew.

    On 2.7 million rows that was a quarter of the processor time of `prepare`. The threads of compiled kernels, of which
    Dask does not know, share the cores, too. What the user has set stays.
    """
    import dask.config
    import distributed  # noqa: F401 - it adds its own settings to Dask's

    environment = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
    for name, size in KEEP_MEMORY.items():
        if name not in os.environ and str(environment.get(name, DASKS_TRIM_THRESHOLD)) == DASKS_TRIM_THRESHOLD:
            environment[name] = size
    if "NUMBA_NUM_THREADS" not in os.environ:
        environment.setdefault("NUMBA_NUM_THREADS", max(1, (os.cpu_count() or 1) // workers))
    return environment


def _local_cuda(workers: int | None) -> Any:
    """Start one worker per GPU: a pool of device memory, cuDF spilling to the host.

    UCX would gain nothing, since no data travels between the workers, and it has no TLS.
    """
    import dask.config

    from hews_gpu.environment.device import probe

    for name in ("gpu", "cudf", "dask_cuda"):
        result = probe(name)
        if not result.works:
            remedy = f"Use {FLAG} local, or see what is missing with 'hews doctor'"
            raise UserError(FLAG, "cuda", allowed=f"does not work here: {result.why}", remedy=remedy)
    from dask_cuda import LocalCUDACluster

    with dask.config.set(_pages()):
        return LocalCUDACluster(
            n_workers=workers, rmm_pool_size=0.5, enable_cudf_spill=True, **_private(), silence_logs=50
        )


def _without_bokeh() -> str:
    from importlib.util import find_spec

    return "" if find_spec("bokeh") else " (its pages need bokeh where the scheduler runs)"


def _require_workers(client: Client, folder: Path) -> None:
    """Refuse a cluster that has no workers, or one whose workers do not see what we see."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        remedy = "Start 'dask worker' with the same scheduler"
        raise UserError(FLAG, allowed=f"no worker has come within {WORKERS_S} s", remedy=remedy) from None
    try:
        seen = client.run(_sees, str(folder))
    except ImportError as error:
        remedy = "Start the workers in the environment of this program"
        raise UserError(FLAG, allowed=f"a worker has no {error.name}", remedy=remedy) from None
    blind = sorted(address for address, sees in seen.items() if not sees)
    if blind:
        allowed = f"the worker {blind[0]} does not see {folder}"
        raise UserError(FLAG, allowed=allowed, remedy="Give an --out on a file system that all of them share")


def _sees(folder: str) -> bool:
    return Path(folder).is_dir()


class DaskWorkers:
    """The workers of a cluster."""

    def __init__(self, client: Client, backend: Literal["pandas", "cudf"]) -> None:
        self.client, self.backend = client, backend

    def run(self, job: PartitionJob[T], folder: Path, numbers: Sequence[int]) -> Iterator[tuple[int, T]]:
        """Do some partitions; yield each number and what the job returned, as they are done."""
        from distributed import as_completed
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        token = uuid4().hex[:8]  # a key of an older run would be answered with its result
        of: dict[Future[Any], int] = {}
        try:
            for number in numbers:
                key = f"{job.__name__}-{token}-{number}"
                of[self.client.submit(job, folder, number, key=key, pure=False)] = number
            for future in as_completed(list(of), loop=self.client.loop):
                yield of.pop(future), future.result()
        except KilledWorker as error:
            allowed = f"{error.allowed_failures + 1} workers died at it, the last one {error.last_worker.address}"
            remedy = f"Give them more memory. {REMEDY}"
            raise Unfinished(f"{FLAG}: {error.task}", allowed=allowed, remedy=remedy) from None
        except (CancelledError, FutureCancelledError, CommClosedError, TimeoutError) as error:
            why = " ".join(str(error).split())[:100]
            raise Unfinished(FLAG, allowed=f"the scheduler was lost ({why})", remedy=REMEDY) from None
        finally:
            with suppress(Exception):  # the scheduler may have gone
                self.client.cancel(list(of))


def wait_for_workers(scheduler_file: Path, count: int, timeout_s: float = JOB_WORKERS_S) -> None:
    """Wait until the scheduler of a batch job has `count` workers.

    Raises:
        UserError: it has not, in time.
    """
    until = time.monotonic() + timeout_s
    while not (scheduler_file.is_file() and scheduler_file.stat().st_size):
        if time.monotonic() > until:
            remedy = "See scheduler.log in the folder of its logs"
            raise UserError(str(scheduler_file), allowed="was not written by the Dask scheduler", remedy=remedy)
        time.sleep(LOOK_S)
    with _connected(str(scheduler_file), None, timeout_s, address=_address_in(scheduler_file)) as client:
        try:
            client.wait_for_workers(count, timeout=max(1.0, until - time.monotonic()))
        except TimeoutError:
            here = len(client.scheduler_info(n_workers=-1)["workers"])
            allowed = f"{here} of {count} came within {timeout_s:.0f} s"
            remedy = f"See the workers' logs; {JOB_WORKERS} sets the time"
            raise UserError("Dask workers", allowed=allowed, remedy=remedy) from None
        nodes = Counter(client.run(_node).values())
        where = ", ".join(f"{number} on {node}" for node, number in sorted(nodes.items()))
        log(f"Dask workers: {where}")


def _node() -> str:
    """Return the node of a worker, as SLURM calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def close_workers(scheduler_file: Path) -> None:
    """End the workers and the scheduler of a batch job."""
    with _connected(str(scheduler_file), None, CONNECT_S, address=_address_in(scheduler_file)) as client:
        client.shutdown()


def make_keys(folder: Path) -> None:
    """Write a key and a certificate for one cluster, which only this user can read: `cert.pem` and `key.pem`.

    Raises:
        UserError: the folder is there and not private.
    """
    from distributed.security import Security

    made = Security.temporary()
    make_private(folder)
    for name, text in (("cert.pem", made.tls_ca_file), ("key.pem", made.tls_scheduler_key)):
        with open(folder / name, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)


def main() -> None:
    """Do what the command line says."""
    what, name, *count = sys.argv[1:]
    try:
        if what == "keys":
            make_keys(Path(name))
        elif what == "wait":
            wait_for_workers(Path(name), int(count[0]), float(os.environ.get(JOB_WORKERS, JOB_WORKERS_S)))
        else:
            close_workers(Path(name))
    except UserError as error:
        print(f"hews: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
