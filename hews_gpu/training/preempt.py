"""Being told to stop: finish the step, write a checkpoint, end with a code that a scheduler understands.

The first SIGTERM, SIGUSR2 or Ctrl-C only raises a flag, which the training loop looks at between two steps. A second
one ends the process at once, wherever it is, even within a call that never returns: a thread waits for it. Nothing can
be damaged by that, since files get their names only when they are whole.

Schedulers and launchers often send the same signal twice, to the process and to its group: what comes within
`SAME_S` of the first counts as the same.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

__all__ = ["EXIT_PREEMPTED", "Preempted", "StopSignals", "stopped_by"]

EXIT_PREEMPTED = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": the same command with --resume goes on."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
SAME_S = 1.0


class Preempted(SystemExit):
    """The run was told to stop by SIGTERM or SIGUSR2 and has written its checkpoint."""

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)


class StopSignals:
    """Takes the signals over while it is entered; the main thread's alone, elsewhere it does nothing.

    Until `gently` is set a signal is raised on the spot, as an exception: there is no step to finish yet.
    """

    def __init__(self) -> None:
        self.asked = 0
        """The first signal's number; 0: none came."""
        self.gently = False
        self._since = float("inf")
        self._before: dict[int, Any] = {}
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._ends[1].fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._ends[0].setblocking(True)
        threading.Thread(target=self._watch, args=(self._ends[0],), name="stop-signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._ends[1].close()  # ends the thread
        self._ends = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal, where Python handles it: between two of its instructions."""
        is_first, self.asked = not self.asked, self.asked or number
        if is_first and not self.gently:
            raise stopped_by(number)

    def _watch(self, end: socket.socket) -> None:
        """Receive every signal's number at once, whatever the main thread does."""
        with end:
            while received := end.recv(1):
                if received[0] not in SIGNALS:
                    continue
                now = time.monotonic()
                if now - self._since > SAME_S:
                    os._exit(128 + received[0])
                self._since = min(self._since, now)


def stopped_by(number: int, how: str = "", say: Callable[[str], None] = lambda _: None) -> BaseException:
    """Return what ends a run that a signal stopped: Ctrl-C is the user's own, the others are a scheduler's.

    `how` it stopped and goes on is the exception's text for a user, and a line of the log for a scheduler.
    """
    if number == signal.SIGINT:
        return KeyboardInterrupt(how) if how else KeyboardInterrupt()
    if how:
        say(how)
    return Preempted()
