"""The job files and `hews submit` on a real SLURM: two slurmd and a slurmctld on this machine (see lab.py)."""

from __future__ import annotations

import csv
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slurm

FILES = (
    "prepare",
    "rasterize",
    "train",
    "train-node",
    "train-nodes",
    "evaluate",
    "report",
    "score",
    "sweep",
    "backtest",
    "bench",
)
SHORT = """
protocol = "forecast"
model = "cnn"
[map]
style = "channels"
[[stages]]
schedule = "constant"
epochs = 1
"""


@pytest.fixture(scope="module")
def chain(cluster, city) -> SimpleNamespace:
    """The whole chain with training on two nodes, submitted by one line and followed to its end."""
    line = ("submit", "pipeline", city, "--model", "cnn", "--nodes", "2", "--gpus-per-node", "1", "--rasterize")
    dry = cluster.hews(*line, "--dry-run")
    assert cluster.jobs() == []
    told = cluster.hews(*line)
    followed = cluster.hews("status", "runs/demo", "--follow", "--every", "1", code=None, timeout_s=300)
    return SimpleNamespace(out=cluster.root / "runs" / "demo", dry=dry.out, told=told.out, followed=followed)


@pytest.fixture
def beside(cluster, chain):
    """A folder for another run on the data of the chain, by name."""

    def make(name: str) -> Path:
        out = cluster.root / "runs" / name
        out.mkdir()
        (out / "prepared").symlink_to(chain.out / "prepared")
        return out

    return make


def weights(run: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load_file(run / "weights.safetensors").items()}


def history(run: Path, *columns: str) -> list[tuple[str, ...]]:
    with (run / "history.csv").open(newline="") as file:
        return [tuple(row[column] for column in columns) for row in csv.DictReader(file)]


def events(path: Path) -> list[tuple[str, str]]:
    return [tuple(line.split("\t")[3:]) for line in path.read_text().splitlines()]


def test_every_file_is_accepted_as_it_is(cluster):
    for name in FILES:
        array = ["--array=0-1"] if name == "sweep" else []
        cluster.client("sbatch", "--test-only", *array, str(cluster.root / "slurm" / f"{name}.sbatch"), "city.toml")


def test_one_line_runs_the_whole_chain(cluster, chain):
    assert chain.followed.code == 0, chain.followed.out + chain.followed.err
    assert "All done." in chain.followed.out
    rows = json.loads(cluster.hews("status", "runs/demo", "--json").out)["jobs"]
    assert [row["stage"] for row in rows] == ["prepare", "rasterize", "train", "evaluate", "report"]
    assert {row["state"] for row in rows} == {"done"}
    assert rows[2]["node"] == "n[1-2]"
    for name in ("prepared/quality.json", "maps/hews.json", "run/metrics.json", "run/forecasts.parquet", "report.html"):
        assert (chain.out / name).is_file(), name
    for row in rows:
        assert re.fullmatch(rf"hews-{row['stage']}-{row['job']}\.log", Path(row["log"]).name)
        assert row["job"] in chain.told
    assert "processes │ 2" in re.sub(" +", " ", Path(rows[2]["log"]).read_text())


def test_dry_run_prints_exactly_what_is_submitted(cluster, chain):
    scripts = sorted((chain.out / "slurm").glob("*.sbatch"))
    assert len(scripts) == 5
    for path in scripts:
        assert path.read_text() in chain.dry, path.name
        job = next(
            job for job in json.loads((chain.out / "slurm/jobs.json").read_text())["jobs"] if path.stem == job["name"]
        )
        assert cluster.client("scontrol", "write", "batch_script", job["id"], "-") == path.read_text()


def test_submitted_again_it_leaves_out_what_is_there(cluster, chain, city):
    text = cluster.hews("submit", "pipeline", city, "--rasterize", "--dry-run").out
    assert "# left out: prepare" in text
    assert "# left out: rasterize" in text
    assert "prepare.sbatch" not in text.replace("left out: prepare", "")


