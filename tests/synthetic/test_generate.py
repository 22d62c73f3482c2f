"""Cities of every preset: refused numbers, rows that differ, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from hews_gpu.errors import UserError
from hews_gpu.synthetic.addresses import PER_DEGREE, meters
from hews_gpu.synthetic.generate import distinct, generate
from hews_gpu.synthetic.geography import to_degrees
from hews_gpu.synthetic.table import Cases, Role


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"preset": "stron"}, "strong"),
        ({"years": 0}, "years"),
        ({"years": 41}, "years"),
        ({"seed": -1}, "seed"),
        ({"under_reporting": 1.5}, "under_reporting"),
    ],
)
def test_what_is_not_known_or_out_of_range_is_refused(wrong, named):
    with pytest.raises(UserError, match=named):
        generate(**{"preset": "null", "seed": 0, "years": 1, "under_reporting": 0.0, **wrong})


def test_no_two_cases_have_equal_rows():
    """Larcenies at one corner and minute, an arson there, and one larceny each without a place and a minute later."""
    corner = meters(np.array([-6_723_000, 1_830_100]))
    cases = Cases(
        minute=np.array([5, 5, 5, 5, 6, 5]),
        xy_m=np.array([corner, corner, corner, corner, corner, [np.nan, np.nan]]),
        category=np.array(["LARCENY", "LARCENY", "ARSON", "LARCENY", "LARCENY", "LARCENY"], dtype=object),
        role=np.zeros(6, np.int64),
        rows=np.ones(6, np.int64),
        is_zero=np.zeros(6, np.bool_),
    )
    east = np.rint(to_degrees(distinct(cases).xy_m) * PER_DEGREE)[:5, 0] + 6_723_000
    assert east.tolist() == [0, 1, 0, 2, 0]


def test_reports_come_late_but_never_early_and_within_a_week():
    made = generate("null", seed=1, years=1)
    delay_s = made.reported_s - made.begin_s - 60 * made.cases.minute
    assert delay_s.min() == 0
    assert delay_s.max() <= 7 * 86_400
    assert 0.5 < (delay_s < 3600).mean() < 0.85
    assert 0.03 < (delay_s > 86_400).mean() < 0.12


def test_under_reporting_leaves_out_rows_of_some_neighborhoods_but_no_target():
    full, thin = (generate("spatial", seed=2, years=1, under_reporting=share) for share in (0.0, 0.5))
    assert np.array_equal(full.truth.target_s, thin.truth.target_s)
    assert np.array_equal(full.truth.incident_s, thin.truth.incident_s)
    counts = [np.bincount(m.ground.neighborhood(np.nan_to_num(m.cases.xy_m, nan=1e9)) + 1) for m in (full, thin)]
    kept = (counts[1] / counts[0])[1:]
    assert (kept == 1).sum() == 55 - 18
    assert kept[kept < 1] == pytest.approx(0.5, abs=0.12)
    assert (full.cases.role == Role.TARGET).sum() == (thin.cases.role == Role.TARGET).sum()
