"""Everything that decides how a run goes on, as tensors and notes: what a checkpoint holds.

Model, best model so far, moving average, optimizer and its scaler, the state of every process's random generators, and
the position in the plan. Put back, the run goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hews_gpu.train.checkpoint import Tensors
from hews_gpu.train.objective import EpochRow

__all__ = [
    "Position",
    "Snapshot",
    "all_named",
    "copy_of",
    "named",
    "notes_of",
    "optimizer_tensors",
    "position_of",
    "put_optimizer",
    "random_state",
    "set_random_state",
]


@dataclass(kw_only=True)
class Position:
    """How far a run has come."""

    stage: int = 0
    """Index of the stage under way; as many as there are when all are done."""
    stage_epoch: int = 0
    """Whole epochs done in this stage."""
    epoch: int = 0
    """Whole epochs done in all."""
    epoch_step: int = 0
    """Optimizer steps done in the epoch under way."""
    step: int = 0
    """Optimizer steps done in all."""
    losses: list[float] = field(default_factory=list)
    """Per process: sum over the steps of the epoch under way of its share of their loss, bits."""
    orders: list[int] = field(default_factory=list)
    """Per process: fingerprint of the samples met in the epoch under way."""
    best_epoch: int = 0
    """The epoch after which the validation score was best."""
    history: list[EpochRow] = field(default_factory=list)
    """One row per epoch, the untrained model's first."""

    @property
    def best_score(self) -> float:
        """The best validation score so far."""
        return self.history[self.best_epoch].score


@dataclass(kw_only=True)
class Snapshot:
    """A checkpoint's content."""

    tensors: Tensors
    """By part: `model.`, `best.`, `ema.`, `optimizer.INDEX.`, `random.PROCESS.`."""
    notes: dict[str, Any]
    """position, settings, and what it was made with."""

    def part(self, name: str) -> Tensors:
        """The tensors whose names begin with `name` and a dot, without it."""
        start = f"{name}."
        return {key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)}


def named(part: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The other way round: put `part` and a dot before each name."""
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def position_of(notes: Mapping[str, Any]) -> Position:
    """A position as a checkpoint's notes hold it."""
    return Position(**{**notes, "history": [EpochRow(**row) for row in notes["history"]]})


def notes_of(position: Position) -> dict[str, Any]:
    """The other way round."""
    return asdict(position)


def copy_of(module: nn.Module) -> Tensors:
    """A copy of all that a module's state holds."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """What an optimizer remembers of each parameter; its settings come from the objective."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, kept in state.items() for name, value in kept.items()}


def put_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` gave, each laid out in memory like its parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, Tensors] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_state(device: torch.device) -> Tensors:
    """The state of torch's generators; nothing in a run uses Python's or NumPy's."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_random_state(tensors: Tensors, device: torch.device) -> None:
    """Put back what `random_state` gave."""
    if "cpu" in tensors:
        torch.set_rng_state(tensors["cpu"].cpu())
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"].cpu(), device)


def all_named(part: str, each: Sequence[Tensors]) -> Tensors:
    """Every process's tensors under its number."""
    return {key: value for rank, tensors in enumerate(each) for key, value in named(f"{part}.{rank}", tensors).items()}
