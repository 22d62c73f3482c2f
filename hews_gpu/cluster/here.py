"""A sweep on this machine: its jobs one after the other, each in its own process, so that a failure ends only one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hews_gpu.cluster.sweep import Sweep, recipe_of
from hews_gpu.progress import log

__all__ = ["run_here"]


def run_here(sweep: Sweep, out: Path, *, device: str) -> dict[int, tuple[str, str]]:
    """Run every job; one that is trained already ends at once.

    Args:
        sweep: what is tried.
        out: folder of the runs.
        device: auto, cpu or cuda.

    Returns:
        Of each job its state (done or failed), and why.

    Raises:
        UserError: a job has a setting that no recipe may have; none has run then.
    """
    for job in range(len(sweep.jobs)):
        recipe_of(sweep, job)
    states: dict[int, tuple[str, str]] = {}
    for job, settings in enumerate(sweep.jobs):
        log(f"--- job {job} of {len(sweep.jobs)}: {', '.join(f'{key} = {value}' for key, value in settings.items())}")
        arguments = ["sweep", str(sweep.path), "--out", str(out), "--job", str(job), "--device", device]
        command = [sys.executable, "-m", "hews_gpu", *arguments]
        with subprocess.Popen(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            last = ""
            for line in process.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
        code = process.returncode
        states[job] = ("done", "") if code == 0 else ("failed", last.removeprefix("hews: ") or f"code {code}")
    return states
