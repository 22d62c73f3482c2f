"""The card of a run: its figures are those of the files, its texts are no markup, and what is missing is said."""

import json
import shutil
import subprocess
import sys

import pytest

from hews_gpu.alerts.policy import require_card
from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report
from hews_gpu.report.card import write_card
from hews_gpu.runs.folder import WEIGHTS, model_fingerprint

CONTACT = "Office of <b>Prevention</b> | 555 \x1b[2J\u202e"


@pytest.fixture
def own_run(run, tmp_path):
    """A judged run, with a model that is only looked at as bytes."""
    mine = shutil.copytree(run, tmp_path / "run")
    (mine / WEIGHTS).write_bytes(b"learned")
    return mine


@pytest.fixture
def table(prepared, tmp_path):
    """The prepared folder, with all that a preparation counts."""
    mine = shutil.copytree(prepared, tmp_path / "prepared")
    quality = json.loads((mine / "quality.json").read_text())
    quality |= {"duplicates": 7, "twins": 5, "near_twins": 3, "overlaps": 0, "nearest": 11}
    quality |= {"coverage": {"rows": [["2016-01-01", "2017-12-31"]]}, "targets": {"SHOOTING": {"rows": 1234}}}
    quality["files"] = [{"name": "a|b.csv", "rows": quality["rows_read"], "sha256": "0a1b"}]
    (mine / "quality.json").write_text(json.dumps(quality))
    return mine


def card_of(run, table, **more):
    return write_card(run, contact=CONTACT, data=table, **more).read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_files(own_run, table):
    text = card_of(own_run, table)
    metrics = json.loads((own_run / "metrics.json").read_text())
    quality = json.loads((table / "quality.json").read_text())
    model = metrics["forecasts"][metrics["model"]]
    assert f"{metrics['positives']:,} of {metrics['windows']:,} with a target" in text
    assert f"| {model['auc']:.3f} | {model['calibration']['slope']:.2f} (" in text
    assert f"Read: {quality['rows_read']:,} rows, of which {quality['rows_kept']:,} were kept" in text
    for one in quality["files"]:
        assert f"`{one['sha256']}`" in text
    assert "- Targets: 1,234 SHOOTING." in text and "a\\|b.csv" in text
    assert "7 duplicates, 5 twins, 3 near twins" in text
    assert model_fingerprint(own_run) in text and "`STOP`" in text
    require_card(own_run, model_fingerprint(own_run), "STOP")
    with pytest.raises(UserError, match="does not name HALT, the file that stops"):
        require_card(own_run, model_fingerprint(own_run), "HALT")
    assert "**Not audited.**" in text and "Foresight" not in text.split("##")[0]
    assert "Office of \\<b\\>Prevention\\</b\\> \\| 555" in text and "<b>" not in text
    assert "{{" not in text and "None" not in text and "\x1b" not in text and "\u202e" not in text


def test_neighborhoods_are_those_that_are_furthest_off(own_run, table):
    import numpy as np
    import pandas as pd

    rows = pd.read_parquet(own_run / "forecasts_by_neighborhood.parquet")
    expected = (-np.log1p(-rows["p"])).groupby(rows["neighborhood"].astype(str)).sum()
    events = rows["events"].groupby(rows["neighborhood"].astype(str)).sum()
    far = (events - expected) / np.sqrt(expected)
    name = far.abs().idxmax()
    told = card_of(own_run, table).split("## Where it was wrong")[1].split("## ")[0]
    first = [line for line in told.splitlines() if line.startswith("| ")][1]
    assert first.startswith(f"| {name} | {events[name]} | {expected[name]:.1f} |")
    (own_run / "forecasts_by_neighborhood.parquet").unlink()
    assert "It does not say where" in card_of(own_run, table, force=True)


