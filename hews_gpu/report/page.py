"""The one page: blocks, sections of blocks, parts of sections, and the template that shows them.

A block is made of plain values: text stays text until Jinja2 escapes it, so that a name from a file is never markup.
Only figures are `Markup`; they are drawn and escaped in `style`. What is the same on every page, titles, captions and
heads of tables, is in ``text.toml``, by the kind and the name of the block. The page's own content policy forbids
every address but data URIs, and every script but the page's own, which it knows by their hashes, so that it stays what
it is wherever it is opened.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from itertools import count
from typing import Any

from markupsafe import Markup

from hews_gpu import __version__
from hews_gpu.report.style import DARK, ID, LIGHT, css_variables

GENERATOR = f"HEWS-GPU {__version__}"
TEXT = tomllib.loads(resources.files("hews_gpu.report").joinpath("text.toml").read_text(encoding="utf-8"))
Cell = str | Sequence[str]
"""What a cell shows; of several texts those after the first are set smaller, below it."""


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a color by its role or as #rrggbb, and what it stands for."""

    color: str
    label: str
    line: str = ""  # a CSS border style, where it is the color of a line and not of a surface
    mark: str = ""  # the character that looks like the line's marks
    detail: str = ""

    @property
    def css(self) -> str:
        """The color as CSS has it."""
        return self.color if self.color.startswith("#") else f"var(--{self.color})"


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    cells: Sequence[Cell]
    note: str = ""
    look: str = ""  # a CSS class; "group" is a heading over the rows that follow
    bar: float | None = None  # percent of the width of the last column
    at: int | None = None  # the moment it is about, in local seconds, which a page that moves can be moved to
    below: str = ""  # a paragraph under the row


@dataclass(frozen=True)
class Picture:
    """One small picture, as a data URI, with what it shows."""

    image: str
    title: str
    caption: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Block:
    """One piece of the page; made by the functions below, one for each kind."""

    kind: str
    name: str
    content: Any = None
    key: Sequence[Key] = ()
    values: Mapping[str, str] = field(default_factory=dict)  # what is filled into its words

    def words(self, part: str) -> str:
        """Return its title, caption, lead, text or look."""
        return str(TEXT.get(self.kind, {}).get(self.name, {}).get(part, "")).format(**self.values)

    def own(self, part: str) -> Any:
        """Return what ``text.toml`` says of it that is no text: heads, folded."""
        return TEXT[self.kind][self.name].get(part)


def _made(kind: str, name: str, content: Any = None, key: Sequence[Key] = (), **values: str) -> Block:
    return Block(kind, name, content, key, values)


text = partial(_made, "text")
"""A paragraph."""
figure = partial(_made, "figure")
"""A drawing with its title, its legend and its caption."""
facts = partial(_made, "facts")
"""A card of pairs of name and value; a name may be empty."""
gallery = partial(_made, "gallery")
"""A row of small pictures over a legend."""
code = partial(_made, "code")
"""A folded text to be copied, under its title."""
prose = partial(_made, "prose")
"""A template: a text that is the same on every page."""


def table(name: str, rows: Sequence[Row], heads: Sequence[str] = (), **values: str) -> Block:
    """Make a table; its heads are in ``text.toml`` unless given."""
    return Block("table", name, (heads or TEXT["table"][name]["heads"], rows), values=values)


def legend(key: Sequence[Key]) -> Block:
    """Make the legend of the figures that follow."""
    return Block("legend", "", key=key)


def columns(*blocks: Block, look: str = "pair") -> Block:
    """Put blocks side by side where there is room: a pair, or three."""
    return Block("columns", look, blocks)


def section(name: str, *blocks: Block, **values: str) -> Block:
    """Make one question and its answer; its name is its id, unique within the part."""
    return Block("section", name, blocks, values=values)


@dataclass(frozen=True)
class Verdict:
    """What came out, in a sentence, with what else is to be said; its tone is good, flat or bad."""

    sentence: str
    tone: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """The sections of one result; the rest is for a page of several parts."""

    sections: Sequence[Block]
    id: str = ""
    title: str = ""
    about: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page."""

    title: str
    kicker: str
    heading: str
    about: str
    verdict: Verdict
    parts: Sequence[Part]
    tiles: Sequence[tuple[str, str, str]] = ()  # name, number, note
    blocks: Sequence[Block] = ()
    foot: str
    css: str = ""  # beside the common one
    scripts: Sequence[str] = ()  # our own texts, in order; most pages have none
    data: Mapping[str, Any] = field(default_factory=dict)  # what the scripts read from the element `data`
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%-d %B %Y"))


def render(page: Page) -> str:
    """Return the page as HTML; every text is escaped but what is `Markup` already."""
    import jinja2

    loader, numbers = jinja2.PackageLoader("hews_gpu.report"), count(1)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["own_ids"] = lambda drawing: Markup(str(drawing).replace(ID, f"fig{next(numbers)}-"))
    values = {
        "css": Markup("\n".join([loader.get_source(environment, "style.css")[0], page.css])),
        "light": css_variables(LIGHT),
        "dark": css_variables(DARK),
        "scripts": [Markup(script) for script in page.scripts],
        "policy": Markup(_content_policy(page.scripts)),
        "data": _inert_json(page.data) if page.scripts else "",
    }
    return environment.get_template("page.html.j2").render(page=page, generator=GENERATOR, **values)


def _content_policy(scripts: Sequence[str]) -> str:
    """Return the page's content policy: nothing from elsewhere, and of scripts these and no others."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if not scripts:
        return policy
    assert not any("</script" in script.lower() or "<!--" in script for script in scripts)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"{policy}; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _inert_json(data: Mapping[str, Any]) -> Markup:
    """Return JSON that no HTML parser can take for an end or a beginning of anything."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
