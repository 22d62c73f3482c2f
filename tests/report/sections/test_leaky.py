"""The page of a leaky run gives its numbers and says at once that they cannot be believed; it knows no skill."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report
from hews_gpu.training.recipe import LEAKY, load_recipe

PART = {
    "windows": 120,
    "positives": 60,
    "accuracy": 0.875,
    "accuracy_interval": [0.804, 0.923],
    "auc": 0.9421,
    "log_loss_bits": 0.4567,
}


@pytest.fixture
def leaky_run(prepared, tmp_path):
    """A run folder as `hews train --recipe reference2` and `hews evaluate` leave it, on the hand-made city."""
    run = tmp_path / "run"
    run.mkdir()
    start = pd.Timestamp("2015-01-03") + pd.to_timedelta(np.arange(8) * 7200 * 5, unit="s")
    p = np.array([0.99, 0.6, 0.2, 0.4, 0.01, 0.7, 0.3, 0.1])
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=np.int8)
    table = {"window_start": start, "window_end": start + pd.Timedelta(hours=2), "p_leaky": p, "y": y}
    pd.DataFrame(table).to_parquet(run / "leaky_held_out.parquet")
    history = {"epoch": [0, 1, 2], "train_loss": [1.0, 0.9, 0.5], "validation_log_loss": [1.0, 0.8, 0.6]}
    pd.DataFrame({**history, "seconds": [None, 2.0, 2.0]}).to_csv(run / "history.csv", index=False)
    metrics = {"leaky": True, "warning": LEAKY, "recipe": "my <b>recipe</b>", "model": "reference2", "seed": 3}
    metrics |= {"parameters": 3_453_121, "balancing": "equal", "protocol": "reference", **PART}
    metrics["parts"] = {name: PART for name in ("train", "validation", "test")}
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    manifest = {"kind": "run", "prepared": str(prepared)}
    (run / "hews.json").write_text(json.dumps(manifest), encoding="utf-8")
    (run / "recipe.toml").write_text(load_recipe("reference2").text, encoding="utf-8")
    return run


def test_the_page_says_first_that_its_numbers_cannot_be_believed(leaky_run):
    page = build_report(leaky_run).read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", page[page.index("<body>") :])
    assert text.index("cannot be believed") < text.index("87.5")
    assert "leaky protocol" in page[: page.index("</title>")]
    for said in ("0.942", "80.4", "120", "random"):
        assert said in text
    for forbidden in ("skill", "climatology", "calibrat"):
        assert forbidden not in text.lower()


def test_beside_each_number_it_says_leaky(leaky_run):
    page = build_report(leaky_run).read_text(encoding="utf-8")
    for score in ("87.5", "0.942", "0.4567"):
        places = [at.end() for at in re.finditer(re.escape(score), page)]
        assert places and all("leaky" in page[at - 60 : at + 80] for at in places)


def test_the_page_shows_maps_that_it_was_right_and_wrong_about(leaky_run):
    page = build_report(leaky_run).read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png') == 4
    for title in ("Surest of a target, there was one", "Surest of none, there was a target"):
        assert title in page
    assert "Sat 3 Jan 2015, 00:00 to 02:00" in page and "; probability 99.0\u00a0% (leaky)" in page


def test_what_a_user_named_is_escaped_and_nothing_is_loaded(leaky_run):
    page = build_report(leaky_run).read_text(encoding="utf-8")
    assert "<b>recipe</b>" not in page and "my &lt;b&gt;recipe" in page
    assert "<script" not in page and not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_a_run_that_lacks_something_is_refused(leaky_run):
    whole = (leaky_run / "metrics.json").read_text(encoding="utf-8")
    (leaky_run / "metrics.json").write_text(whole.replace('"auc"', '"au"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics\.json: auc: is missing\. Run 'hews evaluate' first"):
        build_report(leaky_run)
    (leaky_run / "metrics.json").write_text(whole, encoding="utf-8")
    (leaky_run / "leaky_held_out.parquet").write_bytes(b"none")
    with pytest.raises(UserError, match=r"leaky_held_out\.parquet: cannot be read"):
        build_report(leaky_run)
    assert not (leaky_run / "report.html").exists()
