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

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, header, parse_flags, real_data, save_result
from hews_gpu.config import city_template, load_city, parse_local_time
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import evaluate_city
from hews_gpu.evaluation.curves import as_reported, curves
from hews_gpu.evaluation.folds import Plan
from hews_gpu.evaluation.locked import open_locked, require_closed
from hews_gpu.evaluation.tables import skill_table
from hews_gpu.forecasters.city import City, generated_city, prepared_city
from hews_gpu.forecasters.registry import FORECASTERS

PRESETS = ("null", "strong", "spatial", "pairs", "realistic")
JUDGED = {name: entry for name, entry in FORECASTERS.items() if not entry.is_network}
NOTHING = "null"
YEARS, QUICK_YEARS = 10, 3
CITY_SEED = 1
"""Of the cities judged here; sizes of methods were chosen on cities of seed 0, which would flatter them."""
TABLES = ("portal_2012_2017.csv.gz", "arcgis_2016_2019.csv.gz")
BEGIN, FIRST_TEST = "2012-01-01", "2014-07-01"
HALF_YEARS, LOCKED_HALF_YEARS = 7, 4  # from the first test block to the locked one, and in that
LEDGER = RESULTS / "locked_block.jsonl"


def judge(city: City, plan: Plan, *, quick: bool) -> dict[str, Any]:
    """All that is measured on one source, and the processor seconds it took."""
    begin = time.process_time()
    found = evaluate_city(city, plan, JUDGED, where=True)
    places = found.pop("places")
    if not quick and city.notes.get("preset") != NOTHING:  # there no forecast has a skill to lose
        found["curves"] = curves(city, plan)
        found["as_reported"] = as_reported(city, plan)
    found["places"] = places
    return {**found, "processor_seconds": round(time.process_time() - begin, 1)}


def baltimore(data: Path, folder: Path) -> Prepared:
    """The real tables, prepared in a folder."""
    from hews_gpu.data.prepare.command import prepare

    text = city_template("baltimore")
    files = ", ".join(f'"{data / "baltimore" / name}"' for name in TABLES)
    outlines = data / "baltimore" / "csa_55_vitalsigns16.geojson.gz"
    for key, line in (("files = [", f"files = [{files}]"), ("file = ", f'file = "{outlines}"')):
        old = next(row for row in text.splitlines() if row.startswith(key))
        text = text.replace(old, line, 1)
    (folder / "city.toml").write_text(text, encoding="utf-8")
    prepare(load_city(folder / "city.toml"), folder / "prepared")
    return open_prepared(folder / "prepared")


def closed(prepared: Prepared) -> tuple[City, Plan]:
    """The real table up to its locked block, and how it is evaluated."""
    source = prepared_city(prepared, begin_s=seconds(BEGIN), end_s=prepared.city.splits.span_s("locked")[0])
    source.notes.update(tables=list(TABLES), locked_block=prepared.city.splits.locked, locked_block_opened=False)
    return source, Plan(first_test_s=seconds(FIRST_TEST), blocks=HALF_YEARS)


def judge_locked(prepared: Prepared, why: str, ledger: Path, *, quick: bool = False) -> dict[str, Any]:
    """The locked block's one judgment, after a rehearsal on as many years before it.

    Raises:
        UserError: it was opened before, or no reason is given.
    """
    locked_s, end_s = prepared.city.splits.span_s("locked")
    require_closed(prepared, locked_s=locked_s, end_s=end_s, ledger=ledger, why=why)
    before, _ = closed(prepared)
    before.notes["city"] += ", rehearsal on the years before the locked block"
    plan = Plan(first_test_s=2 * locked_s - end_s, blocks=LOCKED_HALF_YEARS)
    rehearsal = judge(before, plan, quick=quick)
    begin_s = before.begin_s
    source, line = open_locked(prepared, begin_s=begin_s, locked_s=locked_s, end_s=end_s, ledger=ledger, why=why)
    source.notes.update(tables=list(TABLES), locked_block=prepared.city.splits.locked, locked_block_opened=line)
    return {"baltimore": judge(source, replace(plan, first_test_s=locked_s), quick=quick), "rehearsal": rehearsal}


def seconds(day: str) -> int:
    """A date as local seconds."""
    return parse_local_time("date", day)


def main() -> None:
    """Judge, save unless quick, and print; or open the locked block, and save that."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--open-locked-block", metavar="WHY")
    parser.add_argument("--jobs", type=int)
    given = sys.argv[1:]
    opening, sys.argv[1:] = parser.parse_known_args()
    flags = parse_flags(__doc__ or "")
    sys.argv[1:] = given  # whole again, for the ledger and the file
    if opening.open_locked_block is None:
        name, results = "forecasts", judge_closed(quick=flags.quick, jobs=opening.jobs or header()["cores"])
    else:
        name, results = "forecasts-locked", opened(opening.open_locked_block, quick=flags.quick)
    if not flags.quick:
        print(f"saved {save_result(name, results)}", file=sys.stderr)
    if flags.json:
        print(json.dumps(results, indent=2, allow_nan=False))
        return
    for name, found in results.get("presets", {}).items():
        show(f"{found['years']} years of {name}", found)
    for name in ("rehearsal", "baltimore"):
        if name in results:
            show(results[name]["city"], results[name])


def judge_closed(*, quick: bool, jobs: int) -> dict[str, Any]:
    """Everything but the locked block; so many sources at a time."""
    if quick:
        plan = Plan(blocks=1, seeds=(0,))
        judged = {name: judge(generated(name, QUICK_YEARS), plan, quick=True) for name in PRESETS[:2]}
        return {"presets": judged}
    names = [*(["baltimore"] if real_data() else []), *PRESETS]
    found = side_by_side(judge_one, names, jobs)
    real = {name: found.pop(name) for name in names if name not in PRESETS}
    return {"presets": found, **real}


def side_by_side(find: Callable[[str], dict[str, Any]], names: Sequence[str], jobs: int) -> dict[str, dict[str, Any]]:
    """What a function of this or another module finds of each name, in so many processes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each of the processes to come
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_settle, initargs=(os.getpid(),)) as pool:
        return dict(zip(names, pool.map(find, names), strict=True))


def judge_one(name: str) -> dict[str, Any]:
    """All that is measured on a preset, or on the real table up to its locked block."""
    if name in PRESETS:
        return judge(generated(name, YEARS), Plan(), quick=False)
    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        return judge(*closed(baltimore(data, Path(folder))), quick=False)


def generated(preset: str, years: int) -> City:
    """A city to be judged on."""
    return generated_city(preset, years=years, seed=CITY_SEED)


def _settle(parent: int) -> None:
    """A worker writes lines, not bars over those of the others, and ends with whoever started it, however that ends."""
    sys.stderr.isatty = lambda: False  # type: ignore[method-assign]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def opened(why: str, *, quick: bool) -> dict[str, Any]:
    """What the locked block says; the process ends in one line where it may not be opened."""
    data, commit = real_data(), header()["commit"]
    if data is None or quick:
        sys.exit("--open-locked-block: needs the whole evaluation and HEWS_REAL_DATA; leave --quick out, set the other")
    if commit == "unknown" or commit.endswith("-dirty"):
        sys.exit(f"--open-locked-block: the files differ from a commit ({commit}); commit first, it opens only once")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return {"commit": commit, **judge_locked(baltimore(data, Path(folder)), why, LEDGER, quick=True)}
    except UserError as error:
        print(f"hews: {error}", file=sys.stderr)
        sys.exit(2)


def show(title: str, found: dict[str, Any]) -> None:
    """Print one source's scores."""
    heading, *rows = skill_table(found)
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(heading):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
