"""The shipped job files and the site's settings: what a site's file says, and the exact text of a job.

The site's settings are one Bash file, read here by Bash itself, so that a job and `hews submit` never disagree. A job
is a shipped file with the options, settings and arguments of a submission written in: it needs nothing from the
environment it is submitted from, and can be submitted again by hand as it is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hews_gpu.errors import UserError, printable

__all__ = ["SHIPPED", "Options", "Site", "job_text", "read_site"]

SHIPPED = Path(__file__).absolute().parent.parent / "slurm"
"""The folder of job files; in a checkout a link to its folder slurm/."""
SITE = "site.env"
PREFIXES = ("HEWS_", "SBATCH_")
READING_S = 20
DIRECTIVE = "#SBATCH --"
Options = Mapping[str, str | int | None]
"""Options of sbatch, by long name; an empty text makes a flag, None takes one of the file away."""


@dataclass(frozen=True)
class Site:
    """What a site's file says."""

    path: Path
    values: Mapping[str, str]

    def options(self, *, gpu: bool) -> dict[str, str]:
        """Return the options of sbatch that the site decides; without a partition the cluster has its own default."""
        cpu = None if gpu else self.values.get("HEWS_CPU_PARTITION")
        options = {"partition": cpu or self.values.get("SBATCH_PARTITION"), "mem": self.values.get("HEWS_MEMORY")}
        options |= {name: self.values.get(f"SBATCH_{name.upper()}") for name in ("account", "qos", "constraint")}
        return {name: value for name, value in options.items() if value}


def read_site(path: Path | None = None) -> Site:
    """Read a site's settings.

    Args:
        path: the file; unless given HEWS_SITE, slurm/site.env of the working folder, or the one that came with hews.

    Raises:
        UserError: it does not exist, or Bash does not understand it.
    """
    path = _site_file(path)
    script = 'set -a; . "$1" >&2 && set +a && env -0'
    command = ["bash", "--noprofile", "--norc", "-c", script, "bash", str(path)]
    # without what the file may set: the values then come from the file
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=READING_S, check=False, env=environment)
    except subprocess.TimeoutExpired:
        remedy = "What takes long belongs into its function hews_setup, which only jobs call"
        raise UserError("--site", path, allowed=f"takes more than {READING_S} s to read", remedy=remedy) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        remedy = "It is a Bash file; compare it with the shipped one"
        raise UserError("--site", path, allowed=f"cannot be read ({lines[-1]})", remedy=remedy)
    pairs = (entry.partition("=") for entry in done.stdout.decode(errors="replace").split("\0"))
    return Site(path, {name: value for name, _, value in pairs if name.startswith(PREFIXES)})


def _site_file(path: Path | None) -> Path:
    named = path or (Path(os.environ["HEWS_SITE"]) if os.environ.get("HEWS_SITE") else None)
    if named is None:
        here = Path("slurm") / SITE
        return here.absolute() if here.is_file() else SHIPPED / SITE
    if not named.is_file():
        remedy = f"Copy one from {SHIPPED} and edit it"
        raise UserError("--site" if path else "HEWS_SITE", named, allowed="is not a file", remedy=remedy)
    return named.absolute()


def job_text(name: str, *, options: Options, settings: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Fill in a job file.

    Args:
        name: of the shipped file, without ``.sbatch``.
        options: of sbatch; they replace the file's.
        settings: environment of the job.
        arguments: what the file would be given after its name.
    """
    lines = (SHIPPED / f"{name}.sbatch").read_text(encoding="utf-8").splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith(DIRECTIVE))
    head: dict[str, str | None] = {_option(line): line for line in lines[: last + 1]}
    for key, value in options.items():
        head[key] = None if value is None else f"{DIRECTIVE}{key}" + (f"={_word(key, value)}" if value != "" else "")
    exports = [f"export {key}={shlex.quote(value)}" for key, value in settings.items()]
    written = ["", "# Written in by `hews submit`.", *exports, f"set -- {shlex.join(arguments)}", ""]
    return "\n".join([*filter(None, head.values()), *written, *lines[last + 1 :]]) + "\n"


def _option(line: str) -> str:
    """Return the name of the option that a line sets; any other line is its own name."""
    return line.removeprefix(DIRECTIVE).partition("=")[0] if line.startswith(DIRECTIVE) else line


def _word(key: str, value: str | int) -> str:
    """Return a value as sbatch reads it: in quotes, it is one word.

    Raises:
        UserError: it would end the line, and what follows would run as a command.
    """
    text = str(value)
    if printable(text) != text or "\n" in text:
        allowed = "must not have line breaks or control characters"
        raise UserError(f"#SBATCH --{key}", text, allowed=allowed, remedy="Rename the folder, or give another --out")
    if any(c.isspace() or c in "\"'\\#" for c in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
