"""A synthetic city: as files that ``hews prepare`` reads, or as the arrays that it would make of them.

`write_city` words the cases of a history as a table of text. `simulate_city` makes, without files and text, the arrays
that ``hews prepare`` makes of that table: for research on models, which needs decades of many cities. Rows that it
would set aside are left out, the others are placed, marked and sorted by the same functions.

Shapes: E cases or incidents, N neighborhoods.
"""

from __future__ import annotations

import gzip
import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from hews_gpu.arrays import Bool, Int16, Int64
from hews_gpu.config import city_template, parse_local_time
from hews_gpu.data.events import Events
from hews_gpu.data.geometry.point_in_polygon import OUTSIDE, engine_for, find_neighborhoods
from hews_gpu.data.geometry.polygons import areas_of
from hews_gpu.data.prepare.duplicates import NEAR_TWIN, NONE, TWIN, Places, nearest_target
from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.files import new_folder
from hews_gpu.synthetic.foreign_law import ForeignLaw
from hews_gpu.synthetic.foreign_presets import FOREIGN
from hews_gpu.synthetic.foreign_simulate import simulate_foreign
from hews_gpu.synthetic.geography import Layout, degrees_per_meter, to_degrees
from hews_gpu.synthetic.places import PER_DEGREE
from hews_gpu.synthetic.presets import DEMO, LAWS
from hews_gpu.synthetic.simulate import Seeds, simulate
from hews_gpu.synthetic.table import HOMICIDE, Cases, Entries, Role, make_cases, make_entries, portal_table
from hews_gpu.synthetic.truth_file import CityTruth, save_truth
from hews_gpu.units import DAY_S, HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = [
    "PRESETS",
    "YEARS",
    "SimulatedCity",
    "distinct",
    "generate",
    "neighborhood_frame",
    "simulate_city",
    "split_dates",
    "write_city",
]

PRESETS = (*LAWS, *FOREIGN)
YEARS = 4  # what the shipped demo.toml's splits are made for
BEGIN = "2021-01-01"  # a Friday; any midnight would do
UNDER_REPORTED_AREAS = 1 / 3  # share of the neighborhoods where rows are left out, if any are
PROMPT_S, LATE_S, LATEST_S = 20 * 60.0, 18 * 3600.0, 7 * DAY_S  # mean delays of most and of other reports; the most
LATE_SHARE = 0.25
TOLERANCE_M = 250.0  # as in the city's TOML
POLYGON_DIGITS = 7  # decimals of a degree: a centimeter
GZIP_LEVEL = 4  # a third of the size in a quarter of the time of the default 9
REPORTED = "ReportDateTime"  # a column beside the portal's own: when the row is known; nothing reads it
FINE_GROUPS = """\
targets = ["HOMICIDE", "SHOOTING"]
larceny = ["LARCENY"]
common_assault = ["COMMON ASSAULT"]
aggravated_assault = ["AGG. ASSAULT"]
robbery = ["ROBBERY - STREET", "ROBBERY - COMMERCIAL", "ROBBERY - RESIDENCE", "ROBBERY - CARJACKING"]
burglary = ["BURGLARY"]
"""
"""Instead of the demo's, where a preset's truth depends on what they would mix."""


@dataclass(frozen=True, kw_only=True)
class SimulatedCity:
    """A synthetic city as arrays: what happened, what is known when, and the truth."""

    begin_s: int
    """Local wall-clock seconds of the begin."""
    end_s: int
    """Of the end, not included."""
    events: Events
    known_s: Int64  # [E] local wall-clock seconds at which each row is reported; never before it happened
    truth: CityTruth
    names: tuple[str, ...]  # [N] in the order that `Events.neighborhood` counts in
    polygons: tuple[shapely.Polygon, ...]  # [N] in longitude and latitude


