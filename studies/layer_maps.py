"""What a layer adds to a CNN that sees it on maps: one that foretells, and one at random.

In a generated city all but the targets are moved into a layer, which so foretells by the city's own law. The network
is fitted on the same windows with the layer in the channels of its maps, with one of as many rows at random, and with
none. What the layer at random costs a stack whose only expert is the network is told, too.

``--quick``: two years of one city, nothing saved.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, header, parse_flags
from hews_gpu.arrays import Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.data.events import LayerRows
from hews_gpu.evaluation.folds import Experiment
from hews_gpu.evaluation.mean_interval import mean_interval, ratio_interval
from hews_gpu.forecasters.base import LEVEL, Setting
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.forecasters.stack import Stack
from hews_gpu.training.recipe import load_recipe
from hews_gpu.workers import processes
from studies.layers import PLAN, at_random, planted

PRESETS = ("strong", "delayed")
YEARS, QUICK_YEARS = 4, 2
CNN: Final = "cnn"


def on_maps(city: City, layer: LayerRows | None) -> City:
    """Return a city with a layer alone, or none, whose maps show its kinds of rows in the channels of incidents."""
    prepared = generated_city(str(city.notes["preset"]), years=1).prepared
    assert prepared is not None
    channels = prepared.city.channels
    targets = {city.events.categories[code] for code in set(city.events.category.tolist())}
    name = "" if layer is None else layer.name.upper()
    groups = {
        group: tuple(kind if kind in targets else f"{name}: {kind}" for kind in kinds)
        for group, kinds in channels.groups.items()
    }
    config = replace(prepared.city, channels=replace(channels, groups=groups))
    layers = () if layer is None else (layer,)
    return replace(city, layers=layers, prepared=prepared.with_rows(city.events, layers, config))


def losses(city: City, names: tuple[str, ...]) -> tuple[dict[str, Float64], Experiment, list[str]]:
    """Return the bits [S] lost in the test windows by some forecasters, the experiment, and what a stack kept."""
    experiment = Experiment.open(city, PLAN)
    fold, test = experiment.folds[0], experiment.test
    past, kept = experiment.catalog.until(fold.known_until_s), list[str]()
    setting = Setting(city=city, recipe=replace(load_recipe(), experts=(CNN,)))
    lost: dict[str, Float64] = {}
    for name in names:
        one = FORECASTERS[name].make(setting)
        one.fit(past, experiment.learned(fold, "train"), experiment.learned(fold, "calibration"))
        lost[name] = log_loss_each_bits(test.y, one.predict(experiment.catalog, test.windows))
        kept += one.fitted.experts if isinstance(one, Stack) else ()
    return lost, experiment, kept


def judge(preset: str, years: int = YEARS) -> dict[str, Any]:
    """Measure both layers of one generated city."""
    begin, city = time.process_time(), planted(preset, years=years)
    foretells, _, _ = losses(on_maps(city, city.layers[0]), (CNN,))
    drawn, _, kept = losses(on_maps(city, at_random(city)), ("stack",))
    without, experiment, kept_without = losses(on_maps(city, None), (LEVEL, CNN, "stack"))
    stride_s, oracle = experiment.plan.task.stride_s, experiment.oracle()
    assert oracle is not None
    added, best = without[CNN] - foretells[CNN], log_loss_each_bits(experiment.test.y, oracle)
    return {
        "events": int(experiment.catalog.is_event.sum()),
        "windows": len(experiment.test),
        "foretells": {
            "rows": len(city.layers[0]),
            "over_level_bits": mean_interval(without[LEVEL] - foretells[CNN], stride_s),
            "over_level_without_bits": mean_interval(without[LEVEL] - without[CNN], stride_s),
            "added_bits": mean_interval(added, stride_s),
            "closure_of_what_it_adds": ratio_interval(added, without[CNN] - best, stride_s),
        },
        "random": {
            "added_to_the_stack_bits": mean_interval(without["stack"] - drawn["stack"], stride_s),
            "kept": kept,
            "kept_without": kept_without,
        },
        "processor_seconds": round(time.process_time() - begin, 1),
    }


def show(results: dict[str, Any]) -> None:
    """Print what each layer adds."""
    heading = ["city", "layer", "adds to the CNN, bits", "closure", "adds to the stack, bits"]
    rows = []
    for preset, one in results["planted"].items():
        told, drawn = one["foretells"], one["random"]
        closure = _shown(told["closure_of_what_it_adds"], 2)
        rows.append([preset, "foretells", _shown(told["added_bits"], 4), closure, ""])
        rows.append([preset, "random", "", "", _shown(drawn["added_to_the_stack_bits"], 4)])
    print_table("What layers on maps add", [heading, *rows])


def _shown(value: dict[str, Any], digits: int) -> str:
    low, high = value["interval"]
    return f"{value['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        finish("layer_maps", {"planted": {PRESETS[0]: judge(PRESETS[0], QUICK_YEARS)}}, flags, show)
        return
    with processes(header()["cores"]) as run:
        finish("layer_maps", {"planted": dict(zip(PRESETS, run(judge, PRESETS), strict=True))}, flags, show)


if __name__ == "__main__":
    main()
