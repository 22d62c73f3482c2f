"""What every benchmark shares: where and how it ran, and fair timing of alternatives.

Alternatives are timed in turn, round by round, in one process, so that a neighbor's load or a clock that slows down
meets all of them; what is reported is the median over the rounds of the ratio within a round, with its spread. A
benchmark does the same work on each side, checks that the answers agree, and then saves one dated JSON file.

A benchmark is a script `benchmarks/NAME.py` with the flags ``--quick`` and ``--json`` (`parse_flags`), started by
``hews bench NAME`` or ``python -m benchmarks.NAME`` in the checkout.
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

__all__ = ["RESULTS", "Timing", "header", "parse_flags", "ratios", "real_data", "save_result", "time_in_turn"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "numba", "pandas", "pyarrow", "dask", "shapely", "geopandas", "torch", "zarr", "matplotlib")
GIB = 2**30


@dataclass(frozen=True)
class Timing:
    """The seconds of one alternative, one value per round."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Median, fastest and slowest round, and how many rounds."""
        fastest, slowest = min(self.seconds), max(self.seconds)
        return {"median_s": self.median_s, "min_s": fastest, "max_s": slowest, "rounds": len(self.seconds)}


def time_in_turn(
    alternatives: Mapping[str, Callable[[], object]], *, rounds: int = 7, warm_up: int = 1
) -> dict[str, Timing]:
    """Time each alternative once per round; each round starts with another one.

    Args:
        alternatives: a name and a function without arguments for each; all do the same work.
        rounds: how many times each is timed; at least 3, or a spread means nothing.
        warm_up: untimed rounds before, which compile and touch memory.
    """
    assert rounds >= 3, "a spread needs at least 3 rounds"
    names = list(alternatives)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collects = gc.isenabled()
    gc.disable()  # a collection in the middle would be charged to whoever happened to run
    gc.freeze()  # what is there already need not be gone through after each round, which also empties the caches
    try:
        for i in range(-warm_up, rounds):
            shift = i % len(names)
            for name in names[shift:] + names[:shift]:
                begin = time.perf_counter()
                alternatives[name]()
                if i >= 0:
                    seconds[name].append(time.perf_counter() - begin)
            gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def ratios(timings: Mapping[str, Timing], baseline: str) -> dict[str, dict[str, float]]:
    """How many times faster than `baseline` each alternative is: the median ratio within a round, lowest, highest."""
    slow = timings[baseline].seconds
    result = {}
    for name, timing in timings.items():
        by_round = [a / b for a, b in zip(slow, timing.seconds, strict=True)]
        result[name] = {"median": statistics.median(by_round), "low": min(by_round), "high": max(by_round)}
    return result


def header(packages: Sequence[str] = ()) -> dict[str, Any]:
    """When, by which command and commit, on which hardware and with which versions a benchmark ran.

    Args:
        packages: what else the benchmark used, beside `PACKAGES`.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([*_surroundings(), Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "memory_gib": round(_memory_bytes() / GIB, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in (*PACKAGES, *packages)},
    }


def _surroundings() -> list[str]:
    """Variables that a benchmark goes by, as one would set them; where the data lie is the machine's own business."""
    return ["HEWS_REAL_DATA=DATA"] if os.environ.get("HEWS_REAL_DATA") else []


def _commit() -> str:
    """The checkout's commit, with `-dirty` where files differ from it; else what HEWS_COMMIT says, or unknown.

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


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def real_data() -> Path | None:
    """The folder that HEWS_REAL_DATA names; None where it names none. The process ends if nothing is there."""
    name = os.environ.get("HEWS_REAL_DATA")
    if name and not (Path(name) / "baltimore").is_dir():
        sys.exit(f"HEWS_REAL_DATA = {name!r}: must hold a folder baltimore; unset it to do without real cities")
    return Path(name) if name else None


def parse_flags(description: str) -> argparse.Namespace:
    """The flags every benchmark has: `quick` and `json`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and less data; under a minute")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    return parser.parse_args()


def _main() -> None:
    """Print the header of the benchmark whose command line follows, for `hews bench NAME --out`."""
    del sys.argv[0]
    print(json.dumps(header()))


def save_result(name: str, result: Mapping[str, Any], folder: Path = RESULTS, packages: Sequence[str] = ()) -> Path:
    """Write `result` below its header as ``NAME-DATE.json`` (UTC) and return the path.

    Args:
        name: of the benchmark.
        result: what it found.
        folder: where to.
        packages: whose versions the header names, beside the usual ones.
    """
    content = {"benchmark": name, **header(packages), **result}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{content['date'][:10]}.json"
    write_json(path, content)
    return path


if __name__ == "__main__":
    _main()
