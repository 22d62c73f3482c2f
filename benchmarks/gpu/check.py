"""Everything a GPU can prove in some minutes: the tests marked gpu, then the benchmarks, into one dated JSON file.

Needs NumPy, numba with numba-cuda, torch, pytest and this checkout: ``PYTHONPATH=. python -m benchmarks.gpu.check``.
A section that fails, or that lacks a library, is told in the file, and the others go on.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.common import ROOT, save_result

PACKAGES = ("numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "triton")
TESTS_S = 300
WHOLE_S = 480
"""Limits for the tests and for the whole check; a section begins only while there is time left for it."""
SECTION_S = 60
"""What a section may take at most, by what it measures."""
SECTIONS = {
    "raster": "benchmarks.gpu.raster",
    "pip": "benchmarks.gpu.pip",
    "feed": "benchmarks.feed",
    "training": "benchmarks.gpu.training",
    "prepare": "benchmarks.gpu.prepare",
}
"""Modules with a function `run(machine)` that measures on a `benchmarks.gpu.raster.Gpu`, and what it gives is kept."""


def run_tests() -> dict[str, Any]:
    """The tests marked gpu, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests")]
    if importlib.util.find_spec("xdist"):  # nearly all of their time goes into compiling
        command += ["-n", str(min(8, os.cpu_count() or 1))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=TESTS_S)
    except subprocess.TimeoutExpired:
        return {"passed": False, "summary": f"not through within {TESTS_S} s"}
    lines = done.stdout.strip().splitlines()
    print("\n".join(lines[-20:]))
    return {"passed": done.returncode == 0, "summary": lines[-1] if lines else done.stderr[-200:]}


def device() -> dict[str, Any]:
    """What ran it."""
    import numba
    import torch

    about = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": about.name,
        "multiprocessors": about.multi_processor_count,
        "driver": driver,
        "cuda": torch.version.cuda,
        "numba": numba.__version__,
    }


def run_section(module: str, machine: Any, left_s: float) -> Any:
    """What one section measured, or why there is nothing."""
    if left_s < SECTION_S:
        return {"skipped": f"{left_s:.0f} s were left of {WHOLE_S}"}
    try:
        return importlib.import_module(module).run(machine)
    except Exception as error:  # noqa: BLE001 - told in the file, and the check fails; the other sections still count
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> int:
    """Run, print, save; 1 if a test or a section failed or was left out, or nothing can be measured here."""
    try:
        from benchmarks.gpu.raster import Gpu

        import torch  # isort: skip - takes longest
    except ModuleNotFoundError as error:
        print(f"gpu-check: {sys.executable} has no {error.name}; nothing was measured", file=sys.stderr)
        return 1
    if not torch.cuda.is_available():
        print("gpu-check: torch finds no NVIDIA GPU here; nothing was measured", file=sys.stderr)
        return 1
    began = time.monotonic()
    tests = run_tests()
    sections = {
        name: run_section(module, Gpu(), WHOLE_S - (time.monotonic() - began)) for name, module in SECTIONS.items()
    }
    result = {**device(), "tests": tests, **sections, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(result, indent=2))
    print(f"saved {save_result('gpu', result, packages=PACKAGES)}", file=sys.stderr)
    is_whole = not any("failed" in rows or "skipped" in rows for rows in sections.values())
    return 0 if tests["passed"] and is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
