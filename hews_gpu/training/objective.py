"""What is learned, apart from how it is run: the training loop takes any `Objective` and knows none.

An objective says which windows a step sees, what the model is and how wrong it is. The loop decides where that runs,
when it is written down and how it goes on after a stop. Everything in an objective is a pure function of its settings
and its arguments, so that any rank can repeat a step to the bit at any time.

Shapes: B samples of a piece of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from hews_gpu.arrays import Int64
from hews_gpu.typed_toml import require

if TYPE_CHECKING:  # a recipe is read without it
    import torch
    from torch import Tensor, nn

__all__ = ["EpochRow", "Objective", "Stage", "ToDevice", "TrainingBatch"]

ToDevice: TypeAlias = "Callable[[Tensor], Tensor]"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training that goes on in one way; most recipes have one, the second reference model has two."""

    epochs: int
    """At most this many passes over the training samples."""
    batch_size: int
    """Samples per optimizer step, over all ranks."""
    learning_rate: float
    """Peak step size."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """A short rise and half a cosine down to 0 over the stage; or the same throughout."""
    accumulate: int = 1
    """In how many turns each rank draws its share of a step: less memory, the same step but for rounding."""
    augment: bool = False
    """Whether the feed turns and shifts the maps; the loop only hands this on."""
    patience: int | None = None
    """The stage ends after this many epochs without a better score; None: never early."""

    def __post_init__(self) -> None:
        allowed = f"must divide batch_size = {self.batch_size}"
        require(self.batch_size % self.accumulate == 0, "[stages] accumulate", self.accumulate, allowed)

    def require_divisible(self, world_size: int) -> None:
        """Refuse a batch that the ranks cannot share evenly.

        Raises:
            UserError: it cannot be.
        """
        allowed = f"must be a multiple of {world_size} processes x {self.accumulate} turns each"
        even = self.batch_size % (world_size * self.accumulate) == 0
        require(even, "batch_size", self.batch_size, allowed, "Change it, or --devices")


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch of the history; epoch 0 is the untrained model."""

    epoch: int
    train_loss: float
    """Mean log loss of the training samples, bits, as they were met."""
    validation: Mapping[str, float]
    """What `Objective.validate` gave; the first value is the score, and less is better."""
    order: str = ""
    """A fingerprint of which sample was seen at which place of the epoch; the same for any number of ranks."""
    cost: Mapping[str, float | None] | None = None
    """seconds, samples_per_s, waiting_s (for data), peak_memory_mib: what no two runs have in common."""

    @property
    def score(self) -> float:
        """What decides which epoch is the best, and when to stop."""
        return next(iter(self.validation.values()))

    def flat(self) -> dict[str, Any]:
        """Return the row as history.csv and TensorBoard show it, with `validation_` before what validation gave."""
        scores = {f"validation_{name}": value for name, value in self.validation.items()}
        return {"epoch": self.epoch, "train_loss": self.train_loss, **scores, "order": self.order, **(self.cost or {})}


class TrainingBatch(Sized, Protocol):
    """What the training loop needs of a batch, whatever is in it."""

    @property
    def ids(self) -> Int64:
        """Which samples it holds, [B]."""

    def slices(self, size: int) -> Iterator[Any]:
        """Cut the batch into pieces of at most `size` samples."""


class Objective(Protocol):
    """Something to learn. `start` and `validate` run on rank 0 only, the rest on each rank."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the result, flat, as JSON gives it back; compared when a run goes on."""

    @property
    def seed(self) -> int:
        """Everything random derives from it."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One after the other."""

    @property
    def samples(self) -> int:
        """How many there are to train on."""

    @property
    def micro_batch(self) -> int:
        """Samples that go through the model at once."""

    @property
    def ema(self) -> float:
        """Decay per step of the moving average of the weights that is validated and kept; 0: the weights themselves."""

    def module(self) -> nn.Module:
        """Return the untrained model on the CPU; each rank builds the same."""

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of all stages; the loop sets its learning rate."""

    def start(self, module: nn.Module, to_device: ToDevice) -> EpochRow:
        """Measure what the model needs to know of its data, before the first step; return row 0 of the history."""

    def steps(self, stage: Stage) -> int:
        """Return the optimizer steps per epoch."""

    def batches(
        self, stage: Stage, epoch: int, first_step: int, rank: int, world: int
    ) -> Generator[TrainingBatch, None, None]:
        """Draw one rank's share of each step of an epoch from `first_step` on, `stage.accumulate` batches a step.

        Epochs are counted over all stages, from 0.
        """

    def loss(self, model: Callable[..., Tensor], piece: Any, to_device: ToDevice) -> Tensor:
        """Return the sum of the log losses of a piece's samples, nats; the loop divides it by the batch."""

    def validate(self, module: nn.Module, to_device: ToDevice) -> Mapping[str, float]:
        """Return the scores of the model as it is; the first is the one to be made small."""
