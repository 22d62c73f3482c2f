"""Daily deliveries made of one table: rows come late by a given law, and some are changed later.

The table is a city's prepared rows, or the raw rows of its file. Each day's delivery holds all rows known by then. Some
rows are withdrawn, or take over from another row, drawn at random, the columns that say where it was (moved), what it
was (reclassified) or at what hour (revised): once, some time after they became known.

Shapes: R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from benchmarks.inputs.cities import PORTAL
from hews_gpu.alerts.vintages.delays import Schedule, Triangle
from hews_gpu.arrays import Float64, Int64
from hews_gpu.units import DAY_S, HOUR_S

Law = Callable[[np.random.Generator, int], Float64]
"""Draws so many reporting delays, in seconds."""
Edits = Mapping[str, tuple[str, ...]]
"""Kind of change -> the columns that are taken over."""
OF_ROWS: Edits = {
    "moved": ("longitude", "latitude", "neighborhood_id"),
    "reclassified": ("category", "is_target"),
    "revised": ("time_s",),
}
"""Of the rows of a prepared folder; of a time only the hour is taken over, not the day."""
OF_PORTAL: Edits = {
    "moved": ("Location", "Post", "District", "Neighborhood", "Longitude", "Latitude", "Location 1"),
    "reclassified": ("CrimeCode", "Description"),
    "revised": ("CrimeTime",),
}
SHARES = {"moved": 0.10, "revised": 0.05, "reclassified": 0.03, "withdrawn": 0.02}
"""Of all rows, so many are changed in each way; assumed, no portal says."""
MEAN_UNTIL_CHANGED_S = 30 * DAY_S


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One delivery."""

    known_s: int
    table: pa.Table
    new: int
    """Rows that no delivery had before."""
    changed: Mapping[str, int]
    """Rows that the delivery before had otherwise, by kind of change."""


def lognormal(median_s: float, sigma: float) -> Law:
    """Return the law of delays whose logarithm is normal."""
    return lambda rng, rows: rng.lognormal(np.log(median_s), sigma, rows)


def daily_deliveries(
    table: pa.Table,
    time_s: Int64,
    *,
    begin_s: int,
    days: int,
    delay: Law,
    seed: int,
    edits: Edits = OF_ROWS,
    shares: Mapping[str, float] = SHARES,
) -> Iterator[Generated]:
    """Yield the deliveries of so many days, at the same hour each.

    Args:
        table: the rows, in the order in which every delivery has them.
        time_s: [R] when each happened; rows of which that is not known are in no delivery, if below zero.
        begin_s: the first delivery.
        days: how many.
        delay: from happening to being known.
        seed: of all that is drawn.
        edits: which columns a kind of change takes over.
        shares: of the rows, by kind of change; the others are never changed.
    """
    rng, rows = np.random.default_rng(seed), len(table)
    known_s = time_s + delay(rng, rows)
    kinds = [*shares, ""]
    kind = rng.choice(len(kinds), rows, p=[*shares.values(), 1 - sum(shares.values())])
    changed_s = np.where(kind == len(shares), np.inf, known_s + rng.exponential(MEAN_UNTIL_CHANGED_S, rows))
    donor = rng.integers(0, rows, rows)
    both = pa.concat_tables([table, _edited(table, {k: kind == n for n, k in enumerate(kinds)}, donor, edits)])
    both = both.unify_dictionaries().combine_chunks()
    before = np.zeros(rows, bool)
    for day in range(days):
        now_s, last_s = begin_s + day * DAY_S, begin_s + (day - 1) * DAY_S
        known, changed = (known_s < now_s) & (time_s >= 0), changed_s < now_s
        here = known & ~(changed & (kind == kinds.index("withdrawn") if "withdrawn" in kinds else False))
        at = np.flatnonzero(here)
        just = before & changed & (changed_s >= last_s)
        yield Generated(
            known_s=now_s,
            table=both.take(at + rows * changed[at]),
            new=int((here & ~before).sum()) if day else len(at),
            changed={name: int((just & (kind == n)).sum()) for n, name in enumerate(shares)},
        )
        before = here


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What daily deliveries tell of rows whose number is known."""

    triangle: Triangle
    rows_by_day: Int64  # [D] of all days from 0 on, those not seen yet included
    when_s: int
    """Just after the last delivery."""


def drawn_triangle(
    delay: Law, *, seed: int, rows_a_day: float, spread: float, deliveries: int, before: int = 200
) -> Drawn:
    """Draw rows that come late by a law, and the reporting triangle of daily deliveries at 6 o'clock.

    Args:
        delay: the law.
        seed: of all that is drawn.
        rows_a_day: on average.
        spread: standard deviation of the days' rates as a share of that.
        deliveries: how many.
        before: days before the first one.
    """
    rng = np.random.default_rng(seed)
    rates = rows_a_day * rng.gamma(spread**-2, spread**2, before + deliveries)
    rows_by_day = rng.poisson(rates)
    time_s = np.repeat(np.arange(len(rates)) * DAY_S, rows_by_day) + rng.integers(0, DAY_S, rows_by_day.sum())
    delivered_s = before * DAY_S + 6 * HOUR_S + np.arange(deliveries) * DAY_S
    first = np.searchsorted(delivered_s, time_s + delay(rng, len(time_s)), side="right")
    seen = first < deliveries
    known_s = np.where(first == 0, np.minimum(time_s, delivered_s[0]), delivered_s[np.minimum(first, deliveries - 1)])
    schedule = Schedule(delivered_s=delivered_s, oldest_s=np.zeros(deliveries, np.int64))
    made = Triangle.of(time_s[seen], known_s[seen], schedule)
    return Drawn(triangle=made, rows_by_day=rows_by_day, when_s=int(delivered_s[-1]) + 1)


def operational_delays(delay: Law, rows: int = 200_000) -> Float64:
    """Return delays, in seconds, until the first delivery at 6 o'clock that follows a report."""
    rng = np.random.default_rng(0)
    time_s = rng.integers(0, DAY_S, rows)
    reported_s = time_s + delay(rng, rows)
    return np.asarray(np.floor((reported_s - 6 * HOUR_S) / DAY_S) * DAY_S + DAY_S + 6 * HOUR_S - time_s)


def _edited(table: pa.Table, chosen: Mapping[str, np.ndarray], donor: Int64, edits: Edits) -> pa.Table:
    """Return the table as it is once every change has been made; what is withdrawn stays as it was."""
    for kind, names in edits.items():
        source = np.where(chosen.get(kind, np.zeros(len(table), bool)), donor, np.arange(len(table)))
        for name in names:
            column = table[name].take(source)
            if name == "time_s":
                own, other = table[name].to_numpy(), column.to_numpy()
                column = pa.array(own - own % DAY_S + other % DAY_S)
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def portal_table(data: Path) -> tuple[pa.Table, Int64]:
    """Read the rows of Baltimore's portal table as text, and when each happened; below zero where that is not said.

    Args:
        data: what HEWS_REAL_DATA names.
    """
    file = data / "baltimore" / PORTAL
    with pyarrow.csv.open_csv(file) as opened:
        names = opened.schema.names
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    table = pyarrow.csv.read_csv(file, convert_options=options).combine_chunks()
    day = pc.strptime(table["CrimeDate"], "%m/%d/%Y", "s", error_is_null=True).cast(pa.int64()).fill_null(-DAY_S)
    clock = pc.split_pattern(table["CrimeTime"], ":")
    hours, minutes, seconds = (pc.list_element(clock, n).cast(pa.int64()).to_numpy() for n in range(3))
    return table, day.to_numpy() + hours * 3600 + minutes * 60 + seconds
