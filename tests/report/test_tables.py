"""Rows of the tables against numbers counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from hews_gpu.report import tables
from hews_gpu.report.inputs import read_inputs


@pytest.fixture(scope="module")
def inputs(run):
    return read_inputs(run)


def test_quality_shows_every_reason_with_its_share(inputs):
    rows = {row["name"]: row for row in tables.quality(inputs)}
    read = inputs.quality["rows_read"]
    assert rows["Rows read"]["count"] == f"{read:,}" and rows["Rows read"]["share"] == "100.00\u00a0%"
    assert rows["no coordinates"]["share"] == f"{100 * 41 / read:.2f}\u00a0%"
    assert rows["exact duplicates of an earlier row"]["count"] == f"{int(inputs.events.is_duplicate.sum()):,}"


def test_formatting_that_gives_the_label_away_is_found():
    charts = pd.DataFrame({"is_target": [True, True, False, False, False, False]})
    charts = charts.assign(
        row_id=range(6), side=["Outside", "Inside", "O", "I", "", None], note=["x", None, "x", "x", "x", "x"]
    )
    rows = {row["name"]: row["cells"] for row in tables.give_away(charts)}
    assert rows == {
        "side": ["50.0\u00a0%", "0.0\u00a0%", "100.0\u00a0%"],
        "note": ["0.0\u00a0%", "50.0\u00a0%", "0.0\u00a0%"],
    }


def test_without_charts_nothing_is_said_of_formatting():
    assert tables.give_away(None) == []


def test_the_skill_table_holds_the_oracle_only_if_there_is_one(inputs):
    assert [row["key"] for row in tables.skill(inputs.metrics)] == ["base_rate", "climatology", "model", "oracle"]
    bare = {**inputs.metrics, "baselines": {"climatology": {"auc": 0.6}}}
    rows = tables.skill(bare)
    assert [row["key"] for row in rows] == ["climatology", "model"]
    assert rows[0]["cells"][:2] == ["0.600", "\u2013"]


def test_splits_come_in_the_order_of_time(inputs):
    assert [row["name"] for row in tables.splits(inputs.metrics)] == ["train", "validation", "test"]


def test_the_palette_counts_every_incident(inputs):
    rows = tables.palette(inputs)
    assert sum(int(row["count"].replace(",", "")) for row in rows) == len(inputs.events)
    assert {row["name"] for row in rows if row["target"]} == {"HOMICIDE", "SHOOTING"}


def test_facts_tell_no_path_of_the_machine(inputs):
    text = str(tables.facts(inputs, {"numpy": "2"}))
    assert str(inputs.prepared.folder) not in text
    assert inputs.prepared.fingerprint in text and "3 epochs in 9.3 s" in text


def test_commands_are_quoted_as_a_shell_would_need_them_and_keep_folders_private(inputs):
    lines = [row["line"] for row in tables.commands(inputs)]
    assert lines == ["hews prepare 'my city.toml' --out prepared", "hews train prepared --out run"]


def test_rounded_times_are_listed_by_the_size_of_the_category(inputs):
    rows = tables.rounding({"rounding_by_category": dict(reversed(inputs.quality["rounding_by_category"].items()))})
    assert [row["name"] for row in rows] == ["LARCENY", "SHOOTING"]
    assert rows[0]["cells"] == ["300", "40.0\u00a0%", "20.0\u00a0%", "2.0\u00a0%"]
    assert tables.rounding({}) == []
