"""The whole path as a new user walks it: `hews demo`, then the numbers recomputed from what it wrote."""

from __future__ import annotations

import csv
import gzip
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, roc_auc_score

from hews_gpu.cli.demo import run_demo
from hews_gpu.environment import device
from hews_gpu.environment.device import ProbeResult
from hews_gpu.errors import UserError
from hews_gpu.report.build import build_report

METRICS = {
    "kind",
    "model",
    "log_skill_bits",
    "base_rate",
    "windows",
    "positives",
    "verdict",
    "protocol",
    "forecasts",
    "parts",
    "places",
}
FORECASTS = {"issue_time", "window_start", "window_end", "split", "y", "p", "p_oracle"}
REFERENCES = {"p_base_rate", "p_climatology", "p_level"}
LIMIT_S = 180
MEMORY_BYTES = 4e9


def processor_seconds() -> float:
    """What all finished child processes have used so far: unlike the wall clock, not a measure of the neighbors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


SMALL = """
import re
from hews_gpu.__main__ import main
from hews_gpu.cli import demo
from hews_gpu.synthetic import write_city

def write_small_city(folder):
    path = write_city(folder, years=1)
    path.write_text(re.sub(r"(?m)^epochs = 8", "epochs = 2", path.read_text()))
    assert "epochs = 2" in path.read_text()

demo.write_city = write_small_city
main()
"""
"""`hews`, whose demo is of a year instead of four, and trains for two epochs."""


@pytest.fixture(scope="module", params=["small", pytest.param("whole", marks=pytest.mark.nightly)])
def demo(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    started = processor_seconds()
    hews = ["-c", SMALL] if request.param == "small" else ["-m", "hews_gpu"]
    command = [sys.executable, *hews, "demo", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert processor_seconds() - started < LIMIT_S
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MEMORY_BYTES  # of the largest child so far
    assert done.stdout.strip().endswith("report.html")
    for name in ("climatology", "stack", "cnn", "oracle"):
        assert name in done.stdout.lower()
    return out


def test_every_result_is_there_and_nothing_is_left_over(demo: Path) -> None:
    for name in ("report.html", "hews.json", "prepared/quality.json", "run/metrics.json", "run/weights.safetensors"):
        assert (demo / name).is_file(), name
    assert (demo / "maps" / "maps.zarr" / "zarr.json").is_file()
    assert not [path for path in demo.rglob("*") if ".partial-" in path.name]
    assert load_file(demo / "run" / "weights.safetensors")


def test_rows_add_up(demo: Path) -> None:
    quality = json.loads((demo / "prepared" / "quality.json").read_text())
    with gzip.open(demo / "city" / "incidents.csv.gz", "rt", newline="") as file:
        lines = sum(1 for _ in csv.reader(file)) - 1
    assert quality["rows_read"] == lines
    assert quality["rows_kept"] + quality["rows_quarantined"] == lines
    assert sum(quality["quarantined_by_reason"].values()) == quality["rows_quarantined"] > 0
    kept = pq.read_table(demo / "prepared" / "incidents.parquet")
    aside = pq.read_table(demo / "prepared" / "quarantine.parquet")
    assert (kept.num_rows, aside.num_rows) == (quality["rows_kept"], quality["rows_quarantined"])
    assert sum(kept["is_target"].to_pylist()) == quality["targets_kept"] > 0


def test_anyone_can_recompute_the_scores(demo: Path) -> None:
    metrics = json.loads((demo / "run" / "metrics.json").read_text())
    assert set(metrics) >= METRICS
    table = pq.read_table(demo / "run" / "forecasts.parquet")
    assert set(table.column_names) == FORECASTS | REFERENCES
    rows = table.filter([s == "test" for s in table["split"].to_pylist()])
    y, p = rows["y"].to_numpy(), rows["p"].to_numpy()
    climatology, oracle = rows["p_climatology"].to_numpy(), rows["p_oracle"].to_numpy()
    assert metrics["windows"] == len(y)
    assert metrics["positives"] == int(y.sum())
    scores = metrics["forecasts"]
    assert scores["stack"]["auc"] == pytest.approx(roc_auc_score(y, p))
    assert scores["stack"]["average_precision"] == pytest.approx(average_precision_score(y, p))
    brier_skill = 1 - np.mean((p - y) ** 2) / np.mean((climatology - y) ** 2)
    assert scores["stack"]["against"]["climatology"]["brier_skill"]["value"] == pytest.approx(brier_skill)
    assert metrics["log_skill_bits"] == pytest.approx(np.mean(bits(y, p) - bits(y, climatology)))
    assert scores["oracle"]["auc"] == pytest.approx(roc_auc_score(y, oracle))
    assert scores["climatology"]["auc"] == pytest.approx(roc_auc_score(y, climatology))


def bits(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.log2(np.where(y == 1, p, 1 - p))


def test_nothing_beats_the_oracle_and_the_label_is_the_tables(demo: Path) -> None:
    table = pq.read_table(demo / "run" / "forecasts.parquet").to_pandas()
    test = table[table["split"] == "test"]
    gain = bits(test["y"].to_numpy(), test["p_oracle"].to_numpy()) - bits(test["y"].to_numpy(), test["p"].to_numpy())
    assert gain.mean() > -2 * gain.std() / np.sqrt(len(gain))
    kept = pq.read_table(demo / "prepared" / "incidents.parquet", filters=[("is_target", "=", True)])
    times = np.sort(kept["time_s"].to_numpy())
    begin = table["window_start"].to_numpy().astype("datetime64[s]").astype(np.int64)
    end = table["window_end"].to_numpy().astype("datetime64[s]").astype(np.int64)
    assert ((np.searchsorted(times, end) > np.searchsorted(times, begin)) == (table["y"].to_numpy() == 1)).all()
    issue = table["issue_time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    assert (issue <= begin).all()


def test_a_moved_demo_still_opens(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are found; sections of the page, which draw what was read, are left out."""
    monkeypatch.setattr("hews_gpu.report.build.SECTIONS", ())
    moved = demo.rename(tmp_path / "elsewhere")
    try:
        page = build_report(moved / "run", out=tmp_path / "r.html")
        assert "homicide and shooting" in page.read_text(encoding="utf-8")  # said of the prepared city
        for manifest in moved.rglob("hews.json"):
            assert ".partial-" not in manifest.read_text()
    finally:
        moved.rename(demo)


