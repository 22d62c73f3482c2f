"""The Dask cluster of a job, seen from its script: wait until every worker is there, and end them all.

python -m hews_gpu.cluster.workers wait SCHEDULER.json COUNT
python -m hews_gpu.cluster.workers close SCHEDULER.json
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path

from hews_gpu.errors import UserError
from hews_gpu.progress import log

__all__ = ["close", "main", "wait"]

PATIENCE_S = 300.0
ENV = "HEWS_WORKERS_TIMEOUT_S"
LOOK_S = 0.2


def wait(scheduler_file: Path, count: int, timeout_s: float = PATIENCE_S) -> None:
    """Wait until a scheduler has `count` workers.

    Raises:
        UserError: it has not, in time.
    """
    from distributed import Client

    until = time.monotonic() + timeout_s
    while not (scheduler_file.is_file() and scheduler_file.stat().st_size):
        if time.monotonic() > until:
            remedy = "See scheduler.log in the folder of its logs"
            raise UserError(str(scheduler_file), allowed="was not written by the Dask scheduler", remedy=remedy)
        time.sleep(LOOK_S)
    with Client(scheduler_file=str(scheduler_file), timeout=timeout_s) as client:
        try:
            client.wait_for_workers(count, timeout=max(1.0, until - time.monotonic()))
        except TimeoutError:
            here = len(client.scheduler_info(n_workers=-1)["workers"])
            allowed = f"{here} of {count} came within {timeout_s:.0f} s"
            remedy = f"See the workers' logs; {ENV} sets the time"
            raise UserError("Dask workers", allowed=allowed, remedy=remedy) from None
        nodes = Counter(client.run(_node).values())
        where = ", ".join(f"{number} on {node}" for node, number in sorted(nodes.items()))
        log(f"Dask workers: {where}; dashboard {client.dashboard_link}")


def _node() -> str:
    """The node of a worker, as SLURM calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def close(scheduler_file: Path) -> None:
    """End the workers and the scheduler."""
    from distributed import Client

    with Client(scheduler_file=str(scheduler_file), timeout=PATIENCE_S) as client:
        client.shutdown()


def main() -> None:
    """Do what the command line says."""
    what, name, *count = sys.argv[1:]
    try:
        if what == "wait":
            wait(Path(name), int(count[0]), float(os.environ.get(ENV, PATIENCE_S)))
        else:
            close(Path(name))
    except UserError as error:
        print(f"hews: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
