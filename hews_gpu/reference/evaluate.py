"""Judge a run of the reference protocol: how well it tells held-out maps apart, and why that says nothing.

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
from torch import nn

from hews_gpu.arrays import Float64
from hews_gpu.data.events import Prepared
from hews_gpu.evaluation.metrics import wilson_interval
from hews_gpu.files import atomic_file, write_json, write_together
from hews_gpu.progress import step
from hews_gpu.reference import LEAKY_FILES
from hews_gpu.reference.protocol import PARTS, Part, ReferenceObjective, scores
from hews_gpu.training.recipe import LEAKY, Recipe

__all__ = ["evaluate_leaky", "leaky_table"]

METRICS, HELD_OUT = LEAKY_FILES
HEADING = ["leaky protocol", "windows", "with a target", "accuracy [95 %]", "AUC", "log loss, bits"]
TITLES = {"train": "trained on", "validation": "stopped by", "test": "held out at random"}


def evaluate_leaky(model: nn.Module, prepared: Prepared, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Score a model of the reference protocol on the windows of its own random split, and write what that gives.

    Args:
        model: trained; on the CPU.
        prepared: the city, with the settings of the training.
        recipe: of protocol ``reference``, by which it was trained.
        out: folder for ``metrics.json`` and ``leaky_held_out.parquet``; older files of these names are replaced.

    Returns:
        What ``metrics.json`` holds; ``leaky`` is true in it, and ``warning`` says what that means.

    Raises:
        UserError: `out` cannot be written.
    """
    task = ReferenceObjective(prepared, recipe)
    p: dict[str, Float64] = {}
    with step("classifying", sum(map(len, task.parts.values())), "windows") as bar:
        for name in PARTS:
            p[name] = task.probabilities(model, name, lambda tensor: tensor, bar.advance)
    parts = {name: _judge(task.parts[name], p[name]) for name in PARTS}
    test = parts["test"]
    held_out = _table(task.parts["test"], p["test"], prepared.city.windows.length_s)
    metrics = {
        "protocol": recipe.protocol,
        "leaky": True,
        "warning": LEAKY,
        "recipe": recipe.name,
        "model": recipe.model,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "balancing": recipe.balancing,
        "seed": task.seed,
        **test,
        "parts": parts,
        "verdict": f"Accuracy {test['accuracy']:.3f} and AUC {test['auc']:.3f} on {test['windows']} held-out windows "
        f"({recipe.name}); {LEAKY}.",
    }

    def save_table(path: Path) -> None:
        with atomic_file(path) as partial:
            pq.write_table(held_out, partial)

    write_together(out, {HELD_OUT: save_table, METRICS: lambda path: write_json(path, metrics)})
    return metrics


def leaky_table(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Return the scores of each part as rows of text, heading first."""
    rows = [HEADING]
    for name in PARTS:
        part = metrics["parts"][name]
        low, high = part["accuracy_interval"]
        accuracy = f"{part['accuracy']:.3f} [{low:.3f}, {high:.3f}]"
        counts = [str(part["windows"]), str(part["positives"])]
        rows.append([TITLES[name], *counts, accuracy, f"{part['auc']:.3f}", f"{part['log_loss_bits']:.4f}"])
    return rows


def _judge(part: Part, p: Float64) -> dict[str, Any]:
    """Return the scores of one part, with its right and wrong answers at one half."""
    y, is_warned = part.y, p >= 0.5
    right = int((is_warned == y).sum())
    values = scores(y, p)
    return {
        "windows": len(part),
        "positives": int(y.sum()),
        "accuracy": values["accuracy"],
        "accuracy_interval": list(wilson_interval(right, len(part))),
        "auc": values["auc"],
        "log_loss_bits": values["log_loss"],
        "true_positives": int((is_warned & y).sum()),
        "false_positives": int((is_warned & ~y).sum()),
        "true_negatives": int((~is_warned & ~y).sum()),
        "false_negatives": int((~is_warned & y).sum()),
    }


def _table(part: Part, p: Float64, length_s: int) -> pa.Table:
    """Return the held-out windows as a table; times are local and carry no zone."""
    begin, end = (pa.array(time * 1000).cast(pa.timestamp("ms")) for time in (part.start_s, part.start_s + length_s))
    return pa.table({"window_start": begin, "window_end": end, "p_leaky": p, "y": part.y.astype(np.int8)})
