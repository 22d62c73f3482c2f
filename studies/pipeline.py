"""The whole path, stage by stage: seconds, processor seconds and peak memory, rows, windows and scores.

Each stage is a process of its own, as users run it. The tables are the demo's generated city and, unless ``--quick``,
the Baltimore portal file with the 55 areas where HEWS_REAL_DATA has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import pyarrow.csv
from rich.console import Console
from rich.table import Table

from benchmarks.common import parse_flags, save_result
from hews_gpu.config import city_template
from hews_gpu.synthetic import write_city

STAGES = {
    "prepare": "prepare city.toml --out prepared --json",
    "rasterize": "rasterize prepared --out maps --style reference --json",
    "train": "train prepared --out run --json",
    "evaluate": "evaluate run --json",
    "report": "report run",
}
SCORES = ("windows", "positives", "base_rate", "auc", "average_precision", "brier_skill", "log_skill_bits")
ROWS = ("rows_read", "rows_kept", "rows_quarantined", "quarantined_by_reason", "targets_kept")


def write_baltimore(folder: Path, data: Path) -> Path:
    """The shipped city file, pointed at the real table; returns the table."""
    table = data / "baltimore" / "portal_2012_2017.csv.gz"
    text = city_template("baltimore")
    for key, path in (("files = [", table), ("file = ", data / "baltimore" / "csa_55_vitalsigns16.geojson.gz")):
        line = next(line for line in text.splitlines() if line.startswith(key))
        text = text.replace(line, f'files = ["{path}"]' if "[" in key else f'file = "{path}"', 1)
    (folder / "city.toml").write_text(text, encoding="utf-8")
    return table


def write_demo(folder: Path) -> Path:
    """The demo's city; returns its table."""
    toml = write_city(folder / "city", years=4)
    text = toml.read_text(encoding="utf-8")
    for name in ("incidents.csv.gz", "neighborhoods.geojson", "truth.npz"):
        text = text.replace(f'"{name}"', f'"city/{name}"')
    (folder / "city.toml").write_text(text, encoding="utf-8")
    return folder / "city" / "incidents.csv.gz"


def run_stage(folder: Path, command: str) -> tuple[dict[str, float], Any]:
    """Run one command of `hews`; returns what it cost and what it printed as JSON."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hews_gpu", *command.split()], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    cost = {
        "seconds": round(time.perf_counter() - begin, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_gb": round(used.ru_maxrss * 1024 / 1e9, 3),
    }
    return cost, json.loads(printed) if "--json" in command else None


def bare_read_s(table: Path) -> float:
    """Seconds that pyarrow takes to read the same file without looking at it: the fastest of three."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        pyarrow.csv.read_csv(table)
        seconds.append(time.perf_counter() - begin)
    return round(min(seconds), 3)


def measure(write: Callable[[Path], Path]) -> dict[str, Any]:
    """Walk the path once in a temporary folder, on the city that `write` puts there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write(folder)
        read_s = bare_read_s(table)
        costs, printed = {}, {}
        for stage, command in STAGES.items():
            costs[stage], printed[stage] = run_stage(folder, command)
    quality, maps, metrics = printed["prepare"], printed["rasterize"], printed["evaluate"]
    return {
        "table": table.name,
        "stages": costs,
        "bare_read_s": read_s,
        "prepare_over_bare_read": round(costs["prepare"]["seconds"] / read_s, 1),
        "rows": {key: quality[key] for key in ROWS},
        "all_windows": {key: maps[key] for key in ("windows", "positives", "empty")},
        "training": printed["train"],
        "test": {key: metrics[key] for key in SCORES} | {"log_skill_bits_interval": metrics["log_skill_bits_interval"]},
        "baselines": metrics["baselines"],
        "verdict": metrics["verdict"],
    }


def main() -> None:
    """Measure, save where the real table took part, and print."""
    flags = parse_flags(__doc__ or "")
    data = os.environ.get("HEWS_REAL_DATA")
    results = {"demo": measure(write_demo)}
    if data and not flags.quick:
        results["baltimore"] = measure(lambda folder: write_baltimore(folder, Path(data)))
        print(f"saved {save_result('pipeline', results)}", file=sys.stderr)
    if flags.json:
        print(json.dumps(results, indent=2))
        return
    for name, result in results.items():
        show(name, result)


def show(name: str, result: dict[str, Any]) -> None:
    """Print one city's result as a table."""
    table = Table(title=f"The whole path: {name}", title_justify="left")
    for heading in ("stage", "seconds", "processor seconds", "peak memory, GB"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, cost in result["stages"].items():
        table.add_row(stage, *(f"{value:,.2f}" for value in cost.values()))
    Console().print(table)
    print(f"{result['rows']['rows_read']:,} rows, {result['all_windows']['windows']:,} windows. {result['verdict']}")


if __name__ == "__main__":
    main()
