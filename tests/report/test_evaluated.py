"""The page of a rolling evaluation says what its JSON says, and refuses a JSON that is none."""

import copy
import json
import re
from pathlib import Path

import pytest

from hews_gpu.cli.commands import main
from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report
from hews_gpu.report.results_file import read_results
from hews_gpu.report.words import percent, signed

COMMITTED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("forecasts-20*.json"))[-1]
METHODS = ("climatology", "boosting", "oracle")


@pytest.fixture(scope="session")
def committed():
    """The newest committed results, cut down to a real table and a generated city with two methods each."""
    whole = json.loads(COMMITTED.read_text(encoding="utf-8"))
    sources = {"baltimore": whole["baltimore"], "null": whole["presets"]["null"]}
    for found in sources.values():
        points = [point for axis in found.get("curves", {}).values() for point in axis]
        for holder in (found, *points):
            holder["forecasts"] = {name: one for name, one in holder["forecasts"].items() if name in METHODS}
    return {"date": whole["date"], "baltimore": sources["baltimore"], "presets": {"null": sources["null"]}}


@pytest.fixture
def results(committed):
    return copy.deepcopy(committed)


def save(results, folder, name="results.json"):
    file = folder / name
    file.write_text(json.dumps(results), encoding="utf-8")
    return file


def page_of(results, folder):
    page = build_report(save(results, folder), force=True).read_text(encoding="utf-8")
    return page[page.index("<body>") :]


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ")


def alone(found, **gains):
    """One source whose boosting gains `value`, with both intervals 0.001 to each side, and nothing beside."""
    found = {key: value for key, value in found.items() if key not in ("curves", "places")}
    bits = found["forecasts"]["boosting"]["against"]["climatology"]["log_skill_bits"]
    value = gains["value"]
    ends = [value - 0.001, value + 0.001]
    bits.update({"value": value, "one_week": ends, "four_weeks": ends} | gains)
    return found


def test_the_committed_file_is_accepted_whole_real_tables_first():
    _, sources = read_results(COMMITTED)
    assert list(sources) == ["baltimore", "null", "strong", "spatial", "pairs", "realistic"]


def test_the_page_and_the_json_agree(results, tmp_path):
    page = page_of(results, tmp_path)
    parts = [text_of(part) for part in re.findall(r'<section id="s\d">.*?</section>', page, flags=re.DOTALL)]
    assert len(parts) == 2 and results["date"][:10] in text_of(page)
    for part, found in zip(parts, (results["baltimore"], results["presets"]["null"]), strict=True):
        scores = found["forecasts"]["boosting"]
        bits, slope = scores["against"]["climatology"]["log_skill_bits"], scores["calibration"]
        row = re.search(r"gradient boosting on past counts.*?" + f"{scores['log_loss_bits']:.4f}", part)[0]
        for said in (
            f"{signed(bits['value'])} {' to '.join(map(signed, bits['one_week']))}",
            f"{scores['auc']:.3f} {scores['auc_interval'][0]:.3f} to {scores['auc_interval'][1]:.3f}",
            f"{scores['auc_within_hours']:.3f}",
            f"{slope['slope']:.2f} {slope['slope_interval'][0]:.2f} to {slope['slope_interval'][1]:.2f}",
        ):
            assert said in row
        for alarms in scores["warnings"]:
            said = f"{percent(alarms['precision'], 0)} right {percent(alarms['recall'], 0)} caught".replace(
                "\u00a0", " "
            )
            assert f"{said} {alarms['warnings_per_week']:.1f} given" in part
        for place in found["places"]["forecasts"].values():
            for spot in place["hot_spots"]:
                rate = percent(spot["hit_rate"]).replace("\u00a0", " ")
                assert re.search(rf"{rate} .{{5,24}}{spot['pai']:.2f} {spot['pei']:.3f} {spot['pei_star']:.3f}", part)
        assert f"{found['windows']:,} windows, {found['positives']:,} with a target" in part
    closure = results["presets"]["null"]["forecasts"]["boosting"]["oracle_gap_closure"]
    assert f"{signed(closure['value'], 2)} {' to '.join(signed(end, 2) for end in closure['one_week'])}" in parts[1]
    assert "Oracle gap" not in parts[0]


