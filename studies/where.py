"""Which blocks: forecasts of where on Baltimore's table, by neighborhood and by cell of 250 m, beside Predspot.

The long-run rate, a kernel density, near repeats and Predspot (https://pypi.org/project/predspot/) say how likely each
cell is; the recent level and HewsNet say it of neighborhoods, and are spread over the cells of each by the kernel
density. All learn from the same events and are judged on the same windows, those of 2017; the locked years stay closed.
Predspot's default pipeline is fitted anew every month on all that happened before it, in a Python of its own:

    python -m venv predspot && predspot/bin/pip install predspot==1.0.0
    hews bench where -- --predspot predspot/bin/python

Without ``--predspot`` it is left out, and the result says so. ``--quick``: a generated city, nothing saved.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np

from benchmarks.common import finish, parse_flags, real_data
from hews_gpu.arrays import Float64, Int64
from hews_gpu.cli.printing import print_table
from hews_gpu.evaluation.backtest import forecast_blocks
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.places import CELL_BASELINES, judge_places
from hews_gpu.forecasters.catalog import Catalog, Outcomes
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.neighborhoods import Ground, PlaceForecaster
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.units import DAY_S
from studies.forecasts import baltimore, closed, seconds

MODELS = ("level", "hewsnet")
FIRST_TEST = "2017-01-01"
SCRIPT = Path(__file__).with_name("inputs") / "predspot_cells.py"


class Predspot:
    """Predspot's monthly forecasts of the cells, by a Python that has it."""

    def __init__(self, ground: Ground, *, city: City, python: str) -> None:
        self._ground, self._city, self._python = ground, city, python

    def fit(self, past: Catalog, train: Outcomes) -> None:
        """It is fitted by the month, when it is asked."""

    def shares(self, seen: Catalog, issue_s: Int64) -> Float64:
        """Return the share [S, K] of each cell: that of the month of each issue time, from the events before it."""
        month = (issue_s // DAY_S).astype("datetime64[D]").astype("datetime64[M]")
        months, which = np.unique(month, return_inverse=True)
        events = seen.take(seen.is_event & (seen.time_s < int(months[-1].astype("datetime64[s]").astype(np.int64))))
        events = events.take(np.argsort(events.time_s, kind="stable"))
        lon, lat = self._city.degrees(events.xy_m).T
        area = np.concatenate(
            [self._city.degrees(edge(self._ground.cells_m, axis=0)[None])[0] for edge in (np.min, np.max)]
        )
        with tempfile.TemporaryDirectory() as folder:
            given, said = Path(folder) / "given.npz", Path(folder) / "said.npy"
            columns = {"t": events.time_s // DAY_S, "lon": lon, "lat": lat, "area": area}
            days = months.astype("datetime64[D]").astype(np.int64)
            np.savez(given, months=days, cells=self._city.degrees(self._ground.cells_m), **columns)
            subprocess.run([self._python, str(SCRIPT), str(given), str(said)], check=True)
            density = np.load(said)
        return np.asarray((density / density.sum(axis=1, keepdims=True))[which], dtype=np.float64)


def judge(city: City, plan: Plan, python: str | None) -> dict[str, Any]:
    """Judge one city, with Predspot where a Python that has it is given."""
    begin, experiment = time.perf_counter(), Experiment.open(city, plan)
    judged = forecast_blocks(experiment, {name: FORECASTERS[name] for name in MODELS}, where=True)
    areas = {name: one.areas for name, one in judged.items() if one.areas is not None}
    makers: dict[str, Callable[[Ground], PlaceForecaster]] = dict(CELL_BASELINES)
    if python is not None:
        makers["predspot"] = partial(Predspot, city=city, python=python)
    places = judge_places(experiment, areas, makers)
    ran = python is not None
    return {**city.notes, "predspot": ran, "places": places, "seconds": round(time.perf_counter() - begin, 1)}


def show(result: Mapping[str, Any]) -> None:
    """Print hit rates by cell, and places and time apart by neighborhood."""
    for name, one in result.items():
        heads = ["by cell", *(f"hit rate, PAI, RRI in {share:g} %" for share in (1, 5, 20))]
        rows = [
            [method, *map(_spot, scores["hot_spots"])] for method, scores in one["places"]["cells"]["forecasts"].items()
        ]
        print_table(name, [heads, *rows])
        bits = [
            [method, *(f"{scores['apart'][f'{part}_bits']:+.4f}" for part in ("geography", "foresight"))]
            for method, scores in one["places"]["forecasts"].items()
        ]
        print_table(name, [["by neighborhood", "geography, bits", "foresight, bits"], *bits])


def _spot(spot: Mapping[str, Any]) -> str:
    low, high = spot["hit_rate_interval"]
    return f"{spot['hit_rate']:.3f} [{low:.3f}, {high:.3f}], {spot['pai']:.2f}, {spot['rri']:.2f}"


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "", predspot={"metavar": "PYTHON", "help": "one in whose environment Predspot is"})
    if flags.quick:
        city, plan = generated_city("strong", years=2), Plan(blocks=1, seeds=(0,))
        finish("where", {"strong": judge(city, plan, flags.predspot)}, flags, show)
        return
    data = real_data()
    if data is None:
        sys.exit("where: HEWS_REAL_DATA must name the folder of the real tables; or give --quick")
    with tempfile.TemporaryDirectory() as folder:
        city, _ = closed(baltimore(data, Path(folder)))
        plan = Plan(first_test_s=seconds(FIRST_TEST), blocks=2, seeds=(0,))
        finish("where", {"baltimore": judge(city, plan, flags.predspot)}, flags, show)


if __name__ == "__main__":
    main()
