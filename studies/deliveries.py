"""Sixty daily deliveries of the portal table in the vintage store: space, cost, kills, delays and nowcasts.

Of Baltimore's portal table with the 55 areas, where HEWS_REAL_DATA has it, deliveries of May and June 2017 are made by
a stated law of delays, with rows changed later, and added one by one. What was known after each must be that delivery
row by row, files put together or not, and so after processes that were killed while they added one. How late rows are
said to come and how many to be missing is compared with the law and with the table. ``--quick``: eight deliveries.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import finish, parse_flags, processor_s, real_data
from benchmarks.inputs.cities import write_baltimore
from benchmarks.tables import cost_of
from hews_gpu.alerts.vintages.compare import Rows, rows_of
from hews_gpu.alerts.vintages.delays import Nowcast, delays, nowcast
from hews_gpu.alerts.vintages.store import Store, open_store
from hews_gpu.cli.printing import print_table
from hews_gpu.config import load_city
from hews_gpu.data.prepare.command import prepare
from hews_gpu.units import DAY_S
from studies.inputs.deliveries import (
    SHARES,
    Generated,
    daily_deliveries,
    drawn_triangle,
    lognormal,
    operational_delays,
)

BEGIN_S = int(np.datetime64("2017-05-02T06:00:00", "s").astype(int))
DELIVERIES, QUICK_DELIVERIES = 60, 8
MEDIAN_S, SIGMA = DAY_S, 1.0
LAW = lognormal(MEDIAN_S, SIGMA)
KILLS, QUICK_KILLS = 50, 3
DRAWS, QUICK_DRAWS = 200, 20
SOURCE = {"file": "portal.csv", "sha256": ""}
DAYS = 7
ADD = """
import sys; from pathlib import Path; import pyarrow.parquet as pq
from hews_gpu.alerts.vintages.store import open_store
open_store(Path(sys.argv[1])).add(pq.read_table(sys.argv[2]), int(sys.argv[3]), {"file": "", "sha256": ""})
"""


def portal(data: Path, folder: Path) -> pa.Table:
    """Prepare the portal table and return its rows."""
    prepare(load_city(write_baltimore(folder, data)), folder / "prepared")
    return rows_of(folder / "prepared")


def made(rows: pa.Table, days: int) -> Iterator[Generated]:
    """Yield the deliveries."""
    return daily_deliveries(rows, rows["time_s"].to_numpy(), begin_s=BEGIN_S, days=days, delay=LAW, seed=1)


def fill(folder: Path, rows: pa.Table, days: int) -> dict[str, Any]:
    """Add the deliveries to a store; return what each cost, and what was told of those after the first."""
    told: dict[str, dict[str, int]] = {name: {"planted": 0, "told": 0} for name in ("new", *SHARES)}
    spent, digests = [], []
    for one in made(rows, days):
        store = open_store(folder)  # as a process does that adds one delivery
        began = time.process_time()
        change = store.add(one.table, one.known_s, SOURCE)
        spent.append(time.process_time() - began)
        digests.append(change.digest)
        for name, n in {"new": one.new, **one.changed}.items() if len(spent) > 1 else ():
            told[name]["planted"] += n
            told[name]["told"] += getattr(change, name)
    store = open_store(folder)
    same = [Rows.of(store.as_of(d.known_s + 1)).digest() == digest for d, digest in zip(store.deliveries, digests, strict=True)]  # fmt: skip  # noqa: E501
    return {
        "rows": store.deliveries[-1].rows,
        "processor_seconds_each": {"median": float(np.median(spent)), "most": max(spent), "first": spent[0]},
        "changes": told,
        "deliveries_given_back_row_by_row": sum(same),
    }


def space(store: Store, rows: pa.Table, folder: Path) -> dict[str, Any]:
    """Return the bytes of the store and of one that holds its last delivery alone."""
    last = store.deliveries[-1]
    open_store(folder).add(rows.drop_columns(["known_from", "first_known"]), last.known_s, SOURCE)
    many, one = (sum(path.stat().st_size for path in where.iterdir()) for where in (store.folder, folder))
    return {"bytes": many, "bytes_of_one_delivery": one, "times_one_delivery": many / one}


def reading(folder: Path, when_s: int) -> dict[str, float]:
    """Return the processor seconds of what a forecast asks for, by a store that is open or is opened for it."""
    store = open_store(folder)
    return {
        "open_and_as_of": processor_s(lambda: open_store(folder).as_of(when_s)),
        "as_of": processor_s(lambda: store.as_of(when_s)),
        "events": processor_s(lambda: store.events(when_s)),
        "delays": processor_s(lambda: delays(store, when_s)),
        "nowcast": processor_s(lambda: nowcast(store, when_s)),
    }


def whole_process(folder: Path, last: Generated, scratch: Path) -> dict[str, Any]:
    """Return what a process costs that adds one delivery to the store, from its start to its end."""
    pq.write_table(last.table, scratch / "rows.parquet")
    command = [sys.executable, "-c", ADD, str(folder), str(scratch / "rows.parquet"), str(last.known_s)]
    cost = cost_of(command)
    return {name: cost[name] for name in ("processor_seconds", "peak_memory_gb")}


def killed(folder: Path, deliveries: list[Generated], kills: int) -> dict[str, int]:
    """Kill processes that add a delivery at random moments; return how often the store was before or after it.

    A store that is neither ends the study.
    """
    context, rng, counts = multiprocessing.get_context("spawn"), random.Random(0), {"before": 0, "after": 0}
    first, second = deliveries
    open_store(folder / "begun").add(first.table, first.known_s, SOURCE)
    pq.write_table(second.table, folder / "second.parquet")
    expected = {1: Rows.of(first.table).digest(), 2: Rows.of(second.table).digest()}
    longest_s = 0.5
    while sum(counts.values()) < kills:
        shutil.copytree(folder / "begun", folder / "store", dirs_exist_ok=True)
        ready = context.Event()
        process: SpawnProcess = context.Process(target=_add, args=(folder, second.known_s, ready))
        process.start()
        ready.wait()
        time.sleep(rng.uniform(0, longest_s))
        process.kill()
        process.join()
        if process.exitcode == 0:
            longest_s *= 0.95
        else:
            store = open_store(folder / "store")
            digest = Rows.of(store.as_of(second.known_s + 1)).digest()
            assert digest == expected[len(store.deliveries)], "a kill has damaged the store"
            counts["before" if len(store.deliveries) == 1 else "after"] += 1
        shutil.rmtree(folder / "store")
    return counts


def _add(folder: Path, known_s: int, ready: Any) -> None:
    """Add a delivery, in a process that may be killed."""
    store, rows = open_store(folder / "store"), pq.read_table(folder / "second.parquet")
    ready.set()
    store.add(rows, known_s, SOURCE)


def lateness(store: Store) -> dict[str, Any]:
    """Return how late rows are said to come, and how late the law has them come, in days."""
    when_s, true_s = store.deliveries[-1].known_s + 1, operational_delays(LAW)
    shares = {f"{share:.0%}": share for share in (0.5, 0.9, 0.99)}
    result: dict[str, Any] = {}
    for which, targets in {"targets": True, "others": False}.items():
        curve = delays(store, when_s, targets=targets)
        result[which] = {
            "late_rows": curve.late,
            "days_until_known": {name: curve.settled_s(share) / DAY_S for name, share in shares.items()},
        }
    law = {name: float(np.quantile(true_s, share)) / DAY_S for name, share in shares.items()}
    result["law"] = {"days_until_known": law}
    return result


def held(store: Store, rows: pa.Table) -> dict[str, Any]:
    """Return how often the 90 % intervals of the last days, from the deliveries so far, hold what the table has."""
    time_s = rows["time_s"].to_numpy()
    inside, asked, off = 0, 0, []
    for delivery in store.deliveries[len(store.deliveries) // 3 :: DAYS]:
        result = nowcast(store, delivery.known_s + 1, days=DAYS)
        number = np.diff(np.searchsorted(time_s, np.append(result.day_s, result.day_s[-1] + DAY_S)))
        inside += int(((result.low <= number) & (number <= result.high)).sum())
        asked += DAYS
        off.append(result.expected / number - 1)
    return {"days": asked, "inside": inside, "mean_error_by_day": np.mean(off, axis=0).tolist()}


def oracle(draws: int) -> dict[str, Any]:
    """Return the share of intervals of drawn rows that hold their number, by day before the last delivery."""
    inside = np.zeros(DAYS)
    for seed in range(draws):
        drawn = drawn_triangle(LAW, seed=seed, rows_a_day=130, spread=0.1, deliveries=DELIVERIES)
        result = Nowcast.of(drawn.triangle, drawn.when_s, DAYS)
        number = drawn.rows_by_day[result.day_s // DAY_S]
        inside += (result.low <= number) & (number <= result.high)
    return {"draws": draws, "share_inside_by_day": (inside / draws).tolist()}


def measure(data: Path, scratch: Path, quick: bool) -> dict[str, Any]:
    """Measure all of it."""
    days = QUICK_DELIVERIES if quick else DELIVERIES
    rows = portal(data, scratch)
    folder = scratch / "store"
    filled = fill(folder, rows, days)
    filled["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    store = open_store(folder)
    last = store.deliveries[-1]
    *_, end = made(rows, days + 1)
    result = {
        "deliveries": days,
        "law": {"median_days": MEDIAN_S / DAY_S, "sigma": SIGMA, "changed": SHARES},
        "adding": filled,
        "space": space(store, store.as_of(last.known_s + 1), scratch / "one"),
        "processor_seconds": reading(folder, last.known_s + 1),
        "delays": lateness(store),
        "nowcasts": held(store, rows),
        "drawn_nowcasts": oracle(QUICK_DRAWS if quick else DRAWS),
        "killed": killed(scratch, [*made(rows, 2)], QUICK_KILLS if quick else KILLS),
    }
    return {**result, "process_that_adds": whole_process(folder, end, scratch)}


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    adding, space_, read = result["adding"], result["space"], result["processor_seconds"]
    drawn, kills, process = result["drawn_nowcasts"], result["killed"], result["process_that_adds"]
    rows = [
        ["deliveries", str(result["deliveries"])],
        ["rows of the last one", f"{adding['rows']:,}"],
        ["given back row by row", str(adding["deliveries_given_back_row_by_row"])],
        ["space, of one delivery", f"{space_['times_one_delivery']:.2f}"],
        ["add, processor seconds", f"{adding['processor_seconds_each']['median']:.2f}"],
        ["process that adds", f"{process['processor_seconds']} s, {process['peak_memory_gb']} GB"],
        ["open and as_of, processor seconds", f"{read['open_and_as_of']:.2f}"],
        ["kills before, after", f"{kills['before']}, {kills['after']}"],
        ["intervals of drawn rows that hold", f"{np.mean(drawn['share_inside_by_day']):.3f}"],
    ]
    print_table("vintage store", rows)


def main() -> None:
    """Measure, print, and save unless quick."""
    flags = parse_flags(__doc__ or "")
    data = real_data()
    if data is None:
        sys.exit("deliveries: HEWS_REAL_DATA must name the folder of real tables")
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(data, Path(scratch), flags.quick)
    finish("deliveries", result, flags, show)


if __name__ == "__main__":
    main()
