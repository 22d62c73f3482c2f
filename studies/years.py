"""How much of what can be foreseen is found from how many years of data: HewsNet and boosting on generated cities.

A city of each preset is drawn once, forty years long; its last four years are forecast from the one, two, ... 36 years
before them, and from nothing earlier. The closure of the gap between the climatology of the same years and the oracle,
with 95 % intervals over one-week blocks; a picture beside the JSON. ``--quick``: two presets, two lengths, one year to
forecast, nothing saved.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import parse_flags, save_result
from hews_gpu.data.events import Events
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.bootstrap import Blocks, interval
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import BLOCK_WEEKS, gap_closure
from hews_gpu.forecasters.base import CLIMATOLOGY
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.progress import step
from hews_gpu.units import WEEK_S

PRESETS = ("strong", "spatial", "pairs")
YEARS = (1, 2, 5, 10, 20, 36)
TEST_YEARS = 4
CITY_SEED = 1
METHODS = ("hewsnet", "boosting")
YEAR_S = 31_556_952


def since(source: City, begin_s: int) -> City:
    """The city as if nothing had been recorded before a moment; its truth still knows."""
    kept = source.events.time_s >= begin_s
    columns = {name: value[kept] for name, value in vars(source.events).items() if name != "categories"}
    events = Events(**columns, categories=source.events.categories)
    reported = None if source.reported_s is None else source.reported_s[kept]
    group = None if source.group is None else source.group[kept]
    return replace(source, events=events, begin_s=begin_s, reported_s=reported, group=group, prepared=None)


def point(source: City, years: int, test_years: int) -> dict[str, Any]:
    """What each method finds of the last `test_years` from the `years` before them."""
    began = time.process_time()
    first_s = source.end_s - test_years * YEAR_S
    rolling = Experiment.open(
        since(source, max(source.begin_s, first_s - years * YEAR_S)), Plan(first_test_s=first_s, blocks=1, seeds=(0,))
    )
    entries = {name: FORECASTERS[name] for name in (CLIMATOLOGY, *METHODS)}
    with step(f"{source.name}, {years} years", len(entries), "fits") as bar:
        judged = forecast_blocks(rolling, entries, bar)
    y, oracle = rolling.test.y, rolling.oracle()
    assert oracle is not None
    lost = {name: one.losses(y) for name, one in judged.items()}
    best = -np.log2(np.where(y, oracle, 1 - oracle))
    weekly = WEEK_S / rolling.plan.task.stride_s
    blocks = {name: Blocks.drawn(len(y), round(weeks * weekly)) for name, weeks in BLOCK_WEEKS.items()}
    possible = lost[CLIMATOLOGY] - best
    closures = {name: gap_closure(lost[CLIMATOLOGY] - lost[name], possible, blocks) for name in METHODS}
    ahead = lost["boosting"] - lost["hewsnet"]
    return {
        "years": years,
        "training_windows": len(rolling.folds[0].train),
        "windows": len(y),
        "oracle_gap_closure": closures,
        "hewsnet_ahead_of_boosting_bits": {
            "value": float(ahead.mean()),
            **{name: interval(one.means(ahead)) for name, one in blocks.items()},
        },
        "log_loss_bits": {**{name: float(one.mean()) for name, one in lost.items()}, "oracle": float(best.mean())},
        "processor_seconds": round(time.process_time() - began, 1),
    }


def measure(presets: Sequence[str], years: Sequence[int], test_years: int) -> dict[str, Any]:
    """All points of all presets."""
    found: dict[str, Any] = {}
    for preset in presets:
        source = generated_city(preset, years=max(years) + test_years, seed=CITY_SEED)
        found[preset] = [point(source, length, test_years) for length in years]
    return {"seed": CITY_SEED, "test_years": test_years, "presets": found}


def main() -> None:
    """Measure, save unless quick, and print."""
    flags = parse_flags(__doc__ or "")
    result = measure(PRESETS[:2], (1, 2), 1) if flags.quick else measure(PRESETS, YEARS, TEST_YEARS)
    if not flags.quick:
        path = save_result("years", result)
        draw(result, path.with_suffix(".svg"))
        print(f"saved {path}", file=sys.stderr)
    if flags.json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        show(result)


def draw(result: dict[str, Any], file: Path) -> None:
    """The curves as a picture."""
    from hews_gpu.report.figures.findings import learning
    from hews_gpu.report.style import light_svg

    file.write_text(light_svg(learning(result["presets"])), encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """Print the closures."""
    title = f"closure of the gap to the oracle over {result['test_years']} years, from the years before"
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(("preset", "years", *(f"{method} [95 %]" for method in METHODS))):
        table.add_column(name, justify="right" if i else "left")
    for preset, points in result["presets"].items():
        for one in points:
            table.add_row(preset, str(one["years"]), *(_cell(one["oracle_gap_closure"][name]) for name in METHODS))
    Console(width=120).print(table)


def _cell(closure: dict[str, Any]) -> str:
    low, high = closure["one_week"]
    return f"{closure['value']:+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
