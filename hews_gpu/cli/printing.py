"""How results are shown on standard output: as one JSON object, or as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from hews_gpu.errors import printable

__all__ = ["print_json", "print_line", "print_table", "show", "tell"]


def print_json(content: Any) -> None:
    """Print one JSON object, in ASCII where standard output has no more."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=not is_unicode))


def print_line(text: str) -> None:
    """Print text that may hold names of the user's."""
    print(printable(text))


def tell(content: Any, text: str, as_json: bool) -> None:
    """Print a result as JSON, or the sentence that says it."""
    if as_json:
        print_json(content)
    else:
        print_line(text)


def show(
    title: str, result: Mapping[str, Any], as_json: bool, *, table: list[list[str]] | None = None, last: str = ""
) -> None:
    """Print a result as JSON, or as a table with `last` below it.

    Args:
        title: of the table.
        result: what is printed as JSON.
        as_json: as the user asked.
        table: rows of text, the heading first; unless given, the keys and values of a flat `result`.
        last: text below the table.
    """
    if as_json:
        print_json(result)
        return
    flat = [[key.replace("_", " "), _text(value)] for key, value in result.items()]
    print_table(title, [["", ""], *flat] if table is None else table)
    if last:
        print_line(f"\n{last}")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def print_table(title: str, rows: list[list[str]]) -> None:
    """Print rows of text; the first is the heading. Wide enough that nothing is cut when piped."""
    from rich.console import Console
    from rich.table import Table

    heading, *body = rows
    table = Table(title=printable(title), title_justify="left", show_header=any(heading))
    for i, column in enumerate(heading):
        table.add_column(
            printable(column), justify="left" if i == 0 or not _numeric(body, i) else "right", overflow="fold"
        )
    for row in body:
        table.add_row(*map(printable, row))
    console = Console(width=None if sys.stdout.isatty() else 140, markup=False, emoji=False)  # names are data
    console.print(table)


def _numeric(body: list[list[str]], column: int) -> bool:
    """Whether every cell of a column starts like a number."""
    return all(row[column].strip()[:1] in set("0123456789-+.") for row in body if row[column].strip())
