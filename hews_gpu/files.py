"""Output that is whole or not there: folders and files are written under a temporary name and renamed at the end.

A run that is cut off by an error, a full disk or Ctrl-C leaves nothing that could be mistaken for a result. Every
output folder carries a manifest, `hews.json`; `--force` replaces only folders that have one, so that a mistyped path
never deletes a user's own files.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError

__all__ = ["MANIFEST", "atomic_file", "disk_full_is_a_user_error", "new_folder", "read_manifest", "write_json"]

MANIFEST = "hews.json"
NOT_WRITABLE = {getattr(errno, name) for name in "EACCES EPERM EROFS ENOTDIR EFBIG".split()}
"""What the system answers, at any moment, when it does not let us write."""
NOT_A_PLACE = {getattr(errno, name) for name in "EEXIST ENOENT EBUSY ENAMETOOLONG EISDIR EINVAL ELOOP".split()}
"""What it answers to a path where nothing can be made; while a job runs the same answers would be a defect of ours."""


@contextmanager
def new_folder(out: Path, *, kind: str, force: bool = False, notes: dict[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    Args:
        out: where the result goes; its parent is created.
        kind: what the folder holds (``prepared``, ``maps``, ...), recorded in the manifest.
        force: replace an existing folder of the same kind.
        notes: more for the manifest; may be filled in while the block runs.

    Raises:
        UserError: `out` exists and may not be replaced, cannot be written, or the disk is full.
    """
    out = out.absolute()
    require_free(out, kind=kind, force=force)
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    with disk_full_is_a_user_error(out, NOT_A_PLACE):
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        partial.mkdir()
    with disk_full_is_a_user_error(out), _held(partial):
        try:
            yield partial
            write_json(partial / MANIFEST, manifest(kind, notes or {}))
            _swap_in(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _held(partial: Path) -> Iterator[None]:
    """Hold a lock on a folder while it is filled; the system lets go of it however this process ends."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system has locks: then nothing is ever swept there
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sweep(out: Path) -> None:
    """Remove what a process that was killed has left of `out`: folders whose process is gone and that nobody holds."""
    for left in out.parent.glob(f".{glob.escape(out.name)}.partial-*"):
        if not (number := left.name.rpartition("-")[2]).isdigit() or Path(f"/proc/{number}").exists():
            continue
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while another machine fills it
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def require_free(out: Path, *, kind: str, force: bool) -> None:
    """Refuse an `out` that exists, unless `force` is given and it is an output of ours of the same kind."""
    with disk_full_is_a_user_error(out, NOT_A_PLACE):
        is_there, is_empty = out.exists(), out.is_dir() and not any(out.iterdir())
    if is_there and (out.is_mount() or out.resolve() == Path.cwd()):
        remedy = "Give a folder of its own, such as runs/prepared"
        raise UserError("--out", out, allowed="is the working folder or a mount point", remedy=remedy)
    if not is_there or is_empty:
        return
    if not force:
        raise UserError("--out", out, allowed="exists already", remedy="Give another folder, or --force to replace it")
    found = read_manifest(out).get("kind") if out.is_dir() else None
    if found != kind:
        what = "has no hews.json, so it is not an output of this program" if found is None else f"holds a '{found}'"
        remedy = "Remove it by hand or give another folder"
        raise UserError("--out", out, allowed=f"{what}; --force replaces only a '{kind}' folder", remedy=remedy)


def _swap_in(partial: Path, out: Path) -> None:
    """Rename `partial` to `out`; an older `out` is moved aside first and deleted last."""
    old = out.parent / f".{out.name}.old-{os.getpid()}"
    try:
        if out.exists():
            out.rename(old)
        partial.rename(out)
    except BaseException:  # also when stopped between the two: one of them must be there
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def manifest(kind: str, notes: dict[str, Any]) -> dict[str, Any]:
    """What every output folder says of itself: its kind, when, by which version and command, and `notes`."""
    from hews_gpu import __version__

    return {
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "command": ["hews", *sys.argv[1:]],
        **notes,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an output folder; empty if there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is flushed to disk and renamed to `path` when the block ends well.

    Raises:
        UserError: the disk is full or `path` cannot be written.
    """
    partial = path.parent / f".{path.name}.partial-{os.getpid()}"
    with disk_full_is_a_user_error(path):
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            _flush_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """See that a new name outlives a power failure, as the content behind it does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def disk_full_is_a_user_error(where: Path, more: Set[int] = frozenset()) -> Iterator[None]:
    """Turn what the operating system refuses (no space, no permission, `more`) into a one-line `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free some space or write elsewhere; nothing was kept of this run's output"
            raise UserError(str(where), allowed="the disk is full", remedy=remedy) from error
        if error.errno in NOT_WRITABLE | more:
            remedy = "Give a place you may write to"
            raise UserError(str(where), allowed=f"cannot be written ({error.strerror})", remedy=remedy) from error
        raise
