"""The training loop: any objective, on one device or many, and the same run to the bit after any stop.

Lightning Fabric places model and tensors and averages gradients; everything that decides the result is here. The order
of samples is a pure function of seed, epoch and step, the learning rate one of the step, and a checkpoint holds the
rest: so a run that goes on from its last checkpoint, at whatever step that was written, ends with the same bits as one
that was never stopped (on a CPU, with as many threads and processes).

Several processes share every batch. Each divides its losses by the whole batch, and their gradients are added up: the
step is that of one process but for rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hews_gpu.errors import UserError
from hews_gpu.progress import Step, log
from hews_gpu.train.checkpoint import Tensors
from hews_gpu.train.cost import Cost
from hews_gpu.train.objective import EpochRow, Execution, Objective, Stage, require_divisible
from hews_gpu.train.state import (
    Position,
    Snapshot,
    all_named,
    copy_of,
    named,
    notes_of,
    optimizer_tensors,
    position_of,
    put_optimizer,
    random_state,
    set_random_state,
)
from hews_gpu.train.team import Team

__all__ = ["Engine", "learning_rate", "order_of"]

WARMUP = 0.05  # share of a stage's steps over which the learning rate rises
REASON = 160  # characters of what a library says
SHOW_S = 0.5  # reading the loss waits for the device: not at each step
EMA_EARLY = 10.0  # the average follows the weights closely at first: its decay is at most (1 + step) / (10 + step)
ORDER_MODULUS = 2**63  # fingerprints add up within what a signed number of 64 bits holds

Watch = Callable[[int, Mapping[str, float]], None]


def learning_rate(stage: Stage, step: int, steps: int) -> float:
    """Of one optimizer step out of a stage's: a short rise, then half a cosine to 0 (Loshchilov & Hutter, 2017)."""
    if stage.schedule == "constant":
        return stage.learning_rate
    warmup = max(1, round(WARMUP * steps))
    rise = min(1.0, (step + 1) / warmup)
    fall = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup)))
    return stage.learning_rate * rise * fall


def order_of(ids: NDArray[np.int64], place: int) -> int:
    """Fingerprint of which samples are seen at the places of an epoch from `place` on.

    Those of the parts of an epoch add up (modulo `ORDER_MODULUS`) to that of the whole, however it was divided. Each is
    the last step of SplitMix64 (Steele, Lea & Flood, 2014) over place and id.
    """
    places = np.arange(place, place + len(ids), dtype=np.uint64)
    word = places * np.uint64(0x9E3779B97F4A7C15) + ids.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((word ^ (word >> np.uint64(31))).sum(dtype=np.uint64)) % ORDER_MODULUS


