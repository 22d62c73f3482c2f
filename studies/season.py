"""What the season does to the hours of the day, and how much of what a CNN adds to a forecast is that alone.

On the real table up to its locked block (by a rolling origin of two blocks), on three generated cities in which the
season leaves the day as it is, and on `evenings`: ten years of one of them, thinned by hour and season until nights are
late in summer and early in winter. The climatology and the recent level stand beside those of a calendar that knows
hours and seasons but not the one in the other. On both levels a quick CNN is fitted, which is given the hour and the
season beside its maps: once with the maps as they are, and once with maps that are empty. ``--quick``: one generated
city, without the CNN, nothing saved.
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
from hews_gpu.arrays import Bool, Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.forecasters import climatology
from hews_gpu.forecasters.base import CLIMATOLOGY, LEVEL, Setting
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS, quick_cnn
from studies.forecasts import CITY_SEED, baltimore, closed

MAPS, EMPTY = "cnn", "cnn, empty maps"
APART, TOGETHER = "hour and season apart", "hour and season together"
GENERATED, YEARS, BLOCKS = ("clock", "wave", "null"), 6, 2
EVENINGS, EVENINGS_YEARS, SHIFT = "evenings", 10, 0.5  # in log-rate, between the usual night and those in summer
NO_WIDTH = 1e-4  # of the prior of what the season does to the day: it stays as it is


@contextmanager
def calendar(which: str) -> Iterator[None]:
    """Fit climatologies with the season in the day, or without."""
    with patch.object(climatology, "SEASONAL_WIDTHS", (NO_WIDTH,)) if which == APART else nullcontext():
        yield


def with_rows(city: City, kept: Bool) -> City:
    """Return a city with some of its rows [E], on its maps, too."""
    assert city.prepared is not None
    columns: dict[str, Any] = {
        name: column[kept] for name, column in vars(city.events).items() if isinstance(column, np.ndarray)
    }
    events = replace(city.events, **columns)
    return replace(city, events=events, prepared=city.prepared.with_rows(events), group=None, reported_s=None)


def evenings(years: int) -> City:
    """Return a generated city in which nothing but the calendar decides, and the season moves the night."""
    city = generated_city("clock", years=years, seed=CITY_SEED)
    time_s = city.events.time_s
    summer = -np.cos(2 * np.pi * climatology.month_of_year(time_s) / 12)
    late = np.cos(2 * np.pi * (climatology.hour_of_week(time_s) % 24 - 1) / 24)
    chance = np.exp(SHIFT * (summer * late - 1))
    return with_rows(city, np.random.default_rng(CITY_SEED).random(len(time_s)) < chance)


def losses(experiment: Experiment, which: str, *, with_cnn: bool) -> dict[str, Float64]:
    """Return the bits [S] that each forecaster loses in the test windows."""
    names, city = (CLIMATOLOGY, LEVEL, *((MAPS, EMPTY) if with_cnn else ())), experiment.city
    lost: dict[str, list[Float64]] = {name: [] for name in names}
    empty = with_rows(city, np.zeros(len(city.events), dtype=bool)) if with_cnn else city
    for fold in experiment.folds:
        test, past = experiment.part(fold.test), experiment.catalog.until(fold.known_until_s)
        train, calibration = experiment.learned(fold, "train"), experiment.learned(fold, "calibration")
        for name, each in lost.items():
            setting = Setting(city=empty if name == EMPTY else city)
            one = quick_cnn(setting) if name in (MAPS, EMPTY) else FORECASTERS[name].make(setting)
            with calendar(which):
                one.fit(past, train, calibration)
            each.append(log_loss_each_bits(test.y, one.predict(experiment.catalog, test.windows)))
    return {name: np.concatenate(each) for name, each in lost.items()}


def judge(city: City, plan: Plan, *, with_cnn: bool) -> dict[str, Any]:
    """Return the bits per window that the season in the day gains, and those that a CNN adds with it and without."""
    begin = time.process_time()
    experiment = Experiment.open(city, plan)
    lost = {which: losses(experiment, which, with_cnn=with_cnn) for which in (APART, TOGETHER)}

    def gained(before: Float64, after: Float64) -> dict[str, Any]:
        return mean_interval(before - after, plan.task.stride_s)

    season = {name: gained(lost[APART][name], lost[TOGETHER][name]) for name in lost[APART]}
    cnn = {
        which: {name: gained(each[LEVEL], each[name]) for name in (MAPS, EMPTY) if name in each}
        for which, each in lost.items()
    }
    of_maps = {which: gained(each[EMPTY], each[MAPS]) for which, each in lost.items() if MAPS in each}
    seconds = round(time.process_time() - begin, 1)
    return {"season": season, "cnn_over_level": cnn, "maps_over_empty": of_maps, "processor_seconds": seconds}


def show(result: dict[str, Any]) -> None:
    """Print gains in thousandths of a bit."""
    for name, each in result["cities"].items():
        rows = [["gain, millibits per window", "", ""]]
        rows += [["the season in the day", key, _millibits(one)] for key, one in each["season"].items()]
        for which, by_name in each["cnn_over_level"].items():
            rows += [[f"over the level, {which}", key, _millibits(one)] for key, one in by_name.items()]
        rows += [["maps over empty maps", which, _millibits(one)] for which, one in each["maps_over_empty"].items()]
        print_table(name, rows)


def _millibits(one: dict[str, Any]) -> str:
    value, (low, high) = one["value"], one["interval"]
    return f"{1000 * value:+.2f} [{1000 * low:+.2f}, {1000 * high:+.2f}]"


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    names, years = (GENERATED[:1], 2) if flags.quick else (GENERATED, YEARS)
    plan = Plan(blocks=BLOCKS, seeds=(0,))
    cities = {name: judge(generated_city(name, years=years, seed=CITY_SEED), plan, with_cnn=False) for name in names}
    if not flags.quick:
        cities[EVENINGS] = judge(evenings(EVENINGS_YEARS), plan, with_cnn=True)
    data = None if flags.quick else real_data()
    if data is None:
        flags.quick = True  # nothing that is worth keeping
    else:
        with tempfile.TemporaryDirectory() as folder:
            city, real = closed(baltimore(data, Path(folder)))
            cities["baltimore"] = judge(city, replace(real, blocks=BLOCKS, seeds=(0,)), with_cnn=True)
    finish("season", {"cities": cities}, flags, show)


if __name__ == "__main__":
    main()
