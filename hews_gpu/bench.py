"""Finds and starts the benchmarks of a source checkout: each is a script of its own in the folder benchmarks/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hews_gpu.errors import UserError, did_you_mean

__all__ = ["benchmark_names", "run_benchmark"]

NOT_BENCHMARKS = {"common", "__init__"}
DEVICES = ("cpu", "cuda")


def run_benchmark(name: str, *, quick: bool, as_json: bool, device: str = "cpu") -> int:
    """Run ``benchmarks/NAME.py`` in its own process.

    Returns:
        Its exit code.

    Raises:
        UserError: there is no checkout here, no such benchmark in it, or no such device.
    """
    if device not in DEVICES:
        raise UserError("--device", device, allowed="is not known", remedy=did_you_mean(device, DEVICES))
    known = benchmark_names()
    if name not in known:
        raise UserError("benchmark", name, allowed="does not exist", remedy=did_you_mean(name, known))
    flags = ["--quick"] * quick + ["--json"] * as_json + ["--device", device] * (device != "cpu")
    return subprocess.run([sys.executable, str(_benchmarks_folder() / f"{name}.py"), *flags], check=False).returncode


def benchmark_names() -> set[str]:
    """The benchmarks there are.

    Raises:
        UserError: there is no checkout here.
    """
    return {path.stem for path in _benchmarks_folder().glob("*.py")} - NOT_BENCHMARKS


def _benchmarks_folder() -> Path:
    """The checkout's benchmarks: beside the package, or in the working folder."""
    for root in (Path(__file__).parent.parent, Path.cwd()):
        if (root / "benchmarks" / "common.py").is_file():
            return root / "benchmarks"
    remedy = "Clone the repository and run 'hews bench' inside it"
    raise UserError("benchmarks/", Path.cwd(), allowed="benchmarks come with the source checkout", remedy=remedy)
