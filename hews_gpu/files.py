"""Output that is whole or not there: folders and files are written under a temporary name and renamed at the end.

A run that is cut off by an error, a full disk or Ctrl-C leaves nothing that could be mistaken for a result. Every
output folder carries a manifest, `hews.json`; `--force` replaces only folders that have one, so that a mistyped path
never deletes a user's own files.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import lock_descriptor

from hews_gpu.errors import UserError
from hews_gpu.own_files import read_json, read_rows
from hews_gpu.progress import log

__all__ = [
    "HISTORY",
    "MANIFEST",
    "NOT_A_PLACE",
    "atomic_file",
    "atomic_link",
    "disk_full_is_a_user_error",
    "locked",
    "make_private",
    "manifest",
    "new_folder",
    "open_private",
    "read_history",
    "read_manifest",
    "require_free",
    "require_free_file",
    "require_free_names",
    "write_json",
    "write_together",
]

MANIFEST = "hews.json"
TEXTS = "created version state recipe model city city_file run prepared prepared_from_run data data_fingerprint"
TEXTS += " settings_digest"
NOTES = {"kind": str, "command?": [str], **dict.fromkeys((f"{name}?" for name in TEXTS.split()), str)}
"""What manifests hold that is read again, as `own_files.check` takes it."""
HISTORY = "history.csv"
EPOCH = {"epoch": int, "train_loss": float, "order?": str, "*": float}
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)
LOCK_TRIES = 100  # each costs one open; only a lock file that is removed again and again is tried that often
NOT_WRITABLE = {getattr(errno, name) for name in "EACCES EPERM EROFS ENOTDIR EFBIG".split()}
"""What the system answers, at any moment, when it does not let us write."""
NOT_A_PLACE = {getattr(errno, name) for name in "EEXIST ENOENT EBUSY ENAMETOOLONG EISDIR EINVAL ELOOP".split()}
"""What it answers to a path where nothing can be made; while a job runs the same answers would be a defect of ours."""


@contextmanager
def new_folder(out: Path, *, kind: str, force: bool = False, notes: dict[str, Any] | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    Args:
        out: where the result goes; its parent is made, and vanishes again with what was made for it.
        kind: what the folder holds (``prepared``, ``maps``, ...), recorded in the manifest.
        force: replace an existing folder of the same kind.
        notes: more for the manifest; may be filled in while the block runs.

    Raises:
        UserError: `out` exists and may not be replaced, cannot be written, or the disk is full.
    """
    out = out.absolute()
    with disk_full_is_a_user_error(out, NOT_A_PLACE):
        _sweep(out)
    require_free(out, kind=kind, force=force)
    partial = _partial(out)
    with ExitStack() as stack:
        with disk_full_is_a_user_error(out, NOT_A_PLACE):
            stack.enter_context(_made(out.parent))
            partial.mkdir()
        stack.enter_context(disk_full_is_a_user_error(out))
        stack.enter_context(_held(partial))
        try:
            yield partial
            write_json(partial / MANIFEST, manifest(kind, notes or {}))
            require_free(out, kind=kind, force=force)  # another may have made it meanwhile
            _swap_in(partial, out, force=force)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _held(path: Path) -> Iterator[bool | None]:
    """Try to lock a folder or file while the block lasts; the system releases it however this process ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield _try_to_lock(descriptor)  # where the file system has no locks, nothing is ever swept
    finally:
        os.close(descriptor)


def _partial(path: Path) -> Path:
    """Return a temporary name beside `path`, which says whose it is; `_sweep` removes it once that process is gone."""
    return path.parent / f".{path.name}.partial-{os.getpid()}-{uuid4().hex[:12]}"


def _sweep(path: Path) -> None:
    """Remove what killed processes left of `path`; what one had moved aside to replace it is put back."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        kind, _, number = left.name.removeprefix(f".{path.name}.").partition("-")
        number = number.partition("-")[0]
        if kind not in ("partial", "old") or not number.isdigit() or Path(f"/proc/{number}").exists():
            continue
        with suppress(OSError), _held(left) as is_ours:
            if not is_ours:  # False while a process of another machine fills it
                continue
            if kind == "old" and not os.path.lexists(path):
                left.rename(path)
            elif left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def _try_to_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder without waiting: False if another process holds it, None if there are no locks."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:  # some file systems of clusters have no locks
        return None


