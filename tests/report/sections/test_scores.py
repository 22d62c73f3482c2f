"""The page of a results file says what its JSON says, in its tables and in its figures."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hews_gpu.evaluation.judge import sign
from hews_gpu.own_files import read_json
from hews_gpu.report.figures import scores as figures
from hews_gpu.report.formatting import percent, plain, range_of, signed
from hews_gpu.report.result import read_folder
from hews_gpu.report.sections import scores as sections
from hews_gpu.report.sections.scores import skill, tiles
from hews_gpu.report.significance import label, title
from tests.report.pages import alone, page_of, text_of


def parts_of(page):
    return [text_of(part) for part in re.findall(r'<article id="s\d">.*?</article>', page, flags=re.DOTALL)]


def test_the_page_and_the_json_agree(results, tmp_path):
    page = page_of(results, tmp_path)
    parts = parts_of(page)
    assert len(parts) == 2 and results["date"][:10] in text_of(page)
    for part, source in zip(parts, (results["baltimore"], results["presets"]["null"]), strict=True):
        scores = source["forecasts"]["boosting"]
        over, slope = scores["against"], scores["calibration"]
        row = re.search(r"gradient boosting on past counts.*?" + f"{scores['log_loss_bits']:.4f}", part)[0]
        for stated in (
            *(
                f"{signed(over[name]['log_skill_bits']['value'])} "
                f"{' to '.join(map(signed, over[name]['log_skill_bits']['interval']))}"
                for name in ("climatology", "level")
            ),
            f"{scores['auc']:.3f} {scores['auc_interval'][0]:.3f} to {scores['auc_interval'][1]:.3f}",
            f"{scores['auc_within_hours']:.3f}",
            f"{slope['slope']:.2f} {slope['slope_interval'][0]:.2f} to {slope['slope_interval'][1]:.2f}",
        ):
            assert stated in row
        for warned in scores["warnings"]:
            stated = f"{percent(warned['precision'], 0)} right {percent(warned['recall'], 0)} caught"
            assert f"{stated} {warned['warnings_per_week']:.1f} given".replace("\u00a0", " ") in part
        for place in source["places"]["forecasts"].values():
            for spot in place["hot_spots"]:
                rate = percent(spot["hit_rate"]).replace("\u00a0", " ")
                indices = f"PAI {spot['pai']:.2f}, PEI {spot['pei']:.3f}.{{1,2}}PEI. {spot['pei_star']:.3f}"
                assert re.search(rf"{rate} .{{5,24}}{indices}", part)
        assert f"{source['windows']:,} windows, {source['positives']:,} with a target" in part
    closure = results["presets"]["null"]["forecasts"]["boosting"]["oracle_gap_closure"]
    assert f"{signed(closure['value'], 2)} {' to '.join(signed(end, 2) for end in closure['interval'])}" in parts[1]
    assert "Oracle gap" not in parts[0]


def test_every_figure_tells_its_numbers(results, tmp_path):
    page = page_of(results, tmp_path)
    source = results["baltimore"]
    first = page[page.index('id="s0"') : page.index('id="s1"')]
    told = re.findall(r"<title[^>]*>([^<]*)", first)
    scores = source["forecasts"]["boosting"]
    for other, name in (("climatology", "climatology"), ("level", "recent level")):
        bits = scores["against"][other]["log_skill_bits"]["value"]
        assert any(one.startswith(f"Log skill over the {name}.") and f"boosting {bits:+.4f}" in one for one in told)
    lowest = scores["calibration"]["reliability"][0]
    every = " ".join(told)
    assert f"boosting {lowest['p_mean']:.0%} was {lowest['y_rate']:.0%}" in every
    assert f"boosting {scores['warnings'][1]['precision']:.0%} of" in every
    assert f"boosting {max(one['value'] for one in scores['value']):.2f}" in every
    for axis, lengths in (("lead_s", {0: "none", 7200: "2 hours", 86400: "1 day"}), ("delay_s", {3600: "1 hour"})):
        for point in source["curves"][axis]:
            if point[axis] in lengths:
                ours = f"boosting {point['forecasts']['boosting']['log_skill_bits']:+.4f}"
                assert re.search(f"{lengths[point[axis]]}: [^;]*{re.escape(ours)}", every)
    assert len(told) == 7


def test_late_reports_and_near_pairs_are_told(results, tmp_path):
    source = alone(results["baltimore"], value=0.02)
    point = {"log_skill_bits": 0.0123, "log_skill_bits_interval": [0.01, 0.02]}
    quantiles = {"0.5": 1200.0, "0.9": 60_000.0, "0.99": 172_800.0}
    source["as_reported"] = {"delay_s_quantiles": quantiles, "forecasts": {"boosting": point}}
    source["places"] = results["baltimore"]["places"]
    band = {"from_s": 3600, "to_s": 86_400, "within_m": 200.0, "pairs": 31, "expected": 22.5, "p": 0.047}
    source["places"]["near_pairs"] = [band]
    text = text_of(page_of(source, tmp_path))
    assert "half within 0.3 h and 99 % within 48.0 h" in text and "boosting +0.0123 +0.0100 to +0.0200" in text
    assert "within 200 m of each other: 31 pairs 1 to 24 h apart, 22.5 by chance (p = 0.047)." in text


def test_the_model_on_what_it_learned_from_is_told(run):
    result = read_folder(run, read_json(run / "metrics.json"))
    _, rows = next(block.content for block in skill(result).content if block.name == "parts")
    part = result.metrics["parts"]["train"]
    assert rows[0].name == "train" and rows[0].cells[-2:] == [f"{part['auc']:.3f}", f"{part['log_loss_bits']:.4f}"]


def rows_of(result, name):
    _, rows = next(block.content for block in skill(result).content if block.name == name)
    return {row.name: row.cells for row in rows}


def test_every_count_and_score_stands_under_its_own_heading(run):
    """Numbers of one kind are easily exchanged: what the tables and tiles say, cell by cell."""
    result = read_folder(run, read_json(run / "metrics.json"))
    metrics = result.metrics
    shown = {name: (said, note) for name, said, note in tiles(result)}
    assert shown["Test windows"][0] == f"{metrics['windows']:,}"
    assert shown["With a target"] == (f"{metrics['positives']:,}", f"base rate {percent(metrics['base_rate'])}")
    scores = result.forecasts["hewsnet"]
    over = {name: scores["against"][name] for name in ("climatology", "level")}
    for name, tile in (("climatology", "Skill over the calendar"), ("level", "Skill over the recent level")):
        assert shown[tile][0] == signed(over[name]["log_skill_bits"]["value"])
    assert shown["Oracle gap closed"][0] == signed(scores["oracle_gap_closure"]["value"], 2)
    assert shown["AUC"] == (
        f"{scores['auc']:.3f}",
        f"calendar {result.forecasts['climatology']['auc']:.3f}; 0.5 is chance",
    )
    parts = rows_of(result, "parts")
    for name, part in metrics["parts"].items():
        counts = [f"{part['windows']:,}", f"{part['positives']:,}", percent(part["positives"] / part["windows"])]
        assert parts[name] == [*counts, f"{part['auc']:.3f}", f"{part['log_loss_bits']:.4f}"]
    calibration = scores["calibration"]
    assert rows_of(result, "more")[label("hewsnet")] == [
        f"{scores['average_precision']:.3f}",
        f"{scores['brier']:.4f}",
        signed(over["climatology"]["brier_skill"]["value"]),
        f"{calibration['smooth_calibration_error']:.4f}",
        signed(calibration["in_the_large"], 3),
        "1",
    ]


@pytest.fixture
def judged(run):
    """A run's result, to be changed at will: the base rate, the climatology, the recent level, HewsNet, the oracle."""
    return read_folder(run, copy.deepcopy(read_json(run / "metrics.json")))


