"""How much of what can be foreseen is found from how many years of data: HewsNet and boosting on generated cities.

A city of each preset is drawn once, forty years long; its last four years are forecast from the one, two, ... 36 years
before them, and from nothing earlier. The closure of the gap between the climatology of the same years and the oracle,
with 95 % intervals; a picture beside the JSON. ``--quick``: two presets, two lengths, one year to
forecast, nothing saved.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np

from benchmarks.common import finish, header, parse_flags
from hews_gpu.cli.printing import print_table
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import gap_closure
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import step
from hews_gpu.workers import processes

PRESETS = ("strong", "spatial", "pairs")
YEARS = (1, 2, 5, 10, 20, 36)
TEST_YEARS = 4
CITY_SEED = 1
METHODS = ("hewsnet", "boosting")
YEAR_S = 31_556_952


def since(city: City, begin_s: int) -> City:
    """Return the city as if nothing had been recorded before a moment; its truth still knows."""
    kept = city.events.time_s >= begin_s
    events = city.events.take(kept)
    reported = None if city.reported_s is None else city.reported_s[kept]
    group = None if city.group is None else city.group[kept]
    return replace(city, events=events, begin_s=begin_s, reported_s=reported, group=group, prepared=None)


def point(city: City, years: int, test_years: int) -> dict[str, Any]:
    """Forecast the last `test_years` with each method, fitted on the `years` before them."""
    began = time.process_time()
    first_s = city.end_s - test_years * YEAR_S
    experiment = Experiment.open(
        since(city, max(city.begin_s, first_s - years * YEAR_S)), Plan(first_test_s=first_s, blocks=1, seeds=(0,))
    )
    entries = {name: FORECASTERS[name] for name in (CLIMATOLOGY, *METHODS)}
    with step(f"{city.name}, {years} years", len(entries), "fits") as bar:
        judged = forecast_blocks(experiment, entries, bar)
    y, oracle = experiment.test.y, experiment.oracle()
    assert oracle is not None
    lost = {name: one.losses(y) for name, one in judged.items()}
    best = -np.log2(np.where(y, oracle, 1 - oracle))
    stride_s = experiment.plan.task.stride_s
    possible = lost[CLIMATOLOGY] - best
    closures = {name: gap_closure(lost[CLIMATOLOGY] - lost[name], possible, stride_s) for name in METHODS}
    return {
        "years": years,
        "training_windows": len(experiment.folds[0].train),
        "windows": len(y),
        "oracle_gap_closure": closures,
        "hewsnet_ahead_of_boosting_bits": mean_interval(lost["boosting"] - lost["hewsnet"], stride_s),
        "log_loss_bits": {**{name: float(one.mean()) for name, one in lost.items()}, "oracle": float(best.mean())},
        "processor_seconds": round(time.process_time() - began, 1),
    }


def measure(preset: str, years: Sequence[int], test_years: int) -> list[dict[str, Any]]:
    """Measure all points of a preset."""
    city = generated_city(preset, years=max(years) + test_years, seed=CITY_SEED)
    return [point(city, length, test_years) for length in years]


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw the curves as a picture."""
    from hews_gpu.report.figures.findings import learning
    from hews_gpu.report.style import light_svg

    file.write_text(light_svg(learning(result["presets"])), encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """Print the closures."""
    rows = [["preset", "years", *(f"{method} [95 %]" for method in METHODS)]]
    for preset, points in result["presets"].items():
        rows += [
            [preset, str(one["years"]), *(_cell(one["oracle_gap_closure"][name]) for name in METHODS)] for one in points
        ]
    print_table(f"closure of the gap to the oracle over {result['test_years']} years, from the years before", rows)


def _cell(closure: dict[str, Any]) -> str:
    low, high = closure["interval"]
    return f"{closure['value']:+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    presets, years, test_years = (PRESETS[:2], (1, 2), 1) if flags.quick else (PRESETS, YEARS, TEST_YEARS)
    with processes(1 if flags.quick else header()["cores"]) as run:
        measured = run(partial(measure, years=years, test_years=test_years), presets)
        result = {"seed": CITY_SEED, "test_years": test_years, "presets": dict(zip(presets, measured, strict=True))}
    path = finish("years", result, flags, show)
    if path is not None:
        draw(result, path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
