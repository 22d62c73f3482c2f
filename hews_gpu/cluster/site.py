"""The site's settings: one Bash file, read here by Bash itself, so that a job and `hews submit` never disagree."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hews_gpu.errors import UserError

__all__ = ["SHIPPED", "Site", "read_site"]

SHIPPED = Path(__file__).absolute().parent.parent / "slurm"
"""The folder of job files; in a checkout a link to its folder slurm/."""
SITE = "site.env"
PREFIXES = ("HEWS_", "SBATCH_")
READING_S = 20


@dataclass(frozen=True)
class Site:
    """What a site's file says."""

    path: Path
    values: Mapping[str, str]

    def partition(self, *, gpu: bool) -> str | None:
        """Where to send a job; None: the cluster's own default, or what SBATCH_PARTITION says in the environment."""
        cpu = None if gpu else self.values.get("HEWS_CPU_PARTITION")
        return cpu or self.values.get("SBATCH_PARTITION") or None

    def options(self, *, gpu: bool) -> dict[str, str]:
        """The options of sbatch that the site decides."""
        found = {"partition": self.partition(gpu=gpu)}
        found |= {name: self.values.get(f"SBATCH_{name.upper()}") for name in ("account", "qos", "constraint")}
        found["mem"] = self.values.get("HEWS_MEMORY")
        return {name: value for name, value in found.items() if value}


def read_site(path: Path | None = None) -> Site:
    """Read a site's settings.

    Args:
        path: the file; unless given HEWS_SITE, slurm/site.env of the working folder, or the one that came with hews.

    Raises:
        UserError: it does not exist, or Bash does not understand it.
    """
    path = _find(path)
    script = 'set -a; . "$1" >&2 && set +a && env -0'
    command = ["bash", "--noprofile", "--norc", "-c", script, "bash", str(path)]
    try:
        found = subprocess.run(command, capture_output=True, timeout=READING_S, check=False, env=_without_ours())
    except subprocess.TimeoutExpired:
        remedy = "What takes long belongs into its function hews_setup, which only jobs call"
        raise UserError("--site", path, allowed=f"takes more than {READING_S} s to read", remedy=remedy) from None
    if found.returncode:
        said = found.stderr.decode(errors="replace").strip().splitlines()
        remedy = "It is a Bash file; compare it with the shipped one"
        raise UserError("--site", path, allowed=f"cannot be read ({said[-1] if said else 'no message'})", remedy=remedy)
    pairs = (entry.partition("=") for entry in found.stdout.decode(errors="replace").split("\0"))
    return Site(path, {name: value for name, _, value in pairs if name.startswith(PREFIXES)})


def _find(path: Path | None) -> Path:
    named = path or (Path(os.environ["HEWS_SITE"]) if os.environ.get("HEWS_SITE") else None)
    if named is not None:
        if not named.is_file():
            remedy = f"Copy one from {SHIPPED} and edit it"
            raise UserError("--site" if path else "HEWS_SITE", named, allowed="is not a file", remedy=remedy)
        return named.absolute()
    here = Path("slurm") / SITE
    return here.absolute() if here.is_file() else SHIPPED / SITE


def _without_ours() -> dict[str, str]:
    """The environment without what the file may set: what is found then comes from the file."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
