"""The reference system's task, reproduced as it was: LEAKY, on purpose.

A sample is one window: the RGB map of all that was reported in it, incidents to be warned of included, and whether
there was one of those. So the answer is drawn on the map. Windows without are thinned out until there are as many as
with, and the parts to train, to stop and to judge on are drawn at random, so that hours of one evening fall on both
sides. What comes out says how well a picture can be read, and nothing about what happens next.

Unlike there, maps are drawn at the size that the model reads; there, larger pictures were resized. The frame is the one
that the city's own map shows, stretched onto the model's rows and columns as resizing would.

Shapes: S samples of a part, B samples of a piece of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hews_gpu.arrays import Float64
from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import targets_within
from hews_gpu.errors import UserError
from hews_gpu.evaluation.metrics import log_loss_each_bits, roc_auc
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, Source
from hews_gpu.feed.maps import all_windows
from hews_gpu.feed.plan import Balanced, epoch_order, shares, steps_per_epoch
from hews_gpu.feed.registry import drawn_by, open_feed
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.rasterizer import Backend, Rasterizer, reference_rasterizer
from hews_gpu.reference.leaks import Leak, hidden_marks, pairs_shown, split_by_time
from hews_gpu.reference.networks import CONVS, ReferenceCnn, ReferenceSettings
from hews_gpu.reference.random_split import random_split
from hews_gpu.train.objective import EpochRow, Stage, ToDevice
from hews_gpu.train.recipe import LEAKY, Recipe

__all__ = ["PARTS", "Part", "ReferenceObjective", "leaky_rasterizer", "leaky_windows", "scores"]

PARTS = ("train", "validation", "test")
# Maps that go through a model at once on a CPU: few, so that their activations (up to 40 MB each) lie in memory that is
# used again. A step of reference2 takes a third less processor time with 4 than with 32, measured.
AT_ONCE = 4
AT_ONCE_SMALL = 32
AT_ONCE_GPU = 64
START_SAMPLES = 256  # training windows that tell what an untrained model loses on them
PART_WINDOWS = 20  # a table that gives fewer in all is no data set


@dataclass(frozen=True, eq=False)
class Part:
    """Windows to train, to stop or to judge on."""

    name: str
    source: Source
    start_s: NDArray[np.int64]  # [S] local wall-clock seconds

    def __len__(self) -> int:
        return len(self.source)

    @property
    def y(self) -> NDArray[np.bool_]:
        """[S] whether the window holds a target."""
        return self.source.y > 0


class ReferenceObjective:
    """Tell maps of windows with a target from maps of windows without.

    Args:
        prepared: the city.
        recipe: of protocol ``reference``.
        feed: how maps reach the model.
        device: of the feed's tensors.
        without: leaks that are taken away; a run of ``hews train`` has them all.

    Raises:
        UserError: too few windows of either class.
    """

    def __init__(
        self,
        prepared: Prepared,
        recipe: Recipe,
        *,
        feed: str = "direct",
        device: str = "cpu",
        without: Collection[Leak] = (),
    ) -> None:
        self.prepared, self.recipe, self.device, self.without = prepared, recipe, device, frozenset(without)
        self.seed = recipe.seed_of(prepared.city.training)
        self.stages = recipe.stages_of(prepared.city.training)
        self.ema = recipe.engine.ema
        self.rasterizer = leaky_rasterizer(prepared, recipe, backend=drawn_by(device).backend, without=without)
        self.parts = leaky_windows(prepared, recipe, self.rasterizer, without)
        self.feeds = {name: open_feed(feed, part.source, device=device) for name, part in self.parts.items()}
        height, width, _ = self.rasterizer.shape
        how = recipe.map.normalization
        assert recipe.model in CONVS and how != "none"  # the recipe saw to it
        try:
            self.model_settings = ReferenceSettings(name=recipe.model, height=height, width=width, normalization=how)  # type: ignore[arg-type]
        except ValueError as error:
            where = f"recipe {recipe.name}: [map] height, width"
            raise UserError(where, allowed=str(error), remedy="Enlarge the map") from None

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the result."""
        city = self.prepared.city
        bounds = city.map.bounds
        found: dict[str, Any] = {
            "data_fingerprint": self.prepared.fingerprint,
            "[incidents] targets": list(city.incidents.targets),
            "[map] bounds": bounds if isinstance(bounds, str) else list(bounds),
            "[map.palette]": dict(city.map.palette),
        }
        for key in ("height", "width", "disc_radius_px", "line_width_px"):
            found[f"[map] {key}"] = getattr(city.map, key)
        for section in ("windows", "splits", "training"):
            values = asdict(getattr(city, section)).items()
            found |= {f"[{section}] {key}": list(v) if isinstance(v, tuple) else v for key, v in values}
        model = {f"model.{key}": value for key, value in asdict(self.model_settings).items()}
        removed = {"without": sorted(self.without)} if self.without else {}
        return {**found, **self.recipe.settings(), **model, **removed}

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What it takes to build the model again."""
        return {"architecture": self.recipe.model, "settings": asdict(self.model_settings), "warning": LEAKY}

    @property
    def samples(self) -> int:
        """Windows to train on."""
        return len(self.parts["train"])

    @property
    def micro_batch(self) -> int:
        """Maps that go through the model at once."""
        if self.device != "cpu":
            return AT_ONCE_GPU
        return AT_ONCE_SMALL if self.recipe.model == "reference_small" else AT_ONCE

    def module(self) -> nn.Module:
        """The untrained model."""
        return ReferenceCnn(self.model_settings, self.seed)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """As the recipe says."""
        return self.recipe.optimizer_of(module, self.prepared.city.training)

    def start(self, module: nn.Module, to_device: ToDevice) -> EpochRow:
        """What the untrained model loses, on some of the training windows and on those that stop it."""
        ids = np.linspace(0, self.samples - 1, min(START_SAMPLES, self.samples)).astype(np.int64)
        some = np.array_split(ids, math.ceil(len(ids) / self.micro_batch))
        p = self._probabilities(module, self.feeds["train"].batches(some), len(ids), to_device)
        loss = float(log_loss_each_bits(self.parts["train"].y[ids], p).mean())
        return EpochRow(epoch=0, train_loss=loss, validation=self.validate(module, to_device))

    def steps(self, stage: Stage) -> int:
        """Optimizer steps per epoch."""
        return steps_per_epoch(self.samples, stage.batch_size)

    def batches(self, stage: Stage, epoch: int, first_step: int, rank: int, world: int) -> Generator[Batch, None, None]:
        """One process's share of each step, `stage.accumulate` batches a step."""
        plan = shares(
            self.seed,
            epoch,
            rank,
            world,
            windows=self.samples,
            batch_size=stage.batch_size,
            first_step=first_step,
        )
        turns = (turn for share in plan for turn in share.cut(stage.accumulate))
        yield from self.feeds["train"].batches(turns, augment=self._augmentation if stage.augment else None)

    def loss(self, model: nn.Module, piece: Batch, to_device: ToDevice) -> Tensor:
        """Sum of the log losses, nats."""
        logit = model(to_device(piece.maps))
        return functional.binary_cross_entropy_with_logits(logit.float(), to_device(piece.y), reduction="sum")

    def validate(self, module: nn.Module, to_device: ToDevice) -> Mapping[str, float]:
        """Log loss in bits, accuracy and AUC on the windows that stop the training."""
        p = self.probabilities(module, "validation", to_device)
        if np.isnan(p).any():  # the engine refuses to go on with it
            return dict.fromkeys(("log_loss", "accuracy", "auc"), math.nan)
        return scores(self.parts["validation"].y, p)

    def probabilities(
        self, module: nn.Module, part: str, to_device: ToDevice, done: Callable[[int], None] = lambda _: None
    ) -> Float64:
        """What a model says of all windows of a part, [S]; `done` is told how many were scored, piece by piece."""
        feed = self.feeds[part]
        return self._probabilities(module, feed.in_order(self.micro_batch), len(feed), to_device, done)

    @cached_property
    def _augmentation(self) -> Augmentation:
        return Augmentation(seed=self.seed, **asdict(self.recipe.augmentation))

    def _probabilities(
        self,
        module: nn.Module,
        batches: Iterator[Batch],
        count: int,
        to_device: ToDevice,
        done: Callable[[int], None] = lambda _: None,
    ) -> Float64:
        found, scored = np.empty(count), 0  # filled, not collected: see `scoring.corrections`
        module.eval()
        with torch.no_grad():
            for batch in batches:
                found[scored : scored + len(batch)] = module(to_device(batch.maps)).double().cpu().numpy()
                scored += len(batch)
                done(len(batch))
        from scipy.special import expit

        return np.asarray(expit(found), dtype=np.float64)


