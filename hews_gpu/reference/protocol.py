"""The reference system's protocol, reproduced as it was: LEAKY, on purpose. Each of its leaks can be taken away.

A sample is one window: the RGB map of all that was reported in it, incidents to be warned of included, and whether
there was one of those. So the answer is drawn on the map, and so are the rows that report the same event once more.
Windows without a target are thinned out until there are as many as with, and the parts to train, to stop and to judge
on are drawn at random, so that hours of one evening fall on both sides. What comes out says how well a picture can be
read, and nothing about what happens next.

With every leak in `LEAKS` gone, what is left is an honest, if poor, forecast: a map of the window before, judged on
later years at the prevalence that they have.

Unlike there, maps are drawn at the size that the model reads; there, larger pictures were resized. The frame is the one
that the city's own map shows, stretched onto the model's rows and columns as resizing would.

Shapes: W windows, S samples of a part, B samples of a piece of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.data.events import Prepared
from hews_gpu.data.windows import targets_within
from hews_gpu.errors import UserError
from hews_gpu.evaluation.metrics import roc_auc
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import Batch, MapSource
from hews_gpu.feed.feeds import drawn_by, open_feed
from hews_gpu.feed.maps import all_windows
from hews_gpu.feed.plan import balanced_ids, epoch_order, shares, steps_per_epoch
from hews_gpu.forecasters.cnn import outputs
from hews_gpu.forecasters.logistic import expit, log_loss_each_bits
from hews_gpu.raster.geometry import MapGeometry
from hews_gpu.raster.places import Mark
from hews_gpu.raster.rasterizer import Backend, Rasterizer, reference_rasterizer
from hews_gpu.reference.networks import CONVS, ReferenceCnn, ReferenceSettings
from hews_gpu.training.objective import EpochRow, Stage, ToDevice
from hews_gpu.training.recipe import LEAKY, Recipe
from hews_gpu.units import DAY_S

__all__ = [
    "LEAKS",
    "PARTS",
    "Leak",
    "Part",
    "ReferenceObjective",
    "leaky_rasterizer",
    "leaky_windows",
    "random_split",
    "scores",
    "split_by_time",
]

Leak = Literal["targets", "twins", "random_split", "balance", "same_window"]
LEAKS: dict[Leak, str] = {
    "targets": "the incidents to be warned of are drawn on the map",
    "twins": "other rows that report the same event are drawn on it",
    "random_split": "windows to judge on lie between those learned from",
    "balance": "as many windows with a target as without",
    "same_window": "the map shows the window that it is labelled with",
}
"""In the order in which they are taken away."""
HIDDEN: tuple[Mark, ...] = ("targets", "twins")
"""The leaks that are incidents on the map."""
GAP_S = DAY_S
"""Left out before each later part of a split by time: what happened in one evening is then on one side of it."""
SPLITTING = 3  # in the key of the random split's words, so that they are not those of another purpose

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

    source: MapSource
    start_s: Int64  # [S] local wall-clock seconds

    def __len__(self) -> int:
        return len(self.source)

    @property
    def y(self) -> Bool:
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
        settings: dict[str, Any] = {
            "data_fingerprint": self.prepared.fingerprint,
            "[incidents] targets": list(city.incidents.target_names),
            "[map] bounds": bounds if isinstance(bounds, str) else list(bounds),
            "[map.palette]": dict(city.map.palette),
        }
        for key in ("height", "width", "disc_radius_px", "line_width_px"):
            settings[f"[map] {key}"] = getattr(city.map, key)
        settings |= city.flat("windows", "splits", "training")
        model = {f"model.{key}": value for key, value in asdict(self.model_settings).items()}
        removed = {"without": sorted(self.without)} if self.without else {}
        return {**settings, **self.recipe.settings(), **model, **removed}

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
        """Return the untrained model."""
        return ReferenceCnn(self.model_settings, self.seed)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer that the recipe names."""
        return self.recipe.optimizer_of(module, self.prepared.city.training)

    def start(self, module: nn.Module, to_device: ToDevice) -> EpochRow:
        """Measure the loss of the untrained model, on some of the training windows and on those that stop it."""
        ids = np.linspace(0, self.samples - 1, min(START_SAMPLES, self.samples)).astype(np.int64)
        some = np.array_split(ids, math.ceil(len(ids) / self.micro_batch))
        logits = outputs(module, self.feeds["train"].batches(some), len(ids), lambda one: module(to_device(one.maps)))
        loss = float(log_loss_each_bits(self.parts["train"].y[ids], expit(logits)).mean())
        return EpochRow(epoch=0, train_loss=loss, validation=self.validate(module, to_device))

    def steps(self, stage: Stage) -> int:
        """Return the optimizer steps per epoch."""
        return steps_per_epoch(self.samples, stage.batch_size)

    def batches(self, stage: Stage, epoch: int, first_step: int, rank: int, world: int) -> Generator[Batch, None, None]:
        """Draw one rank's share of each step, `stage.accumulate` batches a step."""
        size = stage.batch_size
        plan = shares(self.seed, epoch, rank, world, windows=self.samples, batch_size=size, first_step=first_step)
        turns = (turn for share in plan for turn in share.cut(stage.accumulate))
        yield from self.feeds["train"].batches(turns, augment=self._augmentation if stage.augment else None)

    def loss(self, model: Callable[..., Tensor], piece: Batch, to_device: ToDevice) -> Tensor:
        """Return the sum of the log losses, nats."""
        logit = model(to_device(piece.maps))
        return functional.binary_cross_entropy_with_logits(logit.float(), to_device(piece.y), reduction="sum")

    def validate(self, module: nn.Module, to_device: ToDevice) -> Mapping[str, float]:
        """Return log loss in bits, accuracy and AUC on the windows that stop the training."""
        p = self.probabilities(module, "validation", to_device)
        if np.isnan(p).any():  # the training loop refuses to go on with it
            return dict.fromkeys(("log_loss", "accuracy", "auc"), math.nan)
        return scores(self.parts["validation"].y, p)

    def probabilities(
        self, module: nn.Module, part: str, to_device: ToDevice, done: Callable[[int], None] = lambda _: None
    ) -> Float64:
        """Return a model's probabilities for all windows of a part, [S]; `done` is told the size of each piece."""
        feed = self.feeds[part]
        batches = feed.in_order(self.micro_batch)
        return expit(outputs(module, batches, len(feed), lambda one: module(to_device(one.maps)), done))

    @cached_property
    def _augmentation(self) -> Augmentation:
        return Augmentation(seed=self.seed, **asdict(self.recipe.augmentation))