def simulate_city(preset: str, *, seed: int = 0, years: int = 10, under_reporting: float = 0.0) -> SimulatedCity:
    """Draw a city and its history as arrays; the same arguments give the same.

    Args:
        preset: one of PRESETS, see `presets`.
        seed: everything random derives from it; each seed is another city.
        years: how many calendar years from 2021-01-01.
        under_reporting: share of the incidents, other than target events, that are left out of the table in a third of
            the neighborhoods.

    Raises:
        UserError: no such preset, or a number out of range.
    """
    made = generate(preset, seed=seed, years=years, under_reporting=under_reporting)
    if made.words is None:  # the order of the rows is drawn after their wording
        _, entries = portal_table(made.rng, made.cases, made.layout, made.begin_s)
    else:
        entries = make_entries(made.rng, made.cases)
    frame = neighborhood_frame(made.layout)
    events, known_s = _prepared(made, entries, frame)
    return SimulatedCity(
        begin_s=made.begin_s,
        end_s=made.truth.end_s,
        events=events,
        known_s=known_s,
        truth=made.truth,
        names=made.layout.names,
        polygons=tuple(frame.geometry),
    )


def write_city(
    folder: Path,
    *,
    seed: int = 0,
    years: int = YEARS,
    preset: str = DEMO,
    under_reporting: float = 0.0,
    force: bool = False,
) -> Path:
    """Simulate a city and write it: incidents.csv.gz, neighborhoods.geojson, truth.npz and its TOML.

    The same arguments give the same bytes (with the same versions of the libraries).

    The splits in the TOML are scaled to the years. The folder must not exist, or be empty, unless `force` replaces an
    older city; other arguments are those of `simulate_city`.

    Returns:
        The path of the TOML, which is named after the preset.

    Raises:
        UserError: no such preset, a number out of range, or the folder may not be written.
    """
    notes = {"preset": preset, "seed": seed, "years": years, "under_reporting": under_reporting}
    made = generate(preset, seed=seed, years=years, under_reporting=under_reporting)
    with new_folder(folder, kind="city", force=force, notes=notes) as partial:
        table, entries = portal_table(made.rng, made.cases, made.layout, made.begin_s, made.words)
        if made.reported_s is not None:
            stamps = np.datetime_as_string(made.reported_s.astype("datetime64[s]")).tolist()
            written = np.array([stamp.replace("-", "/").replace("T", " ") for stamp in stamps], dtype=object)
            table[REPORTED] = written[entries.case]  # 2021/01/31 23:59:00
        content = table.to_csv(index=False, lineterminator="\n").encode()
        # without a time stamp or name inside, so that the bytes depend on the table alone
        packed = gzip.compress(content, compresslevel=GZIP_LEVEL, mtime=0)
        (partial / "incidents.csv.gz").write_bytes(packed)
        polygons = partial / "neighborhoods.geojson"
        neighborhood_frame(made.layout).to_file(polygons, driver="GeoJSON", COORDINATE_PRECISION=POLYGON_DIGITS)
        save_truth(made.truth, partial / "truth.npz")
        (partial / f"{preset}.toml").write_text(_toml(preset, years), encoding="utf-8")
    return folder / f"{preset}.toml"


def _toml(preset: str, years: int) -> str:
    """Return the demo's file with the splits, and where it must be so the channels, of this city."""
    text = city_template(DEMO)
    for name, (begin, end) in split_dates(years).items():
        text = re.sub(rf"(?m)^{name} = \[[^\]]*\]", f'{name} = ["{begin}", "{end}"]', text)
    if preset == "pairs" or preset in FOREIGN:
        text = re.sub(r"(?s)(\[channels\.groups\][^\n]*\n).*?\n(?=\n\[)", rf"\g<1>{FINE_GROUPS}", text)
    return text


def split_dates(years: int) -> dict[str, tuple[str, str]]:
    """Return begin and end of each split: five eighths of the months to train, one to validate, two to test."""
    months = 12 * years
    cuts = [_first_day(month) for month in (0, round(months * 5 / 8), round(months * 6 / 8), months)]
    return dict(zip(("train", "validation", "test"), itertools.pairwise(cuts), strict=True))


