"""Duplicates and twins against brute force over all pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hews_gpu.config import CityConfig, load_city
from hews_gpu.data.events import load_events
from hews_gpu.data.prepare import duplicates as marks
from hews_gpu.data.prepare.command import Cut, prepare
from hews_gpu.data.prepare.duplicates import (
    NEAR_TWIN,
    NONE,
    TWIN,
    FileGroups,
    Places,
    Reach,
    distance_m,
    nearest_target,
    repeats_of_earlier_downloads,
    repeats_of_earlier_layouts,
    targets_of,
    with_duplicates,
)
from tests.data import formats
from tests.data.formats import INCIDENTS, Incident

Toy = Callable[..., CityConfig]
M_PER_DEG = 111_000.0


def places(rng: np.random.Generator, count: int, first_id: int) -> Places:
    """Rows crowded in four hours and one kilometer, on a coarse lattice so that ties are common."""
    time_s = rng.integers(0, 480, count) * 30
    longitude = -76.6 + rng.integers(0, 12, count) * 80 / M_PER_DEG
    latitude = 39.3 + rng.integers(0, 12, count) * 60 / M_PER_DEG
    return Places(time_s, longitude, latitude, rng.permutation(count) + first_id)


def brute_force(rows: Places, targets: Places, max_m: float, max_s: int | None) -> list[int]:
    """The definition, pair by pair; `max_s` None is the same minute."""
    lon, lat = rows.longitude[:, None], rows.latitude[:, None]
    apart_m = distance_m(lon, lat, targets.longitude[None], targets.latitude[None]).tolist()
    result = []
    for i, time_s in enumerate(rows.time_s.tolist()):
        found = []
        for j, target_s in enumerate(targets.time_s.tolist()):
            in_time = time_s // 60 == target_s // 60 if max_s is None else abs(time_s - target_s) <= max_s
            if in_time and apart_m[i][j] <= max_m:
                found.append((abs(time_s - target_s), apart_m[i][j], int(targets.row_id[j])))
        result.append(min(found)[2] if found else NONE)
    return result


@pytest.mark.parametrize(("reach", "max_s"), [(TWIN, None), (NEAR_TWIN, 1800), (Reach(80.0, 60), 60)])
@pytest.mark.parametrize("max_pairs", [1, 50, marks.MAX_PAIRS])
def test_twins_equal_brute_force(
    reach: Reach, max_s: int | None, max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_PAIRS", max_pairs)
    rng = np.random.default_rng(7)
    rows, targets = places(rng, 400, 1000), places(rng, 60, 0).sorted_by_time()
    expected = brute_force(rows, targets, reach.distance_m, max_s)
    assert nearest_target(rows, targets, reach).tolist() == expected
    assert 5 < sum(found != NONE for found in expected) < 400


def test_the_edges_of_reach() -> None:
    targets = Places(np.array([3600]), np.array([-76.6]), np.array([39.3]), np.array([5]))
    times = np.array([3599, 3600, 3659, 3660, 1800, 1799, 5400, 5401])
    rows = Places(times, np.full(8, -76.6), np.full(8, 39.3), np.arange(8) + 10)
    assert (nearest_target(rows, targets, TWIN) == 5).tolist() == [False, True, True, False, False, False, False, False]
    near = (nearest_target(rows, targets, NEAR_TWIN) == 5).tolist()
    assert near == [True, True, True, True, True, False, True, False]


def test_reach_is_what_the_documentation_says() -> None:
    assert (TWIN, NEAR_TWIN) == (Reach(100.0), Reach(200.0, 1800))
    assert (marks.SAME_EVENT, marks.REVISED_EVENT) == (Reach(100.0), Reach(200.0, 86_400))


def test_a_row_just_within_reach_is_a_twin() -> None:
    target = Places(np.array([0]), np.array([-76.6]), np.array([39.3]), np.array([5]))
    row = Places(np.array([0]), np.array([-76.601]), np.array([39.3]), np.array([6]))
    (apart_m,) = distance_m(row.longitude, row.latitude, target.longitude, target.latitude)
    reaches = (Reach(apart_m), Reach(np.nextafter(apart_m, 0)))
    assert [nearest_target(row, target, reach).tolist() for reach in reaches] == [[5], [NONE]]


@pytest.mark.parametrize("most", [*range(1, 60), 1000])
def test_pairs_come_a_bounded_number_at_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MAX_PAIRS", most)
    rng = np.random.default_rng(3)
    low = rng.integers(0, 50, 80)
    high = low + rng.integers(0, 12, 80) * rng.integers(0, 2, 80)
    parts = [np.stack(pairs) for pairs in marks._pairs(low, high)]
    expected = [(i, j) for i in range(80) for j in range(low[i], high[i])]
    assert np.concatenate(parts, axis=1).T.tolist() == [list(pair) for pair in expected]
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert part.shape[1] <= most or len(set(part[0])) == 1
        if following is not None:  # and not fewer than there is room for
            assert part.shape[1] + (following[0] == following[0, 0]).sum() > most


def test_all_that_rows_have_in_common_with_others_is_told() -> None:
    """A shooting, and beside it: the minute's assault, one twenty minutes later 150 m off, a theft, the theft again."""
    frame = pd.DataFrame(
        {
            "row_id": np.arange(5),
            "source": 0,
            "time_s": [3600, 3630, 4800, 3600, 3600],
            "longitude": -76.6,
            "latitude": 39.3 + np.array([0, 50, 150, 5000, 5000]) / M_PER_DEG,
            "category": [1, 0, 0, 2, 2],
            "is_target": [True, False, False, False, False],
            "hash_a": np.array([0, 1, 2, 3, 3], np.uint64),
            "hash_b": np.zeros(5, np.uint64),
        }
    )
    files = FileGroups(layout=np.array([0]), download=np.array([0]))
    found = with_duplicates(frame, targets_of(frame[frame["is_target"]], files), files)
    assert found["twin_of"].tolist() == [NONE, 0, NONE, NONE, NONE]
    assert found["near_twin_of"].tolist() == [NONE, 0, 0, NONE, NONE]
    assert found["duplicate_of"].tolist() == [NONE, NONE, NONE, NONE, 3]
    assert not found["is_overlap"].any()