def scores(y: NDArray[np.bool_], p: Float64) -> dict[str, float]:
    """Log loss in bits, accuracy at one half, and AUC."""
    return {
        "log_loss": float(log_loss_each_bits(y, p).mean()),
        "accuracy": float(((p >= 0.5) == y).mean()),
        "auc": roc_auc(y, p),
    }


def leaky_rasterizer(
    prepared: Prepared, recipe: Recipe, *, backend: Backend = "numba", without: Collection[Leak] = ()
) -> Rasterizer:
    """Draws the city's own map, discs of targets and all, at the size that a recipe's model reads."""
    own, asked = prepared.city.map, recipe.map
    size = {"height": own.height, "width": own.width}
    frame = MapGeometry.around(prepared.outlines.extent, own.bounds, **size)
    drawn = replace(
        own,
        bounds=tuple(frame.bounds),
        height=asked.height or own.height,
        width=asked.width or own.width,
        disc_radius_px=asked.disc_radius_px or own.disc_radius_px,
        line_width_px=asked.line_width_px or own.line_width_px,
    )
    city = replace(prepared.city, map=drawn)
    return reference_rasterizer(replace(prepared, city=city), without=hidden_marks(without), backend=backend)


def leaky_windows(
    prepared: Prepared, recipe: Recipe, rasterizer: Rasterizer, without: Collection[Leak] = ()
) -> dict[str, Part]:
    """The windows of each part, in order of time: balanced, cut down if asked for, and split at random.

    But for the leaks that are taken away: `without` says which.

    Raises:
        UserError: too few windows of either class.
    """
    windows = all_windows(prepared)
    holds = targets_within(prepared.events, windows.start_s, windows.start_s + windows.length_s) > 0
    seed, split = recipe.seed_of(prepared.city.training), recipe.split
    positives = int(holds.sum())
    if min(positives, len(holds) - positives) < PART_WINDOWS // 2:
        allowed = f"{positives} of {len(holds)} windows hold a target, too few of one kind to learn them apart"
        raise UserError("[splits]", None, allowed=allowed, remedy="Cover more time, or see [incidents] targets")
    used = np.arange(len(holds))
    if recipe.balancing == "equal" and "balance" not in without:
        used = Balanced(holds).chosen(seed, 0)
    if split.windows is not None and split.windows < len(used):
        used = np.sort(used[_some(holds[used], split.windows, seed)])
    whole = Source.of_maps(rasterizer, pairs_shown(prepared, windows, without)[used], holds[used])
    shares = (1 - split.validation - split.test, split.validation, split.test)
    if "random_split" in without:
        span_s = int(windows.start_s[0]), int(windows.start_s[-1]) + windows.length_s
        ids = split_by_time(windows.start_s[used], windows.length_s, span_s, shares)
    else:
        ids = random_split(holds[used], shares, seed)
    parts = zip(PARTS, ids, strict=True)
    found = {name: Part(name, whole.select(which), windows.start_s[used][which]) for name, which in parts}
    for part in found.values():
        if not 0 < part.y.sum() < len(part):
            allowed = (
                f"{len(whole)} windows leave the {part.name} part with {int(part.y.sum())} of {len(part)} positive"
            )
            raise UserError("[splits]", None, allowed=allowed, remedy="Cover more time, or enlarge [split] windows")
    return found


def _some(y: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.int64]:
    """`count` positions at random, in the classes' own proportion."""
    order = epoch_order(seed, 0, len(y))
    ones = round(count * float(y.mean()))
    wanted = ((True, ones), (False, count - ones))
    return np.concatenate([order[y[order] == value][:some] for value, some in wanted])
