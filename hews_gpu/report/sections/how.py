"""The section on how it was run: folds, training, commands, versions, fingerprint."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hews_gpu.files import read_manifest
from hews_gpu.own_files import read_text
from hews_gpu.report.figures.scores import training
from hews_gpu.report.formatting import day, duration, moment, number, seconds
from hews_gpu.report.page import Block, Row, code, columns, facts, figure, section, table, text
from hews_gpu.report.result import Result
from hews_gpu.units import DAY_S, HOUR_S

__all__ = ["facts_of_file", "how", "protocol", "training_facts", "training_figure"]

LIBRARIES = ("numpy", "pandas", "pyarrow", "dask", "shapely", "geopandas", "numba", "torch", "scikit-learn")
OF_A_FILE = ("command", "date", "commit", "cpu", "cores", "system", "device", "recipe", "parameters", "seeds", "python")
SHOWN_ELSEWHERE = set("kind created version command prepared data data_fingerprint seed epochs city state".split())
SHOWN_ELSEWHERE |= {"prepared_from_run", "settings_digest"}


def how(result: Result) -> Block:
    """Say how the forecasts were made and judged, so that anybody can do it again."""
    blocks = [text("protocol", protocol=protocol(result.metrics)), _folds(result.metrics["protocol"]["folds"])]
    side, manifests = training_figure(result.history), {str(result.metrics.get("kind", "run")): result.manifest}
    if result.prepared is not None:
        manifests = {"prepare": read_manifest(result.prepared.folder), **manifests}
    if commands := [one for stage, manifest in manifests.items() for one in _command(stage, manifest)]:
        side.append(facts("commands", commands))
    blocks += [columns(*side)] if side else []
    if known := _facts(result, manifests):
        blocks.append(facts("run", known))
    if result.prepared is not None and result.prepared.city.path.is_file():
        blocks.append(code("The city file", read_text(result.prepared.city.path)))
    repeatable = text("repeatable").words("text") if result.manifest else ""
    return section("run", *blocks, repeatable=repeatable)


def protocol(metrics: Mapping[str, Any]) -> str:
    """Return how a result was evaluated, in a few clauses."""
    task = metrics["protocol"]
    folds = task["folds"]
    begin, end = (moment(folds[i]["test"][edge]) for i, edge in ((0, "begin"), (-1, "end")))
    held = [moment(fold["calibration"]["end"]) - moment(fold["calibration"]["begin"]) for fold in folds]
    blocks = f"{len(folds)} test blocks" if len(folds) > 1 else "one test block"
    lead = f" after a gap of {duration(task['lead_s'])}" if task["lead_s"] else ""
    clauses = [
        f"Rolling origin: {blocks}, {day(begin)} to {day(end - 1)}, with a fit of its own before each on all that lies "
        "before it",
        f"a purge gap of {task['gap_s'] / HOUR_S:g} hours between the parts",
        f"calibration and alarm thresholds from a block of {round(min(held) / DAY_S)} days before each test block",
        f"a forecast every {duration(task['stride_s'])} from the past {duration(task['history_s'])} for the next "
        f"{duration(task['horizon_s'])}{lead}",
        f"reports known {duration(task['delay_s'])} late" if task["delay_s"] else "no reporting delay",
    ]
    return f"{'; '.join(clauses)}.{_locked(metrics)}"


def _locked(metrics: Mapping[str, Any]) -> str:
    """Return whether the block that is kept for the end was looked at; nothing where there is none."""
    try:
        begin, end = (moment(edge) for edge in metrics.get("locked_block") or ())
    except (TypeError, ValueError):
        return ""
    done = "was opened" if metrics.get("locked_block_opened") else "was not opened: nothing here has seen it"
    return f" The locked block, {day(begin)} to {day(end - 1)}, {done}."


def _folds(folds: list[Mapping[str, Any]]) -> Block:
    """Return where each part of each fold begins and ends, and how many windows and targets it has."""
    rows = []
    for i, fold in enumerate(folds, 1):
        cells = []
        for part in (fold["train"], fold["calibration"], fold["test"]):
            counts = f"{number(part['windows'])} windows, {number(part['positives'])} with a target"
            cells.append((f"{part['begin'][:10]} to {part['end'][:10]}", counts))
        rows.append(Row(f"Block {i}", cells))
    return table("folds", rows)


def training_figure(history: pd.DataFrame) -> list[Block]:
    """Return the loss over epochs, where a network was trained."""
    return [figure("training", training(history))] if len(history) else []


def training_facts(history: pd.DataFrame) -> list[tuple[str, str]]:
    """Return how long the training took and how fast it was."""
    rows = []
    if "seconds" in history:
        trained = int((history["seconds"] > 0).sum())  # the state before the first epoch took none
        rows.append(("Training", f"{trained} epochs in {seconds(history['seconds'].sum())}"))
    if "samples_per_s" in history and history["samples_per_s"].notna().any():
        rows.append(("Speed", f"{number(history['samples_per_s'].median())} windows a second (median epoch)"))
    return rows


def facts_of_file(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how a results file was made: its plain entries at the top, as far as it has them."""
    return [
        ("CPU" if key == "cpu" else key.capitalize(), str(content[key]))
        for key in OF_A_FILE
        if isinstance(content.get(key), str | int)
    ]


def _command(stage: str, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was typed and when; of absolute paths only the last part, the rest is private."""
    line = manifest.get("command")
    if not isinstance(line, list):
        return []
    words = [Path(word).name if word.startswith("/") else word for word in map(str, line)]
    when = str(manifest.get("created") or "").replace("T", " ").replace("+00:00", " UTC")
    return [(f"{stage}, {when}" if when else stage, shlex.join(words))]


def _facts(result: Result, manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return names and values; whatever the manifests tell beyond what is shown elsewhere."""
    rows: list[tuple[str, str]] = []
    if fingerprint := result.manifest.get("data_fingerprint") or result.metrics.get("fingerprint"):
        rows.append(("Data fingerprint", str(fingerprint)))
    if took := result.quality.get("seconds"):
        peak = result.quality.get("peak_memory_bytes")
        rows.append(("Preparing", seconds(took) + (f", at most {peak / 2**30:.1f} GiB of memory" if peak else "")))
    if result.prepared is not None:
        rows.append(("Seed", str(result.prepared.city.training.seed)))
    rows += training_facts(result.history)
    for stage, manifest in manifests.items():
        rows += [(f"{stage}: {name}", value) for name, value in _flat(manifest)]
    return [*rows, ("Versions", _versions())] if result.manifest else rows


def _flat(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested notes under joined names, with short values; long lists only counted, absolute paths left out."""
    rows = []
    notes = {name: value for name, value in manifest.items() if name not in SHOWN_ELSEWHERE}
    for name, value in pd.json_normalize(notes, sep=", ").to_dict("records")[0].items() if notes else ():
        if isinstance(value, list):
            shown = ", ".join(map(str, value)) if len(value) <= 8 else f"{len(value)} values"
        else:
            shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
        if value is not None and not shown.startswith("/"):
            rows.append((str(name).replace("_", " "), shown))
    return rows


def _versions() -> str:
    """Return versions of what is installed now, beside the report: manifests may record those of the run."""
    versions = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(versions)
