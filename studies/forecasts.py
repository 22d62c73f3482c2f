"""Every baseline and model, on generated cities whose truth is known and on the real table, by the rolling protocol.

Generated: ten years of each preset; the last four years are the test blocks. Real (where HEWS_REAL_DATA has it): the
Baltimore tables of 2012 to 2019 put together, of which the rolling evaluation ends with 2017; 2018 and 2019 are the
locked block: they are cut off before anything is counted. ``--quick``: two presets, three years, no curves, nothing
saved. ``--jobs N``: so many sources at a time, each in a process of its own; as many as there are cores unless given.

``--open-locked-block WHY`` judges the locked block and nothing else, without curves. It can be done once: the opening
is written to ``results/locked_block.jsonl`` before a row of the block is looked at, and a second one is refused. The
very same steps are first gone through on the years before the block, so that no mistake here spends the one opening;
and files that differ from the commit are refused, so that the result can be made again.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np

from benchmarks.common import RESULTS, finish, header, parse_flags, real_data
from benchmarks.inputs.cities import PORTAL, write_baltimore
from hews_gpu.cli.printing import print_table
from hews_gpu.config import load_city, parse_local_time
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Task
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import fits_of, forecast_blocks, judge_experiment
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.leadtime import few_fits, judge_point
from hews_gpu.evaluation.tables import skill_table
from hews_gpu.forecasters.base import CLIMATOLOGY, Entry
from hews_gpu.forecasters.city import City, generated_city, prepared_city
from hews_gpu.forecasters.registry import BASELINES, FORECASTERS
from hews_gpu.progress import step
from hews_gpu.units import DAY_S, HOUR_S, WEEK_S
from hews_gpu.workers import processes
from studies.inputs.locked import open_locked, require_closed

PRESETS = ("null", "strong", "spatial", "pairs", "realistic")
JUDGED = {name: entry for name, entry in FORECASTERS.items() if not entry.is_network}
NOTHING = "null"
YEARS, QUICK_YEARS = 10, 3
CITY_SEED = 1
"""Of the cities judged here; sizes of methods were chosen on cities of seed 0, which would flatter them."""
TABLES = (PORTAL, "arcgis_2016_2019.csv.gz")
BEGIN, FIRST_TEST = "2012-01-01", "2014-07-01"
HALF_YEARS, LOCKED_HALF_YEARS = 7, 4  # from the first test block to the locked one, and in that
LEDGER = RESULTS / "locked_block.jsonl"
LEADS_S = (0, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S)
DELAYS_S = (0, HOUR_S, DAY_S, WEEK_S)


def judge(city: City, plan: Plan, *, with_curves: bool) -> dict[str, Any]:
    """Measure one city, with its curves over lead and delay or without, and the processor seconds that it took."""
    begin = time.process_time()
    experiment = Experiment.open(city, plan)
    with step(f"forecasting {city.name}", len(fits_of(JUDGED, plan, len(experiment.folds))), "fits") as bar:
        judged = forecast_blocks(experiment, JUDGED, bar, where=True)
    result = judge_experiment(experiment, judged)
    if with_curves and city.notes.get("preset") != NOTHING:  # there no forecast has a skill to lose
        result["curves"] = curves(city, plan)
        result["as_reported"] = as_reported(city, plan)
    return {**result, "processor_seconds": round(time.process_time() - begin, 1)}


# ------------------------------------------------------------ curves over lead and delay


def curves(city: City, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, list[dict[str, Any]]]:
    """Return log skill against the climatology, and AUC, over the lead time and over the reporting delay.

    The target windows are the same for all: those of all test blocks. What keeps that affordable is that each point has
    two fits of its own, each for half of them, and that the seeds take turns.
    """
    plan = few_fits(plan)
    axes = {"lead_s": LEADS_S, "delay_s": DELAYS_S}
    known: dict[Task, dict[str, dict[str, Any]]] = {}
    points: dict[str, list[dict[str, Any]]] = {axis: [] for axis in axes}
    with step(f"curves of {city.name}", sum(map(len, axes.values())), "points") as bar:
        for axis, values in axes.items():
            for value in values:
                changed = plan.with_task(**{axis: value})
                if changed.task not in known:
                    known[changed.task] = _point(city, changed, entries)
                points[axis].append({axis: value, "forecasts": known[changed.task]})
                bar.advance(1)
    return points


def as_reported(city: City, plan: Plan, entries: Mapping[str, Entry] = BASELINES) -> dict[str, Any] | None:
    """Return a point like those of the curves with each row known when it was reported; None where nobody knows when.

    The oracle of it knows every row at once, so nobody can reach it.
    """
    if city.reported_s is None:
        return None
    waited_s = city.reported_s - city.events.time_s
    quantiles = {f"{share:g}": float(np.quantile(waited_s, share)) for share in (0.5, 0.9, 0.99)}
    point = _point(city, replace(few_fits(plan), as_reported=True), entries)
    return {"delay_s_quantiles": quantiles, "forecasts": point}


def _point(city: City, plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Return log skill with its interval, and AUC, of every forecaster under one plan."""
    experiment = Experiment.open(city, plan)
    point = {}
    for name, one in judge_point(experiment, forecast_blocks(experiment, entries))["forecasts"].items():
        bits = one["against"].get(CLIMATOLOGY, {}).get("log_skill_bits", {"value": 0.0, "interval": [0.0, 0.0]})
        skill = {"log_skill_bits": bits["value"], "log_skill_bits_interval": bits["interval"]}
        point[name] = {**skill, "auc": one["auc"]}
    return point


