"""What other tables add to a forecast: planted ones, of which it is known, and real ones.

The stack as `hews train` makes it, without the CNN, is fitted twice on the same windows: with the layer and without.
Planted: in a generated city all but the targets are moved into a layer, which so foretells by the city's own law, and
the closure is that of what the layer adds; a layer of rows at random; and one that gives the targets away, which the
audit has to refuse. Real (where HEWS_REAL_DATA has them): gunfire detections and crimes of Washington, shots fired in
Boston, arrests in Baltimore; each ends before any block that is kept closed. What would have been seen is told with
each: the gain for which an expert would have been kept, and whose interval would have been clear of zero.

``--quick``: three years of one generated city, nothing real, nothing saved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import pandas as pd

from benchmarks.common import finish, header, parse_flags, real_data
from benchmarks.inputs.cities import PORTAL, write_baltimore
from hews_gpu.arrays import Bool, Int64
from hews_gpu.audit.run import skill_gates
from hews_gpu.cli.printing import print_table
from hews_gpu.config import CityConfig, city_template, load_city
from hews_gpu.data.events import Events, LayerRows, open_prepared
from hews_gpu.evaluation.folds import Experiment, Plan
from hews_gpu.evaluation.mean_interval import mean_interval, ratio_interval
from hews_gpu.forecasters.base import LEVEL, Setting
from hews_gpu.forecasters.city import City, generated_city, whole_city
from hews_gpu.forecasters.logistic import log_loss_each_bits
from hews_gpu.forecasters.registry import EXPERTS, FORECASTERS
from hews_gpu.forecasters.stack import ERRORS, Stack
from hews_gpu.training.recipe import load_recipe
from hews_gpu.units import HOUR_S, MINUTE_S
from hews_gpu.workers import processes
from studies.forecasts import CITY_SEED, QUICK_YEARS

PRESETS = ("strong", "delayed")
YEARS = 6
PLAN = Plan(blocks=1, seeds=(0,))
LEAK_H = (0.6, 3.0)  # how long before a target a row that gives it away stands
TOLD = 0.8  # of the targets that it gives away


def losses(city: City, plan: Plan) -> dict[str, Any]:
    """Return the bits [S] lost in the test windows by level and stack, what the stack kept, and the experiment."""
    experiment = Experiment.open(city, plan)
    fold, test = experiment.folds[0], experiment.test
    past = experiment.catalog.until(fold.known_until_s)
    setting = Setting(city=city, recipe=replace(load_recipe(), experts=EXPERTS))
    result: dict[str, Any] = {"experiment": experiment}
    for name in (LEVEL, "stack"):
        one = FORECASTERS[name].make(setting)
        one.fit(past, experiment.learned(fold, "train"), experiment.learned(fold, "calibration"))
        result[name] = log_loss_each_bits(test.y, one.predict(experiment.catalog, test.windows))
        if isinstance(one, Stack):
            result["kept"] = list(one.fitted.experts)
            result["needed"] = max((ERRORS * gain.error for gain in one.fitted.gains), default=0.0)
    return result


def judge(city: City, plan: Plan) -> dict[str, Any]:
    """Measure what a city's layers add."""
    begin = time.process_time()
    with_it, without = losses(city, plan), losses(replace(city, layers=()), plan)
    experiment: Experiment = with_it["experiment"]
    stride_s, test = experiment.plan.task.stride_s, experiment.test
    added = mean_interval(without["stack"] - with_it["stack"], stride_s)
    result: dict[str, Any] = {
        "rows": {layer.name: len(layer) for layer in city.layers},
        "events": int(experiment.catalog.is_event.sum()),
        "windows": len(test),
        "share_with_a_target": float(test.y.mean()),
        "kept": with_it["kept"],
        "kept_without": without["kept"],
        "over_level_bits": mean_interval(with_it[LEVEL] - with_it["stack"], stride_s),
        "over_level_without_bits": mean_interval(without[LEVEL] - without["stack"], stride_s),
        "added_bits": added,
        "would_be_seen_bits": max((added["interval"][1] - added["interval"][0]) / 2, with_it["needed"]),
        "processor_seconds": round(time.process_time() - begin, 1),
    }
    oracle = experiment.oracle()
    if oracle is not None:
        best = log_loss_each_bits(test.y, oracle)
        closed = ratio_interval(without["stack"] - with_it["stack"], without["stack"] - best, stride_s)
        result["closure_of_what_it_adds"] = closed
    return result


