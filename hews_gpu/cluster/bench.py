"""Find and start the benchmarks and studies of a source checkout: each is a script in benchmarks/ or studies/."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import disk_full_is_a_user_error, write_json

__all__ = ["benchmark_names", "run_benchmark"]

FOLDERS = ("benchmarks", "studies")
NOT_BENCHMARKS = {"common", "__init__"}
DEVICES = ("cpu", "cuda")
LOCKED = "forecasts"


def run_benchmark(
    name: str,
    *,
    quick: bool,
    as_json: bool,
    device: str = "cpu",
    open_locked: str | None = None,
    out: Path | None = None,
    more: Sequence[str] = (),
) -> int:
    """Run ``benchmarks/NAME.py`` or ``studies/NAME.py`` in its own process.

    Args:
        name: of the benchmark.
        quick: finish in under a minute.
        as_json: print JSON.
        device: cpu or cuda.
        out: file for the result, below where and how it was made; nothing is printed then.
        open_locked: why the real table's locked block is opened, once; None leaves it shut.
        more: flags of that benchmark alone; it refuses what it does not know.

    Returns:
        Its exit code.

    Raises:
        UserError: there is no checkout here, no such benchmark in it or device, or it has no locked block.
    """
    if device not in DEVICES:
        raise UserError("--device", device, allowed="is not known", remedy=did_you_mean(device, DEVICES))
    known = benchmark_names()
    if name not in known:
        raise UserError("benchmark", name, allowed="does not exist", remedy=did_you_mean(name, known))
    if open_locked is not None and name != LOCKED:
        allowed = f"is for '{LOCKED}', which alone has a locked block"
        raise UserError("--open-locked-block", open_locked, allowed=allowed, remedy="Leave it out")
    flags = ["--quick"] * quick + ["--json"] * (as_json or out is not None) + ["--device", device] * (device != "cpu")
    flags += [] if open_locked is None else [f"--open-locked-block={open_locked}"]
    flags += more
    if out is not None:
        return _into(out, name, flags)
    return subprocess.run([sys.executable, str(_script(name)), *flags], check=False).returncode


def _into(out: Path, name: str, flags: list[str]) -> int:
    """Run a benchmark and write its result to a file, as those of benchmarks/results are; return its exit code.

    Raises:
        UserError: the file cannot be written.
    """
    with disk_full_is_a_user_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    header = [sys.executable, str(_checkout() / "benchmarks" / "common.py"), f"{name}.py", *flags]
    # made now: the load that it tells is that before the benchmark
    head = json.loads(subprocess.run(header, stdout=subprocess.PIPE, check=True).stdout)
    command = [sys.executable, str(_script(name)), *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    begin = done.stdout.find("{")
    if begin >= 0:
        result, _ = json.JSONDecoder().raw_decode(done.stdout, begin)
        write_json(out, {"benchmark": name, **head, **result})
    return done.returncode


def benchmark_names() -> set[str]:
    """Return the names of the benchmarks and studies there are.

    Raises:
        UserError: there is no checkout here.
    """
    return {path.stem for folder in FOLDERS for path in (_checkout() / folder).glob("*.py")} - NOT_BENCHMARKS


def _script(name: str) -> Path:
    """Return the script of a benchmark or study."""
    return next(path for folder in FOLDERS if (path := _checkout() / folder / f"{name}.py").is_file())


def _checkout() -> Path:
    """Return the source checkout: the one that holds the package, or the working folder."""
    for root in (Path(__file__).parents[2], Path.cwd()):
        if (root / "benchmarks" / "common.py").is_file():
            return root
    remedy = "Clone the repository and run 'hews bench' inside it"
    raise UserError("benchmarks/", Path.cwd(), allowed="benchmarks come with the source checkout", remedy=remedy)
