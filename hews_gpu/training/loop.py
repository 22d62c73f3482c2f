"""The training loop: any objective, on one device or many, and the same run to the bit after any stop.

Torch averages gradients over ranks (DistributedDataParallel); everything that decides the result is here. The order
of samples is a pure function of seed, epoch and step, the learning rate one of the step, and a checkpoint holds the
rest: a run that goes on from its last checkpoint, at whatever step that was written, ends with the same bits as one
that was never stopped (on a CPU, with as many threads and ranks).

Several ranks share every batch. Each divides its losses by the whole batch, and their gradients are added up: the step
is that of one process but for rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hews_gpu.arrays import GOLDEN, Int64, mix_bits
from hews_gpu.environment.device import Choice
from hews_gpu.errors import UserError
from hews_gpu.progress import SILENT, Step, log
from hews_gpu.training.checkpoint import (
    Snapshot,
    Tensors,
    load_optimizer_state,
    optimizer_state,
    prefixed,
    random_state,
    set_random_state,
)
from hews_gpu.training.distributed import ProcessGroup, process_group
from hews_gpu.training.logs import EpochCost
from hews_gpu.training.objective import EpochRow, Objective, Stage
from hews_gpu.training.ranks import ProcessInfo
from hews_gpu.training.recipe import EngineConfig
from hews_gpu.training.step_graph import StepGraph, set_learning_rate
from hews_gpu.typed_toml import require
from hews_gpu.work_folder import code_digest

__all__ = ["Position", "TrainingLoop", "fit_in_memory", "learning_rate", "order_fingerprint"]

WARMUP = 0.05  # share of a stage's steps over which the learning rate rises
REASON = 160  # characters of what a library says
SHOW_S = 0.5  # reading the loss waits for the device: not at each step
EMA_EARLY = 10.0  # the average follows the weights closely at first: its decay is at most (1 + step) / (10 + step)
MODULUS = 2**63  # fingerprints add up within what a signed number of 64 bits holds

Watch = Callable[[int, Mapping[str, float]], None]


def learning_rate(stage: Stage, step: int, steps: int) -> float:
    """Return the rate of a step of a stage: a short rise, then half a cosine to 0 (Loshchilov & Hutter, 2017)."""
    if stage.schedule == "constant":
        return stage.learning_rate
    warmup = max(1, round(WARMUP * steps))
    rise = min(1.0, (step + 1) / warmup)
    fall = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup)))
    return stage.learning_rate * rise * fall


def order_fingerprint(ids: Int64, place: int) -> int:
    """Return a fingerprint of which samples `ids` are seen at the places of an epoch from `place` on.

    Those of the parts of an epoch add up (modulo `MODULUS`) to that of the whole, however it was divided. Each is the
    last step of SplitMix64 (Steele, Lea & Flood, 2014) over place and id.
    """
    places = np.arange(place, place + len(ids), dtype=np.uint64)
    words = mix_bits(places * GOLDEN + ids.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return int(words.sum(dtype=np.uint64)) % MODULUS


EPOCH_ROW = {"epoch": int, "train_loss": float, "validation": {"*": float}, "order": str, "cost?": {"*?": float}}
POSITION = {
    **dict.fromkeys(("stage", "stage_epoch", "epoch", "epoch_step", "step", "best_epoch"), int),
    "losses": [float],
    "orders": [int],
    "history": [EPOCH_ROW],
}
CHECKPOINT = {"position": POSITION, "settings": dict, "made_with": dict}
"""The notes of a checkpoint, as `own_files.check` takes it."""


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
    """By rank: sum over the steps of the epoch under way of its share of their loss, bits."""
    orders: list[int] = field(default_factory=list)
    """By rank: fingerprint of the samples met in the epoch under way."""
    best_epoch: int = 0
    """The epoch after which the validation score was best."""
    history: list[EpochRow] = field(default_factory=list)
    """One row per epoch, the untrained model's first."""

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> Position:
        """Read a position from a checkpoint's notes, where `asdict` put it."""
        names = [f.name for f in fields(EpochRow)]
        history = [EpochRow(**{name: row.get(name) for name in names}) for row in notes["history"]]
        return cls(**{**{key: notes[key] for key in POSITION}, "history": history})

    @property
    def best_score(self) -> float:
        """The best validation score so far."""
        return self.history[self.best_epoch].score


