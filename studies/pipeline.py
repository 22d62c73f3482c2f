"""The whole path, stage by stage: seconds, processor seconds and peak memory, rows, windows and scores.

Each stage is a process of its own, as users run it. The tables are the demo's generated city and, unless ``--quick``,
the Baltimore portal file with the 55 areas where HEWS_REAL_DATA has it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import pyarrow.csv

from benchmarks.common import finish, parse_flags, real_data
from benchmarks.inputs.cities import PORTAL, write_baltimore
from benchmarks.tables import cost_of
from hews_gpu.cli.printing import print_table
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.synthetic import write_city

STAGES = {
    "prepare": "prepare city.toml --out prepared --json",
    "rasterize": "rasterize prepared --out maps --style reference --json",
    "train": "train prepared --model cnn --out run --json",
    "evaluate": "evaluate run --json",
    "report": "report run",
}
COUNTS = ("windows", "positives", "base_rate")
SCORES = ("auc", "average_precision", "brier", "log_loss_bits")
ROWS = ("rows_read", "rows_kept", "rows_quarantined", "quarantined_by_reason", "targets_kept")


def write_demo(folder: Path) -> Path:
    """Write the demo's city and return its table."""
    toml = write_city(folder / "city", years=4)
    text = toml.read_text(encoding="utf-8")
    for name in ("incidents.csv.gz", "neighborhoods.geojson", "truth.npz"):
        text = text.replace(f'"{name}"', f'"city/{name}"')
    (folder / "city.toml").write_text(text, encoding="utf-8")
    return folder / "city" / "incidents.csv.gz"


def write_real(folder: Path, data: Path) -> Path:
    """Write Baltimore's city file and return its table."""
    write_baltimore(folder, data)
    return data / "baltimore" / PORTAL


def bare_read_s(table: Path) -> float:
    """Return the seconds that pyarrow takes to read the same file without looking at it: the fastest of three."""
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
            cost = cost_of([sys.executable, "-m", "hews_gpu", *command.split()], cwd=folder)
            text = cost.pop("printed")
            costs[stage], printed[stage] = cost, json.loads(text) if "--json" in command else {}
    quality, maps, metrics = printed["prepare"], printed["rasterize"], printed["evaluate"]
    scores = {name: scores_of(one) for name, one in metrics["forecasts"].items()}
    return {
        "table": table.name,
        "stages": costs,
        "bare_read_s": read_s,
        "prepare_over_bare_read": round(costs["prepare"]["seconds"] / read_s, 1),
        "rows": {key: quality[key] for key in ROWS},
        "all_windows": {key: maps[key] for key in ("windows", "positives", "empty")},
        "training": printed["train"],
        "test": {key: metrics[key] for key in COUNTS} | scores.pop(metrics["model"]),
        "baselines": scores,
        "verdict": metrics["verdict"],
    }


def scores_of(one: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of one forecaster, and its skill against the climatology, which has none against itself."""
    none = {"value": 0.0, "interval": [0.0, 0.0]}
    skill = one["against"].get(CLIMATOLOGY, {"brier_skill": none, "log_skill_bits": none})
    return {
        **{key: one[key] for key in SCORES},
        "brier_skill": skill["brier_skill"]["value"],
        "log_skill_bits": skill["log_skill_bits"]["value"],
        "log_skill_bits_interval": skill["log_skill_bits"]["interval"],
    }


def main() -> None:
    """Measure, print, and save where the real table took part."""
    flags = parse_flags(__doc__ or "")
    data = None if flags.quick else real_data()
    results = {"demo": measure(write_demo)}
    if data is None:
        flags.quick = True  # nothing that is worth keeping
    else:
        results["baltimore"] = measure(lambda folder: write_real(folder, data))
    finish("pipeline", results, flags, show)


def show(results: dict[str, Any]) -> None:
    """Print one table per city."""
    keys = ("seconds", "processor_seconds", "peak_memory_gb")
    for name, result in results.items():
        rows = [[stage, *(f"{cost[key]:,.2f}" for key in keys)] for stage, cost in result["stages"].items()]
        print_table(f"The whole path: {name}", [["stage", "seconds", "processor seconds", "peak memory, GB"], *rows])
        count, windows = result["rows"]["rows_read"], result["all_windows"]["windows"]
        print(f"{count:,} rows, {windows:,} windows. {result['verdict']}")


if __name__ == "__main__":
    main()
