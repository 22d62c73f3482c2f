"""The one page: blocks of content, sections of blocks, parts of sections, and the template that shows them.

A section is made of plain values: text stays text until Jinja2 escapes it, so that a name from a file is never markup.
Only figures are `Markup`; they are drawn and escaped in `style`. The page's own content policy forbids scripts and
every address but data URIs, so that it stays what it is wherever it is opened. `look` is a CSS class throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import ClassVar

from markupsafe import Markup

from hews_gpu import __version__
from hews_gpu.report.style import DARK, ID, LIGHT, css_variables

GENERATOR = f"HEWS-GPU {__version__}"
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
    look: str = ""  # "group" is a heading over the rows that follow
    bar: float | None = None  # percent of the width of the last column


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str
    look: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing with its title, its legend and its caption; with the look "scroll" it never shrinks."""

    kind: ClassVar[str] = "figure"
    title: str
    drawing: Markup
    caption: str = ""
    key: Sequence[Key] = ()
    look: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under heads; `folded` shows no more than the caption until it is opened."""

    kind: ClassVar[str] = "table"
    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]
    folded: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values; a name may be empty."""

    kind: ClassVar[str] = "facts"
    title: str
    pairs: Sequence[tuple[str, str]]
    look: str = "facts"


@dataclass(frozen=True)
class Code:
    """Text to be copied."""

    kind: ClassVar[str] = "code"
    title: str
    text: str


@dataclass(frozen=True)
class Legend:
    """What the lines of the figures that follow stand for."""

    kind: ClassVar[str] = "legend"
    key: Sequence[Key]


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
class Gallery:
    """Small pictures side by side over a legend."""

    kind: ClassVar[str] = "gallery"
    title: str
    pictures: Sequence[Picture]
    caption: str
    key: Sequence[Key] = ()


@dataclass(frozen=True)
class Verdict:
    """What came out, in a sentence, with what else is to be said; its tone is good, flat or bad."""

    kind: ClassVar[str] = "verdict"
    sentence: str
    tone: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where there is room: a pair or three."""

    kind: ClassVar[str] = "columns"
    blocks: Sequence[Block]
    look: str = "pair"


@dataclass(frozen=True)
class Prose:
    """Text that is the same on every page, from a template."""

    kind: ClassVar[str] = "prose"
    template: str


Block = Text | Figure | Table | Facts | Code | Legend | Gallery | Verdict | Columns | Prose


@dataclass(frozen=True)
class Section:
    """One question and its answer; `id` is unique within the part."""

    id: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Part:
    """The sections of one result; `id` and `title` are for a page of several parts."""

    sections: Sequence[Section]
    id: str = ""
    title: str = ""
    about: str = ""
    blocks: Sequence[Block] = ()


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
    made: str = field(default_factory=lambda: datetime.now(UTC).strftime("%-d %B %Y"))


def render(page: Page) -> str:
    """Return the page as HTML; every text is escaped but what is `Markup` already."""
    import jinja2

    loader, numbers = jinja2.PackageLoader("hews_gpu.report"), count(1)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["own_ids"] = lambda drawing: Markup(str(drawing).replace(ID, f"fig{next(numbers)}-"))
    css = Markup(loader.get_source(environment, "style.css")[0])
    colors = {"light": css_variables(LIGHT), "dark": css_variables(DARK)}
    return environment.get_template("page.html.j2").render(page=page, css=css, generator=GENERATOR, **colors)
