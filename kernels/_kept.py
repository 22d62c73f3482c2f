"""Compiled CPU kernels are kept on disk, so that a process starts in a tenth of a second instead of some seconds.

The compiler's own store looks at the file of a kernel only, not at the functions of other files that are compiled into
it: a change in those would go unseen. So every state of this package's sources, of the compiler and of Python has a
folder of its own, and a change of any of them compiles anew. What depends on the processor the compiler tells apart
itself, so that the machines of a cluster may share the folder. Content there is code: it must be the user's own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numba

__all__ = ["VARIABLE", "folder_of_kernels"]

VARIABLE = "HEWS_KERNEL_CACHE"
"""Environment: the folder to keep them in, or 0 to keep none. Otherwise the compiler's or the user's cache folder."""
STATES = 4  # of the sources: older ones are removed


@lru_cache(1)
def folder_of_kernels() -> str | None:
    """The folder for kernels of the sources as they are now; None: none can be kept."""
    root = _root()
    if root is None:
        return None
    folder = root / _state()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return None
    if not os.access(folder, os.W_OK | os.X_OK) or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        return None
    _remove_old(root)
    return str(folder)


def _root() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named == "0":
        return None
    if named:
        return Path(named)
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / "hews-gpu"
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return Path(cache) / "hews-gpu" / "kernels"


def _state() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {version('llvmlite')} {sys.version}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _remove_old(root: Path) -> None:
    """Leave the states that were used last."""
    with suppress(OSError):
        states = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
        for path in states[STATES:]:
            shutil.rmtree(path, ignore_errors=True)