# ------------------------------------------------------------ planted layers


def planted(preset: str, *, years: int = YEARS) -> City:
    """Return a generated city whose incidents are the targets alone, and all else a layer."""
    city = generated_city(preset, years=years, seed=CITY_SEED)
    events = city.events
    layer = _layer("context", events, ~events.is_target, np.asarray(events.time_s))
    kept = _rows(events, events.is_target)
    reported_s = None if city.reported_s is None else city.reported_s[events.is_target]
    return replace(city, events=kept, layers=(layer,), prepared=None, reported_s=reported_s)


def at_random(city: City) -> LayerRows:
    """Return a layer of as many rows as a city's own, at random times, with their places and categories in disorder."""
    (layer,), rng = city.layers, np.random.default_rng(CITY_SEED)
    time_s = np.sort(rng.integers(layer.time_s[0], layer.time_s[-1], len(layer)))
    order = rng.permutation(len(layer))
    places = {name: getattr(layer, name)[order] for name in ("category", "neighborhood", "longitude", "latitude")}
    return replace(layer, name="random", time_s=time_s, known_s=time_s + MINUTE_S, **places)


def leaking(city: City) -> LayerRows:
    """Return a layer of rows that stand before most targets, at their places, and as many that stand anywhere.

    So is a table of calls that keeps, under the time of the call, what was found out in the end.
    """
    rng, events = np.random.default_rng(CITY_SEED), city.events
    told = np.flatnonzero(events.is_target & (rng.random(len(events)) < TOLD))
    rows = np.concatenate([told, rng.choice(told, len(told))])
    before_s = (rng.uniform(*LEAK_H, len(told)) * HOUR_S).astype(np.int64)
    anywhere_s = rng.integers(events.time_s[0], events.time_s[-1], len(told))
    return _layer("calls", events, rows, np.concatenate([events.time_s[told] - before_s, anywhere_s]))


def _rows(events: Events, which: Bool | Int64) -> Events:
    columns: dict[str, Any] = {name: value for name, value in vars(events).items() if isinstance(value, np.ndarray)}
    return replace(events, **{name: value[which] for name, value in columns.items()})


def _layer(name: str, events: Events, which: Bool | Int64, time_s: Int64) -> LayerRows:
    """Return some rows as a layer, each known a minute after it happened; `time_s` is of each, or of all."""
    chosen = _rows(events, which)
    own_s = time_s[which] if len(time_s) == len(events) else time_s
    order = np.argsort(own_s, kind="stable")
    columns = {key: getattr(chosen, key)[order] for key in ("category", "neighborhood", "longitude", "latitude")}
    return LayerRows(
        name=name,
        time_s=own_s[order],
        known_s=own_s[order] + MINUTE_S,
        categories=events.categories,
        **columns,
    )


def judge_planted(preset: str, years: int = YEARS) -> dict[str, Any]:
    """Measure the layers planted into one generated city; `leaks` says what the audit finds of the last."""
    city = planted(preset, years=years)
    leak = replace(city, layers=(leaking(city),))
    return {
        "foretells": judge(city, PLAN),
        "random": judge(replace(city, layers=(at_random(city),)), PLAN),
        "leaks": [
            {"tested": one.tested, "verdict": one.verdict, "summary": one.summary} for one in skill_gates(leak, PLAN)
        ],
    }


# ------------------------------------------------------------ real layers

DETECTIONS = {"time": "time", "longitude": "lon", "latitude": "lat", "category": "type"}
CRIMES = {"time": "START_DATE", "longitude": "lon", "latitude": "lat", "category": "OFFENSE", "known": "REPORT_DAT"}


