"""Gate 5: what may be read is read, and a pipeline that reads more is found out whichever file it looks in."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from hews_gpu.audit.columns import MAY_BE_READ, columns_gate, read_all
from hews_gpu.data.events import COLUMNS
from hews_gpu.data.prepare.sort import INCIDENTS


def test_the_pipeline_reads_time_place_category_and_marks(folder):
    found = columns_gate(folder)
    assert found.verdict == "pass", found.summary
    assert set(found.figures["changed"]) == {"neighborhood", "is_nearest", "source", "line"}
    assert found.figures["charts_changed"] == ["row_id", "Premise"]
    assert set(COLUMNS) <= MAY_BE_READ < set(INCIDENTS.names)


@pytest.mark.parametrize("column", ["neighborhood", "is_nearest", "source", "line"])
def test_each_other_column_is_missed_by_nobody_who_reads_it(folder, column):
    def read(folder):
        values = pq.read_table(folder / "incidents.parquet", columns=[column])[column]
        return {**read_all(folder), column: np.array([str(value) for value in values.to_pylist()])}

    found = columns_gate(folder, read=read)
    constant = column == "is_nearest"  # nowhere true in the toy: says nothing, whoever reads it
    assert found.verdict == ("pass" if constant else "fail")
    assert found.figures["differences"] == ([] if constant else [column])
    assert found.summary.endswith("the same bits" if constant else f"{column} changed")
