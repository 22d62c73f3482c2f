"""Processes side by side: the results in order, and none outlives the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hews_gpu.workers import processes

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_results_come_in_order_from_processes_where_there_is_more_than_one_job(jobs: int) -> None:
    with processes(jobs) as run:
        assert list(run(abs, [-3, 2, -1])) == [3, 2, 1]
        pids = set(run(eval, ["__import__('os').getpid()"] * 4))
    assert (pids == {os.getpid()}) == (jobs < 2)


SCRIPT = """
import time
from hews_gpu.workers import processes
if __name__ == "__main__":
    with processes(2) as run:
        print(*run(eval, ["__import__('os').getpid()"]), flush=True)
        list(run(time.sleep, [600, 600, 600]))
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """Also where that is killed and can clean nothing up."""
    (tmp_path / "pool.py").write_text(SCRIPT)
    command, environment = [sys.executable, str(tmp_path / "pool.py")], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as done:
        assert done.stdout is not None
        worker = int(done.stdout.readline())
        done.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists() and "zombie" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < deadline, "it works on"
        time.sleep(0.2)
