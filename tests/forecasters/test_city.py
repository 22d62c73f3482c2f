"""A source says the same as what it was made of, and a table cut at its locked block does not know what comes after."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from hews_gpu.data.geometry.outlines import outlines_of
from hews_gpu.data.windows import Task, issue_windows
from hews_gpu.forecasters.catalog import label_known_s, outcomes
from hews_gpu.forecasters.city import City, event_groups, prepared_city
from hews_gpu.units import DAY_S


def test_outcomes_of_a_generated_city_are_the_truths(strong):
    windows = issue_windows(strong.begin_s, strong.end_s, Task())
    found = outcomes(strong.catalog(), windows).y
    first, last = (np.searchsorted(strong.truth.target_s, edge) for edge in (windows.begin_s, windows.end_s))
    np.testing.assert_array_equal(found, last > first)
    p = strong.oracle(windows)
    assert p.mean() == pytest.approx(found.mean(), abs=3 * np.sqrt((p * (1 - p)).sum()) / len(p))


def test_reports_come_when_the_city_says(strong):
    plain, reported = strong.catalog(3600), strong.catalog(3600, as_reported=True)
    assert (plain.known_s == plain.time_s + 3600).all()
    assert (reported.known_s >= reported.time_s + 3600).all()
    assert (reported.known_s > reported.time_s + 3600).any()
    assert (np.diff(reported.known_s) >= 0).all()


def test_an_incident_with_a_span_is_known_once_it_was_over_and_the_delay_has_passed(strong):
    rows = len(strong.events)
    span_s = np.where(np.arange(rows) % 3, 0, np.random.default_rng(0).integers(1, 2 * DAY_S, rows))
    city = replace(strong, events=replace(strong.events, span_s=span_s), prepared=None)
    for delay_s, as_reported in ((3600, False), (0, True)):
        plain, catalog = (one.catalog(delay_s, as_reported=as_reported) for one in (strong, city))
        when_s = int(catalog.known_s[rows // 2])
        over = city.events.time_s + span_s + delay_s < when_s
        if as_reported:
            over &= strong.reported_s < when_s
        assert len(catalog.until(when_s)) == over.sum() < len(plain.until(when_s))
    windows = issue_windows(strong.begin_s, strong.end_s, Task()).select(np.arange(500))
    assert (outcomes(city.catalog(), windows).y == outcomes(strong.catalog(), windows).y).all(), (
        "labels are by the begin"
    )
    late = label_known_s(city.catalog(), windows) - label_known_s(strong.catalog(), windows)
    assert (late >= 0).all() and (late > 0).any()


def test_the_ground_is_the_polygons(strong):
    ground = strong.ground
    assert ground.area_km2.sum() == pytest.approx(len(ground.cells_m) * 0.0625, rel=0.05)
    assert set(ground.cell_area) == set(range(55))
    metric = [shapely.transform(p, lambda xy: strong.meters(xy[:, 0], xy[:, 1])) for p in strong.polygons]
    for area in (0, 20, 54):
        inside = shapely.points(ground.cells_m[ground.cell_area == area])
        assert shapely.covers(metric[area].buffer(0.01), inside).all()
    catalog = strong.catalog()
    near = ((catalog.xy_m[:200, None] - ground.cells_m) ** 2).sum(axis=2).argmin(axis=1)
    assert (ground.cell_area[near] == catalog.area[:200]).mean() > 0.9


def test_borders_are_shares_of_length():
    """Two squares above a rectangle that is as wide as both."""
    boxes = [(0, 1, 1, 2), (1, 1, 2, 2), (0, 0, 2, 1), (5, 5, 6, 6)]
    polygons = [shapely.box(*(0.01 * np.array(box))) for box in boxes]
    city = City(name="boxes", events=(), polygons=polygons, begin_s=0, end_s=1)
    expected = [[0, 0.5, 0.5, 0], [0.5, 0, 0.5, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(city.borders, expected, atol=0.01)


class Folder:
    """What `event_groups` and `prepared_city` need of a prepared city."""

    def __init__(self, folder, source, rows):
        self.folder, self.events, self.fingerprint = folder, source.events, "0"
        self.doubts = self.layers = ()
        self.city = type(
            "City",
            (),
            {
                "city": type("Info", (), {"name": "Toy"}),
                "layers": (),
                "splits": SimpleNamespace(span_s=lambda name: (source.begin_s, 0)),
            },
        )
        self.outlines = outlines_of(shapely.to_wkb(np.array(source.polygons)))
        pq.write_table(pa.table(rows), folder / "incidents.parquet")


def test_twins_and_duplicates_share_a_group(tmp_path, strong):
    """Rows 3 and 1 point at 0, and 5 at 3; 2 points at a row of another download that was left out."""
    rows = {
        "row_id": [10, 11, 12, 13, 14, 15],
        "duplicate_of": [None, None, 99, None, None, 13],
        "twin_of": [None, 10, None, None, None, None],
        "near_twin_of": [None, None, None, 10, 14, None],
        "is_overlap": [False, False, False, False, True, False],
    }
    found = event_groups(Folder(tmp_path, strong, rows))
    assert len(found) == 5
    assert found[0] == found[1] == found[3] == found[4] and found[2] != found[0]


def test_a_cut_table_is_the_table_that_ended_there(tmp_path, strong):
    n = len(strong.events)
    nothing = pa.nulls(n, pa.int64())
    rows = {"row_id": np.arange(n), "duplicate_of": nothing, "twin_of": nothing, "near_twin_of": nothing}
    prepared = Folder(tmp_path, strong, {**rows, "is_overlap": np.zeros(n, bool)})
    cut_s = int(strong.events.time_s[n // 2])
    found = prepared_city(prepared, begin_s=strong.begin_s, end_s=cut_s)
    assert found.events.time_s.max() < cut_s
    assert len(found.events) == (strong.events.time_s < cut_s).sum()
    assert found.oracle(issue_windows(strong.begin_s, cut_s, Task())) is None


def test_rows_before_a_gap_are_left_out_of_a_forecast(tmp_path, strong):
    """Half a year without rows between two stretches: nobody knows what happened there, and it was not nothing."""
    time_s = strong.events.time_s
    begin_s, gap_s = int(time_s[0]) + 400 * DAY_S, int(time_s[0]) + 200 * DAY_S
    kept = (time_s < gap_s) | (time_s >= begin_s)
    events = replace(strong.events, **{
        name: value[kept] for name, value in vars(strong.events).items() if isinstance(value, np.ndarray)
    })  # fmt: skip
    n = len(events)
    nothing = pa.nulls(n, pa.int64())
    rows = {"row_id": np.arange(n), "duplicate_of": nothing, "twin_of": nothing, "near_twin_of": nothing}
    prepared = Folder(
        tmp_path, replace(strong, events=events, prepared=None), {**rows, "is_overlap": np.zeros(n, bool)}
    )
    for train_s, since_s in ((begin_s + 30 * DAY_S, begin_s), (int(time_s[0]) + DAY_S, int(time_s[0]))):
        prepared.city.splits = SimpleNamespace(span_s=lambda name, train_s=train_s: (train_s, 0))
        city = prepared_city(prepared, begin_s=int(time_s[0]), end_s=int(time_s[-1]))
        assert len(city.catalog()) == ((events.time_s >= since_s) & (events.time_s < time_s[-1])).sum()
