"""Exact sides of lines against fractions, where float64 alone is wrong."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.kernels._shim import on_arrays
from hews_gpu.kernels.pip_scalars import exact_side, grow, side, two_product, two_sum

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-60)


def turn(*values):
    """The sign of the exact determinant."""
    ax, ay, bx, by, x, y = (Fraction(float(value)) for value in values)
    area = (ax - x) * (by - y) - (ay - y) * (bx - x)
    return (area > 0) - (area < 0)


def plain(ax, ay, bx, by, x, y):
    return np.sign((ax - x) * (by - y) - (ay - y) * (bx - x))


@settings(max_examples=500, deadline=None)
@given(NUMBERS, NUMBERS)
def test_a_sum_and_a_product_lose_nothing(a, b):
    assert sum(map(Fraction, two_sum(a, b))) == Fraction(a) + Fraction(b)
    assert sum(map(Fraction, two_product(a, b))) == Fraction(a) * Fraction(b)


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=5, max_size=5))
def test_growing_a_sum_loses_nothing_and_keeps_its_order(values):
    parts = (0.0, 0.0, 0.0, 0.0)
    lost = Fraction(0)
    for value in values:
        least, *parts = grow(*parts, value)
        lost += Fraction(least)
    assert lost + sum(map(Fraction, parts)) == sum(map(Fraction, values))
    sizes = [abs(part) for part in parts if part]
    assert sizes == sorted(sizes)


@settings(max_examples=500, deadline=None)
@given(st.lists(NUMBERS, min_size=6, max_size=6))
def test_a_side_is_exact_for_any_numbers(values):
    assert np.sign(side(*values)) == np.sign(exact_side(*values)) == turn(*values)


@settings(max_examples=500, deadline=None)
@given(st.lists(NUMBERS, min_size=4, max_size=4), st.floats(-2, 3), st.integers(-3, 3), st.integers(-3, 3))
def test_a_side_is_exact_next_to_the_line(values, share, steps_x, steps_y):
    ax, ay, bx, by = values
    x, y = ax + share * (bx - ax), ay + share * (by - ay)
    x, y = x + steps_x * np.spacing(x), y + steps_y * np.spacing(y)
    if min(abs(value) for value in (x, y) if value or True) < 1e-60 and (x or y):
        x, y = (value if abs(value) > 1e-60 else 0.0 for value in (x, y))
    for corners in ((ax, ay, bx, by, x, y), (bx, by, x, y, ax, ay), (x, y, ax, ay, bx, by)):
        assert np.sign(side(*corners)) == turn(*corners)
    assert np.sign(exact_side(ax, ay, bx, by, x, y)) == turn(ax, ay, bx, by, x, y)


def near_a_diagonal():
    """Points around (0.5, 0.5), one float64 step apart, against the line (12, 12)-(24, 24): the paper's figure 1."""
    steps = range(-8, 24)
    return [(0.5 + i * 2.0**-53, 0.5 + j * 2.0**-53) for i, j in itertools.product(steps, steps)]


def test_sides_near_a_diagonal_where_float64_is_often_wrong():
    wrong = 0
    for x, y in near_a_diagonal():
        expected = (y > x) - (y < x)
        assert np.sign(side(12.0, 12.0, 24.0, 24.0, x, y)) == expected
        wrong += plain(12.0, 12.0, 24.0, 24.0, x, y) != expected
    assert wrong > 100  # so the test asks for more than float64 gives


@pytest.mark.parametrize("body", [side, exact_side])
def test_the_plain_python_source_says_the_same(body):
    """What the simulator of a device runs."""
    for x, y in near_a_diagonal()[::7]:
        corners = (12.0, 12.0, 24.0, 24.0, x, y)
        assert np.sign(on_arrays(body)(*corners)) == turn(*corners)
