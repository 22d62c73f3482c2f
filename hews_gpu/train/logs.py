"""What a run tells while it trains: `history.csv`, a row per epoch, and TensorBoard's events for watching.

The history is written whole each time, from what the checkpoint holds, so that a resumed run has one history. Events
are only for looking at: where they cannot be written, the run says so once and goes on without.

Events are written here and now, in TensorBoard's own format. Its writer (which torch's wraps) has a thread for that, in
which a full disk ends with a traceback.
"""

from __future__ import annotations

import csv
import math
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import torch

from hews_gpu.output import atomic_file
from hews_gpu.progress import log
from hews_gpu.train.objective import EpochRow

__all__ = ["HISTORY", "LOGS", "Logs", "RunLog", "peak_memory_mib", "write_history"]

HISTORY = "history.csv"
LOGS = "logs"  # of the run folder: `tensorboard --logdir RUN/logs`
FLUSH_S = 5.0  # what a watcher waits at most


class Logs:
    """Both, for the first process of a run.

    Args:
        run: the run folder.
        step: optimizer steps that were done when this process began; what an earlier one showed later is hidden.
    """

    def __init__(self, run: Path, step: int = 0) -> None:
        self.run = run
        self._events = RunLog(run / LOGS, purge_step=step + 1 if step else None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """What one optimizer step had, for TensorBoard alone."""
        self._events.step(step, values)

    def epoch(self, row: EpochRow, step: int, history: Sequence[EpochRow]) -> None:
        """Enter an epoch.

        Args:
            row: the epoch.
            step: optimizer steps done by its end.
            history: all epochs so far, with `row`.

        Raises:
            UserError: the disk is full.
        """
        self._events.epoch(step, row.flat())
        write_history(self.run / HISTORY, history)

    def close(self) -> None:
        """Let go of the events' file."""
        self._events.close()


def write_history(path: Path, history: Sequence[EpochRow]) -> None:
    """Write one line per epoch, whole or not at all; what a row has not is left empty.

    Raises:
        UserError: the disk is full.
    """
    rows = [row.flat() for row in history]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


class RunLog:
    """Scalars of one run, on the first process only.

    Args:
        folder: of the logs; made if need be. None: log nothing, as on the other processes.
        purge_step: a resumed run's first step; what an earlier process logged from there on is no longer shown.
    """

    def __init__(self, folder: Path | None, purge_step: int | None = None) -> None:
        self._file: IO[bytes] | None = None
        self._flushed_s = time.monotonic()
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads the files of a folder in the order of their names
            name = f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
            self._file = (folder / name).open("xb")
        except OSError as error:
            log(f"no TensorBoard log: {error}")
            return
        self._write([{"file_version": "brain.Event:2"}])
        if purge_step is not None:
            self._write([{"step": purge_step, "session_log": {"status": "START"}}])

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """What one optimizer step had: loss, learning rate, ...

        Args:
            step: counted over the whole run.
            values: by name; shown under ``step/``.
        """
        self._scalars("step", step, values)

    def epoch(self, step: int, values: Mapping[str, Any]) -> None:
        """What one epoch had; what is no finite number is left out.

        Args:
            step: optimizer steps done by its end.
            values: a row of the history; shown under ``epoch/``.
        """
        self._scalars("epoch", step, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as failed:
                self._give_up(failed)
            self._file = None

    def _scalars(self, group: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        }
        if self._file is not None and numbers:
            found = [{"tag": f"{group}/{name}", "simple_value": value} for name, value in numbers.items()]
            self._write([{"step": step, "summary": {"value": found}}])

    def _write(self, events: list[dict[str, Any]]) -> None:
        """Append events; they reach the disk within `FLUSH_S` of training."""
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        if self._file is None:
            return
        try:
            for event in events:
                RecordWriter(self._file).write(Event(wall_time=time.time(), **event).SerializeToString())
            if time.monotonic() - self._flushed_s > FLUSH_S:
                self._file.flush()
                self._flushed_s = time.monotonic()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """A full disk, or none: checkpoints say more about that."""
        log(f"TensorBoard's log ends here: it cannot be written ({error})")
        file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()


def peak_memory_mib(device: str) -> float:
    """The most memory that this process has held: of the GPU by torch, else of the machine by the process.

    Args:
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated() / 2**20)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
