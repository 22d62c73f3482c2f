"""`hews report`: one HTML file that carries everything it shows.

Numbers become figures and rows here and text in the template, where Jinja2 escapes whatever a user or a file supplied.
The page's own content policy forbids scripts and every address but data URIs, so that it stays what it is wherever it
is opened.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hews_gpu import __version__
from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file
from hews_gpu.progress import step
from hews_gpu.report import tables
from hews_gpu.report.evaluated import evaluated_content
from hews_gpu.report.figures import city as city_figures
from hews_gpu.report.figures import judgment
from hews_gpu.report.figures import maps as map_figures
from hews_gpu.report.figures import quality as quality_figures
from hews_gpu.report.findings import findings_content, kind_of
from hews_gpu.report.inputs import Inputs, read_inputs
from hews_gpu.report.leaky import is_leaky, leaky_content
from hews_gpu.report.results_file import read_json
from hews_gpu.report.style import DARK, LIGHT, css_variables
from hews_gpu.report.words import category_list, duration, gain, interval, number, percent, span, verdict

__all__ = ["build_report"]

GENERATOR = b'<meta name="generator" content="HEWS-GPU'
LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow",
    "dask",
    "shapely",
    "geopandas",
    "numba",
    "torch",
    "lightning",
    "scikit-learn",
)
YEAR_S = 365.2425 * 86_400

Content = dict[str, Any]


def build_report(run: Path, *, out: Path | None = None, data: Path | None = None, force: bool = False) -> Path:
    """Write the report of a judged run, or of a file with the results of a rolling evaluation or a study.

    Of a leaky run it is a page that says what its numbers are worth.

    Args:
        run: folder made by ``hews train`` and judged by ``hews evaluate``, or the results file.
        out: file to write; ``report.html`` in `run`, or the results file's name with that ending, unless given.
        data: the prepared folder, where it has moved since training; a results file needs none.
        force: replace `out` if it is a report.

    Returns:
        The file that was written.

    Raises:
        UserError: an input is missing or not judged, or `out` exists.
    """
    if run.is_file() or (run.suffix == ".json" and not run.is_dir()):
        return _build_evaluated(run, out or run.with_suffix(".html"), data, force)
    path = out or run / "report.html"
    if is_leaky(run):
        _require_free(path, force)
        return _written(render(leaky_content(run, data), "leaky.html.j2"), path)
    inputs = read_inputs(run, data)
    _require_free(path, force)
    parts: list[Callable[[Inputs], Content]] = [_judgment, _weeks, _maps, _city, _quality, _texts]
    content: Content = {"figures": dict.fromkeys(("roc", "pr", "training", "missing"))}  # those that may be missing
    with step("drawing the report", len(parts), "parts") as bar:
        for part in parts:
            made = part(inputs)
            content["figures"] |= made.pop("figures", {})
            content |= made
            bar.advance()
    return _written(render(content), path)


def _build_evaluated(file: Path, path: Path, data: Path | None, force: bool) -> Path:
    if data is not None:
        raise UserError("--data", data, allowed="does not go with a results file", remedy="Leave it out")
    read = read_json(file)
    if kind_of(read) is not None:
        page = render(findings_content(read, file), "findings.html.j2")
    else:
        page = render(evaluated_content(file), "evaluated.html.j2")
    _require_free(path, force)
    return _written(page, path)


def _written(page: str, path: Path) -> Path:
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def render(content: Content, template: str = "report.html.j2") -> str:
    """The page from what it shows: every text is escaped but what is `Markup` already."""
    import jinja2

    loader = jinja2.PackageLoader("hews_gpu.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = Markup(loader.get_source(environment, "style.css")[0])
    colors = {"light": css_variables(LIGHT), "dark": css_variables(DARK)}
    return environment.get_template(template).render(css=css, **colors, **content)


def _require_free(path: Path, force: bool) -> None:
    """Refuse a file that exists; with `force`, all but an older report."""
    if path.is_dir():
        raise UserError("--out", path, allowed="is a folder", remedy="Give a file such as report.html")
    if not path.parent.is_dir():
        raise UserError("--out", path, allowed="must be in a folder that exists", remedy=f"Make {path.parent} first")
    if not path.exists():
        return
    if not force:
        raise UserError("--out", path, allowed="exists already", remedy="Give another file, or --force to replace it")
    with path.open("rb") as file:
        if GENERATOR not in file.read(2048):
            allowed = "is not a report of this program; --force replaces only one that is"
            raise UserError("--out", path, allowed=allowed, remedy="Remove it by hand or give another file")


def _judgment(inputs: Inputs) -> Content:
    """Skill, reliability, ROC, precision and recall."""
    metrics, test = inputs.metrics, inputs.test
    y = test["y"].to_numpy() == 1
    forecasts = judgment.curves(test, inputs.has_oracle)
    oracle = metrics.get("baselines", {}).get("oracle", {}).get("log_skill_bits")
    bins = metrics.get("reliability") or []
    figures = {
        "skill": judgment.skill_interval(float(metrics["log_skill_bits"]), interval(metrics), oracle),
        "reliability": judgment.reliability(bins, forecasts["model"], y),
    }
    if 0 < y.sum() < len(y):
        figures["roc"] = judgment.roc(forecasts, y)
        figures["pr"] = judgment.precision_recall(forecasts, y)
    if len(inputs.history):
        figures["training"] = judgment.training(inputs.history)
    rows = [
        (percent(b["p_mean"]), percent(b["y_rate"]), f"{percent(b['low'])} to {percent(b['high'])}", number(b["count"]))
        for b in bins
    ]
    return {"figures": figures, "reliability": rows, "has_interval": interval(metrics) is not None}


def _weeks(inputs: Inputs) -> Content:
    """A few weeks of forecasts on one scale."""
    weeks = judgment.weeks_shown(inputs.test)
    top = 1.15 * max(float(rows[["p", "p_climatology"]].to_numpy().max()) for _, rows in weeks)
    drawn = [judgment.week(f"week{i}", title, rows, top) for i, (title, rows) in enumerate(weeks)]
    return {"figures": {"weeks": drawn}}


def _maps(inputs: Inputs) -> Content:
    """Reference maps and the channels tensor."""
    drawing, when = map_figures.channels(inputs.prepared, inputs.test)
    maps = map_figures.sample_maps(inputs.prepared, inputs.test)
    return {"figures": {"channels": drawing}, "maps": maps, "channels_when": when}


def _city(inputs: Inputs) -> Content:
    """Where and when target incidents were reported."""
    events, city = inputs.events, inputs.city
    flat = city_figures.outlines(inputs.prepared.neighborhoods)
    what, hit = category_list(city.incidents.targets), events.is_target
    years = max(float(events.time_s[-1] - events.time_s[0]), 86_400.0) / YEAR_S
    heat, heat_key, hexagon = city_figures.heat_map(flat, events.longitude[hit], events.latitude[hit], what)
    areas, areas_key = city_figures.areas(flat, events.neighborhood[hit], what, years)
    rhythm, rhythm_key = city_figures.rhythm(events.time_s[hit])
    splits = {name: city.splits.span_s(name) for name in ("train", "validation", "test")}
    figures = {"heat": heat, "areas": areas, "rhythm": rhythm}
    figures["months"] = city_figures.months(inputs.months, hit, splits)
    keys = {"heat_key": heat_key, "areas_key": areas_key, "rhythm_key": rhythm_key}
    return {"figures": figures, "hexagon": hexagon, "target_count": number(hit.sum()), **keys}


def _quality(inputs: Inputs) -> Content:
    """What the table was like beyond its counts, as far as it was recorded."""
    found = inputs.quality
    drawing, key = quality_figures.missing(found.get("missing_by_month", {}))
    return {
        "figures": {"missing": drawing},
        "missing_key": key,
        "warnings": [str(warning) for warning in found.get("warnings", [])],
        "steps": tables.volume_steps(found),
        "rounding": tables.rounding(found),
        "leaks": tables.label_information(found),
    }


def _texts(inputs: Inputs) -> Content:
    """Every sentence and table that depends on the run."""
    city, metrics, events = inputs.city, inputs.metrics, inputs.events
    sentence, tone = verdict(metrics)
    begin, end = inputs.test["window_start"].iloc[0], inputs.test["window_end"].iloc[-1]
    toml = city.path
    return {
        "city": city,
        "targets": category_list(city.incidents.targets),
        "covered": span(int(events.time_s[0]), int(events.time_s[-1]) + 1),
        "judged": span(*(int(np.datetime64(t, "s").astype(np.int64)) for t in (begin, end))),
        "made": datetime.now(UTC).strftime("%-d %B %Y"),
        "synthetic": city.synthetic is not None or inputs.has_oracle,
        "verdict": sentence,
        "tone": tone,
        "gain": gain(metrics) if tone == "good" else "",
        "starts_at_zero": _best_epoch(inputs) is not None and int(inputs.history["epoch"].iloc[0]) == 0,
        "untrained": _best_epoch(inputs) == 0,
        "base_rate": percent(metrics["base_rate"]),
        "headline": tables.headline(metrics),
        "skill": tables.skill(metrics),
        "splits": tables.splits(metrics),
        "palette": tables.palette(inputs),
        "quality": tables.quality(inputs),
        "notes": tables.quality_notes(inputs),
        "give_away": tables.give_away(inputs.charts),
        "commands": tables.commands(inputs),
        "facts": tables.facts(inputs, _versions()),
        "task": _task(inputs),
        "toml": toml.read_text(encoding="utf-8") if toml.is_file() else "",
        "version": __version__,
    }


def _best_epoch(inputs: Inputs) -> int | None:
    """The epoch whose weights were kept, if the history tells."""
    history = inputs.history
    if "epoch" not in history or "validation_log_loss" not in history or history["validation_log_loss"].isna().all():
        return None
    return int(history.loc[history["validation_log_loss"].idxmin(), "epoch"])


def _task(inputs: Inputs) -> dict[str, str]:
    """The task in words."""
    task, windows = inputs.city.task, inputs.city.windows
    lead = f" that begins {duration(task.lead_s)} later" if task.lead_s else " that follows"
    what = category_list(inputs.city.incidents.targets).replace(" and ", " or ")
    return {
        "issue": f"every {duration(windows.stride_s)} from the maps of the past {duration(task.history_s)}",
        "event": f"at least one {what} anywhere in the city in the {duration(task.horizon_s)}{lead}",
        "step": f"One forecast every {duration(windows.stride_s)}.",
        "window": duration(windows.length_s),
    }


def _versions() -> dict[str, str]:
    """Versions of what is installed now, beside the report: manifests may record those of the run."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
