"""The work folder of a long job: what each partition left, so that a job that was cut off can go on.

Every worker sees the folder; what travels between them and the one that leads is a partition's number. A partition is
done when its last file is there, which is renamed into place whole; doing one twice does no harm. The folder is hidden
beside the output and vanishes with it done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from hews_gpu.errors import UserError
from hews_gpu.files import disk_full_is_a_user_error
from hews_gpu.progress import log
from hews_gpu.workers import Unfinished

__all__ = ["load", "open_work", "recall", "save"]

ABOUT = "about.json"
LOCK = "lock"
TRIES = 100


@contextmanager
def open_work(out: Path, about: dict[str, Any], *, resume: bool, keep: bool) -> Iterator[Path]:
    """The work folder of `out`, locked; it vanishes when the block ends, unless the job was cut off.

    Args:
        out: the output it belongs to.
        about: what the job's partitions depend on; other than in an older folder, nothing of that is used.
        resume: go on with what an older one holds; without, it is emptied.
        keep: whether the folder outlives Ctrl-C as well.

    Raises:
        UserError: another process is at work in it, or it cannot be written.
    """
    folder = out.absolute().parent / f".{out.name}.work"
    with ExitStack() as after_the_lock, disk_full_is_a_user_error(out), _locked(folder, out):
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


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """The folder, made where it is not there, and ours alone while the block lasts."""
    for _ in range(TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder / LOCK, out)
        if lock is not None:
            with lock:
                yield
            return
    raise UserError("--out", out, allowed=f"{folder} cannot be locked", remedy="Use a local disk or NFS")


def _lock(path: Path, out: Path) -> TextIO | None:
    """The open file, locked; None: whoever had the folder has removed it meanwhile."""
    lock = None
    try:
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return lock
    except FileNotFoundError:
        pass
    except BlockingIOError:
        assert lock is not None
        lock.close()
        raise UserError("--out", out, allowed="is being made by another process", remedy="Wait for it") from None
    except OSError:  # some file systems of clusters have no locks
        if lock is None:
            raise
        log("warning: this file system has no locks: let nothing else make the same --out meanwhile")
        return lock
    if lock is not None:
        lock.close()
    return None


def _put_aside(folder: Path) -> Path:
    """Empty the folder and put it where nobody can begin in it; gives its new place, to be removed without its lock."""
    aside = folder.with_name(f"{folder.name}.{uuid4().hex}")
    with suppress(OSError):  # what went wrong in the job is what is told, not that its leavings cannot be removed
        _empty(folder)
        folder.rename(aside)
    return aside


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name != LOCK:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _begin(folder: Path, about: dict[str, Any], *, resume: bool) -> None:
    """Empty a folder that is of no use, and say so if its use was asked for."""
    path, digest = folder / ABOUT, hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    is_same = path.is_file() and path.read_text() == digest
    if resume and not is_same:
        why = "its files or settings have changed since" if path.is_file() else "nothing of an earlier run was kept"
        log(f"--resume: {why}; everything is done anew")
    if not (resume and is_same):
        _empty(folder)
        path.write_text(digest)


def save(path: Path, content: Any) -> None:
    """Keep something for another process, whole or not at all."""
    partial = path.with_name(f"{path.name}.{uuid4().hex}")
    with partial.open("wb") as file:
        pickle.dump(content, file, protocol=pickle.HIGHEST_PROTOCOL)
    partial.replace(path)


def recall(path: Path) -> Any:
    """What `save` kept: written by this program, in a folder of the user's own."""
    with path.open("rb") as file:
        return pickle.load(file)


@lru_cache(maxsize=4)
def _load(path: Path, modified_ns: int) -> Any:
    del modified_ns
    return recall(path)


def load(path: Path) -> Any:
    """The same, read once in each process: what all partitions of a job share."""
    return _load(path, path.stat().st_mtime_ns)
