"""The city on disk and as arrays: the same bytes for the same seed, no target lost in the dirt, equal to each other."""

from __future__ import annotations

import gzip
import io
import time
import tomllib

import geopandas
import numpy as np
import pandas as pd
import pytest

from hews_gpu.config import city_template, load_city, parse_local_time
from hews_gpu.data.events import open_prepared
from hews_gpu.data.prepare.command import prepare
from hews_gpu.data.windows import Task, issue_windows, make_samples
from hews_gpu.errors import UserError
from hews_gpu.synthetic import load_truth, simulate_city, write_city
from hews_gpu.synthetic.city import YEARS, distinct, generate, split_dates
from hews_gpu.synthetic.geography import to_degrees
from hews_gpu.synthetic.places import PER_DEGREE, meters
from hews_gpu.synthetic.table import Cases, Role
from tests.synthetic.histories import happened

HEADER = (
    "CrimeDate,CrimeTime,CrimeCode,Location,Description,Inside/Outside,Weapon,Post,District,Neighborhood,"
    "Longitude,Latitude,Location 1,Premise,Total Incidents"
)
DATA = ("incidents.csv.gz", "neighborhoods.geojson", "truth.npz", "demo.toml")
TARGETS = ("HOMICIDE", "SHOOTING")
TRIGGER = "ROBBERY - STREET"


@pytest.fixture(scope="module")
def toml(tmp_path_factory):
    return write_city(tmp_path_factory.mktemp("synthetic") / "city", seed=3, years=1)


@pytest.fixture(scope="module")
def table(toml):
    """The rows, read by plain pandas, with `time_s` parsed by the few lines below."""
    rows = pd.read_csv(toml.parent / "incidents.csv.gz", dtype=str, keep_default_na=False)
    day_s = pd.to_datetime(rows.CrimeDate, format="%m/%d/%Y").to_numpy().astype("datetime64[s]").astype(np.int64)
    rows["time_s"] = day_s + [clock_s(text) for text in rows.CrimeTime]
    return rows


def clock_s(text):
    if ":" not in text:
        return int(text) // 100 * 3600 + int(text) % 100 * 60
    hour, minute, second = map(int, text.split(":"))
    return hour * 3600 + minute * 60 + second


def meters_of(rows):
    """East and north of the first row's place."""
    place = rows[["Longitude", "Latitude"]].astype(float).to_numpy()
    return place * (111_320 * np.cos(np.radians(18.3)), 111_320)


def test_the_same_seed_gives_the_same_bytes(toml, tmp_path):
    again = write_city(tmp_path / "again", seed=3, years=1).parent
    other = write_city(tmp_path / "other", seed=4, years=1).parent
    for name in DATA:
        assert (again / name).read_bytes() == (toml.parent / name).read_bytes(), name
    assert (again / "incidents.csv.gz").read_bytes()[4:8] == bytes(4)  # gzip's own time stamp
    for name in DATA[:3]:
        assert (other / name).read_bytes() != (toml.parent / name).read_bytes(), name


def test_the_header_is_the_portals(toml):
    with gzip.open(toml.parent / "incidents.csv.gz", "rt") as file:
        assert file.readline() == HEADER + "\n"


@pytest.mark.real_data
def test_the_real_table_has_the_same_header_and_words(real_data, toml, table):
    with gzip.open(real_data / "baltimore" / "portal_2012_2017.csv.gz", "rt") as file:
        real = pd.read_csv(io.StringIO("".join(next(file) for _ in range(60_000))), dtype=str, keep_default_na=False)
    assert tuple(real.columns) == tuple(HEADER.split(","))
    assert set(table.Description) <= set(real.Description)
    assert set(table["Inside/Outside"]) == set(real["Inside/Outside"])


def test_the_city_file_can_be_read_and_fits(toml):
    city = load_city(toml)
    assert city.synthetic is not None
    truth = load_truth(city.resolve(city.synthetic.truth))
    assert city.splits.span_s("train")[0] == truth.begin_s
    assert city.splits.span_s("test")[1] == truth.end_s == parse_local_time("", "2022-01-01")
    names = geopandas.read_file(city.resolve(city.neighborhoods.file))[city.neighborhoods.name]
    assert names.is_unique


def test_the_shipped_file_is_what_the_default_city_gets():
    splits = tomllib.loads(city_template("demo"))["splits"]
    assert splits == {name: list(pair) for name, pair in split_dates(YEARS).items()}


