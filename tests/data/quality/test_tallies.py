"""Tallies add up to those of all rows at once, and rows are counted whatever their values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.data.clean import NOWHERE, OUT
from hews_gpu.data.quality.tallies import RowKind, RowTally, count_rows, tally_rows

NUMBERS = st.lists(st.integers(-300, 300), max_size=40)
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-(2**20), 2**20), st.booleans()), max_size=40)


@given(st.one_of(NUMBERS, st.lists(st.integers(-(2**40), 2**40), max_size=20)))
def test_values_are_counted_in_their_order_however_far_they_lie_apart(values: list[int]) -> None:
    counts = count_rows(np.array(values, np.int64))
    assert counts == Counter(values) and list(counts) == sorted(set(values))


@given(PAIRS)
def test_values_of_several_columns_are_counted_together(rows: list[tuple[int, int, bool]]) -> None:
    first, second, third = (np.array([row[i] for row in rows], dtype) for i, dtype in enumerate((np.int8, int, bool)))
    counts = count_rows(first, second, third)
    assert counts == Counter(rows) and list(counts) == sorted(set(rows))


def frame(rows: list[tuple[str, int, int, bool]]) -> pd.DataFrame:
    """Rows of one file by category as spelled, reason, hour of 1970 and neighborhood given for being near."""
    spelled, reason, hour, near = zip(*rows, strict=True)
    category = ["SHOOTING" if name == "SHOTS" else name for name in spelled]
    columns = {"reason": np.array(reason, np.uint8), "time_s": np.array(hour) * 3600, "is_nearest": near}
    columns |= {"is_target": [name == "SHOOTING" for name in category], "neighborhood_id": np.array(hour) % 2}
    columns |= {"longitude": np.full(len(rows), 39.3), "latitude": np.full(len(rows), -76.6)}
    return pd.DataFrame(
        {**columns, "category": pd.Categorical(category), "raw_category": pd.Categorical(list(spelled))}
    )


ROWS = st.tuples(
    st.sampled_from(["SHOTS", "SHOOTING", "THEFT"]), st.sampled_from([0, 0, 0, OUT]), st.integers(0, 99), st.booleans()
)


@settings(deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=30), st.data())
def test_tallies_of_parts_add_up_to_that_of_the_whole(
    rows: list[tuple[str, int, int, bool]], data: st.DataObject
) -> None:
    bounds, cut = (-77.0, 39.0, -76.0, 40.0), data.draw(st.integers(1, len(rows) - 1))
    whole = tally_rows(frame(rows), 3, bounds)
    parts = RowTally()
    parts += tally_rows(frame(rows[:cut]), 3, bounds)
    parts += tally_rows(frame(rows[cut:]), 3, bounds)
    parts.outside, whole.outside = parts.outside[:1], whole.outside[:1]
    np.testing.assert_equal(vars(parts), vars(whole))
    kept = [row for row in rows if row[1] == 0]
    assert whole.rows == len(rows) and whole.kept == len(kept) and whole.located == len(rows)
    assert whole.categories == Counter("THEFT" if row[0] == "THEFT" else "SHOOTING" for row in kept)
    assert whole.days[3] == Counter(row[2] // 24 for row in kept) and whole.nearest == sum(row[3] for row in kept)
    minutes = Counter((row[0] != "THEFT", row[2] % 24 * 60) for row in kept)
    assert {
        (bool(label), minute): int(whole.minutes[label, minute]) for label, minute in np.argwhere(whole.minutes)
    } == minutes
    assert whole.swapped == len(rows) - len(kept) and not whole.not_degrees
    kind = RowKind(source=3, spelled="SHOTS", category="SHOOTING", is_target=True, reason=0)
    assert whole.kinds[kind] == sum(row[0] == "SHOTS" for row in kept)
    assert whole.roundings["THEFT", False, "midnight"] == sum(row[0] == "THEFT" and row[2] % 24 == 0 for row in kept)


def test_rows_without_a_place_are_not_located() -> None:
    rows = RowTally(kinds=Counter({RowKind(0, "A", "A", False, reason): 2 for reason in (0, NOWHERE, OUT)}))
    assert rows.located == 4 and rows.rows == 6 and rows.kept == 2
