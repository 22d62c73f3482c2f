"""The whole audit of a folder, as the command shows it: table, JSON, file and exit code."""

import json
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hews_gpu.audit import run
from hews_gpu.audit.future import AUDITED
from hews_gpu.audit.run import _folder_checks, audit, city_plan, run_gates
from hews_gpu.cli.commands import app
from hews_gpu.errors import UserError
from hews_gpu.runs.evaluate import evaluate
from hews_gpu.runs.train import train


def invoke(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_a_folder_is_audited_and_written_down(folder, tmp_path):
    done = invoke(folder, "--quick", "--json", "--out", tmp_path / "audit.json")
    assert done.exit_code == 0, done.output
    audited = json.loads(done.stdout)
    assert {one["gate"][0] for one in audited["results"]} == set("12567")  # 3 and 4 need a truth
    results = {one["gate"][0]: one["verdict"] for one in audited["results"]}
    assert (
        results["7"] == "warning" == audited["verdict"]
    )  # a shooting follows nearly every robbery: too good for a city
    assert all(result == "pass" for gate, result in results.items() if gate not in "67")
    (forecasts,) = [one for one in audited["results"] if one["tested"].startswith("forecasts and warnings")]
    assert forecasts["figures"]["forecasters"] == list(AUDITED)
    # forecasts, and warnings under three budgets; four of them say where
    assert forecasts["figures"]["arrays"] == len(AUDITED) * 4 + 4
    kept = json.loads((tmp_path / "audit.json").read_text())
    assert kept["results"] == audited["results"] and kept["kind"] == "audit"


def test_a_gate_that_fails_ends_with_1(folder, tmp_path, monkeypatch):
    """A target row of the test split is a duplicate of one of the training split, so that their event crosses.

    Only the gates on columns and twins are run: above all are.
    """
    every = run._city_checks
    few = ("columns", "twins")
    monkeypatch.setattr(run, "_city_checks", lambda *of: [check for check in every(*of) if check[0] in few])
    copy = tmp_path / "prepared"
    shutil.copytree(folder, copy)
    table = pq.read_table(copy / "incidents.parquet")
    targets = [i for i, is_target in enumerate(table["is_target"].to_pylist()) if is_target]
    ids, links = table["row_id"].to_pylist(), table["duplicate_of"].to_pylist()
    links[targets[-20]] = ids[targets[20]]
    place = table.column_names.index("duplicate_of")
    pq.write_table(table.set_column(place, "duplicate_of", pa.array(links, pa.int64())), copy / "incidents.parquet")
    done = invoke(copy, "--quick")
    assert done.exit_code == 1, done.output
    assert "1 events cross" in " ".join(done.stdout.split()) and "fail" in done.stdout


def test_the_forecasts_of_a_run_are_audited(folder, tmp_path):
    run = tmp_path / "run"
    train(folder, run, model="cnn", device="cpu", max_epochs=1)
    with pytest.raises(UserError, match="hews evaluate"):
        run_gates(run)
    evaluate(run)
    checks = dict(_folder_checks(run, quick=True))
    assert {"maps", "twins"} < set(checks)
    (first,) = checks["forecasts of the run"]()
    assert first.gate == "7 too good" and "the model" in first.tested


def test_where_the_truth_is_known_the_forecasts_of_a_run_are_held_against_it(folder, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(folder, run, model="climatology", device="cpu")
    evaluate(run)

    def gates(preset):
        truth = SimpleNamespace(preset=preset)
        monkeypatch.setattr("hews_gpu.audit.run.audited_city", lambda prepared: SimpleNamespace(truth=truth))
        return {one.gate[0]: one for one in run_gates(run)}

    with pytest.raises(UserError, match=r"has forecasts without p_oracle.*hews evaluate"):
        gates("strong")
    table = pq.read_table(run / "forecasts.parquet")
    pq.write_table(table.append_column("p_oracle", table["p"]), run / "forecasts.parquet")
    assert set(gates("strong")) == {"4"}
    found = gates("null")
    assert set(found) == {"3", "4"} and all("the model" in one.tested for one in found.values())
    assert found["3"].figures["forecasters"]["the model"]["beyond_truth_bits"] == 0


def test_the_plan_is_the_citys(prepared):
    plan = city_plan(prepared)
    splits = prepared.city.splits
    assert plan.first_test_s == splits.span_s("test")[0] and plan.blocks == 1
    assert plan.task.history_s == prepared.city.task.history_s


def test_mistakes_are_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        audit(tmp_path / "none")
    with pytest.raises(UserError, match="--planted"):
        audit(folder, planted=True)
