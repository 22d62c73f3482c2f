"""Delays and missing rows, against laws that they were drawn from and against cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, nbinom

from hews_gpu.alerts.vintages.delays import DelayCurve, Nowcast, Schedule, Triangle, delays, nowcast, triangle
from hews_gpu.alerts.vintages.store import Store, open_store
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S
from studies.inputs.deliveries import Law, drawn_triangle, lognormal, operational_delays
from tests.alerts.vintages.rows import SOURCE, Row, table

DRAWS = 200
NOON = 12 * HOUR_S


def exponential(mean_s: float) -> Law:
    """Return the law."""
    return lambda rng, rows: rng.exponential(mean_s, rows)


LAWS = {"exponential": exponential(2 * DAY_S), "lognormal": lognormal(2 * DAY_S, 1.0)}


@pytest.mark.parametrize("deliveries", [10, 40])
@pytest.mark.parametrize("law", LAWS)
def test_the_law_of_delays_is_found(law: str, deliveries: int) -> None:
    curves = [
        DelayCurve.of(drawn_triangle(LAWS[law], seed=seed, rows_a_day=100, spread=0.1, deliveries=deliveries).triangle)
        for seed in range(20)
    ]
    true_s = operational_delays(LAWS[law])
    for share in (0.5, 0.9, 0.95):
        told_s = np.array([curve.settled_s(share) for curve in curves])
        assert np.mean(told_s) == pytest.approx(np.quantile(true_s, share), rel=0.04), share
    for age_s in (DAY_S, 3 * DAY_S, 6 * DAY_S):
        shares = [curve.known_by(age_s) for curve in curves]
        assert np.mean(shares) == pytest.approx((true_s <= age_s).mean(), abs=0.01)


@pytest.mark.parametrize(("rows_a_day", "spread", "deliveries"), [(130, 0.2, 40), (130, 0.05, 15), (3, 0.3, 40)])
@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_a_nowcast_holds_the_number_nine_times_in_ten(
    law: str, rows_a_day: float, spread: float, deliveries: int
) -> None:
    inside = np.zeros(7)
    for seed in range(DRAWS):
        drawn = drawn_triangle(LAWS[law], seed=seed, rows_a_day=rows_a_day, spread=spread, deliveries=deliveries)
        result = Nowcast.of(drawn.triangle, drawn.when_s, 7)
        number = drawn.rows_by_day[result.day_s // DAY_S]
        inside += (result.low <= number) & (number <= result.high)
    least, most = binom(DRAWS, 0.9).ppf([0.0005, 0.9995])
    assert (inside >= least).all()
    if rows_a_day > 100:  # the ends are whole numbers: intervals of a few rows hold more
        assert (inside[-3:] <= most).all()


def test_of_days_of_which_nothing_is_known_the_nowcast_is_how_days_differ() -> None:
    """Rows come after eight days, and one in twelve after 108: the law is that of all rows, those included."""

    def law(rng: np.random.Generator, rows: int) -> np.ndarray:
        return DAY_S * np.where(rng.random(rows) < 1 / 12, 108.0, 8.0)

    spread, results = 0.05, []
    for seed in range(10):
        drawn = drawn_triangle(law, seed=seed, rows_a_day=300, spread=spread, deliveries=120, before=100)
        results.append(Nowcast.of(drawn.triangle, drawn.when_s, 7))
    assert all((one.share == 0).all() and not one.known.any() for one in results)
    true = nbinom(spread**-2, 1 / (1 + 300 * spread**2))
    assert np.mean([one.expected for one in results]) == pytest.approx(true.mean(), rel=0.015)
    width = np.mean([one.high - one.low for one in results])
    assert width == pytest.approx(true.ppf(0.95) - true.ppf(0.05), rel=0.07)


def test_of_a_day_that_no_delivery_followed_only_its_first_hours_are_known() -> None:
    draws = [
        drawn_triangle(LAWS["exponential"], seed=seed, rows_a_day=130, spread=0.1, deliveries=20) for seed in range(20)
    ]
    shares = [Nowcast.of(one.triangle, one.when_s + DAY_S, 7).share[-1] for one in draws]
    first = np.linspace(0, 6 * HOUR_S, 1001)
    assert np.mean(shares) == pytest.approx(0.25 * np.mean(1 - np.exp(-first / (2 * DAY_S))), rel=0.1)


def test_a_share_by_hand() -> None:
    """Of four days with four rows each at noon, two come at the first delivery after it and two a day later.

    ::

        delivery         0          1          2          3
        day -1 (before)  both there
        day 0                       1          1
        day 1                                  1          1
        day 2                                             1   (the other one is missing)
    """
    delivered_s = np.arange(4) * DAY_S + DAY_S
    time_s = np.array([0, 1, 2, 1, 2, 3]) * DAY_S + NOON
    first = np.array([0, 1, 2, 2, 3, 3])
    schedule = Schedule(delivered_s=delivered_s, oldest_s=np.zeros(4, np.int64))
    time_s, known_s = np.append(time_s, NOON), np.append(delivered_s[first], delivered_s[0])
    made = Triangle.of(np.repeat(time_s, 2), np.repeat(known_s, 2), schedule)
    assert made.is_late.tolist() == np.repeat([False, False, False, True, True, False, False], 2).tolist()
    curve = DelayCurve.of(made)
    assert curve.late == 4
    # at age 1 d: four came just then, of the twelve rows of days 0 to 2
    assert curve.known_by(1.5 * DAY_S - 1) == pytest.approx(1 - 4 / 12)
    assert curve.known_by(1.5 * DAY_S) == 1
    assert curve.settled_s(0.6) == 0.5 * DAY_S
    assert curve.settled_s(0.9) == 1.5 * DAY_S


def shop(folder: Path, deliveries: int, *, first_days: int = 1000) -> Store:
    """Return a store of a town with a theft each noon, known next morning, and a shooting, known a week later.

    Each delivery covers the last so many days, and begins with a row of its own time.
    """
    store = open_store(folder, delay_s=HOUR_S)
    for n in range(deliveries):
        now = 60 + n
        days = range(max(0, now - (first_days if n else 10)), now)
        rows: list[Row] = [(day * DAY_S + NOON, 1.0, "THEFT") for day in days]
        rows += [(day * DAY_S + NOON, 2.0, "SHOOTING") for day in days if day + 7 < now]
        store.add(table([(days[0] * DAY_S, 9.0, "EDGE"), *rows]), now * DAY_S + 6 * HOUR_S, SOURCE)
    return store


def test_targets_have_a_law_of_their_own(tmp_path: Path) -> None:
    store = shop(tmp_path, 30)
    when_s = store.deliveries[-1].known_s + 1
    assert delays(store, when_s, targets=False).settled_s(0.99) == 18 * HOUR_S
    assert delays(store, when_s, targets=True).settled_s(0.99) == 7 * DAY_S + 18 * HOUR_S
    result = nowcast(store, when_s, targets=True, days=10)
    assert result.known.tolist() == [*[1] * 3, *[0] * 7]
    assert (result.share > 0.99).tolist() == (result.known == 1).tolist()
    assert result.expected == pytest.approx(np.ones(10), abs=0.1)


def test_a_single_row_at_the_greatest_age_says_nothing_of_all_others() -> None:
    made = drawn_triangle(LAWS["exponential"], seed=0, rows_a_day=130, spread=0.1, deliveries=20, before=1).triangle
    schedule, others = made.schedule, made.time_s >= made.schedule.delivered_s[0]
    time_s = np.append(made.time_s[others], schedule.delivered_s[0] - 1)
    known_s = np.append(schedule.delivered_s[made.seen[others]], schedule.delivered_s[-1])
    both, without = Triangle.of(time_s, known_s, schedule), Triangle.of(time_s[:-1], known_s[:-1], schedule)
    assert both.is_late[-1]
    assert DelayCurve.of(both).settled_s(0.5) == DelayCurve.of(without).settled_s(0.5)


def test_few_targets_that_came_in_time_settle_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for now in range(20, 24):
        thefts: list[Row] = [(day * DAY_S + NOON, 1.0, "THEFT") for day in range(now - 3)]
        shots: list[Row] = [(day * DAY_S + NOON, 2.0, "SHOOTING") for day in range(now)]
        store.add(table([(0, 9.0, "EDGE"), *thefts * 5, *shots * 5]), now * DAY_S + 6 * HOUR_S, SOURCE)
    when_s = store.deliveries[-1].known_s + 1
    assert DelayCurve.of(triangle(store, when_s, targets=True)).settled_s(0.99) == 18 * HOUR_S
    assert delays(store, when_s, targets=True).settled_s(0.99) == 3 * DAY_S + 18 * HOUR_S


def test_rows_of_a_time_that_was_not_delivered_before_are_not_late(tmp_path: Path) -> None:
    store = shop(tmp_path, 5)  # the first one holds ten days, the second one all
    assert store.deliveries[1].new > 50
    made = triangle(store, store.deliveries[-1].known_s + 1, targets=False)
    assert not made.is_late.any()


def test_with_short_deliveries_a_row_is_in_sight_while_they_cover_it(tmp_path: Path) -> None:
    store = shop(tmp_path, 30, first_days=10)
    made = triangle(store, store.deliveries[-1].known_s + 1, targets=False)
    old = (made.time_s > made.schedule.delivered_s[0]) & (made.time_s % DAY_S == NOON)
    in_sight_d = (made.last_s - made.time_s)[old] / DAY_S
    assert in_sight_d.max() == 9.75
    assert delays(store, store.deliveries[-1].known_s + 1, targets=True).settled_s(0.99) == 7 * DAY_S + 18 * HOUR_S


def test_of_a_single_delivery_the_stated_delay_is_known(tmp_path: Path) -> None:
    store = shop(tmp_path, 1)
    curve = delays(store, store.deliveries[-1].known_s + 1)
    assert curve.late == 0
    assert curve.settled_s(0.5) >= HOUR_S
    with pytest.raises(UserError, match="holds no delivery before"):
        delays(store, store.deliveries[0].known_s)


def test_later_deliveries_are_not_looked_at(tmp_path: Path) -> None:
    long, short = shop(tmp_path / "long", 30), shop(tmp_path / "short", 20)
    when_s = short.deliveries[-1].known_s + 1
    one, other = delays(long, when_s), delays(short, when_s)
    assert one.ages.tolist() == other.ages.tolist()
    assert one.shares.tolist() == other.shares.tolist()
    assert nowcast(long, when_s).expected.tolist() == nowcast(short, when_s).expected.tolist()
