"""`hews card`: the model card and the data card of a run, as Markdown, from what the run's own files say.

Every figure comes from a file of the run or of its prepared folder; the rest is the same on every card. What was not
looked at, such as who bears the warnings, is said to be missing. (Mitchell et al., 2019, Model cards for model
reporting, arXiv:1810.03993; Gebru et al., 2021, Datasheets for datasets, arXiv:1803.09010.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hews_gpu import __version__
from hews_gpu.alerts.policy import load_policy
from hews_gpu.data.events import QUALITY
from hews_gpu.errors import UserError, printable
from hews_gpu.files import atomic_file, require_free_file, write_json
from hews_gpu.own_files import read_json
from hews_gpu.report.formatting import category_list, duration, listed, moment, number, percent, plain, range_of, span
from hews_gpu.report.page import Block, prose, section
from hews_gpu.report.result import JUDGE_FIRST, Result, read_folder
from hews_gpu.report.significance import CLIMATOLOGY, LEVEL, gain_over, label, stated
from hews_gpu.runs.folder import CARD, model_fingerprint

__all__ = ["card_section", "write_card"]

FAIRNESS, VALUES = "fairness.json", "card.json"
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")  # a page names no outside address: sources are in the Markdown
CARD_AGAIN = "Run 'hews card' again with --force"
AUDIT_AGAIN = "Run 'hews audit fairness' again"
GATE = {"gate": str, "tested": str, "verdict": str, "summary": str}
AUDITED = {"verdict": str, "fingerprint": str, "how": str, "results": [GATE]}
REPEATS = ("duplicates", "twins", "near_twins", "overlaps")
COUNTED = {
    **{name: int for name in ("rows_read", "rows_kept", "rows_quarantined", "nearest", *REPEATS)},
    "quarantined_by_reason": {"*": int},
    "coverage": {"rows": [[str]]},
    "targets": {"*": {"rows": int}},
    "files": [{"name": str, "rows": int, "sha256": str}],
    "warnings": [str],
}
"""What is read of quality.json."""
SHOWN = {
    **dict.fromkeys("ahead background contact covered created delay fingerprint kill_switch model".split(), str),
    **dict.fromkeys("nearest positives targets verdict windows".split(), str),
    **{name: {"*": str} for name in ("spans", "rows", "target_rows", "repeats")},
    **{name: [str] for name in ("budgets", "faults", "layers")},
    **{"says_where": bool, "errors": [[str]], "audited?": AUDITED},
}
"""What the page shows of card.json."""
MOST = 10
"""Neighborhoods of which the errors are told."""


def write_card(run: Path, *, contact: str, data: Path | None = None, force: bool = False) -> Path:
    """Write ``card.md`` into a judged run, and its values as ``card.json``, which the run's page shows.

    Args:
        run: folder judged by ``hews evaluate``.
        contact: who answers for it, in words.
        data: the prepared folder, where it has moved since training.
        force: replace an older card.

    Returns:
        The file.

    Raises:
        UserError: the run has not been judged, is a leaky one or no run, the contact is blank, or there is a card.
    """
    import jinja2

    if not contact.strip():
        raise UserError("--contact", contact, allowed="must say who answers for the warnings")
    out = run / CARD
    require_free_file(out, force=force, example=CARD)
    metrics = read_json(run / "metrics.json", remedy=JUDGE_FIRST)
    if metrics.get("leaky") is True or metrics.get("kind") != "run":
        remedy = "Give a run that 'hews train' made and 'hews evaluate' judged"
        raise UserError("RUN", run, allowed="is not a run that may warn", remedy=remedy)
    result = read_folder(run, metrics, data)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hews_gpu.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["plain"] = _plain_text
    values = {**_model(run, result), **_data(result), "contact": contact}
    text = environment.get_template("card.md.j2").render(**values)
    with atomic_file(out) as partial:
        partial.write_text(text, encoding="utf-8")
    write_json(run / VALUES, values)  # of which the page shows a card as it is written here
    return out


def card_section(run: Path) -> Block | None:
    """Return the card as a section of the run's page; None where there is none, or it is of another model."""
    if not (run / CARD).is_file() or not (run / VALUES).is_file():
        return None
    values = {"audited": None, **read_json(run / VALUES, SHOWN, remedy=CARD_AGAIN)}
    if values["fingerprint"] != model_fingerprint(run):
        return None
    values["kill_switch"] = load_policy(run).kill_switch
    if (run / FAIRNESS).is_file():  # made after the card, or again
        audited = read_json(run / FAIRNESS, AUDITED, remedy=AUDIT_AGAIN)
        values["audited"] = audited if audited["fingerprint"] == values["fingerprint"] else values["audited"]
    items = LINK.sub(r"\1", values["background"]).removeprefix("- ").split("\n- ")
    shown = {**values, "background": [" ".join(item.split()) for item in items if item]}
    return section("card", prose("card.html.j2", shown))