def test_every_figure_tells_its_numbers(results, tmp_path):
    page = page_of(results, tmp_path)
    found = results["baltimore"]
    told = {key: re.search(rf'<title id="s0-{key}-alt">([^<]*)', page)[1] for key in KEYS}
    scores = found["forecasts"]["boosting"]
    assert f"boosting {scores['against']['climatology']['log_skill_bits']['value']:+.4f}" in told["skill"]
    lowest = scores["calibration"]["reliability"][0]
    assert f"boosting {lowest['p_mean']:.0%} was {lowest['y_rate']:.0%}" in told["trust"]
    assert f"boosting {scores['warnings'][1]['precision']:.0%} of" in told["alarms"]
    assert f"boosting {max(one['value'] for one in scores['value']):.2f}" in told["value"]
    for axis, where in (("lead_s", {0: "none", 7200: "2 hours", 86400: "1 day"}), ("delay_s", {3600: "1 hour"})):
        for point in found["curves"][axis]:
            if point[axis] in where:
                bits = point["forecasts"]["boosting"]["log_skill_bits"]
                assert f"{where[point[axis]]}: boosting {bits:+.4f}" in told[axis]
    curves = [len(one.get("curves", {})) for one in (found, results["presets"]["null"])]
    assert page.count("<svg ") == 2 * (len(KEYS) - 2) + sum(curves)


KEYS = ("skill", "trust", "alarms", "value", "lead_s", "delay_s")


def test_late_reports_and_near_pairs_are_told(results, tmp_path):
    found = alone(results["baltimore"], value=0.02)
    point = {"log_skill_bits": 0.0123, "log_skill_bits_interval": [0.01, 0.02]}
    quantiles = {"0.5": 1200.0, "0.9": 60_000.0, "0.99": 172_800.0}
    found["as_reported"] = {"delay_s_quantiles": quantiles, "forecasts": {"boosting": point}}
    found["places"] = results["baltimore"]["places"]
    band = {"from_s": 3600, "to_s": 86_400, "within_m": 200.0, "pairs": 31, "expected": 22.5, "p": 0.047}
    found["places"]["near_pairs"] = [band]
    text = text_of(page_of(found, tmp_path))
    assert "half within 0.3 h and 99 % within 48.0 h, boosting has +0.0123 bits (+0.0100 to +0.0200)." in text
    assert "within 200 m of each other: 31 pairs 1 to 24 h apart, 22.5 by chance (p = 0.047)." in text
    del band["expected"]
    with pytest.raises(UserError, match=r"near_pairs\.0 lacks expected"):
        page_of(found, tmp_path)


def test_a_planted_change_is_seen(results, tmp_path):
    scores = results["baltimore"]["forecasts"]["boosting"]
    scores["auc"], scores["against"]["climatology"]["log_skill_bits"]["value"] = 0.7654, 0.4321
    text = text_of(page_of(results, tmp_path))
    assert "0.765" in text and "+0.4321" in text


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({"value": 0.02}, "Gradient boosting beats the climatology by +0.0200 bits per window"),
        ({"value": 0.0005}, "No significant skill: nothing beats the climatology. Gradient boosting comes nearest"),
        ({"value": 0.02, "four_weeks": [-0.001, 0.03]}, "No significant skill: nothing beats the climatology."),
        ({"value": -0.02}, "Gradient boosting is significantly worse than the climatology."),
    ],
)
def test_the_verdict_comes_first_and_follows_both_intervals(results, tmp_path, gains, verdict):
    text = text_of(page_of(alone(results["presets"]["null"], **gains), tmp_path))
    assert verdict in text
    assert text.index("climatology") < text.index("Log skill, bits")
    assert ("That is a result" in text) == ("beats the climatology by" not in text)


