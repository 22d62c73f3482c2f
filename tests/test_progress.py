"""Progress goes to standard error: plain lines in a log, a bar on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import numpy as np
import pytest

from hews_gpu import progress
from hews_gpu.progress import peak_memory_bytes

SCRIPT = """
from hews_gpu.progress import step
with step("reading", 4, "rows") as work:
    for _ in range(4):
        work.advance(1, "half way")
print("result")
"""


def test_a_log_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    with progress.step("reading", 1200, "rows") as work:
        work.advance(600, "first half")
        work.advance(600)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("reading: 600 of 1,200 rows in ")
    assert lines[-1].endswith("first half")
    assert len(lines) == 2  # the end is not said twice
    assert not any("\x1b" in line for line in lines)


def test_a_long_step_tells_its_pace_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 110.0, 130.0, 130.0])  # the start, 10 s later, 20 s later
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with progress.step("cleaning", 3000, "rows") as work:
        work.advance(500)
        work.advance(2500)
    assert capsys.readouterr().err.splitlines() == [
        "cleaning: 500 of 3,000 rows in 10.0 s (50 rows/s, 50 s left)",
        "cleaning: 3,000 of 3,000 rows in 30.0 s (100 rows/s)",
    ]


def test_results_and_progress_do_not_mix() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert "reading: 4 of 4 rows" in done.stderr


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs, stdout=subprocess.PIPE, env=env):
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # the terminal closes with the child
            pass
    os.close(ours)
    assert "4/4" in shown.decode() and "rows/s" in shown.decode()
    assert "\x1b[" in shown.decode()


def test_a_process_is_not_charged_what_its_parent_held() -> None:
    """getrusage's figure would be: it outlives the exec."""
    held = np.ones(60_000_000)  # 480 MB
    code = "from hews_gpu.progress import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes < peak_memory_bytes()