@contextmanager
def locked(path: Path, refusal: UserError, *, private: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, made with its folder if need be, while the block lasts.

    On a file system without locks a warning is logged and the block runs without one.

    Args:
        path: the lock file; it stays, unless the block removes it.
        refusal: raised if another process holds the lock.
        private: the folder must be one that only this user can enter.

    Raises:
        UserError: `refusal`, the folder is not private, or the file vanishes each time before it can be locked.
        OSError: the file cannot be made.
    """
    for _ in range(LOCK_TRIES):
        if private:
            make_private(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the holder has removed the folder meanwhile
            continue
        try:
            is_ours = _try_to_lock(descriptor)
            if is_ours is False:
                raise refusal
            if is_ours is None:
                log(f"warning: this file system has no locks: let no other process use {path.parent} meanwhile")
            elif not _is_open_as(path, descriptor):
                continue  # the holder has removed the file that we locked: it keeps out nobody who comes later
            yield
            return
        finally:
            os.close(descriptor)
    raise UserError(str(path), allowed="cannot be locked", remedy="Use a local disk or NFS")


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, or accept one that is so already.

    Raises:
        UserError: something else has that name, which another user may have put there.
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        os.close(open_private(folder))


def open_private(folder: Path) -> int:
    """Return a descriptor of a private folder: what is done through it cannot be led elsewhere by a link.

    Raises:
        UserError: it is a link, another user's, or open to others.
        FileNotFoundError: it has gone.
    """
    remedy = "Remove it if it is of no use, or work where only you can write"
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (NotADirectoryError, PermissionError) as error:  # the first also for a link
        raise UserError(str(folder), allowed=f"is not a folder of yours ({error.strerror})", remedy=remedy) from None
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and not status.st_mode & 0o077:
        return descriptor
    os.close(descriptor)
    why = "belongs to another user" if status.st_uid != os.geteuid() else "is open to other users"
    raise UserError(str(folder), allowed=f"{why}, who may have put something there", remedy=remedy)


def _is_open_as(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def require_free(out: Path, *, kind: str, force: bool) -> None:
    """Refuse an `out` that exists, unless `force` is given and it is an output of ours of the same kind."""
    with disk_full_is_a_user_error(out, NOT_A_PLACE):
        if out.is_symlink():
            raise UserError("--out", out, allowed="is a link", remedy="Give the folder that it leads to, or remove it")
        is_there, is_empty = out.exists(), out.is_dir() and not any(out.iterdir())
    if is_there and (out.is_mount() or out.resolve() == Path.cwd()):
        remedy = "Give a folder of its own, such as runs/prepared"
        raise UserError("--out", out, allowed="is the working folder or a mount point", remedy=remedy)
    if not is_there or is_empty:
        return
    if not force:
        raise UserError("--out", out, allowed="exists already", remedy="Give another folder, or --force to replace it")
    held = read_manifest(out).get("kind") if out.is_dir() else None
    if held != kind:
        what = "has no hews.json, so it is not an output of this program" if held is None else f"holds a '{held}'"
        remedy = "Remove it by hand or give another folder"
        raise UserError("--out", out, allowed=f"{what}; --force replaces only a '{kind}' folder", remedy=remedy)


def require_free_file(out: Path, *, force: bool, example: str) -> None:
    """Refuse an `out` that is a folder or in none, or, unless `force` is given, a file that exists.

    Raises:
        UserError: then; `example` is a name for a file.
    """
    if out.is_dir():
        raise UserError("--out", out, allowed="is a folder", remedy=f"Give a file such as {example}")
    if not out.parent.is_dir():
        raise UserError("--out", out, allowed="must be in a folder that exists", remedy=f"Make {out.parent} first")
    if out.exists() and not force:
        raise UserError("--out", out, allowed="exists already", remedy="Give another file, or --force to replace it")


def require_free_names(out: Path, names: Sequence[str], *, force: bool) -> None:
    """Refuse an `out` that is a file, or a folder that holds one of the files `names` unless `force` is given.

    Raises:
        UserError: `out` may not be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError("--out", out, allowed="is a file", remedy="Give a folder")
    there = [name for name in names if (out / name).exists()]
    if there and not force:
        remedy = "Give another folder, or --force to replace the results in it"
        raise UserError("--out", out, allowed=f"holds {' and '.join(there)} already", remedy=remedy)


def _swap_in(partial: Path, out: Path, *, force: bool) -> None:
    """Rename `partial` to `out`; by force an older `out` takes its place, to be removed.

    Raises:
        OSError: `out` exists, and there is no force; nothing is lost.
    """
    if not (force and out.exists()):
        partial.rename(out)
    elif not _exchange(partial, out):  # killed between two renames, the older one is put back by the next command
        old = out.parent / f".{out.name}.old-{os.getpid()}"
        with _held(out):
            try:
                out.rename(old)
                partial.rename(out)
            except BaseException:
                if old.exists() and not out.exists():
                    old.rename(out)
                raise
            shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # not Linux, or an old C library
        return False
    return bool(exchange(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def manifest(kind: str, notes: dict[str, Any]) -> dict[str, Any]:
    """Return what every output folder's `hews.json` holds: its kind, when and by what it was made, and `notes`."""
    from hews_gpu import __version__

    return {
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "command": ["hews", *sys.argv[1:]],
        **notes,
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of an output folder; empty if there is none.

    Raises:
        UserError: it is damaged.
    """
    remedy = "Restore it, or remove the folder and make it anew"
    file = folder / MANIFEST
    return dict(read_json(file, NOTES, remedy=remedy)) if os.path.exists(file) else {}


def read_history(run: Path) -> list[dict[str, Any]]:
    """Return what a run's history.csv says of each epoch; nothing where it has none yet.

    Raises:
        UserError: it is damaged.
    """
    file = run / HISTORY
    return read_rows(file, EPOCH, remedy="Remove it, or train anew with --force") if os.path.exists(file) else []


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed to `path` when the block ends well.

    Args:
        path: the file; several processes may write it at once, and the last one's content stays.
        durable: flush it to disk first, so that it outlives a power failure.

    Raises:
        UserError: the disk is full or `path` cannot be written.
    """
    partial = _partial(path)
    with ExitStack() as stack, disk_full_is_a_user_error(path):
        try:
            if durable:  # not the many files of a work folder, which goes as a whole
                _sweep(path)
                partial.touch(exist_ok=False)
                stack.enter_context(_held(partial))
            yield partial
            if durable:
                _flush(partial)
            partial.replace(path)
            if durable:  # the new name, too
                _flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def atomic_link(link: Path, target: str) -> None:
    """Make or move a symbolic link in one step."""
    partial = link.parent / f".{link.name}.partial-{os.getpid()}"
    with disk_full_is_a_user_error(link):
        try:
            partial.symlink_to(target)
            partial.replace(link)
        finally:
            partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_together(out: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write several files of one folder, and only then rename them one right after the other.

    Args:
        out: made if need be; what had to be made for it vanishes again if nothing is written.
        writers: by name, a function that writes a file whole to the path it is given.

    Raises:
        UserError: the disk is full, or `out` cannot be written.
    """
    with disk_full_is_a_user_error(out), _made(out):
        _sweep(out / "results")
        scratch = _partial(out / "results")
        scratch.mkdir()
        try:
            with _held(scratch):
                for name, write in writers.items():
                    write(scratch / name)
                for name in writers:
                    (scratch / name).replace(out / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """Make a folder; what had to be made for it vanishes again if the block leaves it empty."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


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