def _plain_text(text: object) -> str:
    """Return text that Markdown takes for nothing else, nor a terminal that shows the card."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|~" else c for c in printable(" ".join(str(text).split())))


def _model(run: Path, result: Result) -> dict[str, Any]:
    """Return what the card says of the model."""
    metrics, protocol = result.metrics, result.metrics["protocol"]
    assert result.prepared is not None
    city, (fold,), verdict = result.prepared.city, protocol["folds"], result.comparison.verdict()
    lead = f"{duration(lead_s)} after " if (lead_s := protocol["lead_s"]) else ""
    policy, fingerprint = load_policy(run), model_fingerprint(run)
    audited = read_json(run / FAIRNESS, AUDITED, remedy=AUDIT_AGAIN) if (run / FAIRNESS).is_file() else None
    if audited and audited["fingerprint"] != fingerprint:
        raise UserError(str(run / FAIRNESS), allowed="is of another model than the run's", remedy=AUDIT_AGAIN)
    return {
        "version": __version__,
        "run": run.name,
        "created": str(result.manifest.get("created", "not known")),
        "model": label(str(metrics["model"])),
        "fingerprint": fingerprint,
        "city": city.city.name,
        "targets": category_list(city.incidents.target_names),
        "ahead": f"from {lead}each forecast on, for {duration(protocol['horizon_s'])}",
        "says_where": result.places is not None,
        "spans": {name: _span(fold[name]) for name in ("train", "calibration", "test")},
        "windows": number(metrics["windows"]),
        "positives": number(metrics["positives"]),
        "verdict": verdict.sentence,
        "notes": verdict.notes,
        "scores": [_score(name, one) for name, one in result.forecasts.items()],
        "budgets": _budgets(result.forecasts[str(metrics["model"])].get("warnings", [])),
        "errors": _errors(result),
        "audited": audited,
        "kill_switch": policy.kill_switch,
    }


def _span(part: Mapping[str, Any]) -> str:
    return f"{span(moment(part['begin']), moment(part['end']))}, {number(part['windows'])} windows"


def _score(name: str, one: Mapping[str, Any]) -> list[str]:
    """Return a row of the table of scores."""
    gains = [gain_over(one, other) for other in (CLIMATOLOGY, LEVEL)]
    slope = one["calibration"]["slope"]
    ends = range_of(one["calibration"]["slope_interval"], 2, plain) if slope is not None else ""
    cells = [stated(bits) if bits else "" for bits in gains]
    return [label(name), *cells, number(one["auc"], 3), f"{plain(slope, 2)} ({ends})" if slope is not None else ""]


def _budgets(warnings: list[Mapping[str, Any]]) -> list[str]:
    """Return in natural frequencies what warnings under each budget were worth."""
    return [
        f"at {number(one['warnings_per_week'], 1)} warnings a week, of 100 warnings {number(100 * one['precision'])} "
        f"came true, and of 100 windows with an event {number(100 * one['recall'])} were warned of"
        for one in warnings
        if one["precision"] is not None
    ]


def _errors(result: Result) -> list[list[str]]:
    """Return the neighborhoods whose counts are furthest from what was expected of them, in standard errors."""
    if result.places is None:
        return []
    each = result.places.assign(expected=-np.log1p(-result.places["p"])).groupby("neighborhood", observed=True)
    sums = each[["expected", "events"]].sum()
    sums["far"] = (sums["events"] - sums["expected"]) / np.sqrt(sums["expected"].clip(lower=1e-9))
    furthest = sums.loc[sums["far"].abs().sort_values(ascending=False, kind="stable").index[:MOST]]
    return [
        [str(name), number(row["events"]), number(row["expected"], 1), plain(row["far"], 1)]
        for name, row in furthest.iterrows()
    ]


def _data(result: Result) -> dict[str, Any]:
    """Return what the card says of the table."""
    assert result.prepared is not None
    file, city = result.prepared.folder / QUALITY, result.prepared.city
    quality = read_json(file, COUNTED, remedy="Run 'hews prepare' again")
    path = resources.files("hews_gpu.cities").joinpath(f"{city.city.name.casefold()}.background.md")
    covered = [f"{begin} to {end}" for begin, end in quality["coverage"]["rows"]]
    return {
        "files": [[one["name"], number(one["rows"]), one["sha256"]] for one in quality["files"]],
        "rows": {name: number(quality[f"rows_{name}"]) for name in ("read", "kept", "quarantined")},
        "reasons": {reason: number(count) for reason, count in quality["quarantined_by_reason"].items()},
        "covered": listed(covered) if covered else "nothing",
        "repeats": {name: number(quality[name]) for name in REPEATS},
        "target_rows": {name: number(one["rows"]) for name, one in quality["targets"].items()},
        "nearest": percent(quality["nearest"] / max(1, quality["rows_kept"])),
        "faults": [*quality["warnings"], *(f"not known to be complete: {one}" for one in result.prepared.doubts)],
        "layers": [layer.name for layer in city.layers],
        "delay": duration(delay_s) if (delay_s := result.metrics["protocol"]["delay_s"]) else "",
        "background": path.read_text(encoding="utf-8").strip() if path.is_file() else "",
    }
