"""Buckets of the external sort: they cover every day once, in order, and hold a bounded number of rows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.data.prepare.sort import buckets_of
from hews_gpu.data.quality.counts import Counts

DAY_S = 86_400


@given(st.dictionaries(st.integers(-400, 400), st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_buckets_cover_every_second_of_every_day_once(days: dict[int, int], rows: int) -> None:
    buckets = buckets_of(Counts.of(list(Counter(days).elements())), rows)
    assert buckets[0].begin_s == min(days) * DAY_S and buckets[-1].end_s == (max(days) + 1) * DAY_S
    for before, after in pairwise(buckets):
        assert before.end_s == after.begin_s
    for bucket in buckets:
        inside = [count for day, count in days.items() if bucket.begin_s <= day * DAY_S < bucket.end_s]
        assert inside and (sum(inside) <= rows or len(inside) == 1)


def test_no_rows_need_no_bucket() -> None:
    assert buckets_of(Counts()) == []
