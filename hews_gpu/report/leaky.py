"""The page of a run of the reference protocol: what it reached, and that this can't be believed.

It has no part on forecasts, for there are none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu import __version__
from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.files import read_manifest
from hews_gpu.report.figures import judgment
from hews_gpu.report.figures.maps import SampleMap
from hews_gpu.report.inputs import JUDGE_FIRST, open_data, read_history, read_json
from hews_gpu.report.style import png
from hews_gpu.report.words import SPACE, category_list, number, percent, seconds, span

__all__ = ["is_leaky", "leaky_content"]

KEYS = ("warning", "recipe", "model", "accuracy", "accuracy_interval", "auc", "windows", "positives", "parts")
TITLES = {"train": "Trained on", "validation": "Stopped by", "test": "Held out at random"}


def is_leaky(run: Path) -> bool:
    """Whether a judged run is of the reference protocol; an unjudged one is not looked into."""
    path = run / "metrics.json"
    return path.is_file() and read_json(path, JUDGE_FIRST).get("leaky") is True


def leaky_content(run: Path, data: Path | None = None) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        run: a folder made by ``hews train`` with a leaky recipe and judged by ``hews evaluate``.
        data: the prepared folder, where it is not the one that the run recorded.

    Raises:
        UserError: something is missing.
    """
    metrics = read_json(run / "metrics.json", JUDGE_FIRST)
    missing = [key for key in KEYS if key not in metrics]
    if missing:
        raise UserError(str(run / "metrics.json"), allowed=f"lacks {', '.join(missing)}", remedy=JUDGE_FIRST)
    prepared = open_data(run, read_manifest(run), data)
    history, recipe = read_history(run / "history.csv"), run / "recipe.toml"
    times = prepared.events.time_s
    return {
        "city": prepared.city,
        "targets": category_list(prepared.city.incidents.targets),
        "covered": span(int(times[0]), int(times[-1]) + 1),
        "made": datetime.now(UTC).strftime("%-d %B %Y"),
        "recipe": metrics["recipe"],
        "warning": metrics["warning"],
        "headline": _headline(metrics),
        "parts": [_part(TITLES[name], part) for name, part in metrics["parts"].items()],
        "maps": _maps(prepared, run / "leaky_held_out.parquet"),
        "training": judgment.training(history) if len(history) else "",
        "facts": _facts(metrics, history),
        "toml": recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        "version": __version__,
    }


def _headline(metrics: dict[str, Any]) -> list[dict[str, str]]:
    low, high = (percent(end, 1) for end in metrics["accuracy_interval"])
    return [
        {"name": "Accuracy (leaky)", "value": percent(metrics["accuracy"], 1), "note": f"95{SPACE}%: {low} to {high}"},
        {"name": "AUC (leaky)", "value": number(metrics["auc"], 3), "note": "0.5 is guessing, 1 perfect"},
        {"name": "Held-out windows", "value": number(metrics["windows"]), "note": "drawn at random"},
        {"name": "With a target", "value": number(metrics["positives"]), "note": "and the target drawn on the map"},
    ]


def _part(title: str, part: dict[str, Any]) -> dict[str, Any]:
    low, high = part["accuracy_interval"]
    counts = [number(part["windows"]), number(part["positives"])]
    scores = [f"{percent(part['accuracy'], 1)} ({percent(low, 1)} to {percent(high, 1)})", number(part["auc"], 3)]
    return {"name": title, "cells": [*counts, *scores, number(part["log_loss_bits"], 4)]}


def _facts(metrics: dict[str, Any], history: pd.DataFrame) -> list[tuple[str, str]]:
    rows = [
        ("Recipe", str(metrics["recipe"])),
        ("Model", f"{metrics['model']}, {number(metrics['parameters'])} parameters"),
        ("Balancing", "as many windows without a target as with one" if metrics["balancing"] == "equal" else "none"),
        ("Seed", str(metrics["seed"])),
    ]
    if "seconds" in history:
        trained = int((history["seconds"] > 0).sum())
        rows.append(("Training", f"{trained} epochs in {seconds(history['seconds'].sum())}"))
    return rows


def _maps(prepared: Prepared, path: Path) -> list[SampleMap]:
    """Held-out windows that the model was surest of, rightly and wrongly; as the city draws them."""
    from hews_gpu.raster.rasterizer import reference_rasterizer

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=JUDGE_FIRST) from None
    events, p = prepared.events, table["p_leaky"]
    wishes = (
        ("Surest of a target, there was one", table[table["y"] == 1], False),
        ("Surest of none, there was none", table[table["y"] == 0], True),
        ("Surest of a target, there was none", table[(table["y"] == 0) & (p >= 0.5)], False),
        ("Surest of none, there was a target", table[(table["y"] == 1) & (p < 0.5)], True),
    )
    chosen = [(title, some.sort_values("p_leaky", ascending=low).iloc[0]) for title, some, low in wishes if len(some)]
    rasterizer, found = reference_rasterizer(prepared, backend="numpy"), []
    for title, row in chosen:
        edges = np.array([row["window_start"], row["window_end"]], "datetime64[s]").astype(np.int64)
        pair = np.searchsorted(events.time_s, edges)
        image = rasterizer.maps(pair[None])[0]
        hits = int(events.is_target[pair[0] : pair[1]].sum())
        when = f"{row['window_start']:%-d %B %Y, %H:%M}, said {percent(float(row['p_leaky']))}"
        found.append(SampleMap(title, when, int(pair[1] - pair[0]), hits, png(image), *image.shape[:2]))
    return found
