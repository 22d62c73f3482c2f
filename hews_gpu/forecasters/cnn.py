"""A CNN that corrects another forecaster's log-odds with what maps of the hours before show.

The base is fitted first; its log-odds stay as they are, and the network learns what to add. Training windows are
learned from; calibration windows decide when to stop and which weights to keep. Epoch 0, the untrained network, adds
exactly nothing and counts too: a network that never helps on the calibration windows leaves the base as it is.

Shapes: S windows, B batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hews_gpu.arrays import Bool, Float32, Float64
from hews_gpu.data.windows import Samples, Windows, make_samples
from hews_gpu.environment.device import choose_device
from hews_gpu.feed.batch import FEATURES, Batch, Feed, MapSource
from hews_gpu.feed.direct import DirectFeed
from hews_gpu.feed.feeds import drawn_by, open_feed
from hews_gpu.feed.plan import shares, steps_per_epoch
from hews_gpu.forecasters.base import Forecaster, SaysWhere, Setting, log_odds
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City
from hews_gpu.forecasters.cnn_network import SmallCnn, SmallCnnSettings
from hews_gpu.forecasters.cnn_occupied import choose_layers
from hews_gpu.forecasters.forward import part_of
from hews_gpu.forecasters.logistic import expit, log_loss_each_bits
from hews_gpu.raster.rasterizer import Rasterizer, channels_rasterizer
from hews_gpu.training.objective import EpochRow, Stage, ToDevice
from hews_gpu.training.recipe import load_recipe

__all__ = [
    "CnnFit",
    "CnnForecaster",
    "CnnObjective",
    "Part",
    "corrections",
    "outputs",
]

SCALE_SAMPLES = 1024  # windows that tell how busy a usual step is: the mean is then known to a few per cent
# Samples that go through the network at once, on any device: their activations (some 20 MB) then stay in memory that is
# used again, where larger ones are fetched from the system each time (three times slower, measured).
MICRO_BATCH = 32
DRAWN_AT_ONCE = 128  # samples per batch of the feed


@dataclass(frozen=True, kw_only=True)
class CnnFit:
    """What `CnnForecaster` learns, beside what its base does."""

    sizes: SmallCnnSettings
    weights: dict[str, Float32]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Windows with what the base says of them."""

    windows: Windows
    offset: Float64  # [S] the base's log-odds
    y: Bool  # [S] labels, as they were known

    @classmethod
    def unlabeled(cls, windows: Windows) -> Part:
        """Return windows of which nothing but the maps is asked for."""
        return cls(windows=windows, offset=np.zeros(len(windows)), y=np.zeros(len(windows), dtype=bool))

    def log_loss_bits(self, added: Float64) -> float:
        """Return the mean log loss in bits of the base plus a correction; nan of a network that has lost its way."""
        if np.isnan(added).any():
            return math.nan
        return float(log_loss_each_bits(self.y, expit(self.offset + added)).mean())


