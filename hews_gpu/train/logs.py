"""TensorBoard's view of a run: what each step lost, and what each epoch scored and cost.

`history.csv` holds the same per epoch and is written whole; this is for watching. Nothing of it is read again by a run,
so a log that cannot be written is no reason to stop: it says so once and is done without.
"""

from __future__ import annotations

import math
import resource
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

from hews_gpu.progress import log

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LOGS", "RunLog", "peak_memory_mib"]

LOGS = "logs"  # of the run folder: `tensorboard --logdir RUN/logs`
FLUSH_S = 10  # what a watcher waits at most


class RunLog:
    """Scalars of one run, on the first process only.

    Args:
        folder: of the logs; made if need be. None: log nothing, as on the other processes.
        purge_step: a resumed run's first step; what an earlier process logged from there on is no longer shown.
    """

    def __init__(self, folder: Path | None, purge_step: int | None = None) -> None:
        self._writer = None if folder is None else _open(folder, purge_step)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """What one optimizer step had: loss, learning rate, ...

        Args:
            step: counted over the whole run.
            values: by name; shown under ``step/``.
        """
        self._write("step", step, values)

    def epoch(self, step: int, values: Mapping[str, Any]) -> None:
        """What one epoch had; what is no finite number is left out.

        Args:
            step: optimizer steps done by its end.
            values: a row of the history; shown under ``epoch/``.
        """
        self._write("epoch", step, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._writer is not None:
            self._try("close")
            self._writer = None

    def _write(self, group: str, step: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if self._writer is not None and is_number and math.isfinite(value):
                self._try("add_scalar", f"{group}/{name}", value, step)

    def _try(self, method: str, *arguments: Any) -> None:
        writer = self._writer
        try:
            getattr(writer, method)(*arguments)
        except OSError as error:  # the disk is full, or gone; checkpoints say more about that
            log(f"TensorBoard's log ends here: it cannot be written ({error})")
            self._writer = None
            with suppress(OSError):
                writer.close()  # type: ignore[union-attr]  # lets its thread end


def peak_memory_mib(device: str) -> float:
    """The most memory that this process has held: of the GPU by torch, else of the machine by the process.

    Args:
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated() / 2**20)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _open(folder: Path, purge_step: int | None) -> SummaryWriter | None:
    try:
        with warnings.catch_warnings():  # its own protobuf and NumPy ones are nothing to a user
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(str(folder), purge_step=purge_step, flush_secs=FLUSH_S)
    except (ImportError, OSError) as error:
        log(f"no TensorBoard log: {error}")
        return None
