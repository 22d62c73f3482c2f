"""A whole fetch against a local server, in both protocols: every row once, whatever goes wrong on the way."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import geopandas
import pytest
from typer.testing import CliRunner

from hews_gpu.cli.commands import app
from hews_gpu.config import CityConfig, load_city
from hews_gpu.errors import UserError
from hews_gpu.fetch import city as module
from hews_gpu.fetch import fetch_city, find_city
from hews_gpu.fetch.arcgis import stated_zone
from hews_gpu.fetch.city import fetch_polygons, property_names
from hews_gpu.fetch.client import Client, Endpoint
from hews_gpu.fetch.pages import TablePage

DAY = date(2026, 11, 23)
NEXT_DAY = date(2026, 11, 24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "toy"


def fetched_keys(folder: Path) -> list[int]:
    """Row numbers on disk, in the order of the files."""
    keys: list[int] = []
    for path in sorted((folder / "latest").glob("incidents-*")):
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                times = [datetime.fromisoformat(f"{row['crimedatetime']}+00:00") for row in csv.DictReader(file)]
            keys += [round((time.timestamp() - 1_400_000_000) / 60) for time in times]
        else:
            keys += [feature["properties"]["RowID"] for feature in json.loads(path.read_text())["features"]]
    return keys


def record(folder: Path) -> Any:
    return json.loads((folder / "latest" / "fetch.json").read_text())


def test_every_row_comes_once_and_adds_up(city: CityConfig, feed: Any, client: Client, folder: Path) -> None:
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert fetched_keys(folder) == feed.keys()
    assert (summary["incidents"], summary["difference"], summary["warnings"]) == (50, 0, "")
    assert (summary["neighborhoods"], summary["pages_fetched"], summary["pages_kept"]) == (2, 4, 0)
    assert (folder / "latest").readlink() == Path("2026-11-23")
    assert summary["bytes"] == sum(p.stat().st_size for p in (folder / "latest").iterdir() if p.name != "fetch.json")
    assert [p for p in city.path.parent.glob(city.incidents.files[0]) if p.is_file()]
    assert city.resolve(city.neighborhoods.file).is_file()


def test_person_level_columns_are_neither_asked_for_nor_kept(
    city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    summary = fetch_city(city, folder, client=client, today=DAY)
    asked = " ".join(" ".join(query.values()) for _, query, _ in feed.requests).lower()
    assert "crimedatetime" in asked
    assert not any(word in asked for word in ("gender", "race", "age,", "internal_note"))
    assert {name.lower() for name in summary["columns_not_asked_for"].split(", ")} >= {"age", "gender", "race"}
    for path in (folder / "latest").glob("incidents-*"):
        assert "secret" not in path.read_text()


def test_each_page_is_recorded_with_its_checksum(city: CityConfig, client: Client, folder: Path) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    found = record(folder)
    assert found["complete"] and found["city"] == "Toy"
    pages = found["tables"]["incidents"]["pages"]
    assert [page["rows"] for page in pages] == [20, 20, 10]
    for page in pages:
        content = (folder / "latest" / page["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == page["sha256"]
        assert page["url"].startswith("http://127.0.0.1") and page["time"].startswith("20")


def test_the_zone_that_a_layer_states_of_its_dates_is_kept(city: CityConfig, client: Client, folder: Path) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    found = record(folder)["tables"]["incidents"]
    assert found["time_zone"] == ("America/New_York" if found["protocol"] == "arcgis" else "")


@pytest.mark.parametrize(
    ("reference", "zone"),
    [({"timeZone": "UTC", "respectsDaylightSaving": False}, "UTC"), ({}, ""), (None, ""), ("UTC", "")],
)
def test_a_layer_may_state_its_zone_or_none(reference: Any, zone: str) -> None:
    assert stated_zone({"dateFieldsTimeReference": reference}) == zone


@pytest.mark.parametrize("kind", ["status 500", "status 429", "cut", "cut unannounced", "slow", "web page", "broken"])
def test_a_fault_on_the_way_costs_no_row(
    kind: str, city: CityConfig, feed: Any, client: Client, time: Any, folder: Path, fault: Any
) -> None:
    feed.faults.extend([fault("none"), fault(kind), fault(kind), fault("none")])
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert fetched_keys(folder) == feed.keys()
    assert summary["difference"] == 0
    if kind == "status 429":
        assert time.slept_s.count(11.0) == 2


@pytest.mark.parametrize("gzipped", [False, True])
def test_compressed_and_plain_answers_give_the_same_files(
    gzipped: bool, city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    feed.gzipped = gzipped
    fetch_city(city, folder, client=client, today=DAY)
    assert fetched_keys(folder) == feed.keys()


def test_a_feed_that_stays_down_ends_in_one_line_and_latest_stays(
    city: CityConfig, feed: Any, client: Client, folder: Path, fault: Any
) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    feed.faults.extend([fault("none"), *[fault("status 500")] * 20])
    with pytest.raises(UserError, match=r"\[fetch\] incidents = .*HTTP 500.*tried 6 times.*kept") as caught:
        fetch_city(city, folder, client=client, today=NEXT_DAY)
    assert "\n" not in str(caught.value)
    assert (folder / "latest").readlink() == Path("2026-11-23")
    assert json.loads((folder / "2026-11-24" / "fetch.json").read_text())["complete"] is False


def test_a_run_that_was_cut_off_goes_on_without_asking_for_finished_pages(
    city: CityConfig, feed: Any, client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    pages = 0
    original = module.Snapshot.add

    def add(self: Any, *args: Any) -> None:
        nonlocal pages
        pages += 1
        stop(pages)
        original(self, *args)

    monkeypatch.setattr(module.Snapshot, "add", add)
    with pytest.raises(KeyboardInterrupt):
        fetch_city(city, folder, client=client, today=DAY)
    monkeypatch.undo()
    assert not (folder / "latest").exists()
    before = [dict(query) for query in feed.page_requests]
    feed.page_requests.clear()
    summary = fetch_city(city, folder, client=client, today=NEXT_DAY)
    assert summary["folder"].endswith("2026-11-23")
    assert (summary["pages_kept"], summary["pages_fetched"]) == (2, 2)
    assert len(before) == 3
    assert feed.page_requests[0] == before[2]  # the page that was under way, and none before it
    assert not [query for query in feed.page_requests if query in before[:2]]
    assert fetched_keys(folder) == feed.keys()


def test_rows_added_and_removed_while_paging_are_neither_lost_nor_doubled(
    city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    """With offsets, removing a row of page 1 after it was read would shift one row of page 2 out of sight."""
    stays = set(feed.keys()[1:])

    def edit(number: int) -> None:
        if number == 2:
            feed.delete(feed.keys()[0])
            feed.insert(5)

    feed.before_page = edit
    summary = fetch_city(city, folder, client=client, today=DAY)
    keys = fetched_keys(folder)
    assert max(Counter(keys).values()) == 1
    assert stays < set(keys)
    assert set(feed.keys()) < set(keys)  # the new ones are there, and the removed one that was read before
    assert (summary["incidents"], summary["difference"]) == (55, 1)
    assert "55 incidents were fetched, but the feed counts 54" in summary["warnings"]
    assert summary["known_to_be_complete"] is False and record(folder)["complete"] is False


def test_an_edit_while_paging_is_reported(city: CityConfig, feed: Any, client: Client, folder: Path) -> None:
    def edit(number: int) -> None:
        feed.edited += 1

    feed.before_page = edit
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert "edited while it was read" in summary["warnings"] and summary["known_to_be_complete"] is False
    found = record(folder)
    assert found["complete"] is False and "edited while it was read" in found["doubts"][0] and found["finished"]
    ended = CliRunner().invoke(app, ["fetch", str(city.path), "--out", str(folder)])
    assert ended.exit_code == 1 and "not known to be complete" in ended.stdout


def test_an_empty_page_too_early_is_asked_for_again(
    city: CityConfig, feed: Any, client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once ended the fetch, which then called itself complete."""
    kinds = [module.ArcgisTable, module.SocrataTable]
    for kind in kinds:
        original = kind.page

        def page(self: Any, after: Any, original: Any = original, asked: list[Any] = []) -> Any:  # noqa: B006
            asked.append(after)
            return original(self, after) if len(asked) != 2 else TablePage(url="u", body=b"", keys=[])

        monkeypatch.setattr(kind, "page", page)
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert summary["known_to_be_complete"] is True and summary["difference"] == 0
    assert fetched_keys(folder) == feed.keys()


