"""What a CNN sees on its maps that the calendar at its recent level does not tell: places, kinds, hours, or nothing.

The CNN is fitted on the same windows with its maps as they are, and with maps from which one thing is taken: where rows
are (each gets the place of another), of what kind (likewise), at what hour (all of a day's come at its end), all but
targets, or every row. What it adds to the log-odds of the level is weighted by one number, learned on the calibration
windows as a stack learns its weights. What is lost without something is what the CNN saw in it.

On gunfire in Washington and on Baltimore's table, both up to their locked blocks, and on generated cities of which it
is known what decides: in `strong` the kinds and hours of rows, in `origin` the place as well, in `evenings` nothing but
hour and season. The last is forecast, too, with a calendar that keeps the two apart, and so are real tables: a CNN is
given the hour and the season beside its maps, and could find by itself what such a calendar lacks. ``--quick``: one
generated city, two things taken, nothing saved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np

from benchmarks.common import finish, header, parse_flags, real_data
from hews_gpu.arrays import Float64
from hews_gpu.cli.printing import print_table
from hews_gpu.data.events import Events
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.mean_interval import mean_interval
from hews_gpu.forecasters.base import Setting, log_odds
from hews_gpu.forecasters.city import City, generated_city
from hews_gpu.forecasters.cnn import CnnForecaster
from hews_gpu.forecasters.logistic import expit, fit_with_offset, log_loss_each_bits
from hews_gpu.forecasters.registry import FORECASTERS
from hews_gpu.forecasters.stack import PRECISION_EXPERT
from hews_gpu.units import DAY_S
from hews_gpu.workers import processes
from studies.detections import STRETCHES, prepare_dc, stretch_of
from studies.forecasts import CITY_SEED, baltimore, closed
from studies.season import APART, EVENINGS, EVENINGS_YEARS, calendar, evenings, millibits, on_maps

AS_THEY_ARE, EMPTY = "as they are", "every row"
GENERATED, REAL = ("strong", "origin"), "baltimore"
QUICK_YEARS, YEARS, BLOCKS, SEEDS = 2, 6, 2, (0, 1)
PLAN = Plan(blocks=BLOCKS, seeds=SEEDS)

Taking = Callable[[Events, np.random.Generator], Events]


def _places(events: Events, rng: np.random.Generator) -> Events:
    other = rng.permutation(len(events))
    places = {name: getattr(events, name)[other] for name in ("longitude", "latitude", "neighborhood")}
    return replace(events, **places)


def _kinds(events: Events, rng: np.random.Generator) -> Events:
    return replace(events, category=rng.permutation(events.category))


def _hours(events: Events, rng: np.random.Generator) -> Events:
    """Move rows to the last second of their day: never to an earlier time than their own."""
    return replace(events, time_s=(events.time_s // DAY_S + 1) * DAY_S - 1)


def _others(events: Events, rng: np.random.Generator) -> Events:
    return events.take(events.is_target)


def _every(events: Events, rng: np.random.Generator) -> Events:
    return events.take(slice(0))


TAKEN: dict[str, Taking] = {
    "places": _places,
    "kinds": _kinds,
    "places and kinds": lambda events, rng: _kinds(_places(events, rng), rng),
    "hours": _hours,
    "all but targets": _others,
    EMPTY: _every,
}


def without(city: City, what: str) -> City:
    """Return a city from whose maps one thing was taken."""
    if what == AS_THEY_ARE:
        return city
    return on_maps(city, TAKEN[what](city.events, np.random.default_rng(CITY_SEED)))


def seen(experiment: Experiment, what: str) -> tuple[Float64, list[float]]:
    """Return the bits [S] by which a CNN on maps without one thing beats the level in the test windows, and weights.

    What it adds to the log-odds is the mean over seeds, each by one weight, which is learned on the windows before the
    block with the prior of a stack's weights.
    """
    city, catalog = without(experiment.city, what), experiment.catalog
    gained, weights = list[Float64](), list[float]()
    for fold in experiment.folds:
        test, calibration = experiment.part(fold.test), experiment.learned(fold, "calibration")
        past, added, level = catalog.until(fold.known_until_s), np.zeros(len(test)), np.zeros(len(test))
        for seed in SEEDS:
            one = FORECASTERS["cnn"].make(Setting(city=city, seed=seed))
            assert isinstance(one, CnnForecaster)
            one.fit(past, experiment.learned(fold, "train"), calibration)
            before = one.correction(calibration.windows, catalog.delay_s)[:, None]
            said = log_odds(one.base, past, calibration.windows)
            weights += fit_with_offset(before, calibration.y, said, PRECISION_EXPERT).tolist()
            added += weights[-1] * one.correction(test.windows, catalog.delay_s) / len(SEEDS)
            level = log_odds(one.base, catalog, test.windows)
        gained.append(log_loss_each_bits(test.y, expit(level)) - log_loss_each_bits(test.y, expit(level + added)))
    return np.concatenate(gained), weights


def judge(city: City, plan: Plan, *, taken: Iterable[str] = TAKEN, with_apart: bool = False) -> dict[str, Any]:
    """Return what a CNN adds to the level in bits per window, with its maps and without one thing on them."""
    begin = time.process_time()
    experiment = Experiment.open(city, plan)

    def told(bits: Float64) -> dict[str, Any]:
        return mean_interval(bits, plan.task.stride_s)

    by_map = {what: seen(experiment, what) for what in (AS_THEY_ARE, *taken)}
    with calendar(APART):
        apart = {what: told(seen(experiment, what)[0]) for what in (AS_THEY_ARE, EMPTY)} if with_apart else {}
    gained, _ = by_map[AS_THEY_ARE]
    return {
        "windows": len(experiment.test),
        "positives": int(experiment.test.y.sum()),
        "over_level": {what: told(bits) for what, (bits, _) in by_map.items()},
        "lost_without": {what: told(gained - by_map[what][0]) for what in taken},
        "weights": {what: weights for what, (_, weights) in by_map.items()},
        "over_level_hour_and_season_apart": apart,
        "processor_seconds": round(time.process_time() - begin, 1),
    }


def judge_one(name: str) -> dict[str, Any]:
    """Judge a generated city, or one stretch of a real table."""
    if name in GENERATED:
        return judge(generated_city(name, years=YEARS, seed=CITY_SEED), PLAN)
    if name == EVENINGS:
        return judge(evenings(EVENINGS_YEARS), PLAN, taken=(EMPTY,), with_apart=True)
    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        if name in STRETCHES:
            return judge(*stretch_of(prepare_dc(data, Path(folder), "clusters"), name, "clusters"), with_apart=True)
        city, plan = closed(baltimore(data, Path(folder)))
        return judge(city, replace(plan, blocks=BLOCKS), with_apart=True)


def show(results: dict[str, Any]) -> None:
    """Print gains in thousandths of a bit."""
    for name, one in results["cities"].items():
        rows = [["maps without", "over the level, millibits", "lost without it"]]
        for what, gained in one["over_level"].items():
            lost = one["lost_without"].get(what)
            title = "nothing: as they are" if what == AS_THEY_ARE else what
            rows.append([title, millibits(gained), millibits(lost) if lost else ""])
        for what, gained in one["over_level_hour_and_season_apart"].items():
            rows.append([f"{what}; hour and season apart", millibits(gained), ""])
        print_table(name, rows)


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        city = generated_city(GENERATED[0], years=QUICK_YEARS, seed=CITY_SEED)
        finish("sight", {"cities": {GENERATED[0]: judge(city, PLAN, taken=("places", EMPTY))}}, flags, show)
        return
    names = [*([*STRETCHES, REAL] if real_data() else []), *GENERATED, EVENINGS]
    with processes(header()["cores"]) as run:
        finish("sight", {"cities": dict(zip(names, run(judge_one, names), strict=True))}, flags, show)


if __name__ == "__main__":
    main()
