"""`hews train`: fit the model to a prepared city, and be able to go on after any stop as if nothing had happened.

Lightning Fabric places model and tensors on devices; everything that decides the result is here. The order of windows
is a pure function of seed, epoch and step, the learning rate one of the step, nothing random happens in between: so a
run that is resumed from its last checkpoint ends with the same bits as one that was never stopped (on a CPU with the
same number of threads).

The run folder is alive while training: a checkpoint after each epoch, weights at the end. Validation windows decide
when to stop and which weights to keep; epoch 0 counts too, so a model that never beats the climatology stays it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hews_gpu.config import TrainingConfig
from hews_gpu.data.events import open_prepared
from hews_gpu.device import choose_device
from hews_gpu.feed.batch import Batch
from hews_gpu.feed.calendar import FEATURES
from hews_gpu.feed.plan import plan, steps_per_epoch
from hews_gpu.models.small_cnn import SmallCnn, SmallCnnSettings
from hews_gpu.progress import Step, log, step
from hews_gpu.train import runs
from hews_gpu.train.checkpoint import EpochRow, Position, Tensors, load_checkpoint, save_checkpoint
from hews_gpu.train.inputs import Task, open_task
from hews_gpu.train.scoring import MICRO_BATCH, corrections, log_loss_bits

__all__ = ["learning_rate", "train"]

SCALE_SAMPLES = 1024  # windows that tell how busy a usual step is: the mean is then known to a few per cent
WARMUP = 0.05  # share of all steps over which the learning rate rises


def train(
    prepared: Path,
    run: Path,
    *,
    force: bool = False,
    resume: bool = False,
    device: str = "auto",
    max_epochs: int | None = None,
) -> dict[str, Any]:
    """Fit the model on the training split, stopped by the validation split.

    Args:
        prepared: folder made by ``hews prepare``.
        run: folder of the run.
        force: replace an older run.
        resume: go on from the last checkpoint in `run`.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_epochs: stop for now after this many; the learning rate still follows the city's number of epochs.

    Returns:
        A flat summary: epochs, best epoch, losses, seconds.

    Raises:
        UserError: bad data, settings or folders.
    """
    city = open_prepared(prepared)
    task = open_task(city)
    choice = choose_device(device)
    runs.require_usable(run, force=force, resume=resume)
    log(f"device: {choice}")
    fabric = Fabric(accelerator=choice.device, devices=1, precision="32-true")
    fabric.launch()
    trainer = _Trainer(task, fabric)
    if resume:  # a checkpoint that is refused must leave the run as it was
        trainer.load(run / runs.CHECKPOINT)
    else:
        trainer.start()
        runs.begin(run, city, trainer.save, force=force)
    with runs.living(run, city):
        with _stop_is_explained(run, trainer.position):
            trainer.fit(run / runs.CHECKPOINT, max_epochs)
        runs.finish(run, trainer.best, trainer.architecture, trainer.position)
    return trainer.summary(choice.device)


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Of one optimizer step out of all: a short rise, then half a cosine down to 0 (Loshchilov & Hutter, 2017)."""
    warmup = max(1, round(WARMUP * steps))
    rise = min(1.0, (step + 1) / warmup)
    fall = 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup)))
    return config.learning_rate * rise * fall