def test_stopped_twice_it_ends_with_the_same_bits(cluster, chain, beside, city):
    stopped, alone = beside("stopped"), beside("alone")
    undisturbed = cluster.sbatch("slurm/train.sbatch", city, "--model", "cnn", HEWS_OUT=str(alone))
    job = cluster.sbatch("slurm/train.sbatch", city, "--model", "cnn", HEWS_OUT=str(stopped))
    log = lambda: cluster.log(job)  # noqa: E731
    cluster.wait_for(lambda: "epoch 3 of" in log(), 240, "the third epoch", log)
    cluster.client("scancel", "--signal=USR2", "--batch", job)  # what SLURM sends two minutes before the end
    cluster.begin_again_now(job)
    assert "back to the queue" in log()
    cluster.wait_for(lambda: "epoch 7 of" in log(), 90, "the seventh epoch", log)
    cluster.client("scontrol", "requeue", job)  # in the middle of an epoch, without a word to the script before
    assert cluster.finish(job) == "COMPLETED", log()
    assert cluster.finish(undisturbed) == "COMPLETED", cluster.log(undisturbed)
    assert cluster.job(job)["Restarts"] == "2"
    assert log().count("goes on from step") == 2
    assert weights(stopped / "run") == weights(alone / "run")
    columns = ("epoch", "train_loss", "validation_log_loss", "order")
    assert history(stopped / "run", *columns) == history(alone / "run", *columns)
    # Two nodes see the same order, and come to the same but for rounding.
    assert history(chain.out / "run", "epoch", "order") == history(alone / "run", "epoch", "order")
    pairs = zip(history(chain.out / "run", "train_loss"), history(alone / "run", "train_loss"), strict=True)
    assert all(abs(float(a[0]) - float(b[0])) < 1e-3 for a, b in pairs if a[0] and b[0])


@pytest.mark.nightly
def test_maps_that_were_drawn_before_a_requeue_are_not_drawn_again(cluster, chain, beside, city):
    out = beside("drawn")
    job = cluster.sbatch("slurm/rasterize.sbatch", city, HEWS_OUT=str(out))
    assert cluster.finish(job) == "COMPLETED", cluster.log(job)
    drawn = (out / "maps" / "hews.json").stat().st_mtime_ns
    cluster.client("scontrol", "requeue", job)
    cluster.begin_again_now(job)
    assert cluster.finish(job) == "COMPLETED", cluster.log(job)
    assert cluster.job(job)["Restarts"] == "1"
    assert "drawn before the job was requeued" in cluster.log(job)
    assert (out / "maps" / "hews.json").stat().st_mtime_ns == drawn


@pytest.mark.nightly
def test_a_node_that_fails_ends_in_requeue(cluster, chain, beside, city):
    out = beside("broken")
    options = ("--nodes=2", "--gpus-per-node=1", "--ntasks-per-node=1")
    job = cluster.sbatch(*options, "slurm/train-nodes.sbatch", city, "--model", "cnn", HEWS_OUT=str(out))
    log = lambda: cluster.log(job)  # noqa: E731
    cluster.wait_for(lambda: "epoch 3 of" in log(), 90, "the third epoch", log)
    cluster.kill_node("n2")
    cluster.wait(job, 90, ["PENDING"])
    cluster.start_node("n2")
    cluster.wait_for(lambda: cluster.states() == ["idle", "idle"], 240, "both nodes", cluster.logs)
    assert cluster.finish(job) == "COMPLETED", log()
    assert "goes on from step" in log()
    assert "has lost another" in log() and "Traceback" not in log()
    assert weights(out / "run") == weights(chain.out / "run")


def test_a_stage_that_fails_stops_the_chain_and_status_says_why(cluster, city):
    """The user has a file of their own where the run would be."""
    bad = city.with_name("bad.toml")
    bad.write_text(city.read_text())
    (cluster.root / "runs/bad").mkdir(parents=True)
    (cluster.root / "runs/bad/run").write_text("mine")
    cluster.hews("submit", "pipeline", bad, "--gpus-per-node", "0")
    cluster.hews("status", "runs/bad", "--follow", "--every", "1", code=1, timeout_s=120)
    found = cluster.hews("status", "runs/bad", code=1).out
    rows = json.loads(cluster.hews("status", "runs/bad", "--json", code=1).out)["jobs"]
    assert [row["state"] for row in rows] == ["done", "failed", "cancelled", "cancelled"]
    assert "exists already" in rows[1]["why"]
    assert rows[1]["node"] in ("n1", "n2")
    assert f"train failed on {rows[1]['node']}" in found
    assert rows[1]["log"] in found.replace("\n", "")
    assert "exists already" in Path(rows[1]["log"]).read_text()
    assert rows[2]["why"] == "train failed"
    assert (cluster.root / "runs/bad/run").read_text() == "mine"


