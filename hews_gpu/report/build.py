"""`hews report`: write the page of a run, a backtest or a results file as one HTML file that carries all it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hews_gpu.data.coverage import coverage_of_events
from hews_gpu.data.events import DOUBTS, open_data_of
from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file, require_free_file
from hews_gpu.groups.run import GROUPS
from hews_gpu.own_files import read_json
from hews_gpu.progress import step
from hews_gpu.report.card import card_section
from hews_gpu.report.formatting import category_list, moment, number, percent, signed, span
from hews_gpu.report.page import GENERATOR, Block, Page, Part, Row, Verdict, facts, prose, render, section, table, text
from hews_gpu.report.result import JUDGE_FIRST, Result, read_folder
from hews_gpu.report.results_file import read_results, read_results_file
from hews_gpu.report.sections import city, scores
from hews_gpu.report.sections.findings import findings_page, kind_of
from hews_gpu.report.sections.foresight import foresight
from hews_gpu.report.sections.groups import groups_page
from hews_gpu.report.sections.how import facts_of_file, how
from hews_gpu.report.sections.leaky import leaky_page
from hews_gpu.report.sections.where import where
from hews_gpu.report.significance import CLIMATOLOGY, LEVEL, ORACLE, label
from hews_gpu.runs.leadtime import LEADTIME

__all__ = ["build_report"]

SECTIONS: Sequence[Callable[[Result], Block | None]] = (
    scores.skill,
    scores.reliability,
    scores.warnings_and_value,
    scores.curves,
    scores.hours_and_week,
    where,
    city.maps,
    city.city,
    city.data,
    how,
)
"""In their order on the page; each is left out where the result does not hold what it needs."""


def build_report(run: Path, *, out: Path | None = None, data: Path | None = None, force: bool = False) -> Path:
    """Write the report of a judged run, of a backtest, or of a results file.

    Of a leaky run it is a page that says what its numbers are worth.

    Args:
        run: folder judged by ``hews evaluate``, or made by ``hews backtest``, ``hews leadtime`` or
            ``hews groups``, or the results file.
        out: file to write; ``report.html`` in `run`, or the results file's name with that ending, unless given.
        data: the prepared folder, where it has moved since training; a results file needs none.
        force: replace `out` if it is a report.

    Returns:
        The file that was written.

    Raises:
        UserError: an input is missing or not judged, or `out` exists.
    """
    is_file = run.is_file() or (run.suffix == ".json" and not run.is_dir())
    path = out or (run.with_suffix(".html") if is_file else run / "report.html")
    page = _page_of_file(run, data) if is_file else _page_of_folder(run, data)
    require_free_file(path, force=force, example="report.html")
    if path.exists():
        with path.open("rb") as file:
            if f'content="{GENERATOR.split()[0]}'.encode() not in file.read(2048):
                allowed = "is not a report of this program; --force replaces only one that is"
                raise UserError("--out", path, allowed=allowed, remedy="Remove it by hand or give another file")
    with atomic_file(path) as partial:
        partial.write_text(render(page), encoding="utf-8")
    return path


def _page_of_folder(run: Path, data: Path | None) -> Page:
    """Return the page of a run or a backtest."""
    if not run.is_dir():
        raise UserError("run folder", run, allowed="does not exist", remedy="Make it with 'hews train DIR --out RUN'")
    if (run / LEADTIME).is_file():
        return findings_page(read_json(run / LEADTIME), run / LEADTIME)
    if (run / GROUPS).is_file():
        return groups_page(run, open_data_of(run, data))
    metrics = read_json(run / "metrics.json", remedy=JUDGE_FIRST)
    if metrics.get("leaky") is True:
        return leaky_page(run, metrics, data)
    result = read_folder(run, metrics, data)
    folds = metrics["protocol"]["folds"]
    about = [f"judged on {span(moment(folds[0]['test']['begin']), moment(folds[-1]['test']['end']))}"]
    what = "target incidents"
    if result.prepared is not None:
        coverage = coverage_of_events(result.prepared.events)
        about.insert(0, span(coverage.begin_s, coverage.end_s))
        what = category_list(result.prepared.city.incidents.target_names)
    if ORACLE in result.forecasts:
        about.append("a generated city")
    card = [one for one in (card_section(run),) if one is not None]
    return Page(
        title=f"{result.title}: forecast report",
        kicker=f"{'Backtest of forecasts' if metrics.get('kind') == 'backtest' else 'Early warning'} of {what}",
        heading=result.title,
        about=" · ".join(about),
        verdict=_verdict(result),
        blocks=[foresight(result)],
        tiles=scores.tiles(result),
        parts=[Part([*_sections(result), *card, section("limits", prose("limits.html.j2")), _reading()])],
        foot="Forecasts of every window are in forecasts.parquet, from which each score can be computed again.",
    )


def _verdict(result: Result, name: str = "", more: Sequence[str] = ()) -> Verdict:
    """Return the verdict that opens the page."""
    verdict = result.comparison.verdict()
    notes = [*(more or [" ".join(verdict.notes)]), text("held_against").words("text")]
    notes += [f"The table is not known to be complete: {doubt}." for doubt in result.metrics.get(DOUBTS) or ()]
    return Verdict(f"{name}{verdict.sentence}", verdict.tone, notes)


def _sections(result: Result) -> list[Block]:
    with step("drawing the report", len(SECTIONS), "sections") as bar:
        made = []
        for make in SECTIONS:
            made.append(make(result))
            bar.advance()
    return [one for one in made if one is not None]


def _reading(pairs: Sequence[tuple[str, str]] = ()) -> Block:
    """Return what the scores mean, and how a results file was made."""
    return section("reading", prose("reading.html.j2"), *([facts("file", pairs)] if pairs else []))


def _page_of_file(file: Path, data: Path | None) -> Page:
    """Return the page of a results file: the same sections for each of its sources."""
    if data is not None:
        raise UserError("--data", data, allowed="does not go with a results file", remedy="Leave it out")
    content = read_results_file(file)
    if kind_of(content) is not None:
        return findings_page(content, file)
    sources = read_results(content, file)
    results = [Result(title=str(one.get("city", name)), metrics=one) for name, one in sources.items()]
    first, several, reading = results[0], len(results) > 1, _reading(facts_of_file(content))
    date = str(content["date"])[:10] if isinstance(content.get("date"), str) else ""
    kicker = "Rolling evaluation of forecasts"
    parts = [Part([*_sections(first), reading])] if not several else []
    for i, result in enumerate(results if several else ()):
        verdict = result.comparison.verdict()
        joined = Verdict(verdict.sentence, verdict.tone, [" ".join(verdict.notes)])
        sections = [section("foresight", foresight(result)), *_sections(result)]
        parts.append(Part(sections, f"s{i}", result.title, _about(result.metrics), joined))
    return Page(
        title=f"{kicker}, {date}" if date else kicker,
        kicker=kicker,
        heading="What can be foreseen" if several else first.title,
        about=f"{file.name} · measured {date}" if date else file.name,
        verdict=_verdict(first, f"{first.title}: ", [_summary(results)] if several else ()),
        tiles=[] if several else scores.tiles(first),
        blocks=[_glance(results) if several else foresight(first)],
        parts=[*parts, Part([reading], "scores", "Reading the scores")] if several else parts,
        foot=f"Made from {file.name}.",
    )


def _summary(results: Sequence[Result]) -> str:
    judged = [result.comparison for result in results if not result.comparison.too_little]
    good, every = sum(bool(one.foreseeing) for one in judged), len(judged)
    left = len(results) - every
    more = f" On {left} there is too little to judge by." if left else ""
    if good == 0:
        return f"On none of {every} sources is foresight shown.{more}" if every else more.strip()
    rest = "." if good == every else "; on the rest there is none, which is a result."
    return f"On {good} of {every} sources there is foresight{rest}{more}"


def _about(metrics: Mapping[str, Any]) -> str:
    """Return what a source is and how many windows it has."""
    kind = "recorded incidents"
    if "city" not in metrics:
        drawn = f", {metrics['years']} years of seed {metrics['seed']}" if {"years", "seed"} <= metrics.keys() else ""
        kind = f"generated city{drawn}, whose true probabilities are known"
    counts = f"{number(metrics['windows'])} windows, {number(metrics['positives'])} with a target"
    return f"{kind} · {counts} ({percent(metrics['base_rate'])})"


def _glance(results: Sequence[Result]) -> Block:
    """Return each source in a row: its best forecast, and what that gains over the calendar and the recent level."""
    rows = []
    for result in results:
        best, own = result.best, result.forecasts[result.best]
        closure = own.get("oracle_gap_closure")
        gains = [scores.gain_cell(best, result, other) for other in (CLIMATOLOGY, LEVEL)]
        auc = f"{number(result.forecasts[CLIMATOLOGY]['auc'], 3)} → {number(own['auc'], 3)}"
        rows.append(Row(result.title, [label(best), *gains, signed(closure["value"], 2) if closure else "", auc]))
    return table("glance", rows)