class CnnForecaster:
    """The forecaster.

    Args:
        setting: the city whose maps are drawn, the recipe, and where the network runs.
        base: what is corrected; one that says where, as the network moves the city as a whole.
    """

    fitted: CnnFit

    def __init__(self, setting: Setting, base: Forecaster) -> None:
        self.setting, self.base = setting, base
        self.recipe, training = setting.recipe or load_recipe(), setting.city.config.training
        self.training = replace(training, seed=self.recipe.seed_of(training) + setting.seed)

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        from hews_gpu.training.loop import fit_in_memory

        objective = self.objective(past, train, calibration)
        choice = choose_device(self.setting.device.partition(":")[0])
        self.keep(fit_in_memory(objective, self.recipe.engine, choice))

    def objective(self, past: Catalog, train: Outcomes, calibration: Outcomes, feed: str = "direct") -> CnnObjective:
        """Fit the base, and return what the network is to learn.

        Args:
            past: the rows known when the fit is made.
            train: windows to learn from.
            calibration: windows that decide when to stop.
            feed: what makes the training batches; as ``--feed`` names it.
        """
        known, stops = past, calibration.windows.issue_s[:1]
        if (stops > train.windows.issue_s[-1]).any() and np.ptp(past.known_s - past.time_s):
            known = past.until(int(stops[0]))  # what decides when to stop has to be new to the base, too
        self.base.fit(known, train, part_of(train, 0, 0))
        parts = {
            name: Part(y=part.y, offset=log_odds(self.base, past, part.windows), windows=part.windows)
            for name, part in {"train": train, "calibration": calibration}.items()
        }
        return CnnObjective(self, parts, past.delay_s, feed)

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights that training has found."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in sorted(weights.items())}
        self.fitted = CnnFit(sizes=self.sizes, weights=arrays)

    @property
    def parts(self) -> dict[str, Forecaster]:
        """What it asks."""
        return {"base": self.base}

    def on_city(self, city: City) -> CnnForecaster:
        """Return the same, fitted, drawing from another table of its city."""
        moved = type(self)(replace(self.setting, city=city), self.base)
        moved.fitted = self.fitted
        return moved

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self.corrected(self.correction(windows, seen.delay_s), seen, windows)

    def corrected(self, added: Float64, seen: Catalog, windows: Windows) -> Float64:
        """Return the probabilities [S] of the base with a correction of its log-odds [S]."""
        if not added.any():
            return self.base.predict(seen, windows)
        return expit(log_odds(self.base, seen, windows) + added)

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood, by the base's shares."""
        return self.predict_both(seen, windows)[1]

    def predict_both(self, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] of the city and [S, N] of the neighborhoods."""
        return self.both_corrected(self.correction(windows, seen.delay_s), seen, windows)

    def both_corrected(self, added: Float64, seen: Catalog, windows: Windows) -> tuple[Float64, Float64]:
        """Return the probabilities [S] and [S, N] of the base with a correction of the city's log-odds [S]."""
        assert isinstance(self.base, SaysWhere)
        areas, p = self.base.predict_areas(seen, windows), self.corrected(added, seen, windows)
        if not added.any():
            return p, areas
        hazards, city = -np.log1p(-areas), -np.log1p(-p)
        return p, np.asarray(-np.expm1(-hazards * (city / hazards.sum(axis=1))[:, None]), dtype=np.float64)

    def correction(self, windows: Windows, delay_s: int, done: Callable[[int], None] = lambda _: None) -> Float64:
        """Return what the network adds to the base's log-odds, [S]; `done` is told how many windows were scored."""
        network = self.network(self.fitted.sizes)
        network.load_state_dict({name: torch.from_numpy(values) for name, values in self.fitted.weights.items()})
        feed = self.feed(Part.unlabeled(windows), delay_s)
        return corrections(network.to(feed.device), feed, lambda tensor: tensor.to(feed.device), done)

    def network(self, sizes: SmallCnnSettings, seed: int = 0) -> SmallCnn:
        """Return an untrained network, which looks at maps as suits the device."""
        layers, _ = choose_layers(self.setting.device, is_compiled=self.recipe.engine.compile)
        return SmallCnn(sizes, seed, layers)

    def feed(self, part: Part, delay_s: int) -> DirectFeed:
        """Return the maps of a part's windows, each with what goes with it."""
        source = MapSource.of_samples(self.rasterizer, self.samples(part, delay_s), part.offset)
        return DirectFeed(source, device=self.setting.device)

    def samples(self, part: Part, delay_s: int) -> Samples:
        """Return the rows that the maps of a part's windows show."""
        city = self.setting.city
        return make_samples(city.events, part.windows, city.config, delay_s, part.y, self.rasterizer.shown_s)

    @cached_property
    def rasterizer(self) -> Rasterizer:
        """Draws the history of a window."""
        prepared = self.setting.city.prepared
        assert prepared is not None  # `config` has refused a city that cannot be drawn
        return channels_rasterizer(prepared, backend=drawn_by(self.setting.device).backend)

    @cached_property
    def sizes(self) -> SmallCnnSettings:
        """The network's, from the maps that the city asks for."""
        height, width, channels = self.rasterizer.shape
        steps = self.rasterizer.steps
        return SmallCnnSettings(steps=steps, groups=channels // steps, height=height, width=width, calendar=FEATURES)


class CnnObjective:
    """What the training loop is told of the network: its data, its loss, and what decides the result."""

    micro_batch = MICRO_BATCH

    def __init__(self, forecaster: CnnForecaster, parts: Mapping[str, Part], delay_s: int, feed: str) -> None:
        self.forecaster, self.parts = forecaster, parts
        recipe, training = forecaster.recipe, forecaster.training
        self.seed, self.ema, self.stages = training.seed, recipe.engine.ema, recipe.stages_of(training)
        self.samples = len(parts["train"].windows)
        self.feeds = {name: forecaster.feed(part, delay_s) for name, part in parts.items()}
        self.feed: Feed = self.feeds["train"]
        if feed != "direct":
            self.feed = open_feed(feed, self.feed.source, device=forecaster.setting.device)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Everything that decides the result, flat, as JSON gives it back."""
        forecaster = self.forecaster
        city = forecaster.setting.city
        sizes = {f"model.{key}": value for key, value in asdict(forecaster.sizes).items()}
        offsets = b"".join(part.offset.tobytes() + part.y.tobytes() for part in self.parts.values())
        base = {"base": type(forecaster.base).__name__, "base_log_odds": hashlib.sha256(offsets).hexdigest()}
        return {**_city_settings(city), **sizes, **base, **forecaster.recipe.settings()}

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What it takes to build the network again."""
        return {"architecture": "cnn", "settings": asdict(self.forecaster.sizes)}

    def module(self) -> SmallCnn:
        """Return the untrained network."""
        return self.forecaster.network(self.forecaster.sizes, self.seed)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer that the recipe names."""
        return self.forecaster.recipe.optimizer_of(module, self.forecaster.training)

    def start(self, module: nn.Module, to_device: ToDevice) -> EpochRow:
        """Measure how busy a usual step is, and what the base alone loses."""
        assert isinstance(module, SmallCnn)
        ids = np.linspace(0, self.samples - 1, min(SCALE_SAMPLES, self.samples)).astype(np.int64)
        batches = self.feeds["train"].batches(np.array_split(ids, max(1, len(ids) // MICRO_BATCH)))
        module.fit_scale(to_device(batch.maps) for batch in batches)
        losses = {name: part.log_loss_bits(np.zeros(len(part.windows))) for name, part in self.parts.items()}
        return EpochRow(epoch=0, train_loss=losses["train"], validation={"log_loss": losses["calibration"]})

    def steps(self, stage: Stage) -> int:
        """Return the optimizer steps per epoch."""
        return steps_per_epoch(self.samples, stage.batch_size)

    def batches(self, stage: Stage, epoch: int, first_step: int, rank: int, world: int) -> Generator[Batch, None, None]:
        """Yield one process's share of each step, `stage.accumulate` batches a step."""
        size = stage.batch_size
        plan = shares(self.seed, epoch, rank, world, windows=self.samples, batch_size=size, first_step=first_step)
        yield from self.feed.batches(turn for share in plan for turn in share.cut(stage.accumulate))

    def loss(self, model: Callable[..., Tensor], piece: Batch, to_device: ToDevice) -> Tensor:
        """Return the sum of the log losses, nats."""
        maps, calendar, climatology, y = map(to_device, (piece.maps, piece.calendar, piece.climatology, piece.y))
        logit = model(maps, calendar, climatology)
        return functional.binary_cross_entropy_with_logits(logit, y, reduction="sum")

    def validate(self, module: nn.Module, to_device: ToDevice) -> Mapping[str, float]:
        """Return the log loss in bits on the calibration windows."""
        added = corrections(module, self.feeds["calibration"], to_device)
        return {"log_loss": self.parts["calibration"].log_loss_bits(added)}


def corrections(
    network: nn.Module, feed: DirectFeed, to_device: ToDevice, done: Callable[[int], None] = lambda _: None
) -> Float64:
    """Return what a network adds to the base's log-odds, [S].

    Args:
        network: of maps, calendar and log-odds.
        feed: of the windows.
        to_device: moves a tensor to where the network is.
        done: told how many windows were scored, after each piece.
    """

    def added(piece: Batch) -> Tensor:
        inputs = (piece.maps, piece.calendar, torch.zeros_like(piece.climatology))
        values: Tensor = network(*(to_device(tensor) for tensor in inputs))
        return values

    pieces = (piece for batch in feed.in_order(DRAWN_AT_ONCE) for piece in batch.slices(MICRO_BATCH))
    return outputs(network, pieces, len(feed), added, done)


def outputs(
    network: nn.Module,
    pieces: Iterable[Batch],
    windows: int,
    output: Callable[[Batch], Tensor],
    done: Callable[[int], None] = lambda _: None,
) -> Float64:
    """Return what a network gives for each of the windows [S], piece by piece; `done` is told the size of each."""
    # Small results kept as tensors would lie between the large temporary ones in the heap, whose space then cannot be
    # used again: collecting them in a list took 4.8 GB on the Baltimore table, this takes 0.9.
    values, scored = np.empty(windows), 0
    network.eval()
    with torch.no_grad():
        for piece in pieces:
            values[scored : scored + len(piece)] = output(piece).float().cpu().numpy()
            scored += len(piece)
            done(len(piece))
    return values


def _city_settings(city: City) -> dict[str, Any]:
    """Return the data and the city file's deciding keys, flat, as JSON gives them back."""
    fingerprint = city.notes.get("fingerprint", str(city.notes))
    return {"data_fingerprint": fingerprint, **city.config.deciding}