@pytest.mark.parametrize(("within_s", "of"), [(0, 1), (1, 0)])
def test_within_a_minute_the_nearest_place_counts_and_else_the_nearest_time(within_s: int, of: int) -> None:
    zeros = np.zeros(3, np.int64)
    rows = Places(np.array([0, 1, 0]), zeros.astype(float), np.array([50, 10, 0]) / M_PER_DEG, np.arange(3))
    found = repeats_of_earlier_layouts(rows, zeros, np.array([0, 0, 1]), (Reach(100.0, within_s),))
    assert found.tolist() == [NONE, NONE, of]


def test_no_targets_and_no_rows() -> None:
    empty = Places(*(np.array([], dtype) for dtype in (np.int64, float, float, np.int64)))
    rows = places(np.random.default_rng(0), 5, 0)
    assert nearest_target(rows, empty, TWIN).tolist() == [NONE] * 5
    assert nearest_target(empty, rows.sorted_by_time(), TWIN).tolist() == []
    none, no_words = np.array([], np.int64), np.array([], np.uint64)
    assert repeats_of_earlier_downloads((no_words, no_words), none, none, none)[0].tolist() == []


def test_distance_agrees_with_the_geodesic() -> None:
    from pyproj import Geod

    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-180, 180, 500), rng.uniform(-70, 70, 500)
    lon2, lat2 = lon + rng.uniform(-0.02, 0.02, 500), lat + rng.uniform(-0.02, 0.02, 500)
    exact = Geod(ellps="WGS84").inv(lon, lat, lon2, lat2)[2]
    np.testing.assert_allclose(distance_m(lon, lat, lon2, lat2), exact, rtol=1e-4)


def test_the_first_duplicate_is_the_one_with_the_lowest_row_id() -> None:
    a = np.array([7, 3, 7, 7, 3, 9], np.uint64)
    b = np.array([1, 1, 1, 2, 1, 1], np.uint64)
    ids = np.array([5, 4, 3, 2, 1, 0])
    same = np.zeros(6, np.int64)
    assert repeats_of_earlier_downloads((a, b), ids, same, same)[0].tolist() == [3, 1, NONE, NONE, NONE, NONE]


@pytest.mark.parametrize("words", [3, 40, 4000])
def test_duplicates_among_rows_of_which_few_or_many_repeat(words: int) -> None:
    """Row by row; with many words, most rows repeat none and lie between those that do."""
    rng = np.random.default_rng(words)
    a, b, ids = rng.integers(0, words, 300), rng.integers(0, 2, 300), rng.permutation(300)
    download, layout = np.sort(rng.integers(0, 3, 300)), np.zeros(300, np.int64)
    hashes = (a.astype(np.uint64), b.astype(np.uint64))
    same = [[j for j in range(300) if (a[i], b[i]) == (a[j], b[j])] for i in range(300)]
    first = [min(ids[rows]) for rows in same]
    expected = [NONE if first[i] == ids[i] else int(first[i]) for i in range(300)]
    assert repeats_of_earlier_downloads(hashes, ids, layout, layout)[0].tolist() == expected
    _, is_overlap = repeats_of_earlier_downloads(hashes, ids, layout, download)
    for i in range(300):
        rank = sum(ids[j] < ids[i] for j in same[i] if download[j] == download[i])
        earlier = [sum(download[j] == d for j in same[i]) for d in range(download[i])]
        assert is_overlap[i] == any(rows > rank for rows in earlier)


