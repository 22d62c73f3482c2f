"""The page of a run of the reference protocol: what it reached, and beside each number that it is leaky.

It has no section on forecasts, for there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu.data.events import Prepared
from hews_gpu.errors import UserError
from hews_gpu.files import read_manifest
from hews_gpu.report.figures.maps import picture
from hews_gpu.report.formatting import SPACE, category_list, number, percent, span
from hews_gpu.report.page import (
    Block,
    Code,
    Columns,
    Facts,
    Gallery,
    Page,
    Part,
    Picture,
    Row,
    Section,
    Table,
    Verdict,
)
from hews_gpu.report.result import JUDGE_FIRST, Result, open_data, read_history, read_table
from hews_gpu.report.sections.how import training_facts, training_figure

__all__ = ["leaky_page"]

KEYS = ("warning", "recipe", "model", "accuracy", "accuracy_interval", "auc", "windows", "positives", "parts")
TITLES = {"train": "Trained on", "validation": "Stopped by", "test": "Held out at random"}
LEAKY = "leaky"


def leaky_page(run: Path, metrics: dict[str, Any], data: Path | None = None) -> Page:
    """Return the page.

    Args:
        run: a folder made by ``hews train`` with a leaky recipe and judged by ``hews evaluate``.
        metrics: of the run.
        data: the prepared folder, where it is not the one that the run recorded.

    Raises:
        UserError: something is missing.
    """
    missing = [key for key in KEYS if key not in metrics]
    if missing:
        raise UserError(str(run / "metrics.json"), allowed=f"lacks {', '.join(missing)}", remedy=JUDGE_FIRST)
    prepared = open_data(run, read_manifest(run), data)
    targets, times = category_list(prepared.city.incidents.targets), prepared.events.time_s
    name, recipe = prepared.city.city.name, str(metrics["recipe"])
    note = (
        f"This run reproduces what a reference system did, to show what its figures are worth ({metrics['warning']}). "
        f"A reader of the maps finds the colored discs of {targets} incidents, not signs of what comes next. How well "
        "the future is forecast is what the recipe forecast is judged on."
    )
    sentence = f"These numbers cannot be believed: each map shows the {targets} incidents that it is asked about."
    return Page(
        title=f"{name}: {recipe}, leaky protocol",
        kicker=f"Recipe {recipe}: leaky protocol, no forecast",
        heading=name,
        about=span(int(times[0]), int(times[-1]) + 1),
        verdict=Verdict(sentence, "bad", [note]),
        tiles=_tiles(metrics),
        parts=[Part([_reached(run, metrics, prepared), _how(run, metrics)])],
        foot="The probability of each held-out window is in leaky_held_out.parquet.",
    )


def _tiles(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    low, high = (percent(end, 1) for end in metrics["accuracy_interval"])
    return [
        ("Accuracy (leaky)", percent(metrics["accuracy"], 1), f"leaky; 95{SPACE}%: {low} to {high}"),
        ("AUC (leaky)", number(metrics["auc"], 3), "leaky; 0.5 is guessing, 1 perfect"),
        ("Held-out windows", number(metrics["windows"]), "drawn at random: leaky"),
        ("With a target", number(metrics["positives"]), "and the target drawn on the map: leaky"),
    ]


def _reached(run: Path, metrics: dict[str, Any], prepared: Prepared) -> Section:
    rows = [_part(TITLES[name], part) for name, part in metrics["parts"].items()]
    heads = ["Part", "Windows", "With target", "Accuracy, leaky", "AUC, leaky", "Log loss, bits, leaky"]
    blocks: list[Block] = [
        Table("By part of the random split, with 95 % intervals of the leaky accuracy", heads, rows),
        Gallery(
            "Held-out maps",
            _maps(prepared, run / "leaky_held_out.parquet"),
            "The map of the very window that was to be labelled: target incidents are on it.",
        ),
    ]
    lead = (
        "Whether a two-class reader of maps says “target” where there is one. Windows of the same day were trained on "
    )
    return Section("reached", "What it reached under the leaky protocol", blocks, f"{lead}and judged on.")


def _part(name: str, part: dict[str, Any]) -> Row:
    low, high = (percent(end, 1) for end in part["accuracy_interval"])
    accuracy = (percent(part["accuracy"], 1), f"{low} to {high}", LEAKY)
    counts = [number(part["windows"]), number(part["positives"])]
    return Row(name, [*counts, accuracy, (number(part["auc"], 3), LEAKY), (number(part["log_loss_bits"], 4), LEAKY)])


def _how(run: Path, metrics: dict[str, Any]) -> Section:
    result, recipe = Result(title="", metrics=metrics, history=read_history(run / "history.csv")), run / "recipe.toml"
    facts = [
        ("Recipe", str(metrics["recipe"])),
        ("Model", f"{metrics['model']}, {number(metrics['parameters'])} parameters"),
        ("Balancing", "as many windows without a target as with one" if metrics["balancing"] == "equal" else "none"),
        ("Seed", str(metrics["seed"])),
        *training_facts(result),
    ]
    blocks: list[Block] = [Columns([*training_figure(result), Facts("", facts)])]
    if recipe.is_file():
        blocks.append(Code("The recipe", recipe.read_text(encoding="utf-8")))
    return Section("run", "How it was run", blocks)


def _maps(prepared: Prepared, path: Path) -> list[Picture]:
    """Draw held-out windows that the model was surest of, rightly and wrongly, as the city draws them."""
    from hews_gpu.raster.rasterizer import reference_rasterizer

    table = read_table(path, ("window_start", "window_end", "p_leaky", "y"))
    events, p = prepared.events, table["p_leaky"]
    wishes = (
        ("Surest of a target, there was one", table[table["y"] == 1], False),
        ("Surest of none, there was none", table[table["y"] == 0], True),
        ("Surest of a target, there was none", table[(table["y"] == 0) & (p >= 0.5)], False),
        ("Surest of none, there was a target", table[(table["y"] == 1) & (p < 0.5)], True),
    )
    chosen = [(title, some.sort_values("p_leaky", ascending=low).iloc[0]) for title, some, low in wishes if len(some)]
    rasterizer, pictures = reference_rasterizer(prepared, backend="numpy"), []
    for title, row in chosen:
        edges = np.array([row["window_start"], row["window_end"]], "datetime64[s]").astype(np.int64)
        pair = np.searchsorted(events.time_s, edges)
        hits = int(events.is_target[pair[0] : pair[1]].sum())
        when = f"{row['window_start']:%-d %B %Y, %H:%M}, probability {percent(float(row['p_leaky']))} (leaky)"
        pictures.append(picture(title, when, int(pair[1] - pair[0]), hits, rasterizer.maps(pair[None])[0]))
    return pictures
