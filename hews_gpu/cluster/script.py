"""The exact text of a job: a shipped job file, with the options, settings and arguments of this submission written in.

What comes out needs nothing from the environment it is submitted from, and can be submitted again by hand as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from hews_gpu.cluster.site import SHIPPED

__all__ = ["job_text"]

DIRECTIVE = "#SBATCH --"


def job_text(
    name: str, *, options: Mapping[str, str | int | None], settings: Mapping[str, str], arguments: Sequence[str]
) -> str:
    """Fill in a job file.

    Args:
        name: of the shipped file, without ``.sbatch``.
        options: of sbatch, by long name; they replace the file's, an empty text makes a flag, None takes one away.
        settings: environment of the job.
        arguments: what the file would be given after its name.
    """
    lines = (SHIPPED / f"{name}.sbatch").read_text(encoding="utf-8").splitlines()
    given = [line.removeprefix(DIRECTIVE).partition("=")[0] for line in lines if line.startswith(DIRECTIVE)]
    last = max(i for i, line in enumerate(lines) if line.startswith(DIRECTIVE))
    added = [_directive(key, value) for key, value in options.items() if key not in given and value is not None]
    exports = [f"export {key}={shlex.quote(value)}" for key, value in settings.items()]
    head = [_replaced(line, options) for line in lines[: last + 1]]
    written = ["", "# Written in by `hews submit`.", *exports, f"set -- {shlex.join(arguments)}", ""]
    return "\n".join([*(line for line in head if line is not None), *added, *written, *lines[last + 1 :]]) + "\n"


def _replaced(line: str, options: Mapping[str, str | int | None]) -> str | None:
    """A line of the head, with the value that `options` has for it; None if it is to go."""
    key = line.removeprefix(DIRECTIVE).partition("=")[0]
    if not line.startswith(DIRECTIVE) or key not in options:
        return line
    value = options[key]
    return None if value is None else _directive(key, value)


def _directive(key: str, value: str | int) -> str:
    return f"{DIRECTIVE}{key}" if value == "" else f"{DIRECTIVE}{key}={value}"
