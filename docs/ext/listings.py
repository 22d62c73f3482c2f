"""Lists for the pages, taken from the code: the directives `commands`, `packages` and `forecasters`."""

from __future__ import annotations

import ast
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.core import TyperArgument, TyperCommand, TyperGroup

ROOT = Path(__file__).resolve().parents[2]


def _paragraphs(text: str | None) -> str:
    """Return a help text as Markdown: paragraphs kept, line breaks within them taken away."""
    blocks = (text or "").split("\n\n")
    return "\n\n".join(" ".join(block.replace("\b", "").split()) for block in blocks)


def command_text(name: str, command: TyperCommand | TyperGroup) -> str:
    """Return one command as Markdown: its help, then a row for each argument and option, or its commands."""
    heading = f"{'###' if ' ' in name else '##'} hews {name}\n\n{_paragraphs(command.help)}\n"
    if isinstance(command, TyperGroup):
        return "\n".join([heading, *(command_text(f"{name} {part}", one) for part, one in command.commands.items())])
    rows = []
    for parameter in command.params:
        is_argument = isinstance(parameter, TyperArgument)
        names = [] if is_argument else [", ".join([*parameter.opts, *parameter.secondary_opts])]
        written = " ".join([*names, parameter.metavar or (str(parameter.name).upper() if is_argument else "")])
        meaning = " ".join((parameter.help or "").split())
        if isinstance(parameter.default, str | int | Path) and parameter.default is not False:
            meaning += f" Default: `{parameter.default}`." if parameter.show_default else ""
        cells = (f"`{written.strip()}`", meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([heading, ":::{container} options", "| | |", "|---|---|", *rows, ":::", ""])


class Commands(SphinxDirective):
    """Every command of `hews` as its own help describes it."""

    def run(self) -> list[nodes.Node]:
        from typer.main import get_command

        from hews_gpu.cli.commands import app

        self.env.note_reread()  # no file of the site changes when a command does

        commands = get_command(app).commands
        text = "\n".join(command_text(name, commands[name]) for name in commands)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Packages(SphinxDirective):
    """The packages of `hews_gpu` with the first sentence of each one's docstring."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines = ["| package | what it is |", "|---|---|"]
        for path in sorted((ROOT / "hews_gpu").glob("*/__init__.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            first = " ".join(docstring.split("\n\n")[0].split())
            lines.append(f"| `{path.parent.name}` | {first} |".replace("``", "`"))
        return self.parse_text_to_nodes("\n".join(lines))


class Forecasters(SphinxDirective):
    """The forecasters by name."""

    def run(self) -> list[nodes.Node]:
        from hews_gpu.forecasters.registry import FORECASTERS

        self.env.note_reread()
        rows = [f"| `{name}` | {entry.title} |" for name, entry in FORECASTERS.items()]
        return self.parse_text_to_nodes("\n".join(["| name | what it is |", "|---|---|", *rows]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("commands", Commands)
    app.add_directive("forecasters", Forecasters)
    app.add_directive("packages", Packages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
