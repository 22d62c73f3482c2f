"""A delivery beside what was known; all rules on a toy table.

Of the hour 01:00 and two places::

    time   longitude  category
    01:00  1.0        ROBBERY    twice
    01:00  2.0        THEFT
    02:00  1.0        SHOOTING
    30 h   1.0        SHOOTING
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hews_gpu.alerts.vintages.compare import KINDS, NEW, ROWS, Rows, compare, rows_of
from hews_gpu.errors import UserError
from hews_gpu.units import DAY_S, HOUR_S
from tests.alerts.vintages.rows import Row, table
from tests.toy_city import incidents, write_prepared

H = HOUR_S
FIRST, LAST = (0, 9.0, "EDGE"), (900 * H, 9.0, "EDGE")
KNOWN: list[Row] = [
    FIRST,
    *[(H, 1.0, "ROBBERY")] * 2,
    (H, 2.0, "THEFT"),
    (2 * H, 1.0, "SHOOTING"),
    (30 * H, 1.0, "SHOOTING"),
    LAST,
]


def changes(known: list[Row], delivered: list[Row], former: list[Row] | None = None) -> dict[str, object]:
    """Return each kind's pairs of what was and what is, sorted, and what is withdrawn."""
    result = compare(Rows.of(table(known)), Rows.of(table(delivered)), Rows.of(table(former or [])).key)
    pairs: dict[str, object] = {}
    for kind, name in enumerate(KINDS):
        at = np.flatnonzero(result.kind == kind)
        if len(at):
            old = [None if i < 0 else known[i] for i in result.origin[at].tolist()]
            pairs[name] = sorted(zip(old, [delivered[j] for j in result.added[at]], strict=True), key=str)
    if len(result.withdrawn):
        pairs["withdrawn"] = sorted(known[i] for i in result.withdrawn)
    return pairs


def without(*rows: Row) -> list[Row]:
    """Return what was known but for some rows, one copy of each."""
    left = list(KNOWN)
    for row in rows:
        left.remove(row)
    return left


@pytest.mark.parametrize(
    ("gone", "came", "expected"),
    [
        ([], [], {}),
        ([], [(5 * H, 3.0, "THEFT")], {"new": [(None, (5 * H, 3.0, "THEFT"))]}),
        ([], [KNOWN[1]], {"new": [(None, KNOWN[1])]}),
        ([KNOWN[1]], [], {"withdrawn": [KNOWN[1]]}),
        ([KNOWN[1]], [(H, 3.0, "ROBBERY")], {"moved": [(KNOWN[1], (H, 3.0, "ROBBERY"))]}),
        ([KNOWN[1]], [(H, 1.0, "THEFT")], {"reclassified": [(KNOWN[1], (H, 1.0, "THEFT"))]}),
        ([KNOWN[4]], [(3 * H, 1.0, "SHOOTING")], {"revised": [(KNOWN[4], (3 * H, 1.0, "SHOOTING"))]}),
        (
            [KNOWN[4]],
            [(2 * H + DAY_S + 1, 1.0, "SHOOTING")],
            {"withdrawn": [KNOWN[4]], "new": [(None, (2 * H + DAY_S + 1, 1.0, "SHOOTING"))]},
        ),
        (  # the same place and time says more than the same category and time
            [KNOWN[3]],
            [(H, 2.0, "ARSON"), (H, 5.0, "THEFT")],
            {"reclassified": [(KNOWN[3], (H, 2.0, "ARSON"))], "new": [(None, (H, 5.0, "THEFT"))]},
        ),
        (  # both copies, each with one row
            [KNOWN[1], KNOWN[1]],
            [(H, 0.5, "ROBBERY"), (H, 3.0, "ROBBERY")],
            {"moved": [(KNOWN[1], (H, 0.5, "ROBBERY")), (KNOWN[1], (H, 3.0, "ROBBERY"))]},
        ),
        (  # a day and more lies between the two shootings: the nearer one is meant
            [KNOWN[4], KNOWN[5]],
            [(31 * H, 1.0, "SHOOTING")],
            {"withdrawn": [KNOWN[4]], "revised": [(KNOWN[5], (31 * H, 1.0, "SHOOTING"))]},
        ),
    ],
    ids=["same", "new", "third copy", "withdrawn", "moved", "reclassified", "revised", "too far in time", "place first",
         "two moved", "nearer one"],
)  # fmt: skip
def test_each_change_is_told_apart(gone: list[Row], came: list[Row], expected: dict[str, object]) -> None:
    delivered = [*without(*gone), *came]
    assert changes(KNOWN, delivered) == expected
    assert changes(KNOWN[::-1], delivered[::-1]) == expected


