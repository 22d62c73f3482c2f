"""The page of `hews leadtime` shows its numbers and where there is foresight, in any browser and on a phone."""

import json
import re

import pytest

from hews_gpu.errors import UserError
from hews_gpu.evaluation.leadtime import put_together
from hews_gpu.report.build import build_report
from tests.report.browser import CUT_OFF, WIDEST, complaints

LEADS_S = (1800, 21_600, 604_800)


def bits(value, width=0.002):
    p = 1e-5 if abs(value) > width else 0.4
    return {"log_skill_bits": {"value": value, "interval": [value - width, value + width], "p": p}}


def rate(value):
    return {"value": value, "interval": [value - 0.02, value + 0.02]}


def point(horizon_s, lead_s, gain, too_little=()):
    warned = {**rate(0.2), "budget_per_week": 3, "per_week": 3.4}
    forecasts = {
        "climatology": {"against": {"level": bits(-0.004)}, "auc": 0.68, "warned": warned},
        "level": {"against": {"climatology": bits(0.004)}, "auc": 0.685, "warned": warned},
        "counts": {"against": {"climatology": bits(0.004 + gain), "level": bits(gain)}, "auc": 0.7, "warned": warned},
        "oracle": {"against": {"climatology": bits(0.01), "level": bits(0.006)}, "auc": 0.72},
    }
    spots = [{"area_share": share, "hit_rate": rate(4 * share), "over_long_run": rate(0.013)} for share in (0.01, 0.05)]
    places = {
        "long_run": {"against": {"level": bits(-0.003)}, "hot_spots": spots},
        "level": {"against": {"long_run": bits(0.003)}, "hot_spots": spots},
        "counts": {"against": {"long_run": bits(0.0123), "level": bits(0.009)}, "hot_spots": spots},
    }
    return {
        "horizon_s": horizon_s,
        "lead_s": lead_s,
        "windows": 1234,
        "positives": 321,
        "begin": "2016-01-01T07:00",
        "end": "2017-01-01T07:00",
        "digest": str(horizon_s),
        "too_little": list(too_little),
        "forecasts": forecasts,
        "places": {"neighborhoods": 9, "events": 400, "forecasts": places},
    }


@pytest.fixture
def folder(tmp_path):
    gains = dict(zip(LEADS_S, (0.0456, 0.0321, 0.0), strict=True))
    points = [
        point(h, lead, gain if h < 86_400 else 0.0) for h in (7200, 28_800, 86_400) for lead, gain in gains.items()
    ]
    content = {"kind": "leadtime", "city": "Toy & <b>town</b>", "shifts": "07:00,15:00,23:00", **put_together(points)}
    (tmp_path / "leadtime.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_the_page_says_how_far_ahead_there_is_foresight(folder):
    page = build_report(folder).read_text(encoding="utf-8")
    assert "Toy &amp; &lt;b&gt;town&lt;/b&gt;" in page and "<script" not in page
    assert "The longest lead at which anything beats the calendar at its recent level is 6h: counts" in page
    assert "counts 6h (windows of 2h) and counts 6h (windows of 8h); none for the other models and windows" in page
    assert page.count("<svg") == 6 and "windows of 2h, over the lead. 30min: counts +0.0456, oracle +0.0060" in page
    assert page.count('class="model"') == 4  # of two horizons at two leads
    assert "+0.0321" in page and "+0.0301 to +0.0341" in page and page.count("significantly better") == 9 + 4
    assert "20.0" in page and "+1.3 (−0.7 to +3.3) points" in page  # noqa: RUF001 - the minus of numbers
    assert "1,234 windows, 321 with a target. They begin with the shifts: 07:00, 15:00, 23:00." in page


def test_a_file_is_shown_as_its_folder_is(folder):
    of_folder = build_report(folder, force=True).read_text(encoding="utf-8")
    of_file = build_report(folder / "leadtime.json").read_text(encoding="utf-8")
    assert of_file == of_folder


def test_too_little_is_said_and_nothing_is_marked(folder):
    content = put_together([point(7200, lead_s, 0.05, ["5 weeks of test windows"]) for lead_s in LEADS_S])
    (folder / "leadtime.json").write_text(json.dumps({"kind": "leadtime", **content}), encoding="utf-8")
    page = build_report(folder).read_text(encoding="utf-8")
    assert "Too little to judge: 5 weeks" in page and 'class="model"' not in page and "significantly" not in page


def test_without_neighborhoods_there_is_skill_alone(folder):
    points = [{key: value for key, value in point(7200, s, 0.0).items() if key != "places"} for s in LEADS_S]
    (folder / "leadtime.json").write_text(json.dumps({"kind": "leadtime", **put_together(points)}), encoding="utf-8")
    page = build_report(folder).read_text(encoding="utf-8")
    assert page.count("<svg") == 1 and "Hit rate" not in page and "No foresight shown at any lead" in page


def test_half_a_result_is_one_line(folder):
    content = json.loads((folder / "leadtime.json").read_text(encoding="utf-8"))
    del content["points"][0]["forecasts"]["counts"]["auc"]
    (folder / "leadtime.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"leadtime\.json: is not a whole result of leadtime \(KeyError: 'auc'\)"):
        build_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(browser, folder, width):
    page = build_report(folder)
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub("<details", "<details open", text), encoding="utf-8")
    browser.open(page, width)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(WIDEST) <= width
    assert browser.value(CUT_OFF) == 0 and complaints(browser) == []