def scores(y: Bool, p: Float64) -> dict[str, float]:
    """Return log loss in bits, accuracy at one half, and AUC."""
    return {
        "log_loss": float(log_loss_each_bits(y, p).mean()),
        "accuracy": float(((p >= 0.5) == y).mean()),
        "auc": roc_auc(y, p),
    }


def leaky_rasterizer(
    prepared: Prepared, recipe: Recipe, *, backend: Backend = "numba", without: Collection[Leak] = ()
) -> Rasterizer:
    """Return what draws the city's own map, discs of targets and all, at the size that a recipe's model reads."""
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
    hidden = tuple(mark for mark in HIDDEN if mark in without)
    return reference_rasterizer(replace(prepared, city=city), without=hidden, backend=backend)


def leaky_windows(
    prepared: Prepared, recipe: Recipe, rasterizer: Rasterizer, without: Collection[Leak] = ()
) -> dict[str, Part]:
    """Choose the windows of each part, in order of time: balanced, cut down if asked for, and split at random.

    But for the leaks `without`, which are taken away.

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
        used = balanced_ids(holds, seed)
    if split.windows is not None and split.windows < len(used):
        used = np.sort(used[_some(holds[used], split.windows, seed)])
    pairs = windows.pairs
    if "same_window" in without:  # the map of as long a time before
        edges_s = windows.start_s[:, None] + np.array([-windows.length_s, 0])
        pairs = np.searchsorted(prepared.events.time_s, edges_s, side="left")
    whole = MapSource.of_maps(rasterizer, pairs[used], holds[used])
    shares = (1 - split.validation - split.test, split.validation, split.test)
    if "random_split" in without:
        span_s = int(windows.start_s[0]), int(windows.start_s[-1]) + windows.length_s
        ids = split_by_time(windows.start_s[used], windows.length_s, span_s, shares)
    else:
        ids = random_split(holds[used], shares, seed)
    parts = {
        name: Part(whole.select(which), windows.start_s[used][which]) for name, which in zip(PARTS, ids, strict=True)
    }
    for name, part in parts.items():
        if not 0 < part.y.sum() < len(part):
            allowed = f"{len(whole)} windows leave the {name} part with {int(part.y.sum())} of {len(part)} positive"
            raise UserError("[splits]", None, allowed=allowed, remedy="Cover more time, or enlarge [split] windows")
    return parts


def random_split(y: Bool, parts: Sequence[float], seed: int) -> list[Int64]:
    """Cut windows at random into parts that hold the same share of either class.

    Args:
        y: [W] the class of each window.
        parts: share of each part, such as (0.7, 0.15, 0.15); they add up to 1.
        seed: of the run; the same seed gives the same parts everywhere.

    Returns:
        The ids of each part in ascending order, int64; together every window once.

    Raises:
        ValueError: shares that are not positive or do not add up to 1.
    """
    if not all(part > 0 for part in parts) or abs(sum(parts) - 1) > 1e-9:
        raise ValueError(f"parts = {tuple(parts)}: must be positive and add up to 1")
    edges = np.cumsum(parts)[:-1]
    by_class = []
    for value in (False, True):
        ids = np.flatnonzero(y == value)
        key = np.random.SeedSequence(seed, spawn_key=(int(value), SPLITTING))
        ids = ids[np.argsort(np.random.Philox(key).random_raw(len(ids)), kind="stable")]
        by_class.append(np.split(ids, np.rint(edges * len(ids)).astype(np.int64)))
    return [np.sort(np.concatenate(part)) for part in zip(*by_class, strict=True)]


def split_by_time(
    start_s: Int64, length_s: int, span_s: tuple[int, int], parts: tuple[float, float, float]
) -> list[Int64]:
    """Return the positions of the windows of each part, the oldest first, with a day between two parts.

    Args:
        start_s: begins of the windows that are used, [S], ascending.
        length_s: of each.
        span_s: begin and end of all windows, used or not; so the edges do not depend on which are used.
        parts: share of each part in that span.
    """
    begin_s, end_s = span_s
    edges_s = np.rint(begin_s + np.cumsum([0.0, *parts]) * (end_s - begin_s)).astype(np.int64)
    until_s = [*(edges_s[1:-1] - GAP_S), edges_s[-1]]
    return [
        np.flatnonzero((start_s >= first_s) & (start_s + length_s <= last_s))
        for first_s, last_s in zip(edges_s[:-1], until_s, strict=True)
    ]


def _some(y: Bool, count: int, seed: int) -> Int64:
    """Return `count` positions at random, in the classes' own proportion."""
    order = epoch_order(seed, 0, len(y))
    ones = round(count * float(y.mean()))
    wanted = ((True, ones), (False, count - ones))
    return np.concatenate([order[y[order] == value][:some] for value, some in wanted])
