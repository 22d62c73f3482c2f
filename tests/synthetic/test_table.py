"""Cases: what dirt may touch, and what it may not."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.synthetic.geography import make_ground
from hews_gpu.synthetic.recipe import DEMO
from hews_gpu.synthetic.simulate import simulate
from hews_gpu.synthetic.table import Role, make_cases, portal_table

BEGIN_S = int(np.datetime64("2021-01-01", "s").astype(np.int64))


@pytest.fixture(scope="module")
def made():
    ground = make_ground(np.random.default_rng(0))
    history = simulate(DEMO, ground, np.random.SeedSequence(1), begin_s=BEGIN_S, hours=24 * 500)
    roles = {DEMO.target.name: Role.TARGET, DEMO.precursor.name: Role.PRECURSOR}
    return ground, history, make_cases(np.random.default_rng(2), history.events, roles, 60 * 24 * 500, ground)


@pytest.mark.parametrize(("role", "name"), [(Role.TARGET, DEMO.target.name), (Role.PRECURSOR, DEMO.precursor.name)])
def test_dirt_leaves_what_the_truth_depends_on(made, role, name):
    _, history, cases = made
    mine = cases.role == role
    assert np.array_equal(cases.minute[mine], history.events[name].minute)
    assert np.array_equal(cases.xy_m[mine], history.events[name].xy_m)
    assert not cases.is_zero[mine].any()


def test_only_targets_have_several_victims_and_only_others_are_doubled(made):
    cases = made[2]
    assert set(cases.rows[cases.role == Role.TARGET]) == {1, 2, 3, 4}
    assert set(cases.rows[cases.role == Role.OTHER]) == {1, 2}
    assert set(cases.rows[(cases.role == Role.PRECURSOR) | (cases.role == Role.SECOND)]) == {1}


def test_a_second_report_never_comes_before_its_event(made):
    _, history, cases = made
    targets, second = history.events[DEMO.target.name], cases.role == Role.SECOND
    delays = []
    for minute, place in zip(cases.minute[second], cases.xy_m[second], strict=True):
        close = np.hypot(*(targets.xy_m - place).T) <= 150
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
    ground, _, cases = made
    table, entries = portal_table(np.random.default_rng(3), cases, ground, BEGIN_S)
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