def _first_day(months: int) -> str:
    """Return the first day of the month that is so many months after the begin."""
    return f"{np.datetime64(BEGIN, 'M') + months}-01"


def neighborhood_frame(layout: Layout) -> GeoDataFrame:
    """Return the neighborhoods in longitude and latitude, to the centimeter: columns name and geometry."""
    import geopandas

    cells = shapely.transform(np.array(layout.cells), lambda xy_m: np.round(to_degrees(xy_m), POLYGON_DIGITS))
    return geopandas.GeoDataFrame({"name": list(layout.names)}, geometry=cells, crs="EPSG:4326")


# ---------------------------------------------------------------- the cases of a city


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A city before it is written down."""

    begin_s: int
    layout: Layout
    truth: CityTruth
    cases: Cases
    reported_s: Int64 | None  # [E] when a case is reported; None: at once
    rng: np.random.Generator
    """Of the order of the rows; the cases have been drawn from it."""
    words: np.random.Generator | None
    """Of the wording; None: the same as `rng`, and before it."""


def generate(preset: str, *, seed: int, years: int, under_reporting: float = 0.0) -> Generated:
    """Draw a city, its history and the cases that its table reports; arguments and errors as for `simulate_city`."""
    if preset not in PRESETS:
        raise UserError("preset", preset, allowed="is not known", remedy=did_you_mean(preset, PRESETS))
    if not 1 <= years <= 40:
        raise UserError("years", years, allowed="must be 1..40")
    if seed < 0:
        raise UserError("seed", seed, allowed="must be 0 or more")
    if not 0 <= under_reporting <= 1:
        raise UserError("under_reporting", under_reporting, allowed="must be 0..1")
    begin_s, end_s = (parse_local_time("begin", text) for text in (BEGIN, _first_day(12 * years)))
    law = LAWS[preset] if preset in LAWS else FOREIGN[preset]
    seeds = Seeds.of(law, seed)
    hours = (end_s - begin_s) // HOUR_S
    if isinstance(law, ForeignLaw):
        history = simulate_foreign(law, seeds, begin_s=begin_s, hours=hours)
    else:
        history = simulate(law, seeds, begin_s=begin_s, hours=hours)
    roles = dict.fromkeys(law.sources, Role.TRIGGER) | {law.target: Role.TARGET}
    rng = np.random.default_rng(seeds.table)
    end_minute = (end_s - begin_s) // MINUTE_S
    cases = distinct(make_cases(rng, history.events, roles, end_minute, history.layout))
    reported_s = None
    if seeds.reports is not None:
        delay_s = _report_delay_s(np.random.default_rng(seeds.reports), len(cases.minute))
        reported_s = begin_s + cases.minute * MINUTE_S + delay_s
    made = Generated(
        begin_s=begin_s,
        layout=history.layout,
        truth=history.truth,
        cases=cases,
        reported_s=reported_s,
        rng=rng,
        words=np.random.default_rng(seeds.words) if seeds.words is not None else None,
    )
    return _under_reported(np.random.default_rng([seed, 1]), made, under_reporting) if under_reporting else made


def _report_delay_s(rng: np.random.Generator, count: int) -> Int64:
    """Draw reporting delays [E], of an hour for most cases, of hours or days for others; whole minutes."""
    mean_s = np.where(rng.random(count) < LATE_SHARE, LATE_S, PROMPT_S)
    delay = np.minimum(rng.exponential(mean_s), LATEST_S) // MINUTE_S
    return np.asarray(delay * MINUTE_S, dtype=np.int64)


def distinct(cases: Cases) -> Cases:
    """Move cases of one category, minute and place apart by a meter: else their rows might be equal word for word.

    That would make one the other's duplicate, or not, by their wording, which only a written table has.
    """
    xy_m = cases.xy_m.copy()
    step_m = 1.0 / (PER_DEGREE * degrees_per_meter()[0])
    category = np.unique(cases.category, return_inverse=True)[1]
    while True:
        point = np.rint(np.nan_to_num(to_degrees(xy_m)) * PER_DEGREE).astype(np.int64)  # as the table has them
        keys = np.column_stack([category, cases.minute, point])
        order = np.lexsort(keys.T)
        same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
        again = order[1:][same]
        again = again[~np.isnan(xy_m[again, 0])]
        if not len(again):
            return replace(cases, xy_m=xy_m)
        xy_m[again, 0] += step_m


def _under_reported(rng: np.random.Generator, made: Generated, share: float) -> Generated:
    """Leave a share of the cases out in some neighborhoods, but no target events."""
    cases, areas = made.cases, len(made.layout.cells)
    silent = rng.permutation(areas) < round(areas * UNDER_REPORTED_AREAS)
    area = made.layout.neighborhood(np.nan_to_num(cases.xy_m, nan=1e9))
    left_out = (area >= 0) & silent[area] & (cases.role != Role.TARGET) & (rng.random(len(area)) < share)
    kept = np.flatnonzero(~left_out)
    parts = {name: value[kept] for name, value in vars(cases).items()}
    reported_s = made.reported_s[kept] if made.reported_s is not None else None
    return replace(made, cases=Cases(**parts), reported_s=reported_s)


# ---------------------------------------------------------------- what `prepare` makes of them


def _prepared(made: Generated, entries: Entries, frame: GeoDataFrame) -> tuple[Events, Int64]:
    """Return what `prepare` makes of the rows, and when each is reported."""
    cases = made.cases
    degrees = np.rint(to_degrees(cases.xy_m) * PER_DEGREE) / PER_DEGREE  # as text with five decimals says it
    area = np.full(len(degrees), OUTSIDE, dtype=np.int16)
    located = np.flatnonzero(~np.isnan(degrees[:, 0]) & ~cases.is_zero)
    longitude, latitude = degrees[located].T
    engine = engine_for(len(located))
    area[located], _ = find_neighborhoods(areas_of(frame), longitude, latitude, TOLERANCE_M, engine=engine)
    time_s = made.begin_s + cases.minute * MINUTE_S

    row = np.flatnonzero(area[entries.case] != OUTSIDE)  # row ids, in the order of the table
    row = row[np.argsort(time_s[entries.case[row]], kind="stable")]
    case, died = entries.case[row], entries.died[row]
    category, categories = _categories(cases.category[case], died)
    is_target = cases.role[case] == Role.TARGET
    places = Places(time_s[case], degrees[case, 0], degrees[case, 1], row)
    targets, others = places.at(is_target), places.at(~is_target)
    is_twin = np.zeros(len(row), dtype=np.bool_)
    is_twin[~is_target] = (nearest_target(others, targets, TWIN) != NONE) | (
        nearest_target(others, targets, NEAR_TWIN) != NONE
    )
    # a row is a duplicate if an earlier one says the same in every word: one of the same case and category
    _, first = np.unique(case * 2 + died, return_index=True)
    is_duplicate = np.ones(len(row), dtype=np.bool_)
    is_duplicate[first] = False
    events = Events(
        time_s=time_s[case],
        longitude=np.ascontiguousarray(places.longitude),
        latitude=np.ascontiguousarray(places.latitude),
        category=category,
        neighborhood=area[case],
        is_target=is_target,
        is_duplicate=is_duplicate,
        is_twin=is_twin,
        categories=categories,
    )
    return events, made.reported_s[case] if made.reported_s is not None else events.time_s


def _categories(name: npt.NDArray[np.object_], died: Bool) -> tuple[Int16, tuple[str, ...]]:
    """Return the index [E] of each row's category among the names, in the order of the alphabet."""
    names, index = np.unique(name, return_inverse=True)
    all_names = sorted({*names.tolist(), HOMICIDE})
    category = np.array([all_names.index(n) for n in names.tolist()], dtype=np.int16)[index]
    category[died] = all_names.index(HOMICIDE)
    used = np.unique(category)
    return np.searchsorted(used, category).astype(np.int16), tuple(all_names[k] for k in used)