def test_the_protocol_is_told_and_so_is_an_opened_block(results, tmp_path):
    found = alone(results["baltimore"], value=0.02)
    folds = found["protocol"]["folds"]
    text = text_of(page_of(found, tmp_path))
    assert f"Rolling origin: {len(folds)} test blocks" in text
    assert f"purge gap of {found['protocol']['gap_s'] / 3600:g} hours" in text
    assert "calibration and alarm thresholds" in text and "was not opened" in text
    found["locked_block_opened"] = True
    text = text_of(page_of(found, tmp_path))
    assert "was opened" in text and "was not opened" not in text


def test_what_evaluate_prints_of_one_preset_is_shown_without_curves_and_places(results, tmp_path):
    printed = {
        "log_skill_bits": 0.0,
        "verdict": "…",
        "model": "boosting",
        **alone(results["presets"]["null"], value=0.0),
    }
    page = page_of(printed, tmp_path)
    assert "<h2>null</h2>" in page and page.count("<svg ") == 4
    assert "The further ahead" not in page and "PAI</th>" not in page


def test_names_are_escaped_and_nothing_is_loaded(results, tmp_path):
    found = alone(results["baltimore"], value=0.02) | {"city": "A <b>city</b>"}
    page = page_of(found, tmp_path)
    assert "<b>city" not in page and "A &lt;b&gt;city" in page
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:|#)', page)


def drop(path):
    def change(found):
        *way, last = path
        for key in way:
            found = found[key]
        del found[last]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.clear(), "lacks forecasts and presets"),
        (drop(["forecasts", "boosting", "auc"]), r"forecasts\.boosting lacks auc"),
        (drop(["forecasts", "climatology"]), "forecasts lacks climatology"),
        (drop(["forecasts", "boosting"]), "nothing to compare"),
        (drop(["protocol", "gap_s"]), r"protocol lacks gap_s"),
        (drop(["forecasts", "boosting", "against", "climatology", "log_skill_bits"]), "lacks log_skill_bits"),
        (lambda found: found["forecasts"]["boosting"].update(auc="high"), "auc is not a number"),
        (lambda found: found["forecasts"]["boosting"].update(auc=float("nan")), "NaN is no number"),
        (lambda found: found["forecasts"]["boosting"].update(auc_interval=[1.0]), "auc_interval is not an interval"),
        (lambda found: found["protocol"]["folds"][0]["test"].update(begin="soon"), "a date that is none"),
        (drop(["curves", "lead_s", 0, "forecasts", "boosting"]), r"curves\.lead_s\.0\.forecasts lacks boosting"),
        (drop(["places", "forecasts", "long_run", "hot_spots", 0, "pai"]), "lacks pai"),
    ],
)
def test_a_file_that_lacks_something_is_refused_and_nothing_is_written(results, tmp_path, change, said):
    found = results["baltimore"]
    change(found)
    with pytest.raises(UserError, match=said) as caught:
        build_report(save(found, tmp_path))
    assert "\n" not in str(caught.value) and "hews evaluate --preset" in str(caught.value)
    assert not (tmp_path / "results.html").exists()


def test_the_command_takes_a_file_and_ends_with_one_line_and_2_where_it_is_none(results, tmp_path, capsys, monkeypatch):
    file = save(alone(results["presets"]["null"], value=0.0), tmp_path)
    other = tmp_path / "other.json"
    other.write_text("[1, 2]", encoding="utf-8")
    cases = {
        (str(other),): "not an object",
        (str(tmp_path / "none.json"),): "cannot be read",
        (str(file), "--data", str(tmp_path)): "does not go with a results file",
    }
    for words, said in cases.items():
        monkeypatch.setattr("sys.argv", ["hews", "report", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        lines = capsys.readouterr().err.strip().splitlines()
        assert ended.value.code == 2 and len(lines) == 1 and said in lines[0]
    out = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["hews", "report", str(file), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and out.is_file() and not (tmp_path / "results.html").exists()
