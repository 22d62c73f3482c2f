"""The verification page: what it says first, that no number stands alone, and how it looks in a real browser."""

from __future__ import annotations

import re

import pytest

from hews_gpu.report.alerts.verification import build_verification_page
from tests.inputs.replay_folder import HOSTILE
from tests.inputs.verification import verification
from tests.report.browser import CUT_OFF, WIDEST, addresses, complaints
from tests.report.pages import text_of


def words_of(content, folder):
    page = build_verification_page(content, folder / "verification.html").read_text(encoding="utf-8")
    return text_of(page[page.index("<body>") :])


def over_level(content, low, high):
    for scored in (content["all"]["as_served"], content["all"]["as_made"]):
        gain = {"value": (low + high) / 2, "interval": [low, high]}
        scored["forecasts"]["p"]["against"]["level"]["log_skill_bits"] = gain
    return content


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.001, 0.009, "What was served knew more than the recent level: +0.0050 bits per window"),
        (-0.001, 0.009, "No foresight shown: what was served is not told from the recent level"),
        (-0.009, -0.001, "What was served knew less than the recent level"),
    ],
)
def test_the_verdict_is_over_the_recent_level(tmp_path, low, high, words):
    assert words in words_of(over_level(verification(), low, high), tmp_path)


def test_of_a_month_with_few_incidents_there_is_no_verdict_whatever_the_interval(tmp_path):
    content = over_level(verification(), 0.001, 0.009)
    content["all"]["events"]["city"] = 1
    content["all"]["as_served"]["windows"] = 4320
    words = "Too little to judge: 1 target incident settled, at least 30 are needed; 4.3 weeks settled, at least 12 are"
    assert words in words_of(content, tmp_path)


def test_what_was_not_issued_is_counted_first(tmp_path):
    page = words_of(verification(), tmp_path)
    counted = "Of 12,100 issue times 11,798 were issued, 242 were refused and 60 were never made."
    assert counted in page and page.index(counted) < page.index("Events caught")
    assert "Reasons: newest row is 3 days old (242)." in page
    page = words_of(verification(outcome="abstained"), tmp_path)
    assert "Nothing was issued" in page and "11,798 were withheld" in page


def test_no_number_of_warnings_stands_alone(tmp_path):
    content = verification()
    counts = content["all"]["warnings"]["city"]
    for k, name in enumerate(("p", "climatology", "level")):
        counts[name]["any"] |= {
            "pod": 0.31 + 0.01 * k,
            "far": 0.61 + 0.01 * k,
            "per_week": 7.1 + k,
            "median_lead_s": 600 * (6 + k),
        }
    page = words_of(content, tmp_path)
    tiles = page[page.index("Events caught") : page.index("Does it know more")]
    for model, climatology, level in (("31 %", "32 %", "33 %"), ("61 %", "62 %", "63 %"), ("7.1", "8.1", "9.1")):
        assert f"{model} climatology {climatology}, recent level {level}" in tiles
    assert "60 min climatology 70 min, recent level 80 min" in tiles


def test_each_warning_and_each_miss_is_a_row(tmp_path):
    page = words_of(verification(), tmp_path)
    for words in (
        "● hit incident at 21:12 72 min",
        "○ false alarm",
        "▽ miss",
        "no warning, refused",
        "watch, withheld",
    ):
        assert words in page, words
    assert len(re.findall("Whole city", page)) == 5


def test_a_month_that_is_not_final_says_so_and_a_rebaseline_its_reason(tmp_path):
    page = words_of(verification(), tmp_path)
    assert page.count("not final") == 1 and "2017-08 not final" in page
    assert "two rows of July were withdrawn" in page and "No number that was published" not in page
    assert "No number that was published" in words_of(verification() | {"rebaselines": []}, tmp_path)


def test_drift_is_told_only_where_it_is_significant(tmp_path):
    content = verification()
    assert "have drifted" not in words_of(content, tmp_path)
    content["all"]["drift"]["difference"]["interval"] = [0.001, 0.017]
    assert "have drifted: 14.2 % was forecast on average, 15.1 % came" in words_of(content, tmp_path)


def test_a_young_record_has_a_page(tmp_path):
    """Nothing settled, no neighborhoods, no deliveries, one month: what is not there is left out."""
    content = verification(where=False)
    for period in (content["all"], *content["periods"]):
        period |= {"as_made": None, "as_served": None, "drift": None}
        for tiers in period["warnings"]["city"].values():
            tiers["matrix"] = None
            for tier in ("watch", "warning", "any"):
                tiers[tier] |= dict.fromkeys(
                    ("pod", "pod_interval", "far", "far_interval", "median_lead_s", "per_week")
                )
    page = words_of(content | {"delay": None, "warnings": [], "periods": content["periods"][:1]}, tmp_path)
    assert (
        "Too little to judge: 0.0 weeks settled, at least 12 are needed." in page
        and "Month by month" in page
        and "Risk matrix" in page
    )
    assert "Do probabilities come true" not in page and "How late rows come" not in page


def test_rows_still_to_come_are_told_by_day(tmp_path):
    assert "2017-09-02 60 125 118 to 131" in words_of(verification(), tmp_path)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (768, "light"), (1280, "light"), (1280, "dark")])
def test_the_page_fits_asks_for_nothing_and_complains_of_nothing(browser, tmp_path, width, scheme):
    page = build_verification_page(verification(names=HOSTILE), tmp_path / "verification.html")
    browser.open(page, width, scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(WIDEST) <= width and browser.value(CUT_OFF) == 0
    assert browser.value("document.querySelectorAll('figure svg').length") == 9
    assert browser.value("document.querySelectorAll('script, img').length") == 0
    assert browser.value("document.body.innerText.includes(\"<script>document.title='taken'</script>\")")
    assert complaints(browser) == [] and [address.split(":")[0] for address in addresses(browser)] == ["file"]
