"""The whole path on a generated city, each stage in a process of its own, as a scheduler would run it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hews_gpu.data.synthetic import write_city
from hews_gpu.output import new_folder
from hews_gpu.progress import log

__all__ = ["run_demo"]


class StageFailed(SystemExit):
    """A stage ended with an error, which it has already printed; carries the stage's exit code."""


def run_demo(out: Path, *, force: bool = False) -> tuple[dict[str, Any], Path]:
    """Generate a city, prepare it, train, evaluate and report.

    Args:
        out: folder for everything; its subfolders are city, prepared and run.
        force: replace an older demo.

    Returns:
        The metrics, and the path of the report.

    Raises:
        UserError: `out` cannot be written.
        StageFailed: a stage failed; its message is on standard error.
    """
    notes: dict[str, Any] = {}
    with new_folder(out, kind="demo", force=force, notes=notes) as folder:
        started = time.perf_counter()
        toml = write_city(folder / "city")
        notes["seconds"] = {"synthesize": round(time.perf_counter() - started, 1)}
        prepared, run = folder / "prepared", folder / "run"
        stages = {
            "prepare": ["prepare", str(toml), "--out", str(prepared)],
            "rasterize": ["rasterize", str(prepared), "--out", str(folder / "maps"), "--style", "reference"],
            "train": ["train", str(prepared), "--out", str(run)],
            "evaluate": ["evaluate", str(run), "--data", str(prepared)],
            "report": ["report", str(run), "--data", str(prepared), "--out", str(folder / "report.html")],
        }
        for name, arguments in stages.items():
            notes["seconds"][name] = _stage(name, arguments)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics, out / "report.html"


def _stage(name: str, arguments: list[str]) -> float:
    """Run one command of `hews` in its own process; its result table goes to standard error. Returns seconds."""
    log(f"--- hews {name}")
    started = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "hews_gpu", *arguments], stdout=sys.stderr, check=False).returncode
    if code:
        raise StageFailed(code)
    return round(time.perf_counter() - started, 1)