def _section(heading: str, values: dict[str, Any], columns: dict[str, str]) -> str:
    """Return a section of a city file with its columns."""
    lines = [heading, *(f"{key} = {value!r}" for key, value in values.items())]
    own = heading.strip("[]")
    return "\n".join([*lines, f"[{own}.columns]", *(f"{role} = {name!r}" for role, name in columns.items()), ""])


def _city(name: str, incidents: str, layer: str, polygons: tuple[Path, str], splits: list[str]) -> str:
    """Return the text of a city file; `splits` are the days at which the three splits begin, and the last one ends."""
    names = ("train", "validation", "test")
    days = [f"{key} = {list(span)!r}" for key, span in zip(names, pairwise(splits), strict=True)]
    where = f"[neighborhoods]\nfile = '{polygons[0]}'\nname = '{polygons[1]}'\n"
    city = f"[city]\nname = '{name}'\ntimezone = 'America/New_York'\n"
    return "\n".join([city, incidents, layer, where, "[splits]", *days, ""])


def ward_8(data: Path, folder: Path) -> str:
    """Casualties in ward 8 of Washington, by gun, and detections of gunfire."""
    crimes = pd.read_csv(data / "dc" / "incidents_wards348.csv.gz", dtype=str)
    crimes = crimes[crimes["WARD"] == "8"]
    by_gun = (crimes["METHOD"] == "GUN") & crimes["OFFENSE"].isin(["HOMICIDE", "ASSAULT W/DANGEROUS WEAPON"])
    crimes = crimes.assign(OFFENSE=crimes["OFFENSE"].where(~by_gun, "BY GUN"))
    crimes.to_csv(folder / "ward8.csv", index=False)
    columns = {role: name for role, name in CRIMES.items() if role != "known"}
    incidents = {"files": [str(folder / "ward8.csv")], "targets": ["BY GUN"], "times": "local"}
    layer = {"name": "gunfire", "files": [str(data / "dc" / "detections.csv.gz")], "times": "local"}
    return _city(
        "DC, ward 8: casualties by gun <- detections",
        _section("[incidents]", incidents, columns),
        _section("[[layers]]", layer, DETECTIONS),
        (data / "dc" / "police_service_areas.geojson.gz", "name"),
        ["2014-01-01", "2015-07-01", "2016-01-01", "2017-01-01"],
    )


def gunfire(data: Path, folder: Path) -> str:
    """Detections of gunfire in Washington, and crimes in three of its wards."""
    text = city_template("dc")
    files = {
        "data/dc/detections*.csv*": data / "dc" / "detections.csv.gz",
        "data/dc/neighborhood_clusters.geojson": data / "dc" / "neighborhood_clusters.geojson.gz",
    }
    for shipped, here in files.items():
        text = text.replace(shipped, str(here))
    crimes = data / "dc" / "incidents_wards348.csv.gz"
    layer = {"name": "crimes", "files": [str(crimes)], "times": "local"}
    return text.replace("\n[neighborhoods]\n", f"\n{_section('[[layers]]', layer, CRIMES)}\n[neighborhoods]\n")


def boston(data: Path, folder: Path) -> str:
    """Shooting victims in Boston, by police district, and confirmed shots fired."""
    at = {"time": "time", "area": "district"}
    victims = {"files": [str(data / "boston" / "shootings.csv.gz")], "targets": ["FATAL", "NON-FATAL"]}
    numbers = set(pd.read_csv(data / "boston" / "shootings.csv.gz", dtype=str)["incident_num"])
    shots = pd.read_csv(data / "boston" / "shots_fired.csv.gz", dtype=str)
    shots[~shots["incident_num"].isin(numbers)].to_csv(folder / "shots.csv", index=False)  # 30 became shootings
    layer = {"name": "shots", "files": [str(folder / "shots.csv")], "times": "local"}
    return _city(
        "Boston: shooting victims <- shots fired",
        _section("[incidents]", {**victims, "times": "local"}, {**at, "category": "shooting_type_v2"}),
        _section("[[layers]]", layer, {**at, "category": "ballistics_evidence"}),
        (data / "boston" / "police_districts.geojson.gz", "DISTRICT"),
        ["2015-01-01", "2019-01-01", "2020-01-01", "2022-06-01"],
    )


