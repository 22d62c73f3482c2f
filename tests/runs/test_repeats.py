"""Near-repeat zones of the toy city, in which a burglary is followed by another 60 m away a day and a half later.

Its shootings come anywhere at any time. ::

    west half | east half    0.1 by 0.1 degrees, 18 weeks from 2024-01-01
"""

import json

import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
import shapely.testing
from pyproj import Geod

from hews_gpu.errors import UserError
from hews_gpu.runs.repeats import GEOJSON, GEOPACKAGE, REPEATS, Bands, repeats, repeats_in_words, repeats_table

DAY_S = 86_400
FIELDS = "event_time event_until begins ends radius_m days ratio ratio_low ratio_high p_corrected"
FIELDS += " expected_per_shift risk_per_shift"
BURGLARY = {"categories": ["Burglary"], "bands": Bands.parse("100,300", "1,3,7")}


def with_repeats(toy, seed=0):
    rng, n = np.random.default_rng(seed), 400
    time_s = toy.begin_s + rng.integers(0, 17 * toy.week_s, n) // 60 * 60
    place = rng.uniform([-76.6, 39.3], [-76.5, 39.4], (n, 2))
    late, near = time_s[:120] + int(1.5 * DAY_S), place[:120] + np.array([0, 60 / 111_000])
    parts = {"time_s": np.concatenate([time_s, late]), "category": "BURGLARY"}
    parts |= dict(zip(("longitude", "latitude"), np.concatenate([place, near]).T, strict=True))
    frame = pd.concat([toy.incidents(seed, contagion=0), pd.DataFrame(parts)])
    return frame.sort_values("time_s", kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def folder(toy, tmp_path_factory):
    return toy.write(tmp_path_factory.mktemp("repeats") / "prepared", with_repeats(toy))


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("zones")
    return out, repeats(folder, out=out, at="2024-04-20T12:00", **BURGLARY)


def test_planted_repeats_are_found_in_their_band_alone(written):
    out, result = written
    (band,) = result["bands"]
    assert (band["from_s"], band["to_s"], band["radius_m"]) == (DAY_S, 3 * DAY_S, 100)
    assert band["ratio"] > 10 and band["ratio_interval"][0] > 5 and band["p_corrected"] == 0.001
    # 120 of about 520 are followed within these two days, which are six shifts
    assert band["expected_per_shift"] == pytest.approx(band["pairs"] / result["events"] / 6, rel=0.03)
    assert band["risk_per_shift"] == pytest.approx(1 - np.exp(-band["expected_per_shift"]))
    assert json.loads((out / REPEATS).read_text()) == result and result["at"] == "2024-04-20T12:00"
    assert [len(row) for row in repeats_table(result)] == [4, 4, 4]
    assert "within 100 m" in repeats_in_words(result) and f"{result['zones']} zones" in repeats_in_words(result)


def test_both_files_open_with_a_zone_for_each_recent_event(written, folder, toy):
    out, result = written
    frame = with_repeats(toy)
    at = pd.Timestamp("2024-04-20T12:00")
    events = pd.to_datetime(frame["time_s"][frame["category"] == "BURGLARY"], unit="s")
    recent = sorted(events[(events < at) & (events > at - pd.Timedelta(days=3))], reverse=True)
    layers = {name: pyogrio.read_dataframe(out / name) for name in (GEOPACKAGE, GEOJSON)}
    for name, zones in layers.items():
        assert pyogrio.list_layers(out / name).tolist() == [["near_repeat_zones", "Polygon"]]
        assert zones.crs == "EPSG:4326" and [*zones.columns] == [*FIELDS.split(), "geometry"]
        assert len(zones) == result["zones"] == len(recent) > 3
        local = {key: zones[key].dt.tz_convert("America/New_York").dt.tz_localize(None) for key in FIELDS.split()[:4]}
        assert local["event_time"].tolist() == local["event_until"].tolist() == recent
        assert (local["begins"] - local["event_time"] == pd.Timedelta(days=1)).all()
        assert (local["ends"] - local["event_time"] == pd.Timedelta(days=3)).all() and (local["ends"] > at).all()
        for key in ("ratio", "p_corrected", "expected_per_shift", "risk_per_shift", "radius_m"):
            assert zones[key].tolist() == pytest.approx([result["bands"][0][key]] * len(zones))
        assert zones["ratio_low"][0] == pytest.approx(result["bands"][0]["ratio_interval"][0])
        assert (zones["days"] == 3).all() and zones.geometry.is_valid.all()
    shapely.testing.assert_geometries_equal(
        *(shapely.normalize(each.geometry.array) for each in layers.values()), tolerance=1e-6
    )


def test_zones_are_circles_of_their_radius_around_the_event_on_the_ground(written, toy):
    out, _ = written
    frame = with_repeats(toy).query("category == 'BURGLARY'")
    places = {time_s: (x, y) for time_s, x, y in zip(*map(frame.get, ("time_s", "longitude", "latitude")), strict=True)}
    zones, globe = pyogrio.read_dataframe(out / GEOPACKAGE), Geod(ellps="WGS84")
    local = zones["event_time"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    for when, circle in zip(local, zones.geometry, strict=True):
        x, y = np.array(circle.exterior.coords).T
        longitude, latitude = places[int(when.timestamp())]
        _, _, far = globe.inv(np.full(len(x), longitude), np.full(len(y), latitude), x, y)
        np.testing.assert_allclose(far, 100, rtol=0.003)


def test_geojson_is_of_its_standard(written):
    content = json.loads((written[0] / GEOJSON).read_text())
    assert "crs" not in content and content["type"] == "FeatureCollection"
    for feature in content["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert shapely.is_ccw(shapely.linearrings(ring)) and ring[0] == ring[-1]
        assert feature["properties"]["event_time"].endswith(("-04:00", "-05:00"))


def test_what_comes_after_the_moment_changes_nothing(folder, toy, tmp_path):
    frame = with_repeats(toy)
    cut = toy.write(tmp_path / "cut", frame[frame["time_s"] < pd.Timestamp("2024-04-20T12:00").timestamp()])
    whole, early = (repeats(each, at="2024-04-20T12:00", **BURGLARY) for each in (folder, cut))
    assert {**whole, "data_fingerprint": ""} == {**early, "data_fingerprint": ""}
    assert repeats(folder, seed=1, at="2024-04-20T12:00", **BURGLARY)["cells"] != whole["cells"]


def test_an_incident_with_a_span_has_a_longer_zone_that_expects_as_much_in_all(toy, tmp_path):
    """Every burglary may have happened up to six hours later; one of them is not over yet."""
    folder, at_s = toy.write(tmp_path / "spans", with_repeats(toy)), int(pd.Timestamp("2024-04-20T12:00").timestamp())
    frame = pd.read_parquet(folder / "incidents.parquet")
    frame["end_s"] = frame["time_s"] + 6 * 3600
    late = frame.index[(frame["category"] == "BURGLARY") & (frame["end_s"] <= at_s)][-1]
    frame.loc[late, "end_s"] = at_s + 60
    frame.to_parquet(folder / "incidents.parquet")
    result = repeats(folder, out=tmp_path / "out", at="2024-04-20T12:00", **BURGLARY)
    burglaries = frame[frame["category"] == "BURGLARY"]
    assert result["events"] == result["events_with_a_span"] == (burglaries["end_s"] <= at_s).sum()
    (band,) = result["bands"]
    zones = pyogrio.read_dataframe(tmp_path / "out" / GEOPACKAGE)
    assert isinstance(band["pairs"], float) and "pairs" in repeats_in_words(result) and len(zones) == result["zones"]
    assert (zones["event_until"] - zones["event_time"] == pd.Timedelta(hours=6)).all()
    assert (zones["ends"] - zones["begins"] == pd.Timedelta(hours=48 + 6)).all()
    assert zones["expected_per_shift"].tolist() == pytest.approx([band["expected_per_shift"] * 48 / 54] * len(zones))
    told = zones["event_until"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    assert told.max() <= pd.Timestamp(at_s, unit="s") and (zones["ends"].dt.tz_convert(None) > told.min()).all()


def test_without_near_pairs_it_says_so_and_writes_a_layer_without_zones(folder, tmp_path):
    result = repeats(folder, out=tmp_path)
    assert result["categories"] == ["SHOOTING"] and result["bands"] == [] and result["zones"] == 0
    assert "there are no zones" in repeats_in_words(result)
    for name in (GEOPACKAGE, GEOJSON):
        assert len(pyogrio.read_dataframe(tmp_path / name)) == 0
    assert pyogrio.read_info(tmp_path / GEOPACKAGE)["fields"].tolist() == FIELDS.split()


def test_a_far_band_alone_makes_no_zone(toy, tmp_path):
    frame = with_repeats(toy)
    moved = frame["latitude"].where(~frame.duplicated(["longitude"]), frame["latitude"] + 140 / 111_000)
    folder = toy.write(tmp_path / "far", frame.assign(latitude=moved))
    result = repeats(folder, **BURGLARY)
    assert [cell["p_corrected"] <= 0.05 for cell in result["cells"]] == [False, False, False, False, True, False]
    assert result["bands"] == [] and result["zones"] == 0


def test_nothing_of_the_locked_block_is_looked_at(folder, toy, tmp_path):
    locked = toy.write(tmp_path / "locked", with_repeats(toy))
    file = locked / "city.toml"
    before = file.read_text().replace('["2024-04-08", "2024-05-06"]', '["2024-04-08", "2024-04-20"]')
    file.write_text(before.replace("[training]", 'locked = ["2024-04-20", "2024-05-06"]\n[training]'))
    assert repeats(locked)["at"] == "2024-04-20T00:00"
    with pytest.raises(
        UserError, match=r"--at = '2024-04-21': .* up to 2024-04-20T00:00, where the locked block begins"
    ):
        repeats(locked, at="2024-04-21")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"categories": ["BURGLERY"]}, r"--category = 'BURGLERY': is none of the table's. Did you mean 'BURGLARY'\?"),
        ({"at": "soon"}, r"--at = 'soon': must be a local date"),
        ({"at": "2030-01-01"}, r"--at = '2030-01-01': must lie after 2024-01-01T.* a day after the table's end"),
        ({"at": "2024-01-02"}, r"holds \d+ events before 2024-01-02T00:00, at least 30 are needed"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(folder, tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        repeats(folder, out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("meters", "days"),
    [("100,100", None), ("0", None), ("many", None), (None, "3,1"), (None, "nan"), (None, "1," * 13)],
)
def test_bands_that_are_none_are_refused(meters, days):
    with pytest.raises(UserError, match="must be up to 12 ascending numbers"):
        Bands.parse(meters, days)


def test_files_that_are_there_stay_without_force(folder, written):
    with pytest.raises(UserError, match=r"holds zones.gpkg and zones.geojson and repeats.json already"):
        repeats(folder, out=written[0])
