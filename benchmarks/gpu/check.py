"""Everything a GPU can prove in some minutes, in stages by worth, into one dated JSON file.

What was never measured comes first, what was and has not changed last. Each stage is a process of its own: a kernel
that breaks the device's context, or hangs, costs no other stage its turn. The file is written anew after each, as a
machine that is lent may be taken back at any time; ``--resume`` goes on with it, if code and device are the same. A
stage that fails, or lacks a library or the time, is told in the file, and the others go on. ``--dry-run`` walks all
stages without a GPU, with tiny sizes and kernels in numba's simulator.

Needs NumPy, numba with numba-cuda, torch, filelock 4, pytest and this checkout:
``PYTHONPATH=. python -m benchmarks.gpu.check``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, save_result
from hews_gpu.work_folder import code_digest

PACKAGES = ("numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "triton")
WHOLE_S = 480
LONGEST = 2
"""Times those seconds that a stage may take."""
STAGES: dict[str, tuple[str, int]] = {
    "raster": ("benchmarks.gpu.raster", 45),
    "tilings": ("benchmarks.gpu.tilings", 45),
    "feed": ("benchmarks.feed", 60),
    "prepare": ("benchmarks.gpu.prepare", 120),
    "training": ("benchmarks.gpu.training", 90),
    "tests": (__name__, 90),
    "pip": ("benchmarks.gpu.pip", 40),
    "racecheck": ("benchmarks.gpu.tools", 60),
    "ncu": ("benchmarks.gpu.tools", 40),
}
"""By name: a module with a function of that name, or `run`, that takes `tiny`; and how many seconds it takes, about."""


def tests(*, tiny: bool) -> dict[str, Any]:
    """Run the tests marked gpu; collect them only, if tiny."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(ROOT / "tests")]
    if tiny:
        command += ["--collect-only"]
    elif importlib.util.find_spec("xdist"):  # nearly all of their time goes into compiling
        command += ["-n", str(min(8, os.cpu_count() or 1))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = done.stdout.strip().splitlines()
    print("\n".join(lines[-20:]), file=sys.stderr)
    return {"passed": done.returncode == 0, "summary": lines[-1] if lines else done.stderr[-200:]}


def device() -> dict[str, Any]:
    """Return what ran it."""
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


def command_of(name: str, tiny: bool) -> list[str]:
    """Return what runs a stage."""
    return [sys.executable, "-m", "benchmarks.gpu.check", "--stage", name, *(["--dry-run"] if tiny else [])]


def run_stage(name: str, left_s: float, *, tiny: bool) -> Any:
    """Return what a stage measured in a process of its own, or why there is nothing."""
    needs_s = STAGES[name][1]
    if left_s < needs_s and not tiny:
        return {"skipped": f"takes up to {needs_s} s, {max(0.0, left_s):.0f} s were left"}
    most_s = LONGEST * needs_s if tiny else min(left_s, LONGEST * needs_s)
    environment = os.environ | ({"NUMBA_ENABLE_CUDASIM": "1"} if tiny else {})
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        started = subprocess.Popen(
            command_of(name, tiny), cwd=ROOT, env=environment, stdout=said, stderr=errors, start_new_session=True
        )
        try:
            status = started.wait(most_s)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # with whatever it has started
            started.wait()
            return {"failed": f"not through within {most_s:.0f} s"}
        said.seek(0)
        errors.seek(0)
        if status:
            lines = errors.read().strip().splitlines() or [f"ended with status {status}, without a word"]
            return {"failed": " / ".join(lines[-3:])[-600:]}
        return json.loads(said.read().strip().splitlines()[-1])


def is_done(result: Any) -> bool:
    """Return whether a stage was run and nothing in it failed."""
    return not isinstance(result, Mapping) or not ({"failed", "skipped"} & set(result) or result.get("passed") is False)


def digest() -> str:
    """Return what the package, the libraries under it and the benchmarks are, as hex digits."""
    whole = hashlib.sha256(code_digest().encode())
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def earlier(folder: Path, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stages done by the newest file that agrees in code and device."""
    dated = re.compile(rf"{name}-\d{{4}}-\d\d-\d\d\.json")
    for path in sorted((path for path in folder.glob("*.json") if dated.fullmatch(path.name)), reverse=True):
        content = json.loads(path.read_text(encoding="utf-8"))
        if all(content.get(key) == about[key] for key in ("code", "device")):
            return {stage: content[stage] for stage in STAGES if stage in content and is_done(content[stage])}
    return {}


def check(folder: Path, budget_s: float, *, tiny: bool, resume: bool) -> dict[str, Any]:
    """Run all stages, and write the file after each; return the last state of it."""
    began, name = time.monotonic(), "gpu-dry-run" if tiny else "gpu"
    about = {**({"device": "none, a dry run"} if tiny else device()), "code": digest(), "budget_s": budget_s}
    done, seconds = earlier(folder, name, about) if resume else {}, dict[str, float]()
    result: dict[str, Any] = {**about, **done}
    for stage in [stage for stage in STAGES if stage not in done]:
        at = time.monotonic()
        result[stage] = run_stage(stage, budget_s - (at - began), tiny=tiny)
        seconds[stage] = round(time.monotonic() - at, 1)
        why = "" if is_done(result[stage]) else f": {json.dumps(result[stage])}"
        print(f"gpu-check: {stage}, {seconds[stage]} s{why}", file=sys.stderr)
        result |= {"stage_seconds": seconds, "seconds": round(time.monotonic() - began, 1)}
        print(f"gpu-check: saved {save_result(name, result, folder, PACKAGES)}", file=sys.stderr)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, save; 1 if a stage failed or was left out, or nothing can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=WHOLE_S, metavar="S", help="seconds for all stages together")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, without a GPU")
    parser.add_argument("--resume", action="store_true", help="keep what the newest file of this code and device has")
    parser.add_argument("--force", action="store_true", help="replace today's file")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the file; else benchmarks/results")
    parser.add_argument("--stage", choices=STAGES, help="print what one stage measures, save nothing")
    flags = parser.parse_args(arguments)
    if flags.stage:
        module = importlib.import_module(STAGES[flags.stage][0])
        measure = getattr(module, flags.stage, None) or module.run
        print(json.dumps(measure(tiny=flags.dry_run)))
        return 0
    if not flags.dry_run and (why := why_not()):
        print(f"gpu-check: {why}; nothing was measured", file=sys.stderr)
        return 1
    folder: Path = flags.out or (ROOT / ".local" if flags.dry_run else RESULTS)
    today = folder / f"{'gpu-dry-run' if flags.dry_run else 'gpu'}-{datetime.now(UTC):%Y-%m-%d}.json"
    if today.exists() and not flags.resume and not flags.force:
        print(f"gpu-check: {today} exists: --resume goes on with it, --force measures anew", file=sys.stderr)
        return 2
    result = check(folder, flags.budget, tiny=flags.dry_run, resume=flags.resume)
    print(json.dumps(result, indent=2))
    return 0 if all(is_done(result[name]) for name in STAGES) else 1


def why_not() -> str:
    """Return why nothing can be measured here; empty where it can."""
    for name in ("numba", "torch"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            return f"{sys.executable} has no {error.name}"
    import torch

    return "" if torch.cuda.is_available() else "torch finds no NVIDIA GPU here"


if __name__ == "__main__":
    sys.exit(main())