def changed(result, **metrics):
    return replace(result, metrics={**result.metrics, **metrics})


def names_of(block):
    """Name of each block within one, those side by side in a tuple."""
    return [tuple(names_of(one)) if one.kind == "columns" else one.name or one.kind for one in block.content]


def row_of(result, name, of="skill_oracle"):
    _, rows = next(block.content for block in skill(result).content if block.name == of)
    return next(row for row in rows if row.name == label(name))


@pytest.mark.parametrize("name", ["base_rate", "climatology", "level", "hewsnet", "oracle"])
def test_a_methods_row_has_every_interval_under_its_number(judged, name):
    scores, row = judged.forecasts[name], row_of(judged, name)
    assert (row.note, row.look) == (title(name), "model" if name == "hewsnet" else "")
    for cell, other in zip(row.cells[:2], ("climatology", "level"), strict=True):
        if name == other:
            assert cell == ("0.0000",)
            continue
        bits = scores["against"][other]["log_skill_bits"]
        words = {1: "significantly better", 0: "", -1: "significantly worse"}[sign(bits)] if name != "oracle" else ""
        assert cell == (signed(bits["value"]), range_of(bits["interval"]), words)
    closure, slope = scores["oracle_gap_closure"], scores["calibration"]
    interval = "" if name in ("climatology", "oracle") else range_of(closure["interval"], 2)
    assert row.cells[2] == (signed(closure["value"], 2), interval)
    assert row.cells[3][1] == range_of(scores["auc_interval"], 3, write=plain)
    if name != "base_rate":  # which never varies
        truth = f"{slope['slope_to_truth']:.2f} to the truth"
        assert row.cells[5] == (f"{slope['slope']:.2f}", range_of(slope["slope_interval"], 2, write=plain), truth)


