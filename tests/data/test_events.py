"""What is loaded of a prepared table, column by column, on six rows; the last one is another file's copy of the first.

row          0         1         2        3         4          5
category     SHOOTING  ASSAULT   ASSAULT  ASSAULT   SHOOTING   SHOOTING
twin of                0                  0
near twin of                     0        0
repeats                                             0          0 (overlap)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.data.events import load_events
from hews_gpu.errors import UserError

CATEGORIES = ["SHOOTING", "ASSAULT", "ASSAULT", "ASSAULT", "SHOOTING", "SHOOTING"]
COLUMNS = {
    "time_s": pa.array([10, 20, 30, 40, 50, 60], pa.int64()),
    "longitude": pa.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "latitude": pa.array([1.1, 1.2, 1.3, 1.4, 1.5, 1.6]),
    "category": pa.array(CATEGORIES).dictionary_encode(),
    "neighborhood_id": pa.array([0, 1, 2, 0, 1, 2], pa.int16()),
    "is_target": pa.array([name == "SHOOTING" for name in CATEGORIES]),
    "duplicate_of": pa.array([None, None, None, None, 0, 0], pa.int64()),
    "is_overlap": pa.array([False, False, False, False, False, True]),
    "twin_of": pa.array([None, 0, None, 0, None, None], pa.int64()),
    "near_twin_of": pa.array([None, None, 0, 0, None, None], pa.int64()),
}


def test_every_column_is_what_the_table_says_and_repeats_of_other_files_are_left_out(tmp_path: Path) -> None:
    ends = pa.array([None, 25, None, None, 50, None], pa.int64())
    pq.write_table(pa.table({**COLUMNS, "weapon": pa.nulls(6), "end_s": ends}), tmp_path / "incidents.parquet")
    found = load_events(tmp_path)
    assert len(found) == 5 and found.categories == ("ASSAULT", "SHOOTING")
    assert {name: values.tolist() for name, values in vars(found).items() if name != "categories"} == {
        "time_s": [10, 20, 30, 40, 50],
        "longitude": [0.1, 0.2, 0.3, 0.4, 0.5],
        "latitude": [1.1, 1.2, 1.3, 1.4, 1.5],
        "category": [1, 0, 0, 0, 1],
        "neighborhood": [0, 1, 2, 0, 1],
        "is_target": [True, False, False, False, True],
        "is_duplicate": [False, False, False, False, True],
        "is_twin": [False, True, True, True, False],
        "span_s": [0, 5, 0, 0, 0],
    }
    assert found.over_s.tolist() == [10, 25, 30, 40, 50]
    assert all(np.asarray(values).flags.c_contiguous for values in vars(found).values())


@pytest.mark.parametrize("ends", [{}, {"end_s": pa.nulls(6, pa.int64())}])
def test_without_ends_no_incident_has_a_span(tmp_path: Path, ends: dict[str, pa.Array]) -> None:
    pq.write_table(pa.table({**COLUMNS, **ends}), tmp_path / "incidents.parquet")
    assert load_events(tmp_path).span_s is None


@pytest.mark.parametrize("column", COLUMNS)
def test_a_table_that_lacks_a_column_is_not_prepared(tmp_path: Path, column: str) -> None:
    pq.write_table(pa.table(COLUMNS).drop_columns([column]), tmp_path / "incidents.parquet")
    with pytest.raises(UserError, match=rf"is not a prepared city: .*{column}"):
        load_events(tmp_path)