def test_an_audit_is_told_and_one_of_another_model_refused(own_run, table):
    result = {"gate": "hours", "tested": "highest", "verdict": "fail", "summary": "ratio 2.0"}
    audit = {"verdict": "fail", "how": "the likeliest", "fingerprint": model_fingerprint(own_run), "results": [result]}
    (own_run / "fairness.json").write_text(json.dumps(audit))
    text = card_of(own_run, table)
    assert "(the likeliest): fail." in text and "| hours | highest | fail | ratio 2.0 |" in text
    (own_run / "fairness.json").write_text(json.dumps({**audit, "fingerprint": "0"}))
    with pytest.raises(UserError, match=r"fairness\.json: is of another model than the run's"):
        card_of(own_run, table, force=True)
    (own_run / "fairness.json").write_text("{}")
    with pytest.raises(UserError, match=r"fairness\.json.*hews audit fairness"):
        card_of(own_run, table, force=True)
    assert (own_run / "card.md").read_text(encoding="utf-8") == text


def test_a_city_that_has_one_brings_its_background(own_run, table, tmp_path):
    assert "## Background" not in card_of(own_run, table)
    city = own_run / "city.toml" if (own_run / "city.toml").is_file() else table / "city.toml"
    text = city.read_text().splitlines()
    named = ['name = "Baltimore"' if line.startswith("name =") and n < 8 else line for n, line in enumerate(text)]
    (own_run / "city.toml").write_text("\n".join(named))
    found = card_of(own_run, table, force=True)
    assert "## Background" in found and "consent decree" in found


def test_the_page_shows_the_card_of_its_model_alone(own_run, table, monkeypatch):
    monkeypatch.setattr("hews_gpu.report.build.SECTIONS", ())  # which the card does not look at

    def page():
        return build_report(own_run, data=table, force=True).read_text(encoding="utf-8")

    assert 'id="card"' not in page()
    card_of(own_run, table)
    shown = page().split('id="card"')[1].split("</section>")[0]
    assert "Office of &lt;b&gt;Prevention&lt;/b&gt; | 555" in shown and "<b>Not audited.</b>" in shown
    values = json.loads((own_run / "card.json").read_text())
    for text in (
        values["positives"],
        values["spans"]["train"],
        values["repeats"]["near_twins"],
        values["errors"][0][1],
    ):
        assert text in shown
    (own_run / "warnings.toml").write_text('kill_switch = "HALT"')
    gate = {"gate": "calibration", "tested": "a ratio", "verdict": "pass", "summary": "as good in each quarter"}
    audited = {"verdict": "pass", "fingerprint": values["fingerprint"], "how": "by quarters", "results": [gate]}
    (own_run / "fairness.json").write_text(json.dumps(audited))
    now = page().split('id="card"')[1].split("</section>")[0]
    assert "a file named HALT" in now and "as good in each quarter" in now and "Not audited" not in now
    (own_run / "card.json").write_text("{}")
    with pytest.raises(UserError, match=r"card\.json.*hews card"):
        page()
    (own_run / "card.json").write_text(json.dumps(values | {"fingerprint": "0"}))
    assert 'id="card"' not in page()


def test_what_cannot_have_a_card_is_one_line(own_run, table):
    with pytest.raises(UserError, match=r"--contact = ' ': must say who answers"):
        write_card(own_run, contact=" ", data=table)
    card_of(own_run, table)
    command = [sys.executable, "-m", "hews_gpu", "card", str(own_run), "--contact", "us", "--data", str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--force" in done.stderr
    done = subprocess.run([*command, "--force"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Card: "), done.stderr
    metrics = json.loads((own_run / "metrics.json").read_text())
    for change in ({"leaky": True}, {"kind": "backtest"}):
        (own_run / "metrics.json").write_text(json.dumps(metrics | change))
        with pytest.raises(UserError, match="is not a run that may warn"):
            card_of(own_run, table, force=True)
    (own_run / "metrics.json").write_text(json.dumps(metrics))
    quality = json.loads((table / "quality.json").read_text())
    del quality["targets"]
    (table / "quality.json").write_text(json.dumps(quality))
    with pytest.raises(UserError, match=r"quality\.json.*targets.*hews prepare"):
        card_of(own_run, table, force=True)
    (own_run / "metrics.json").unlink()
    with pytest.raises(UserError, match="hews evaluate"):
        card_of(own_run, table, force=True)
