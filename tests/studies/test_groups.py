"""The study of groups of victims: what it makes of generated tables, and rows drawn from a prepared folder."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from hews_gpu.data.events import open_prepared
from hews_gpu.groups import evidence
from studies import groups as study


def test_planted_groups_are_told_from_none(monkeypatch) -> None:
    for name, value in {"SILHOUETTE_ROWS": 300, "BOOTSTRAPS": 4}.items():
        monkeypatch.setattr(evidence, name, value)
    monkeypatch.setattr(study, "ROWS", 1_000)
    result = study.controls(1)
    assert result["planted"]["found"] == 1 and result["planted"]["least_agreement"] > 0.9
    assert result["null"]["false_alarms"] == 0


def test_drawn_rows_are_those_that_were_asked_for(prepared, tmp_path) -> None:
    rows = np.array([5, 5, 2])
    study.drawn(prepared, tmp_path / "drawn", rows)
    before, after = (pq.read_table(folder / "incidents.parquet") for folder in (prepared, tmp_path / "drawn"))
    assert after["longitude"].to_pylist() == before["longitude"].take(rows).to_pylist()
    assert after["row_id"].to_pylist() == [0, 1, 2]
    assert len(open_prepared(tmp_path / "drawn").events) == 3
