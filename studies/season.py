"""What the season does to the hours of the day.

On the real table up to its locked block (by a rolling origin of two blocks), on three generated cities in which the
season leaves the day as it is, and on `evenings`: ten years of one of them, thinned by hour and season until nights are
late in summer and early in winter. The climatology and the recent level stand beside those of a calendar that knows
hours and seasons but not the one in the other. ``--quick``: one generated city, nothing saved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np

from benchmarks.common import finish, parse_flags, real_data
from hews_gpu.arrays import Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.data.events import Events
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.forecasters import climatology
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Setting
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS
from studies.forecasts import CITY_SEED, baltimore, closed

APART, TOGETHER = "hour and season apart", "hour and season together"
GENERATED, YEARS, BLOCKS = ("clock", "wave", "null"), 6, 2
EVENINGS, EVENINGS_YEARS, SHIFT = "evenings", 10, 0.5  # in log-rate, between the usual night and those in summer
NO_WIDTH = 1e-4  # of the prior of what the season does to the day: it stays as it is


@contextmanager
def calendar(which: str) -> Iterator[None]:
    """Fit climatologies with the season in the day, or without."""
    with patch.object(climatology, "SEASONAL_WIDTHS", (NO_WIDTH,)) if which == APART else nullcontext():
        yield


def on_maps(city: City, events: Events) -> City:
    """Return a city of other rows, on its maps, too."""
    assert city.prepared is not None
    return replace(city, events=events, prepared=city.prepared.with_rows(events), group=None, reported_s=None)


def evenings(years: int) -> City:
    """Return a generated city in which nothing but the calendar decides, and the season moves the night."""
    city = generated_city("clock", years=years, seed=CITY_SEED)
    time_s = city.events.time_s
    summer = -np.cos(2 * np.pi * climatology.month_of_year(time_s) / 12)
    late = np.cos(2 * np.pi * (climatology.hour_of_week(time_s) % 24 - 1) / 24)
    chance = np.exp(SHIFT * (summer * late - 1))
    return on_maps(city, city.events.take(np.random.default_rng(CITY_SEED).random(len(time_s)) < chance))


def losses(experiment: Experiment, which: str) -> dict[str, Float64]:
    """Return the bits [S] that each forecaster loses in the test windows."""
    lost: dict[str, list[Float64]] = {CLIMATOLOGY: [], LEVEL: []}
    for fold in experiment.folds:
        test, past = experiment.part(fold.test), experiment.catalog.until(fold.known_until_s)
        train, calibration = experiment.learned(fold, "train"), experiment.learned(fold, "calibration")
        for name, each in lost.items():
            one = FORECASTERS[name].make(Setting(city=experiment.city))
            with calendar(which):
                one.fit(past, train, calibration)
            each.append(log_loss_each_bits(test.y, one.predict(experiment.catalog, test.windows)))
    return {name: np.concatenate(each) for name, each in lost.items()}


def judge(city: City, plan: Plan) -> dict[str, Any]:
    """Return the bits per window that the season in the day gains."""
    begin = time.process_time()
    experiment = Experiment.open(city, plan)
    apart, together = (losses(experiment, which) for which in (APART, TOGETHER))
    season = {name: mean_interval(apart[name] - together[name], plan.task.stride_s) for name in apart}
    return {"season": season, "processor_seconds": round(time.process_time() - begin, 1)}


def show(result: dict[str, Any]) -> None:
    """Print gains in thousandths of a bit."""
    for name, each in result["cities"].items():
        rows = [[key, millibits(one)] for key, one in each["season"].items()]
        print_table(name, [["what the season in the day gains", "millibits per window"], *rows])


def millibits(one: dict[str, Any]) -> str:
    """Return a mean with its interval in thousandths."""
    value, (low, high) = one["value"], one["interval"]
    return f"{1000 * value:+.2f} [{1000 * low:+.2f}, {1000 * high:+.2f}]"


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    names, years = (GENERATED[:1], 2) if flags.quick else (GENERATED, YEARS)
    plan = Plan(blocks=BLOCKS, seeds=(0,))
    cities = {name: judge(generated_city(name, years=years, seed=CITY_SEED), plan) for name in names}
    if not flags.quick:
        cities[EVENINGS] = judge(evenings(EVENINGS_YEARS), plan)
    data = None if flags.quick else real_data()
    if data is None:
        flags.quick = True  # nothing that is worth keeping
    else:
        with tempfile.TemporaryDirectory() as folder:
            city, real = closed(baltimore(data, Path(folder)))
            cities["baltimore"] = judge(city, replace(real, blocks=BLOCKS, seeds=(0,)))
    finish("season", {"cities": cities}, flags, show)


if __name__ == "__main__":
    main()
