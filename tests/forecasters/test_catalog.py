"""The catalog: what is known when, against plain loops; nothing after an issue time reaches a count.

row     1     2     3     4        SHOOTING rows 2 and 3 are two victims of one event; row 4 is its twin
time    0     60    60    90       (an AGG. ASSAULT)
known   0     60    60    90       without a delay: each row for itself, whatever comes later
"""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hews_gpu.data.windows import Windows
from hews_gpu.forecasters.catalog import (
    TARGETS,
    Catalog,
    Measured,
    area_counts,
    label_known_s,
    make_catalog,
    outcomes,
    settling_s,
    with_layers,
)
from tests.invented_city import AREAS, BEGIN_S, columns


def toy(**changes):
    arguments = {
        "time_s": np.array([0, 60, 60, 90]),
        "category": np.array([0, 1, 1, 0]),
        "area": np.array([0, 1, 1, 1]),
        "xy_m": np.zeros((4, 2)),
        "is_target": np.array([False, True, True, False]),
        "categories": ("AGG. ASSAULT", "SHOOTING"),
        "areas": 2,
    }
    return make_catalog(**{**arguments, **changes})


def same(a: Catalog, b: Catalog):
    for field in fields(Catalog):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def test_rows_become_known_one_by_one_and_victims_count_once():
    found = toy()
    assert found.known_s.tolist() == [0, 60, 60, 90]
    assert found.is_first.tolist() == [True, True, False, True]
    assert found.streams == (TARGETS, "AGG. ASSAULT", "SHOOTING")
    assert found.stream.tolist() == [1, 0, 0, 1]


def test_a_delay_is_added_and_a_later_report_counts():
    assert toy(delay_s=100).known_s.tolist() == [100, 160, 160, 190]
    assert toy(delay_s=10, known_s=np.array([500, 60, 60, 90])).known_s.tolist() == [70, 70, 100, 500]


def test_layers_are_streams_of_their_own_in_the_order_in_which_all_became_known():
    """Two layers with categories of the same names; one row of theirs is known late, one happened before all else."""
    rows = {"category": np.array([1, 0]), "area": np.array([1, 0]), "xy_m": np.full((2, 2), 7.0)}
    layer = toy(**rows, time_s=np.array([0, -9]), known_s=np.array([80, -9]), is_target=np.zeros(2, bool))
    other = toy(**rows, time_s=np.array([61, 62]), is_target=np.zeros(2, bool))
    found = with_layers(toy(), {"calls": layer, "arrests": other})
    assert found.known_s.tolist() == [0, 60, 60, 61, 62, 80, 90]
    streams = [found.streams[k] for k in found.stream]
    assert streams[3:6] == ["arrests: SHOOTING", "arrests: AGG. ASSAULT", "calls: SHOOTING"]
    assert found.time_s[5] == 0 and found.area.tolist()[5] == 1 and found.xy_m[5, 0] == 7
    assert np.array_equal(np.flatnonzero(found.is_target), [1, 2]) and found.is_event.sum() == 1
    assert found.counted(np.array([70]), found.columns(("calls: SHOOTING",)), 1).tolist() == [[0]]
    assert found.counted(np.array([81]), found.columns(("calls: SHOOTING",)), 1).tolist() == [[1]]
    assert with_layers(toy(), {}).streams == toy().streams


def test_until_ends_before_the_moment():
    assert len(toy().until(60)) == 1
    assert len(toy().until(61)) == 3
    assert len(toy().until(91)) == 4
    assert len(toy().until(0)) == 0


def test_since_begins_at_the_moment():
    assert [len(toy().since(when_s)) for when_s in (0, 1, 60, 61, 91)] == [4, 3, 3, 1, 0]


def test_the_busiest_streams_are_the_targets_and_those_of_most_rows():
    names = ("A", "B", "C", "SHOOTING")
    category = np.repeat([0, 1, 2, 3], [2, 5, 3, 1])
    many = {"time_s": 100 * np.arange(11), "area": np.zeros(11, int), "xy_m": np.zeros((11, 2))}
    catalog = toy(category=category, is_target=category == 3, categories=names, **many)
    assert catalog.busiest(9) == (TARGETS, "A", "B", "C")  # no row is of the stream that the targets' own name has
    assert catalog.busiest(4) == (TARGETS, "A", "B", "C")
    assert catalog.busiest(2) == (TARGETS, "B")


