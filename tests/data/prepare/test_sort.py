"""Buckets of the external sort: they cover every day once, in order, and hold a bounded number of rows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.data.prepare.sort import bucket_edges
from hews_gpu.units import DAY_S


@given(st.dictionaries(st.integers(-400, 400), st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_buckets_cover_every_second_of_every_day_once(days: dict[int, int], rows: int) -> None:
    edges = bucket_edges(Counter(days), rows).tolist()
    assert edges[0] == min(days) * DAY_S and edges[-1] == (max(days) + 1) * DAY_S
    for begin, end in pairwise(edges):
        inside = [count for day, count in days.items() if begin <= day * DAY_S < end]
        assert inside and (sum(inside) <= rows or len(inside) == 1)


def test_no_rows_need_no_bucket() -> None:
    assert bucket_edges({}, 7).tolist() == []