def paired_one_by_one(rows: Places, category: np.ndarray, layout: np.ndarray, reaches: tuple[Reach, ...]) -> list[int]:
    """The definition: of each layout with every earlier one in turn, over and over, the nearest pair of those left."""
    result = [NONE] * len(layout)
    apart_m = distance_m(rows.longitude[:, None], rows.latitude[:, None], rows.longitude[None], rows.latitude[None])
    members = [set(np.flatnonzero(layout == k).tolist()) for k in range(int(layout.max()) + 1)]
    for later in range(1, len(members)):
        left_b, left = set(members[later]), [set(rows_of) for rows_of in members[:later]]
        for reach, earlier in product(reaches, range(later)):
            _pair_up(rows, category, apart_m, reach, left[earlier], left_b, result)
    return result


def _pair_up(
    rows: Places,
    category: np.ndarray,
    apart_m: np.ndarray,
    reach: Reach,
    left_a: set[int],
    left_b: set[int],
    result: list[int],
) -> None:
    """Pair rows of `left_a` and `left_b` within reach, and take them out."""
    while True:
        found = []
        for a, b in product(left_a, left_b):
            seconds = abs(int(rows.time_s[a]) - int(rows.time_s[b]))
            if reach.within_s == 0:
                seconds = 0 if rows.time_s[a] // 60 == rows.time_s[b] // 60 else 10**9
            if category[a] == category[b] and seconds <= reach.within_s and apart_m[a, b] <= reach.distance_m:
                found.append((seconds, apart_m[a, b], rows.row_id[a], rows.row_id[b], a, b))
        if not found:
            return
        *_, first_id, _, a, b = min(found)
        result[b] = int(first_id)
        left_a.remove(a)
        left_b.remove(b)