class TrainingLoop:
    """One run: the model, its optimizer, and how far it has come.

    Raises:
        UserError: a batch cannot be shared evenly, or a step cannot be a CUDA graph here.
    """

    def __init__(self, objective: Objective, engine: EngineConfig, group: ProcessGroup) -> None:
        self.objective, self.engine, self.group = objective, engine, group
        self.device = group.device
        if engine.graph:
            _require_graphs(self.device, group.size)
        for stage in objective.stages:
            stage.require_divisible(group.size)
        self.settings = {"code": code_digest(), **objective.settings, **engine.settings}
        torch.manual_seed(objective.seed + group.rank)
        module = objective.module().to(self.device)
        if engine.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module: nn.Module = module
        self.optimizer = objective.optimizer(module)
        self._shared: Any = group.shared(module)
        self.model: Any = torch.compile(self._shared) if engine.compile else self._shared
        self.position = Position()
        self.best: Tensors = {}
        self.average: Tensors = {}
        # of this rank's share of the epoch under way, and of the last step, bits
        self._loss, self._step_loss = torch.zeros(2, dtype=torch.float64, device=self.device).unbind()
        self._take: Callable[[Iterable[Any]], None]
        self._begin_stage()
        self._shown_s, self._note = 0.0, ""
        self._buckets_fixed = group.size == 1

    @property
    def stage(self) -> Stage | None:
        """The stage under way; None when all are done."""
        stages, index = self.objective.stages, self.position.stage
        return stages[index] if index < len(stages) else None

    @property
    def all_steps(self) -> int:
        """Optimizer steps of a run that no stage ends early."""
        return sum(stage.epochs * self.objective.steps(stage) for stage in self.objective.stages)

    def start(self) -> None:
        """Begin a run: rank 0 lets the objective measure what the model needs, and sends the weights to all."""

        def measure() -> tuple[EpochRow, Tensors]:
            row = self.objective.start(self.module, self.to_device)
            return row, _copy(self.module.state_dict())

        row, state = self.group.on_first_rank(measure)
        self.module.load_state_dict(state)
        self.position = Position(history=[row])
        self._distribute_sums()
        self.best = _copy(self.module.state_dict())
        self.average = self._copy_parameters() if self.objective.ema else {}

    def snapshot(self) -> Snapshot:
        """Return what a checkpoint of this moment holds; a collective."""
        position = self.position
        position.losses, position.orders = self._gather_sums()
        tensors = prefixed("model", _copy(self.module.state_dict()))
        tensors |= prefixed("best", self.best) | prefixed("ema", self.average)
        tensors |= prefixed("optimizer", optimizer_state(self.optimizer))
        for rank, state in enumerate(self.group.gather(random_state(self.device))):
            tensors |= prefixed(f"random.{rank}", state)
        notes = {
            "position": asdict(position),
            "settings": self.settings,
            "made_with": self._made_with(),
        }
        return Snapshot(tensors=tensors, notes=notes)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a checkpoint; reports where rounding may differ from the run it belongs to."""
        self.position = Position.from_notes(snapshot.notes["position"])
        self.module.load_state_dict(snapshot.part("model"))
        self.best = {name: tensor.to(self.device) for name, tensor in snapshot.part("best").items()}
        self.average = {name: tensor.to(self.device) for name, tensor in snapshot.part("ema").items()}
        load_optimizer_state(self.optimizer, snapshot.part("optimizer"))
        set_random_state(snapshot.part(f"random.{self.group.rank}"), self.device)
        self._distribute_sums()
        then, now = snapshot.notes["made_with"], self._made_with()
        if then != now and self.group.is_first:
            changed = ", ".join(f"{key} {then.get(key)} -> {now[key]}" for key in now if then.get(key) != now[key])
            log(f"goes on with {changed}: the same but for rounding, no longer to the bit")

    def epoch(self, bar: Step, between: Callable[[], None], watch: Watch = lambda _step, _values: None) -> EpochRow:
        """Train the rest of the epoch under way, then validate.

        Args:
            bar: told of each step.
            between: called after each step but the last; may raise to leave.
            watch: told, of each step on a CPU and of some on a GPU, its number over the whole run, its loss (mean of
                this rank's share, bits) and its learning rate.
        """
        stage, position, group = self.stage, self.position, self.group
        assert stage is not None
        steps = self.objective.steps(stage)
        cost = EpochCost(self.device)
        self.model.train()
        batches = self.objective.batches(stage, position.epoch, position.epoch_step, group.rank, group.size)
        with closing(batches):
            while position.epoch_step < steps:
                with self._report_compiler():
                    self._step(stage, steps, batches, cost)
                self._show(bar, steps, watch)
                if position.epoch_step < steps:
                    between()
        cost.end_training()
        return self._end_epoch(stage, steps, cost)

    @contextmanager
    def _report_compiler(self) -> Iterator[None]:
        """Report what torch.compile lacks, which it finds out at the first step.

        Raises:
            UserError: it needs what is not here, such as a C++ compiler.
        """
        if not self.engine.compile:
            yield
            return
        from torch._dynamo.exc import TorchDynamoException

        try:
            yield
        except TorchDynamoException as error:
            why = " ".join(str(error).partition("Set TORCH")[0].split())[:REASON]  # advice on debugging torch follows
            remedy = "Install it, or set [engine] compile = false in the recipe and train anew with --force"
            raise UserError("[engine] compile", True, allowed=f"does not work here: {why}", remedy=remedy) from error

    def to_device(self, tensor: Tensor) -> Tensor:
        """Return a tensor where the model is."""
        return tensor.to(self.device, non_blocking=True)

    def autocast(self) -> torch.autocast:
        """Let operations within take the precision that the recipe names."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.engine.precision == "bf16-mixed")

    def _loss_of(self, piece: Any) -> Tensor:
        """Return the sum of the losses of a piece of a batch; the network's outputs leave `autocast` as floats."""

        def outputs(*inputs: Tensor) -> Tensor:
            with self.autocast():
                values: Tensor = self.model(*inputs)
            return values.float()

        return self.objective.loss(outputs, piece, self.to_device)

    def _begin_stage(self) -> None:
        """Take the steps of a stage as they are, or by a graph of its own: batches may have another size."""
        self._take = StepGraph(self._learn, self.optimizer) if self.engine.graph else self._learn

    def _step(self, stage: Stage, steps: int, batches: Iterator[Any], cost: EpochCost) -> None:
        """Take one optimizer step."""
        position = self.position
        rate = learning_rate(stage, position.stage_epoch * steps + position.epoch_step, stage.epochs * steps)
        set_learning_rate(self.optimizer, rate)
        self._take(self._turns(stage, batches, cost))
        position.step += 1
        position.epoch_step += 1
        self._update_average()

    def _turns(self, stage: Stage, batches: Iterator[Any], cost: EpochCost) -> Iterator[Any]:
        """Draw the batches of a step, each valid until the next, and note which samples they hold."""
        position, rank, ranks = self.position, self.group.rank, self.group.size
        place = position.epoch_step * stage.batch_size + rank * (stage.batch_size // ranks)
        for _ in range(stage.accumulate):
            batch = cost.time_waiting(batches)
            position.orders[rank] = (position.orders[rank] + order_fingerprint(batch.ids, place)) % MODULUS
            place += len(batch)
            cost.samples += len(batch) * ranks
            yield batch

    def _learn(self, turns: Iterable[Any]) -> None:
        """Learn from the batches of one step, with nothing of the host's that differs between two steps of a stage."""
        stage = self.stage
        assert stage is not None
        self.optimizer.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for turn, batch in enumerate(turns):
            total = self._backward(stage, batch, total, is_last=turn + 1 == stage.accumulate)
        self.optimizer.step()
        self._step_loss.copy_(total / math.log(2))
        self._loss += self._step_loss

    def _backward(self, stage: Stage, batch: Any, total: Tensor, *, is_last: bool) -> Tensor:
        """Add the gradients of a batch, piece by piece; ranks exchange theirs at the last piece of a step."""
        size, ranks = self.objective.micro_batch, self.group.size
        left = -(-len(batch) // size)
        if not self._buckets_fixed:
            self._fix_buckets(next(batch.slices(size)))
        for piece in batch.slices(size):
            left -= 1
            alone = ranks > 1 and not (is_last and left == 0)
            with self._shared.no_sync() if alone else nullcontext():
                loss = self._loss_of(piece) / stage.batch_size
                torch.autograd.backward(loss * ranks if ranks > 1 else loss)  # DDP averages, the sum is wanted
            total = total + loss.detach().double()
        return total

    def _fix_buckets(self, piece: Any) -> None:
        """Let DDP choose how it groups gradients, which it does once, after the first exchange of a process's life.

        The order in which several ranks add up depends on the groups: without this, three or more would round the first
        step after a stop otherwise than a run that was never stopped.
        """
        self._buckets_fixed = True
        before = random_state(self.device)
        torch.autograd.backward(self._loss_of(piece))
        self.optimizer.zero_grad()
        set_random_state(before, self.device)

    def _end_epoch(self, stage: Stage, steps: int, cost: EpochCost) -> EpochRow:
        """Validate, enter the epoch into the history, and keep its weights if they are the best so far."""
        position = self.position
        losses, orders = self._gather_sums()
        scores = self.group.on_first_rank(self._validate)
        row = EpochRow(
            epoch=position.epoch + 1,
            train_loss=sum(losses) / steps,
            validation=scores,
            order=f"{sum(orders) % MODULUS:016x}",
            cost=cost.row(),
        )
        with self.group.raise_on_all_ranks():
            _require_finite(row)
        better = row.score < position.best_score
        position.history.append(row)
        position.epoch, position.stage_epoch, position.epoch_step = row.epoch, position.stage_epoch + 1, 0
        position.losses, position.orders = [], []
        self._distribute_sums()
        if better:
            position.best_epoch, self.best = row.epoch, _copy({**self.module.state_dict(), **self.average})
        since = row.epoch - max(position.best_epoch, row.epoch - position.stage_epoch)
        if position.stage_epoch >= stage.epochs or (stage.patience is not None and since >= stage.patience):
            position.stage, position.stage_epoch = position.stage + 1, 0
            self._begin_stage()
        return row

    def _validate(self) -> Mapping[str, float]:
        """Return the scores of the weights that would be kept."""
        trained = self._copy_parameters() if self.average else {}
        self._set_parameters(self.average)
        with self.autocast():
            scores = dict(self.objective.validate(self.module, self.to_device))
        self._set_parameters(trained)
        return scores

    def _copy_parameters(self) -> Tensors:
        return _copy(dict(self.module.named_parameters()))

    @torch.no_grad()
    def _set_parameters(self, weights: Tensors) -> None:
        """Set the parameters that `weights` names."""
        for name, parameter in self.module.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the moving average one step towards the weights."""
        if not self.average:
            return
        step = self.position.step
        decay = min(self.objective.ema, (1 + step) / (EMA_EARLY + step))
        for name, parameter in self.module.named_parameters():
            self.average[name].lerp_(parameter, 1 - decay)

    def _gather_sums(self) -> tuple[list[float], list[int]]:
        """Return the running sums of loss and order by rank; a collective."""
        sums = self.group.gather((float(self._loss), self.position.orders[self.group.rank]))
        return [loss for loss, _ in sums], [order for _, order in sums]

    def _distribute_sums(self) -> None:
        """Give each rank its part of the running sums; where there were other ranks, the first takes all."""
        position, ranks = self.position, self.group.size
        if len(position.losses) != ranks:
            position.losses = [sum(position.losses)] + [0.0] * (ranks - 1)
            position.orders = [sum(position.orders) % MODULUS] + [0] * (ranks - 1)
        self._loss.fill_(position.losses[self.group.rank])

    def _made_with(self) -> dict[str, Any]:
        """Return what may change between two stops, and then rounds otherwise."""
        return {"device": self.device.type, "processes": self.group.size, "threads": torch.get_num_threads()}

    def _show(self, bar: Step, steps: int, watch: Watch) -> None:
        """Tell the bar of a step, now and then with the loss of this rank's share."""
        position, now_s = self.position, time.perf_counter()
        if self.device.type == "cpu" or now_s - self._shown_s > SHOW_S or position.epoch_step == steps:
            self._shown_s = now_s
            loss = float(self._loss) * self.group.size / position.epoch_step
            best = f"validation {position.best_score:.4f} at best"
            self._note = f"epoch {position.epoch + 1}, loss {loss:.4f} bits, {best}"
            rate = float(self.optimizer.param_groups[0]["lr"])
            watch(position.step, {"loss": float(self._step_loss) * self.group.size, "learning_rate": rate})
        bar.advance(1, self._note)


def _copy(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _require_graphs(device: torch.device, ranks: int) -> None:
    """Refuse to capture steps where they cannot be.

    Raises:
        UserError: no GPU, or several processes.
    """
    field, off = "[engine] graph", "Set it to false in the recipe"
    require(device.type == "cuda", field, True, f"needs a GPU, and this runs on {device}", f"{off}, or --device cuda")
    require(ranks == 1, field, True, f"needs a single process, not {ranks}", f"{off}, or leave out --devices")


def _require_finite(row: EpochRow) -> None:
    """Refuse to go on with a model that has diverged.

    Raises:
        UserError: a loss or score is infinite or no number.
    """
    for name, value in (("the loss", row.train_loss), ("the validation score", row.score)):
        if not math.isfinite(value):
            allowed = f"{name} of epoch {row.epoch} is {value}: training has diverged"
            raise UserError("learning_rate", allowed=allowed, remedy="Lower it and train anew with --force")


def fit_in_memory(objective: Objective, engine: EngineConfig, choice: Choice) -> Tensors:
    """Train in this process without leaving files; return the best weights."""
    with process_group(ProcessInfo(), choice) as group:
        loop = TrainingLoop(objective, engine, group)
        loop.start()
        while loop.stage:
            loop.epoch(SILENT, lambda: None)
        return loop.best
