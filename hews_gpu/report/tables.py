"""The tables of the report as plain rows of text, ready for the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hews_gpu.report.inputs import Inputs
from hews_gpu.report.words import SPACE, interval, number, percent, seconds, signed

__all__ = [
    "commands",
    "facts",
    "give_away",
    "headline",
    "label_information",
    "palette",
    "quality",
    "skill",
    "splits",
    "volume_steps",
]

Row = dict[str, Any]

FORECASTS = (
    ("base_rate", "Base rate", "the same probability always: the rate of the training split"),
    ("climatology", "Climatology", "hour of the week and month, from the past only: the one to beat"),
    ("model", "Model", "the network on the maps of the past hours"),
    ("oracle", "Oracle", "the true probability, known because this city is made up: nothing can do better"),
)
SCORES = ("auc", "average_precision", "brier", "log_loss_bits", "brier_skill", "log_skill_bits")


def headline(metrics: Mapping[str, Any]) -> list[Row]:
    """The numbers at the top."""
    ends = interval(metrics)
    sure = f"95{SPACE}%: {signed(ends[0])} to {signed(ends[1])}" if ends else "bits per window"
    return [
        {"name": "Test windows", "value": number(metrics["windows"]), "note": "never seen in training"},
        {
            "name": "With a target",
            "value": number(metrics["positives"]),
            "note": f"base rate {percent(metrics['base_rate'])}",
        },
        {"name": "AUC", "value": number(metrics["auc"], 3), "note": "0.5 is guessing, 1 perfect"},
        {"name": "Brier skill", "value": signed(metrics["brier_skill"]), "note": "0 climatology, 1 perfect"},
        {"name": "Log skill, bits", "value": signed(metrics["log_skill_bits"]), "note": sure},
    ]


def skill(metrics: Mapping[str, Any]) -> list[Row]:
    """One row per forecast on the test split; forecasts that are not there are left out."""
    test = metrics.get("splits", {}).get("test", {})
    baselines = metrics.get("baselines", {})
    model = {**test, **{key: metrics[key] for key in SCORES if metrics.get(key) is not None}}
    rows = []
    for key, name, note in FORECASTS:
        scores = model if key == "model" else baselines.get(key)
        if scores:
            ends = interval(metrics if key == "model" else scores) if key != "climatology" else None
            sure = f"{signed(ends[0])} to {signed(ends[1])}" if ends else ""
            rows.append({"key": key, "name": name, "note": note, "cells": _scores(scores), "interval": sure})
    return rows


def _scores(scores: Mapping[str, Any]) -> list[str]:
    plain = [number(scores.get(key), digits) for key, digits in zip(SCORES[:4], (3, 3, 4, 4), strict=True)]
    return [*plain, signed(scores.get("brier_skill")), signed(scores.get("log_skill_bits"))]


def splits(metrics: Mapping[str, Any]) -> list[Row]:
    """One row per split with the model's scores on it."""
    rows = []
    found_splits = metrics.get("splits", {})
    for name in ("train", "validation", "test"):
        found = found_splits.get(name)
        if not found:
            continue
        dates = " to ".join(str(found.get(key, ""))[:10] for key in ("begin", "end"))
        counts = [number(found.get("windows")), number(found.get("positives")), percent(found.get("base_rate"))]
        skills = [number(found.get("auc"), 3), signed(found.get("brier_skill")), signed(found.get("log_skill_bits"))]
        rows.append({"name": name, "dates": dates, "cells": [*counts, *skills]})
    return rows


def palette(inputs: Inputs) -> list[Row]:
    """Color, name and number of incidents per category, the most frequent first."""
    from hews_gpu.raster.style import ReferenceStyle

    events, style = inputs.events, ReferenceStyle.from_config(inputs.city.map)
    counts = np.bincount(events.category, minlength=len(events.categories))
    target = np.bincount(events.category, weights=events.is_target, minlength=len(events.categories)) > 0
    most = max(int(counts.max(initial=1)), 1)
    return [
        {
            "color": style.color(events.categories[index]),
            "name": events.categories[index],
            "count": number(counts[index]),
            "share": round(100 * counts[index] / most, 1),
            "target": bool(target[index]),
        }
        for index in np.argsort(-counts, kind="stable")
    ]


