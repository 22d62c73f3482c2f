"""The page of a results file says what its JSON says, in its tables and in its figures."""

from __future__ import annotations

import re

from hews_gpu.report.formatting import percent, signed
from hews_gpu.report.result import read_folder, read_object
from hews_gpu.report.sections.scores import skill, tiles
from hews_gpu.report.significance import label
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
                indices = f"PAI {spot['pai']:.2f}, PEI {spot['pei']:.3f}, PEI. {spot['pei_star']:.3f}"
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
    result = read_folder(run, read_object(run / "metrics.json", ""))
    _, rows = next(block.content for block in skill(result).content if block.name == "parts")
    part = result.metrics["parts"]["train"]
    assert rows[0].name == "train" and rows[0].cells[-2:] == [f"{part['auc']:.3f}", f"{part['log_loss_bits']:.4f}"]


def rows_of(result, name):
    _, rows = next(block.content for block in skill(result).content if block.name == name)
    return {row.name: row.cells for row in rows}


def test_every_count_and_score_stands_under_its_own_heading(run):
    """Numbers of one kind are easily exchanged: what the tables and tiles say, cell by cell."""
    result = read_folder(run, read_object(run / "metrics.json", ""))
    metrics = result.metrics
    shown = {name: (said, note) for name, said, note in tiles(result)}
    assert shown["Test windows"][0] == f"{metrics['windows']:,}"
    assert shown["With a target"] == (f"{metrics['positives']:,}", f"base rate {percent(metrics['base_rate'])}")
    scores = result.forecasts["hewsnet"]
    over = {name: scores["against"][name] for name in ("climatology", "level")}
    for name, title in (("climatology", "Skill over the calendar"), ("level", "Skill over the recent level")):
        assert shown[title][0] == signed(over[name]["log_skill_bits"]["value"])
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