def test_every_target_event_is_in_the_table_and_no_other(toml, table):
    truth = load_truth(toml.parent / "truth.npz")
    rows = table[table.Description.isin(TARGETS)]
    assert set(rows.time_s) == set(truth.target_s)
    places = rows.drop_duplicates(["time_s", "Longitude", "Latitude"])
    assert len(places) == len(truth.target_s)
    assert 1.1 < len(rows) / len(places) < 1.5
    for edge_s in (7200, 3600):  # the label of every window is the same by the table and by the truth
        by_table, by_truth = (np.unique(times // edge_s) for times in (rows.time_s.to_numpy(), truth.target_s))
        assert np.array_equal(by_table, by_truth)


def test_every_trigger_is_in_the_table_and_no_other(toml, table):
    truth = load_truth(toml.parent / "truth.npz")
    rows = table[table.Description == TRIGGER]
    assert np.array_equal(np.sort(rows.time_s), truth.incident_s)


def test_targets_and_triggers_have_a_place_in_the_city(toml, table):
    rows = table[table.Description.isin((*TARGETS, TRIGGER))]
    outline = geopandas.read_file(toml.parent / "neighborhoods.geojson").to_crs(32619).union_all()
    points = geopandas.points_from_xy(rows.Longitude.astype(float), rows.Latitude.astype(float), crs=4326)
    assert points.to_crs(32619).distance(outline).max() < 2.0  # five decimals are a meter


def test_the_dirt_is_there_and_in_bounds(toml, table):
    blank = table.Longitude == ""
    assert 0.005 < blank.mean() < 0.03
    assert (table[blank][["Latitude", "Location 1", "Location"]] == "").all(axis=None)
    zero = (table.Longitude == "0.0") & (table.Latitude == "0.0")
    assert 0 < zero.sum() < 40
    rows = table[~blank & ~zero]
    outline = geopandas.read_file(toml.parent / "neighborhoods.geojson").to_crs(32619).union_all()
    points = geopandas.points_from_xy(rows.Longitude.astype(float), rows.Latitude.astype(float), crs=4326)
    out_m = points.to_crs(32619).distance(outline)
    assert 5 < ((out_m > 3) & (out_m < 250)).sum() < 120
    assert 0 < (out_m > 250).sum() < 40


def test_times_come_in_mixed_forms(table):
    is_target = table.Description.isin(TARGETS)
    compact = ~table.CrimeTime.str.contains(":")
    assert compact[is_target].mean() > 3 * compact[~is_target].mean() > 0.03
    assert table.CrimeTime[compact].str.len().isin((3, 4)).all()
    assert (table.CrimeTime == "24:00:00").any()


def test_rows_are_not_sorted_in_time(table):
    steps = np.diff(table.time_s)
    assert (steps > 0).mean() > 0.3
    assert (steps < 0).mean() > 0.3


def test_twins_and_duplicates_are_there(table):
    targets = table[table.Description.isin(TARGETS)].drop_duplicates("time_s")
    assaults = table[table.Description == "AGG. ASSAULT"]
    pairs = targets.merge(assaults[assaults.Longitude != ""], on="time_s", suffixes=("", "_other"))
    other = pairs[["Longitude_other", "Latitude_other"]].set_axis(["Longitude", "Latitude"], axis=1)
    close = np.hypot(*(meters_of(pairs) - meters_of(other)).T) < 100
    assert 0.3 < pairs[close].time_s.nunique() / len(targets) < 0.5
    columns = HEADER.split(",")
    assert 0.01 < table.duplicated(columns).mean() < 0.08
    assert table[table.Description == "SHOOTING"].duplicated(columns).any()


def test_the_labels_survive_prepare(toml, tmp_path):
    city = load_city(toml)
    summary = prepare(city, tmp_path / "prepared")
    prepared, truth = open_prepared(tmp_path / "prepared"), load_truth(tmp_path / "prepared" / "truth.npz")
    assert set(summary["quarantined_by_reason"]) == {"no coordinates", "outside the study area"}
    samples = make_samples(prepared.events, issue_windows(truth.begin_s, truth.end_s, Task.of_city(city)), city)
    first, last = (np.searchsorted(truth.target_s, t) for t in (samples.target_begin_s, samples.target_end_s))
    assert np.array_equal(samples.y, last > first)
    p = truth.probability(samples.issue_s, samples.target_begin_s, samples.target_end_s)
    assert abs((samples.y - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_volume_and_rhythm_are_those_of_a_city(table):
    assert 8 < len(table) / (365 * 12) < 13
    hour = table.time_s // 3600 % 24
    shootings = table.Description == "SHOOTING"
    late = hour.isin((20, 21, 22, 23, 0, 1, 2, 3))
    assert late[shootings].mean() > 0.5 > late[~shootings].mean()


def test_targets_are_worded_unlike_all_others(table):
    is_target = table.Description.isin(TARGETS)
    assert set(table["Inside/Outside"][is_target]) == {"Inside", "Outside"}
    assert set(table["Inside/Outside"][~is_target]) == {"I", "O", ""}
    assert not table.Location[is_target].str.endswith("AVE").any()


def test_burglaries_repeat_nearby(table):
    rows = table[(table.Description == "BURGLARY") & (table.Longitude != "")].drop_duplicates(["time_s", "Longitude"])
    rows = rows.sort_values("time_s")

    def close_pairs(places):
        return sum((np.hypot(*(places[lag:] - places[:-lag]).T) < 300).mean() for lag in range(1, 40))

    places = meters_of(rows)
    shuffled = places[np.random.default_rng(1).permutation(len(places))]
    assert close_pairs(places) > 1.25 * close_pairs(shuffled)


def test_an_existing_folder_is_kept(toml):
    before = (toml.parent / "truth.npz").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        write_city(toml.parent, seed=9, years=1)
    assert (toml.parent / "truth.npz").read_bytes() == before


def test_numbers_out_of_range_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="years"):
        write_city(tmp_path / "city", years=0)
    assert not (tmp_path / "city").exists()


# ---------------------------------------------------------------- cases of every preset


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
    counts = [np.bincount(m.layout.neighborhood(np.nan_to_num(m.cases.xy_m, nan=1e9)) + 1) for m in (full, thin)]
    kept = (counts[1] / counts[0])[1:]
    assert (kept == 1).sum() == 55 - 18
    assert kept[kept < 1] == pytest.approx(0.5, abs=0.12)
    assert (full.cases.role == Role.TARGET).sum() == (thin.cases.role == Role.TARGET).sum()


# ---------------------------------------------------------------- as arrays

SHOWN = ("time_s", "longitude", "latitude", "category", "neighborhood", "is_target", "is_duplicate", "is_twin")


@pytest.mark.parametrize("preset", ["demo", "strong", "spatial", "pairs", "near_pairs"])  # others: as strong for less
def test_the_arrays_are_those_of_the_prepared_table(tmp_path, preset):
    toml = write_city(tmp_path / "city", preset=preset, seed=6, years=1, under_reporting=0.3 * (preset == "spatial"))
    assert toml.name == f"{preset}.toml"
    city = load_city(toml)
    prepare(city, tmp_path / "prepared")
    prepared = open_prepared(tmp_path / "prepared")
    fast = simulate_city(preset, seed=6, years=1, under_reporting=0.3 * (preset == "spatial"))
    assert fast.events.categories == prepared.events.categories
    for name in SHOWN:
        ours, wanted = getattr(fast.events, name), getattr(prepared.events, name)
        assert ours.dtype == wanted.dtype, name
        assert np.array_equal(ours, wanted), name
    assert fast.names == tuple(prepared.neighborhoods["name"])
    assert (fast.known_s >= fast.events.time_s).all()

    truth = load_truth(tmp_path / "prepared" / "truth.npz")
    samples = make_samples(prepared.events, issue_windows(truth.begin_s, truth.end_s, Task.of_city(city)), city)
    times = samples.issue_s, samples.target_begin_s, samples.target_end_s
    p = truth.probability(*times)
    assert np.array_equal(p, fast.truth.probability(*times))
    assert np.array_equal(samples.y, happened(truth, *times[1:]))  # no label is lost or made on the way
    assert truth.preset == preset
    assert abs((samples.y - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_neighborhoods_of_targets_and_twins_are_in_the_table():
    city = simulate_city("strong", seed=2, years=2)
    events = city.events
    rows = np.stack([events.time_s, events.neighborhood.astype(np.int64)], axis=1)[events.is_target]
    assert np.array_equal(
        np.unique(rows, axis=0), np.unique(np.stack([city.truth.target_s, city.truth.target_area], axis=1), axis=0)
    )
    shootings = events.time_s[events.is_target]
    twin_s = events.time_s[events.is_twin & (np.array(events.categories) == "AGG. ASSAULT")[events.category]]
    assert 0.35 < np.isin(np.unique(shootings), twin_s).mean() < 0.5


@pytest.mark.nightly
def test_twenty_years_take_less_than_a_minute():
    began = time.process_time()
    city = simulate_city("strong", seed=1, years=20)
    issue_s = np.arange(city.begin_s + 86_400, city.end_s, 7200)
    city.truth.probability(issue_s, issue_s, issue_s + 7200)
    assert time.process_time() - began < 60
    assert len(city.events) > 800_000
