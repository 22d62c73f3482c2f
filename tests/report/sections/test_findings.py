"""The pages of the leak ablation and of the curve over years show their files' numbers, and refuse half a file."""

import json
import re

import pytest

from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report


def step(title, leak, auc, accuracy):
    scored = {"auc": auc, "accuracy": accuracy}
    return {
        **{key: {"value": v, "interval": [v - 0.02, v + 0.02], "by_seed": [v]} for key, v in scored.items()},
        "step": title,
        "title": title,
        "leak": leak,
        "commoner_class": 0.841,
        "climatology": {"auc": 0.663, "accuracy": 0.6},
        "windows": {"train": 5000, "validation": 500, "test": 812},
        "positives": {"train": 2500, "validation": 250, "test": 406},
    }


STEPS = [step("all of <them>", None, 0.951, 0.882), step("past only", "the map shows its own window", 0.601, 0.84)]
ABLATION = {
    "benchmark": "leak_ablation",
    "date": "2026-01-02T00:00:00+00:00",
    "command": "leak_ablation.py",
    "city": "Baltimore",
    "begin": "2012-01-01",
    "end": "2017-09-01",
    "model": "reference_small",
    "parameters": 18385,
    "map": [48, 40],
    "seeds": 2,
    "steps": STEPS,
}


def closure(value):
    return {"value": value, "interval": [value - 0.05, value + 0.05]}


def point(years, ours, other):
    ahead = {"value": 0.0123, "interval": [0.01, 0.02]}
    return {
        "years": years,
        "training_windows": years * 4380,
        "oracle_gap_closure": {"hewsnet": closure(ours), "boosting": closure(other)},
        "hewsnet_ahead_of_boosting_bits": ahead,
    }


YEARS = {
    "benchmark": "years",
    "seed": 1,
    "test_years": 4,
    "presets": {"pairs": [point(1, 0.71, 0.02), point(36, 0.98, 0.31)]},
}


def page_of(content, folder):
    (folder / "result.json").write_text(json.dumps(content))
    return build_report(folder / "result.json").read_text(encoding="utf-8")


def test_the_ablation_says_what_is_left(tmp_path):
    page = page_of(ABLATION, tmp_path)
    assert "the AUC is 0.951; with every leak gone it is 0.601" in page and "reach 0.663" in page
    assert "A small CNN on small maps was used" in page and "no more than the clock knows" in page
    assert "all of &lt;them&gt;" in page and "<them>" not in page
    assert "<script" not in page and "812" in page and "0.581 to 0.621" in page


def test_results_of_before_call_the_steps_rooms(tmp_path):
    older = {**ABLATION, "benchmark": "museum", "rooms": ABLATION["steps"]}
    del older["steps"]
    assert "the AUC is 0.951; with every leak gone it is 0.601" in page_of(older, tmp_path)


def test_another_recipe_is_not_called_small(tmp_path):
    other = {**ABLATION, "benchmark": "leak_ablation_reference2", "model": "reference2"}
    assert "A small CNN" not in page_of(other, tmp_path)


def test_the_years_are_a_curve_and_tables(tmp_path):
    page = page_of(YEARS, tmp_path)
    assert "From 36 years HewsNet closes" in page and "+0.98" in page and "+0.31" in page
    assert len(re.findall("<svg", page)) == 1 and "157,680 windows" in page


@pytest.mark.parametrize("lost", ["steps", "map", "city"])
def test_half_a_file_is_refused(tmp_path, lost):
    (tmp_path / "half.json").write_text(json.dumps({key: value for key, value in ABLATION.items() if key != lost}))
    with pytest.raises(UserError, match="is not a whole result of leak_ablation"):
        build_report(tmp_path / "half.json")
    assert not (tmp_path / "half.html").exists()