@pytest.mark.nightly
def test_an_array_of_six_of_which_one_fails(cluster, chain, lab_module):
    path = cluster.root / "sweep.toml"
    (cluster.root / "short.toml").write_text(SHORT)
    path.write_text(
        'prepared = "runs/demo/prepared"\nrecipe = "short.toml"\nat_once = 2\n'
        "[grid]\nstages.learning_rate = [0.001, 0.003, 0.01, 0.03, 0.1]\n[[jobs]]\nstages.learning_rate = 1e30\n"
    )
    cluster.hews("submit", "sweep", path, "--gpus-per-node", "1")
    followed = cluster.hews("status", "runs/sweep", "--follow", "--every", "1", code=1, timeout_s=300)
    assert followed.err.count(": done, best") == 5, followed.err
    found = json.loads(cluster.hews("status", "runs/sweep", "--json", code=1).out)
    rows = found["table"]
    assert [row["state"] for row in rows] == ["done"] * 5 + ["failed"]
    best = [float(row["validation, bits"]) for row in rows[:5]]
    assert best == sorted(best)
    assert "diverged" in rows[5][""]
    assert rows[5]["stages.learning_rate"] == "1e+30"
    assert re.search(r"hews-sweep-\d+_5\.log", followed.out.replace("\n", ""))
    # Two at a time: never were three begun and not ended.
    moments = []
    for file in (cluster.root / "runs/sweep/slurm/events").iterdir():
        lines = [line.split("\t") for line in file.read_text().splitlines()]
        assert [line[3] for line in lines] == ["begin", "end"]
        moments += [(datetime.fromisoformat(line[0]), {"begin": 1, "end": -1}[line[3]]) for line in lines]
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most == 2


@pytest.mark.nightly
def test_several_tasks_on_one_node_train_and_score(cluster, chain, beside, city):
    out = beside("node")
    two = ("--gpus-per-node=2", "--ntasks-per-node=2", "--cpus-per-task=1")
    recipe = cluster.root / "short.toml"
    recipe.write_text(SHORT)
    train = cluster.sbatch(*two, "slurm/train-node.sbatch", city, "--recipe", recipe, HEWS_OUT=str(out))
    after = f"--dependency=afterok:{train}"
    score = cluster.sbatch(after, *two, "slurm/score.sbatch", city, HEWS_OUT=str(out))
    assert cluster.finish(train) == "COMPLETED", cluster.log(train)
    assert cluster.finish(score) == "COMPLETED", cluster.log(score)
    alone = cluster.root / "scored"
    cluster.hews("score", out / "run", out / "prepared", "--out", alone)
    assert (alone / "forecasts.parquet").read_bytes() == (out / "scores" / "forecasts.parquet").read_bytes()


@pytest.mark.nightly
def test_prepare_on_a_dask_cluster_over_both_nodes(cluster, chain, city):
    out = cluster.root / "runs" / "dask"
    job = cluster.sbatch("--nodes=2", "slurm/prepare.sbatch", city, HEWS_OUT=str(out))
    assert cluster.finish(job) == "COMPLETED", cluster.log(job)
    assert "Dask workers: 1 on n1, 1 on n2\n" in cluster.log(job) and "http://" not in cluster.log(job)
    logs = out / "slurm" / f"dask-{job}"
    assert "tls://" in (logs / "scheduler.log").read_text() and not (logs / "keys").exists()
    for name in ("incidents", "quarantine"):
        ours, alone = (pq.read_table(folder / "prepared" / f"{name}.parquet") for folder in (out, chain.out))
        assert ours.equals(alone), name
        assert len(ours) > 0
    logs = {path.name: path.read_text() for path in (out / "slurm" / f"dask-{job}").iterdir()}
    assert [re.sub("-[^-]*.log", "", name) for name in sorted(logs)] == ["scheduler.log", "worker-0", "worker-1"]
    assert all("Start worker at" in logs[name] for name in logs if name.startswith("worker"))
    assert not list((out / "slurm").glob("scheduler-*.json"))
    assert not cluster.processes("SLURM_JOB_NAME=hews-prepare")