def test_the_first_is_paired_with_the_first_and_never_over_more_than_a_day() -> None:
    first, second, came = (2 * H, 1.0, "SHOOTING"), (22 * H, 1.0, "SHOOTING"), (40 * H, 1.0, "SHOOTING")
    told = changes([FIRST, first, second, LAST], [FIRST, came, LAST])
    assert told == {"new": [(None, came)], "withdrawn": [first, second]}
    told = changes([FIRST, first, second, LAST], [FIRST, (23 * H, 1.0, "SHOOTING"), came, LAST])
    assert told == {"revised": [(first, (23 * H, 1.0, "SHOOTING")), (second, came)]}


def test_what_the_delivery_does_not_cover_is_not_withdrawn() -> None:
    assert changes(KNOWN, KNOWN[4:]) == {}
    assert changes(KNOWN, KNOWN[:4]) == {}, "a delivery that ends early"
    assert changes(KNOWN, [KNOWN[3], *KNOWN[5:]]) == {"withdrawn": [KNOWN[4]]}, "of its first minute it may lack some"


def test_a_row_that_was_known_once_returns() -> None:
    row = (7 * H, 4.0, "ARSON")
    assert changes(KNOWN, [*KNOWN, row], former=[row]) == {"returned": [(None, row)]}


def test_a_target_that_was_none_is_reclassified() -> None:
    known, delivered = (
        table(KNOWN).set_column(5, "is_target", pa.array([n == i for i in range(len(KNOWN))])) for n in (2, 3)
    )
    result = compare(Rows.of(known), Rows.of(delivered), np.zeros(0, np.uint64))
    assert [KINDS[kind] for kind in result.kind] == ["reclassified"] * 2


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 2.0]), st.sampled_from(["A", "B"]))), st.data())
def test_the_digest_knows_the_rows_and_not_their_order(rows: list[Row], data: st.DataObject) -> None:
    other = data.draw(st.permutations(rows) | st.lists(st.sampled_from(rows)) if rows else st.just([]))
    digests = {Rows.of(table(one)).digest() for one in (rows, other)}
    assert (len(digests) == 1) == (sorted(rows) == sorted(other))


def test_rows_of_a_prepared_folder(tmp_path: Path) -> None:
    frame = incidents()
    overlap = {"is_overlap": np.arange(len(frame)) % 5 == 0}
    rows = rows_of(write_prepared(tmp_path / "prepared", frame, extra=overlap))
    assert rows.schema == ROWS
    assert rows["time_s"].to_pylist() == frame["time_s"][~overlap["is_overlap"]].tolist()
    with pytest.raises(UserError, match="cannot be read"):
        rows_of(tmp_path)


@pytest.mark.parametrize("fault", ["column", "type", "blank"])
def test_a_delivery_of_another_kind_is_refused(fault: str) -> None:
    rows = table(KNOWN)
    broken = {
        "column": rows.drop_columns("latitude"),
        "type": rows.set_column(0, "time_s", pa.array(["noon"] * len(rows))),
        "blank": rows.set_column(1, "longitude", pa.array([None] * len(rows), pa.float64())),
    }[fault]
    with pytest.raises(UserError, match="delivery"):
        Rows.of(broken)


def test_129_equal_rows_are_129_rows() -> None:
    row = (7 * H, 1.0, "BURGLARY")
    moved = [(7 * H, 2.0, "BURGLARY")] * 129
    result = compare(Rows.of(table([FIRST, *[row] * 129, LAST])), Rows.of(table([FIRST, *moved, LAST])), np.zeros(0, np.uint64))  # fmt: skip  # noqa: E501
    assert np.bincount(result.kind).tolist() == [0, 0, 0, 129]
    assert len(np.unique(result.origin)) == 129
    half = compare(Rows.of(table([FIRST, *[row] * 129, LAST])), Rows.of(table([FIRST, *[row] * 60, LAST])), np.zeros(0, np.uint64))  # fmt: skip  # noqa: E501
    assert len(half.withdrawn) == 69
    assert not (half.kind == NEW).any()
