"""Tensors on disk, whole or not at all: checkpoints to go on from, and the weights that a finished run leaves.

Both are safetensors files, which hold tensors and text and cannot run code. What is not a tensor is one JSON text under
one key of the file's metadata: with several keys their order, and so the file's bytes, would vary from run to run.

A checkpoint holds everything that decides how the run goes on: model, best model so far, optimizer, the position in
the plan, and the settings and data it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hews_gpu.errors import UserError
from hews_gpu.output import atomic_file

__all__ = [
    "EpochRow",
    "Position",
    "load_checkpoint",
    "read_tensors",
    "require_same",
    "save_checkpoint",
    "write_tensors",
]

FORMAT = 1  # raised when a file's content changes its meaning
KEY = "hews"  # the one metadata key
SHOWN = 3  # differences named in a message; more would not fit its one line

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One line of history.csv. Losses are in bits per window; epoch 0 is the start, which is the climatology."""

    epoch: int
    train_loss: float
    validation_log_loss: float
    seconds: float
    samples_per_s: float | None


@dataclass(kw_only=True)
class Position:
    """How far a run has come."""

    epoch: int = 0
    """Whole epochs done."""
    step: int = 0
    """Optimizer steps done."""
    best_epoch: int = 0
    """The epoch after which the validation score was best."""
    history: list[EpochRow] = field(default_factory=list)
    """One row per epoch."""

    @property
    def best_loss(self) -> float:
        """The best validation log loss so far, bits per window."""
        return self.history[self.best_epoch].validation_log_loss


def save_checkpoint(
    path: Path, model: nn.Module, best: Tensors, optimizer: torch.optim.Optimizer, position: Position, settings: Any
) -> None:
    """Write everything that a run needs to go on to the same bits.

    Raises:
        UserError: the disk is full.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    write_tensors(path, tensors, {"position": asdict(position), "settings": settings})


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Any
) -> tuple[Position, Tensors]:
    """Put a checkpoint into `model` and `optimizer`.

    Returns:
        How far the run had come, and the weights of its best epoch.

    Raises:
        UserError: missing, damaged, or made with other data or settings (the differences are named).
    """
    tensors, notes = read_tensors(path, remedy="Start the run again with --force instead of --resume")
    require_same(str(path), notes["settings"], settings)
    parts: dict[str, Tensors] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    state: dict[int, Tensors] = {}
    for name, tensor in parts["optimizer"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    position = notes["position"]
    history = [EpochRow(**row) for row in position.pop("history")]
    return Position(**position, history=history), parts["best"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and `notes` (anything JSON can hold) to one file, flushed to disk before it gets its name."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **notes}, sort_keys=True, allow_nan=False)
    with atomic_file(path) as partial:
        partial.write_bytes(save(content, metadata={KEY: text}))


def read_tensors(path: Path, *, remedy: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        UserError: missing, damaged, or not such a file; `remedy` says what to do.
    """
    if not path.is_file():
        raise UserError(str(path), allowed="does not exist", remedy=remedy)
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads((file.metadata() or {}).get(KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(str(path), allowed=f"cannot be read ({error})", remedy=remedy) from None
    if notes.get("format") != FORMAT:
        raise UserError(str(path), allowed=f"is not of format {FORMAT} of this program", remedy=remedy)
    return tensors, notes


def require_same(where: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data or settings than those a file was made with.

    Raises:
        UserError: they differ; the first differences are named.
    """
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    if not keys:
        return
    shown = [f"{key} was {_short(then.get(key))}, is {_short(now.get(key))}" for key in keys[:SHOWN]]
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    remedy = "Undo the change, or train anew with --force"
    raise UserError(where, allowed=f"was made with other data or settings: {'; '.join(shown)}{more}", remedy=remedy)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
