"""Pages of one finding: the reference protocol's leaks, closure over the years learned from, and how far ahead.

Each is made from its results file and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.report.figures.findings import learning, waterfall
from hews_gpu.report.formatting import number, percent, plain, range_of, signed
from hews_gpu.report.page import Block, Page, Part, Row, Verdict, facts, figure, section, table, text
from hews_gpu.report.sections.how import facts_of_file
from hews_gpu.report.sections.leadtime import leadtime
from hews_gpu.report.significance import label

__all__ = ["findings_page", "kind_of"]

Content = Mapping[str, Any]
Made = tuple[str, str, Verdict, list[Block]]
"""What stands over the heading, the heading, the verdict, and the blocks of the result."""


def findings_page(content: Content, file: Path) -> Page:
    """Return the page of a results file's content, or raise `UserError` where it lacks what the page shows."""
    kind = kind_of(content)
    assert kind is not None
    date = str(content.get("date", ""))[:10]
    try:
        kicker, heading, verdict, blocks = KINDS[kind](content)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        allowed = f"is not a whole result of {kind} ({type(error).__name__}: {error})"
        raise UserError(str(file), allowed=allowed, remedy=f"Make it anew with 'hews bench {kind}'") from None
    sections = [section("result", *blocks), section("run", facts("run", facts_of_file(content)), repeatable="")]
    return Page(
        title=f"{kicker}, {date}" if date else kicker,
        kicker=kicker,
        heading=heading,
        about=f"{file.name} · measured {date}" if date else file.name,
        verdict=verdict,
        parts=[Part(sections)],
        foot=f"Made from {file.name}.",
    )


def kind_of(content: Any) -> str | None:
    """Return which of these a results file is of; None where it is of none."""
    name = content.get("benchmark", content.get("kind")) if isinstance(content, dict) else None
    return next((kind for kind in KINDS if isinstance(name, str) and f"{name}_".startswith(f"{kind}_")), None)


def _ablation(content: Content) -> Made:
    steps = content["rooms"] if "rooms" in content else content["steps"]  # the older name of the same rows
    first, last = steps[0], steps[-1]
    clock, size = last["climatology"]["auc"], " x ".join(map(str, content["map"]))
    sentence = (
        f"Under the reference protocol the AUC is {first['auc']['value']:.3f}; with every leak gone it is "
        f"{last['auc']['value']:.3f}, where the hour of the week and the month alone reach {clock:.3f}."
    )
    notes = [
        f"{content['model']}, {number(content['parameters'])} weights, on maps of {size} pixels, {content['seeds']} "
        f"seeds; {content['city']}, {content['begin']} to {content['end']}."
    ]
    if content["model"] == "reference_small":
        notes.append(text("small").words("text"))
    if last["auc"]["interval"][0] <= clock:
        notes.append("What the honest model finds is no more than the clock knows.")
    never = percent(last["commoner_class"], 0)
    notes.append(f"At true prevalence accuracy says little: never to warn is right {never} of the time.")
    blocks = [figure("ablation", waterfall(steps)), table("ablation", [_step(step) for step in steps])]
    verdict = Verdict(sentence, "bad", notes)
    return "Leak ablation of the reference protocol", "What the score of the reference was made of", verdict, blocks


def _step(step: Content) -> Row:
    cells: list[Any] = [
        (number(step[name]["value"], 3), range_of(step[name]["interval"], 3, plain)) for name in ("auc", "accuracy")
    ]
    cells += [number(step["commoner_class"], 3), number(step["climatology"]["auc"], 3)]
    for part in ("train", "test"):
        cells.append((number(step["windows"][part]), f"{number(step['positives'][part])} with a target"))
    return Row(step["title"], cells, step["leak"] or "every leak in its place")


def _years(content: Content) -> Made:
    presets = content["presets"]
    last = {preset: points[-1] for preset, points in presets.items()}
    each = ", ".join(
        f"{preset} {signed(one['oracle_gap_closure']['hewsnet']['value'], 2)}" for preset, one in last.items()
    )
    longest = next(iter(last.values()))["years"]
    names = list(next(iter(last.values()))["oracle_gap_closure"])
    heads = ("Years learned from", *(f"{label(name)} (95 %)" for name in names), "HewsNet ahead of boosting, bits")
    sentence = f"From {longest} years HewsNet closes, of the gap between climatology and oracle: {each}."
    note = text("years", seed=str(content["seed"]), years=str(content["test_years"])).words("text")
    tables = [
        table("years", [_point(point, names) for point in points], heads, preset=preset)
        for preset, points in presets.items()
    ]
    blocks = [figure("years", learning(presets)), *tables]
    return "Closure against years of data", "How many years it takes", Verdict(sentence, "good", [note]), blocks


def _point(point: Content, names: list[str]) -> Row:
    closures = [point["oracle_gap_closure"][name] for name in names]
    ahead = point["hewsnet_ahead_of_boosting_bits"]
    cells = [(signed(one["value"], 2), range_of(one["interval"], 2)) for one in closures]
    cells.append((signed(ahead["value"]), range_of(ahead["interval"])))
    return Row(str(point["years"]), cells, f"{number(point['training_windows'])} windows")


KINDS = {"leak_ablation": _ablation, "museum": _ablation, "years": _years, "leadtime": leadtime}
"""By what the name of their benchmark begins with."""
