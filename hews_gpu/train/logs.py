"""TensorBoard's view of a run: what each step lost, and what each epoch scored and cost.

`history.csv` holds the same per epoch and is written whole; this is for watching. Nothing of it is read again by a run,
so a log that cannot be written is no reason to stop: it says so once and is done without.

Events are written here and now, in TensorBoard's own format. Its writer (which torch's wraps) has a thread for that, in
which a full disk ends with a traceback.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from hews_gpu.progress import log

__all__ = ["LOGS", "RunLog"]

LOGS = "logs"  # of the run folder: `tensorboard --logdir RUN/logs`
FLUSH_S = 5.0  # what a watcher waits at most


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
