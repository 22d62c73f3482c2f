"""The table at the top: yes only where a model beats both references, corrected; no; too little; and what is missing.

A dispatcher's page, from files alone. ::

    windows | in the city            | in which neighborhood
    next 2 h| HewsNet against level  | the same, against an old map, too
"""

import json
import re
import shutil

import pytest

from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report
from hews_gpu.report.result import Result
from hews_gpu.report.sections.foresight import foresight, over_leads

YES, WEAK, NO = ({"value": value, "interval": [value - 0.01, value + 0.01]} for value in (0.02, 0.011, 0.001))
P = {id(YES): 1e-6, id(WEAK): 0.03, id(NO): 0.9}


def gain(kind, corrected=True):
    bits = {**kind, "p": P[id(kind)]}
    return {"log_skill_bits": bits | ({"p_corrected": bits["p"]} if corrected else {})}


def against(first, level, other="climatology", **more):
    return {"against": {other: gain(first, **more), "level": gain(level, **more)}}


def result(city=(NO, NO), places=None, too_little=0, leadtime=None):
    part = {"begin": "2014-01-01", "end": "2016-01-01"}
    metrics = {
        "windows": 20 if too_little else 9000,
        "positives": 2 if too_little else 900,
        "protocol": {"lead_s": 1800, "horizon_s": 7200, "stride_s": 7200, "folds": [{"train": part, "test": part}]},
        "forecasts": {"climatology": {"against": {}}, "level": {"against": {}}, "hewsnet": against(*city)},
    }
    if places:
        metrics["places"] = {"forecasts": {"near_repeat": against(YES, YES), "hewsnet": against(*places, "long_run")}}
    return Result(title="Toy", metrics=metrics, leadtime=leadtime or {})


def cells(block):
    return [(row.name, row.note, *row.cells) for row in block.content[1]]


def test_a_gain_over_both_is_foresight_and_over_one_is_not():
    name, note, city, places = cells(foresight(result((YES, YES), (YES, NO))))[0]
    assert (name, note) == ("The next 2 hours", "30 minutes ahead")
    assert city == ("Yes", "HewsNet: +0.0200 bits per window")
    assert places == ("No", "nothing beyond clock and level")
    for gains in ((NO, YES), (YES, NO), (NO, NO)):
        assert cells(foresight(result(gains, gains)))[0][2:] == (places, places)


def test_what_nobody_measured_is_said_and_baselines_are_no_models():
    block = foresight(result((YES, YES)))
    assert cells(block)[0][3] == ("Not measured", "no model tried says where")
    assert cells(block)[1][2] == ("Not measured", "'hews leadtime' with --out RUN/leadtime measures it")
    older = result((YES, YES), (YES, YES))
    del older.forecasts["hewsnet"]["against"]["level"]
    del older.metrics["places"]["forecasts"]["hewsnet"]
    assert cells(foresight(older))[0][2:] == (
        ("Not measured", "not held against the recent level"),
        ("Not measured", "no model tried says where"),
    )


def test_too_little_to_judge_goes_before_any_gain():
    for answer, why in cells(foresight(result((YES, YES), (YES, YES), too_little=1)))[0][2:]:
        assert answer == "Too little to judge" and "at least 30 are needed" in why


def point(horizon_s, lead_s, city, places, too_little=()):
    holds = {"level": {"against": {}}, "counts": against(*city, corrected=False)}
    where = {"level": {"against": {}}, "counts": against(*places, "long_run", corrected=False)}
    return {
        **{"horizon_s": horizon_s, "lead_s": lead_s, "too_little": list(too_little)},
        **{"forecasts": holds, "places": {"forecasts": where}},
    }


def test_the_longest_lead_counts_and_p_is_corrected_for_all_of_them():
    points = [point(7200, lead_s, (YES, YES), (WEAK, WEAK)) for lead_s in (1800, 21_600)]
    points += [point(7200, 604_800, (YES, NO), (NO, NO)), point(86_400, 0, (NO, NO), (NO, NO), ["9 weeks"])]
    two_hours, day = cells(over_leads(points))
    assert two_hours[:2] == ("Any 2 hours", "30 minutes to 7 days ahead")
    assert two_hours[2] == ("Yes, up to 6 hours ahead", "counts: +0.0200 bits per window")
    assert two_hours[3][0] == "No"  # each p is .03, but of four comparisons
    assert day == ("Any day", "as they begin", *[("Too little to judge", "9 weeks")] * 2)
    one = cells(over_leads([point(7200, 1800, (NO, NO), (WEAK, WEAK))]))[0]
    assert one[2][0] == "No" and one[3][0] == "Yes, up to 30 minutes ahead"


def test_the_page_of_a_run_begins_with_it_and_takes_leads_of_the_same_data(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    text = build_report(run, force=True).read_text(encoding="utf-8")
    brief = re.sub(
        "<[^>]+>", " ", text[text.index("Can homicide and shooting be foreseen") : text.index("Test windows")]
    )
    assert "Will there be one in the city?" in brief and "RUN/leadtime" in brief
    points = [point(28_800, 3600, (YES, YES), (YES, YES))]
    fingerprint = json.loads((run / "hews.json").read_text())["data_fingerprint"]
    (run / "leadtime").mkdir()
    file = run / "leadtime" / "leadtime.json"
    file.write_text(json.dumps({"fingerprint": fingerprint, "points": points}), encoding="utf-8")
    text = build_report(run, force=True).read_text(encoding="utf-8")
    assert "Any 8 hours" in text and "Yes, up to 1 hour ahead" in text and "RUN/leadtime" not in text
    for content, why in (
        ({"fingerprint": "another", "points": points}, "is of other data than the run"),
        ({"fingerprint": fingerprint, "points": [{"horizon_s": 1}]}, "lead_s: is missing"),
    ):
        file.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(UserError, match=why):
            build_report(run, force=True)
