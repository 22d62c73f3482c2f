"""Samples per second of the CNN on one core: of every cell of its maps, and of the occupied ones alone.

On a generated city with the recipe of `hews train`, on maps of the default size and of the smaller ones of the demo:
whole steps of training with the drawing of their maps, and the forecasts of windows. Both sides get the same batches;
first they train a network each, whose losses and forecasts are compared. Times are processor seconds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import torch

from benchmarks.common import finish, parse_flags, processor_s, ratios, time_in_turn
from hews_gpu.arrays import Float64
from hews_gpu.config import ChannelsConfig
from hews_gpu.data.events import Prepared
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.base import Setting
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.cnn import CnnForecaster, CnnObjective, corrections
from hews_gpu.forecasters.cnn_network import Layers, SmallCnn, dense_layers
from hews_gpu.forecasters.cnn_occupied import occupied_layers
from hews_gpu.forecasters.forward import part_of
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.training.recipe import load_recipe

OLD, NEW = "every cell", "occupied cells"
SIDES: dict[str, Layers] = {OLD: dense_layers, NEW: occupied_layers}
PRESET, YEARS = "realistic", 3
SIZES = ((ChannelsConfig.height, ChannelsConfig.width), (32, 32))
"""The default, and the demo's."""
WITHIN = 1e-3
"""Of log-odds, between networks that were trained on either side: steps add up what each rounds."""
ALIKE = 2e-6
"""Of log-odds, between the two sides of one network."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    steps: int
    """Of training, in one round; twice as many before the forecasts are compared."""
    scored: int
    """Windows forecast in one round."""
    rounds: int


FULL = Scale(steps=8, scored=512, rounds=5)
QUICK = Scale(steps=1, scored=64, rounds=3)


def make_objective(city: City, size: tuple[int, int], scored: int) -> CnnObjective:
    """Return what `hews train` would have the network learn of a city on maps of a size, and forecast of windows."""
    prepared = city.prepared
    assert prepared is not None
    channels = replace(prepared.city.channels, height=size[0], width=size[1])
    drawn = Prepared(prepared.folder, replace(prepared.city, channels=channels), prepared.events)
    drawn.__dict__["outlines"] = prepared.outlines
    city = replace(city, prepared=drawn)
    experiment = Experiment.open(city, Plan(blocks=1, seeds=(0,)))
    fold = experiment.folds[0]
    forecaster = FORECASTERS["cnn"].make(Setting(city=city, recipe=load_recipe()))
    assert isinstance(forecaster, CnnForecaster)
    train, calibration = experiment.learned(fold, "train"), experiment.learned(fold, "calibration")
    return forecaster.objective(experiment.catalog.until(fold.known_until_s), train, part_of(calibration, 0, scored))


class Side:
    """A network that takes steps and forecasts."""

    def __init__(self, objective: CnnObjective, layers: Layers) -> None:
        self.objective, self.network = objective, SmallCnn(objective.forecaster.sizes, objective.seed, layers)
        self.start = objective.start(self.network, lambda tensor: tensor)
        self.optimizer = objective.optimizer(self.network)

    def train(self, steps: int) -> float:
        """Take the first steps of an epoch; return the sum of their losses."""
        stage, total = self.objective.stages[0], 0.0
        batches = self.objective.batches(stage, 0, 0, 0, 1)
        for _ in range(steps):
            batch = next(batches)
            self.optimizer.zero_grad()
            for piece in batch.slices(self.objective.micro_batch):
                loss = self.objective.loss(self.network, piece, lambda tensor: tensor) / stage.batch_size
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            self.optimizer.step()
        batches.close()
        return total

    def forecast(self, layers: Layers | None = None) -> Float64:
        """Return what is added to the log-odds [S], as one or the other side computes it."""
        own, self.network.layers = self.network.layers, layers or self.network.layers
        added = corrections(self.network, self.objective.feeds["calibration"], lambda tensor: tensor)
        self.network.layers = own
        return added


def measure(scale: Scale) -> dict[str, Any]:
    """Measure on each size of maps."""
    torch.set_num_threads(1)
    city = generated_city(PRESET, years=YEARS)
    return {"maps": [measure_size(make_objective(city, size, scale.scored), scale) for size in SIZES]}


def measure_size(objective: CnnObjective, scale: Scale) -> dict[str, Any]:
    """Compare the answers, then time training and forecasting in turn."""
    sides = {name: Side(objective, layers) for name, layers in SIDES.items()}
    losses = {name: side.train(2 * scale.steps) for name, side in sides.items()}
    added = {name: side.forecast() for name, side in sides.items()}
    apart = float(np.abs(added[NEW] - added[OLD]).max())
    alike = float(np.abs(sides[OLD].forecast(occupied_layers) - added[OLD]).max())
    assert apart < WITHIN and alike < ALIKE and np.isclose(losses[NEW], losses[OLD], rtol=1e-5), (apart, alike, losses)
    maps = next(objective.feeds["calibration"].in_order(scale.scored)).maps
    result: dict[str, Any] = {
        "map": list(objective.forecaster.rasterizer.shape),
        "occupied": {"cells_of_a_map": maps[0].numel(), "mean": int((maps > 0).sum()) / len(maps)},
        "largest_move": float(np.abs(added[OLD]).max()),
        "apart": {"one_network": alike, "trained_on_either": apart},
    }
    batch = objective.stages[0].batch_size
    works = {
        "training": (scale.steps * batch, lambda side: side.train(scale.steps)),
        "forecasting": (len(objective.feeds["calibration"]), Side.forecast),
    }
    for what, (samples, work) in works.items():
        turns = {name: (lambda side=side, work=work: work(side)) for name, side in sides.items()}
        timings = time_in_turn(turns, rounds=scale.rounds, clock=processor_s)
        rates = {name: samples / timing.median_s for name, timing in timings.items()}
        times = ratios(timings, OLD)[NEW]
        result[what] = {"samples_per_core_s": rates, "times": times["median"], "range": [times["low"], times["high"]]}
    return result


def show(result: dict[str, Any]) -> None:
    """Print what came out for each size."""
    for each in result["maps"]:
        show_size(each)


def show_size(result: dict[str, Any]) -> None:
    """Print rates and ratios."""
    occupied, apart = result["occupied"], result["apart"]
    print(f"maps of {result['map']}: {occupied['mean']:.0f} of {occupied['cells_of_a_map']:,} cells are occupied")
    print(f"one network on either: log-odds within {apart['one_network']:.1g}; trained on either: within", end=" ")
    print(f"{apart['trained_on_either']:.1g}, where they were moved by up to {result['largest_move']:.2g}")
    for what in ("training", "forecasting"):
        row = result[what]
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in row["samples_per_core_s"].items())
        low, high = row["range"]
        print(f"{what:<12} samples a second of a core: {rates}; {row['times']:.1f} times [{low:.1f}, {high:.1f}]")


def main() -> None:
    """Run, print, and save a dated file unless it was a quick run."""
    flags = parse_flags(__doc__ or "")
    finish("cnn", measure(QUICK if flags.quick else FULL), flags, show)


if __name__ == "__main__":
    main()
