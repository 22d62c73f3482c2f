"""`hews evaluate` of a run of the reference protocol: how well it tells held-out maps apart, and why that says nothing.

There is no forecast here, so none is written and no skill is named. What is judged are the windows that the recipe's
random split held out, by a map that shows what they are labelled with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.files import atomic_file, require_free_names, write_json, write_together
from hews_gpu.progress import step
from hews_gpu.reference.protocol import PARTS, Part, ReferenceObjective, scores
from hews_gpu.runs.folder import load_model, open_run_data, run_recipe
from hews_gpu.train.recipe import LEAKY

__all__ = ["CLASSIFIED", "evaluate_leaky", "leaky_table", "leaky_verdict"]

METRICS = "metrics.json"
CLASSIFIED = "leaky_held_out.parquet"
HEADING = ["leaky protocol", "windows", "with a target", "accuracy [95 %]", "AUC", "log loss, bits"]
TITLES = {"train": "trained on", "validation": "stopped by", "test": "held out at random"}


def evaluate_leaky(run: Path, *, out: Path | None, data: Path | None, force: bool) -> dict[str, Any]:
    """Score a run of the reference protocol on its own random split.

    Args:
        run: folder made by ``hews train`` with a leaky recipe.
        out: folder for ``metrics.json`` and ``leaky_held_out.parquet``; `run` itself unless given.
        data: the prepared folder, where it has moved since training.
        force: replace results that `out` holds already; the run's own always are.

    Returns:
        What ``metrics.json`` holds; ``leaky`` is true in it, and ``warning`` says what that means.

    Raises:
        UserError: the run is not trained to its end, its data is gone or another, or `out` may not be written.
    """
    model = load_model(run)
    out = out or run
    require_free_names(out, (METRICS, CLASSIFIED), force=force or out.resolve() == run.resolve())
    prepared, recipe = open_run_data(run, data), run_recipe(run)
    task = ReferenceObjective(prepared, recipe)
    found: dict[str, NDArray[np.float64]] = {}
    with step("classifying", sum(map(len, task.parts.values())), "windows") as bar:
        for name in PARTS:
            found[name] = task.probabilities(model, name, lambda tensor: tensor, bar.advance)
    parts = {name: _judged(task.parts[name], p) for name, p in found.items()}
    metrics = {
        "protocol": recipe.protocol,
        "leaky": True,
        "warning": LEAKY,
        "recipe": recipe.name,
        "model": recipe.model,
        "parameters": sum(p.numel() for p in model.parameters()),
        "balancing": recipe.balancing,
        "seed": task.seed,
        **parts["test"],
        "parts": parts,
    }
    metrics["verdict"] = leaky_verdict(metrics)
    length_s = prepared.city.windows.length_s
    table = _table(task.parts["test"], found["test"], length_s)
    write_together(out, {CLASSIFIED: lambda path: _save(table, path), METRICS: lambda path: write_json(path, metrics)})
    return metrics


def leaky_table(metrics: Mapping[str, Any]) -> list[list[str]]:
    """What was found as rows of text, heading first."""
    return [HEADING, *(_row(TITLES[name], metrics["parts"][name]) for name in PARTS)]


def leaky_verdict(metrics: Mapping[str, Any]) -> str:
    """The numbers in a sentence that does not leave them alone."""
    said = f"accuracy {metrics['accuracy']:.3f} and AUC {metrics['auc']:.3f} on {metrics['windows']} held-out windows"
    return f"{said[0].upper()}{said[1:]} ({metrics['recipe']}); {metrics['warning']}."


def _row(title: str, part: Mapping[str, Any]) -> list[str]:
    low, high = part["accuracy_interval"]
    accuracy = f"{part['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
    counts = [str(part["windows"]), str(part["positives"])]
    return [title, *counts, accuracy, f"{part['auc']:.3f}", f"{part['log_loss_bits']:.4f}"]


def _judged(part: Part, p: NDArray[np.float64]) -> dict[str, Any]:
    """Scores of one part, with how it was right and wrong at one half."""
    y, said = part.y, p >= 0.5
    right = int((said == y).sum())
    found = scores(y, p)
    return {
        "windows": len(part),
        "positives": int(y.sum()),
        "accuracy": found["accuracy"],
        "accuracy_interval": list(wilson_interval(right, len(part))),
        "auc": found["auc"],
        "log_loss_bits": found["log_loss"],
        "true_positives": int((said & y).sum()),
        "false_positives": int((said & ~y).sum()),
        "true_negatives": int((~said & ~y).sum()),
        "false_negatives": int((~said & y).sum()),
    }


def _table(part: Part, p: NDArray[np.float64], length_s: int) -> pa.Table:
    """The held-out windows; times are local and carry no zone."""
    begin, end = (pa.array(time * 1000).cast(pa.timestamp("ms")) for time in (part.start_s, part.start_s + length_s))
    return pa.table({"window_start": begin, "window_end": end, "p_leaky": p, "y": part.y.astype(np.int8)})


def _save(table: pa.Table, path: Path) -> None:
    with atomic_file(path) as partial:
        pq.write_table(table, partial)
