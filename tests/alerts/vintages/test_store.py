"""The vintage store: what was known when, whatever happens to the process that writes it."""

from __future__ import annotations

import errno
import importlib
import json
import multiprocessing
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hews_gpu.alerts.vintages import store as module
from hews_gpu.alerts.vintages.store import Store, open_store
from hews_gpu.errors import UserError
from hews_gpu.forecasters.catalog import make_catalog
from hews_gpu.units import DAY_S, HOUR_S
from tests.alerts.vintages.rows import SOURCE, Row, rows_in, table

FIRST, LAST = (0, 9.0, "EDGE"), (1000, 9.0, "EDGE")
ROBBERY, SHOOTING, THEFT = (100, 1.0, "ROBBERY"), (200, 1.0, "SHOOTING"), (300, 2.0, "THEFT")
NOON = 5000


def filled(folder: Path, *deliveries: list[Row], delay_s: int = 0) -> Store:
    """Return a store of deliveries that were known a day after the other."""
    store = open_store(folder, delay_s=delay_s)
    for day, rows in enumerate(deliveries):
        store.add(table([FIRST, *rows, LAST]), NOON + day * DAY_S, SOURCE)
    return open_store(folder)


def seen(store: Store, when_s: int) -> Counter[Row]:
    """Return the rows known at a moment but for the edges."""
    return rows_in(store.as_of(when_s)) - Counter([FIRST, LAST])


def test_a_forecast_sees_what_was_known_before_it(tmp_path: Path) -> None:
    moved = (100, 3.0, "ROBBERY")
    store = filled(tmp_path, [ROBBERY, SHOOTING], [moved, SHOOTING, THEFT], [THEFT], delay_s=50)
    assert seen(store, 150) == {}, "the first delivery's rows: known 50 s after they happened"
    assert seen(store, 151) == {ROBBERY: 1}
    assert seen(store, NOON + DAY_S) == {ROBBERY: 1, SHOOTING: 1}, "at the very moment of a delivery: not yet"
    assert seen(store, NOON + DAY_S + 1) == {moved: 1, SHOOTING: 1, THEFT: 1}
    assert seen(store, NOON + 2 * DAY_S) == {moved: 1, SHOOTING: 1, THEFT: 1}, "what is withdrawn later was known"
    assert seen(store, NOON + 2 * DAY_S + 1) == {THEFT: 1}
    assert [(one.new, one.moved, one.withdrawn) for one in store.deliveries] == [(4, 0, 0), (1, 1, 0), (0, 0, 2)]


def test_rows_of_the_first_delivery_were_known_at_it_at_the_latest(tmp_path: Path) -> None:
    store = filled(tmp_path, [ROBBERY], delay_s=10_000)
    assert store.as_of(NOON + 1)["known_from"].to_pylist() == [NOON] * 3


times = st.integers(0, 3).map(lambda n: 10 + 20 * n)
row = st.tuples(times, st.sampled_from([1.0, 2.0]), st.sampled_from(["THEFT", "ROBBERY", "SHOOTING"]))
EDGES = [(n * 20, 9.0, "EDGE") for n in range(6)]
delivery = st.tuples(st.integers(0, 4), st.lists(row, max_size=12))
"""The edge that it begins at, and rows, of which those before are left out."""


