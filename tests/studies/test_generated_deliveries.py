"""Daily deliveries made of one table: what each holds, and what the vintage store tells of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hews_gpu.alerts.vintages.compare import rows_of
from hews_gpu.alerts.vintages.store import open_store
from hews_gpu.units import DAY_S, HOUR_S
from studies.inputs.deliveries import OF_PORTAL, SHARES, daily_deliveries, lognormal, portal_table
from tests.toy_city import BEGIN_S, incidents, write_prepared

FIRST_S = BEGIN_S + 100 * DAY_S + 6 * HOUR_S


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return rows_of(write_prepared(tmp_path_factory.mktemp("toy") / "prepared", incidents()))


def test_each_holds_the_rows_known_by_then(rows: pa.Table) -> None:
    time_s = rows["time_s"].to_numpy()
    made = [*daily_deliveries(rows, time_s, begin_s=FIRST_S, days=3, delay=lambda _, n: np.full(n, 3 * HOUR_S), seed=0, shares={})]  # fmt: skip  # noqa: E501
    for day, one in enumerate(made):
        assert one.known_s == FIRST_S + day * DAY_S
        assert one.table.equals(rows.filter(time_s < one.known_s - 3 * HOUR_S))
    assert sum(one.new for one in made) == len(made[-1].table)


def test_the_store_tells_what_was_planted(rows: pa.Table, tmp_path: Path) -> None:
    store, planted, told = open_store(tmp_path), Counter[str](), Counter[str]()
    law = lognormal(DAY_S, 1.0)
    for one in daily_deliveries(rows, rows["time_s"].to_numpy(), begin_s=FIRST_S, days=24, delay=law, seed=0):
        change = store.add(one.table, one.known_s, {"file": "", "sha256": ""})
        planted += Counter({"new": one.new, **one.changed})
        told += Counter({name: getattr(change, name) for name in ("new", "returned", *SHARES)})
    # a row may take over what it has already; nothing else is told otherwise
    assert planted["new"] == told["new"] and planted["withdrawn"] == told["withdrawn"] and not told["returned"]
    assert all(0.9 * planted[name] <= told[name] <= planted[name] for name in ("moved", "revised"))
    assert 0.2 * planted["reclassified"] <= told["reclassified"] <= planted["reclassified"], "three in four are thefts"
    assert min(planted.values()) > 8


@pytest.mark.real_data
def test_the_portal_table_as_its_file_has_it(real_data: Path) -> None:
    table, time_s = portal_table(real_data)
    first = next(
        daily_deliveries(
            table,
            time_s,
            begin_s=int(np.datetime64("2017-05-02T06:00:00", "s").astype(int)),
            days=1,
            delay=lognormal(DAY_S, 1.0),
            seed=0,
            edits=OF_PORTAL,
        )
    )
    assert first.table.column_names == table.column_names
    assert 250_000 < len(first.table) < len(table) == 276_529
    assert np.datetime64(int(time_s.max()), "s") == np.datetime64("2017-09-02T23:30:00")