def test_without_an_oracle_nothing_is_said_of_it(judged):
    forecasts = {name: one for name, one in judged.forecasts.items() if name != "oracle"}
    del forecasts["hewsnet"]["calibration"]["slope_to_truth"]
    row = row_of(changed(judged, forecasts=forecasts), "hewsnet", "skill")
    assert len(row.cells) == 6 and row.cells[4][2] == ""
    assert row_of(judged, "climatology").cells[2][0] == "0.00"


def test_nothing_is_called_significant_where_there_is_too_little_to_judge_by(judged):
    gains = {"interval": [0.1, 0.3], "value": 0.2}
    judged.forecasts["hewsnet"]["against"]["climatology"]["log_skill_bits"] = gains
    assert row_of(judged, "hewsnet").cells[0] == ("+0.2000", "+0.1000 to +0.3000", "significantly better")
    assert row_of(changed(judged, positives=3), "hewsnet").cells[0] == ("+0.2000", "+0.1000 to +0.3000", "")
    del judged.forecasts["hewsnet"]["against"]["level"]
    assert row_of(judged, "hewsnet").cells[1] == ("\N{EN DASH}",)


def test_figures_of_skill_show_all_but_what_they_are_over(judged, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "skill", lambda gains, over: drawn.setdefault(over, list(gains)))
    block = skill(judged)
    assert drawn == {"climatology": ["level", "hewsnet", "oracle"], "level": ["hewsnet", "oracle"]}
    assert names_of(block) == ["skill_oracle", ("skill", "skill_level"), "more", "parts"]


def test_each_score_that_a_file_lacks_is_that_of_one_seed_of_the_climatology(judged):
    judged.forecasts["hewsnet"]["seeds"] = 3
    del judged.forecasts["level"]["seeds"]
    assert row_of(judged, "hewsnet", "more").cells[-1] == "3" and row_of(judged, "level", "more").cells[-1] == "1"
    assert row_of(judged, "climatology", "more").cells[2] == "0.0000"


@pytest.mark.parametrize(
    ("ends", "words"),
    [([0.1, 0.3], "better than it."), ([-0.3, -0.1], "worse than it."), ([-0.1, 0.3], "not told apart from it.")],
)
def test_hewsnet_and_boosting_are_compared_in_a_sentence(judged, ends, words):
    bits = {"value": sum(ends) / 2, "interval": ends}
    judged.forecasts["hewsnet"]["against"]["boosting"] = {"log_skill_bits": bits}
    sentence = skill(judged).values["duel"].replace("\u00a0", " ")
    assert sentence == (
        "HewsNet against gradient boosting, window by window: "
        f"{signed(bits['value'])} bits (95 % interval {range_of(ends)}), {words}"
    )
    assert skill(changed(judged, positives=3)).values["duel"] == ""
    without = {name: one for name, one in judged.forecasts.items() if name != "hewsnet"}
    assert skill(changed(judged, forecasts=without, model="level")).values["duel"] == ""
    del judged.forecasts["hewsnet"]["against"]["boosting"]
    assert skill(judged).values["duel"] == ""


@pytest.mark.parametrize("positives", [None, 0, 1, "all"])
def test_precision_and_recall_are_drawn_where_there_are_windows_of_both_kinds(judged, positives):
    test = judged.test.copy()
    if positives is not None:
        test["y"] = np.arange(len(test)) < (len(test) if positives == "all" else positives)
    block = sections.reliability(replace(judged, test=test))
    drawn = ("reliability", "precision_recall") if positives in (None, 1) else ("reliability",)
    assert block.name == "trust" and names_of(block) == ["legend", drawn]
    assert block.content[1].content[0].values == {
        "banded": "climatology and of HewsNet",
        "below": " Below: how often each probability was issued.",
    }


def test_without_forecasts_reliability_has_no_histogram(judged):
    block = sections.reliability(replace(judged, test=None))
    assert names_of(block) == ["legend", ("reliability",)] and block.content[1].content[0].values["below"] == ""