def plain_decayed(catalog, issue_s, column, columns_, decay_s):
    found = np.zeros((len(issue_s), columns_))
    for s, t in enumerate(issue_s):
        for e in range(len(catalog)):
            if column[e] >= 0 and catalog.known_s[e] < t:
                found[s, column[e]] += np.exp(-(t - catalog.time_s[e]) / decay_s)
    return found


@pytest.mark.parametrize("delay_s", [0, 3600])
def test_counts_equal_a_plain_loop(delay_s):
    catalog = make_catalog(**columns(days=8), delay_s=delay_s)
    issue_s = np.sort(np.append(BEGIN_S + np.array([-5, 0, 7200, 7200, 90_000, 300_000]), catalog.known_s[5:40:7]))
    column = catalog.columns((TARGETS, "ROBBERY"), by_area=True)
    assert column.max() == 2 * AREAS - 1 and (column == -1).any()
    each = np.eye(2 * AREAS)[column] * (column >= 0)[:, None]
    for decay_s in (20_000.0, 2_000.0):  # within one stretch after which sums fade anew, and over several
        expected = plain_decayed(catalog, issue_s, column, 2 * AREAS, decay_s)
        assert expected.sum() > 0.1
        for weight in (None, each):
            found = catalog.decayed(issue_s, column, 2 * AREAS, decay_s, weight)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    ever = plain_decayed(catalog, issue_s, column, 2 * AREAS, np.inf)
    np.testing.assert_array_equal(catalog.counted(issue_s, column, 2 * AREAS), ever)
    np.testing.assert_array_equal(catalog.decayed(issue_s, column, 2 * AREAS, np.inf), ever)
    late = [((catalog.known_s < t) & (catalog.known_s >= t - 9000) & (column == 3)).sum() for t in issue_s]
    np.testing.assert_array_equal(catalog.counted(issue_s, column, 2 * AREAS, 9000)[:, 3], late)


def test_weights_spread_a_row_over_columns():
    catalog = toy()
    weight = np.array([[0.25, 0.75]] * 4)
    found = catalog.decayed(np.array([50, 100]), np.zeros(4, dtype=np.int64), 2, np.inf, weight)
    np.testing.assert_allclose(found, [[0.25, 0.75], [1.0, 3.0]])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 7), st.sampled_from([0, 3600, 86_400]))
def test_nothing_known_later_changes_a_bit(seed, day, delay_s):
    """Rows known at or after a moment are dropped, moved, relabelled and added: counts before it stay the same bits."""
    cut_s = BEGIN_S + day * 86_400 + 1800
    before = columns(days=8)
    rng = np.random.default_rng(seed)
    late = before["time_s"] + delay_s >= cut_s
    kept = ~late | (rng.random(len(late)) < 0.5)
    after = {k: v[kept] if isinstance(v, np.ndarray) else v for k, v in before.items()}
    moved = late[kept]
    after["time_s"] = np.where(moved, cut_s + rng.integers(0, 3, size=len(moved)) * 90, after["time_s"])
    after["category"] = np.where(moved, rng.integers(0, 3, size=len(moved)), after["category"])
    after["is_target"] = after["category"] == 2
    after["area"] = np.where(moved, rng.integers(0, AREAS, size=len(moved)), after["area"])
    issue_s = np.sort(np.append(np.arange(BEGIN_S, BEGIN_S + 8 * 86_400, 5400), cut_s))
    seen = issue_s <= cut_s
    for decay_s in (7200.0, np.inf):
        found = []
        for rows in (before, after):
            catalog = make_catalog(**rows, delay_s=delay_s)
            column = catalog.columns(("BURGLARY", TARGETS), by_area=True)
            found.append(catalog.decayed(issue_s, column, 2 * AREAS, decay_s)[seen])
        np.testing.assert_array_equal(*found)
    same(make_catalog(**before, delay_s=delay_s).until(cut_s), make_catalog(**after, delay_s=delay_s).until(cut_s))


def test_known_at_once_forgets_the_delay():
    delayed = make_catalog(**columns(days=8), delay_s=7200)
    same(delayed.known_at_once(), make_catalog(**columns(days=8)))


