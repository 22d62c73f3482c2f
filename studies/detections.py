"""Gunfire in Washington, as sensors heard it: how much of it is foreseen, by what, and where.

A rolling origin on two releases of the table that no fit may reach over: 2009 to mid 2013, judged from 2012 on, and
2014 to 2016, judged from July 2015 on; by neighborhood cluster and, of the second, by police service area. Methods were
chosen on these. Beside the usual scores stands what remains of the stack's gain over the recent level without the days
around New Year and the Fourth of July, and how much of it is of whole days (as weather would be) instead of hours.

2017 and 2018 are the locked block: ``--open-locked-block WHY`` judges them and nothing else, once, as of `hews bench
forecasts`. ``--quick``: the first block of the second stretch, nothing saved.
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

import numpy as np

from benchmarks.common import finish, header, parse_flags, real_data
from hews_gpu.arrays import Bool, Float64, Int64
from hews_gpu.cli.printing import print_table
from hews_gpu.config import city_template, load_city
from hews_gpu.data.events import Prepared, open_prepared
from hews_gpu.data.windows import Windows
from hews_gpu.errors import UserError
from hews_gpu.evaluation.backtest import forecast_blocks, judge_experiment
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.judge import Judged
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.evaluation.tables import skill_table
from hews_gpu.forecasters.base import LEVEL, Entry, SaysWhere
from hews_gpu.forecasters.catalog import Catalog
from hews_gpu.forecasters.city import City, prepared_city
from hews_gpu.forecasters.logistic import log_loss_each_bits, logit
from hews_gpu.forecasters.registry import BASELINES, EXPERTS, FORECASTERS
from hews_gpu.forecasters.stack import Stack
from hews_gpu.units import DAY_S
from hews_gpu.workers import processes
from studies.families import STACK, Part
from studies.forecasts import LEDGER, seconds
from studies.inputs.locked import open_locked, require_closed

POLYGONS = {"clusters": "neighborhood_clusters", "areas": "police_service_areas"}
LOUD = ("12-31", "01-01", "07-03", "07-04", "07-05")
"""Days that are far louder than all others."""
LOCKED = ("2017-01-01", "2018-10-01")
STRETCHES: dict[str, dict[str, Any]] = {
    "2009-2013": {"begin": "2009-01-01", "first_test": "2012-01-01", "end": "2013-06-24", "blocks": 3},
    "2014-2016": {"begin": "2014-01-01", "first_test": "2015-07-01", "end": LOCKED[0], "blocks": 3},
}
LOCKED_BLOCKS = 4
CASES = (("2009-2013", "clusters"), ("2014-2016", "clusters"), ("2014-2016", "areas"))


class SaysWherePart(Part):
    """The same, and where."""

    def predict_areas(self, seen: Catalog, windows: Windows) -> Float64:
        """Return the probability [S, N] of a target in each window and neighborhood."""
        assert isinstance(self._one, SaysWhere)
        return self._one.predict_areas(seen, windows)


def prepare_dc(data: Path, folder: Path, polygons: str) -> Prepared:
    """Prepare the shipped city with one set of polygons."""
    from hews_gpu.data.prepare.command import prepare

    text = city_template("dc").replace("data/dc/detections*.csv*", str(data / "dc" / "detections.csv.gz"))
    text = text.replace("data/dc/neighborhood_clusters.geojson", str(data / "dc" / f"{POLYGONS[polygons]}.geojson.gz"))
    (folder / "dc.toml").write_text(text, encoding="utf-8")
    prepare(load_city(folder / "dc.toml"), folder / "prepared")
    return open_prepared(folder / "prepared")


def judge(city: City, plan: Plan) -> dict[str, Any]:
    """Measure one stretch of time."""
    begin, stacks = time.process_time(), dict[int, Stack]()
    experiment = Experiment.open(city, plan)
    entries: dict[str, Entry] = dict(BASELINES)
    for name in (STACK, *EXPERTS):
        entries[name] = Entry(title=FORECASTERS[name].title, make=partial(SaysWherePart, name=name, stacks=stacks))
    judged = forecast_blocks(experiment, entries, where=True)
    result = judge_experiment(experiment, judged)
    result["kept"] = [list(one.fitted.experts) for one in stacks.values()]
    result["gain_over_level"] = {name: _taken_apart(experiment, judged, name) for name in (STACK, *EXPERTS)}
    return {**result, "processor_seconds": round(time.process_time() - begin, 1)}


def _taken_apart(experiment: Experiment, judged: dict[str, Judged], name: str) -> dict[str, Any]:
    """Return the bits gained over the recent level: on all days, on those that are not loud, and by whole days.

    By whole days is the gain of a forecast that moves the level's log-odds by the mean of what this one moves them by
    over the windows of the day: what weather could give at most, and a diagnosis, as it looks ahead within the day.
    """
    test, stride_s = experiment.test, experiment.plan.task.stride_s
    level, said = logit(judged[LEVEL].p[0]), logit(judged[name].p[0])
    day = test.windows.begin_s // DAY_S
    by_day = level + _means(said - level, day)
    before = log_loss_each_bits(test.y, judged[LEVEL].p[0])
    gained = {"all": before - log_loss_each_bits(test.y, judged[name].p[0])}
    gained["by_day"] = before - log_loss_each_bits(test.y, 1 / (1 + np.exp(-by_day)))
    quiet = gained["all"][~_is_loud(day)]
    return {
        **{key: mean_interval(bits, stride_s) for key, bits in gained.items()},
        "quiet": mean_interval(quiet, stride_s),
    }


def _means(values: Float64, group: Int64) -> Float64:
    """Return for each value [S] the mean of its group."""
    number = np.unique(group, return_inverse=True)[1]
    return np.asarray((np.bincount(number, values) / np.bincount(number))[number], dtype=np.float64)


def _is_loud(day: Int64) -> Bool:
    return np.array([str(np.datetime64(int(one), "D"))[5:] in LOUD for one in day], dtype=bool)


def stretch_of(prepared: Prepared, stretch: str, polygons: str) -> tuple[City, Plan]:
    """Return one stretch of time of the prepared table, and how it is evaluated."""
    dates = STRETCHES[stretch]
    begin_s = seconds(dates["begin"])
    city = replace(prepared_city(prepared, begin_s=begin_s, end_s=seconds(dates["end"])), since_s=begin_s)
    city.notes.update(stretch=stretch, polygons=polygons, locked_block_opened=False)
    return city, Plan(first_test_s=seconds(dates["first_test"]), blocks=dates["blocks"], seeds=(0,))


def judge_case(case: tuple[str, str]) -> dict[str, Any]:
    """Judge one stretch by one set of polygons."""
    (stretch, polygons), data = case, real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        return judge(*stretch_of(prepare_dc(data, Path(folder), polygons), stretch, polygons))


def judge_locked(why: str) -> dict[str, Any]:
    """Judge the locked block, once, after all else that could go wrong has gone right on the years before it.

    Raises:
        UserError: it was opened before, or no reason is given.
    """
    data, (locked, end) = real_data(), (seconds(day) for day in LOCKED)
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_dc(data, Path(folder), "clusters")
        require_closed(prepared, locked_s=locked, end_s=end, ledger=LEDGER, why=why)
        judge_case(("2014-2016", "clusters"))
        begin_s = seconds(STRETCHES["2014-2016"]["begin"])
        city, line = open_locked(prepared, begin_s=begin_s, locked_s=locked, end_s=end, ledger=LEDGER, why=why)
        city.notes.update(stretch="2017-2018", polygons="clusters", locked_block_opened=line)
        return judge(city, Plan(first_test_s=locked, blocks=LOCKED_BLOCKS, seeds=(0,)))


def show(results: dict[str, Any]) -> None:
    """Print the scores of each case."""
    for name, result in results["cases"].items():
        print_table(name, skill_table(result))
        rows = [
            [key, *(_shown(one[part]) for part in ("all", "quiet", "by_day"))]
            for key, one in result["gain_over_level"].items()
        ]
        print_table(
            "Bits over the recent level", [["forecast", "all days", "without the loudest", "by whole days"], *rows]
        )


def _shown(value: dict[str, Any]) -> str:
    low, high = value["interval"]
    return f"{value['value']:+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    """Judge, print, and save unless quick; or open the locked block, and save that."""
    flags = parse_flags(__doc__ or "", open_locked_block={"metavar": "WHY"})
    if real_data() is None:
        sys.exit("the tables of Washington are in HEWS_REAL_DATA, which is not set")
    if flags.open_locked_block is not None:
        commit = header()["commit"]
        if flags.quick or commit == "unknown" or commit.endswith("-dirty"):
            sys.exit(f"--open-locked-block: leave --quick out, and commit first ({commit}): it opens only once")
        try:
            finish("detections-locked", {"cases": {"2017-2018": judge_locked(flags.open_locked_block)}}, flags, show)
        except UserError as error:
            print(f"hews: {error}", file=sys.stderr)
            sys.exit(2)
        return
    if flags.quick:
        STRETCHES["2014-2016"].update(end="2016-01-01", blocks=1)
        finish("detections", {"cases": {"2014-2016": judge_case(("2014-2016", "clusters"))}}, flags, show)
        return
    with processes(header()["cores"]) as run:
        results = dict(zip((" by ".join(case) for case in CASES), run(judge_case, CASES), strict=True))
    finish("detections", {"cases": results}, flags, show)


if __name__ == "__main__":
    main()