class _Trainer:
    """One run: the model, its optimizer, and how far it has come."""

    def __init__(self, task: Task, fabric: Fabric) -> None:
        self.task, self.fabric = task, fabric
        self.config = task.prepared.city.training
        self.architecture = _architecture(task)
        self.settings = {
            **runs.settings_of(task.prepared),
            **{f"model.{k}": v for k, v in asdict(self.architecture).items()},
        }
        self.splits = task.splits
        self.steps = steps_per_epoch(len(self.splits["train"]), self.config.batch_size)
        module = SmallCnn(self.architecture, self.config.seed)
        adam = torch.optim.AdamW(
            module.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        self.model, self.optimizer = fabric.setup(module, adam)
        self.module: SmallCnn = module
        self.position = Position()
        self.best: Tensors = {}

    def start(self) -> None:
        """Before the first step: measure the scale of the maps; the model is the climatology."""
        train = self.splits["train"]
        ids = np.linspace(0, len(train) - 1, min(SCALE_SAMPLES, len(train))).astype(np.int64)
        batches = train.feed.batches(np.array_split(ids, max(1, len(ids) // MICRO_BATCH)))
        self.module.fit_scale(self.fabric.to_device(batch.maps) for batch in batches)
        losses = [log_loss_bits(split, np.zeros(len(split))) for split in (train, self.splits["validation"])]
        row = EpochRow(epoch=0, train_loss=losses[0], validation_log_loss=losses[1], seconds=0.0, samples_per_s=None)
        self.position = Position(history=[row])
        self.best = _copy(self.module)

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint."""
        self.position, self.best = load_checkpoint(checkpoint, self.module, self.optimizer, self.settings)

    def save(self, checkpoint: Path) -> None:
        """Write a checkpoint."""
        save_checkpoint(checkpoint, self.module, self.best, self.optimizer, self.position, self.settings)

    def is_done(self, max_epochs: int | None) -> bool:
        """Whether all epochs are done, or the validation score has not improved for too long."""
        position, config = self.position, self.config
        if position.epoch >= min(config.epochs, max_epochs if max_epochs is not None else config.epochs):
            return True
        return position.epoch - position.best_epoch >= config.patience

    def fit(self, checkpoint: Path, max_epochs: int | None) -> None:
        """Train until done, with a checkpoint after each epoch."""
        with step("training", self.config.epochs * self.steps, "steps") as bar:
            bar.advance(self.position.step)
            while not self.is_done(max_epochs):
                self._epoch(bar)
                self.save(checkpoint)

    def summary(self, device: str) -> dict[str, Any]:
        """What a run prints at its end."""
        position, start = self.position, self.position.history[0]
        seconds = sum(row.seconds for row in position.history)
        return {
            "device": device,
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "training_windows": len(self.splits["train"]),
            "epochs": position.epoch,
            "best_epoch": position.best_epoch,
            "validation_log_loss_bits": position.best_loss,
            "validation_log_skill_bits": start.validation_log_loss - position.best_loss,
            "seconds": round(seconds, 3),
            "samples_per_s": round(position.epoch * len(self.splits["train"]) / seconds, 1) if seconds else 0.0,
        }

    def _epoch(self, bar: Step) -> None:
        """One pass over the training split, then the validation score."""
        started, epoch, losses = time.perf_counter(), self.position.epoch, 0.0
        self.model.train()
        for done, batch in enumerate(self.splits["train"].feed.batches(self._plan(epoch)), start=1):
            losses += self._step(batch)
            said = f"epoch {epoch + 1} of {self.config.epochs}, loss {losses / done:.4f}"
            bar.advance(1, f"{said}, validation {self.position.best_loss:.4f} bits at best")
        trained = time.perf_counter() - started
        validation = self.splits["validation"]
        loss = log_loss_bits(validation, corrections(self.model, validation.feed, self.fabric.to_device))
        row = EpochRow(
            epoch=epoch + 1,
            train_loss=losses / self.steps,
            validation_log_loss=loss,
            seconds=time.perf_counter() - started,
            samples_per_s=len(self.splits["train"]) / trained,
        )
        self._note(row)

    def _plan(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """This process's share of each batch of an epoch."""
        for index in range(self.steps):
            yield plan(
                self.config.seed,
                epoch,
                self.fabric.global_rank,
                self.fabric.world_size,
                index,
                windows=len(self.splits["train"]),
                batch_size=self.config.batch_size,
            )

    def _step(self, batch: Batch) -> float:
        """One optimizer step; returns the batch's mean loss in bits."""
        rate = learning_rate(self.config, self.position.step, self.config.epochs * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total = 0.0
        for piece in batch.slices(MICRO_BATCH):
            maps, calendar, climatology, y = (self.fabric.to_device(t) for t in _tensors(piece))
            logit = self.model(maps, calendar, climatology)
            loss = functional.binary_cross_entropy_with_logits(logit, y, reduction="sum") / len(batch)
            self.fabric.backward(loss)
            total += loss.item()
        self.optimizer.step()
        self.position.step += 1
        return total / math.log(2)

    def _note(self, row: EpochRow) -> None:
        """Enter an epoch into the history; keep its weights if they are the best so far."""
        better = row.validation_log_loss < self.position.best_loss
        self.position.history.append(row)
        self.position.epoch = row.epoch
        if better:
            self.position.best_epoch, self.best = row.epoch, _copy(self.module)
        told = f"epoch {row.epoch} of {self.config.epochs}: loss {row.train_loss:.4f} bits"
        kept = ", the best so far" if better else ""
        log(f"{told}, validation {row.validation_log_loss:.4f} bits{kept}, {row.seconds:.1f} s")


def _architecture(task: Task) -> SmallCnnSettings:
    """The model's sizes, from the maps that the city asks for."""
    height, width, channels = task.rasterizer.shape
    steps = task.rasterizer.steps
    return SmallCnnSettings(steps=steps, groups=channels // steps, height=height, width=width, calendar=FEATURES)


def _tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return batch.maps, batch.calendar, batch.climatology, batch.y


def _copy(module: nn.Module) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@contextmanager
def _stop_is_explained(run: Path, position: Position) -> Iterator[None]:
    """On Ctrl-C, say what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        log(f"stopped in epoch {position.epoch + 1}; {run / runs.CHECKPOINT} holds epoch {position.epoch}.")
        log("Give the same command with --resume to go on.")
        raise
