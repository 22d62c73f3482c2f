"""What every benchmark shares: fair timing of alternatives, where and how it ran, flags, and dated result files.

Alternatives are timed in turn, round by round, in one process, so that a neighbor's load or a clock that slows down
meets all of them; what is reported is the median over the rounds of the ratio within a round, with its spread. A
benchmark does the same work on each side, checks that the answers agree, and then saves one dated JSON file.

A benchmark is a script `benchmarks/NAME.py`, started by ``hews bench NAME`` or ``python -m benchmarks.NAME`` in the
checkout; most have the flags of `parse_flags` and end in `finish`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hews_gpu.files import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "numba", "pandas", "pyarrow", "dask", "shapely", "geopandas", "torch", "zarr", "matplotlib")
GIB = 2**30
SHORTEST_S = 0.2  # the clock of a process is coarse: within a turn, work is repeated for at least so long
Clock = Callable[[Callable[[], object]], float]
"""Does some work and returns its seconds."""


def wall_s(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def processor_s(work: Callable[[], object]) -> float:
    """Return the processor seconds that some work takes; the load of the machine hardly changes them."""
    begin, repeats, spent = time.process_time(), 0, 0.0
    while spent < SHORTEST_S:
        work()
        repeats, spent = repeats + 1, time.process_time() - begin
    return spent / repeats


@dataclass(frozen=True)
class Timing:
    """The seconds of one alternative, one value per round."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    def per(self, count: float) -> Timing:
        """Return the seconds of one of `count` equal parts of the work."""
        return Timing(tuple(seconds / count for seconds in self.seconds))


def time_in_turn(
    alternatives: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 7,
    warm_up: int = 1,
    clock: Clock = wall_s,
    same: Callable[[Any, Any], bool] | None = None,
) -> dict[str, Timing]:
    """Time each alternative once per round; each round starts with another one.

    Args:
        alternatives: a name and a function without arguments for each; all do the same work.
        rounds: how many times each is timed; at least 3, or a spread means nothing.
        warm_up: untimed rounds before, which compile and touch memory.
        clock: what measures one turn.
        same: whether two answers agree; each answer is compared with that of the first alternative before timing.

    Raises:
        AssertionError: two answers differ.
    """
    assert rounds >= 3, "a spread needs at least 3 rounds"
    names = list(alternatives)
    if same is not None:
        expected = alternatives[names[0]]()
        for name in names[1:]:
            assert same(expected, alternatives[name]()), f"{names[0]} and {name} differ"
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collects = gc.isenabled()
    gc.disable()  # a collection in the middle would be charged to whoever happened to run
    gc.freeze()  # what is there already need not be gone through after each round, which also empties the caches
    try:
        for i in range(-warm_up, rounds):
            shift = i % len(names)
            for name in names[shift:] + names[:shift]:
                took_s = clock(alternatives[name])
                if i >= 0:
                    seconds[name].append(took_s)
            gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def ratios(timings: Mapping[str, Timing], baseline: str) -> dict[str, dict[str, float]]:
    """Return how many times faster than `baseline` each is: median, lowest and highest ratio within a round."""
    slow = timings[baseline].seconds
    result = {}
    for name, timing in timings.items():
        by_round = [a / b for a, b in zip(slow, timing.seconds, strict=True)]
        result[name] = {"median": statistics.median(by_round), "low": min(by_round), "high": max(by_round)}
    return result


def header(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return when, by which command and commit, on which hardware and with which versions a benchmark ran.

    Args:
        packages: what else the benchmark used, beside `PACKAGES`.
    """
    data = ["HEWS_REAL_DATA=DATA"] if os.environ.get("HEWS_REAL_DATA") else []  # where they lie says nothing
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([*data, Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in (*PACKAGES, *packages)},
    }


def _commit() -> str:
    """Return the checkout's commit, with `-dirty` where files differ from it; else what HEWS_COMMIT says, or unknown.

    The variable is for a copy of the files without their history, as one takes to a machine with a GPU.
    """
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("HEWS_COMMIT", "unknown")


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def real_data() -> Path | None:
    """Return the folder that HEWS_REAL_DATA names, or None; the process ends if nothing is there."""
    name = os.environ.get("HEWS_REAL_DATA")
    if name and not (Path(name) / "baltimore").is_dir():
        sys.exit(f"HEWS_REAL_DATA = {name!r}: must hold a folder baltimore; unset it to do without real cities")
    return Path(name) if name else None


def parse_flags(description: str, *, devices: Sequence[str] = ("cpu",), **more: dict[str, Any]) -> argparse.Namespace:
    """Return the flags every benchmark has: `quick`, `json` and `device`, which must be one of `devices` and work.

    Args:
        description: of the benchmark, for --help.
        devices: what it can run on.
        more: flags of its own by name, each with the arguments of `ArgumentParser.add_argument`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and less data; under a minute")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    parser.add_argument("--device", choices=devices, default=devices[0])
    for name, arguments in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **arguments)
    flags = parser.parse_args()
    if flags.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            sys.exit(f"{Path(sys.argv[0]).stem}: torch finds no NVIDIA GPU here")
    return flags


def finish(
    name: str,
    result: Mapping[str, Any],
    flags: argparse.Namespace,
    show: Callable[[Any], None] | None = None,
    packages: Sequence[str] = (),
    folder: Path = RESULTS,
) -> Path | None:
    """Print a result, as JSON or by `show`; save it unless it is of a quick run, and return the file."""
    if flags.json or show is None:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        show(result)
    if flags.quick:
        return None
    path = save_result(name, result, folder, packages)
    print(f"saved {path}", file=sys.stderr)
    return path


def save_result(name: str, result: Mapping[str, Any], folder: Path = RESULTS, packages: Sequence[str] = ()) -> Path:
    """Write `result` below its header as ``NAME-DATE.json`` (UTC) and return the path.

    Args:
        name: of the benchmark.
        result: what it measured.
        folder: where to.
        packages: whose versions the header names, beside the usual ones.
    """
    content = {"benchmark": name, **header(packages), **result}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{content['date'][:10]}.json"
    write_json(path, content)
    return path


if __name__ == "__main__":  # the header of the benchmark whose command line follows, for `hews bench NAME --out`
    del sys.argv[0]
    print(json.dumps(header()))
