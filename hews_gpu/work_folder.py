"""The work folder of a long job: what each partition left, so that a job that was cut off can be resumed.

Every worker sees the folder; what travels between them and the leading process is a partition's number. A partition is
done when its last file is there, which is renamed into place whole; doing one twice does no harm. The folder is hidden
beside the output, private to the user, and is removed when that is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from hews_gpu.errors import UserError
from hews_gpu.files import atomic_file, disk_full_is_a_user_error, locked, open_private
from hews_gpu.progress import log
from hews_gpu.workers import Unfinished

__all__ = ["code_digest", "open_work_folder", "read_object", "read_shared", "write_object"]

ABOUT, LOCK = "about.json", "lock"
DECIDING = ("numpy", "pandas", "pyarrow", "numba", "shapely", "scipy", "scikit-learn", "torch")
"""Libraries whose version may decide a result's last bit."""


@cache
def code_digest() -> str:
    """Return a digest of this package's sources and of the libraries under it: what is resumed was made by the same."""
    package = Path(__file__).parent
    kernels = (package / "kernels").resolve()  # a link in a source tree, which is not followed
    digest = hashlib.sha256()
    for folder in (package, kernels):
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    for name in DECIDING:
        with suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()


@contextmanager
def open_work_folder(out: Path, about: dict[str, Any], *, resume: bool, keep: bool) -> Iterator[Path]:
    """Yield the work folder of `out`, locked; it is removed when the block ends, unless the job was cut off.

    Args:
        out: the output it belongs to.
        about: what the job's partitions depend on; other than in an older folder, nothing of that is used.
        resume: go on with what an older one holds; without, it is emptied.
        keep: whether the folder outlives Ctrl-C as well.

    Raises:
        UserError: another process is at work in it, it is not private to this user, or it cannot be written.
    """
    folder = out.absolute().parent / f".{out.name}.work"
    taken = UserError("--out", out, allowed="is being made by another process", remedy="Wait for it")
    with ExitStack() as after_the_lock, disk_full_is_a_user_error(out), locked(folder / LOCK, taken, private=True):
        _begin(folder, about, resume=resume)
        is_kept = False
        try:
            yield folder
        except BaseException as error:
            is_kept = isinstance(error, Unfinished) or (keep and not isinstance(error, UserError | OSError))
            raise
        finally:
            if is_kept:
                log(f"what is done is kept in {folder}; the same command with --resume goes on")
            else:
                after_the_lock.callback(shutil.rmtree, _put_aside(folder), ignore_errors=True)


def _begin(folder: Path, about: dict[str, Any], *, resume: bool) -> None:
    """Empty a folder that is of no use, and say so if its use was asked for."""
    path, digest = folder / ABOUT, hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    is_same = path.is_file() and path.read_bytes() == digest.encode()
    if resume and not is_same:
        why = "its files or settings have changed since" if path.is_file() else "nothing of an earlier run was kept"
        log(f"--resume: {why}; everything is done anew")
    if not (resume and is_same):
        _empty(folder)
        path.write_text(digest)


def _put_aside(folder: Path) -> Path:
    """Empty the folder and rename it, so that no process begins in it; return its new place, to be removed."""
    aside = folder.with_name(f"{folder.name}.{uuid4().hex}")
    with suppress(OSError):  # an error of the job is told, not that its folder cannot be removed
        _empty(folder)
        folder.rename(aside)
    return aside


def _empty(folder: Path) -> None:
    """Remove what is in the folder, through its descriptor: no link leads to anything else."""
    descriptor = open_private(folder)
    try:
        for entry in list(os.scandir(descriptor)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, ignore_errors=True, dir_fd=descriptor)
            elif entry.name != LOCK:
                os.unlink(entry.name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def write_object(path: Path, content: Any) -> None:
    """Write an object for another process, whole or not at all."""
    with atomic_file(path, durable=False) as partial, open(partial, "wb", opener=_own) as file:
        pickle.dump(content, file, protocol=pickle.HIGHEST_PROTOCOL)


def _own(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o600)


def read_object(path: Path) -> Any:
    """Read what `write_object` wrote.

    Reading runs what the writer says, so that a file of anyone else is never read: not even one that was put where the
    folder was, after this was looked at.

    Raises:
        UserError: another user wrote it, or may have.
    """
    with open(path, "rb", opener=_own) as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            remedy = "Remove its folder, and start anew without --resume"
            raise UserError(str(path), allowed="may have been written by another user", remedy=remedy)
        return pickle.load(file)


def read_shared(path: Path) -> Any:
    """Read what all partitions of a job share, once in each process."""
    return _read_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_once(path: Path, modified_ns: int) -> Any:
    del modified_ns
    return read_object(path)
