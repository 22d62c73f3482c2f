"""A generated city as arrays, without files and text: for research on models, which needs decades of many cities.

The arrays are those that ``hews prepare`` makes of the table that `write_city` writes with the same arguments: rows
that it would set aside are left out, the others are placed, marked and sorted by the same functions.

Shapes: E incidents, N neighborhoods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from hews_gpu.data.events import Events
from hews_gpu.data.geometry.point_in_polygon import OUTSIDE, engine_for
from hews_gpu.data.geometry.polygons import assign
from hews_gpu.data.prepare.duplicates import NEAR_TWIN, NONE, TWIN, Places, nearest_target
from hews_gpu.synthetic.addresses import PER_DEGREE
from hews_gpu.synthetic.areal import AreaTruth
from hews_gpu.synthetic.generate import Generated, generate
from hews_gpu.synthetic.geography import Ground, to_degrees
from hews_gpu.synthetic.process import MINUTE_S, Int64
from hews_gpu.synthetic.table import HOMICIDE, Entries, Role, make_entries, portal_table
from hews_gpu.synthetic.truth import Truth

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["TOLERANCE_M", "City", "neighborhoods_frame", "simulate_city"]

TOLERANCE_M = 250.0  # as in the city's TOML
POLYGON_DIGITS = 7  # decimals of a degree: a centimeter


@dataclass(frozen=True, kw_only=True)
class City:
    """A generated city: what happened, what is known when, and the truth."""

    preset: str
    seed: int
    begin_s: int
    """Local wall-clock seconds of the begin."""
    end_s: int
    """Of the end, not included."""
    events: Events
    known_s: Int64  # [E] local wall-clock seconds at which each row is reported; never before it happened
    truth: Truth | AreaTruth
    names: tuple[str, ...]  # [N] in the order that `Events.neighborhood` counts in
    polygons: tuple[shapely.Polygon, ...]  # [N] in longitude and latitude


def simulate_city(preset: str, *, seed: int = 0, years: int = 10, under_reporting: float = 0.0) -> City:
    """Draw a city and its history; the same arguments give the same.

    Args:
        preset: one of PRESETS.
        seed: everything random derives from it; each seed is another city.
        years: how many calendar years from 2021-01-01.
        under_reporting: share of the incidents, other than target events, that are left out of the table in a third of
            the neighborhoods.

    Raises:
        UserError: no such preset, or a number out of range.
    """
    made = generate(preset, seed=seed, years=years, under_reporting=under_reporting)
    if made.words is None:  # the order of the rows is drawn after their wording
        _, entries = portal_table(made.rng, made.cases, made.ground, made.begin_s)
    else:
        entries = make_entries(made.rng, made.cases)
    frame = neighborhoods_frame(made.ground)
    events, known_s = _events(made, entries, frame)
    return City(
        preset=preset,
        seed=seed,
        begin_s=made.begin_s,
        end_s=made.truth.end_s,
        events=events,
        known_s=known_s,
        truth=made.truth,
        names=made.ground.names,
        polygons=tuple(frame.geometry),
    )


def neighborhoods_frame(ground: Ground) -> GeoDataFrame:
    """The neighborhoods in longitude and latitude, to the centimeter: columns name and geometry."""
    import geopandas

    cells = shapely.transform(np.array(ground.cells), lambda xy_m: np.round(to_degrees(xy_m), POLYGON_DIGITS))
    return geopandas.GeoDataFrame({"name": list(ground.names)}, geometry=cells, crs="EPSG:4326")


def _events(made: Generated, entries: Entries, frame: GeoDataFrame) -> tuple[Events, Int64]:
    """What `prepare` makes of the rows, and when each is reported."""
    cases = made.cases
    degrees = np.rint(to_degrees(cases.xy_m) * PER_DEGREE) / PER_DEGREE  # as text with five decimals says it
    area = np.full(len(degrees), OUTSIDE, dtype=np.int16)
    located = np.flatnonzero(~np.isnan(degrees[:, 0]) & ~cases.is_zero)
    longitude, latitude = degrees[located].T
    area[located], _ = assign(frame, longitude, latitude, TOLERANCE_M, engine=engine_for(len(located)))
    time_s = made.begin_s + cases.minute * MINUTE_S

    row = np.flatnonzero(area[entries.case] != OUTSIDE)  # row ids, in the order of the table
    row = row[np.argsort(time_s[entries.case[row]], kind="stable")]
    case, died = entries.case[row], entries.died[row]
    category, categories = _categories(cases.category[case], died)
    is_target = cases.role[case] == Role.TARGET
    places = Places(time_s[case], degrees[case, 0], degrees[case, 1], row)
    events = Events(
        time_s=time_s[case],
        longitude=np.ascontiguousarray(places.longitude),
        latitude=np.ascontiguousarray(places.latitude),
        category=category,
        neighborhood=area[case],
        is_target=is_target,
        is_duplicate=_is_duplicate(case, died),
        is_twin=_is_twin(places, is_target),
        categories=categories,
    )
    return events, made.reported_s[case] if made.reported_s is not None else events.time_s


def _categories(
    name: np.typing.NDArray[np.object_], died: np.typing.NDArray[np.bool_]
) -> tuple[np.typing.NDArray[np.int16], tuple[str, ...]]:
    """Index [E] of each row's category among the names, in the order of the alphabet."""
    names, index = np.unique(name, return_inverse=True)
    all_names = sorted({*names.tolist(), *([HOMICIDE] if died.any() else [])})
    place = np.array([all_names.index(n) for n in names.tolist()], dtype=np.int16)[index]
    if died.any():
        place[died] = all_names.index(HOMICIDE)
        used = np.unique(place)
        place = np.searchsorted(used, place).astype(np.int16)
        all_names = [all_names[k] for k in used]
    return place, tuple(all_names)


def _is_duplicate(case: Int64, died: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.bool_]:
    """[E] whether an earlier row of the table says the same in every word: one of the same case and category.

    Rows of one case stand in the order of the table here, because they are of one time.
    """
    key = case * 2 + died
    _, first = np.unique(key, return_index=True)
    result = np.ones(len(case), dtype=np.bool_)
    result[first] = False
    return result


def _is_twin(places: Places, is_target: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.bool_]:
    """[E] whether a row reports the same event as a target row, as far as time and place tell."""
    targets, others = places.at(is_target), places.at(~is_target)
    result = np.zeros(len(is_target), dtype=np.bool_)
    near = [nearest_target(others, targets, reach) != NONE for reach in (TWIN, NEAR_TWIN)]
    result[~is_target] = near[0] | near[1]
    return result