def test_a_second_demo_needs_force(demo: Path) -> None:
    command = [sys.executable, "-m", "hews_gpu", "demo", "--out", str(demo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--force" in done.stderr


def test_a_stage_that_leaves_nothing_fails_the_demo(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stages before it leave what they left in the real demo; the last one ends well without its page."""

    def run(command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[bytes]:
        if command[3] == "prepare":
            shutil.copytree(demo, cwd, dirs_exist_ok=True)
            (cwd / "report.html").unlink()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("hews_gpu.cli.demo.subprocess.run", run)
    monkeypatch.setattr("hews_gpu.cli.demo.write_city", lambda folder: folder)
    with pytest.raises(SystemExit) as ended:
        run_demo(tmp_path / "demo")
    assert ended.value.code == 1 and not list(tmp_path.iterdir())
    assert "'report' ended well, but has not written report.html" in capsys.readouterr().err


def test_a_device_that_does_not_work_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "probe", lambda name: ProbeResult(name != "gpu", "no GPU, for this test"))
    with pytest.raises(UserError, match="--device = 'cuda': does not work here: no GPU, for this test"):
        run_demo(tmp_path / "demo", device="cuda")
    assert not list(tmp_path.iterdir())


def test_a_device_nobody_knows_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hews_gpu", "demo", "--device", "coda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout and not list(tmp_path.iterdir())
    (line,) = done.stderr.splitlines()
    assert line.startswith("hews: --device") and "cuda" in line
