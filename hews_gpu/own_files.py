"""Our own JSON, CSV and TOML, read in one place and checked whole before anything is made of them.

A file that is cut off, no text, nested without end, lacks a key, or holds a value of the wrong type or a number that is
none is refused with one line that names the file, the key, the value and the remedy.

A schema is a type (datetime: text of a date, to the month or finer), a list of one schema, a tuple of as many as it
repeats one, or names with schemas: a name that ends in ? may be missing or null, and * stands for every other name (*?
for those that may be null). What is more than the schema is left alone: a newer version may have written it.
"""

from __future__ import annotations

import csv
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError

__all__ = ["check", "named", "parse_json", "parse_toml", "read_json", "read_rows", "read_text"]

MAX_CHARACTERS = 1 << 28
MAX_DEPTH = 64  # ours are at most 12 deep; Python gives up at about 1,000
BELOW = 2**63  # larger whole numbers end in errors of NumPy, pandas, torch or float()
ISO = re.compile(r"[12]\d{3}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?)?")  # local, as NumPy reads it, too
NAMED = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    datetime: "a date",
}


def read_text(file: Path, remedy: str = "") -> str:
    """Read a text file.

    Raises:
        UserError: it is missing, cannot be read, too large, or not UTF-8; `remedy` says what to do.
    """
    try:
        with file.open(encoding="utf-8-sig") as content:  # a byte order mark is what some editors begin with
            text = content.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise UserError(str(file), allowed="does not exist", remedy=remedy) from None
    except OSError as error:
        raise UserError(str(file), allowed=f"cannot be read ({error.strerror})", remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(str(file), allowed=f"is not UTF-8 text ({error.reason})", remedy=remedy) from None
    if len(text) > MAX_CHARACTERS:
        raise UserError(str(file), allowed=f"holds more than {MAX_CHARACTERS:,} characters", remedy=remedy)
    return text


def read_json(file: Path, schema: Any = dict, *, remedy: str = "") -> Any:
    """Read a JSON file; raises `UserError` where it is not as its schema says."""
    return parse_json(read_text(file, remedy), str(file), schema, remedy=remedy)


def parse_json(text: str | bytes, file: str, schema: Any = dict, *, remedy: str = "") -> Any:
    """Return the content of a JSON text; `file` is what to call it."""
    content = _load(json.loads, text, file, "JSON", remedy)
    check(content, schema, file, remedy)
    return content


def parse_toml(text: str, file: str) -> dict[str, Any]:
    """Return the content of a TOML text; `file` is what to call it."""
    content: dict[str, Any] = _load(tomllib.loads, text, file, "valid TOML", "")
    return content


def _load(load: Callable[[Any], Any], text: Any, file: str, kind: str, remedy: str) -> Any:
    """Return the content of a text that is of its kind, and plain."""
    try:
        content = load(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(file, allowed=f"is not {kind} ({why})", remedy=remedy) from None
    if isinstance(content, dict | list):
        _require_plain(content, file, remedy)
    return content


def read_rows(file: Path, schema: dict[str, Any], *, remedy: str = "") -> list[dict[str, Any]]:
    """Read a CSV file as one object per line, without the cells that are blank; numbers are what is not text."""
    try:
        heading, *lines = list(csv.reader(read_text(file, remedy).splitlines(), strict=True)) or [[]]
    except csv.Error as error:
        raise UserError(str(file), allowed=f"is not CSV ({error})", remedy=remedy) from None
    check(dict.fromkeys(heading, ""), dict.fromkeys(schema, object), str(file), remedy)
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(heading):
            allowed = f"holds {len(cells)} cells, must hold {len(heading)}"
            raise UserError(f"{file}: line {number}", allowed=allowed, remedy=remedy)
        row = {name: _number(cell, _part(schema, name)) for name, cell in zip(heading, cells, strict=True) if cell}
        _require_plain({f"line {number}": row}, str(file), remedy)
        check(row, schema, str(file), remedy, f"line {number}")
        rows.append(row)
    return rows


def _part(schema: dict[str, Any], key: str) -> Any:
    """Return the schema of what a key holds."""
    return next((schema[name] for name in (key, f"{key}?", "*", "*?") if name in schema), object)


@contextmanager
def named(file: str, example: str = "") -> Iterator[None]:
    """Name the file in what the block refuses of its content, and where an example shows the key that is missing."""
    try:
        yield
    except UserError as error:
        remedy = f"Add it; {example}" if example and error.allowed == "is missing" else error.remedy
        raise UserError(f"{file}: {error.field}", error.value, allowed=error.allowed, remedy=remedy) from None


def _number(cell: str, schema: Any) -> Any:
    """Return a cell of a column of numbers as one, if it is; as text it will not fit the schema."""
    try:
        return schema(cell)
    except ValueError:
        return cell


def _parts(value: Any, way: str) -> Iterator[tuple[str, Any]]:
    """Yield what an object or a list holds, each with the way to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield f"{way}.{key}" if way else str(key), one


def _require_plain(content: Any, file: str, remedy: str) -> None:
    """Refuse what the formats can write and none of our files holds: it would end in errors far from here."""
    if (fault := _first_fault(content, MAX_DEPTH)) is not None:
        way, value, allowed = fault
        shown = value if isinstance(value, str | float) else None
        raise UserError(f"{file}: {'.'.join(way)}", shown, allowed=allowed, remedy=remedy)


def _first_fault(content: Any, depth: int) -> tuple[list[str], Any, str] | None:
    """Return the way to what is wrong whatever it is for, what it is, and what is allowed."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if allowed := _fault(key, depth) or _fault(value, depth):
            return [str(key)], value, allowed
        if isinstance(value, dict | list) and (inner := _first_fault(value, depth - 1)) is not None:
            return [str(key), *inner[0]], *inner[1:]
    return None


def _fault(value: Any, depth: int) -> str:
    """Return what is wrong with a value whatever it is for."""
    if isinstance(value, str) and ("\0" in value or value.encode(errors="replace").decode() != value):
        return "must hold characters alone"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and abs(value) >= BELOW:
        return "must be a number below 2**63"
    return "" if depth or not isinstance(value, dict | list) else "is nested too deeply"


def check(value: Any, schema: Any, file: str, remedy: str = "", way: str = "") -> None:
    """Refuse a value that is not as its schema says.

    Args:
        value: what was read.
        schema: as this module's first lines say.
        file: what the file is called.
        remedy: what to do.
        way: the keys from the file's top to the value.

    Raises:
        UserError: names the file and the key.
    """
    if isinstance(schema, dict):
        check(value, dict, file, remedy, way)
        lacking = [name for name in schema if name[-1] not in "?*" and name not in value]
        for inner, _ in _parts(dict.fromkeys(lacking), way):
            raise UserError(f"{file}: {inner}", allowed="is missing", remedy=remedy)
        for key, (inner, one) in zip(value, _parts(value, way), strict=True):
            if one is not None or key in schema or ("*" in schema and f"{key}?" not in schema):
                check(one, _part(schema, key), file, remedy, inner)
    elif isinstance(schema, list | tuple):
        check(value, list, file, remedy, way)
        if isinstance(schema, tuple) and len(value) != len(schema):
            raise UserError(f"{file}: {way}", value, allowed=f"must hold {len(schema)} values", remedy=remedy)
        for inner, one in _parts(value, way):
            check(one, schema[0], file, remedy, inner)
    elif not _fits(value, schema):
        raise UserError(f"{file}: {way}" if way else file, value, allowed=f"must be {NAMED[schema]}", remedy=remedy)


def _fits(value: Any, schema: Any) -> bool:
    """Return whether a value is of a type; true and false are no numbers, a date is text."""
    if schema is datetime:
        try:
            return bool(ISO.fullmatch(value) and datetime.fromisoformat(value if value[7:] else f"{value}-01"))
        except (TypeError, ValueError):
            return False
    if isinstance(value, bool):
        return schema in (bool, object)
    return isinstance(value, int | float if schema is float else schema)
