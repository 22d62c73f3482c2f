"""The whole path on a generated city, each stage in a process of its own, as a scheduler would run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hews_gpu.environment.device import choose_device
from hews_gpu.files import new_folder
from hews_gpu.own_files import read_json
from hews_gpu.progress import log
from hews_gpu.synthetic import write_city
from hews_gpu.training.recipe import load_recipe

__all__ = ["run_demo"]

METRICS, RECIPE = "metrics.json", "all_experts.toml"
EXPERTS = 'experts = ["hewsnet", "counts", "cnn"]'
EPOCHS = "[[stages]]\nepochs = 4                          # enough for this city: two minutes in all\n"
STAGES = {
    "prepare city/demo.toml --out prepared": "prepared/incidents.parquet",
    "rasterize prepared --out maps --style reference": "maps/maps.zarr/zarr.json",
    f"train prepared --out run --recipe {RECIPE}": "run/weights.safetensors",
    "evaluate run": "run/metrics.json",
    "report run --out report.html": "report.html",
}
"""The commands, each with a file that it must leave."""


class StageFailed(SystemExit):
    """A stage ended with an error, which it has already printed, or without its file; carries the exit code."""


def run_demo(out: Path, *, force: bool = False, device: str = "auto") -> tuple[dict[str, Any], Path]:
    """Generate a city, prepare it, train, evaluate and report.

    Args:
        out: folder for everything; its subfolders are city, prepared, maps and run.
        force: replace an older demo.
        device: what to train on: auto, cpu or cuda.

    Returns:
        The metrics of the stack, which has tried the CNN as an expert on any device, and the path of the report.

    Raises:
        UserError: `out` cannot be written, or the device that was named does not work.
        StageFailed: a stage failed; its message is on standard error.
    """
    if device != "auto":
        choose_device(device)  # refused now, not after the stages before training
    notes: dict[str, Any] = {}
    with new_folder(out, kind="demo", force=force, notes=notes) as folder:
        started = time.perf_counter()
        write_city(folder / "city")
        text = re.sub(r"(?m)^# experts = .*$", EXPERTS, load_recipe().text)
        (folder / RECIPE).write_text(text.replace("[[stages]]\n", EPOCHS), encoding="utf-8")
        notes["seconds"] = {"synthesize": round(time.perf_counter() - started, 1)}
        for stage, product in STAGES.items():
            command = stage.split()
            extra = ["--device", device] if command[0] == "train" else []
            notes["seconds"][stage] = _stage(folder, [*command, *extra], product)
        metrics = read_json(folder / "run" / METRICS)
    return metrics, out / "report.html"


def _stage(folder: Path, command: list[str], product: str) -> float:
    """Run one command of `hews` inside the demo's folder; its result goes to standard error. Return the seconds."""
    log(f"--- hews {' '.join(command)}")
    started = time.perf_counter()
    python = [sys.executable, "-m", "hews_gpu"]
    code = subprocess.run([*python, *command], cwd=folder, stdout=sys.stderr, check=False).returncode
    if code < 0:
        log(f"hews: '{command[0]}' was killed by {signal.Signals(-code).name}; if that was for memory, free some")
    if code == 0 and not (folder / product).is_file():
        log(f"hews: '{command[0]}' ended well, but has not written {product}")
        code = 1
    if code:
        raise StageFailed(abs(code))
    return round(time.perf_counter() - started, 1)
