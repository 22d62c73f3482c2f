"""The report in a real browser: it is not blank, nothing sticks out, nothing is fetched, nothing complains."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.report.browser import CUT_OFF, WIDEST, addresses, complaints
from tests.report.pages import save


@pytest.fixture(scope="module")
def report(run, tmp_path_factory) -> Path:
    from hews_gpu.report.build import build_report

    return build_report(run, out=tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_looks_right(browser, report, width, scheme):
    from PIL import Image

    browser.open(report, width, scheme)
    picture = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB"))
    assert picture.shape[1] == width and picture.shape[0] > 3000
    ground = picture[5, 5].astype(int)
    assert (ground.sum() < 200) == (scheme == "dark")
    for part in np.array_split(picture, 8):  # no long stretch without anything on it
        assert (np.abs(part.astype(int) - ground).max(axis=2) > 30).mean() > 0.01
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(WIDEST) <= width
    assert browser.value(CUT_OFF) == 0
    assert complaints(browser) == []
    assert {address.split(":")[0] for address in addresses(browser)} <= {"file", "data"}


@pytest.mark.browser
def test_the_checks_notice_a_page_that_is_wrong(browser, tmp_path):
    wrong = tmp_path / "wrong.html"
    wide = "<div style='width:900px'>wide</div>"
    wrong.write_text(f"<body>{wide}<script>console.error('no')</script><img src='http://127.0.0.1:9/x.png'>")
    browser.open(wrong, 390)
    assert browser.value("document.documentElement.scrollWidth") > 390
    assert browser.value(WIDEST) > 390
    assert complaints(browser)
    assert "http://127.0.0.1:9/x.png" in addresses(browser)


@pytest.mark.browser
def test_small_text_of_figures_can_be_read_on_a_phone(browser, report):
    browser.open(report, 390)
    sizes = """[...document.querySelectorAll('figure svg text')].map(t =>
        parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width
        / t.ownerSVGElement.viewBox.baseVal.width)"""
    assert min(browser.value(sizes)) >= 7


@pytest.mark.browser
def test_it_prints_on_a_few_sheets_on_white(browser, report):
    browser.open(report, 1280, "dark")
    sheets = browser.print()
    assert sheets.startswith(b"%PDF")
    assert 4 <= sheets.count(b"/Type /Page\n") + sheets.count(b"/Type /Page ") <= 18


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_of_several_sources_fits_too(browser, results, tmp_path, width):
    from hews_gpu.report.build import build_report

    browser.open(build_report(save(results, tmp_path)), width)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(WIDEST) <= width and browser.value(CUT_OFF) == 0
    assert complaints(browser) == []
