"""NVIDIA's own tools on the raster kernels, where a machine has them and lets them: races, and what binds a kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

from benchmarks.common import ROOT

RACECHECK = ("compute-sanitizer", "--tool", "racecheck", "--error-exitcode", "9")
METRICS = (
    "gpu__time_duration.sum",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
)
NCU = ("ncu", "--csv", "--metrics", ",".join(METRICS))


def racecheck(*, tiny: bool) -> dict[str, Any]:
    """Look for accesses to shared memory that no barrier orders."""
    return _under(RACECHECK, windows=64, tiny=tiny)


def ncu(*, tiny: bool) -> dict[str, Any]:
    """Return what the profiler says of each kernel, as its lines of comma-separated values."""
    return _under(NCU, windows=8192, tiny=tiny)


def _under(tool: tuple[str, ...], windows: int, tiny: bool) -> dict[str, Any]:
    """Draw every style once under a tool; without the tool, if tiny."""
    if not tiny and shutil.which(tool[0]) is None:
        return {"skipped": f"{tool[0]} is not on PATH"}
    command = [sys.executable, "-m", "benchmarks.gpu.raster", "1" if tiny else str(windows)]
    command = command if tiny else [*tool, *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return {"passed": done.returncode == 0, "command": " ".join(tool), "lines": lines[-40:]}
