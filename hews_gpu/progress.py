"""Progress of a long step: a rich bar on a terminal, plain log lines anywhere else.

Everything goes to standard error, so that standard output holds only results (and valid JSON under `--json`).
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hews_gpu.errors import printable

__all__ = ["SILENT", "Step", "log", "peak_memory_bytes", "step"]

LEAST_S = 0.5  # of a shorter step the pace says nothing
LOG_EVERY_S = 5.0  # a line each 5 s keeps a batch log readable and still shows that the job lives


class Step(Protocol):
    """One long step under way."""

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say that `amount` more of the total is done; `note` is shown beside it."""


class _Silent:
    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say nothing."""


SILENT: Step = _Silent()
"""A step that nobody watches."""


def log(text: str) -> None:
    """Write one line to standard error at once."""
    print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def step(title: str, total: float, unit: str = "") -> Iterator[Step]:
    """Show the progress of a step that counts up to `total` in `unit`s.

    Args:
        title: what is done, such as ``reading``.
        total: how much there is to do; 0 for a step of unknown length.
        unit: what is counted, such as ``rows``.
    """
    if sys.stderr.isatty():
        with _bar(title, total, unit) as bar:
            yield bar
    else:
        lines = _Lines(title, total, unit)
        yield lines
        lines.finish()


@contextmanager
def _bar(title: str, total: float, unit: str) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    tail = (TimeElapsedColumn(), Remaining(), Pace(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, *tail, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total or None, note="")

        class Bar:
            def advance(self, amount: float = 1.0, note: str = "") -> None:
                progress.update(task, advance=amount, note=note)

        yield Bar()


class _Lines:
    """The plain form: a line at the start, one at most each `LOG_EVERY_S`, one at the end."""

    def __init__(self, title: str, total: float, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.note = 0.0, ""
        self.started = self.last = time.perf_counter()
        self.printed: float | None = None

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note
        now = time.perf_counter()
        if now - self.last >= LOG_EVERY_S:
            self.last = now
            self._print(now)

    def finish(self) -> None:
        if self.printed != self.done:
            self._print(time.perf_counter())

    def _print(self, now: float) -> None:
        self.printed = self.done
        of_total = f" of {self.total:,.0f}" if self.total else ""
        note = f", {self.note}" if self.note else ""
        took_s = now - self.started
        log(f"{self.title}: {self.done:,.0f}{of_total} {self.unit} in {took_s:.1f} s{self._pace(took_s)}{note}")

    def _pace(self, took_s: float) -> str:
        """How fast it goes, and how long the rest will take at that pace."""
        if not self.done or took_s < LEAST_S:
            return ""
        pace = self.done / took_s
        left_s = (self.total - self.done) / pace if self.total > self.done else 0.0
        rest = f", {left_s:,.0f} s left" if left_s else ""
        return f" ({pace:,.3g} {self.unit}/s{rest})" if pace < 100 else f" ({pace:,.0f} {self.unit}/s{rest})"


def peak_memory_bytes() -> int:
    """The largest resident memory of this process so far.

    On Linux the kernel's own high-water mark: what `getrusage` gives a new process begins with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (mark := re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)):
        return 1024 * int(mark.group(1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
