"""The page of a run of the reference protocol: what it reached, and beside each number that it is leaky.

It has no section on forecasts, for there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import Prepared, open_data_of
from hews_gpu.files import read_history
from hews_gpu.own_files import check, read_text
from hews_gpu.report.figures.maps import BACKEND, draw_window, seconds_of
from hews_gpu.report.formatting import SPACE, category_list, number, percent, span
from hews_gpu.report.page import (
    Block,
    Page,
    Part,
    Picture,
    Row,
    Verdict,
    code,
    columns,
    facts,
    gallery,
    section,
    table,
    text,
)
from hews_gpu.report.result import JUDGE_FIRST, read_table
from hews_gpu.report.sections.how import training_facts, training_figure

__all__ = ["leaky_page"]

TITLES = {"train": "Trained on", "validation": "Stopped by", "test": "Held out at random"}
SCORES = dict.fromkeys(("windows", "positives", "accuracy", "auc"), float) | {"accuracy_interval": (float, float)}
RESULT = {
    **SCORES,
    **dict.fromkeys(("warning", "recipe", "model", "balancing"), str),
    **dict.fromkeys(("parameters", "seed"), int),
    "parts": dict.fromkeys(TITLES, SCORES | {"log_loss_bits": float}),
}
LEAKY = "leaky"


def leaky_page(run: Path, metrics: dict[str, Any], data: Path | None = None) -> Page:
    """Return the page of a judged run of a leaky recipe, or raise `UserError` where something is missing."""
    check(metrics, RESULT, str(run / "metrics.json"), JUDGE_FIRST)
    prepared = open_data_of(run, data)
    targets, coverage = category_list(prepared.city.incidents.target_names), coverage_of_events(prepared.events)
    name, recipe = prepared.city.city.name, str(metrics["recipe"])
    low, high = (percent(end, 1) for end in metrics["accuracy_interval"])
    rows = [_part(title, metrics["parts"][key]) for key, title in TITLES.items()]
    pictures = _maps(prepared, run / "leaky_held_out.parquet")
    sentence = f"These numbers cannot be believed: each map shows the {targets} incidents that it is asked about."
    note = text("leaky", warning=str(metrics["warning"]), targets=targets).words("text")
    return Page(
        title=f"{name}: {recipe}, leaky protocol",
        kicker=f"Recipe {recipe}: leaky protocol, no forecast",
        heading=name,
        about=span(coverage.begin_s, coverage.end_s),
        verdict=Verdict(sentence, "bad", [note]),
        tiles=[
            ("Accuracy (leaky)", percent(metrics["accuracy"], 1), f"leaky; 95{SPACE}%: {low} to {high}"),
            ("AUC (leaky)", number(metrics["auc"], 3), "leaky; 0.5 is guessing, 1 perfect"),
            ("Held-out windows", number(metrics["windows"]), "drawn at random: leaky"),
            ("With a target", number(metrics["positives"]), "and the target drawn on the map: leaky"),
        ],
        parts=[Part([section("reached", table("leaky", rows), gallery("leaky", pictures)), _how(run, metrics)])],
        foot="The probability of each held-out window is in leaky_held_out.parquet.",
    )


def _part(name: str, part: dict[str, Any]) -> Row:
    low, high = (percent(end, 1) for end in part["accuracy_interval"])
    accuracy = (percent(part["accuracy"], 1), f"{low} to {high}", LEAKY)
    counts = [number(part["windows"]), number(part["positives"])]
    return Row(name, [*counts, accuracy, (number(part["auc"], 3), LEAKY), (number(part["log_loss_bits"], 4), LEAKY)])


def _how(run: Path, metrics: dict[str, Any]) -> Block:
    history, recipe = pd.DataFrame(read_history(run)), run / "recipe.toml"
    pairs = [
        ("Recipe", str(metrics["recipe"])),
        ("Model", f"{metrics['model']}, {number(metrics['parameters'])} parameters"),
        ("Balancing", "as many windows without a target as with one" if metrics["balancing"] == "equal" else "none"),
        ("Seed", str(metrics["seed"])),
        *training_facts(history),
    ]
    folded = [code("The recipe", read_text(recipe))] if recipe.is_file() else []
    return section("run", columns(*training_figure(history), facts("run", pairs)), *folded, repeatable="")


def _maps(prepared: Prepared, path: Path) -> list[Picture]:
    """Draw held-out windows that the model was surest of, rightly and wrongly, as the city draws them."""
    from hews_gpu.raster.rasterizer import reference_rasterizer

    held_out = read_table(path, ("window_start", "window_end", "p_leaky", "y"))
    begin, end = (seconds_of(held_out[name]) for name in ("window_start", "window_end"))
    hit, p = held_out["y"].to_numpy() == 1, held_out["p_leaky"].to_numpy(dtype=float)
    wishes = {
        "Surest of a target, there was one": (hit, -p),
        "Surest of none, there was none": (~hit, p),
        "Surest of a target, there was none": (~hit & (p >= 0.5), -p),
        "Surest of none, there was a target": (hit & (p < 0.5), p),
    }
    rasterizer, pictures = reference_rasterizer(prepared, backend=BACKEND), []
    for title, (among, order) in wishes.items():
        if among.any():
            i = min(among.nonzero()[0], key=lambda index: order[index])
            note = f"; probability {percent(p[i])} (leaky)"
            pictures.append(draw_window(rasterizer, prepared, title, int(begin[i]), int(end[i]), note))
    return pictures