@given(st.lists(delivery, min_size=1, max_size=6), st.integers(2, 4))
@settings(max_examples=60)
def test_any_deliveries_and_any_number_of_files(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[tuple[int, list[Row]]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    deliveries[0] = (0, deliveries[0][1])
    expected: list[Counter[Row]] = []
    for first, rows in deliveries:
        told = Counter([*(one for one in rows if one[0] > first * 20), *EDGES[first:]])
        left = Counter({one: n for one, n in (expected[-1] if expected else Counter()).items() if one[0] < first * 20})
        expected.append(told + left)
        with pytest.MonkeyPatch.context() as patch:
            for files in (1000, most):
                patch.setattr(module, "MOST_FILES", files)
                store = open_store(folder / str(files))
                store.add(table(told.elements()), len(expected) * 1000, SOURCE)
                assert len(list((folder / str(files)).glob("rows-*"))) <= files
                for n, known in enumerate(expected):  # each as it was, when it was the last one
                    assert rows_in(store.as_of(n * 1000 + 1001)) == known
                    assert rows_in(store.as_of(n * 1000 + 2000)) == known
    one, other = (open_store(folder / str(files)) for files in (1000, most))
    for when_s in range(0, len(expected) * 1000 + 1001, 500):
        assert one.as_of(when_s).equals(other.as_of(when_s))
    assert one.deliveries == other.deliveries


def test_an_equal_delivery_adds_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, [ROBBERY, THEFT])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert store.add(table([LAST, THEFT, FIRST, ROBBERY]), NOON + DAY_S, SOURCE).is_same
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not store.add(table([LAST, THEFT, THEFT, FIRST, ROBBERY]), NOON + DAY_S, SOURCE).is_same


def test_a_delivery_that_is_not_accepted_writes_nothing_and_is_told_as_one_that_is(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", [ROBBERY, SHOOTING, THEFT, (400, 2.0, "THEFT")])
    later = table([FIRST, (100, 3.0, "ROBBERY"), (200, 1.0, "ARSON"), (310, 2.0, "THEFT"), (900, 5.0, "ARSON")])
    before = {path: path.read_bytes() for path in store.folder.iterdir()}
    change = store.add(later, NOON + 1, SOURCE, accept=lambda change: False)
    assert {path: path.read_bytes() for path in store.folder.iterdir()} == before
    assert (change.new, change.moved, change.reclassified, change.revised, change.withdrawn) == (1, 1, 1, 1, 1)
    assert change.lost_share == 1 / 4
    assert change.goes_back, "the newest row is at 900, not at 1000"
    assert store.add(later, NOON + 1, SOURCE) == change


def test_events_are_ready_for_a_catalog(tmp_path: Path) -> None:
    shot, again = (100, 3.0, "SHOOTING"), (120, 3.0, "SHOOTING")
    store = filled(tmp_path, [ROBBERY, ROBBERY, shot, THEFT], [ROBBERY, ROBBERY, again, (300, 2.0, "SHOOTING")])
    events, known_s = store.events(NOON + DAY_S + 1)
    assert events.time_s.tolist() == [0, 100, 100, 120, 300, 1000]
    assert events.categories == ("EDGE", "ROBBERY", "SHOOTING")
    assert [events.categories[code] for code in events.category] == [
        "EDGE",
        *["ROBBERY"] * 2,
        *["SHOOTING"] * 2,
        "EDGE",
    ]
    assert known_s.tolist() == [0, 100, 100, 100, NOON + DAY_S, 1000], "a revised row is known since its first version"
    assert events.is_duplicate.tolist() == [False, False, True, False, False, False]
    assert events.is_target.tolist() == [False, False, False, True, True, False]
    assert not events.is_twin.any()
    catalog = make_catalog(
        time_s=events.time_s,
        category=events.category,
        area=events.neighborhood,
        xy_m=np.zeros((6, 2)),
        is_target=events.is_target,
        categories=events.categories,
        areas=10,
        known_s=known_s,
    )
    assert len(catalog.until(NOON + DAY_S + 1)) == 6


def test_twins_are_those_known_at_the_moment(tmp_path: Path) -> None:
    robbery, shot = (6000, 1.0, "ROBBERY"), (6030, 1.0, "SHOOTING")
    store = open_store(tmp_path)
    store.add(table([FIRST, robbery]), 10_000, SOURCE)
    store.add(table([FIRST, robbery, shot]), 20_000, SOURCE)
    assert store.events(15_000)[0].is_twin.tolist() == [False, False]
    assert store.events(25_000)[0].is_twin.tolist() == [False, True, False]


def test_rows_that_a_delivery_lost_are_known_since_their_first_time(tmp_path: Path) -> None:
    store = filled(tmp_path, [], [ROBBERY, THEFT], [], [ROBBERY, THEFT])
    assert [one.returned for one in store.deliveries] == [0, 0, 0, 2]
    _, known_s = store.events(NOON + 9 * DAY_S)
    assert known_s.tolist() == [0, NOON + DAY_S, NOON + DAY_S, 1000]
    assert seen(store, NOON + 2 * DAY_S + 1) == {}


def test_the_wall_clock_of_autumn_and_a_clock_that_jumps(tmp_path: Path) -> None:
    store = filled(tmp_path, [ROBBERY])
    store.add(table([FIRST, ROBBERY, THEFT, LAST]), NOON - HOUR_S, SOURCE)
    assert store.deliveries[-1].known_s == NOON
    with pytest.raises(UserError, match="time of delivery"):
        store.add(table([FIRST, LAST]), NOON - HOUR_S - 1, SOURCE)


def test_an_empty_delivery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no row"):
        open_store(tmp_path).add(table([]), NOON, SOURCE)
    assert not list(tmp_path.glob("rows-*"))


def test_the_stated_delay_stays_that_of_the_first_delivery(tmp_path: Path) -> None:
    filled(tmp_path, [ROBBERY], delay_s=50)
    assert open_store(tmp_path, delay_s=7).delay_s == 50


@pytest.mark.parametrize("fault", ["cut", "entry", "order", "rows", "gone"])
def test_a_damaged_store_is_named(tmp_path: Path, fault: str) -> None:
    filled(tmp_path, [ROBBERY], [ROBBERY, THEFT])
    file, index = tmp_path / "rows-000001.parquet", tmp_path / "index.json"
    content = json.loads(index.read_text())
    if fault == "cut":
        index.write_text(index.read_text()[:-9])
    elif fault == "entry":
        content["deliveries"][0]["new"] += 1
        index.write_text(json.dumps(content))
    elif fault == "order":
        content["deliveries"].reverse()
        index.write_text(json.dumps(content))
    elif fault == "rows":
        file.write_bytes(file.read_bytes().replace(b"PAR1", b"PAR2", 1))
    else:
        file.unlink()
    with pytest.raises(UserError, match=r"index\.json" if fault in ("cut", "entry", "order") else "rows-000001"):
        open_store(tmp_path).as_of(NOON)


def test_what_a_newer_version_added_to_the_index_stays(tmp_path: Path) -> None:
    filled(tmp_path, [ROBBERY])
    index = tmp_path / "index.json"
    content = json.loads(index.read_text())
    entry = {**content["deliveries"][0], "note": "of a newer version"}
    content["deliveries"] = [{**entry, "hash": module._hash_of(entry)}]
    index.write_text(json.dumps(content))
    open_store(tmp_path).add(table([FIRST, LAST]), NOON + DAY_S, SOURCE)
    assert len(open_store(tmp_path).deliveries) == 2
    assert json.loads(index.read_text())["deliveries"][0] == content["deliveries"][0]


def test_a_reader_goes_on_while_files_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, [ROBBERY], [ROBBERY, THEFT])
    reader = open_store(tmp_path)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    open_store(tmp_path).add(table([FIRST, LAST]), NOON + 2 * DAY_S, SOURCE)
    assert len(list(tmp_path.glob("rows-*"))) == 1
    assert seen(reader, NOON + DAY_S + 1) == {ROBBERY: 1, THEFT: 1}


def test_two_who_add_at_once(tmp_path: Path) -> None:
    one, other = filled(tmp_path, [ROBBERY]), open_store(tmp_path)
    one.add(table([FIRST, ROBBERY, THEFT, LAST]), NOON + DAY_S, SOURCE)
    other.add(table([FIRST, ROBBERY, SHOOTING, LAST]), NOON + 2 * DAY_S, SOURCE)
    assert [(delivery.new, delivery.withdrawn) for delivery in other.deliveries] == [(3, 0), (1, 0), (1, 1)]
    with (
        module.locked(tmp_path / module.LOCK, UserError("", allowed="")),
        pytest.raises(UserError, match="another process"),
    ):
        one.add(table([FIRST, LAST]), NOON + 3 * DAY_S, SOURCE)


WRITES = ("os.fsync", "Path.replace", "Path.unlink", "pyarrow.parquet.ParquetWriter", "Path.write_text")
BEFORE, AFTER = [ROBBERY, THEFT], [ROBBERY, SHOOTING]


def _owner(name: str) -> tuple[Any, str]:
    owner, _, attribute = name.rpartition(".")
    return (Path if owner == "Path" else importlib.import_module(owner)), attribute


def _killed_add(folder: Path, most: int, name: str, call: int) -> None:
    """Add a delivery in a process that ends with SIGKILL at the given call of a function."""
    owner, attribute = _owner(name)
    real, left = getattr(owner, attribute), [call]

    def deadly(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **named)

    setattr(owner, attribute, deadly)
    module.MOST_FILES = most
    open_store(folder).add(table([FIRST, *AFTER, LAST]), NOON + 2 * DAY_S, SOURCE)


def _process(*arguments: Any) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.alerts.vintages.test_store"])
    process = context.Process(target=_killed_add, args=arguments)
    process.start()
    return process


def _is_whole(folder: Path) -> bool:
    """Return whether the delivery is there; what was known before must be, and the next one must be taken."""
    store = open_store(folder)
    assert seen(store, NOON + DAY_S + 1) == Counter(BEFORE)
    is_there = len(store.deliveries) == 3
    assert seen(store, NOON + 2 * DAY_S + 1) == Counter(AFTER if is_there else BEFORE)
    store.add(table([FIRST, THEFT, LAST]), NOON + 3 * DAY_S, SOURCE)
    assert seen(open_store(folder), NOON + 3 * DAY_S + 1) == {THEFT: 1}
    assert not list(folder.glob(".*")), "what was half written is removed"
    named = {file["name"] for file in json.loads((folder / "index.json").read_text())["files"]}
    assert {path.name for path in folder.glob("rows-*")} == named
    return is_there


@pytest.mark.parametrize("most", [1000, 3], ids=["a file more", "one file"])
@pytest.mark.parametrize("name", WRITES)
def test_killed_at_any_write(tmp_path: Path, name: str, most: int) -> None:
    codes = []
    for call in range(1, 20):
        folder = tmp_path / str(call)
        filled(folder, [ROBBERY], BEFORE)
        process = _process(folder, most, name, call)
        process.join(60)
        codes.append(process.exitcode)
        is_there = _is_whole(folder)
        if codes[-1] == 0:
            assert is_there
            break
    assert codes == [-9] * (len(codes) - 1) + [0]
    assert len(codes) > 1, f"{name} is never called"


LONGEST_S = 0.1
"""From the begin of a process to the end of its delivery."""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(0)
    for n in range(20):
        folder = tmp_path / str(n)
        filled(folder, [ROBBERY], BEFORE)
        process = _process(folder, 3, "os.fsync", 0)
        time.sleep(rng.uniform(0, LONGEST_S))
        process.kill()
        process.join(60)
        _is_whole(folder)


@pytest.mark.parametrize("most", [1000, 3])
@pytest.mark.parametrize("name", WRITES[:2] + WRITES[3:])
def test_a_full_disk_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    store = filled(tmp_path, [ROBBERY], BEFORE)
    owner, attribute = _owner(name)
    real, left = getattr(owner, attribute), [0]

    def full(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    monkeypatch.setattr(module, "MOST_FILES", most)
    for call in range(1, 20):
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, full)
            left[0] = call
            try:
                store.add(table([FIRST, *AFTER, LAST]), NOON + 2 * DAY_S, SOURCE)
            except UserError as error:
                assert "disk is full" in str(error)
            else:
                break
        for one in (store, open_store(tmp_path)):
            assert seen(one, NOON + 2 * DAY_S + 1) in (Counter(BEFORE), Counter(AFTER))
    assert call > 1
    assert seen(open_store(tmp_path), NOON + 2 * DAY_S + 1) == Counter(AFTER)