def arrests(data: Path, folder: Path) -> str:
    """Homicides and shootings in Baltimore, and arrests, of which only the day is known and half have no place."""
    columns = {"date": "date", "longitude": "lon", "latitude": "lat", "category": "incident_offense"}
    layer = {"name": "arrests", "files": [str(data / "baltimore" / "arrests" / "arrests_date_2014_2021.csv.gz")]}
    text = write_baltimore(folder, data, tables=(PORTAL,)).read_text(encoding="utf-8")
    return text.replace("\n[neighborhoods]\n", f"\n{_section('[[layers]]', layer, columns)}\n[neighborhoods]\n")


REAL: dict[str, Callable[[Path, Path], str]] = {
    "ward_8": ward_8,
    "gunfire": gunfire,
    "boston": boston,
    "arrests": arrests,
}


def judge_real(name: str) -> dict[str, Any]:
    """Measure one real layer, on the test split of its city."""
    from hews_gpu.data.prepare.command import prepare

    data = real_data()
    assert data is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "city.toml"
        path.write_text(REAL[name](data, Path(folder)), encoding="utf-8")
        prepare(load_city(path), Path(folder) / "prepared")
        prepared = open_prepared(Path(folder) / "prepared")
        result = judge(whole_city(prepared), _split(prepared.city))
        return {"city": prepared.city.city.name, "splits": _spans(prepared.city), **result}


def _split(city: CityConfig) -> Plan:
    parts = {"train": "train", "calibration": "validation", "test": "test"}
    return replace(PLAN, splits_s={part: city.splits.span_s(name) for part, name in parts.items()})


def _spans(city: CityConfig) -> dict[str, Any]:
    return {name: list(getattr(city.splits, name)) for name in ("train", "validation", "test")}


def judge_one(name: str) -> dict[str, Any]:
    """Judge a preset, or a real city."""
    return judge_real(name) if name in REAL else judge_planted(name)


def show(results: dict[str, Any]) -> None:
    """Print what each layer adds."""
    heading = ["city", "layer", "adds, bits", "would be seen", "closure", "kept"]
    rows = [_row(name, kind, one[kind]) for name, one in results["planted"].items() for kind in ("foretells", "random")]
    rows += [_row(one["city"], ", ".join(one["rows"]), one) for one in results.get("real", {}).values()]
    print_table("What layers add", [heading, *rows])
    refused = [
        [name, each["tested"], each["verdict"]] for name, one in results["planted"].items() for each in one["leaks"]
    ]
    print_table("What the audit says of a layer that gives targets away", [["city", "tested", "verdict"], *refused])


def _row(city: str, layer: str, one: dict[str, Any]) -> list[str]:
    def shown(value: dict[str, Any], digits: int) -> str:
        low, high = value["interval"]
        return f"{value['value']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    closure = one.get("closure_of_what_it_adds")
    seen = f"{one['would_be_seen_bits']:.4f}"
    kept = ", ".join(one["kept"]) or "none"
    return [city, layer, shown(one["added_bits"], 4), seen, shown(closure, 2) if closure else "", kept]


def main() -> None:
    """Judge, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    if flags.quick:
        finish("layers", {"planted": {"strong": judge_planted("strong", QUICK_YEARS)}}, flags, show)
        return
    names = [*(REAL if real_data() else []), *PRESETS]
    with processes(header()["cores"]) as run:
        results = dict(zip(names, run(judge_one, names), strict=True))
    real = {"real": {name: results.pop(name) for name in REAL}} if real_data() else {}
    finish("layers", {"planted": results, **real}, flags, show)


if __name__ == "__main__":
    main()