@pytest.mark.nightly
def test_a_backtest_shared_out_by_an_array_gives_what_one_machine_gives(cluster, chain):
    year = cluster.root / "year"
    shutil.copytree(chain.out / "prepared", year)
    text = (year / "city.toml").read_text()
    for short, whole in (("2021-03-01", "2021-09-01"), ("2021-03-15", "2021-10-01"), ("2021-04-01", "2022-01-01")):
        text = text.replace(f'"{short}"', f'"{whole}"')
    (year / "city.toml").write_text(text)
    options = (year, "--models", "level,hawkes", "--blocks", "2")
    cluster.hews("submit", "backtest", *options, "--tasks", "2", "--out", "runs/shared")
    cluster.hews("status", "runs/shared", "--follow", "--every", "1", timeout_s=300)
    alone = cluster.root / "alone"
    cluster.hews("backtest", *options, "--out", alone, timeout_s=300)
    for name in ("metrics.json", "forecasts.parquet"):
        assert (cluster.root / "runs/shared/backtest" / name).read_bytes() == (alone / name).read_bytes(), name
    refused = cluster.hews("submit", "backtest", year, "--models", "levl", "--out", "runs/no", code=2)
    assert "Did you mean 'level'?" in refused.err and not (cluster.root / "runs/no").exists()


@pytest.mark.nightly
def test_a_benchmark_is_submitted_and_compared(cluster):
    cluster.hews("submit", "bench", "pip", "--quick")
    cluster.hews("status", "runs/bench", "--follow", "--every", "1", timeout_s=200)
    (found,) = (cluster.root / "runs" / "bench").glob("pip-*.json")
    assert json.loads(found.read_text())["benchmark"] == "pip"
    assert "equal" in cluster.hews("bench", "compare", found, found).out


def test_cancel_ends_what_is_not_over(cluster, city):
    for name in ("n1", "n2"):
        cluster.client("scontrol", "update", f"NodeName={name}", "State=DRAIN", "Reason=test")
    try:
        cluster.hews("submit", "pipeline", city, "--out", "runs/cancelled")
        again = cluster.hews("submit", "pipeline", city, "--out", "runs/cancelled", code=2)
        assert "has jobs that are not over" in again.err
        assert len(cluster.jobs()) == 4
        assert "Cancelled: " in cluster.hews("cancel", "runs/cancelled").out
        cluster.wait_for(lambda: not cluster.jobs(), 20, "an empty queue")
        assert "prepare cancelled" in cluster.hews("status", "runs/cancelled", code=1).out
        assert "Nothing to cancel" in cluster.hews("cancel", "runs/cancelled").out
    finally:
        for name in ("n1", "n2"):
            cluster.client("scontrol", "update", f"NodeName={name}", "State=RESUME")


def test_what_slurm_refuses_is_one_line_and_leaves_no_job(cluster, city):
    site = cluster.root / "site.env"
    site.write_text("HEWS_CPU_PARTITION=cpu\nSBATCH_PARTITION=nowhere\n")
    refused = cluster.hews("submit", "pipeline", city, "--out", "runs/refused", "--site", site, code=2)
    assert "Invalid partition" in refused.err
    assert "SBATCH_PARTITION in the site file" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    cluster.wait_for(lambda: not cluster.jobs(), 20, "an empty queue")
    many = cluster.hews("submit", "pipeline", city, "--out", "runs/refused", "--model", "cnn", "--gpus-per-node", "9")
    assert "warning: train: " in many.err and "node configuration is not available" in many.err
    cluster.hews("cancel", "runs/refused")
