"""What a run writes for people who watch it: TensorBoard's view of steps and epochs, and what each epoch took.

`history.csv` holds the same per epoch and is written whole; this is for watching. Nothing of it is read again by a run,
so a log that cannot be written is no reason to stop: it says so once and is done without.

Events are written here and now, in TensorBoard's own format. Its writer (which torch's wraps) has a thread for that, in
which a full disk ends with a traceback.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import torch

from hews_gpu.progress import log, peak_memory_bytes

__all__ = ["LOGS", "EpochCost", "RunLog"]

LOGS = "logs"  # of the run folder: `tensorboard --logdir RUN/logs`
FLUSH_S = 5.0  # what a watcher waits at most
T = TypeVar("T")


class RunLog:
    """Scalars of one run, written by rank 0 alone.

    Args:
        folder: of the logs; made if need be. None: log nothing, as on the other ranks.
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
            self._file = (folder / f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}").open("xb")
        except OSError as error:
            log(f"no TensorBoard log: {error}")
            return
        self._write({"file_version": "brain.Event:2"})
        if purge_step is not None:
            self._write({"step": purge_step, "session_log": {"status": "START"}})

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Write what one optimizer step had (loss, learning rate, ...) under ``step/``; steps count over the run."""
        self._write_scalars("step", step, values)

    def epoch(self, step: int, values: Mapping[str, Any]) -> None:
        """Write a row of the history under ``epoch/``; `step`: optimizer steps done by its end."""
        self._write_scalars("epoch", step, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._give_up(error)
            self._file = None

    def _write_scalars(self, group: str, step: int, values: Mapping[str, Any]) -> None:
        """Write what is a finite number."""
        scalars = [
            {"tag": f"{group}/{name}", "simple_value": float(value)}
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ]
        if scalars:
            self._write({"step": step, "summary": {"value": scalars}})

    def _write(self, event: dict[str, Any]) -> None:
        """Append an event; it reaches the disk within `FLUSH_S` of training."""
        if self._file is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        try:
            RecordWriter(self._file).write(Event(wall_time=time.time(), **event).SerializeToString())
            if time.monotonic() - self._flushed_s > FLUSH_S:
                self._file.flush()
                self._flushed_s = time.monotonic()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Go on without a log, on a full disk or without one: checkpoints say more about that."""
        log(f"TensorBoard's log ends here: it cannot be written ({error})")
        file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()


class EpochCost:
    """The clock of one epoch, or of what was left of it after a stop."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.samples = device, 0
        self.waiting_s = 0.0
        self._began_s = self._trained_s = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def time_waiting(self, batches: Iterator[T]) -> T:
        """Return the next of `batches`, and count the time that took as waiting for data."""
        asked_s = time.perf_counter()
        batch = next(batches)
        self.waiting_s += time.perf_counter() - asked_s
        return batch

    def end_training(self) -> None:
        """Note when the last step was taken."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._trained_s = time.perf_counter()

    def row(self) -> dict[str, float | None]:
        """Return seconds (of all), samples_per_s (of training), waiting_s (for data), peak_memory_mib."""
        is_cuda = self.device.type == "cuda"
        peak_bytes = torch.cuda.max_memory_allocated(self.device) if is_cuda else peak_memory_bytes()
        return {
            "seconds": time.perf_counter() - self._began_s,
            "samples_per_s": self.samples / (self._trained_s - self._began_s) if self.samples else None,
            "waiting_s": self.waiting_s,
            "peak_memory_mib": round(peak_bytes / 2**20, 1),
        }
