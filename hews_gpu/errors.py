"""The errors a user can cause, as one line that says what is wrong and what to do about it.

The command line turns every `UserError` into a single line on standard error and exit code 2. Anything else that
escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any
from unicodedata import category

__all__ = ["EXIT_USER_ERROR", "STOPPED", "UserError", "did_you_mean", "printable"]

EXIT_USER_ERROR = 2
STOPPED = "stopped before the end; nothing half-written was left."

STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters, surrogates, and separators of lines and paragraphs."""


class UserError(ValueError):
    """A mistake in what the user gave us: names the field, its value, what is allowed, and the remedy.

    Args:
        field: what is wrong, as the user knows it: ``[windows] stride_s``, ``--out``, a file's name.
        value: what was given; shown with ``repr`` unless it is None (then there is nothing to show).
        allowed: what would have been accepted.
        remedy: what to do next.
    """

    def __init__(self, field: str, value: object = None, *, allowed: str, remedy: str = "") -> None:
        self.field, self.value, self.allowed, self.remedy = field, value, allowed, remedy
        got = "" if value is None else f" = {_short(value)}"
        tail = f" {_sentence(remedy)}" if remedy else ""
        super().__init__(printable(" ".join(f"{field}{got}: {_sentence(allowed)}{tail}".split())))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it goes to another process and back: a worker's mistake is told like one found here."""
        return _again, (type(self), self.field, self.value, self.allowed, self.remedy)


def _again(kind: type[UserError], field: str, value: object, allowed: str, remedy: str) -> UserError:
    return kind(field, value, allowed=allowed, remedy=remedy)


def printable(text: str) -> str:
    r"""Return text for a terminal: what would steer it, as a name in a table may, is written as \x1b and the like."""
    return "".join(
        c.encode("unicode_escape").decode() if category(c) in STEERING and c not in "\n\t" else c for c in text
    )


def _sentence(text: str) -> str:
    """Text that ends as a sentence does."""
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def _short(value: object, limit: int = 120) -> str:
    """`repr` of a value, cut so that the message stays one readable line."""
    text = repr(value) if not hasattr(value, "__fspath__") else f"'{value}'"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt word: the nearest known one, or else the list of all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}"
