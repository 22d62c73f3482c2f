"""Compiled CPU kernels on disk, so that a process loads one in half a second instead of compiling for three.

The compiler's own store looks at the file of a kernel only, not at the functions of other files that are compiled into
it: a change in those would go unseen. So every state of this package's sources, of the compiler and its settings, of
NumPy, Python and the processor has a folder of its own, and a change of any of them compiles anew. One process at a
time reads or writes a kernel, and one that cannot goes on without. What lies there is run: it must be the user's own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["VARIABLE", "cache_on_disk", "kernel_folder"]

VARIABLE = "HEWS_KERNEL_CACHE"
"""Environment variable: the folder to use, or 0 for none. Otherwise the compiler's or the user's cache folder."""
OURS = "hews-gpu-kernels"
STATES = 8
"""How many are kept, those that were used last."""
STATE = re.compile(r"[0-9a-f]{24}")
IRRELEVANT = re.compile(r"NUMBA_(CACHE_|NUM_THREADS|THREADING_LAYER)")
SETTING = Lock()  # the compiler takes the folder from a variable that all threads share


def cache_on_disk(dispatcher: Any) -> None:
    """Have a kernel loaded from the folder where it is there, and saved there once it was compiled."""
    folder = kernel_folder()
    if folder is None:
        return
    with SETTING:
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, folder
        try:
            dispatcher._cache = _DiskCache(dispatcher.py_func)
        finally:
            numba.config.CACHE_DIR = before


class _DiskCache(FunctionCache):  # type: ignore[misc]
    """The compiler's cache, whose failures never end a run."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the saved code, or None if there is none that can be used; damaged files are removed."""
        with suppress(Exception), self._locked():  # a file that is damaged fails in any way
            try:
                return super().load_overload(sig, target_context)
            except Exception:
                self.flush()
                raise
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save it, unless the disk is full or the folder has gone."""
        with suppress(OSError), self._locked():
            super().save_overload(sig, data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from reading or writing this kernel: an index and the code it names are two files."""
        folder = Path(self.cache_path)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / f"{self._impl.filename_base}.lock").open("w") as lock:
            with suppress(OSError):  # some file systems of clusters have no locks
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@lru_cache(1)
def kernel_folder() -> str | None:
    """Return the folder for kernels of the sources as they are now; None if none can be saved."""
    root = _root()
    if root is None:
        return None
    folder = root / _state()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return None
    if not os.access(folder, os.W_OK | os.X_OK) or not _is_ours(folder):
        return None
    _remove_old(root)
    return str(folder)


def _root() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named == "0":
        return None
    if named:
        return Path(named) / OURS
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / OURS
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return Path(cache) / OURS


def _state() -> str:
    import llvmlite.binding as llvm

    settings = sorted(pair for pair in os.environ.items() if pair[0].startswith("NUMBA_"))
    parts = [numba.__version__, version("llvmlite"), np.__version__, sys.version, llvm.get_host_cpu_name()]
    parts += [llvm.get_host_cpu_features().flatten()]
    parts += [f"{name}={value}" for name, value in settings if not IRRELEVANT.match(name)]
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and (not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid())


def _remove_old(root: Path) -> None:
    """Remove all but the states that were used last; leave everything that is no state."""
    with suppress(OSError):
        states = [path for path in root.iterdir() if STATE.fullmatch(path.name) and path.is_dir() and _is_ours(path)]
        for path in sorted(states, key=lambda path: -path.stat().st_mtime)[STATES:]:
            shutil.rmtree(path, ignore_errors=True)
