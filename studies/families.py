"""Every method on generated cities of many families, and on the table through 2017: the stack, experts, and others.

The stack tries HewsNet and counts; beside it stand the Hawkes process, boosting, and a quick CNN that sees each map
once (in a quarter of the time it gains most of what it ever will).

Home presets are of the family that HewsNet and Hawkes are built for; the others were written without looking at any
forecaster. Six years of each, of which the last two fifths are tested by one fit, with seeds on which nothing was
chosen. The real table (where HEWS_REAL_DATA has it) and its protocol are those of ``hews bench forecasts``: the locked
years stay closed. ``--quick``: two presets of three years, nothing saved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, header, parse_flags, real_data
from hews_gpu.arrays import Float64
from hews_gpu.data.windows import Windows
from hews_gpu.evaluation.backtest import forecast_blocks, judge_experiment
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Entry, Forecaster, Setting
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.registry import EXPERTS, FORECASTERS, quick_cnn
from hews_gpu.forecasters.stack import Stack
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.training.recipe import load_recipe
from hews_gpu.workers import processes
from studies.forecasts import CITY_SEED, PRESETS, QUICK_YEARS, baltimore, closed, show

REFERENCES = (CLIMATOLOGY, LEVEL)
STACK = "stack"
ALONE = {
    "hawkes": FORECASTERS["hawkes"],
    "boosting": replace(FORECASTERS["boosting"], is_random=False),
    "quick_cnn": Entry(title="a quick CNN, correcting the level", make=quick_cnn, is_network=True),
}
"""Methods that the stack does not try here, by one fit each."""
REAL = "baltimore"
YEARS = 6
PLAN = Plan(blocks=1, seeds=(0,))


class Part:
    """The stack of a block, or one of its experts: all of a block are fitted once."""

    fitted = None

    def __init__(self, setting: Setting, name: str, stacks: dict[int, Stack]) -> None:
        self._setting, self._name, self._stacks = setting, name, stacks

    def fit(self, past: Catalog, train: Outcomes, calibration: Outcomes) -> None:
        end_s = int(train.windows.end_s[-1])
        if end_s not in self._stacks:
            stack = FORECASTERS[STACK].make(replace(self._setting, recipe=replace(load_recipe(), experts=EXPERTS)))
            assert isinstance(stack, Stack)
            stack.fit(past, train, calibration)
            self._stacks[end_s] = stack
        stack = self._stacks[end_s]
        self._one: Forecaster = stack if self._name == STACK else stack.experts[self._name]

    def predict(self, seen: Catalog, windows: Windows) -> Float64:
        return self._one.predict(seen, windows)


def judge(city: City, plan: Plan) -> dict[str, Any]:
    """Measure every method on one city, and the processor seconds that it took."""
    begin, stacks = time.process_time(), dict[int, Stack]()
    experiment = Experiment.open(city, plan)
    entries = {name: FORECASTERS[name] for name in REFERENCES}
    for name in (STACK, *EXPERTS):
        entries[name] = Entry(title=FORECASTERS[name].title, make=partial(Part, name=name, stacks=stacks))
    result = judge_experiment(experiment, forecast_blocks(experiment, {**entries, **ALONE}))
    kept = [{"experts": list(one.fitted.experts), "weights": one.fitted.weights.tolist()} for one in stacks.values()]
    return {**result, "kept": kept, "processor_seconds": round(time.process_time() - begin, 1)}


def judge_one(name: str) -> dict[str, Any]:
    """Judge a preset, or the real table up to its locked block."""
    if name != REAL:
        return judge(generated_city(name, years=YEARS, seed=CITY_SEED), PLAN)
    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        return judge(*closed(baltimore(data, Path(folder))))


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        quickly = {name: generated_city(name, years=QUICK_YEARS, seed=CITY_SEED) for name in ("strong", "origin")}
        finish("families", {"presets": {name: judge(city, PLAN) for name, city in quickly.items()}}, flags, show)
        return
    names = [*([REAL] if real_data() else []), *PRESETS, *FOREIGN]
    with processes(header()["cores"]) as run:
        results = dict(zip(names, run(judge_one, names), strict=True))
    real = {REAL: results.pop(REAL)} if REAL in results else {}
    finish("families", {"home": list(PRESETS), "foreign": list(FOREIGN), "presets": results, **real}, flags, show)


if __name__ == "__main__":
    main()
