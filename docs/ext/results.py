"""Figures for the pages from committed results: the directives `figures` and `plot`, and the role `figure`.

docs/results.toml names each figure: the benchmark, the path of keys in its JSON file, the format. The newest file of
that benchmark is read when the site is built, so a new result changes the pages and no figure is typed. A figure that
no file holds stops the build.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FIGURES = ROOT / "docs" / "results.toml"


@cache
def newest(benchmark: str, kind: str = "json") -> Path:
    """Return the latest file of a benchmark, `NAME-YYYY-MM-DD.json` or another kind; raise if there is none."""
    dated = re.compile(re.escape(benchmark) + rf"-\d{{4}}-\d{{2}}-\d{{2}}\.{kind}")
    files = [path for path in RESULTS.glob(f"*.{kind}") if dated.fullmatch(path.name)]
    if not files:
        raise LookupError(f"no {kind} file of {benchmark!r} in benchmarks/results")
    return max(files, key=lambda path: path.name)


@cache
def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lookup(content: Any, path: str) -> tuple[Any, list[float] | None]:
    """Return the value at keys joined by dots (a key may hold dots itself) and its interval, where there is one.

    An interval is beside `value` (in older files one week's), or lies beside a plain value under `KEY_interval`.
    """
    keys, holder, name = path.split("."), content, ""
    while keys:
        holder = content
        if isinstance(holder, list):
            name, used = keys[0], 1
            content = holder[int(name)]
        else:
            used = next((n for n in range(1, len(keys) + 1) if ".".join(keys[:n]) in holder), 0)
            if not used:
                raise LookupError(f"no {'.'.join(keys)!r} for {path!r}")
            name = ".".join(keys[:used])
            content = holder[name]
        keys = keys[used:]
    if isinstance(content, dict) and "value" in content:
        return content["value"], content.get("interval", content.get("one_week"))
    beside = holder.get(f"{name}_interval") if isinstance(holder, dict) else None
    return content, beside


def shown(benchmark: str, path: str, form: str, with_interval: bool = True) -> str:
    """Return a figure as it is written on a page, its interval in brackets."""
    value, interval = lookup(_content(newest(benchmark)), path)
    if isinstance(value, (dict, list, bool)) or value is None:
        raise LookupError(f"{newest(benchmark).name} {path}: no single number")
    text = form.format(value)
    if interval and with_interval:
        text += f" ({form.format(interval[0])} to {form.format(interval[1])})"
    return text.replace("-", "\N{MINUS SIGN}")


def figures() -> dict[str, Any]:
    """Return docs/results.toml: `figure` for single ones, `table` for tables."""
    return tomllib.loads(FIGURES.read_text(encoding="utf-8"))


def table_cells(table: dict[str, Any], row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return benchmark, key path and format of each cell of a row."""
    at = row["at"] if isinstance(row.get("at"), list) else [row.get("at")]
    keys = row.get("keys") or [key.format(*at) for key in table["keys"]]
    formats = table.get("formats") or [row.get("format", table.get("format", "{}"))] * len(keys)
    named = [re.fullmatch(r"(?:([\w-]+): )?(.*)", key).groups() for key in keys]
    return [(name or table["file"], path, form) for (name, path), form in zip(named, formats, strict=True)]


def table_text(table: dict[str, Any]) -> str:
    """Return a table as Markdown: the source of each figure is its tooltip, the files stand below."""
    columns = table.get("columns", ["figure"])
    lines = [f"| {table['of']} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    sources = []
    for row in table["rows"]:
        marked = []
        for benchmark, path, form in table_cells(table, row):
            source = newest(benchmark)
            sources.append(source)
            title = escape(f"{source.name} {path}", quote=True)
            text = shown(benchmark, path, form, table.get("intervals", True))
            marked.append(f'<span title="{title}">{text}</span>')
        lines.append(f"| {row['text']} | {' | '.join(marked)} |")
    below = " ".join(_source(path) for path in dict.fromkeys(sources))
    return "\n".join([*lines, "", ":::{container} sources", below, ":::", ""])


def _source(path: Path) -> str:
    content = _content(path)
    device = "" if str(content.get("device", "cpu")) == "cpu" else f"{content['device']}, "
    machine = f"{device}{content['cpu']}, {content['cores']} cores"
    return f"`{path.relative_to(ROOT).as_posix()}` ({machine}; commit {content['commit']})."


class Figures(SphinxDirective):
    """A table of docs/results.toml."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(FIGURES))
        name = self.arguments[0]
        try:
            text = table_text(figures()["table"][name])
        except LookupError as error:
            raise self.error(f"figures {name}: {error}") from error
        return self.parse_text_to_nodes(text)


class Plot(SphinxDirective):
    """The newest plot of a benchmark, an SVG beside its results; the text says what it shows."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            path = newest(self.arguments[0], "svg")
        except LookupError as error:
            raise self.error(str(error)) from error
        picture = f"/../{path.relative_to(ROOT).as_posix()}"
        return self.parse_text_to_nodes(f"```{{image}} {picture}\n:alt: {' '.join(self.content)}\n```")


class Figure(SphinxRole):
    """One figure of docs/results.toml within a sentence."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        self.env.note_dependency(str(FIGURES))
        try:
            entry = figures()["figure"][self.text]
            text = shown(entry["file"], entry["key"], entry["format"])
        except LookupError as error:
            message = self.inliner.reporter.error(f"figure {self.text}: {error}", line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        return [nodes.inline(text, text, classes=["figure"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the role."""
    app.add_directive("figures", Figures)
    app.add_directive("plot", Plot)
    app.add_role("figure", Figure())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
