"""The page as text: whole, self-contained, escaped, and complete without the parts that may be missing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from hews_gpu.data.events import open_prepared
from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report

VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def report(run, tmp_path_factory) -> Path:
    return build_report(run, out=tmp_path_factory.mktemp("out") / "report.html")


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_it_has_every_part(page):
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert ids == "skill trust warnings hours where maps city data run limits reading".split()
    for words in (
        "No foresight",
        "95\u00a0% interval",
        "climatology",
        "oracle",
        "Over the recent level",
        "1 July 2015 to 31 December 2015",
    ):
        assert words in page.text
    assert "reported" in page.text.lower() and "never about people" in page.text
    assert "hews prepare 'my city.toml' --out prepared" in page.text
    assert 'timezone = "America/New_York"' in page.text  # the city file


def test_it_tells_what_the_table_was_like(page, report):
    for words in ("Noticed while preparing", "longitude and latitude exchanged", "odd <b>name</b>.csv"):
        assert words in page.text
    assert "Inside/Outside0.1200100" in page.text.replace("\n", "") and "District0.003" not in page.text
    assert "LARCENY2015-011208" in page.text.replace("\n", "") and "THREAT2015-03012" in page.text.replace("\n", "")
    assert "What is missing, by month" in page.text and "Weapon <x>" in page.text
    assert "Blank values of 2 columns by month" in report.read_text(encoding="utf-8")


def test_it_fetches_nothing_and_runs_nothing(page, report):
    assert not page.all("script")
    for tag, attributes in page.found:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    text = report.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)", text) and "@import" not in text


def test_every_picture_is_described(page):
    assert all(len(attributes.get("alt") or "") > 20 for attributes in page.all("img"))
    for attributes in page.all("svg"):
        assert attributes["role"] == "img" and attributes["aria-labelledby"]
    assert len(page.all("svg")) == 20 and len(page.all("img")) == 6


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.found if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for attributes in page.all("a")}
    targets |= {attributes["aria-labelledby"] for attributes in page.all("svg")}
    assert targets <= set(ids)


def test_it_is_small(report):
    assert report.stat().st_size < 4e6


@pytest.fixture(scope="module")
def make(run):
    """The functions that write the hand-made city."""
    spec = importlib.util.spec_from_file_location("made_by_hand", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_of_users_are_text_not_markup(make, tmp_path):
    prepared = make.write_prepared(tmp_path / "prepared", name="<script>alert('x')</script>")
    run = make.write_run(tmp_path / "run", prepared)
    text = build_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert not page.all("script") and not page.all("b<")
    assert "<script>alert('x')</script>" in page.text  # shown as it was written
    assert "1. Alder Hill" in page.text and "Cedar <b>Park</b>" in page.text
    assert "outside the <study> area" in page.text


def test_what_may_be_missing_leaves_no_hole(make, tmp_path):
    prepared = make.write_prepared(tmp_path / "prepared")
    run = make.write_run(tmp_path / "run", prepared, oracle=False)
    (run / "history.csv").unlink()
    (run / "forecasts_by_neighborhood.parquet").unlink()
    page = Page(build_report(run).read_text(encoding="utf-8"))
    assert "oracle" not in page.text.replace("Oracle gap closedof", "").lower()
    assert "What happened" not in page.text
    assert "Log loss per epoch" not in page.text


def test_a_run_that_was_not_judged_leaves_no_file(make, prepared, tmp_path):
    run = make.write_run(tmp_path / "run", prepared, judged=False)
    with pytest.raises(UserError, match="Run 'hews evaluate' first"):
        build_report(run)
    assert not list(run.glob("*report*"))


@pytest.fixture(scope="module")
def backtest(make, prepared, tmp_path_factory):
    """A backtest of three models in two blocks, as `hews backtest` leaves it."""
    folder = make.write_run(tmp_path_factory.mktemp("toy") / "backtest", prepared)
    (folder / "history.csv").unlink()
    metrics = json.loads((folder / "metrics.json").read_text())
    fold = metrics["protocol"]["folds"][0]
    metrics["protocol"]["folds"] = [fold, fold]
    make._json(folder / "metrics.json", {**metrics, "kind": "backtest"})
    table = pd.read_parquet(folder / "forecasts.parquet")
    table[table["split"] == "test"].rename(columns={"p": "p_hewsnet"}).to_parquet(folder / "forecasts.parquet")
    return folder


def test_a_backtest_has_the_same_sections(backtest, page):
    own = Page(build_report(backtest).read_text(encoding="utf-8"))
    sections, of_a_run = ([one.get("id") for one in each.all("section")] for each in (own, page))
    assert sections == of_a_run
    assert "Backtest of forecasts of homicide and shooting" in own.text and "2 test blocks" in own.text
    assert "Block 2" in own.text and "Log loss per epoch" not in own.text


def test_a_backtest_of_a_generated_city_needs_no_folder(backtest, tmp_path):
    folder = shutil.copytree(backtest, tmp_path / "backtest")
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "preset": "strong", "years": 4, "seed": 1}))
    (folder / "hews.json").write_text('{"kind": "backtest"}')
    own = Page(build_report(folder, force=True).read_text(encoding="utf-8"))
    ids = [one.get("id") for one in own.all("section")]
    assert ids == "skill trust warnings hours where run limits reading".split()
    assert "strong" in own.text and "Hit rate in 20" in own.text


def test_a_report_is_replaced_only_when_told(report, run, tmp_path, monkeypatch):
    monkeypatch.setattr("hews_gpu.report.build.SECTIONS", ())
    own = shutil.copy(report, tmp_path / "report.html")
    with pytest.raises(UserError, match="--force"):
        build_report(run, out=own)
    assert own.stat().st_size == report.stat().st_size
    assert build_report(run, out=own, force=True).stat().st_size < report.stat().st_size  # a page without sections


def test_force_spares_a_file_that_is_no_report(run, tmp_path):
    own = tmp_path / "thesis.html"
    own.write_text("years of work")
    with pytest.raises(UserError, match="not a report"):
        build_report(run, out=own, force=True)
    assert own.read_text() == "years of work"


@pytest.mark.parametrize("name", [".", "none/report.html"])
def test_a_place_that_cannot_be_written(run, tmp_path, name):
    with pytest.raises(UserError, match="--out"):
        build_report(run, out=tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0 and shutil.disk_usage("/").free == 0, reason="no room")
def test_a_page_that_cannot_be_written_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="disk is full"):
        build_report(run, out=tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.real_data
def test_the_real_city_in_seconds(make, real_data, tmp_path):
    """55 areas and the portal table, prepared as a user would; the forecasts are a stand-in."""
    import gzip

    from hews_gpu.config import city_template, load_city
    from hews_gpu.data.prepare.command import prepare

    folder = real_data / "baltimore"
    areas = tmp_path / "areas.geojson"
    areas.write_bytes(gzip.decompress((folder / "csa_55_vitalsigns16.geojson.gz").read_bytes()))
    toml = re.sub(r"(?m)^files = .*", f'files = ["{folder}/portal_2012_2017.csv.gz"]', city_template("baltimore"))
    city = tmp_path / "city.toml"
    city.write_text(re.sub(r"(?m)^file = .*", f'file = "{areas}"', toml))
    prepare(load_city(city), tmp_path / "prepared")
    run = make.write_run(tmp_path / "run", tmp_path / "prepared", judged=False)
    incidents = pd.read_parquet(tmp_path / "prepared" / "incidents.parquet")
    forecasts = make.stand_in(incidents, "2014-01-01", "2016-07-01", "2017-01-01", "2017-09-01")
    forecasts.to_parquet(run / "forecasts.parquet")
    make._json(run / "metrics.json", make.metrics_of(forecasts))
    begin = time.perf_counter()
    report = build_report(run)
    assert time.perf_counter() - begin < 30  # 4 s alone on two cores; other work may be going on
    assert report.stat().st_size < 2e6
    assert "4,468 reported incidents of homicide and shooting" in report.read_text(encoding="utf-8")


PEAK = """
import resource, sys
from pathlib import Path
from hews_gpu.report.build import build_report
build_report(Path(sys.argv[1]), data=Path(sys.argv[2]), out=Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.nightly
def test_one_long_text_does_not_fill_memory(prepared, run, tmp_path):
    """Arrays of fixed width once held the longest text times the rows: gigabytes for one text of 20,000 characters."""

    def peak_mb(name: str, text: str) -> float:
        data, mine = shutil.copytree(prepared, tmp_path / name), shutil.copytree(run, tmp_path / f"{name}-run")
        incidents = pd.read_parquet(data / "incidents.parquet")
        for column, old in (("category", "LARCENY"), ("neighborhood", "Elm"), ("source", "incidents.csv")):
            incidents[column] = incidents[column].cat.rename_categories({old: text})
        incidents.to_parquet(data / "incidents.parquet")
        notes = pd.DataFrame({"row_id": incidents["row_id"], "Note": [text, *["short"] * (len(incidents) - 1)]})
        notes.to_parquet(data / "charts_only.parquet")
        areas = gpd.read_parquet(data / "neighborhoods.parquet")
        areas["name"] = areas["name"].replace("Elm", text)
        areas.to_parquet(data / "neighborhoods.parquet")
        places = pd.read_parquet(mine / "forecasts_by_neighborhood.parquet")
        places["neighborhood"] = places["neighborhood"].cat.rename_categories({"Elm": text})
        places.to_parquet(mine / "forecasts_by_neighborhood.parquet")
        manifest = json.loads((mine / "hews.json").read_text())
        manifest["data_fingerprint"] = open_prepared(data).fingerprint
        (mine / "hews.json").write_text(json.dumps(manifest))
        command = [sys.executable, "-c", PEAK, str(mine), str(data), str(tmp_path / f"{name}.html")]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak_mb("long", "x" * 20_000) < peak_mb("short", "x") + 100
