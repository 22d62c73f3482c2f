"""The table: what dirt may touch, what it may not, and how cases are worded."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.synthetic.geography import make_layout
from hews_gpu.synthetic.presets import LAWS
from hews_gpu.synthetic.simulate import Seeds, simulate
from hews_gpu.synthetic.table import COLUMNS, Cases, Role, make_cases, portal_rows, portal_table

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))


@pytest.fixture(scope="module")
def made():
    law = LAWS["demo"]
    history = simulate(law, Seeds.of(law, 1), begin_s=BEGIN_S, hours=24 * 500)
    roles = {"SHOOTING": Role.TARGET, "ROBBERY - STREET": Role.TRIGGER}
    cases = make_cases(np.random.default_rng(2), history.events, roles, 60 * 24 * 500, history.layout)
    return history.layout, history, cases


@pytest.mark.parametrize(("role", "name"), [(Role.TARGET, "SHOOTING"), (Role.TRIGGER, "ROBBERY - STREET")])
def test_dirt_leaves_what_the_truth_depends_on(made, role, name):
    _, history, cases = made
    mine = cases.role == role
    assert np.array_equal(cases.minute[mine], history.events[name].minute)
    assert np.array_equal(cases.xy_m[mine], history.events[name].place)
    assert not cases.is_zero[mine].any()


def test_only_targets_have_several_victims_and_only_others_are_doubled(made):
    cases = made[2]
    assert set(cases.rows[cases.role == Role.TARGET]) == {1, 2, 3, 4}
    assert set(cases.rows[cases.role == Role.OTHER]) == {1, 2}
    assert set(cases.rows[(cases.role == Role.TRIGGER) | (cases.role == Role.SECOND)]) == {1}


def test_a_second_report_never_comes_before_its_event(made):
    _, history, cases = made
    targets, second = history.events["SHOOTING"], cases.role == Role.SECOND
    delays = []
    for minute, place in zip(cases.minute[second], cases.xy_m[second], strict=True):
        close = np.hypot(*(targets.place - place).T) <= 150
        delays.append(min(abs(minute - m) for m in targets.minute[close & (targets.minute <= minute)]))
    assert max(delays) <= 29
    assert np.mean(np.array(delays) == 0) == pytest.approx(0.40 / 0.55, abs=0.1)


def test_times_are_rounded_down_and_rarely_not_at_all(made):
    _, history, cases = made
    exact = history.events["LARCENY"].minute
    told = cases.minute[cases.category == "LARCENY"]
    assert np.all((told <= exact) & (exact - told < 60))
    assert (told % 60 == 0).mean() == pytest.approx(0.30 + 0.12 / 2 + 0.20 / 12 + 0.38 / 60, abs=0.02)


def test_every_row_of_a_case_says_the_same_but_for_who_died(made):
    layout, _, cases = made
    table, entries = portal_table(np.random.default_rng(3), cases, layout, BEGIN_S)
    assert len(table) == len(entries.case) == cases.rows.sum()
    assert np.array_equal(
        table.Description[cases.role[entries.case] == Role.OTHER],
        cases.category[entries.case][cases.role[entries.case] == Role.OTHER],
    )
    shared = [name for name in table.columns if name not in ("Description", "CrimeCode")]
    targets = table[table.Description.isin(("SHOOTING", "HOMICIDE"))]
    assert len(targets.drop_duplicates(shared)) == (cases.role == Role.TARGET).sum()
    assert (targets.Description == "HOMICIDE").mean() == pytest.approx(0.3, abs=0.06)
    assert set(targets.CrimeCode[targets.Description == "HOMICIDE"]) == {"1F"}


# ---------------------------------------------------------------- the wording

MONDAY_S = int(np.datetime64("2024-01-01", "s").astype(np.int64))


@pytest.fixture(scope="module")
def layout():
    return make_layout(np.random.default_rng(0))


def words(layout, minute, category, *, xy_m=None, seed=0):
    minute = np.asarray(minute, dtype=np.int64)
    xy_m = layout.spots_m[np.arange(len(minute)) % len(layout.spots_m)] if xy_m is None else xy_m
    category = np.full(len(minute), category, dtype=object)
    role = np.where(category == "SHOOTING", Role.TARGET, Role.OTHER)
    once, located = np.ones(len(minute), dtype=np.int64), np.zeros(len(minute), dtype=bool)
    cases = Cases(minute=minute, xy_m=xy_m, category=category, role=role, rows=once, is_zero=located)
    return portal_rows(np.random.default_rng(seed), cases, layout, MONDAY_S)


def test_a_midnight_is_written_in_one_of_two_ways(layout):
    rows = words(layout, np.full(500, 24 * 60), "LARCENY")
    assert set(zip(rows.CrimeDate, rows.CrimeTime, strict=True)) == {
        ("01/02/2024", "00:00:00"),
        ("01/01/2024", "24:00:00"),
        ("01/01/2024", "2400"),
    }


def test_a_minute_past_one_is_written_in_one_of_two_ways(layout):
    rows = words(layout, np.full(300, 59 * 24 * 60 + 72), "SHOOTING")
    assert set(zip(rows.CrimeDate, rows.CrimeTime, strict=True)) == {("02/29/2024", "01:12:00"), ("02/29/2024", "112")}
    assert 0.02 < (rows.CrimeTime == "112").mean() < 0.25


def test_a_place_has_one_address_name_and_pair(layout):
    xy_m = np.array([[100.0, 4000.0], [np.nan, np.nan]])
    rows = words(layout, [0, 0], "ARSON", xy_m=xy_m)
    known, blank = rows.iloc[0], rows.iloc[1]
    assert known["Location 1"] == f"({known.Latitude}00000, {known.Longitude}00000)"
    assert known.Latitude == f"{18.3 + 4000 / 111_320:.5f}"
    assert known.Neighborhood in {name[:25] for name in layout.names}
    assert known.District == "NORTHERN"
    assert (blank[["Location", "Longitude", "Latitude", "Location 1", "Neighborhood", "District", "Post"]] == "").all()
    assert (known.CrimeCode, known.Weapon, known["Total Incidents"]) == ("8J", "", "1")


def test_columns_are_the_portals_in_order(layout):
    assert tuple(words(layout, [0], "ARSON").columns) == COLUMNS
