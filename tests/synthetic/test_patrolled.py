"""Patrols change what is recorded by the stated factors, and nothing else; the risk is that of the law."""

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.patrolled import (
    DISCOVERED,
    FOUND,
    PREVENTED,
    REPORTED,
    SHOOTING,
    WEAPONS,
    PatrolledCity,
    Response,
)

EVERY = slice(None)
UNCHANGED = Response(discovery=1, deterrence=1, reporting=1)


@pytest.fixture(scope="module")
def city():
    return PatrolledCity.draw(8, 3 * 365, 3)


@pytest.fixture(scope="module")
def by_looking(city):
    return np.isin(np.array(city.categories)[city.category], DISCOVERED)


def outcome(city, response, patrolled=True):
    return city.outcome(EVERY, np.full(len(city.time_s), patrolled), response)


def test_each_seed_is_a_city_of_its_own(city):
    again, other = PatrolledCity.draw(8, 3 * 365, 3), PatrolledCity.draw(8, 3 * 365, 4)
    for name in ("time_s", "category", "area", "xy_m", "luck"):
        np.testing.assert_array_equal(getattr(again, name), getattr(city, name))
    assert len(other.time_s) != len(city.time_s)
    assert (np.diff(city.time_s) >= 0).all() and set(city.area.tolist()) == set(range(8)) and len(city.polygons) == 8


def test_factors_of_one_change_nothing(city):
    np.testing.assert_array_equal(outcome(city, UNCHANGED), outcome(city, Response(), patrolled=False))
    assert set(outcome(city, UNCHANGED).tolist()) == {1, 2}  # nothing is prevented, nothing found


def test_each_factor_acts_on_its_own_categories(city, by_looking):
    usual = outcome(city, UNCHANGED)
    found = outcome(city, Response(discovery=6, deterrence=1, reporting=1))
    assert (found[by_looking] >= REPORTED).mean() == pytest.approx(0.9, abs=0.01)
    assert (usual[by_looking] == REPORTED).mean() == pytest.approx(0.15, abs=0.01)
    np.testing.assert_array_equal(found == REPORTED, usual == REPORTED)
    np.testing.assert_array_equal(found[~by_looking], usual[~by_looking])
    assert not (outcome(city, Response(discovery=0))[by_looking] >= REPORTED).any()
    deterred = outcome(city, Response(discovery=1, deterrence=0.7, reporting=1))
    assert (deterred[~by_looking] == PREVENTED).mean() == pytest.approx(0.3, abs=0.01)
    told = outcome(city, Response(discovery=1, deterrence=1, reporting=0.5))
    assert (told[~by_looking] == REPORTED).mean() == pytest.approx(0.4, abs=0.01)
    for other in (deterred, told):
        np.testing.assert_array_equal(other[by_looking], usual[by_looking])
        assert not (other == FOUND).any()


@pytest.mark.parametrize("target", [SHOOTING, WEAPONS])
def test_the_risk_is_that_of_the_law(target):
    city = PatrolledCity.draw(8, 12 * 365, 5)
    own = city.category == city.categories.index(target)
    counts = np.bincount(city.area[own], minlength=8)
    risk = city.risk(target)
    assert risk.sum() == pytest.approx(1)
    spread = np.sqrt(1.5) if target == SHOOTING else 1  # a weapon sets off half a shooting: they come together
    assert (np.abs(counts / own.sum() - risk) < 4 * spread * np.sqrt(risk / own.sum())).all()


def test_no_neighborhoods_and_factors_below_zero_are_refused():
    with pytest.raises(UserError, match=r"--neighborhoods = 0: must be 4\.\.55"):
        PatrolledCity.draw(0, 7, 0)
    for name, value in (("discovery", -1), ("reporting", -0.1), ("deterrence", 1.5), ("discovery", float("nan"))):
        with pytest.raises(UserError, match=f"--{name}"):
            Response(**{name: value})
