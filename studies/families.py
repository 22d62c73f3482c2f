"""The stack and each of its experts on generated cities of many families, and on the real table through 2017.

Home presets are of the family that HewsNet and Hawkes are built for; the others were written without looking at any
forecaster. Six years of each, of which the last two fifths are tested, with seeds on which nothing was chosen. The
real table (where HEWS_REAL_DATA has it) and its protocol are those of ``hews bench forecasts``: the locked years stay
closed. ``--quick``: two presets of three years, nothing saved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from benchmarks.common import finish, header, parse_flags, real_data
from hews_gpu.evaluation.backtest import forecast_blocks, judge_experiment
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.registry import EXPERTS, FORECASTERS
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.workers import processes
from studies.forecasts import CITY_SEED, PRESETS, QUICK_YEARS, baltimore, closed, show

METHODS = (CLIMATOLOGY, LEVEL, "hawkes", *EXPERTS, "stack")
REAL = "baltimore"
YEARS = 6
PLAN = Plan(blocks=2, seeds=(0,))


def judge(city: City, plan: Plan) -> dict[str, Any]:
    """Measure one city, and the processor seconds that it took."""
    begin = time.process_time()
    experiment = Experiment.open(city, plan)
    judged = forecast_blocks(experiment, {name: FORECASTERS[name] for name in METHODS})
    return {**judge_experiment(experiment, judged), "processor_seconds": round(time.process_time() - begin, 1)}


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
