"""The pages of two benchmarks: the leak ablation, and how closure grows with the years learned from.

Each is made from its results file and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hews_gpu import __version__
from hews_gpu.errors import UserError
from hews_gpu.report.figures.evaluated import look
from hews_gpu.report.figures.findings import learning, waterfall
from hews_gpu.report.words import number, percent, signed

__all__ = ["KINDS", "findings_content", "kind_of"]

Found = Mapping[str, Any]
ABLATION_HEADS = (
    "Taken away",
    "AUC (95 %)",
    "Accuracy (95 %)",
    "Commoner class",
    "AUC of the clock",
    "Trained on",
    "Held out",
)
FACTS = ("command", "date", "commit", "cpu", "cores", "device", "recipe", "parameters", "seeds", "torch", "python")


def findings_content(content: Found, file: Path) -> dict[str, Any]:
    """Everything that the page of a results file shows.

    Args:
        content: of the file.
        file: its path.

    Raises:
        UserError: it lacks what the page shows.
    """
    kind = kind_of(content)
    assert kind is not None
    try:
        shown = KINDS[kind](content)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        allowed = f"is not a whole result of benchmarks/{kind}.py ({type(error).__name__}: {error})"
        raise UserError(str(file), allowed=allowed, remedy=f"Make it anew with 'hews bench {kind}'") from None
    return {
        **shown,
        "facts": [(key, str(content[key])) for key in FACTS if content.get(key) is not None],
        "file": file.name,
        "date": str(content.get("date", ""))[:10],
        "made": datetime.now(UTC).strftime("%-d %B %Y"),
        "version": __version__,
    }


def kind_of(content: Any) -> str | None:
    """Which of the pages a results file belongs on; None where it is on neither."""
    name = content.get("benchmark") if isinstance(content, dict) else None
    return next((kind for kind in KINDS if isinstance(name, str) and f"{name}_".startswith(f"{kind}_")), None)


def _ablation(content: Found) -> dict[str, Any]:
    steps = content["rooms"] if "rooms" in content else content["steps"]  # the older name of the same rows
    first, last = steps[0], steps[-1]
    size = " x ".join(map(str, content["map"]))
    scored = [f"{step['auc']['value']:.3f}" for step in (first, last)]
    sentence = (
        f"Under the reference protocol the AUC is {scored[0]}; with every leak gone it is {scored[1]}, where the hour "
        f"of the week and the month alone reach {last['climatology']['auc']:.3f}."
    )
    low = last["auc"]["interval"][0]
    clock = last["climatology"]["auc"]
    small = content["model"] == "reference_small"
    notes = [
        f"{content['model']}, {number(content['parameters'])} weights, on maps of {size} pixels, {content['seeds']} "
        f"seeds; {content['city']}, {content['begin']} to {content['end']}.",
        "A small CNN on small maps was used, because the reference's own takes hours on a CPU: its scores are its own, "
        "the order of the steps is the finding."
        if small
        else "",
        "What the honest model finds is no more than the clock knows." if low <= clock else "",
        "At true prevalence accuracy says little: never to warn is right "
        f"{percent(last['commoner_class'], 0)} of the time.",
    ]
    return {
        "kicker": "The leak ablation",
        "heading": "What the score of the reference was made of",
        "sentence": sentence,
        "tone": "bad",
        "notes": [note for note in notes if note],
        "caption": "Each row takes one more leak away. Dot: the score, with its 95 % interval over one-week blocks. "
        "Bar: the change from the row above. Square: what the clock alone reaches. Diamond: the share of the commoner "
        "class, which is right without looking.",
        "drawing": waterfall("leak_ablation", steps),
        "tables": [{"title": "The same as a table", "heads": ABLATION_HEADS, "rows": [_step(step) for step in steps]}],
    }


def _step(step: Found) -> dict[str, Any]:
    scored = [
        (number(step[name]["value"], 3), " to ".join(number(end, 3) for end in step[name]["interval"]))
        for name in ("auc", "accuracy")
    ]
    counts = [
        (number(step["windows"][part]), f"{number(step['positives'][part])} with a target")
        for part in ("train", "test")
    ]
    plain = [(number(step["commoner_class"], 3),), (number(step["climatology"]["auc"], 3),)]
    return {
        "name": step["title"],
        "note": step["leak"] or "every leak in its place",
        "cells": [*scored, *plain, *counts],
    }


def _years(content: Found) -> dict[str, Any]:
    presets = content["presets"]
    last = {preset: points[-1] for preset, points in presets.items()}
    said = ", ".join(
        f"{preset} {signed(one['oracle_gap_closure']['hewsnet']['value'], 2)}" for preset, one in last.items()
    )
    longest = next(iter(last.values()))["years"]
    names = list(next(iter(last.values()))["oracle_gap_closure"])
    heads = ("Years learned from", *(f"{look(name).label} (95 %)" for name in names), "HewsNet ahead of boosting, bits")
    return {
        "kicker": "Closure against years of data",
        "heading": "How many years it takes",
        "sentence": f"From {longest} years HewsNet closes, of the gap between climatology and oracle: {said}.",
        "tone": "good",
        "notes": [
            f"Generated cities of seed {content['seed']}, whose laws are of HewsNet's own family; the same "
            f"{content['test_years']} years are forecast from the years before them, each time by fits of their own."
        ],
        "caption": "1 is the oracle, 0 the climatology fitted on the same years. Bands: 95 % intervals over one-week "
        "blocks of the test years.",
        "drawing": learning("years", presets),
        "tables": [
            {"title": preset, "heads": heads, "rows": [_point(point, names) for point in points]}
            for preset, points in presets.items()
        ],
    }


def _point(point: Found, names: list[str]) -> dict[str, Any]:
    closures = [point["oracle_gap_closure"][name] for name in names]
    cells = [(signed(one["value"], 2), " to ".join(signed(end, 2) for end in one["one_week"])) for one in closures]
    ahead = point["hewsnet_ahead_of_boosting_bits"]
    cells.append((signed(ahead["value"]), " to ".join(signed(end) for end in ahead["one_week"])))
    return {"name": str(point["years"]), "note": f"{number(point['training_windows'])} windows", "cells": cells}


KINDS = {"leak_ablation": _ablation, "museum": _ablation, "years": _years}
"""By the name of their benchmark, the pages."""
