"""The study of the vintage store, on the toy city."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from hews_gpu.alerts.vintages.compare import rows_of
from hews_gpu.alerts.vintages.store import open_store
from hews_gpu.units import DAY_S
from studies import deliveries
from tests.toy_city import BEGIN_S, incidents, write_prepared


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    monkeypatch.setattr(deliveries, "BEGIN_S", BEGIN_S + 100 * DAY_S)
    return rows_of(write_prepared(tmp_path / "prepared", incidents()))


def test_it_sees_each_delivery_given_back_and_what_was_planted(rows: pa.Table, tmp_path: Path) -> None:
    filled = deliveries.fill(tmp_path / "store", rows, 9)
    assert filled["deliveries_given_back_row_by_row"] == 9
    assert filled["changes"]["new"]["planted"] == filled["changes"]["new"]["told"] > 100
    store = open_store(tmp_path / "store")
    known = store.as_of(store.deliveries[-1].known_s + 1)
    space = deliveries.space(store, known, tmp_path / "one")
    assert space["bytes"] > space["bytes_of_one_delivery"] > 1000
    held = deliveries.held(store, rows)
    assert 0 < held["inside"] <= held["days"] == 7
    assert deliveries.lateness(store)["others"]["late_rows"] > 100


def test_it_sees_a_row_that_is_not_given_back(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_of = deliveries.Store.as_of
    monkeypatch.setattr(deliveries.Store, "as_of", lambda store, when_s: as_of(store, when_s)[:-1])
    assert deliveries.fill(tmp_path / "store", rows, 3)["deliveries_given_back_row_by_row"] == 0
