"""Counts as arrays against counts as a Counter."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.data.quality.counts import Counts, added, count_values

NUMBERS = st.lists(st.integers(-300, 300), max_size=40)


def as_counter(counts: Counts) -> Counter[int]:
    assert (np.diff(counts.numbers) > 0).all() and (counts.rows > 0).all()
    return Counter(dict(zip(counts.numbers.tolist(), counts.rows.tolist(), strict=True)))


@given(st.lists(NUMBERS, max_size=5))
def test_sums_are_those_of_all_numbers_in_one(parts: list[list[int]]) -> None:
    total = sum(map(Counts.of, parts), Counts())
    expected = Counter(number for part in parts for number in part)
    assert as_counter(total) == expected and len(total) == len(expected)
    assert total.listed(range(-301, 302)) == [expected[number] for number in range(-301, 302)]
    for first, last in ((-300, 300), (-5, 5), (7, 7), (10, 5)):
        assert total.between(first, last) == sum(n for number, n in expected.items() if first <= number <= last)


def test_adding_by_name_changes_nothing_that_was_added() -> None:
    one, more = {"a": Counts.of([1])}, {"a": Counts.of([1, 2]), "b": Counts.of([3])}
    shared = more["b"]
    added(one, more)
    added(one, more)
    assert {name: as_counter(counts) for name, counts in one.items()} == {"a": {1: 3, 2: 2}, "b": {3: 2}}
    assert as_counter(shared) == {3: 1}


@given(st.one_of(NUMBERS, st.lists(st.integers(-(2**40), 2**40), max_size=20)))
def test_values_are_counted_in_their_order_however_far_they_lie_apart(values: list[int]) -> None:
    found = count_values(np.array(values, np.int64))
    assert found == Counter(values) and list(found) == sorted(set(values))
