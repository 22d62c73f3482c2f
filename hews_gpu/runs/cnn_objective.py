"""The forecast: correct the climatology with the maps of the hours before.

Windows of the training split are learned from; those of the validation split decide when to stop and which weights to
keep. Epoch 0, the untrained model, is the climatology and counts too: one that never beats it stays it.

Shapes: S samples of a split.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hews_gpu.data.events import Prepared
from hews_gpu.feed.batch import FEATURES, Batch, Feed
from hews_gpu.feed.feeds import open_feed
from hews_gpu.feed.plan import shares, steps_per_epoch
from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings
from hews_gpu.runs import folder as runs
from hews_gpu.runs.inference import MICRO_BATCH, corrections, log_loss_bits
from hews_gpu.runs.inputs import open_task
from hews_gpu.train.objective import EpochRow, Stage, ToDevice
from hews_gpu.train.recipe import Recipe

__all__ = ["ForecastObjective"]

SCALE_SAMPLES = 1024  # windows that tell how busy a usual step is: the mean is then known to a few per cent


class ForecastObjective:
    """The small CNN on a prepared city, trained as a recipe and the city's ``[training]`` section say.

    Args:
        prepared: the city.
        recipe: of protocol ``forecast``.
        feed: what makes the training batches.
        device: "cpu" or "cuda", of the batches.

    Raises:
        UserError: a split cannot be learned from or judged on.
    """

    micro_batch = MICRO_BATCH

    def __init__(self, prepared: Prepared, recipe: Recipe, *, feed: str = "direct", device: str = "cpu") -> None:
        self.prepared, self.recipe = prepared, recipe
        self.task = open_task(prepared, device=device)
        self.training = prepared.city.training
        self.seed, self.ema = recipe.seed_of(self.training), recipe.engine.ema
        self.stages = recipe.stages_of(self.training)
        self.samples = len(self.task.splits["train"])
        self.feed: Feed = self.task.splits["train"].feed
        if feed != "direct":
            self.feed = open_feed(feed, self.feed.source, device=device)

    @cached_property
    def sizes(self) -> SmallCnnSettings:
        """The model's, from the maps that the city asks for."""
        rasterizer = self.task.rasterizer
        height, width, channels = rasterizer.shape
        steps = rasterizer.steps
        return SmallCnnSettings(steps=steps, groups=channels // steps, height=height, width=width, calendar=FEATURES)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        model = {f"model.{key}": value for key, value in asdict(self.sizes).items()}
        return {**runs.settings_of(self.prepared), **model, **self.recipe.settings()}

    @property
    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": runs.ARCHITECTURE, "settings": asdict(self.sizes)}

    def module(self) -> SmallCnn:
        return SmallCnn(self.sizes, self.seed)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        return self.recipe.optimizer_of(module, self.training)

    def start(self, module: nn.Module, to_device: ToDevice) -> EpochRow:
        assert isinstance(module, SmallCnn)
        train, validation = self.task.splits["train"], self.task.splits["validation"]
        ids = np.linspace(0, len(train) - 1, min(SCALE_SAMPLES, len(train))).astype(np.int64)
        batches = train.feed.batches(np.array_split(ids, max(1, len(ids) // MICRO_BATCH)))
        module.fit_scale(to_device(batch.maps) for batch in batches)
        losses = [log_loss_bits(split, np.zeros(len(split))) for split in (train, validation)]
        return EpochRow(epoch=0, train_loss=losses[0], validation={"log_loss": losses[1]})

    def steps(self, stage: Stage) -> int:
        return steps_per_epoch(self.samples, stage.batch_size)

    def batches(self, stage: Stage, epoch: int, first_step: int, rank: int, world: int) -> Generator[Batch, None, None]:
        size = stage.batch_size
        plan = shares(self.seed, epoch, rank, world, windows=self.samples, batch_size=size, first_step=first_step)
        yield from self.feed.batches(turn for share in plan for turn in share.cut(stage.accumulate))

    def loss(self, model: nn.Module, piece: Batch, to_device: ToDevice) -> Tensor:
        maps, calendar, climatology, y = map(to_device, (piece.maps, piece.calendar, piece.climatology, piece.y))
        logit = model(maps, calendar, climatology)
        return functional.binary_cross_entropy_with_logits(logit, y, reduction="sum")

    def validate(self, module: nn.Module, to_device: ToDevice) -> Mapping[str, float]:
        split = self.task.splits["validation"]
        return {"log_loss": log_loss_bits(split, corrections(module, split.feed, to_device))}