class Engine:
    """One run: the model, its optimizer, and how far it has come.

    Args:
        objective: what is learned.
        execution: how.
        team: the processes; joined.

    Raises:
        UserError: a batch cannot be shared out evenly.
    """

    def __init__(self, objective: Objective, execution: Execution, team: Team) -> None:
        self.objective, self.execution, self.team = objective, execution, team
        self.fabric, self.device = team.fabric, team.fabric.device
        for stage in objective.stages:
            require_divisible(stage, team.size)
        self.settings = {**objective.settings, **execution.settings}
        torch.manual_seed(objective.seed + team.rank)
        module = objective.module().to(self.device)
        if execution.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module: nn.Module = module
        self.optimizer = objective.optimizer(module)
        wrapped: Any = torch.compile(module) if execution.compile else module
        self.model: Any
        self.model, self._stepper = self.fabric.setup(wrapped, self.optimizer, move_to_device=False)
        self.position = Position()
        self.best: Tensors = {}
        self.average: Tensors = {}
        self._loss = torch.zeros((), dtype=torch.float64)  # of this process's share of the epoch under way, bits
        self._step_loss = self._loss
        self._shown, self._note = 0.0, ""
        self._settled = team.size == 1

    @property
    def stage(self) -> Stage | None:
        """The one under way; None when all are done."""
        stages, index = self.objective.stages, self.position.stage
        return stages[index] if index < len(stages) else None

    @property
    def all_steps(self) -> int:
        """Optimizer steps of a run that no stage ends early."""
        return sum(stage.epochs * self.objective.steps(stage) for stage in self.objective.stages)

    def start(self) -> None:
        """Before the first step: the objective measures what it needs, on the first process."""
        found: tuple[EpochRow, Tensors] | None = None
        with self.team.as_one():
            if self.team.is_first:
                row = self.objective.start(self.module, self.fabric.to_device)
                found = row, copy_of(self.module)
        row, state = _known(self.team.from_first(found))
        self.module.load_state_dict(state)
        self.position = Position(history=[row])
        self._share_out()
        self.best, self.average = copy_of(self.module), self._trained() if self.objective.ema else {}

    def snapshot(self) -> Snapshot:
        """What a checkpoint of this moment holds; all processes take part."""
        position, team = self.position, self.team
        position.losses, position.orders = self._gathered()
        tensors = named("model", copy_of(self.module)) | named("best", self.best) | named("ema", self.average)
        tensors |= named("optimizer", optimizer_tensors(self.optimizer))
        tensors |= all_named("random", team.gather(random_state(self.device)))
        notes = {
            "position": notes_of(position),
            "settings": self.settings,
            "scaler": self.fabric.strategy.precision.state_dict(),
            "made_with": self._made_with(),
        }
        return Snapshot(tensors=tensors, notes=notes)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a checkpoint; says so where rounding may differ from the run it belongs to."""
        self.position = position_of(snapshot.notes["position"])
        self.module.load_state_dict(snapshot.part("model"))
        self.best = {name: tensor.to(self.device) for name, tensor in snapshot.part("best").items()}
        self.average = {name: tensor.to(self.device) for name, tensor in snapshot.part("ema").items()}
        put_optimizer(self.optimizer, snapshot.part("optimizer"))
        self.fabric.strategy.precision.load_state_dict(snapshot.notes["scaler"])
        set_random_state(snapshot.part(f"random.{self.team.rank}"), self.device)
        self._share_out()
        then, now = snapshot.notes["made_with"], self._made_with()
        if then != now and self.team.is_first:
            changed = ", ".join(f"{key} {then.get(key)} -> {now[key]}" for key in now if then.get(key) != now[key])
            log(f"goes on with {changed}: the same but for rounding, no longer to the bit")

    def epoch(self, bar: Step, between: Callable[[], None], watch: Watch = lambda _step, _values: None) -> EpochRow:
        """The rest of the epoch under way, then the validation score.

        Args:
            bar: told of each step.
            between: called after each step but the last; may raise to leave.
            watch: told, of each step on a CPU and of some on a GPU, its number over the whole run, its loss (mean of
                this process's share, bits) and its learning rate.
        """
        stage, position = _known(self.stage), self.position
        steps = self.objective.steps(stage)
        cost = Cost(self.device)
        self.model.train()
        rank, size = self.team.rank, self.team.size
        batches = self.objective.batches(stage, position.epoch, position.epoch_step, rank, size)
        with closing(batches):
            while position.epoch_step < steps:
                with self._compiled():
                    self._step(stage, steps, batches, cost)
                self._show(bar, steps, watch)
                if position.epoch_step < steps:
                    between()
        cost.trained()
        return self._close_epoch(stage, steps, cost)

    @contextmanager
    def _compiled(self) -> Iterator[None]:
        """A block in which torch.compile may find that it cannot, which is at the first step.

        Raises:
            UserError: it needs what is not here, such as a C++ compiler.
        """
        if not self.execution.compile:
            yield
            return
        from torch._dynamo.exc import TorchDynamoException

        try:
            yield
        except TorchDynamoException as error:
            why = " ".join(str(error).partition("Set TORCH")[0].split())[:REASON]  # advice on debugging torch follows
            remedy = "Install it, or set [engine] compile = false in the recipe and train anew with --force"
            raise UserError("[engine] compile", True, allowed=f"does not work here: {why}", remedy=remedy) from error

    def _step(self, stage: Stage, steps: int, batches: Iterator[Any], cost: Cost) -> None:
        """One optimizer step."""
        position = self.position
        rate = learning_rate(stage, position.stage_epoch * steps + position.epoch_step, stage.epochs * steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        place = position.epoch_step * stage.batch_size + self.team.rank * (stage.batch_size // self.team.size)
        for turn in range(stage.accumulate):
            batch = cost.waited_for(batches)
            position.orders[self.team.rank] += order_of(batch.ids, place)
            position.orders[self.team.rank] %= ORDER_MODULUS
            place += len(batch)
            total = self._backward(stage, batch, total, is_last=turn + 1 == stage.accumulate)
            cost.samples += len(batch) * self.team.size
        self._stepper.step()
        self._step_loss = total / math.log(2)
        self._loss = self._loss + self._step_loss
        position.step += 1
        position.epoch_step += 1
        self._follow()

    def _backward(self, stage: Stage, batch: Any, total: Tensor, *, is_last: bool) -> Tensor:
        """Add the gradients of a batch, piece by piece; processes exchange theirs at the last piece of a step."""
        size = self.objective.micro_batch
        left = -(-len(batch) // size)
        if not self._settled:
            self._settle(next(batch.slices(size)))
        for piece in batch.slices(size):
            left -= 1
            alone = self.team.size > 1 and not (is_last and left == 0)
            with self.fabric.no_backward_sync(self.model) if alone else nullcontext():
                loss = self.objective.loss(self.model, piece, self.fabric.to_device) / stage.batch_size
                # DDP averages over processes, the sum is wanted
                self.fabric.backward(loss * self.team.size if self.team.size > 1 else loss)
            total = total + loss.detach().double()
        return total

    def _settle(self, piece: Any) -> None:
        """Let DDP choose how it groups gradients, which it does once, after the first exchange of a process's life.

        The order in which several processes add up depends on the groups: without this, three or more would round the
        first step after a stop otherwise than a run that was never stopped.
        """
        self._settled = True
        before = random_state(self.device)
        self.fabric.backward(self.objective.loss(self.model, piece, self.fabric.to_device))
        self.optimizer.zero_grad()
        set_random_state(before, self.device)

    def _close_epoch(self, stage: Stage, steps: int, cost: Cost) -> EpochRow:
        """Validate, enter the epoch into the history, and keep its weights if they are the best so far."""
        position, team = self.position, self.team
        losses, orders = self._gathered()
        scores = self._validate()
        row = EpochRow(
            epoch=position.epoch + 1,
            train_loss=sum(losses) / steps,
            validation=scores,
            order=f"{sum(orders) % ORDER_MODULUS:016x}",
            cost=cost.row(),
        )
        with team.as_one():
            _require_finite(row)
        better = row.score < position.best_score
        position.history.append(row)
        position.epoch, position.stage_epoch, position.epoch_step = row.epoch, position.stage_epoch + 1, 0
        position.losses, position.orders = [], []
        self._share_out()
        if better:
            position.best_epoch, self.best = row.epoch, {**copy_of(self.module), **_copies(self.average)}
        since = row.epoch - max(position.best_epoch, row.epoch - position.stage_epoch)
        if position.stage_epoch >= stage.epochs or (stage.patience is not None and since >= stage.patience):
            position.stage, position.stage_epoch = position.stage + 1, 0
        return row

    def _validate(self) -> Mapping[str, float]:
        """The scores of the weights that would be kept; the first process finds them."""
        found: Mapping[str, float] | None = None
        with self.team.as_one():
            if self.team.is_first:
                trained = self._trained() if self.average else {}
                self._put(self.average)
                with self.fabric.autocast():
                    found = dict(self.objective.validate(self.module, self.fabric.to_device))
                self._put(trained)
        scores: Mapping[str, float] = _known(self.team.from_first(found))
        return scores

    def _trained(self) -> Tensors:
        """A copy of what the optimizer changes."""
        return _copies({name: parameter.detach() for name, parameter in self.module.named_parameters()})

    @torch.no_grad()
    def _put(self, weights: Tensors) -> None:
        """Set the parameters that `weights` names."""
        for name, parameter in self.module.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the moving average take its step towards the weights."""
        if not self.average:
            return
        step = self.position.step
        decay = min(self.objective.ema, (1 + step) / (EMA_EARLY + step))
        for name, parameter in self.module.named_parameters():
            self.average[name].lerp_(parameter, 1 - decay)

    def _gathered(self) -> tuple[list[float], list[int]]:
        """Every process's part of the running sums, in order."""
        every = self.team.gather((float(self._loss), self.position.orders[self.team.rank]))
        return [loss for loss, _ in every], [order for _, order in every]

    def _share_out(self) -> None:
        """Give each process its part of the running sums; where they were others, the first takes all."""
        position, size = self.position, self.team.size
        if len(position.losses) != size:
            position.losses = [sum(position.losses)] + [0.0] * (size - 1)
            position.orders = [sum(position.orders) % ORDER_MODULUS] + [0] * (size - 1)
        self._loss = torch.tensor(position.losses[self.team.rank], dtype=torch.float64, device=self.device)

    def _made_with(self) -> dict[str, Any]:
        """What may change between two stops, and rounds otherwise."""
        return {"device": self.device.type, "processes": self.team.size, "threads": torch.get_num_threads()}

    def _show(self, bar: Step, steps: int, watch: Watch) -> None:
        """Tell the bar of a step, now and then with the loss of this process's share."""
        position, now = self.position, time.perf_counter()
        if self.device.type == "cpu" or now - self._shown > SHOW_S or position.epoch_step == steps:
            self._shown = now
            loss = float(self._loss) * self.team.size / position.epoch_step
            best = f"validation {position.best_score:.4f} at best"
            self._note = f"epoch {position.epoch + 1}, loss {loss:.4f} bits, {best}"
            rate = self.optimizer.param_groups[0]["lr"]
            watch(position.step, {"loss": float(self._step_loss) * self.team.size, "learning_rate": rate})
        bar.advance(1, self._note)


def _known(value: Any) -> Any:
    assert value is not None
    return value


def _copies(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _require_finite(row: EpochRow) -> None:
    """Refuse to go on with a model that has lost its way.

    Raises:
        UserError: a loss or score is infinite or no number.
    """
    for name, value in (("the loss", row.train_loss), ("the validation score", row.score)):
        if not math.isfinite(value):
            allowed = f"{name} of epoch {row.epoch} is {value}: training has diverged"
            raise UserError("learning_rate", allowed=allowed, remedy="Lower it and train anew with --force")
