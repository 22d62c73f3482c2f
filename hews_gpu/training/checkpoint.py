"""Checkpoints: everything that decides how a run goes on, in files that are whole or not there.

`checkpoints/step-00001234.safetensors` holds the model, the best weights so far, the moving average, the optimizer,
every rank's random generators and the position in the run; `best.safetensors` holds the weights that would be kept if
the run ended now. What a kill left half-written has another name and is removed by the next process that writes.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from hews_gpu.errors import UserError
from hews_gpu.progress import log
from hews_gpu.training.tensor_file import DamagedFile, read_tensor_file, write_tensor_file

__all__ = [
    "Checkpoints",
    "DiskFull",
    "Snapshot",
    "Tensors",
    "load_optimizer_state",
    "optimizer_state",
    "prefixed",
    "random_state",
    "read_tensors",
    "require_same_settings",
    "set_random_state",
    "write_tensors",
]

SHOWN = 3  # differences named in a message; more would not fit its one line
FOLDER, BEST = "checkpoints", "best.safetensors"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESTART = "Start the run again with --force instead of --resume"

Tensors = dict[str, Tensor]


class DiskFull(UserError):
    """A checkpoint did not fit on the disk."""


@dataclass(kw_only=True)
class Snapshot:
    """A checkpoint's content."""

    tensors: Tensors
    """By part: `model.`, `best.`, `ema.`, `optimizer.INDEX.`, `random.RANK.`."""
    notes: dict[str, Any]
    """Position, settings, and what it was made with."""

    def part(self, name: str) -> Tensors:
        """Return the tensors whose names begin with `name` and a dot, without it."""
        start = f"{name}."
        return {key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)}


def prefixed(part: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return tensors with `part` and a dot before each name, as `Snapshot.part` takes them out."""
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def optimizer_state(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return what an optimizer keeps of each parameter; its settings come from the objective."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, kept in state.items() for name, value in kept.items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_state` returned, each laid out in memory like its parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, Tensors] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_state(device: torch.device) -> Tensors:
    """Return the state of torch's generators; nothing in a run uses Python's or NumPy's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(tensors: Tensors, device: torch.device) -> None:
    """Put back what `random_state` returned."""
    if "cpu" in tensors:
        torch.set_rng_state(tensors["cpu"].cpu())
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"].cpu(), device)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and `notes` (anything JSON can hold) to one file, flushed to disk before it gets its name.

    Raises:
        UserError: the disk is full or the file cannot be written.
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_tensor_file(path, partial(save, content), notes)


def read_tensors(path: Path, schema: Any = dict, *, remedy: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote, with notes that are as `schema` says; it raises what `read_tensor_file` does."""
    return read_tensor_file(path, load, schema, remedy=remedy)


def require_same_settings(where: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data or settings than those a file was made with.

    Raises:
        UserError: they differ; the first differences are named.
    """

    def short(value: object) -> str:
        text = json.dumps(value)
        return text if len(text) <= 40 else f"{text[:37]}..."

    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if not keys:
        return
    shown = "; ".join(f"{key} was {short(then.get(key))}, is {short(now.get(key))}" for key in keys[:SHOWN])
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    remedy = "Undo the change, or train anew with --force"
    raise UserError(where, allowed=f"was made with other data, settings or code: {shown}{more}", remedy=remedy)


class Checkpoints:
    """The last `keep` checkpoints of one run; rank 0 alone reads and writes them."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / FOLDER, keep

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._newest_first())

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Write the checkpoint of a step, then remove those that are too old.

        Raises:
            DiskFull: then the last good one is still there.
            UserError: it cannot be written.
        """
        path = self.folder / f"step-{step:08d}.safetensors"
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove(self.folder.glob(".*.partial-*"))  # left by a kill: no other process writes here
        with self.report_full_disk():
            try:
                write_tensors(path, snapshot.tensors, snapshot.notes)
            except UserError as error:
                older = self._newest_first()[1:]
                if _errno(error) not in FULL or not older:
                    raise
                _remove(older)  # one that is good is worth more than several
                write_tensors(path, snapshot.tensors, snapshot.notes)
        _remove(self._newest_first()[self.keep :])

    def save_best(self, save: Callable[[Path], object]) -> None:
        """Have the best weights so far written as they would be at the end: `save` is given the path.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        with self.report_full_disk():
            save(self.folder / BEST)

    def load_last(self, schema: Any = dict) -> Snapshot:
        """Read the last checkpoint that is whole; later ones that are damaged are renamed to `.damaged` and reported.

        Args:
            schema: of its notes.

        Raises:
            UserError: there is none.
        """
        paths = self._newest_first()
        for path in paths:
            try:
                tensors, notes = read_tensors(path, schema, remedy=RESTART)
            except DamagedFile as error:
                if path == paths[-1]:
                    raise
                log(f"{error.field}: {error.allowed}; going on from the one before it")
                path.replace(path.with_name(f"{path.name}.damaged"))
            else:
                return Snapshot(tensors=tensors, notes=notes)
        raise UserError(str(self.folder), allowed="holds no checkpoint", remedy=RESTART)

    @contextmanager
    def report_full_disk(self) -> Iterator[None]:
        """Name the last good checkpoint, and how to go on from it, if the disk is full while the block writes.

        Raises:
            DiskFull: it is.
        """
        try:
            yield
        except UserError as error:
            if _errno(error) not in FULL:
                raise
            paths = self._newest_first()
            left = f"{paths[0].name} is the last good checkpoint" if paths else "there is no checkpoint yet"
            remedy = "Free some space and give the same command with --resume"
            full = "the disk is full" if _errno(error) != errno.EFBIG else "files may not grow that large here"
            raise DiskFull(str(self.folder), allowed=f"{full}; {left}", remedy=remedy) from error

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"), reverse=True)


def _errno(error: UserError) -> int | None:
    """Return the number of the system error behind a `UserError`, if there is one."""
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
