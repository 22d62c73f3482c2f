"""The replay page: what is in the file, and what it does in a real browser when keys, slider and fingers move it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time
from importlib import resources

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hews_gpu.errors import UserError
from hews_gpu.report.alerts.replay import build_replay_page
from tests.inputs.replay_folder import HOSTILE, write_replay
from tests.report.browser import CUT_OFF, WIDEST, addresses, complaints
from tests.report.pages import text_of

STEPS = 288  # issue times of two days
PICTURE_OF = "document.getElementById('{}').toDataURL()"
VENDORED = {
    "uPlot-1.6.32.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot-1.6.32.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot-LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""SHA-256 of the files of the npm package uplot 1.6.32, unchanged."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return build_replay_page(write_replay(tmp_path_factory.mktemp("replay") / "out", names=HOSTILE))


def data_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key)


def state(browser):
    found = browser.value("JSON.stringify(document.getElementById('player').dataset)")
    return json.loads(found)


def index(browser):
    return int(state(browser)["index"])


# ---------------------------------------------------------------- the file


def test_what_is_vendored_is_what_was_published():
    folder = resources.files("hews_gpu.report") / "vendor"
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert found == VENDORED


def test_the_page_names_no_outside_address_and_runs_its_own_scripts_alone(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:https?|wss?|ftp):(?:\\?/){2}[^\s\"'<>)]*", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(?:src|href)=[\"'](?!#|data:)", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert len(scripts) == 2 and f"script-src {allowed};" in policy
    assert policy.startswith("default-src 'none'")
    assert "Copyright (c) 2022 Leon Sorokin" in text and "MIT License" in text


def test_a_week_of_a_large_city_stays_below_a_megabyte(tmp_path):
    page = build_replay_page(write_replay(tmp_path / "out", areas=278, days=7))
    assert len(data_of(page)["names"]) == 278
    assert page.stat().st_size < 1_000_000


def test_a_long_replay_is_thinned_and_says_so(tmp_path):
    page = build_replay_page(write_replay(tmp_path / "out", areas=278, days=30))
    shown = np.frombuffer(base64.b64decode(data_of(page)["issue"]), "<u4")
    assert set(np.diff(shown)) == {3 * 600}
    assert "this page moves through every 3rd" in text_of(page.read_text()) and page.stat().st_size < 1_000_000


def test_probabilities_come_back_within_the_error_that_is_stated(page):
    table, data = pq.read_table(page.parent / "forecasts.parquet"), data_of(page)
    byte = np.frombuffer(base64.b64decode(data["areas"]["p"]), np.uint8).reshape(STEPS, -1)
    low, high = data["areas"]["low"], data["areas"]["high"]
    true = np.stack(table["areas"].to_numpy())
    error = np.abs(low * (high / low) ** ((byte - 1.0) / 254) / true - 1).max()
    stated = re.search(r"within (?:<\s)?([\d.]+)\s% of what was said", text_of(page.read_text(encoding="utf-8")))
    assert 0.001 < error <= float(stated.group(1)) / 100 + 0.0005
    city = np.frombuffer(base64.b64decode(data["city"]["model"]), "<u2") / 65_534
    assert np.abs(city - table["p"].to_numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("abstained", "Every forecast of these 2 days was withheld: the model has shown no foresight."),
        ("refused", "Every forecast of these 2 days was refused"),
        ("stopped", "Every forecast of these 2 days was stopped by the kill switch"),
    ],
)
def test_what_was_not_issued_is_the_first_thing_said(tmp_path, outcome, words):
    page = text_of(build_replay_page(write_replay(tmp_path / "out", outcome=outcome)).read_text(encoding="utf-8"))
    assert words in page and page.index(words) < page.index("Events caught")


def test_what_was_withheld_is_scored_as_if_it_had_been_sent(tmp_path):
    folder = write_replay(tmp_path / "out", outcome="abstained")
    summary = json.loads((folder / "replay.json").read_text())
    summary["warnings_if_issued"]["city"]["any"] |= {"given": 7, "hits": 3, "caught": 4, "events": 9, "pod": 4 / 9}
    (folder / "replay.json").write_text(json.dumps(summary))
    page = text_of(build_replay_page(folder).read_text(encoding="utf-8"))
    came = "7 warnings of the whole city would have been given, 3 would have come true"
    assert f"{came}; they would have covered 4 of 9 target incidents." in page
    assert "Events caught 44 % if sent; climatology" in page
    assert "boosting 0 % 0 of" in page and "boosting, if sent 44 % 4 of 9" in page


def test_thresholds_that_know_less_than_a_year_are_told(tmp_path):
    folder, words = write_replay(tmp_path / "out", areas=9), "set on 2016-07-01 to 2016-12-31, less than a year"
    assert words in text_of(build_replay_page(folder).read_text(encoding="utf-8"))
    summary = json.loads((folder / "replay.json").read_text(encoding="utf-8"))
    longer = summary | {"calibration": ["2016-01-01T00:00:00", "2017-01-01T00:00:00"]}
    (folder / "replay.json").write_text(json.dumps(longer), encoding="utf-8")
    assert "less than a year" not in text_of(build_replay_page(folder).read_text(encoding="utf-8"))


def test_an_outage_in_between_is_counted_and_its_gaps_stay_gaps(tmp_path):
    folder = write_replay(tmp_path / "out", areas=9)
    table = pq.read_table(folder / "forecasts.parquet")
    gone = np.arange(STEPS) < 40
    columns = {name: table[name].to_pandas() for name in ("outcome", "reason")}
    columns["outcome"][gone], columns["reason"][gone] = "refused", "newest row is 3 days old"
    columns["p"] = pa.array(table["p"].to_numpy(), mask=gone)
    areas = [None if no else row for no, row in zip(gone, table["areas"].to_pylist(), strict=True)]
    columns["areas"] = pa.array(areas, table["areas"].type)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, folder / "forecasts.parquet")
    page = build_replay_page(folder)
    assert "Of 288 forecasts 40 were refused: newest row is 3 days old." in text_of(page.read_text(encoding="utf-8"))
    data = data_of(page)
    byte = np.frombuffer(base64.b64decode(data["areas"]["p"]), np.uint8).reshape(STEPS, 9)
    assert not byte[:40].any() and byte[40:].all()
    assert set(np.frombuffer(base64.b64decode(data["city"]["model"]), "<u2")[:40]) == {65_535}


@pytest.mark.parametrize("name", ["forecasts", "warnings", "incidents", "neighborhoods"])
def test_a_folder_that_is_no_replay_is_refused(tmp_path, name):
    folder = write_replay(tmp_path / "out")
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(UserError, match=f"{name}.parquet: does not exist.*hews replay"):
        build_replay_page(folder)
    pd.DataFrame({"x": [1]}).to_parquet(folder / f"{name}.parquet")
    with pytest.raises(UserError, match="lacks"):
        build_replay_page(folder)


# ---------------------------------------------------------------- in a browser


@pytest.mark.browser
def test_keys_and_slider_move_the_time(browser, page):
    browser.open(page, 1280)
    assert state(browser) == {"index": "0", "time": "2017-06-01T00:00:00", "playing": "false"}
    for key, expected in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 1)):
        press(browser, key)  # nothing has the focus: End scrolls the page
        assert index(browser) == expected, key
    browser.value("document.getElementById('time').focus()")
    moves = {"End": 287, "ArrowRight": 287, "PageDown": 143, "Home": 0, "PageUp": 144, "ArrowUp": 145, "ArrowDown": 144}
    for key, expected in moves.items():
        press(browser, key)
        assert index(browser) == expected, key
    assert state(browser)["time"] == "2017-06-02T00:00:00"
    browser.value("s = document.getElementById('time'); s.value = 100; s.dispatchEvent(new Event('input'))")
    assert index(browser) == 100
    assert complaints(browser) == []


@pytest.mark.browser
def test_everything_follows_the_time(browser, page):
    browser.open(page, 1280)
    parts = [PICTURE_OF.format("map")]
    parts += [
        f"document.getElementById('{name}').textContent" for name in ("when", "now-model", "ranking", "incidents")
    ]
    parts += [
        "document.getElementById('time').getAttribute('aria-valuetext')",
        "document.querySelector('.now').style.left",
    ]
    browser.value("s = document.getElementById('time'); s.value = 60; s.dispatchEvent(new Event('input'))")
    before = [browser.value(part) for part in parts]
    browser.value("s = document.getElementById('time'); s.value = 200; s.dispatchEvent(new Event('input'))")
    after = [browser.value(part) for part in parts]
    for part, old, new in zip(parts, before, after, strict=True):
        assert old and new and old != new, part
    assert "Fri 2 Jun 2017, 09:20" in after[1]


@pytest.mark.browser
def test_it_plays_pauses_and_stops_at_the_end(browser, page):
    browser.open(page, 1280)
    browser.value("s = document.getElementById('time'); s.value = 280; s.dispatchEvent(new Event('input')); s.focus()")
    press(browser, " ")
    assert state(browser)["playing"] == "true"
    deadline = time.monotonic() + 20
    while state(browser)["playing"] == "true" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state(browser)["playing"] == "false" and index(browser) == 287
    browser.value("document.getElementById('play').click()")  # from the start again
    assert state(browser)["playing"] == "true" and index(browser) < 280
    browser.value("document.getElementById('play').click()")
    stopped = index(browser)
    time.sleep(0.4)
    assert index(browser) == stopped and complaints(browser) == []


@pytest.mark.browser
def test_a_finger_on_the_timeline_and_a_row_of_the_table_move_it(browser, page):
    browser.open(page, 390)
    box = browser.value("JSON.stringify(document.querySelector('.u-over').getBoundingClientRect())")
    box = json.loads(box)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    browser.value(f"window.scrollTo({{top: {point['y'] - 300}, behavior: 'instant'}})")
    browser.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": point["x"], "y": 300}])
    browser.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert 120 < index(browser) < 170
    at = browser.value(
        "row = document.querySelector('tr.false_alarm'); row.querySelector('button').click(); +row.dataset.at"
    )
    moved = np.datetime64(state(browser)["time"]).astype("datetime64[s]").astype(np.int64)
    assert moved == at and browser.value("document.activeElement.id") == "time"


@pytest.mark.browser
def test_a_neighborhood_can_be_chosen_on_the_map_and_in_the_list(browser, page):
    browser.open(page, 1280)
    browser.value("p = document.getElementById('pick'); p.value = '2'; p.dispatchEvent(new Event('change'))")
    assert browser.value("document.getElementById('picked').textContent").count("times its mean") == 1
    browser.value("document.getElementById('map').scrollIntoView({behavior: 'instant', block: 'center'})")
    middle = """(map => { const box = map.getBoundingClientRect();
        const at = {clientX: box.x + 0.7 * box.width, clientY: box.y + 0.3 * box.height};
        map.dispatchEvent(new MouseEvent('click', at)) })(document.getElementById('map'))"""
    browser.value(middle)
    assert int(browser.value("document.getElementById('pick').value")) >= 0


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_fits_asks_for_nothing_and_complains_of_nothing(browser, page, width, scheme):
    from PIL import Image

    browser.open(page, width, scheme)
    picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB"))
    ground = picture[5, 5].astype(int)
    assert picture.shape[1] == width and (ground.sum() < 200) == (scheme == "dark")
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(WIDEST) <= width and browser.value(CUT_OFF) == 0
    shown = browser.value("[...document.querySelectorAll('canvas')].filter(c => c.width && c.height).length")
    assert shown == 2 and complaints(browser) == []
    assert [address.split(":")[0] for address in addresses(browser)] == ["file"]


def test_explanations_name_the_targets_of_the_replay_and_those_stay_text(tmp_path):
    folder = write_replay(tmp_path / "out")
    told = json.dumps({"shares": [["climatology", -2.0]], "incidents": []})
    pd.read_parquet(folder / "warnings.parquet").assign(explanation=told).to_parquet(folder / "warnings.parquet")
    summary = json.loads((folder / "replay.json").read_text())
    for targets, words in ((["ARSON"], "arson"), (["<IMG SRC=X>"], "&lt;img src=x&gt;"), (None, "a target incident")):
        (folder / "replay.json").write_text(json.dumps(summary | {"targets": targets}))
        page = build_replay_page(folder).read_text(encoding="utf-8")
        assert f"see {words} somewhere in the city" in page and "<img" not in page


@pytest.mark.browser
def test_hostile_names_stay_text(browser, page):
    browser.open(page, 1280)
    for moment in (0, 100, 287):
        browser.value(f"s = document.getElementById('time'); s.value = {moment}; s.dispatchEvent(new Event('input'))")
    assert browser.value("document.title") == "Sample City: warnings replayed"
    assert browser.value("document.querySelectorAll('img, script[src]').length") == 0
    options = browser.value("[...document.getElementById('pick').options].map(o => o.textContent)")
    assert set(HOSTILE) <= set(options)
    assert browser.value("document.querySelector('#warned').textContent").count("<script>") >= 1
    assert complaints(browser) == []


@pytest.mark.browser
def test_a_screen_reader_is_told_and_everything_has_a_name(browser, page):
    browser.open(page, 1280)
    press(browser, "ArrowRight")
    time.sleep(0.8)
    said = browser.value("document.querySelector('[aria-live]').textContent")
    assert said.startswith("Thu 1 Jun 2017, 00:10: city") and "climatology" in said
    nameless = """[...document.querySelectorAll('button, input, select, canvas, [role=img]')]
        .filter(e => !e.closest('[role=img] *'))
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length"""
    assert browser.value(nameless) == 0
    assert browser.value("[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope=col]'))")
    for name in ("play", "time", "pick"):
        browser.value(f"focused = document.getElementById('{name}'); focused.focus({{focusVisible: true}})")
        assert browser.value("getComputedStyle(focused).outlineStyle") == "solid", name


@pytest.mark.browser
def test_it_prints_in_light_colors_and_comes_back(browser, page):
    browser.open(page, 1280, "dark")
    before = browser.value(PICTURE_OF.format("map"))
    browser.value(
        "printed = []; map = document.getElementById('map');"
        "addEventListener('beforeprint', () => printed.push(map.toDataURL()))"
    )
    sheets = browser.print()
    assert sheets.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type /Page[\s/>]", sheets)) <= 8
    assert browser.value("printed[0]") != before and browser.value(PICTURE_OF.format("map")) == before
    assert complaints(browser) == []


@pytest.mark.browser
def test_without_scripts_the_numbers_and_the_tables_are_there(browser, page):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, 390)
        shown = browser.value("document.body.innerText")
        assert "False alarms" in shown and "move by a script" in shown
        assert not browser.value("document.getElementById('player').offsetHeight")
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.browser
def test_a_model_that_does_not_say_where_has_a_page_too(browser, tmp_path):
    browser.open(build_replay_page(write_replay(tmp_path / "out", where=False)), 1280)
    assert browser.value("document.getElementById('ranking')") is None
    assert browser.value("document.body.innerText.includes('Incidents of the last window')")
    press(browser, "ArrowRight")
    assert index(browser) == 1 and complaints(browser) == []


@pytest.mark.browser
def test_a_long_replay_shows_the_two_weeks_around_the_moment(browser, tmp_path):
    browser.open(build_replay_page(write_replay(tmp_path / "out", areas=9, days=60, stride_s=7200)), 1280)
    labels = "document.querySelector('#chart canvas').toDataURL()"
    browser.value("document.getElementById('time').focus()")
    first = browser.value(labels)
    press(browser, "PageUp")
    time.sleep(0.2)
    assert browser.value("parseFloat(document.querySelector('.now').style.left)") == pytest.approx(100 / 14, abs=0.01)
    assert browser.value(labels) == first
    press(browser, "End")
    time.sleep(0.2)
    assert browser.value(labels) != first and browser.value(WIDEST) <= 1280 and complaints(browser) == []


@pytest.mark.browser
def test_who_wants_little_motion_gets_little(browser, page):
    browser.open(page, 1280)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.value("document.getElementById('play').click()")
    time.sleep(1)
    assert index(browser) <= 2
    browser.value("document.getElementById('play').click()")


@pytest.mark.browser
def test_it_changes_with_the_color_scheme(browser, page):
    browser.open(page, 1280, "light")
    before = [
        browser.value(PICTURE_OF.format("map")),
        browser.value("document.querySelector('#chart canvas').toDataURL()"),
    ]
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    time.sleep(0.3)
    after = [
        browser.value(PICTURE_OF.format("map")),
        browser.value("document.querySelector('#chart canvas').toDataURL()"),
    ]
    assert before[0] != after[0] and before[1] != after[1]