def test_fewer_rows_than_counted_are_never_complete(
    city: CityConfig, feed: Any, client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for kind in (module.ArcgisTable, module.SocrataTable):
            true = kind.count
            patch.setattr(
                kind, "count", lambda self, true=true: 53 if "incidents" in self.endpoint.field else true(self)
            )
        summary = fetch_city(city, folder, client=client, today=DAY)
    assert summary["known_to_be_complete"] is False
    assert record(folder)["doubts"] == ["50 incidents were fetched, but the feed counts 53"]
    assert record(folder)["complete"] is False
    again = fetch_city(city, folder, client=client, today=DAY)  # goes on, and finds that the feed has come round
    assert again["known_to_be_complete"] is True and record(folder)["complete"] is True
    assert fetched_keys(folder) == feed.keys()


def test_a_table_edited_since_the_cut_is_read_from_the_start(
    city: CityConfig, feed: Any, client: Client, folder: Path, fault: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    feed.faults.extend([fault("none"), *[fault("status 500")] * 6])
    with pytest.raises(UserError):
        fetch_city(city, folder, client=client, today=DAY)
    feed.edited += 1
    feed.delete(feed.keys()[0])
    feed.faults.clear()
    assert fetch_city(city, folder, client=client, today=DAY)["pages_kept"] == 0
    assert "was edited since" in capsys.readouterr().err
    assert fetched_keys(folder) == feed.keys()


def test_a_second_fetch_on_the_same_day_asks_for_nothing(
    city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    feed.requests.clear()
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert (feed.requests, summary["pages_fetched"], summary["pages_kept"]) == ([], 0, 4)
    assert fetch_city(city, folder, client=client, today=NEXT_DAY)["pages_fetched"] == 4
    assert (folder / "latest").readlink() == Path("2026-11-24")
    assert (folder / "2026-11-23").is_dir()


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_page_and_what_follows_are_fetched_again(
    damage: str, city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    page = sorted((folder / "latest").glob("incidents-*"))[1]
    page.write_text("x") if damage == "changed" else page.unlink()
    feed.page_requests.clear()
    summary = fetch_city(city, folder, client=client, today=DAY)
    assert summary["pages_kept"] == 2  # page 1 and the polygons
    assert fetched_keys(folder) == feed.keys()
    assert len(feed.page_requests) == 3


def test_a_changed_setting_starts_a_folder_of_its_own(city: CityConfig, client: Client, folder: Path) -> None:
    fetch_city(city, folder, client=client, today=DAY)
    assert city.fetch is not None
    narrow = replace(city, fetch=replace(city.fetch, where="Description = 'SHOOTING'"))
    summary = fetch_city(narrow, folder, client=client, today=DAY)
    assert summary["folder"].endswith("2026-11-23-2")
    assert 0 < summary["incidents"] < 50
    assert summary["difference"] == 0


def test_left_over_pages_do_not_stay_beside_the_new_ones(city: CityConfig, client: Client, folder: Path) -> None:
    dated = folder / "2026-11-23"
    fetch_city(city, folder, client=client, today=DAY)
    (dated / "incidents-00004.csv").write_text("old")
    (dated / "incidents-00004.geojson").write_text("old")
    (dated / ".incidents-00001.csv.partial-77").write_text("half")
    (dated / "notes.txt").write_text("mine")
    fetch_city(city, folder, client=client, today=DAY)
    names = {path.name for path in dated.iterdir()}
    assert not any("00004" in name or "partial" in name for name in names)
    assert "notes.txt" in names


def test_a_filter_without_rows_is_refused(city: CityConfig, client: Client, folder: Path) -> None:
    assert city.fetch is not None
    empty = replace(city, fetch=replace(city.fetch, where="Description = 'PIRACY'"))
    with pytest.raises(UserError, match=r"\[fetch\] where = .*PIRACY.*matches no row"):
        fetch_city(empty, folder, client=client, today=DAY)


def test_a_feed_that_ignores_the_key_is_refused_instead_of_read_for_ever(
    city: CityConfig, feed: Any, client: Client, folder: Path
) -> None:
    feed.ignores_filter = True
    with pytest.raises(UserError, match="does not give its rows in the order of"):
        fetch_city(city, folder, client=client, today=DAY)
    assert len(feed.page_requests) == 2


def test_polygons_without_the_name_of_the_city_file_are_reported(
    city: CityConfig, client: Client, folder: Path
) -> None:
    other = replace(city, neighborhoods=replace(city.neighborhoods, name="Community"))
    warnings = fetch_city(other, folder, client=client, today=DAY)["warnings"]
    assert "the polygons have no 'Community'; set [neighborhoods] name to one of: CSA2010" in warnings


def test_no_server_says_how_to_do_without(city: CityConfig, client: Client, folder: Path) -> None:
    assert city.fetch is not None
    incidents = city.fetch.incidents.replace("127.0.0.1", "feed.invalid")
    nowhere = replace(city, fetch=replace(city.fetch, incidents=incidents))
    with pytest.raises(UserError, match=r"no such host, or no network.*place the tables by hand"):
        fetch_city(nowhere, folder, client=client, today=DAY)


def test_a_city_without_a_feed_says_what_to_add(plain_city: CityConfig, client: Client, folder: Path) -> None:
    with pytest.raises(UserError, match=r"\[fetch\]: the file of Toy has no such section"):
        fetch_city(plain_city, folder, client=client, today=DAY)
    assert not folder.exists()


def test_a_full_disk_says_what_is_kept(
    city: CityConfig, client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"disk is full.*finished pages are kept"):
        fetch_city(city, folder, client=client, today=DAY)


def test_a_user_s_own_latest_folder_is_left_alone(city: CityConfig, client: Client, folder: Path) -> None:
    (folder / "latest").mkdir(parents=True)
    with pytest.raises(UserError, match="must be a link"):
        fetch_city(city, folder, client=client, today=DAY)
    assert (folder / "latest").is_dir()


def test_a_name_means_the_edited_file_first_and_the_shipped_one_else(
    city: CityConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_city("toy") == (load_city(Path("toy.toml")), Path("data/toy"))
    shipped, folder = find_city("baltimore")
    assert (shipped.city.name, folder) == ("Baltimore", Path("data/baltimore"))
    assert shipped.resolve("data") == tmp_path / "data"
    with pytest.raises(UserError, match="Did you mean 'baltimore'"):
        find_city("baltimor")
    with pytest.raises(UserError, match="does not exist"):
        find_city("baltimor.toml")


@pytest.mark.parametrize("protocol", ["socrata"])
def test_what_was_fetched_can_be_prepared(city: CityConfig, feed: Any, client: Client, folder: Path) -> None:
    from hews_gpu.data.prepare.command import prepare

    fetch_city(city, folder, client=client, today=DAY)
    columns = {"time": "crimedatetime", "category": "description", "longitude": "longitude", "latitude": "latitude"}
    mapped = replace(city, incidents=replace(city.incidents, columns=columns))
    quality = prepare(mapped, folder.parent / "prepared", score_only=True)
    assert (quality["rows_read"], quality["rows_kept"], quality["rows_quarantined"]) == (50, 50, 0)
    assert quality["targets_kept"] == feed.select("count(*) AS n", "Description = 'SHOOTING'")[0]["n"]


@pytest.mark.parametrize("name", ["baltimore", "chicago"])
def test_shipped_cities_look_for_what_a_fetch_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    city, folder = find_city(name)
    assert city.fetch is not None
    suffix = {"arcgis": "geojson", "socrata": "csv"}[city.fetch.protocol]
    assert city.incidents.files == (f"{folder}/latest/incidents-*.{suffix}",)
    assert city.neighborhoods.file == f"{folder}/latest/neighborhoods.geojson"
    assert city.fetch.incidents.startswith("https://") and city.fetch.neighborhoods.startswith("https://")


def test_the_command_fetches_and_prints_json(
    city: CityConfig, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "Client", lambda: client)
    result = CliRunner().invoke(app, ["fetch", "toy", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["incidents"] == 50
    assert (tmp_path / "data" / "toy" / "latest").is_symlink()
    again = CliRunner().invoke(app, ["fetch", "toy.toml", "--out", "elsewhere"])
    assert again.exit_code == 0 and "pages fetched" in again.stdout
    assert (tmp_path / "elsewhere" / "latest" / "neighborhoods.geojson").is_file()


# ---------------------------------------------------------------- polygons

PATHS = {
    "arcgis": "/arcgis/rest/services/Areas/FeatureServer/0",
    "socrata": "/resource/area-0001",
    "geojson": "/files/areas.geojson",
}


def endpoint_of(feed: Any, protocol: str) -> Endpoint:
    return Endpoint(field="[fetch] neighborhoods", address=feed.address + PATHS[protocol])


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("page_rows", [1, 1000])
def test_all_polygons_come_in_one_file(
    protocol: str, page_rows: int, feed: Any, client: Client, tmp_path: Path
) -> None:
    feed.max_record_count = page_rows
    count, page = fetch_polygons(client, endpoint_of(feed, protocol), protocol)
    assert (count, page.rows) == (2, 2)
    assert {"CSA2010", "tpop10"} <= set(property_names(page))
    (tmp_path / "areas.geojson").write_bytes(page.body)
    areas = geopandas.read_file(tmp_path / "areas.geojson")
    assert list(areas["CSA2010"]) == ["Canton", "Harbor East"]
    assert areas.crs.to_epsg() == 4326
    assert areas.geometry.iloc[0].area == pytest.approx(0.04)


def test_rings_of_a_layer_without_geojson_keep_their_holes(feed: Any, client: Client, tmp_path: Path) -> None:
    feed.formats = "JSON"
    _, page = fetch_polygons(client, endpoint_of(feed, "arcgis"), "arcgis")
    (tmp_path / "areas.geojson").write_bytes(page.body)
    outline = geopandas.read_file(tmp_path / "areas.geojson").geometry.iloc[0]
    assert outline.area == pytest.approx(0.2 * 0.2 - 0.02 * 0.02)
    assert len(outline.interiors) == 1


@pytest.mark.parametrize("protocol", PATHS)
def test_a_feed_without_polygons_is_refused(protocol: str, feed: Any, client: Client) -> None:
    feed.areas = []
    with pytest.raises(UserError, match=r"\[fetch\] neighborhoods = .*has no polygon"):
        fetch_polygons(client, endpoint_of(feed, protocol), protocol)


def test_a_file_that_is_no_geojson_is_refused(feed: Any, client: Client) -> None:
    elsewhere = Endpoint(field="[fetch] neighborhoods", address=f"{feed.address}/api/views/area-0001.json")
    with pytest.raises(UserError, match="holds no features"):
        fetch_polygons(client, elsewhere, "geojson")