def test_warnings_are_told_by_their_budgets(judged):
    block = sections.warnings_and_value(judged)
    assert block.name == "warnings" and names_of(block) == ["legend", ("warnings", "value"), "warnings"]
    heads, rows = block.content[2].content
    assert heads == ["Forecast", "At 3 a week", "At 7 a week", "At 14 a week"]
    assert [row.name for row in rows] == ["climatology", "recent level", "HewsNet"]
    assert block.content[1].content[0].values["budgets"] == "3, 7, 14"
    for one in judged.forecasts.values():
        one["warnings"], one["value"] = [], []
    assert sections.warnings_and_value(judged) is None


def test_late_reports_mark_the_model_and_need_no_curves(judged):
    point = {"log_skill_bits": 0.01, "log_skill_bits_interval": [0.005, 0.02]}
    late = {"delay_s_quantiles": {"0.5": 3600.0, "0.99": 7200.0}, "forecasts": {"climatology": point, "hewsnet": point}}
    block = sections.curves(changed(judged, as_reported=late))
    assert block.name == "curves" and names_of(block) == ["as_reported"]
    rows = block.content[0].content[1]
    assert [(row.name, row.look) for row in rows] == [("climatology", ""), ("HewsNet", "model")]
    assert [row.cells for row in rows] == [[("+0.0100", "")], [("+0.0100", "+0.0050 to +0.0200")]]
    assert sections.curves(judged) is None


def test_a_curve_may_have_one_point(judged, monkeypatch):
    monkeypatch.setattr(figures, "curve", lambda axis, points, names: f"{axis} {names}")
    point = {"lead_s": 0, "forecasts": {name: {} for name in ("climatology", "hewsnet")}}
    block = sections.curves(changed(judged, curves={"lead_s": [point]}))
    assert names_of(block) == ["legend", ("lead_s",)]
    assert block.content[1].content[0].content == "lead_s ['hewsnet']"


def test_hours_are_those_at_which_windows_begin_to_the_minute(judged, monkeypatch):
    """Windows begin at half past here; the week is drawn of the main forecasters, the hours of the oracle, too."""
    drawn = {}
    monkeypatch.setattr(figures, "by_hour", lambda *given: drawn.setdefault("by_hour", given))
    monkeypatch.setattr(figures, "week", lambda *given: drawn.setdefault("week", given))
    half = judged.test.assign(window_start=judged.test["window_start"] + pd.Timedelta(minutes=30))
    block = sections.hours_and_week(replace(judged, test=half))
    hour, p, y = drawn["by_hour"]
    assert (
        sorted(set(hour)) == [h + 0.5 for h in range(0, 24, 2)] and hour[0] == half["window_start"].iloc[0].hour + 0.5
    )
    assert set(p) == {"climatology", "hewsnet", "oracle"} and y.sum() == judged.metrics["positives"]
    assert drawn["week"][2] == {"climatology": "p_climatology", "hewsnet": "p"}
    assert block.name == "hours" and names_of(block) == ["legend", ("by_hour", "week")]
    *_, target = block.content[0].key
    assert (target.color, target.label, target.mark) == (
        "target",
        "a target incident followed",
        "\N{BLACK DOWN-POINTING TRIANGLE}",
    )
    without = half.drop(columns="p_climatology")
    drawn.clear()
    sections.hours_and_week(replace(judged, test=without))
    assert set(drawn["by_hour"][1]) == {"hewsnet", "oracle"} and drawn["week"][2] == {"hewsnet": "p"}
    assert sections.hours_and_week(replace(judged, test=None)) is None


def test_a_planted_change_is_seen(results, tmp_path):
    scores = results["baltimore"]["forecasts"]["boosting"]
    scores["auc"], scores["against"]["climatology"]["log_skill_bits"]["value"] = 0.7654, 0.4321
    text = text_of(page_of(results, tmp_path))
    assert "0.765" in text and "+0.4321" in text


def test_what_evaluate_prints_of_one_preset_is_shown_without_curves_and_places(results, tmp_path):
    printed = {"log_skill_bits": 0.0, "verdict": "…", "model": "boosting"}
    page = page_of({**printed, **alone(results["presets"]["null"], value=0.0)}, tmp_path)
    assert "<h1>null</h1>" in page and "<h2>How good is it?</h2>" in page and page.count("<svg ") == 5
    assert "The further ahead" not in page and "PAI " not in page


def test_names_are_escaped_and_nothing_is_loaded(results, tmp_path):
    source = alone(results["baltimore"], value=0.02) | {"city": "A <b>city</b>"}
    page = page_of(source, tmp_path)
    assert "<b>city" not in page and "A &lt;b&gt;city" in page
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:|#)', page)
