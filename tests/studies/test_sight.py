"""The study of what a CNN sees takes from maps what it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from hews_gpu.evaluation.folds import Plan
from hews_gpu.forecasters.city import generated_city
from hews_gpu.forecasters.registry import quick_cnn
from hews_gpu.units import DAY_S
from studies import sight
from studies.sight import AS_THEY_ARE, EMPTY, TAKEN, judge, without

COLUMNS = ("time_s", "longitude", "latitude", "neighborhood", "category")
CHANGED = {
    "places": {"longitude", "latitude", "neighborhood"},
    "kinds": {"category"},
    "places and kinds": {"longitude", "latitude", "neighborhood", "category"},
    "hours": {"time_s"},
}


@pytest.fixture(scope="module")
def city():
    return generated_city("strong", years=2, seed=5)


@pytest.mark.parametrize("what", CHANGED)
def test_one_thing_is_taken_and_the_rest_stays(city, what):
    before, after = city.events, without(city, what).events
    changed = {name for name in COLUMNS if not np.array_equal(getattr(before, name), getattr(after, name))}
    assert changed == CHANGED[what]
    for name in changed - {"time_s"}:  # the same numbers, of other rows
        np.testing.assert_array_equal(np.sort(getattr(before, name)), np.sort(getattr(after, name)))
    points = np.stack([after.longitude, after.latitude, after.neighborhood], axis=1)
    known = np.stack([before.longitude, before.latitude, before.neighborhood], axis=1)
    assert {tuple(point) for point in points.tolist()} <= {tuple(point) for point in known.tolist()}


def test_without_hours_no_row_is_shown_before_it_happened(city):
    before, after = city.events.time_s, without(city, "hours").events.time_s
    assert (after >= before).all() and (after // DAY_S == before // DAY_S).all()
    assert set((after % DAY_S).tolist()) == {DAY_S - 1}


def test_rows_go_from_the_maps(city):
    targets = without(city, "all but targets")
    assert targets.events.is_target.all() and len(targets.events) == city.events.is_target.sum() > 0
    empty = without(city, EMPTY)
    assert len(empty.events) == len(empty.prepared.events) == 0
    assert without(city, AS_THEY_ARE) is city and set(TAKEN) == {*CHANGED, "all but targets", EMPTY}


def test_what_the_maps_tell_is_lost_with_their_rows(city, monkeypatch):
    quick = replace(sight.FORECASTERS["cnn"], make=quick_cnn)
    monkeypatch.setattr(sight, "FORECASTERS", {"cnn": quick})
    monkeypatch.setattr(sight, "SEEDS", (0,))
    one = judge(city, Plan(blocks=1, seeds=(0,)), taken=(EMPTY,))
    gained, lost = (one[key][name]["value"] for key, name in (("over_level", AS_THEY_ARE), ("lost_without", EMPTY)))
    assert gained > 0.01 and lost == pytest.approx(gained - one["over_level"][EMPTY]["value"])
    assert abs(one["over_level"][EMPTY]["value"]) < 0.2 * gained