def quality(inputs: Inputs) -> list[Row]:
    """Where every row of the input went, with shares of all rows; what was noticed on kept rows is indented."""
    found = inputs.quality
    read = int(found.get("rows_read") or 0)
    rows = [
        _share("Rows read", read, read, "all"),
        _share("Kept", found.get("rows_kept"), read, "kept"),
        _share("Set aside", found.get("rows_quarantined"), read, "aside"),
    ]
    reasons = found.get("quarantined_by_reason") or {}
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        rows.append(_share(reason.replace("_", " "), count, read, "reason"))
    targets = sum((found.get("targets_quarantined_by_reason") or {}).values())
    if targets:
        rows.append(_share("target rows among those set aside", targets, read, "reason"))
    return [*rows, *_noticed(inputs)]


def _share(name: str, count: Any, read: int, kind: str) -> Row:
    share = int(count or 0) / read if read else 0.0
    return {
        "name": name,
        "count": number(count),
        "share": percent(share, 2),
        "bar": round(100 * share, 2),
        "kind": kind,
    }


def _noticed(inputs: Inputs) -> list[Row]:
    """What is true of kept rows; shares are of those."""
    columns = ["is_target", "is_nearest", "duplicate_of", "is_overlap", "twin_of", "near_twin_of"]
    marks = pd.read_parquet(inputs.prepared.folder / "incidents.parquet", columns=columns)
    kept = len(marks)
    counts = {
        "target incidents": int(marks["is_target"].sum()),
        "exact duplicates of an earlier row": int((marks["duplicate_of"].notna() & ~marks["is_overlap"]).sum()),
        "repeats from another file, left out of maps and labels": int(marks["is_overlap"].sum()),
        "twins of a target row (same minute, within 100 m)": int(marks["twin_of"].notna().sum()),
        "near twins (within 30 minutes and 200 m)": int(marks["near_twin_of"].notna().sum()),
        "outside every area, given to the nearest": int(marks["is_nearest"].sum()),
    }
    return [_share(name, count, kept, "noticed") for name, count in counts.items()]


def give_away(charts: pd.DataFrame | None) -> list[Row]:
    """How far each formatting column gives the label away, by how often it is blank and how its values are spelt.

    A column leaks if target rows leave it blank more or less often than others do, or spell it in ways that no other
    row does. This is why none of them reaches a model.
    """
    if charts is None or not charts["is_target"].any() or charts["is_target"].all():
        return []
    target = charts["is_target"].to_numpy(dtype=bool)
    rows = []
    for name in (column for column in charts.columns if column not in ("row_id", "is_target")):
        text = charts[name].astype("string").fillna("").str.strip().to_numpy(dtype=str)
        blank = text == ""
        _, spelling = np.unique(text, return_inverse=True)
        elsewhere = np.bincount(spelling[~target], minlength=spelling.max() + 1) > 0
        own = ~elsewhere[spelling[target]] & ~blank[target]
        shares = [blank[~target].mean(), blank[target].mean(), own.mean()]
        rows.append({"name": name, "cells": [percent(share) for share in shares]})
    return rows


def commands(inputs: Inputs) -> list[Row]:
    """What was typed and when, from the manifests; of absolute paths only the last part, the rest is private."""
    rows = []
    for stage, found in (("prepare", inputs.prepared_manifest), ("train", inputs.run_manifest)):
        line = found.get("command")
        if isinstance(line, list):
            words = [Path(word).name if word.startswith("/") else word for word in map(str, line)]
            rows.append({"stage": stage, "line": shlex.join(words), "when": _when(found.get("created"))})
    return rows


def _when(created: Any) -> str:
    return str(created or "").replace("T", " ").replace("+00:00", " UTC")