@pytest.mark.parametrize("reaches", [(Reach(100.0),), (Reach(100.0), Reach(200.0, 900)), (Reach(90.0, 300),)])
@pytest.mark.parametrize("max_pairs", [1, 40, marks.MAX_PAIRS])
@pytest.mark.parametrize("layouts", [2, 3])
def test_pairs_of_several_layouts_equal_the_definition(
    reaches: tuple[Reach, ...], max_pairs: int, layouts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "MAX_PAIRS", max_pairs)
    rng = np.random.default_rng(11)
    rows, category, layout = places(rng, 120, 50), rng.integers(0, 2, 120), rng.integers(0, layouts, 120)
    rows = Places(rows.time_s // 20, rows.longitude, rows.latitude, rows.row_id)
    expected = paired_one_by_one(rows, category, layout, reaches)
    assert repeats_of_earlier_layouts(rows, category, layout, reaches).tolist() == expected
    assert sum(of != NONE for of in expected) >= 5


def test_each_row_of_three_layouts_is_matched_once_by_each_later_one() -> None:
    """Two events of one minute, 50 m apart, that all three report, and a third that only the last two do.

    row_id    0    1  |  2    3    4  |  5    6    7
    meters    0   50  | 10   60  300  | 20   70  310
    """
    meters = np.array([0, 50, 10, 60, 300, 20, 70, 310])
    zeros = np.zeros(8, np.int64)
    rows = Places(zeros, zeros.astype(float), meters / M_PER_DEG, np.arange(8))
    layout = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    found = repeats_of_earlier_layouts(rows, zeros, layout, (Reach(100.0),))
    assert found.tolist() == [NONE, NONE, 0, 1, NONE, 0, 1, 4]
    tight = repeats_of_earlier_layouts(rows, zeros, layout, (Reach(15.0), Reach(25.0, 60)))
    assert tight.tolist() == [NONE, NONE, 0, 1, NONE, 2, 3, 4]  # what the first reach pairs stays as it is


def test_each_entry_stays_as_often_as_the_download_with_the_most_has_it() -> None:
    rng = np.random.default_rng(4)
    word, layout, download = rng.integers(0, 9, 200), rng.integers(0, 2, 200), rng.integers(0, 4, 200)
    ids = rng.permutation(200)
    words = word.astype(np.uint64)
    repeated, is_overlap = repeats_of_earlier_downloads((words, words), ids, layout, download)
    for of in {*zip(word.tolist(), layout.tolist(), strict=True)}:
        of_these = (word == of[0]) & (layout == of[1])
        assert (of_these & ~is_overlap).sum() == max(np.bincount(download[of_these]))
        assert set(repeated[of_these]) - {NONE} <= set(ids[of_these].tolist())
        assert ((repeated == NONE) & of_these).sum() == 1


def shifted(incidents: list[Incident], meters: float) -> list[Incident]:
    return [(when, what, x, y + meters / 111_000) for when, what, x, y in incidents]


def test_an_event_of_two_layouts_counts_once(toy: Toy, tmp_path: Path) -> None:
    """Geocoded anew by 60 m: repeats. By 120 m, at another minute, of another category: not."""
    base = [(f"2014-01-{day:02d}T12:00:00", "LARCENY", -76.605, 39.285) for day in range(1, 6)]
    other = shifted(base[:1], 60) + shifted(base[1:2], 120)
    other += [("2014-01-03T12:01:00", *base[2][1:]), (base[3][0], "HOMICIDE", *base[3][2:]), base[4]]
    out = tmp_path / "out"
    quality = prepare(toy(files={"old.csv": formats.portal(base), "new.csv": formats.arcgis(other)}), out)
    repeated = {
        (r["source"], r["line"]): r["duplicate_of"] for r in pq.read_table(out / "incidents.parquet").to_pylist()
    }
    assert {key: of for key, of in repeated.items() if of is not None} == {("new.csv", 2): 0, ("new.csv", 6): 4}
    assert quality["overlaps"] == quality["duplicates"] == 2 and quality["rows_kept"] == 10
    (pair,) = quality["overlapping_files"]
    assert pair["files"] == ["old.csv", "new.csv"] and pair["days"] == ["2014-01-01", "2014-01-05"]
    assert pair["rows"] == [5, 5] and pair["repeated"] == 2
    loaded = load_events(out)
    assert len(loaded) == 8 and loaded.is_target.sum() == 1
    assert not loaded.is_duplicate.any()


@pytest.mark.parametrize("bucket_rows", [1, 10**6])
def test_a_target_whose_time_was_revised_counts_once(toy: Toy, tmp_path: Path, bucket_rows: int) -> None:
    """Within 24 hours, midnight or not, and 200 m; one to one, nearest in time first; no other category."""
    base = [
        ("2014-01-02T23:50:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-05T12:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-05T14:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-10T12:00:00", "SHOOTING", -76.605, 39.285),
        ("2014-01-15T12:00:00", "HOMICIDE", -76.605, 39.285),
        ("2014-01-20T12:00:00", "LARCENY", -76.605, 39.285),
    ]
    at = base[0][2:]
    other = [
        *shifted([("2014-01-03T10:00:00", "SHOOTING", *at)], 150),
        ("2014-01-05T13:30:00", "SHOOTING", *at),
        ("2014-01-05T13:45:00", "SHOOTING", *at),
        ("2014-01-11T12:01:00", "SHOOTING", *at),
        *shifted([("2014-01-15T13:00:00", "HOMICIDE", *at)], 220),
        ("2014-01-15T12:30:00", "SHOOTING", *at),
        ("2014-01-20T12:01:00", "LARCENY", *at),
    ]
    out = tmp_path / "out"
    files = {"old.csv": formats.portal(base), "new.csv": formats.arcgis(other)}
    quality = prepare(toy(files=files), out, cut=Cut(bucket_rows=bucket_rows))
    rows = {(r["source"], r["line"]): r for r in pq.read_table(out / "incidents.parquet").to_pylist()}
    repeated = {line: r["duplicate_of"] for (source, line), r in rows.items() if source == "new.csv"}
    assert repeated == {2: 0, 3: 1, 4: 2, 5: None, 6: None, 7: None, 8: None}
    assert all(r["is_overlap"] == (r["duplicate_of"] is not None) for r in rows.values())
    (pair,) = quality["overlapping_files"]
    assert pair["repeated"] == quality["overlaps"] == quality["target_overlaps"] == 3
    assert pair["targets"] == {
        "HOMICIDE": {"rows": [1, 1], "repeated": 0, "unmatched": 1},
        "SHOOTING": {"rows": [3, 5], "repeated": 3, "unmatched": 2},
    }
    (warning,) = [text for text in quality["warnings"] if "share" in text]
    assert "3 rows of the second repeat the first" in warning
    assert "HOMICIDE 0 matched, 1 unmatched, SHOOTING 3 matched, 2 unmatched" in warning
    assert warning.endswith("use one file per period")


MANY = [(f"2014-01-{day:02d}T10:10:00", "SHOOTING", -76.605, 39.285) for day in range(1, 31)]


@pytest.mark.parametrize("as_glob", [False, True])
@pytest.mark.parametrize(("first", "second"), [(MANY, MANY), (MANY[:20], MANY[10:]), (MANY[10:], MANY[:20])])
def test_two_downloads_of_one_feed_load_each_event_once(
    toy: Toy, tmp_path: Path, first: list[Incident], second: list[Incident], as_glob: bool
) -> None:
    city = toy(files={"a.csv": formats.portal(first), "b.csv": formats.portal(second)})
    if as_glob:
        city.path.write_text(city.path.read_text().replace('["a.csv", "b.csv"]', '["*.csv"]'))
    quality = prepare(load_city(city.path), tmp_path / "out")
    assert len(load_events(tmp_path / "out")) == 30
    shared = len(first) + len(second) - 30
    assert quality["overlaps"] == quality["overlapping_files"][0]["repeated"] == shared
    assert quality["rows_kept"] == quality["targets_kept"] == quality["rows_read"] == 30 + shared
    assert quality["rows_by_month"] == quality["targets_by_month"] == {"2014-01": 30}
    assert np.sum(quality["targets_by_weekday_and_hour"]) == 30
    assert not any("unmatched" in text for text in quality["warnings"])


def test_as_many_victims_stay_as_the_download_with_the_most_has(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {f"{name}.csv": formats.portal([one] * count) for name, count in {"a": 2, "b": 3, "c": 1, "d": 3}.items()}
    quality = prepare(toy(files=files), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["row_id"] for r in rows if not r["is_overlap"]] == [0, 1, 4]
    assert [r["duplicate_of"] for r in rows] == [None, *[0] * 8]
    assert len(load_events(tmp_path / "out")) == 3 and quality["overlaps"] == 6


def test_two_downloads_do_not_match_the_events_of_another_layout_twice(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {"a.csv": formats.portal([one]), "b.csv": formats.portal([one]), "c.csv": formats.arcgis([one] * 2)}
    prepare(toy(files=files), tmp_path / "out")
    assert len(load_events(tmp_path / "out")) == 2


def test_two_victims_stay_two_in_both_layouts(toy: Toy, tmp_path: Path) -> None:
    """Rows that differ in the portal's premise, and are three in the feed: the third is an event of its own."""
    one = INCIDENTS[1]
    portal = formats.portal([one, one]).replace(b",I\r\n", b",O\r\n", 1)
    feed = formats.geojson([one, one, one]).replace(b'"I"', b'"A"', 1).replace(b'"I"', b'"B"', 1)
    quality = prepare(toy(files={"a.csv": portal, "b.geojson": feed}), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, None, 0, 1, None]
    assert quality["overlaps"] == 2


def test_a_repeat_of_a_repeat_names_the_first_row(toy: Toy, tmp_path: Path) -> None:
    one = INCIDENTS[1]
    files = {
        "a.csv": formats.portal([one]),
        "b.csv": formats.arcgis([one] * 2),
        "c.geojson": formats.geojson([one] * 2),
    }
    prepare(toy(files=files), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("names", "overlaps"),
    [
        (("incidents-00001.geojson", "incidents-00002.geojson"), 0),
        (("p1.geojson", "p2.geojson"), 1),
        (("incidents-00001.geojson", "other-00002.geojson"), 1),
        (("incidents-2016.geojson", "incidents-2017.geojson"), 1),
    ],
)
def test_equal_rows_on_two_pages_of_one_download_are_two_victims(
    toy: Toy, tmp_path: Path, names: tuple[str, str], overlaps: int
) -> None:
    """Pages are told by names as `hews fetch` gives them; of other files, each is a download of its own."""
    one = INCIDENTS[1]
    contents = formats.geojson([one]), formats.geojson([one, one]).replace(b'"I"', b'"O"', 1)
    quality = prepare(toy(files=dict(zip(names, contents, strict=True))), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/incidents.parquet").to_pylist()
    assert [r["duplicate_of"] for r in rows] == [None, None, 0]
    assert quality["overlaps"] == overlaps and len(load_events(tmp_path / "out")) == 3 - overlaps
    assert sum(pair["repeated"] for pair in quality["overlapping_files"]) == overlaps
