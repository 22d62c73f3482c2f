"""Everything a GPU can prove in some minutes: the tests marked gpu, then the benchmark, into one dated JSON file.

Needs NumPy, numba with numba-cuda, torch, pytest and this checkout: ``PYTHONPATH=. python -m benchmarks.gpu.check``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.common import ROOT, save_result
from benchmarks.gpu.raster import Gpu, run

__all__ = ["main"]

TESTS_S = 300
"""A limit for the tests: the whole check is to end within eight minutes."""


def run_tests() -> dict[str, Any]:
    """The tests marked gpu, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=TESTS_S)
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


def main() -> int:
    """Run, print, save; 1 if a test failed."""
    import torch

    if not torch.cuda.is_available():
        print("gpu-check: torch finds no NVIDIA GPU here; nothing was measured", file=sys.stderr)
        return 1
    tests = run_tests()
    result = {**device(), "tests": tests, "raster": run(Gpu())}
    print(json.dumps(result, indent=2))
    print(f"saved {save_result('gpu', result)}", file=sys.stderr)
    return 0 if tests["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
