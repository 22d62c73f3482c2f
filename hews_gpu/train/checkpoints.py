"""The folder of a run's checkpoints: the last few, each whole, and the best weights so far.

`step-00001234.safetensors` holds everything that a run needs to go on from there, `best.safetensors` the weights that
would be kept if it ended now. What a kill left half-written has another name and is removed by the next process that
writes. A checkpoint that was damaged since is set aside as `.damaged`, and the one before it is used.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hews_gpu.errors import UserError
from hews_gpu.progress import log
from hews_gpu.train.checkpoint import Damaged, Tensors, read_tensors, write_tensors
from hews_gpu.train.state import Snapshot

__all__ = ["FOLDER", "Checkpoints", "DiskFull"]

FOLDER, BEST = "checkpoints", "best.safetensors"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ANEW = "Start the run again with --force instead of --resume"


class Checkpoints:
    """The checkpoints of one run; only the first process has one.

    Args:
        run: the run folder.
        keep: how many of the last ones stay.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / FOLDER, keep

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._found())

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Write the checkpoint of a step, then remove those that are too old.

        Raises:
            UserError: the disk is full (then the last good one is still there), or cannot be written.
        """
        path = self.folder / f"step-{step:08d}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with self.full_disk_says_what_is_left():
            try:
                write_tensors(path, snapshot.tensors, snapshot.notes)
            except UserError as error:
                older = self._found()[1:]
                if not _is_full(error) or not older:
                    raise
                _remove(older)  # one that is good is worth more than several
                write_tensors(path, snapshot.tensors, snapshot.notes)
        _remove(self._found()[self.keep :])

    def save_best(self, tensors: Tensors, notes: Mapping[str, Any]) -> None:
        """Write the best weights so far.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        with self.full_disk_says_what_is_left():
            write_tensors(self.folder / BEST, tensors, notes)

    def last(self) -> Snapshot:
        """The last checkpoint that is whole; says so where that is not the last one.

        Raises:
            UserError: there is none.
        """
        found = self._found()
        for path in found:
            try:
                tensors, notes = read_tensors(path, remedy=ANEW)
            except Damaged as error:
                if path == found[-1]:
                    raise
                log(f"{error.field}: {error.allowed}; going on from the one before it")
                path.replace(path.with_name(f"{path.name}.damaged"))
            else:
                return Snapshot(tensors=tensors, notes=notes)
        raise UserError(str(self.folder), allowed="holds no checkpoint", remedy=ANEW)

    def _found(self) -> list[Path]:
        """All that bear a checkpoint's name, newest first."""
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)

    def _sweep(self) -> None:
        """Remove what a kill left half-written: no other process writes here."""
        _remove(self.folder.glob(".*.partial-*"))

    @contextmanager
    def full_disk_says_what_is_left(self) -> Iterator[None]:
        """Whatever of the run is written in the block: a full disk ends it with a word on how to go on.

        Raises:
            DiskFull: it is.
        """
        try:
            yield
        except UserError as error:
            if not _is_full(error):
                raise
            found = self._found()
            left = f"{found[0].name} is the last good checkpoint" if found else "there is no checkpoint yet"
            remedy = "Free some space and give the same command with --resume"
            full = "the disk is full" if _reason(error) != errno.EFBIG else "files may not grow that large here"
            raise DiskFull(str(self.folder), allowed=f"{full}; {left}", remedy=remedy) from error


class DiskFull(UserError):
    """A checkpoint did not fit on the disk."""


def _reason(error: UserError) -> int | None:
    """What the operating system said, where it did."""
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _is_full(error: UserError) -> bool:
    return _reason(error) in FULL


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
