"""Each leak of the reference protocol is there until it is taken away, and gone from then on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.data.windows import targets_within
from hews_gpu.raster.rasterizer import reference_rasterizer
from hews_gpu.reference.leak_ablation import ROOMS
from hews_gpu.reference.leaks import GAP_S, LEAKS, split_by_time
from hews_gpu.reference.protocol import ReferenceObjective
from hews_gpu.train.recipe import load_recipe, parse_recipe

RECIPE = parse_recipe(load_recipe("reference_small").text.replace("seed = 0", "seed = 5"), "small")
HOUR_S = 3600


@pytest.fixture(scope="module")
def city(toy, tmp_path_factory):
    """The toy city, in which a theft in the minute of a shooting reports the same event."""
    frame = toy.incidents(contagion=0.3)
    shot = frame[frame["category"] == "SHOOTING"]
    twins = shot.assign(category="THEFT", longitude=shot["longitude"].clip(-76.59, -76.51))
    frame = frame.assign(row=np.arange(len(frame)), of=-1)
    twins = twins.assign(row=-1, of=shot.index)
    every = pd.concat([frame, twins]).sort_values("time_s", kind="stable", ignore_index=True)
    place = np.full(len(frame), -1)
    place[every["row"][every["row"] >= 0]] = every.index[every["row"] >= 0]
    of = [None if k < 0 else int(place[k]) for k in every["of"]]
    folder = toy.write(
        tmp_path_factory.mktemp("twins") / "prepared", every, extra={"twin_of": pa.array(of, pa.int64())}
    )
    return open_prepared(folder)


@pytest.fixture(scope="module")
def rooms(city):
    return {room: ReferenceObjective(city, RECIPE, without=without) for room, without in ROOMS.items()}


def maps_of(objective):
    test = objective.parts["test"].source
    return objective.rasterizer.maps(test.pairs), test


def shows(objective, city, mark):
    """Whether hiding marked rows changes a map of a window that is judged."""
    maps, test = maps_of(objective)
    config = replace(city.city.map, bounds=objective.rasterizer.geometry.bounds, height=48, width=40)
    config = replace(config, disc_radius_px=RECIPE.map.disc_radius_px, line_width_px=RECIPE.map.line_width_px)
    gone = {"targets": city.events.is_target, "twins": city.events.is_twin}
    hidden = sum((gone[name] for name in ("targets", "twins") if name == mark or name in objective.without), gone[mark])
    marked = replace(city.events, is_target=hidden > 0)
    framed = replace(city, city=replace(city.city, map=config), events=marked)
    other = reference_rasterizer(framed, without=("targets",))
    return bool((other.maps(test.pairs) != maps).any())


def mixed(objective, _):
    """Whether windows to judge on lie between those learned from, or within a day of them."""
    parts, length_s = objective.parts, objective.prepared.city.windows.length_s
    edges = [(part.start_s.min(), part.start_s.max() + length_s) for part in parts.values()]
    return not all(later[0] - before[1] >= GAP_S for before, later in pairwise(edges))


def even(objective, _):
    return float(np.concatenate([part.y for part in objective.parts.values()]).mean()) == pytest.approx(0.5, abs=0.03)


def sees_its_own_window(objective, city):
    """Whether a map changes when all that happens from the begin of its window on is gone."""
    test = objective.parts["test"]
    first = np.searchsorted(city.events.time_s, test.start_s)
    pairs = np.minimum(test.source.pairs, first[:, None])
    return bool((objective.rasterizer.maps(pairs) != maps_of(objective)[0]).any())


LEAKY = {
    "targets": lambda objective, city: shows(objective, city, "targets"),
    "twins": lambda objective, city: shows(objective, city, "twins"),
    "random_split": mixed,
    "balance": even,
    "same_window": sees_its_own_window,
}


def test_every_leak_has_a_room_and_a_check():
    assert list(ROOMS) == ["reference", *LEAKS] and set(LEAKY) == set(LEAKS)
    assert ROOMS["same_window"] == set(LEAKS) and not ROOMS["reference"]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_there_until_it_is_taken_away_and_gone_from_then_on(leak, rooms, city):
    found = {room: LEAKY[leak](objective, city) for room, objective in rooms.items()}
    assert found == {room: leak not in ROOMS[room] for room in ROOMS}


@pytest.mark.parametrize("leak", LEAKS)
def test_taking_one_away_takes_no_other(leak, city):
    objective = ReferenceObjective(city, RECIPE, without={leak})
    assert [name for name in LEAKS if not LEAKY[name](objective, city)] == [leak]


def test_at_true_prevalence_all_windows_are_there_with_their_own_labels(rooms, city):
    for room in ("balance", "same_window"):
        parts = rooms[room].parts
        start_s = np.concatenate([part.start_s for part in parts.values()])
        assert len(np.unique(start_s)) == len(start_s) > 0.97 * 1512 - 3 * 12
        held = targets_within(city.events, start_s, start_s + 2 * HOUR_S) > 0
        np.testing.assert_array_equal(held, np.concatenate([part.y for part in parts.values()]))


def test_balanced_and_not_the_later_months_are_the_same(rooms):
    few, all_of = (rooms[room].parts["test"].start_s for room in ("random_split", "balance"))
    assert set(few) < set(all_of)


def test_a_map_of_the_past_shows_the_window_before(rooms, city):
    test = rooms["same_window"].parts["test"]
    times = city.events.time_s
    for start_s, (first, last) in zip(test.start_s[:20], test.source.pairs[:20], strict=True):
        np.testing.assert_array_equal(times[first:last], times[(times >= start_s - 2 * HOUR_S) & (times < start_s)])


def test_the_edges_of_a_split_by_time():
    start_s = np.arange(0, 100 * GAP_S, GAP_S // 2)
    train, validation, test = split_by_time(start_s, GAP_S // 2, (0, 100 * GAP_S), (0.7, 0.1, 0.2))
    assert start_s[train[-1]] + GAP_S // 2 == 69 * GAP_S and start_s[validation[0]] == 70 * GAP_S
    assert start_s[validation[-1]] + GAP_S // 2 == 79 * GAP_S and start_s[test[0]] == 80 * GAP_S
    assert test[-1] == len(start_s) - 1