def test_outcomes_are_half_open_and_by_area():
    catalog = toy()
    windows = Windows(issue_s=np.array([0, 60]), begin_s=np.array([0, 60]), end_s=np.array([60, 120]))
    assert outcomes(catalog, windows).y.tolist() == [False, True]
    assert area_counts(catalog, windows).tolist() == [[0, 0], [0, 1]]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2)), max_size=30),
    st.lists(st.integers(0, 300), min_size=1, max_size=8, unique=True),
    st.integers(1, 200),
)
@example([(0, 0), (5, 1), (10, 2), (10, 2), (15, 0)], [0, 5, 10], 5)
@example([(5, 1), (10, 1), (14, 1)], [0, 5, 8], 10)
def test_events_are_counted_in_every_window_that_they_lie_in(rows, begins, length):
    """Windows may lie apart, touch or overlap; half-open; victims of one minute and neighborhood count once."""
    time_s, area = (np.array([row[k] for row in rows], dtype=np.int64) * (60 if k == 0 else 1) for k in (0, 1))
    n = len(rows)
    catalog = make_catalog(
        time_s=time_s,
        category=np.ones(n, int),
        area=area,
        xy_m=np.zeros((n, 2)),
        is_target=np.ones(n, bool),
        categories=("AGG. ASSAULT", "SHOOTING"),
        areas=3,
    )
    begin_s = np.sort(np.array(begins, dtype=np.int64)) * 60
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + length * 60)
    expected = [
        [len({t for t, where in rows if where == k and b <= t * 60 < b + length * 60}) for k in range(3)]
        for b in begin_s.tolist()
    ]
    assert area_counts(catalog, windows).tolist() == expected
    np.testing.assert_array_equal(outcomes(catalog, windows).y, np.array(expected).sum(axis=1) > 0)


def test_a_label_is_known_when_its_first_report_is():
    """Shootings at 10 (known at 500) and 20 (at 300) in the first window, none in the second, one at 250 at once."""
    time_s, known_s = np.array([10, 20, 250]), np.array([500, 300, 250])
    columns_ = {"category": np.ones(3, int), "area": np.zeros(3, int), "xy_m": np.zeros((3, 2))}
    catalog = toy(time_s=time_s, known_s=known_s, is_target=np.ones(3, bool), **columns_)
    begin_s = np.array([0, 100, 200])
    windows = Windows(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 100)
    assert label_known_s(catalog, windows).tolist() == [300, 199, 250]


def test_how_long_reports_take_is_told_by_what_is_known():
    """Nine shootings known after 10 s and one after 1,000 s; at 900 s nobody has heard of the last."""
    time_s = np.arange(10) * 10
    known_s = time_s + np.array([10] * 9 + [1000])
    columns_ = {"category": np.ones(10, int), "area": np.zeros(10, int), "xy_m": np.zeros((10, 2))}
    catalog = toy(time_s=time_s, known_s=known_s, is_target=np.ones(10, bool), **columns_)
    assert settling_s(catalog, 900) == 10 and settling_s(catalog, 2000, share=1.0) == 1000
    assert settling_s(catalog, 2000, share=0.8) == 10 and settling_s(toy(delay_s=7), 0) == 7


def test_a_number_of_the_city_is_the_last_one_known_for_the_windows_begin():
    """Some known late and out of order, some published ahead; against a search through all rows for each window."""
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.integers(0, 1000, 60))
    known_s = time_s + rng.choice([-300, -5, 0, 1, 40, 200], 60)
    measured = Measured(name="weather: temp", time_s=time_s, known_s=known_s, value=rng.random(60) + 1)
    issue_s = np.arange(-20, 1000, 7)
    windows = Windows(issue_s=issue_s, begin_s=issue_s + 30, end_s=issue_s + 150)
    expected = []
    for issue, begin in zip(windows.issue_s, windows.begin_s, strict=True):
        rows = np.flatnonzero((known_s < issue) & (time_s <= begin))
        expected.append(measured.value[rows[-1]] if len(rows) else 0.0)
    assert measured.at(windows).tolist() == expected and expected[0] == 0.0
    early = windows.select(windows.issue_s <= 500)
    assert measured.until(500).at(early).tolist() == expected[: len(early)]


def test_a_row_of_the_whole_city_is_no_other_rows_double():
    """It is of the minute of a row in the last area, of the stream before."""
    areas, kinds = np.array([1, -1, -1]), np.array([0, 1, 1])
    same = {"time_s": np.zeros(3, np.int64), "is_target": np.zeros(3, bool), "xy_m": np.zeros((3, 2))}
    catalog = toy(**same, category=kinds, area=areas)
    assert catalog.is_first.tolist() == [True, True, False]
    assert len(catalog.placed) == 1 and catalog.columns(("SHOOTING",), by_area=True).tolist() == [-1, -1, -1]
