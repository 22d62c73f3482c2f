"""Half a result is refused in one line that names what is missing; what a benchmark wrote is accepted whole."""

from __future__ import annotations

import pytest

from hews_gpu.__main__ import main
from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report
from hews_gpu.report.results_file import read_results, read_results_file
from tests.report.pages import COMMITTED, alone, save


def test_the_committed_file_is_accepted_whole_real_tables_first():
    sources = read_results(read_results_file(COMMITTED), COMMITTED)
    assert list(sources) == ["baltimore", "null", "strong", "spatial", "pairs", "realistic"]


@pytest.mark.parametrize("name", ["forecasts-2026-11-23", "forecasts-locked-2026-11-28", "hewsnet-2026-11-28"])
def test_older_files_stay_readable(name):
    file = COMMITTED.with_name(f"{name}.json")
    sources = read_results(read_results_file(file), file)
    assert all(one["places"]["neighborhoods"] == 55 for one in sources.values() if "places" in one)


def drop(path):
    def change(source):
        *way, last = path
        for key in way:
            source = source[key]
        del source[last]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: source.clear(), "lacks forecasts and presets"),
        (drop(["forecasts", "boosting", "auc"]), r"forecasts\.boosting\.auc: is missing"),
        (drop(["forecasts", "climatology"]), r"forecasts\.climatology: is missing"),
        (lambda source: [source["forecasts"].pop(name) for name in ("boosting", "level")], "nothing to compare"),
        (drop(["protocol", "gap_s"]), r"protocol\.gap_s: is missing"),
        (drop(["forecasts", "boosting", "against", "climatology"]), r"against\.climatology: is missing"),
        (drop(["forecasts", "boosting", "against", "climatology", "log_skill_bits"]), r"log_skill_bits: is missing"),
        (lambda source: source["forecasts"]["boosting"].update(auc="high"), "auc = 'high': must be a number"),
        (lambda source: source["forecasts"]["boosting"].update(auc=True), "auc = True: must be a number"),
        (lambda source: source["forecasts"]["boosting"].update(auc=float("nan")), "auc = nan: must be a finite number"),
        (
            lambda source: source["forecasts"]["boosting"].update(auc_interval=[1.0]),
            r"auc_interval = \[1\.0\]: must hold 2 values",
        ),
        (
            lambda source: source["forecasts"]["boosting"]["calibration"].update(slope="steep"),
            "slope = 'steep': must be a number",
        ),
        (lambda source: source["protocol"].update(folds=[]), "folds: is empty"),
        (lambda source: source["protocol"]["folds"][0]["test"].update(begin="soon"), "begin = 'soon': must be a date"),
        (drop(["curves", "lead_s", 0, "forecasts", "boosting"]), r"curves\.lead_s\.0\.forecasts\.boosting: is missing"),
        (drop(["places", "forecasts", "long_run", "hot_spots", 0, "pai"]), "pai: is missing"),
        (drop(["places", "near_pairs", 0, "expected"]), r"near_pairs\.0\.expected: is missing"),
    ],
)
def test_a_file_that_lacks_something_is_refused_and_nothing_is_written(results, tmp_path, change, message):
    source = results["baltimore"]
    change(source)
    with pytest.raises(UserError, match=message) as caught:
        build_report(save(source, tmp_path))
    assert "\n" not in str(caught.value) and "hews backtest --preset" in str(caught.value)
    assert not (tmp_path / "results.html").exists()


def test_the_command_takes_a_file_and_ends_with_one_line_and_2_where_it_is_none(results, tmp_path, capsys, monkeypatch):
    file = save(alone(results["presets"]["null"], value=0.0), tmp_path)
    other = tmp_path / "other.json"
    other.write_text("[1, 2]", encoding="utf-8")
    cases = {
        (str(other),): "must be an object",
        (str(tmp_path / "none.json"),): "does not exist",
        (str(file), "--data", str(tmp_path)): "does not go with a results file",
    }
    for words, message in cases.items():
        monkeypatch.setattr("sys.argv", ["hews", "report", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        lines = capsys.readouterr().err.strip().splitlines()
        assert ended.value.code == 2 and len(lines) == 1 and message in lines[0]
    out = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["hews", "report", str(file), "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and out.is_file() and not (tmp_path / "results.html").exists()