# ------------------------------------------------------------ the real table


def baltimore(data: Path, folder: Path, tables: Sequence[str] = TABLES) -> Prepared:
    """Prepare the real tables in a folder."""
    from hews_gpu.data.prepare.command import prepare

    prepare(load_city(write_baltimore(folder, data, tables=tables)), folder / "prepared")
    return open_prepared(folder / "prepared")


def closed(prepared: Prepared) -> tuple[City, Plan]:
    """Return the real table up to its locked block, and how it is evaluated."""
    city = prepared_city(prepared, begin_s=seconds(BEGIN), end_s=prepared.city.splits.span_s("locked")[0])
    city.notes.update(tables=list(TABLES), locked_block=prepared.city.splits.locked, locked_block_opened=False)
    return city, Plan(first_test_s=seconds(FIRST_TEST), blocks=HALF_YEARS)


def judge_locked(prepared: Prepared, why: str, ledger: Path) -> dict[str, Any]:
    """Judge the locked block, once, after a rehearsal on as many years before it.

    Raises:
        UserError: it was opened before, or no reason is given.
    """
    locked_s, end_s = prepared.city.splits.span_s("locked")
    require_closed(prepared, locked_s=locked_s, end_s=end_s, ledger=ledger, why=why)
    before, _ = closed(prepared)
    before.notes["city"] += ", rehearsal on the years before the locked block"
    plan = Plan(first_test_s=2 * locked_s - end_s, blocks=LOCKED_HALF_YEARS)
    rehearsal = judge(before, plan, with_curves=False)
    begin_s = before.begin_s
    city, line = open_locked(prepared, begin_s=begin_s, locked_s=locked_s, end_s=end_s, ledger=ledger, why=why)
    city.notes.update(tables=list(TABLES), locked_block=prepared.city.splits.locked, locked_block_opened=line)
    result = judge(city, replace(plan, first_test_s=locked_s), with_curves=False)
    return {"baltimore": result, "rehearsal": rehearsal}


def seconds(day: str) -> int:
    """Return a date as local seconds."""
    return parse_local_time("date", day)


def judge_one(name: str, *, with_curves: bool) -> dict[str, Any]:
    """Judge a preset, or the real table up to its locked block."""
    if name in PRESETS:
        return judge(generated_city(name, years=YEARS, seed=CITY_SEED), Plan(), with_curves=with_curves)
    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        return judge(*closed(baltimore(data, Path(folder))), with_curves=with_curves)


def judge_all(*, jobs: int, with_curves: bool) -> dict[str, Any]:
    """Judge everything but the locked block, so many sources at a time."""
    names = [*(["baltimore"] if real_data() else []), *PRESETS]
    with processes(jobs) as run:
        results = dict(zip(names, run(partial(judge_one, with_curves=with_curves), names), strict=True))
    real = {name: results.pop(name) for name in names if name not in PRESETS}
    return {"presets": results, **real}


def judge_quickly(presets: Sequence[str]) -> dict[str, Any]:
    """Judge a few small cities on one block with one seed."""
    plan = Plan(blocks=1, seeds=(0,))
    cities = {name: generated_city(name, years=QUICK_YEARS, seed=CITY_SEED) for name in presets}
    return {"presets": {name: judge(city, plan, with_curves=False) for name, city in cities.items()}}


def judge_opened(why: str, *, quick: bool) -> dict[str, Any]:
    """Judge the locked block; the process ends in one line where it may not be opened."""
    data, commit = real_data(), header()["commit"]
    if data is None or quick:
        sys.exit("--open-locked-block: needs the whole evaluation and HEWS_REAL_DATA; leave --quick out, set the other")
    if commit == "unknown" or commit.endswith("-dirty"):
        sys.exit(f"--open-locked-block: the files differ from a commit ({commit}); commit first, it opens only once")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return {"commit": commit, **judge_locked(baltimore(data, Path(folder)), why, LEDGER)}
    except UserError as error:
        print(f"hews: {error}", file=sys.stderr)
        sys.exit(2)


def show(results: dict[str, Any]) -> None:
    """Print the scores of each source."""
    for name, result in results.get("presets", {}).items():
        print_table(f"{result['years']} years of {name}", skill_table(result))
    for name in ("rehearsal", "baltimore"):
        if name in results:
            print_table(results[name]["city"], skill_table(results[name]))


def main() -> None:
    """Judge, print, and save unless quick; or open the locked block, and save that."""
    flags = parse_flags(__doc__ or "", open_locked_block={"metavar": "WHY"}, jobs={"type": int, "metavar": "N"})
    if flags.open_locked_block is not None:
        finish("forecasts-locked", judge_opened(flags.open_locked_block, quick=flags.quick), flags, show)
    elif flags.quick:
        finish("forecasts", judge_quickly(PRESETS[:2]), flags, show)
    else:
        finish("forecasts", judge_all(jobs=flags.jobs or header()["cores"], with_curves=True), flags, show)


if __name__ == "__main__":
    main()
