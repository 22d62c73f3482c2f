"""Every baseline and model, on generated cities whose truth is known and on the real table, by the rolling protocol.

Generated: ten years of each preset; the last four years are the test blocks. Real (where HEWS_REAL_DATA has it): the
Baltimore tables of 2012 to 2019 put together, of which the rolling evaluation ends with 2017; 2018 and 2019 are the
locked block: they are cut off before anything is counted, and nothing here opens them. ``--quick``: two presets, three
years, no curves, nothing saved.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from rich.console import Console
from rich.table import Table

from benchmarks.common import parse_flags, save_result
from hews_gpu.config import city_template, load_city, parse_local_time
from hews_gpu.data.events import open_prepared
from hews_gpu.evaluation.registry import FORECASTERS
from hews_gpu.evaluation.results import curves, evaluate_places, evaluate_source
from hews_gpu.evaluation.rolling import Plan
from hews_gpu.evaluation.sources import Source, prepared_source, synthetic_source
from hews_gpu.evaluation.summary import preset_table

PRESETS = ("null", "strong", "spatial", "pairs", "realistic")
YEARS, QUICK_YEARS = 10, 3
CITY_SEED = 1
"""Of the cities judged here; sizes of methods were chosen on cities of seed 0, which would flatter them."""
TABLES = ("portal_2012_2017.csv.gz", "arcgis_2016_2019.csv.gz")
BEGIN, FIRST_TEST, LOCKED, END = "2012-01-01", "2014-07-01", "2018-01-01", "2020-01-01"
HALF_YEARS = 7  # from the first test block to the locked one


def judge(source: Source, plan: Plan, *, quick: bool) -> dict[str, Any]:
    """All that is measured on one source, and the processor seconds it took."""
    begin = time.process_time()
    found = evaluate_source(source, plan, FORECASTERS)
    if not quick:
        found["curves"] = curves(source, plan, FORECASTERS)
    found["places"] = evaluate_places(source, plan)
    return {**found, "processor_seconds": round(time.process_time() - begin, 1)}


def baltimore(data: Path) -> tuple[Source, Plan]:
    """The real table up to its locked block, and how it is evaluated."""
    from hews_gpu.data.prepare import prepare

    text = city_template("baltimore")
    files = ", ".join(f'"{data / "baltimore" / name}"' for name in TABLES)
    outlines = data / "baltimore" / "csa_55_vitalsigns16.geojson.gz"
    for key, line in (("files = [", f"files = [{files}]"), ("file = ", f'file = "{outlines}"')):
        old = next(row for row in text.splitlines() if row.startswith(key))
        text = text.replace(old, line, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "city.toml").write_text(text, encoding="utf-8")
        prepare(load_city(folder / "city.toml"), folder / "prepared")
        prepared = open_prepared(folder / "prepared")
        source = prepared_source(prepared, begin_s=seconds(BEGIN), end_s=seconds(LOCKED))
    source.notes.update(tables=list(TABLES), locked_block=[LOCKED, END], locked_block_opened=False)
    return source, Plan(first_test_s=seconds(FIRST_TEST), blocks=HALF_YEARS)


def seconds(day: str) -> int:
    """A date as local seconds."""
    return parse_local_time("date", day)


def main() -> None:
    """Judge, save unless quick, and print."""
    flags = parse_flags(__doc__ or "")
    names, years = (PRESETS[:2], QUICK_YEARS) if flags.quick else (PRESETS, YEARS)
    results: dict[str, Any] = {"presets": {}}
    for name in names:
        plan = Plan(blocks=1, seeds=(0,)) if flags.quick else Plan()
        results["presets"][name] = judge(synthetic_source(name, years=years, seed=CITY_SEED), plan, quick=flags.quick)
    data = os.environ.get("HEWS_REAL_DATA")
    if data and not flags.quick:
        results["baltimore"] = judge(*baltimore(Path(data)), quick=False)
    if not flags.quick:
        print(f"saved {save_result('forecasts', results)}", file=sys.stderr)
    if flags.json:
        print(json.dumps(results, indent=2, allow_nan=False))
        return
    for name, found in results["presets"].items():
        show(f"{years} years of {name}", found)
    if "baltimore" in results:
        show("Baltimore, rolling through 2017", results["baltimore"])


def show(title: str, found: dict[str, Any]) -> None:
    """Print one source's scores."""
    heading, *rows = preset_table(found)
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(heading):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