def facts(inputs: Inputs, versions: Mapping[str, str]) -> list[tuple[str, str]]:
    """How it was run, as names and values; whatever the manifests tell beyond what is shown elsewhere."""
    history, manifest = inputs.history, inputs.run_manifest
    rows = [("Data fingerprint", str(manifest.get("data_fingerprint") or inputs.prepared.fingerprint))]
    if inputs.quality.get("seconds"):
        rows.append(("Preparing", f"{seconds(inputs.quality['seconds'])}{_memory(inputs.quality)}"))
    rows.append(("Seed", str(inputs.city.training.seed)))
    if "seconds" in history:
        trained = int((history["seconds"] > 0).sum())  # the state before the first epoch took none
        rows.append(("Training", f"{trained} epochs in {seconds(history['seconds'].sum())}"))
    if "samples_per_s" in history and history["samples_per_s"].notna().any():
        rows.append(("Speed", f"{number(history['samples_per_s'].median())} windows a second (median epoch)"))
    known = {"kind", "created", "version", "command", "prepared", "data", "data_fingerprint", "seed", "epochs", "city"}
    known |= {"prepared_from_run", "state"}
    for stage, found in (("prepare", inputs.prepared_manifest), ("train", manifest)):
        rows += [(f"{stage}: {name}", text) for name, text in _flat(found, known)]
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return rows


def _memory(found: Mapping[str, Any]) -> str:
    peak = found.get("peak_memory_bytes")
    return f", at most {peak / 2**30:.1f} GiB of memory" if peak else ""


def _flat(content: Mapping[str, Any], skip: set[str], prefix: str = "") -> list[tuple[str, str]]:
    """Nested notes as dotted names and short values; long lists are only counted, absolute paths left out."""
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        if name in skip or value is None or (isinstance(value, str) and value.startswith("/")):
            continue
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, set(), f"{label}, ")
        elif isinstance(value, list):
            rows.append((label, ", ".join(map(str, value)) if len(value) <= 8 else f"{len(value)} values"))
        else:
            rows.append((label, f"{value:,.4g}" if isinstance(value, float) else str(value)))
    return rows


def quality_notes(inputs: Inputs) -> list[str]:
    """Sentences on the polygons and the size of the table."""
    table = inputs.prepared.neighborhoods
    repaired = (
        table.loc[table["was_repaired"].astype(bool), "name"].astype(str).tolist() if "was_repaired" in table else []
    )
    notes = [f"The city has {len(table)} areas."]
    if repaired:
        notes.append(f"Outlines repaired because their rings crossed themselves: {', '.join(repaired)}.")
    return notes


def volume_steps(found: Mapping[str, Any], most: int = 12) -> list[Row]:
    """The largest steps in monthly volume: category, month, rows a month before and after, ratio."""
    steps = found.get("volume_steps", {}).get("found", [])[:most]
    return [
        {
            "name": step["category"],
            "cells": [step["month"], number(step["before"]), number(step["after"]), number(step["ratio"], 2)],
        }
        for step in steps
    ]


def rounding(found: Mapping[str, Any], most: int = 16) -> list[Row]:
    """The share of each category's times that look rounded: on the hour, on the half hour, at midnight."""
    entries = found.get("rounding_by_category", {}).items()
    ranked = sorted(entries, key=lambda entry: -entry[1]["rows"])[:most]
    return [
        {
            "name": name,
            "cells": [
                number(entry["rows"]),
                *(percent(entry[key], 1) for key in ("minute_0", "minute_30", "midnight")),
            ],
        }
        for name, entry in ranked
    ]


def label_information(found: Mapping[str, Any], most: int = 16) -> list[Row]:
    """Columns and ways of writing that tell more of the label than they should, and how much of it."""
    entries = [entry for entry in found.get("label_information", {}).get("columns", []) if entry["warning"]]
    several = len({entry["file"] for entry in entries}) > 1
    return [
        {
            "name": entry["column"],
            "note": entry["file"] if several else "",
            "cells": [number(entry["bits"], 4), percent(entry["share"], 0)],
            "bar": round(100 * entry["share"], 1),
        }
        for entry in entries[:most]
    ]
